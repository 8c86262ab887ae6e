"""How sure a score is: the bootstrap over trials."""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float64, Int

LEVEL = 0.95
RESAMPLES, MOST_RESAMPLES = 1000, 1_000_000
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
