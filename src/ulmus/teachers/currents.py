"""Random currents into the soma: steps, ramps, chirps and noise, as patch-clamp experiments inject them."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float64

from ulmus.errors import ConfigError, closest
from ulmus.teachers.regimes import InputRegime
from ulmus.teachers.stimulus import DrawnInput, Inputs, Stimulus
from ulmus.trials.header import Channel

Kind = Literal["step", "ramp", "chirp", "noise"]
KINDS: tuple[Kind, ...] = get_args(Kind)
CHIRP_HZ = (1.0, 40.0)
NOISE_TAU_MS = (2.0, 50.0)


@dataclass(frozen=True)
class CurrentRegime(Stimulus):
    """Random current into the soma, alone or beside the synapses.

    A trial is a row of pieces of random length, each of a random kind. A step has one level from the range; a ramp goes
    from one level to another; a chirp swings about a level, from 1 to 40 Hz or back; noise is an Ornstein-Uhlenbeck process,
    ``tau dx = (level - x) dt + sd sqrt(2 tau) dW`` with a time constant of 2 to 50 ms. Swings and noise (2 sd) stay within
    the range, where they are cut. The current is constant from each ms to the next.

    Attributes:
        low_na: lower end of the range.
        high_na: upper end of the range.
        kinds: kinds of pieces to draw from: ``"step"``, ``"ramp"``, ``"chirp"``, ``"noise"``.
        piece_ms: shortest and longest piece.
        synapses: input of the synapses besides; None leaves them silent, and out of the trials.
        scale_na: what a surrogate's input is divided by, the larger end of the range by default. A surrogate is scored on trials
            of the same scale: give it where test trials have another range.

    Raises:
        ConfigError: A range, kinds or lengths that give no current.
    """

    low_na: float
    high_na: float
    kinds: tuple[Kind, ...] = KINDS
    piece_ms: tuple[int, int] = (200, 1000)
    synapses: InputRegime | None = None
    scale_na: float | None = None

    def __post_init__(self) -> None:
        if not (np.isfinite([self.low_na, self.high_na]).all() and self.low_na < self.high_na):
            raise ConfigError(
                f"current from {self.low_na} to {self.high_na} nA: expected a finite range (low, high), such as -0.1 to 0.5. "
                "Correct it."
            )
        wrong = [kind for kind in self.kinds if kind not in KINDS]
        if wrong or not self.kinds:
            hint = closest(str(wrong[0]), list(KINDS)) if wrong else ""
            raise ConfigError(f"kinds={self.kinds}: expected some of {', '.join(KINDS)}.{hint} Correct them.")
        if self.scale_na is not None and not (np.isfinite(self.scale_na) and self.scale_na > 0):
            raise ConfigError(
                f"scale_na={self.scale_na}: expected a positive current, such as 0.5. Correct it."
            )
        if not 1 <= self.piece_ms[0] <= self.piece_ms[1]:
            raise ConfigError(
                f"piece_ms={self.piece_ms}: expected (shortest, longest) from 1 ms on. Correct it."
            )

    @property
    def current(self) -> Channel:
        """The current."""
        return Channel("current", "nA", self.scale_na or max(abs(self.low_na), abs(self.high_na)))

    @property
    def synaptic(self) -> bool:
        """Whether the synapses have input too."""
        return self.synapses is not None

    def settings(self) -> dict[str, Any]:
        """The regime as JSON can hold it."""
        known = {"name": "current", "low_na": self.low_na, "high_na": self.high_na, "kinds": list(self.kinds)}
        synapses = None if self.synapses is None else self.synapses.settings()
        return {**known, "piece_ms": list(self.piece_ms), "synapses": synapses}

    def check(self, teacher: Inputs, steps: int, trials: int) -> None:
        """Whether the synapses' input fits the teacher."""
        if self.synapses is not None:
            self.synapses.check(teacher, steps, trials)

    def draw(self, teacher: Inputs, steps: int, seed: int, trial: int) -> DrawnInput:
        """The input of a trial; the same arguments give the same anywhere."""
        # A generator of its own, so that the synapses have the input that they would have without the current.
        random = np.random.default_rng(np.random.SeedSequence((seed, trial, 2)))
        current, pieces = np.zeros(0), []
        while len(current) < steps:
            kind = self.kinds[random.integers(len(self.kinds))]
            length = int(random.integers(*self.piece_ms, endpoint=True))
            pieces.append({"kind": kind, "start_ms": len(current)})
            current = np.concatenate([current, self._piece(kind, length, random)])
        current = np.clip(current[:steps], self.low_na, self.high_na)
        drawn = DrawnInput(np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.uint16), {"regime": "current"})
        if self.synapses is not None:
            drawn = self.synapses.draw(teacher, steps, seed, trial)
        return drawn._replace(
            attributes={**drawn.attributes, "current_pieces": pieces},
            # As precise as a store holds it, so that a stored current can be injected again.
            current_na=current.astype(np.float32).astype(np.float64),
        )

    def _piece(self, kind: Kind, length: int, random: np.random.Generator) -> Float64[np.ndarray, "time"]:
        """One piece of the current."""
        level, other = random.uniform(self.low_na, self.high_na, size=2)
        room = min(level - self.low_na, self.high_na - level)
        if kind == "step":
            return np.full(length, level)
        if kind == "ramp":
            return np.linspace(level, other, length)
        if kind == "chirp":
            ends = CHIRP_HZ if random.random() < 0.5 else CHIRP_HZ[::-1]
            cycles = np.cumsum(np.geomspace(*ends, length)) / 1000
            return np.asarray(level + room * np.sin(2 * np.pi * cycles))
        noise = ornstein_uhlenbeck(length, random.uniform(*NOISE_TAU_MS), random)
        return np.asarray(level + room / 2 * noise)


def ornstein_uhlenbeck(steps: int, tau_ms: float, random: np.random.Generator) -> Float64[np.ndarray, "time"]:
    """Noise of zero mean and unit variance whose autocorrelation is ``exp(-lag / tau)``, at every ms."""
    kept = float(np.exp(-1 / tau_ms))
    fresh = random.standard_normal(steps) * np.sqrt(1 - kept**2)
    values, value = np.empty(steps), float(random.standard_normal())
    for step in range(steps):
        values[step] = value
        value = kept * value + fresh[step]
    return values
