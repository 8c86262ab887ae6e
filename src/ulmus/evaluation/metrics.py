"""Metrics of fitted neurons for any resample of the trials: ROC curve, voltage, and the spike metrics that physiologists read."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from ulmus.evaluation.intervals import Counts
from ulmus.trials.spike_matching import matched_spikes
from ulmus.trials.trial import label_bins

TOLERANCES_MS = (1.0, 2.0, 3.0, 5.0)
"""How far a predicted spike may be from the recorded one that it stands for."""
SPIKE_SURROUND_MS = 5.0
"""Steps this close to a recorded spike do not count as sub-threshold."""


class SpikeRanking:
    """ROC scores of any resample of the trials, exact, without sorting again.

    The area under the curve is the share of pairs of a spike step and a silent step that are ranked right (ties count
    half). How many pairs of trial i's spikes and trial j's silent steps are right is counted once; a resample weighs
    these numbers by how often both trials were drawn.

    Args:
        spikes: Whether each step holds a spike.
        logit: Score of each step.
        known: Whether each step was recorded; others do not count.
        nearest_rate: See `ulmus.evaluation.scores.Protocol`.
    """

    RATES = {"tpr_at_fpr_0025": 0.0025, "tpr_at_fpr_01": 0.01}  # noqa: RUF012

    def __init__(
        self,
        spikes: Bool[np.ndarray, "trials time"],
        logit: Float[np.ndarray, "trials time"],
        known: Bool[np.ndarray, "trials time"],
        nearest_rate: bool,
    ) -> None:
        self._nearest = nearest_rate
        silent = known & ~spikes
        self._positives = spikes.sum(axis=1)
        self._negatives = silent.sum(axis=1)
        self._right = _right_pairs(spikes, silent, logit)
        counted = np.flatnonzero(known)
        order = counted[np.argsort(-logit.ravel()[counted], kind="stable")]
        self._trial = (order // spikes.shape[1]).astype(np.int32)
        self._spike = spikes.ravel()[order]
        ranked = logit.ravel()[order]
        self._last_of_tie = np.append(ranked[1:] != ranked[:-1], True)

    def at(self, counts: Counts) -> dict[str, float | None]:
        """``auc`` and true positive rates when trial k is taken ``counts[k]`` times; None without both kinds of steps."""
        positives, negatives = int(counts @ self._positives), int(counts @ self._negatives)
        if not positives or not negatives:
            return {"auc": None, **dict.fromkeys(self.RATES)}
        auc = float(counts @ self._right @ counts) / positives / negatives
        false, true = self._corner(counts, max(self.RATES.values()) * negatives)
        return {
            "auc": auc,
            **{
                key: float(true[self._place(false, limit * negatives)]) / positives
                for key, limit in self.RATES.items()
            },
        }

    def _place(self, false: Int[np.ndarray, "points"], limit: float) -> int:
        if self._nearest:
            return int(np.argmin(np.abs(false - limit)))
        return int(np.searchsorted(false, limit, side="right")) - 1

    def _corner(
        self, counts: Counts, most_false: float
    ) -> tuple[Int[np.ndarray, "points"], Int[np.ndarray, "points"]]:
        """False and true positives along the ROC curve, from (0, 0) to beyond `most_false` false ones."""
        size, stop = len(self._trial), len(self._trial) // 20
        while True:
            stop = min(max(stop, 1000), size)
            weight = counts[self._trial[:stop]]
            hit = np.cumsum(weight * self._spike[:stop])
            false = np.cumsum(weight) - hit
            if stop == size or false[-1] > 2 * most_false + 1:
                break
            stop *= 2
        # A tie with steps of weight zero is one point of the curve; the last step of a tie may weigh nothing.
        ends = np.flatnonzero(self._last_of_tie[:stop])
        false, hit = false[ends], hit[ends]
        moved = np.append(True, (np.diff(false) > 0) | (np.diff(hit) > 0)) & ((false > 0) | (hit > 0))
        false, hit = false[moved], hit[moved]
        if self._nearest and len(false) > 2:  # as scikit-learn drops points between corners
            corner = np.concatenate([[True], (np.diff(false, 2) != 0) | (np.diff(hit, 2) != 0), [True]])
            false, hit = false[corner], hit[corner]
        return np.append(0, false), np.append(0, hit)


def _right_pairs(
    spikes: Bool[np.ndarray, "trials time"],
    silent_steps: Bool[np.ndarray, "trials time"],
    logit: Float[np.ndarray, "trials time"],
) -> Float64[np.ndarray, "trials trials"]:
    """Pairs ranked right of the spike steps of each trial (rows) and the silent steps of each (columns)."""
    owner, _ = np.nonzero(spikes)
    found = logit[spikes]
    right = np.zeros((len(spikes), len(spikes)))
    for column, (row, silent) in enumerate(zip(logit, silent_steps, strict=True)):
        others = np.sort(row[silent])
        below = np.searchsorted(others, found, side="left") + np.searchsorted(others, found, side="right")
        right[:, column] = np.bincount(owner, below / 2, minlength=len(spikes))
    return right


class VoltageErrors:
    """Voltage scores of any resample of the trials.

    Args:
        recorded_mv: Recorded voltage of every trial; steps without one (NaN) do not count.
        predicted_mv: Predicted voltage.
        kept: Trials that count.
        skip: Steps at the beginning that do not count.
        restandardise: Give the prediction the mean and standard deviation of the recording first, over all steps of
            all trials drawn.
    """

    def __init__(
        self,
        recorded_mv: Float[np.ndarray, "trials time"],
        predicted_mv: Float[np.ndarray, "trials time"],
        kept: Bool[np.ndarray, "trials"],
        skip: int,
        restandardise: bool,
    ) -> None:
        there = np.isfinite(recorded_mv)
        middle = float(recorded_mv[there].mean())  # sums of squares stay small, so nothing cancels
        recorded, predicted = (
            np.where(there, voltage.astype(np.float64) - middle, 0.0)
            for voltage in (recorded_mv, predicted_mv)
        )
        self._kept, self._restandardise = kept, restandardise
        self._all_steps, self._steps = there.sum(axis=1), there[:, skip:].sum(axis=1)
        self._all = _moments(recorded, predicted)
        self._counted = _moments(recorded[:, skip:], predicted[:, skip:])
        self._recorded, self._predicted, self._there = (
            part[:, skip:] for part in (recorded, predicted, there)
        )
        self._absolute = np.abs(self._predicted - self._recorded).sum(axis=1)

    def at(self, counts: Counts) -> dict[str, float | None]:
        """``rmse_mv``, ``mae_mv`` and ``explained_variance_percent`` when trial k is taken ``counts[k]`` times."""
        kept = counts * self._kept
        steps = kept @ self._steps
        if not steps:
            return dict.fromkeys(("rmse_mv", "mae_mv", "explained_variance_percent"))
        scale, shift = self._rescaling(counts) if self._restandardise else (1.0, 0.0)
        r, p, rr, pp, rp = kept @ self._counted / steps
        error = scale * p + shift - r
        square = scale**2 * pp + shift**2 + rr + 2 * (scale * shift * p - scale * rp - shift * r)
        variance = rr - r**2
        explained = 100 * (1 - (square - error**2) / variance) if variance > 0 else None
        return {
            "rmse_mv": float(np.sqrt(max(square, 0.0))),
            "mae_mv": self._absolute_error(kept, scale, shift) / steps,
            "explained_variance_percent": None if explained is None else float(explained),
        }

    def _rescaling(self, counts: Counts) -> tuple[float, float]:
        r, p, rr, pp, _ = counts @ self._all / (counts @ self._all_steps)
        scale = float(np.sqrt(max(rr - r**2, 0.0))) / max(float(np.sqrt(max(pp - p**2, 0.0))), 1e-12)
        return scale, float(r - scale * p)

    def _absolute_error(self, kept: Counts, scale: float, shift: float) -> float:
        if not self._restandardise:
            return float(kept @ self._absolute)
        drawn = np.flatnonzero(kept)
        error = np.abs(scale * self._predicted[drawn] + shift - self._recorded[drawn])
        return float(kept[drawn] @ (error * self._there[drawn]).sum(axis=1))


def _moments(
    recorded: Float64[np.ndarray, "trials time"], predicted: Float64[np.ndarray, "trials time"]
) -> Float64[np.ndarray, "trials 5"]:
    """Sums over each trial of the two voltages, their squares and their product."""
    products = recorded**2, predicted**2, recorded * predicted
    return np.stack([part.sum(axis=1) for part in (recorded, predicted, *products)], axis=1)


class SpikeMetrics:
    """Spike metrics of any resample of the trials, from what each trial contributes.

    Args:
        recorded_ms: Recorded spike times of every trial, ascending.
        predicted_ms: Predicted ones.
        error_mv: Predicted minus recorded voltage at every step that counts, ``[trials, time]``, NaN where there is no voltage;
            None where there is none at all.
        known: Whether each step of the whole trials was recorded.
        skip: Steps at the beginning that do not count, nor do spikes in them.
        dt_ms: Duration of a step.
    """

    def __init__(
        self,
        recorded_ms: Sequence[Float64[np.ndarray, "recorded"]],
        predicted_ms: Sequence[Float64[np.ndarray, "predicted"]],
        error_mv: Float64[np.ndarray, "trials time"] | None,
        known: Bool[np.ndarray, "trials whole"],
        skip: int,
        dt_ms: float,
    ) -> None:
        first_ms = skip * dt_ms
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
        self._intervals = intervals_within(recorded, known, dt_ms), intervals_within(predicted, known, dt_ms)
        self._seconds = known[:, skip:].sum(axis=1) * dt_ms / 1000
        self._squares: Float64[np.ndarray, "trials"] | None = None
        if error_mv is not None:
            quiet = ~near_spikes(recorded_ms, error_mv.shape[1], first_ms, dt_ms) & np.isfinite(error_mv)
            self._squares = (np.where(quiet, error_mv, 0.0) ** 2).sum(axis=1)
            self._quiet = quiet.sum(axis=1)

    def at(self, counts: Int[np.ndarray, "trials"]) -> dict[str, float | None]:
        """Metrics when trial k is taken ``counts[k]`` times; None where they are not defined.

        - ``precision_Nms``, ``recall_Nms``, ``f1_Nms``: share of predicted spikes within N ms of a recorded one, share of
          recorded spikes within N ms of a predicted one, one to one, and their harmonic mean.
        - ``rate_hz``, ``predicted_rate_hz``, ``rate_correlation``: mean firing rates, and the correlation of the spike
          counts of trials.
        - ``isi_median_ms``, ``predicted_isi_median_ms``, ``isi_distance``: inter-spike intervals; the distance is the
          largest difference of the two cumulative distributions (Kolmogorov and Smirnov).
        - ``subthreshold_rmse_mv``: voltage error over the steps not within 5 ms of a recorded spike, where there is a voltage.
        """
        recorded, predicted = int(counts @ self._recorded), int(counts @ self._predicted)
        values: dict[str, float | None] = {}
        for tolerance, matched in self._matched.items():
            hits = float(counts @ matched)
            values[f"precision_{tolerance:g}ms"] = _ratio(hits, predicted)
            values[f"recall_{tolerance:g}ms"] = _ratio(hits, recorded)
            values[f"f1_{tolerance:g}ms"] = _ratio(2 * hits, recorded + predicted)
        seconds = float(counts @ self._seconds)
        values |= {
            "rate_hz": _ratio(recorded, seconds),
            "predicted_rate_hz": _ratio(predicted, seconds),
            "rate_correlation": _correlation(self._recorded, self._predicted, counts),
            **self._interval_metrics(counts),
        }
        if self._squares is not None:
            square = _ratio(float(counts @ self._squares), float(counts @ self._quiet))
            values["subthreshold_rmse_mv"] = None if square is None else float(np.sqrt(square))
        return values

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


def intervals_within(
    times_ms: Sequence[Float64[np.ndarray, "spikes"]], known: Bool[np.ndarray, "trials time"], dt_ms: float
) -> list[Float64[np.ndarray, "intervals"]]:
    """Inter-spike intervals of every trial, but for those in which some steps were not recorded."""
    found = []
    for times, row in zip(times_ms, known, strict=True):
        lost = np.cumsum(~row)[label_bins(times, dt_ms).clip(0, len(row) - 1)]
        found.append(np.diff(times)[np.diff(lost) == 0])
    return found


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
