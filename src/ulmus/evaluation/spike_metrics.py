"""Spike metrics that physiologists read: spikes found at the right time, intervals, rates, voltage between spikes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64, Int

from ulmus.trials.spike_matching import matched_spikes

TOLERANCES_MS = (1.0, 2.0, 3.0, 5.0)
"""How far a predicted spike may be from the recorded one that it stands for."""
SPIKE_SURROUND_MS = 5.0
"""Steps this close to a recorded spike do not count as sub-threshold."""


class SpikeMetrics:
    """Spike metrics of any resample of the trials, from what each trial contributes.

    Args:
        recorded_ms: Recorded spike times of every trial, ascending.
        predicted_ms: Predicted ones.
        error_mv: Predicted minus recorded voltage at every step, ``[trials, time]``.
        first_ms: Time of the first of these steps; earlier spikes do not count.
        dt_ms: Duration of a step.
    """

    def __init__(
        self,
        recorded_ms: Sequence[Float64[np.ndarray, "recorded"]],
        predicted_ms: Sequence[Float64[np.ndarray, "predicted"]],
        error_mv: Float64[np.ndarray, "trials time"],
        first_ms: float,
        dt_ms: float,
    ) -> None:
        recorded = [times[times >= first_ms] for times in recorded_ms]
        predicted = [times[times >= first_ms] for times in predicted_ms]
        self._recorded = np.array([len(times) for times in recorded])
        self._predicted = np.array([len(times) for times in predicted])
        self._matched = {
            tolerance: np.array(
                [len(matched_spikes(*pair, tolerance)) for pair in zip(recorded, predicted, strict=True)]
            )
            for tolerance in TOLERANCES_MS
        }
        self._intervals = [np.diff(times) for times in recorded], [np.diff(times) for times in predicted]
        quiet = ~near_spikes(recorded_ms, error_mv.shape[1], first_ms, dt_ms)
        self._squares = (error_mv**2 * quiet).sum(axis=1)
        self._quiet = quiet.sum(axis=1)
        self._seconds = error_mv.shape[1] * dt_ms / 1000

    def at(self, counts: Int[np.ndarray, "trials"]) -> dict[str, float | None]:
        """Metrics when trial k is taken ``counts[k]`` times; None where they are not defined.

        - ``precision_Nms``, ``recall_Nms``, ``f1_Nms``: share of predicted spikes within N ms of a recorded one, share of
          recorded spikes within N ms of a predicted one, one to one, and their harmonic mean.
        - ``rate_hz``, ``predicted_rate_hz``, ``rate_correlation``: mean firing rates, and the correlation of the spike
          counts of trials.
        - ``isi_median_ms``, ``predicted_isi_median_ms``, ``isi_distance``: inter-spike intervals; the distance is the
          largest difference of the two cumulative distributions (Kolmogorov and Smirnov).
        - ``subthreshold_rmse_mv``: voltage error over the steps not within 5 ms of a recorded spike.
        """
        recorded, predicted = int(counts @ self._recorded), int(counts @ self._predicted)
        values: dict[str, float | None] = {}
        for tolerance, matched in self._matched.items():
            hits = float(counts @ matched)
            values[f"precision_{tolerance:g}ms"] = _ratio(hits, predicted)
            values[f"recall_{tolerance:g}ms"] = _ratio(hits, recorded)
            values[f"f1_{tolerance:g}ms"] = _ratio(2 * hits, recorded + predicted)
        seconds = counts.sum() * self._seconds
        square = _ratio(float(counts @ self._squares), float(counts @ self._quiet))
        return {
            **values,
            "rate_hz": recorded / seconds,
            "predicted_rate_hz": predicted / seconds,
            "rate_correlation": _correlation(self._recorded, self._predicted, counts),
            **self._interval_metrics(counts),
            "subthreshold_rmse_mv": None if square is None else float(np.sqrt(square)),
        }

    def _interval_metrics(self, counts: Int[np.ndarray, "trials"]) -> dict[str, float | None]:
        recorded, predicted = (
            np.concatenate([np.tile(part, count) for part, count in zip(parts, counts, strict=True)])
            for parts in self._intervals
        )
        both = len(recorded) > 0 and len(predicted) > 0
        return {
            "isi_median_ms": float(np.median(recorded)) if len(recorded) else None,
            "predicted_isi_median_ms": float(np.median(predicted)) if len(predicted) else None,
            "isi_distance": largest_difference(recorded, predicted) if both else None,
        }


def near_spikes(
    spikes_ms: Sequence[Float64[np.ndarray, "spikes"]],
    steps: int,
    first_ms: float,
    dt_ms: float,
    within_ms: float = SPIKE_SURROUND_MS,
) -> Any:
    """Whether each of `steps` steps from `first_ms` on lies within 5 ms (or another time) of a spike of its trial."""
    near = np.zeros((len(spikes_ms), steps), dtype=bool)
    for row, times in zip(near, spikes_ms, strict=True):
        starts = np.ceil((times - within_ms - first_ms) / dt_ms).astype(np.int64)
        stops = np.floor((times + within_ms - first_ms) / dt_ms).astype(np.int64) + 1
        for start, stop in zip(starts.clip(0), stops.clip(0), strict=True):
            row[start:stop] = True
    return near


def largest_difference(a: Float64[np.ndarray, "a"], b: Float64[np.ndarray, "b"]) -> float:
    """Kolmogorov-Smirnov distance of two samples; without the p-value of scipy's test, which warns of tiny samples."""
    everywhere = np.concatenate([a, b])
    share_a, share_b = (
        np.searchsorted(np.sort(sample), everywhere, side="right") / len(sample) for sample in (a, b)
    )
    return float(np.abs(share_a - share_b).max())


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _correlation(
    a: Int[np.ndarray, "trials"], b: Int[np.ndarray, "trials"], counts: Int[np.ndarray, "trials"]
) -> float | None:
    a, b = np.repeat(a, counts), np.repeat(b, counts)
    if len(a) < 2 or a.std() == 0 or b.std() == 0:
        return None
    return float(np.corrcoef(a, b)[0, 1])
