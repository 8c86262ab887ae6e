"""Batches of labelled sequences: encoded, and every batch depends on its number alone."""

import numpy as np
import torch
from jaxtyping import Int, Int64
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ulmus.errors import DataError
from ulmus.sequences.labelled_batches import LabelledBatch, LabelledBatches
from ulmus.sequences.lra.encoding import Encoding
from ulmus.sequences.lra.sequences import Sequences

_POOL = 32  # batches among which sequences are put together by length


class SequenceBatches(LabelledBatches):
    """Every item once per epoch; the last batch may be smaller.

    With `similar_lengths` each batch holds items of similar length, so that less of it is padding: the shuffled items
    are sorted in groups of 32 batches, and the batches are shuffled. In order, items are never sorted.

    Args:
        sequences: where the items come from.
        encoding: how tokens become input.
        batch: items in a batch.
        seed: of the order, 0 to 2**64 - 1; None keeps the order of `sequences`, as for validation and test.
        share: number of this process and of all processes that share the items of every batch.
        similar_lengths: put items of similar length into the same batch; changes nothing where all are equally long.
        hints: give what is known at every step, besides the classes.
    """

    def __init__(
        self,
        sequences: Sequences,
        encoding: Encoding,
        batch: int,
        seed: int | None = None,
        share: tuple[int, int] = (0, 1),
        similar_lengths: bool = True,
        hints: bool = False,
    ) -> None:
        if not len(sequences):
            raise DataError(f"{sequences.path} holds no sequences; expected some; copy the file again")
        super().__init__(len(sequences), batch, seed, share)
        self.sequences, self.encoding = sequences, encoding
        self.classes, self.channels, self.towers = sequences.classes, encoding.channels, sequences.towers
        self.content_hash, self.generated = sequences.content_hash, sequences.generated
        self._similar_lengths, self._hints = similar_lengths, hints
        if hints:
            sequences.hints(0)
            self.hint_classes = sequences.hint_classes

    @property
    def name(self) -> str:
        """Of the task; data made by a generator and stand-ins say so."""
        return self.sequences.name

    def _shuffled(self, random: np.random.Generator) -> Int64[np.ndarray, "items"]:
        order = super()._shuffled(random)
        length = self.sequences.rough_length if self._similar_lengths else None
        if length is None:
            return order
        pool = _POOL * self.batch_size
        parts = [order[first : first + pool] for first in range(0, len(order), pool)]
        order = np.concatenate([part[np.argsort(length[part], kind="stable")] for part in parts])
        whole = len(order) // self.batch_size * self.batch_size  # the smaller batch stays the last
        batches = random.permutation(order[:whole].reshape(-1, self.batch_size))
        return np.concatenate([batches.reshape(-1), order[whole:]])

    def batch(self, epoch: int, k: int) -> LabelledBatch:
        """Batch `k` of `epoch`; `source` are the numbers of its items."""
        chosen = self.plan(epoch, k)[self._mine]
        tokens, lengths = self._side_by_side(chosen.tolist())
        (inputs, read), hints = self.encoding(tokens, lengths), None
        if self._hints:
            hints = torch.from_numpy(np.stack([self.sequences.hints(item) for item in chosen.tolist()]))
        if read is not None:
            lengths = read.sum(dim=1)
            if hints is not None:
                told = [row[those] for row, those in zip(hints, read, strict=True)]
                hints = pad_sequence(told, batch_first=True)
        labels = torch.from_numpy(self.sequences.labels[chosen])
        full = bool((lengths == lengths.max()).all())
        return LabelledBatch(
            inputs, labels, None if full else lengths, torch.from_numpy(chosen[:, None]), hints
        )

    def _side_by_side(
        self, items: list[int]
    ) -> tuple[Int[Tensor, "sequences time"], Int64[Tensor, "sequences"]]:
        """Tokens, 0 behind the end of a sequence, and lengths; of items with two sequences the first of all come first."""
        rows = [self.sequences.read(item, tower) for tower in range(self.towers) for item in items]
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        tokens = np.zeros((len(rows), lengths.max()), dtype=np.result_type(*(row.dtype for row in rows)))
        for place, row in zip(tokens, rows, strict=True):
            place[: len(row)] = row
        return torch.from_numpy(tokens), torch.from_numpy(lengths)
