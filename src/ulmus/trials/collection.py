"""Where trials are read from: the interface that stores, recordings and collections of them share."""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int, UInt16

from ulmus.errors import DataError
from ulmus.trials.trial import Header, Trial, label_bins


class Clip(NamedTuple):
    """A stretch of a trial as it is stored: views, except for the few spikes.

    Attributes:
        step_offset: events of step ``t`` are ``step_offset[t] - step_offset[0]`` onwards in `event_input`.
        event_input: input of each event, ordered by step.
        voltage_mv: membrane voltage in mV.
        spike_time_ms: output spikes in ms from the beginning of the *trial*.
        spike_bin: their label bins from the beginning of the clip.
    """

    step_offset: Int[np.ndarray, "time_plus_one"]
    event_input: UInt16[np.ndarray, "events"]
    voltage_mv: Float32[np.ndarray, "time sites"]
    spike_time_ms: Float64[np.ndarray, "spikes"]
    spike_bin: Int[np.ndarray, "spikes"]


def cut(
    step_offset: Int[np.ndarray, "time_plus_one"],
    event_input: UInt16[np.ndarray, "events"],
    voltage_mv: Float32[np.ndarray, "time sites"],
    spike_time_ms: Float64[np.ndarray, "spikes"],
    dt_ms: float,
    start: int,
    stop: int,
) -> Clip:
    """The steps `start` to `stop` of a whole trial; a spike belongs to the clip that its label bin is in."""
    offsets = step_offset[start : stop + 1]
    events = event_input[int(offsets[0]) : int(offsets[-1])]
    bins = np.empty(0, dtype=np.int64)
    if spike_time_ms.size:
        bins = label_bins(spike_time_ms, dt_ms)
        if (
            stop - start < len(step_offset) - 1
        ):  # else all of them, so that a check of the trial sees wrong ones
            inside = (bins >= start) & (bins < stop)
            spike_time_ms, bins = spike_time_ms[inside], bins[inside] - start
    return Clip(offsets, events, voltage_mv[start:stop], spike_time_ms, bins)


def as_trial(clip: Clip, start: int, dt_ms: float, attributes: dict[str, Any]) -> Trial:
    """The clip that begins at step `start` as a trial of its own, with steps and times counted from there."""
    offsets = clip.step_offset.astype(np.int64)
    counts = offsets[1:] - offsets[:-1]
    return Trial(
        event_step=np.repeat(np.arange(counts.size, dtype=np.int32), counts),
        event_input=clip.event_input,
        voltage_mv=clip.voltage_mv,
        spike_time_ms=clip.spike_time_ms - start * dt_ms,
        attributes=attributes,
    )


class TrialSource(ABC):
    """Trials that can be read one by one or in windows: a store, a recording, or several of them."""

    header: Header

    @abstractmethod
    def __len__(self) -> int:
        """Number of trials."""

    @abstractmethod
    def clip(self, index: int, start: int, stop: int) -> Clip:
        """Steps `start` to `stop` of trial `index` without copies; the arguments are not checked."""

    @abstractmethod
    def attributes(self, index: int) -> dict[str, Any]:
        """What is known of trial `index` alone."""

    @property
    @abstractmethod
    def content_hash(self) -> str:
        """SHA-256 that names the content, for provenance."""

    @property
    @abstractmethod
    def description(self) -> list[dict[str, Any]]:
        """Every file or store behind these trials with its hash, for provenance.

        Trials of one ``origin`` are the same trials where they have the same number, wherever they lie.
        """

    def trial(self, index: int) -> Trial:
        """A whole trial.

        Raises:
            DataError: there is no such trial, or its file is damaged.
        """
        return self.window(index, 0, self.header.steps)

    def window(self, index: int, start: int, stop: int) -> Trial:
        """The steps `start` to `stop` of a trial, with steps and times counted from `start`.

        Raises:
            DataError: there is no such trial or window, or its file is damaged.
        """
        if not (0 <= index < len(self) and 0 <= start < stop <= self.header.steps):
            raise DataError(
                f"trial {index}, steps {start} to {stop}: these data hold trials 0 to {len(self) - 1} of "
                f"{self.header.steps} steps; ask for a part of that"
            )
        return as_trial(self.clip(index, start, stop), start, self.header.dt_ms, self.attributes(index))
