"""Batches for training and evaluation: events stay sparse, windows are drawn reproducibly."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from ulmus.errors import ConfigError
from ulmus.files.batch_loading import Numbered, random_of
from ulmus.kernels.events import Events
from ulmus.trials.augmentation import Augmentation
from ulmus.trials.header import Header
from ulmus.trials.trial import Trial, label_bins, step_offsets
from ulmus.trials.trial_source import Clip, TrialSource

Change = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""From inputs of events and the sign of every input to changed inputs and amplitudes."""


class Batch(NamedTuple):
    """Windows of equal length, side by side.

    Attributes:
        events: input events with the signs of their inputs as amplitudes; a continuous input has an event in every step, its
            value divided by the scale of its channel.
        voltage_mv: recorded voltage in mV.
        spikes: 1 in the label bin of an output spike, else 0.
        trial: which trial each window is of.
        start: the step it begins at.
        recorded: whether each step was recorded; None where all were.
        signals: recorded further signals, in their units; None where there is none.
    """

    events: Events
    voltage_mv: Float32[Tensor, "batch time sites"]
    spikes: Float32[Tensor, "batch time"]
    trial: Int64[Tensor, "batch"]
    start: Int64[Tensor, "batch"]
    recorded: Bool[Tensor, "batch time"] | None = None
    signals: Float32[Tensor, "batch time signals"] | None = None

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device."""
        parts = (None if part is None else part.to(device) for part in self)
        return Batch(*parts)  # type: ignore[arg-type]


class Windows(Numbered[Batch]):
    """Random windows of trials; batch ``k`` of an epoch depends on (seed, epoch, k) alone.

    Trials are drawn uniformly with replacement, starts uniformly from `earliest_step` to the last one that fits; a window
    longer than its trial begins with it, and what follows was not recorded.

    Args:
        trials: where the windows come from.
        window_steps: length of a window in steps.
        batch: windows in a batch.
        seed: 0 to 2**64 - 1.
        batches_per_epoch: batches in an epoch.
        earliest_step: first step that a window may begin at.
        augmentation: changes of the input events; none by default.
        share: number of this process and of all processes that share the windows of every batch.

    Raises:
        ConfigError: a value that gives no window.
    """

    def __init__(
        self,
        trials: TrialSource,
        window_steps: int,
        batch: int,
        seed: int,
        batches_per_epoch: int,
        earliest_step: int = 0,
        augmentation: Augmentation | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        steps = trials.header.steps
        for name, value in (
            ("window_steps", window_steps),
            ("batch", batch),
            ("batches_per_epoch", batches_per_epoch),
        ):
            if value < 1:
                raise ConfigError(f"{name}={value}: expected at least 1; correct {name}")
        if not 0 <= earliest_step <= steps - window_steps:
            raise ConfigError(
                f"window_steps={window_steps} from earliest_step={earliest_step} on: does not fit in trials of {steps} "
                "steps; shorten the window or let it begin earlier"
            )
        if not 0 <= seed < 2**64:
            raise ConfigError(f"seed={seed}: expected 0 to 2**64 - 1; choose another seed")
        if not len(trials):
            raise ConfigError(
                "no trials to draw windows from: expected at least one; widen the slice of the data"
            )
        self.trials, self.window_steps, self.batch_size = trials, window_steps, batch
        self.seed, self.batches_per_epoch, self.earliest_step = seed, batches_per_epoch, earliest_step
        self._mine = slice(share[0], None, share[1])
        self._augmentation = augmentation or Augmentation()
        # Last start in every trial, where lengths differ.
        self._last: Int64[np.ndarray, "trials"] | None = None
        if trials.header.gaps:
            lengths = np.array([trials.recorded_steps(index) for index in range(len(trials))])
            self._last = np.maximum(lengths - window_steps, 0)

    def plan(self, epoch: int, k: int) -> tuple[Int64[np.ndarray, "batch"], Int64[np.ndarray, "batch"]]:
        """Trial and first step of every window of batch `k` in `epoch`."""
        random = np.random.Generator(random_of(self.seed, epoch, k))
        trial = random.integers(len(self.trials), size=self.batch_size)
        if self._last is not None:
            latest = self._last[trial]
            first = np.minimum(self.earliest_step, latest)
            return trial, random.integers(first, latest, endpoint=True)
        last = self.trials.header.steps - self.window_steps
        start = random.integers(self.earliest_step, last, size=self.batch_size, endpoint=True)
        return trial, start

    def batch(self, epoch: int, k: int) -> Batch:
        """Batch `k` of `epoch`.

        Raises:
            DataError: a file of the data is missing or damaged.
        """
        trial, start = (drawn[self._mine] for drawn in self.plan(epoch, k))
        length = self.window_steps
        places = zip(trial.tolist(), start.tolist(), strict=True)
        clips = [self.trials.clip(index, first, first + length) for index, first in places]
        random = random_of(self.seed, epoch, k).jumped(1 + self._mine.start)
        change = partial(self._augmentation, random=np.random.Generator(random))
        return _assemble(clips, self.trials.header, trial, start, change)


def whole_trials(trials: TrialSource, batch: int) -> Iterator[Batch]:
    """All trials from beginning to end, in order, `batch` at a time; the last batch may be smaller.

    Raises:
        ConfigError: `batch` is not positive.
        DataError: a file of the data is missing or damaged.
    """
    if batch < 1:
        raise ConfigError(f"batch={batch}: expected at least 1; correct batch")
    for first in range(0, len(trials), batch):
        index = np.arange(first, min(first + batch, len(trials)))
        clips = [trials.clip(i, 0, trials.header.steps) for i in index.tolist()]
        yield _assemble(clips, trials.header, index, np.zeros_like(index))


def events_from_trials(trials: Sequence[Trial], header: Header) -> Events:
    """The input events of trials (or windows of equal length) as a batch, amplitude +1 or -1 by input."""
    clips = [
        Clip(
            step_offsets(trial.event_step, len(trial.voltage_mv)),
            trial.event_input,
            trial.voltage_mv,
            trial.spike_time_ms,
            label_bins(trial.spike_time_ms, header.dt_ms),
            trial.continuous,
            trial.recorded,
            trial.signals,
        )
        for trial in trials
    ]
    return _events(clips, header)


def _assemble(
    clips: list[Clip],
    header: Header,
    trial: Int64[np.ndarray, "batch"],
    start: Int64[np.ndarray, "batch"],
    change: Change | None = None,
) -> Batch:
    voltage = np.stack([clip.voltage_mv for clip in clips])
    spikes = np.zeros(voltage.shape[:2], dtype=np.float32)
    for row, clip in zip(spikes, clips, strict=True):
        row[clip.spike_bin] = 1
    return Batch(
        _events(clips, header, change),
        torch.from_numpy(voltage),
        torch.from_numpy(spikes),
        torch.from_numpy(trial),
        torch.from_numpy(start),
        _stacked([clip.recorded for clip in clips]),
        _stacked([clip.signals for clip in clips]),
    )


def _stacked(parts: Sequence[np.ndarray | None]) -> Tensor | None:
    """What all clips have, or none of them."""
    there = [part for part in parts if part is not None]
    return torch.from_numpy(np.stack(there)) if there else None


def _events(clips: list[Clip], header: Header, change: Change | None = None) -> Events:
    time = len(clips[0].voltage_mv)
    inputs = np.concatenate([clip.event_input for clip in clips], dtype=np.int32, casting="safe")
    row_start = np.empty(len(clips) * time + 1, dtype=np.int32)
    events = 0
    for position, clip in enumerate(clips):
        # Differences, since uint32 offsets minus the first are exact whatever event the clip begins at.
        row_start[position * time : (position + 1) * time] = clip.step_offset[:-1] - clip.step_offset[0]
        row_start[position * time : (position + 1) * time] += events
        events += len(clip.event_input)
    row_start[-1] = events
    if change is None:
        values = header.input_sign.take(inputs).astype(np.float32)
    else:
        inputs, values = change(inputs, header.input_sign[: header.event_inputs])
    if header.continuous:
        row_start, inputs, values = _with_continuous(clips, header, row_start, inputs, values)
    return Events(
        torch.from_numpy(row_start),
        torch.from_numpy(inputs),
        torch.from_numpy(values),
        len(clips),
        time,
        header.inputs,
    )


def _with_continuous(
    clips: list[Clip], header: Header, row_start: np.ndarray, inputs: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row starts, inputs and amplitudes with an event of every continuous input at the end of each row."""
    channels, rows = len(header.continuous), len(row_start) - 1
    series = np.concatenate([clip.continuous for clip in clips if clip.continuous is not None])
    series = series / np.array([channel.scale for channel in header.continuous], dtype=np.float32)
    numbers = np.arange(header.event_inputs, header.inputs, dtype=np.int32)
    ends = np.repeat(row_start[1:], channels)
    return (
        row_start + channels * np.arange(rows + 1, dtype=np.int32),
        np.insert(inputs, ends, np.tile(numbers, rows)),
        np.insert(values, ends, series.ravel()),
    )
