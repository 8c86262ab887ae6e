"""Input spike trains: the random, slowly changing rates that NeuronIO was made with (Beniaguev et al. 2021)."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64, Int32, UInt16

from ulmus.errors import ConfigError, closest
from ulmus.teachers.morphology import APICAL, BASAL, Morphology

RATE_HOLD_MS = (25, 30, 35, 40, 45, 55, 60, 65, 70, 75, 80, 85, 90, 100, 150, 200, 300, 450)
SMOOTHING_MS = (25, 30, 35, 40, 50, 60, 80, 100, 150, 200, 300, 400, 500, 600)
JITTER_MS = 20.0
LENGTH_OFFSET_UM = 10.0
SEGMENT_FACTOR = (0.5, 1.5)


@dataclass(frozen=True)
class TreeInput:
    """How many spikes reach one tree in 100 ms.

    Attributes:
        excitation: range of the excitatory spikes, drawn uniformly.
        inhibition: range of how many more inhibitory spikes there are; their number never falls below 0.
    """

    excitation: tuple[float, float]
    inhibition: tuple[float, float]

    def __post_init__(self) -> None:
        for name, (low, high) in (("excitation", self.excitation), ("inhibition", self.inhibition)):
            if not (np.isfinite([low, high]).all() and low <= high):
                raise ConfigError(f"{name}=({low}, {high}): expected a finite range (low, high). Correct it.")
        if self.excitation[0] < 0:
            raise ConfigError(f"excitation={self.excitation}: expected no negative count. Correct it.")


@dataclass(frozen=True)
class InputRegime:
    """The statistics of the input; see `REGIMES` for the named ones.

    Rates are drawn anew every hold interval and smoothed with a Gaussian; interval and width are drawn once per
    trial from the lists, plus a whole-number jitter below 20 ms.
    """

    name: str
    basal: TreeInput
    apical: TreeInput
    rate_hold_ms: tuple[int, ...] = field(default=RATE_HOLD_MS)
    smoothing_ms: tuple[int, ...] = field(default=SMOOTHING_MS)

    def __post_init__(self) -> None:
        for name, options in (("rate_hold_ms", self.rate_hold_ms), ("smoothing_ms", self.smoothing_ms)):
            if not options or min(options) <= JITTER_MS:
                raise ConfigError(
                    f"{name}={options}: expected at least one interval above {JITTER_MS:g} ms (the jitter). Correct it."
                )

    def settings(self) -> dict[str, Any]:
        """The regime as JSON can hold it."""
        trees = {
            name: {key: list(pair) for key, pair in vars(getattr(self, name)).items()}
            for name in TREES.values()
        }
        return {
            "name": self.name,
            **trees,
            "rate_hold_ms": list(self.rate_hold_ms),
            "smoothing_ms": list(self.smoothing_ms),
        }


TREES = {BASAL: "basal", APICAL: "apical"}
REGIMES = {
    regime.name: regime
    for regime in (
        InputRegime("default", TreeInput((0, 800), (-600, 200)), TreeInput((0, 800), (-600, 200))),
        InputRegime("published", TreeInput((0, 750), (-550, 200)), TreeInput((0, 800), (-550, 200))),
        InputRegime("ampa", TreeInput((0, 1900), (-1650, 150)), TreeInput((0, 2000), (-1650, 150))),
        InputRegime("ampa_low_sk", TreeInput((0, 1900), (-1500, 300)), TreeInput((0, 2000), (-1500, 300))),
    )
}


def regime_named(name: str) -> InputRegime:
    """A regime of `REGIMES`: ``default`` (NMDA ranges of the released script), ``published`` (those of the published
    files), ``ampa`` and ``ampa_low_sk``.

    Raises:
        ConfigError: There is no such regime.
    """
    if name not in REGIMES:
        raise ConfigError(
            f"regime {name!r}: expected one of {', '.join(REGIMES)}.{closest(name, list(REGIMES))} Choose one of them."
        )
    return REGIMES[name]


class DrawnInput(NamedTuple):
    """The events of a trial, ordered by step and input, and the two time constants that were drawn for it."""

    event_step: Int32[np.ndarray, "events"]
    event_input: UInt16[np.ndarray, "events"]
    rate_hold_ms: int
    smoothing_ms: int


def draw_input(morphology: Morphology, regime: InputRegime, steps: int, seed: int, trial: int) -> DrawnInput:
    """Draw the input of a trial; the same arguments give the same events anywhere.

    Each bin of 1 ms holds a spike with a probability that is exponentially distributed around the smoothed rate.
    Nothing arrives in step 0, where the published cell loses the synapse (see `Quirks`).
    """
    random = np.random.default_rng(np.random.SeedSequence((seed, trial)))
    hold = int(random.choice(regime.rate_hold_ms)) + int(random.uniform(-JITTER_MS, JITTER_MS))
    smoothing = int(random.choice(regime.smoothing_ms)) + int(random.uniform(-JITTER_MS, JITTER_MS))
    rate = _smoothed_intervals(steps, hold, smoothing) @ _interval_rates(
        morphology, regime, -(-steps // hold), random
    )
    probability = random.standard_exponential(rate.shape) * rate
    spikes = random.random(rate.shape) < probability
    spikes[0] = False
    event_step, event_input = np.nonzero(spikes)
    return DrawnInput(event_step.astype(np.int32), event_input.astype(np.uint16), hold, smoothing)


def _interval_rates(
    morphology: Morphology, regime: InputRegime, intervals: int, random: np.random.Generator
) -> Float64[np.ndarray, "intervals inputs"]:
    """Expected spikes per ms of every input in every hold interval."""
    rates = np.zeros((intervals, 2, morphology.segments))
    for region, tree in TREES.items():
        counts: TreeInput = getattr(regime, tree)
        excitation = random.uniform(*counts.excitation, size=intervals)
        low, high = (np.maximum(0.0, excitation + change) for change in counts.inhibition)
        inhibition = random.uniform(low, high)
        members = morphology.segment_region == region
        weight = LENGTH_OFFSET_UM + morphology.segment_length_um[members]
        for sign, count in enumerate((excitation, inhibition)):
            factor = random.uniform(*SEGMENT_FACTOR, size=(intervals, len(weight)))
            rates[:, sign, members] = factor * weight / weight.sum() * count[:, None] / 100.0
    return rates.reshape(intervals, -1)


def _smoothed_intervals(steps: int, hold: int, sigma_ms: int) -> Float64[np.ndarray, "time intervals"]:
    """How much each hold interval counts at each ms: its indicator convolved with a Gaussian of unit sum.

    Outside the trial the rate is zero, so rates fade at both ends.
    """
    width = 1 + 7 * sigma_ms
    kernel = np.exp(-0.5 * ((np.arange(width) - (width - 1) / 2) / sigma_ms) ** 2)
    reached = np.concatenate([[0.0], np.cumsum(kernel / kernel.sum())])
    edges = np.minimum(np.arange(-(-steps // hold) + 1) * hold, steps)
    lag = np.arange(steps)[:, None] + (width - 1) // 2 + 1 - edges
    return -np.diff(reached[np.clip(lag, 0, width)], axis=1)
