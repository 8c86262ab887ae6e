"""Batches of spoken digits: events stay sparse, and every batch depends on its number alone."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float64, Int64

from ulmus.arguments import check_sizes
from ulmus.errors import ConfigError
from ulmus.files.batch_loading import random_of
from ulmus.kernels.events import Events
from ulmus.sequences.digits.augmentation import ClipAugmentation
from ulmus.sequences.digits.clips import Clips
from ulmus.sequences.digits.shd import CHANNELS
from ulmus.sequences.labelled_batches import LabelledBatch, LabelledBatches

_MOST_STEPS = 1_000_000
SUMS = 19
"""Classes of added digits: 0 to 18."""


@dataclass(frozen=True)
class Binning:
    """How spike times become steps: bin ``k`` holds ``edges[k] <= t < edges[k + 1]``, later spikes are left out.

    The edges are those of the ELM authors, ``arange(0, window + bin, bin)``; where bins do not divide the window the
    last one reaches beyond it (167 bins of 6 ms in 1 s).

    Attributes:
        bin_ms: width of a bin.
        window_s: how much of a clip is used.

    Raises:
        ConfigError: no bin fits.
    """

    bin_ms: float = 2.0
    window_s: float = 1.0

    def __post_init__(self) -> None:
        fits = self.bin_ms > 0 and 0 < self.window_s <= 1000 and self.bin_ms <= 1000 * self.window_s
        if not fits or self.window_s > self.bin_ms / 1000 * _MOST_STEPS:
            raise ConfigError(
                f"bin_ms={self.bin_ms}, window_s={self.window_s}: expected a positive bin no longer than the window, and at most "
                f"{_MOST_STEPS:,} bins; correct them"
            )

    @cached_property
    def edges(self) -> Float64[np.ndarray, "edges"]:
        """Bounds of the bins in s."""
        step = self.bin_ms / 1000
        return np.arange(0, self.window_s + step, step)

    @property
    def steps(self) -> int:
        """Number of bins."""
        return len(self.edges) - 1

    def count(
        self, times_s: Float64[np.ndarray, "spikes"], units: Int64[np.ndarray, "spikes"]
    ) -> tuple[Int64[np.ndarray, "events"], Int64[np.ndarray, "events"]]:
        """Spikes per bin and channel where there are any: places ``bin * 700 + channel``, ascending, and counts."""
        bins = np.searchsorted(self.edges, times_s, side="right") - 1
        inside = bins < self.steps
        return np.unique(bins[inside] * CHANNELS + units[inside], return_counts=True)


class Digits(LabelledBatches):
    """Every clip once per epoch; the last batch may be smaller.

    Args:
        clips: where the sequences come from.
        batch: clips in a batch.
        binning: steps of the sequences.
        seed: of the order, 0 to 2**64 - 1; None keeps the order of `clips`, as for validation and test.
        share: number of this process and of all processes that share the sequences of every batch.
        augmentation: changes of the clips; none by default.

    Attributes:
        steps: length of a sequence.

    Raises:
        ConfigError: a value that gives no batch.
    """

    channels = CHANNELS

    def __init__(
        self,
        clips: Clips,
        batch: int,
        binning: Binning = Binning(),
        seed: int | None = None,
        share: tuple[int, int] = (0, 1),
        augmentation: ClipAugmentation | None = None,
    ) -> None:
        check_sizes(batch=batch)
        super().__init__(len(clips), batch, seed, share)
        self.clips, self.binning = clips, binning
        self.augmentation = augmentation or ClipAugmentation()
        self.steps, self.classes = binning.steps, clips.classes
        self.step_ms, self.content_hash = binning.bin_ms, clips.content_hash

    def plan(self, epoch: int, k: int) -> Int64[np.ndarray, "batch parts"]:
        """The clips of every sequence of batch `k` in `epoch`."""
        return super().plan(epoch, k)[:, None]

    def _labels(self, chosen: Int64[np.ndarray, "batch parts"]) -> Int64[np.ndarray, "batch"]:
        """The class of sequences made of these clips."""
        return np.asarray(self.clips.labels[chosen[:, 0]])

    def batch(self, epoch: int, k: int) -> LabelledBatch:
        """Batch `k` of `epoch`; `source` are its clips."""
        chosen = self.plan(epoch, k)[self._mine]
        random = random_of(self.seed or 0, epoch, k).jumped(1 + self._mine.start)
        events = self._side_by_side(chosen, np.random.Generator(random))
        return LabelledBatch(events, torch.from_numpy(self._labels(chosen)), None, torch.from_numpy(chosen))

    def _side_by_side(self, chosen: Int64[np.ndarray, "batch parts"], random: np.random.Generator) -> Events:
        """One sequence per row of `chosen`, its clips after each other."""
        places, counts = [], []
        for position, index in enumerate(chosen.reshape(-1).tolist()):
            place, count = self.binning.count(*self.augmentation(*self.clips.spikes(index), random))
            places.append(place + position * self.binning.steps * CHANNELS)
            counts.append(count)
        rows, inputs = np.divmod(np.concatenate(places), CHANNELS)
        shape = len(chosen), chosen.shape[1] * self.binning.steps
        of_steps = np.bincount(rows, minlength=shape[0] * shape[1]).reshape(shape)
        return Events.counted(of_steps, inputs, np.concatenate(counts), CHANNELS)


class AddedDigits(Digits):
    """Two clips after each other, to be added: SHD-Adding of the ELM paper.

    Both clips are drawn uniformly with replacement, each takes one window, and the class is the sum of the two digits
    whatever their language, 0 to 18. For validation and test the batches of epoch 0 are a fixed set.

    Args:
        clips: spoken digits: labels 0 to 9 or, in two languages, 0 to 19.
        batch: sequences in a batch.
        binning: steps of each of the two clips.
        seed: of the drawing, 0 to 2**64 - 1.
        batches_per_epoch: batches in an epoch.
        share: number of this process and of all processes that share the sequences of every batch.
        augmentation: changes of the clips; none by default.

    Raises:
        ConfigError: a value that gives no batch, or clips that are not digits.
    """

    def __init__(
        self,
        clips: Clips,
        batch: int,
        binning: Binning = Binning(),
        seed: int = 0,
        batches_per_epoch: int = 500,
        share: tuple[int, int] = (0, 1),
        augmentation: ClipAugmentation | None = None,
    ) -> None:
        super().__init__(clips, batch, binning, seed, share, augmentation)
        check_sizes(batches_per_epoch=batches_per_epoch)
        if len(clips.classes) not in (10, 20):
            raise ConfigError(
                f"{clips!r} has {len(clips.classes)} classes; expected 10 digits, or 20 in two languages; add digits only"
            )
        self.steps, self.batches_per_epoch = 2 * binning.steps, batches_per_epoch
        self.classes = tuple(map(str, range(SUMS)))

    def plan(self, epoch: int, k: int) -> Int64[np.ndarray, "batch parts"]:
        """The two clips of every sequence of batch `k` in `epoch`."""
        random = np.random.Generator(random_of(self.seed or 0, epoch, k))
        return random.integers(len(self.clips), size=(self.batch_size, 2))

    def _labels(self, chosen: Int64[np.ndarray, "batch parts"]) -> Int64[np.ndarray, "batch"]:
        return np.asarray((self.clips.labels[chosen] % 10).sum(axis=1))
