"""How sure a score is: the bootstrap over trials."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

LEVEL = 0.95
RESAMPLES = 1000
FEW_TRIALS = 10
"""With fewer trials a bootstrap over them tends to give intervals that are too narrow."""

Counts = Int[np.ndarray, "trials"]
"""How often every trial was drawn."""
Scores = Mapping[str, float | None]


def resampled(
    score: Callable[[Counts], Scores], trials: int, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Float64[np.ndarray, "resamples"]]:
    """Scores of resamples of the trials, drawn with replacement; NaN where a score is not defined.

    Two neurons scored on the same trials with the same seed are scored on the same resamples, so their scores may be
    subtracted one by one: see `difference`.
    """
    random = np.random.default_rng(seed)
    drawn: dict[str, list[float]] = {}
    for _ in range(resamples):
        counts = np.bincount(random.integers(trials, size=trials), minlength=trials)
        for key, value in score(counts).items():
            drawn.setdefault(key, []).append(np.nan if value is None else value)
    return {key: np.array(values) for key, values in drawn.items()}


def interval(samples: Float64[np.ndarray, "resamples"], level: float = LEVEL) -> tuple[float, float] | None:
    """Percentile interval (Efron) over the resamples that define the score; None when none does."""
    defined = samples[np.isfinite(samples)]
    if not defined.size:
        return None
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def intervals(samples: Mapping[str, Float64[np.ndarray, "resamples"]]) -> dict[str, list[float] | None]:
    """The interval of every score."""
    ends = {key: interval(values) for key, values in samples.items()}
    return {key: None if pair is None else list(pair) for key, pair in ends.items()}


def differences(
    ours: Mapping[str, Float64[np.ndarray, "resamples"]],
    theirs: Mapping[str, Float64[np.ndarray, "resamples"]],
) -> dict[str, list[float] | None]:
    """Interval of every score minus the other neuron's on the same trials, resample by resample.

    Much narrower than the two intervals, because an easy or hard trial is so for both.
    """
    return intervals({key: ours[key] - theirs[key] for key in ours if key in theirs})


class SpikeRanking:
    """ROC scores of any resample of the trials, exact, without sorting again.

    The area under the curve is the share of pairs of a spike step and a silent step that are ranked right (ties count
    half). How many pairs of trial i's spikes and trial j's silent steps are right is counted once; a resample weighs
    these numbers by how often both trials were drawn.

    Args:
        spikes: Whether each step holds a spike.
        logit: Score of each step.
        nearest_rate: See `ulmus.evaluation.scores.Protocol`.
    """

    RATES = {"tpr_at_fpr_0025": 0.0025, "tpr_at_fpr_01": 0.01}  # noqa: RUF012

    def __init__(
        self,
        spikes: Bool[np.ndarray, "trials time"],
        logit: Float[np.ndarray, "trials time"],
        nearest_rate: bool,
    ) -> None:
        self._nearest = nearest_rate
        self._positives = spikes.sum(axis=1)
        self._negatives = (~spikes).sum(axis=1)
        self._right = _right_pairs(spikes, logit)
        order = np.argsort(-logit.ravel(), kind="stable")
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
    spikes: Bool[np.ndarray, "trials time"], logit: Float[np.ndarray, "trials time"]
) -> Float64[np.ndarray, "trials trials"]:
    """Pairs ranked right of the spike steps of each trial (rows) and the silent steps of each (columns)."""
    owner, _ = np.nonzero(spikes)
    found = logit[spikes]
    right = np.zeros((len(spikes), len(spikes)))
    for column, (row, silent) in enumerate(zip(logit, ~spikes, strict=True)):
        others = np.sort(row[silent])
        below = np.searchsorted(others, found, side="left") + np.searchsorted(others, found, side="right")
        right[:, column] = np.bincount(owner, below / 2, minlength=len(spikes))
    return right


class VoltageErrors:
    """Voltage scores of any resample of the trials.

    Args:
        recorded_mv: Recorded voltage of every trial.
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
        middle = float(recorded_mv.mean())  # sums of squares stay small, so nothing cancels
        recorded, predicted = (
            recorded_mv.astype(np.float64) - middle,
            predicted_mv.astype(np.float64) - middle,
        )
        self._kept, self._restandardise, self._steps = kept, restandardise, recorded.shape[1]
        self._all = _moments(recorded, predicted)
        self._counted = _moments(recorded[:, skip:], predicted[:, skip:])
        self._recorded, self._predicted = recorded[:, skip:], predicted[:, skip:]
        self._absolute = np.abs(self._predicted - self._recorded).sum(axis=1)

    def at(self, counts: Counts) -> dict[str, float | None]:
        """``rmse_mv``, ``mae_mv`` and ``explained_variance_percent`` when trial k is taken ``counts[k]`` times."""
        kept = counts * self._kept
        steps = kept.sum() * self._recorded.shape[1]
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
        r, p, rr, pp, _ = counts @ self._all / (counts.sum() * self._steps)
        scale = float(np.sqrt(max(rr - r**2, 0.0))) / max(float(np.sqrt(max(pp - p**2, 0.0))), 1e-12)
        return scale, float(r - scale * p)

    def _absolute_error(self, kept: Counts, scale: float, shift: float) -> float:
        if not self._restandardise:
            return float(kept @ self._absolute)
        drawn = np.flatnonzero(kept)
        error = np.abs(scale * self._predicted[drawn] + shift - self._recorded[drawn]).sum(axis=1)
        return float(kept[drawn] @ error)


def _moments(
    recorded: Float64[np.ndarray, "trials time"], predicted: Float64[np.ndarray, "trials time"]
) -> Float64[np.ndarray, "trials 5"]:
    """Sums over each trial of the two voltages, their squares and their product."""
    products = recorded**2, predicted**2, recorded * predicted
    return np.stack([part.sum(axis=1) for part in (recorded, predicted, *products)], axis=1)


def merged(*parts: Callable[[Counts], Scores]) -> Callable[[Counts], dict[str, Any]]:
    """One score function from several."""
    return lambda counts: {key: value for part in parts for key, value in part(counts).items()}
