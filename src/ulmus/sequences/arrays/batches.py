"""Batches of anybody's sequences: padded to the longest, and every batch depends on its number alone."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from ulmus.files.batch_loading import EachOnce
from ulmus.kernels.events import Events
from ulmus.sequences.arrays.sequence_set import SequenceSet

NO_CLASS = -100
"""What stands for a class where there is none, as PyTorch's cross-entropy expects it."""


class SequenceBatch(NamedTuple):
    """Sequences side by side.

    Attributes:
        values: numbers ``[batch, time, channel]``, tokens ``[batch, time]`` (-1 behind the end), or events.
        lengths: steps of every sequence; None when all fill the batch.
        targets: classes (-100 where there is none) or numbers (NaN where there is none), of sequences or of steps.
    """

    values: Tensor | Events
    lengths: Int64[Tensor, "batch"] | None
    targets: Tensor


class ArrayBatches(EachOnce[SequenceBatch]):
    """Every sequence once per epoch; the last batch may be smaller.

    Args:
        sequences: what is learnt from; characters are spelt out as tokens.
        targets: for every sequence classes or numbers, of it or of its steps.
        step_targets: whether they are of its steps.
        batch: sequences in a batch.
        seed: of the order; None keeps the order of the sequences, as for validation and test.
        share: number of this process and of all processes that share the sequences of every batch.
    """

    def __init__(
        self,
        sequences: SequenceSet,
        targets: Sequence[np.ndarray],
        step_targets: bool,
        batch: int,
        seed: int | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        super().__init__(len(sequences), batch, seed, share)
        self.sequences, self.targets, self.step_targets = sequences, targets, step_targets

    def batch(self, epoch: int, k: int) -> SequenceBatch:
        """Batch `k` of `epoch`."""
        chosen = self.plan(epoch, k)[self._mine]
        values, lengths = side_by_side(self.sequences, chosen.tolist())
        targets = [torch.as_tensor(np.array(self.targets[index])) for index in chosen]
        if self.step_targets:
            empty = torch.nan if targets[0].is_floating_point() else NO_CLASS
            stacked = torch.nn.utils.rnn.pad_sequence(targets, batch_first=True, padding_value=empty)
        else:
            stacked = torch.stack(targets)
        full = bool((lengths == lengths.max()).all())
        return SequenceBatch(values, None if full else lengths, stacked)


def side_by_side(
    sequences: SequenceSet, chosen: Sequence[int]
) -> tuple[Tensor | Events, Int64[Tensor, "batch"]]:
    """Some sequences as the input of a model, and how long each is."""
    lengths = torch.as_tensor(sequences.lengths[np.asarray(chosen)])
    longest = int(lengths.max())
    if sequences.input == "events":
        return _events(sequences, chosen, longest), lengths
    parts: list[Any] = [np.asarray(sequences.sequence(index)) for index in chosen]
    if sequences.input == "tokens":
        tokens = torch.full((len(parts), longest), -1, dtype=torch.int64)
        for row, part in zip(tokens, parts, strict=True):
            row[: len(part)] = torch.as_tensor(part.astype(np.int64))
        return tokens, lengths
    values = torch.zeros(len(parts), longest, parts[0].shape[1])
    for row, part in zip(values, parts, strict=True):
        row[: len(part)] = torch.as_tensor(part.astype(np.float32))
    return values, lengths


def _events(sequences: SequenceSet, chosen: Sequence[int], longest: int) -> Events:
    tables = [sequences.sequence(index) for index in chosen]
    counts = np.stack([np.bincount(table[:, 0].astype(np.int64), minlength=longest) for table in tables])
    everything = np.concatenate(tables)
    return Events.counted(
        counts, everything[:, 1].astype(np.int64), everything[:, 2], len(sequences.channels)
    )
