"""Spikes in and out of a fitted neuron: signs of its inputs, and where its spike probability says that it fires."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int8, Int64

from ulmus.errors import ConfigError
from ulmus.geometry import Geometry
from ulmus.neuron.elm import ELM
from ulmus.neuron.sequence_model import SequenceModel


def input_signs(
    neuron: SequenceModel,
    geometry: Geometry | None,
    continuous: int = 0,
    inhibitory: Sequence[tuple[int, int]] | None = None,
) -> tuple[Int64[np.ndarray, "inputs"], bool]:
    """+1 for excitatory and -1 for inhibitory inputs, and whether the neuron tells: all +1 where it does not.

    Ranges of inhibitory inputs come from the trials that it was fitted to. Without them, windows routing has as many
    inhibitory inputs after the excitatory ones; so has a cell on every piece of which an input of either kind lies. The last
    inputs, which so many are, may be continuous ones: they have no sign, 0.

    Raises:
        ConfigError: ranges that are none.
    """
    inputs = neuron.inputs - continuous
    if inhibitory is not None:
        signs = np.ones(inputs, dtype=np.int64)
        for first, stop in _checked(inhibitory, inputs):
            signs[first:stop] = -1
        return np.concatenate([signs, np.zeros(continuous, dtype=np.int64)]), True
    half = inputs // 2
    halves = isinstance(neuron, ELM) and neuron.config["routing"] == "windows" and not continuous
    if geometry is not None and inputs > 0 and inputs % 2 == 0:
        halves = halves or bool((geometry.input_piece[:half] == geometry.input_piece[half:inputs]).all())
    signs = np.repeat([1, -1], [half, half]) if halves else np.ones(inputs, dtype=np.int64)
    return np.concatenate([signs, np.zeros(continuous, dtype=np.int64)]), halves


def _checked(ranges: Any, inputs: int) -> list[tuple[int, int]]:
    try:
        found = [(int(first), int(stop)) for first, stop in ranges]
    except (TypeError, ValueError):
        found = [(0, 0)]
    if not all(0 <= first < stop <= inputs for first, stop in found):
        raise ConfigError(
            f"card['inhibitory'] is {str(ranges)[:60]}; expected ranges of the {inputs} inputs, first and behind the last, such "
            "as [(639, 1278)]. Correct the card."
        )
    return found


def inhibitory_ranges(signs: Int8[np.ndarray, "inputs"]) -> list[tuple[int, int]]:
    """Ranges of inputs, first and behind the last, whose sign is negative."""
    edges = np.diff(np.concatenate([[0], np.asarray(signs) < 0, [0]]).astype(np.int8))
    return list(zip(np.flatnonzero(edges > 0).tolist(), np.flatnonzero(edges < 0).tolist(), strict=True))


def first_peaks(
    drive: Float[np.ndarray, "time"], threshold: float, before: float = -np.inf, fired: bool = False
) -> tuple[list[int], bool]:
    """Steps of spikes: the first peak of every stretch above the threshold; and whether the last stretch has had its spike.

    This is the one rule for spikes, which scores, predictions, steppers, populations and exported neurons follow. It needs
    nothing but the past: a peak shows when the next value is lower. The highest peak of a stretch (in 12 % of
    those of l5pc-branch-20 another one) shows only when the stretch has ended.

    So that long input may come in pieces, `before` is the last value of the piece before, whose step is -1, and `fired` what
    this function said of it.
    """
    values = np.concatenate([[before], drive])
    falls = np.flatnonzero(values[1:] < values[:-1])
    found: list[int] = []
    after = False
    for start, stop in _stretches(values, threshold):
        place = int(np.searchsorted(falls, start))
        fallen = place < len(falls) and falls[place] < stop
        already = fired and start == 0
        if fallen and not already:
            found.append(int(falls[place]) - 1)
        if stop == len(values):
            after = fallen or already
    return found, after


def rises(
    drive: Float[np.ndarray, "time"],
) -> tuple[Float[np.ndarray, "peaks"], Float[np.ndarray, "peaks"], Int64[np.ndarray, "peaks"]]:
    """Every rise to a peak: where it begins, the peak, and its step.

    By the rule of `first_peaks`, the spikes at a threshold are the peaks above it whose rise began at or below it. So the
    number of spikes is known for all thresholds at once; it is no monotone function of them, since stretches above a lower
    threshold run into each other.
    """
    falls = np.flatnonzero(drive[1:] < drive[:-1])
    begins = np.concatenate([[-np.inf], drive[falls + 1]])[: len(falls)]
    return begins, drive[falls], falls


def spike_logit(threshold: float) -> float:
    """The threshold of a spike probability, for logits: rounding of a probability near 1 would flatten peaks."""
    with np.errstate(divide="ignore"):  # 0 and 1 are infinite logits
        return float(np.log(threshold) - np.log1p(-threshold))


def spike_times(
    drive: Float[np.ndarray, "time"], threshold: float, dt_ms: float
) -> Float64[np.ndarray, "spikes"]:
    """Times in ms of the spikes of a whole trial, see `first_peaks`; ``drive`` is a probability or a logit, like the threshold.

    Step k stands for spikes between (k + 1/2) dt and (k + 3/2) dt (the published binning), so its time is (k + 1) dt.
    """
    return (np.asarray(first_peaks(drive, threshold)[0], dtype=np.float64) + 1) * dt_ms


def _stretches(values: Float[np.ndarray, "time"], threshold: float) -> list[tuple[int, int]]:
    """First step of every stretch above the threshold, and the step after its last."""
    above = np.concatenate([[False], values > threshold, [False]])
    starts, stops = np.flatnonzero(above[1:] & ~above[:-1]), np.flatnonzero(above[:-1] & ~above[1:])
    return list(zip(starts.tolist(), stops.tolist(), strict=True))
