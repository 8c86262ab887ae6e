"""Random input: the slowly changing rates that NeuronIO was made with (Beniaguev et al. 2021)."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64

from ulmus.errors import ConfigError, closest
from ulmus.teachers.stimulus import DrawnInput, InputGroup, Inputs, Stimulus

RATE_HOLD_MS = (25, 30, 35, 40, 45, 55, 60, 65, 70, 75, 80, 85, 90, 100, 150, 200, 300, 450)
SMOOTHING_MS = (25, 30, 35, 40, 50, 60, 80, 100, 150, 200, 300, 400, 500, 600)
JITTER_MS = 20.0
LENGTH_OFFSET_UM = 10.0
INPUT_FACTOR = (0.5, 1.5)
SYNCHRONY_DEPTH, SYNCHRONY_PERIOD_MS = 0.6, (30.0, 200.0)
EXCITATION_WITHOUT_INHIBITION = (0.1, 0.5)
CLUSTER_INPUTS = 20
PIECE_MS, JOIN_MS = (500, 1500), 25
_MOST_PIECES = 10_000


@dataclass(frozen=True)
class SpikeCounts:
    """How many spikes reach one group of inputs in 100 ms.

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
class InputRegime(Stimulus):
    """The statistics of the input; see `REGIMES` for the named ones.

    Rates are drawn anew every hold interval and smoothed with a Gaussian; interval and width are drawn once per
    trial from the lists, plus a whole-number jitter below 20 ms. Each bin of 1 ms then holds a spike with a
    probability that is exponentially distributed around the smoothed rate. Nothing arrives in step 0, where the
    published cell loses the synapse (see `Quirks`).

    Attributes:
        name: what to call it.
        groups: how many spikes reach each of the teacher's groups of inputs, by label.
        rate_hold_ms: intervals to choose from.
        smoothing_ms: widths (sigma) to choose from.
        synchrony: share of draws in which all rates swing together, by 60 % with a period of 30 to 200 ms.
        removed_inhibition: share of draws without inhibition; excitation is then scaled by 0.1 to 0.5.
        clustered: share of draws in which only some clusters of 20 neighbouring inputs of a group are active.
        spliced_pieces: number of pieces of 0.5 to 1.5 s, each drawn anew, that are spliced into the trial, with joins
            smoothed over 25 ms.
    """

    name: str
    groups: Mapping[str, SpikeCounts]
    rate_hold_ms: tuple[int, ...] = field(default=RATE_HOLD_MS)
    smoothing_ms: tuple[int, ...] = field(default=SMOOTHING_MS)
    synchrony: float = 0.0
    removed_inhibition: float = 0.0
    clustered: float = 0.0
    spliced_pieces: int = 0

    def __post_init__(self) -> None:
        for name in ("synchrony", "removed_inhibition", "clustered"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(
                    f"{name}={getattr(self, name)}: expected a share of draws from 0 to 1, such as 0.2. Correct it."
                )
        if not 0 <= self.spliced_pieces <= _MOST_PIECES:
            raise ConfigError(
                f"spliced_pieces={self.spliced_pieces}: expected 0 to {_MOST_PIECES:,}. Correct it."
            )
        for name, options in (("rate_hold_ms", self.rate_hold_ms), ("smoothing_ms", self.smoothing_ms)):
            if not options or min(options) <= JITTER_MS:
                raise ConfigError(
                    f"{name}={options}: expected at least one interval above {JITTER_MS:g} ms (the jitter). Correct it."
                )

    def settings(self) -> dict[str, Any]:
        """The regime as JSON can hold it."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]

    def check(self, teacher: Inputs, steps: int, trials: int) -> None:
        """Check that it has spike counts for every group of the teacher's inputs."""
        for group in teacher.groups:
            self.counts(group)

    def draw(self, teacher: Inputs, steps: int, seed: int, trial: int) -> DrawnInput:
        """Draw the input of a trial; the same arguments give the same events anywhere."""
        random = np.random.default_rng(np.random.SeedSequence((seed, trial)))
        rate, known = self._rate(teacher, steps, random)
        # Of a generator of their own, so that variants of a regime share what they have in common.
        variation = np.random.default_rng(np.random.SeedSequence((seed, trial, 1)))
        known |= self._vary(teacher, rate, variation)
        pieces = [self._splice(teacher, rate, variation) for _ in range(self.spliced_pieces)]
        if pieces:
            known["pieces"] = pieces
        probability = random.standard_exponential(rate.shape) * rate
        spikes = random.random(rate.shape) < probability
        spikes[0] = False
        event_step, event_input = np.nonzero(spikes)
        return DrawnInput(
            event_step.astype(np.int32), event_input.astype(np.uint16), {"regime": self.name, **known}
        )

    def _rate(
        self, teacher: Inputs, steps: int, random: np.random.Generator
    ) -> tuple[Float64[np.ndarray, "time inputs"], dict[str, Any]]:
        """Expected spikes of every input in every ms, and the time constants that were drawn."""
        hold = int(random.choice(self.rate_hold_ms)) + int(random.uniform(-JITTER_MS, JITTER_MS))
        smoothing = int(random.choice(self.smoothing_ms)) + int(random.uniform(-JITTER_MS, JITTER_MS))
        held = interval_rates(teacher, self, -(-steps // hold), random)
        rate = smoothed_intervals(steps, hold, smoothing) @ held
        return rate, {"rate_hold_ms": hold, "smoothing_ms": smoothing}

    def _vary(
        self, teacher: Inputs, rate: Float64[np.ndarray, "time inputs"], random: np.random.Generator
    ) -> dict[str, Any]:
        """Change the rates in place by what a draw happens to have: synchrony, no inhibition, clusters."""
        known: dict[str, Any] = {}
        if random.random() < self.synchrony:
            period, phase = random.uniform(*SYNCHRONY_PERIOD_MS), random.uniform(0, 2 * np.pi)
            rate *= 1 + SYNCHRONY_DEPTH * np.sin(2 * np.pi * np.arange(len(rate)) / period + phase)[:, None]
            known["synchrony_period_ms"] = round(period, 3)
        if random.random() < self.removed_inhibition:
            scale = random.uniform(*EXCITATION_WITHOUT_INHIBITION)
            rate *= np.where(teacher.input_sign > 0, scale, 0.0)
            known["excitation_without_inhibition"] = round(scale, 4)
        if random.random() < self.clustered:
            active = active_clusters(teacher, random)
            rate *= active
            known["active_inputs"] = int(active.sum())
        return known

    def _splice(
        self, teacher: Inputs, rate: Float64[np.ndarray, "time inputs"], random: np.random.Generator
    ) -> dict[str, Any]:
        """Put a piece with rates of its own somewhere into the trial, in place."""
        length = min(int(random.integers(*PIECE_MS, endpoint=True)), len(rate))
        start = int(random.integers(0, len(rate) - length, endpoint=True))
        piece, known = self._rate(teacher, len(rate), random)
        known |= self._vary(teacher, piece, random)
        share = smoothed_window(len(rate), start, start + length)[:, None]
        rate += share * (piece - rate)
        return {"start_ms": start, "stop_ms": start + length, **known}

    def counts(self, group: InputGroup) -> SpikeCounts:
        """How many spikes reach a group.

        Raises:
            ConfigError: The regime does not mention it.
        """
        if group.label not in self.groups:
            raise ConfigError(
                f"regime {self.name!r} does not mention the inputs {group.label!r}; expected spike counts for them beside "
                f"{', '.join(map(repr, self.groups))}. Use the cell's own regime, or make an InputRegime with them."
            )
        return self.groups[group.label]


_PYRAMIDAL = {  # excitation and inhibition of the basal tree, then of the apical one
    "default": (((0, 800), (-600, 200)), ((0, 800), (-600, 200))),
    "published": (((0, 750), (-550, 200)), ((0, 800), (-550, 200))),
    "ampa": (((0, 1900), (-1650, 150)), ((0, 2000), (-1650, 150))),
    "ampa_low_sk": (((0, 1900), (-1500, 300)), ((0, 2000), (-1500, 300))),
    "ergodic": (((0, 961), (-961, 600)), ((0, 997), (-997, 600))),
}
REGIMES = {
    name: InputRegime(name, {"basal": SpikeCounts(*basal), "apical": SpikeCounts(*apical)})
    for name, (basal, apical) in _PYRAMIDAL.items()
}
REGIMES["ergodic"] = replace(
    REGIMES["ergodic"],
    smoothing_ms=tuple(sorted((*SMOOTHING_MS, 45, 55, 65, 250))),
    synchrony=0.2,
    removed_inhibition=0.3,
    clustered=0.25,
    spliced_pieces=5,
)


def regime_named(name: str) -> InputRegime:
    """A regime of `REGIMES`, all for pyramidal cells: ``default`` (NMDA ranges of the released script), ``published``
    (those of the published files), ``ampa``, ``ampa_low_sk``, and ``ergodic`` (after a later script of the same authors,
    which may have made the training files: synchrony, clusters, removed inhibition, spliced pieces).

    Raises:
        ConfigError: There is no such regime.
    """
    if name not in REGIMES:
        raise ConfigError(
            f"regime {name!r}: expected one of {', '.join(REGIMES)}.{closest(name, list(REGIMES))} Choose one of them."
        )
    return REGIMES[name]


def regime_of_rates(
    teacher: Inputs, rates_hz: Mapping[str, tuple[float, float]], name: str = "rates"
) -> InputRegime:
    """A regime from firing rates: for each group of inputs the range (low, high) in Hz of its inputs' mean rate.

    Where a group has both kinds of inputs the rates are those of its excitation, and inhibition has up to as many spikes. A
    group of inhibitory inputs alone has a rate of its own, whatever the excitation.

    Raises:
        ConfigError: Groups that the neuron does not have, or some that were left out; ranges that are none.
    """
    groups = {group.label: group for group in teacher.groups}
    for label in rates_hz:
        if label not in groups:
            raise ConfigError(
                f"rates of {label!r}: the neuron has no inputs of that name; expected {', '.join(groups)}."
                f"{closest(label, list(groups))} Correct the name."
            )
    missing = [label for label in groups if label not in rates_hz]
    if missing:
        raise ConfigError(
            f"rates for {', '.join(rates_hz) or 'nothing'}, but none of {missing[0]!r}; expected a range in Hz for every group "
            f"of inputs: {', '.join(groups)}. Add it; (0, 0) keeps them silent."
        )
    counts = {}
    for label, group in groups.items():
        excitatory = int((teacher.input_sign[group.inputs] > 0).sum())
        low, high = (rate / 10 * (excitatory or len(group.inputs)) for rate in rates_hz[label])
        counts[label] = (
            SpikeCounts((low, high), (-high, 0)) if excitatory else SpikeCounts((0, 0), (low, high))
        )
    return InputRegime(name, counts)


def interval_rates(
    teacher: Inputs, regime: InputRegime, intervals: int, random: np.random.Generator
) -> Float64[np.ndarray, "intervals inputs"]:
    """Expected spikes per ms of every input in every hold interval."""
    rates = np.zeros((intervals, len(teacher.input_sign)))
    for group in teacher.groups:
        counts = regime.counts(group)
        excitation = random.uniform(*counts.excitation, size=intervals)
        low, high = (np.maximum(0.0, excitation + change) for change in counts.inhibition)
        inhibition = random.uniform(low, high)
        for sign, count in ((1, excitation), (-1, inhibition)):
            mine = teacher.input_sign[group.inputs] == sign
            weight = LENGTH_OFFSET_UM + group.length_um[mine]
            factor = random.uniform(*INPUT_FACTOR, size=(intervals, len(weight)))
            rates[:, group.inputs[mine]] = factor * weight / weight.sum() * count[:, None] / 100.0
    return rates


def smoothed_intervals(steps: int, hold: int, sigma_ms: int) -> Float64[np.ndarray, "time intervals"]:
    """How much each hold interval counts at each ms: its indicator convolved with a Gaussian of unit sum.

    Outside the trial the rate is zero, so rates fade at both ends.
    """
    width = 1 + 7 * sigma_ms
    kernel = np.exp(-0.5 * ((np.arange(width) - (width - 1) / 2) / sigma_ms) ** 2)
    reached = np.concatenate([[0.0], np.cumsum(kernel / kernel.sum())])
    edges = np.minimum(np.arange(-(-steps // hold) + 1) * hold, steps)
    lag = np.arange(steps)[:, None] + (width - 1) // 2 + 1 - edges
    return -np.diff(reached[np.clip(lag, 0, width)], axis=1)


def smoothed_window(steps: int, start: int, stop: int) -> Float64[np.ndarray, "time"]:
    """1 from ``start`` to ``stop`` ms and 0 outside, smoothed with a Gaussian of 25 ms; sharp at the trial's ends."""
    reach = 4 * JOIN_MS
    inside = np.zeros(steps)
    inside[start:stop] = 1.0
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / JOIN_MS) ** 2)
    return np.convolve(np.pad(inside, reach, mode="edge"), kernel / kernel.sum(), mode="valid")


def active_clusters(teacher: Inputs, random: np.random.Generator) -> Bool[np.ndarray, "inputs"]:
    """Which inputs are active: each cluster of 20 neighbours of one group and sign by chance, at least one excitatory."""
    clusters = [
        (sign, cluster)
        for group in teacher.groups
        for sign in (1, -1)
        if (mine := group.inputs[teacher.input_sign[group.inputs] == sign]).size
        for cluster in np.array_split(mine, -(-mine.size // CLUSTER_INPUTS))
    ]
    share = random.uniform(0, 1)
    chosen = random.random(len(clusters)) < share
    excitatory = [k for k, (sign, _) in enumerate(clusters) if sign > 0]
    if not chosen[excitatory].any():
        chosen[int(random.choice(excitatory))] = True
    active = np.zeros(len(teacher.input_sign), dtype=bool)
    for k in np.flatnonzero(chosen):
        active[clusters[k][1]] = True
    return active
