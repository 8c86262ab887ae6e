"""What a trial is: input events, membrane voltage and output spikes of one simulated stretch of time."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int, Int32, UInt16

from ulmus.errors import DataError


class Trial(NamedTuple):
    """One trial, or a window of one.

    Attributes:
        event_step: time bin of each input event, ascending.
        event_input: which input it came from.
        voltage_mv: membrane voltage in mV at the beginning of each time bin, as in the published files; NaN where it is
            missing.
        spike_time_ms: output spikes in ms from the beginning, ascending.
        attributes: what is known of this trial alone (seed, regime, ...), as JSON can hold it.
        continuous: value of every continuous input in every time bin, in its unit; None where there is none.
        recorded: whether each step was recorded: not in gaps, nor beyond the end of a trial shorter than others. What was
            not has neither spikes nor voltage, and does not count. None where all were.
        signals: value of every further signal at the beginning of each time bin, in its unit, NaN where it is missing; None
            where there is none.
    """

    event_step: Int32[np.ndarray, "events"]
    event_input: UInt16[np.ndarray, "events"]
    voltage_mv: Float32[np.ndarray, "time sites"]
    spike_time_ms: Float64[np.ndarray, "spikes"]
    attributes: dict[str, Any]
    continuous: Float32[np.ndarray, "time channels"] | None = None
    recorded: Bool[np.ndarray, "time"] | None = None
    signals: Float32[np.ndarray, "time signals"] | None = None


def label_bins(spike_time_ms: Float64[np.ndarray, "spikes"], dt_ms: float) -> Int[np.ndarray, "spikes"]:
    """Bin of every spike, ``int(t / dt - 0.5)`` truncated towards zero (the published labels of NeuronIO)."""
    return np.trunc(spike_time_ms / dt_ms - 0.5).astype(np.int64)


def spike_bins(
    spike_time_ms: Float64[np.ndarray, "spikes"], dt_ms: float, steps: int
) -> Int[np.ndarray, "bins"]:
    """Bins that hold a spike, ascending, each once: bin ``int(t / dt - 0.5)``, truncated.

    Raises:
        DataError: a spike outside of the `steps` bins.
    """
    bins = np.unique(label_bins(np.asarray(spike_time_ms, dtype=np.float64), dt_ms))
    if bins.size and not (bins[0] >= 0 and bins[-1] < steps):
        raise DataError(
            f"spike_time_ms from {np.min(spike_time_ms)} to {np.max(spike_time_ms)} ms: expected times within "
            f"0 and {steps * dt_ms} ms; correct or cut the spike times"
        )
    return bins


def step_offsets(event_step: Int32[np.ndarray, "events"], steps: int) -> Int[np.ndarray, "time_plus_one"]:
    """Index of the first event of every step, and the number of events at the end."""
    offsets = np.zeros(steps + 1, dtype=np.int64)
    np.cumsum(np.bincount(event_step, minlength=steps), out=offsets[1:])
    return offsets
