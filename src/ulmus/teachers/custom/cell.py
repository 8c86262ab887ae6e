"""What turns a user's own cell into a teacher: a function that builds it, and its synapses."""

import hashlib
import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Int8

from ulmus.errors import ConfigError, UlmusError
from ulmus.teachers.regimes import InputRegime, regime_of_rates
from ulmus.teachers.stimulus import InputGroup
from ulmus.teachers.teacher import SPIKE_ABOVE_MV, Teacher

HIGHEST_RATE_HZ = 20.0


EXCITES_ABOVE_MV, INHIBITS_BELOW_MV = -60.0, -40.0
"""Reversal potentials below the first hardly excite a neuron, above the second they hardly inhibit it."""
REVERSAL_NAMES = ("e", "erev", "Erev", "e_rev", "E", "vrev", "Vrev", "e_syn", "E_syn")
"""What authors of mechanisms call the reversal potential of a synapse."""


_RECORDED = re.compile(r"(?P<place>.+\))\.(?P<variable>[A-Za-z]\w*)")


def place_name(place: Any) -> str:
    """A place in the simulator's words; segments of NEURON and locations of Arbor are taken too."""
    if isinstance(place, str):
        return place
    if type(place).__name__ == "Segment":
        # Without the cell's name, which counts how many were built in a process.
        return f"{place.sec.name().rpartition('.')[2]}({place.x:.9g})"
    if hasattr(place, "branch") and hasattr(place, "pos"):
        return f"(location {place.branch} {place.pos:.9g})"
    raise ConfigError(
        f"place {place!r} is a {type(place).__name__}; expected where on the cell, such as 'dend[3](0.5)' in NEURON or "
        f"'(location 3 0.5)' in Arbor. Name it so, a section with a fraction of its length."
    )


@dataclass(frozen=True)
class Synapse:
    """One input: where it is and what an event does there.

    Attributes:
        at: place on the cell, in the simulator's words: ``"dend[3](0.5)"`` or ``"(location 3 0.5)"``; a segment of NEURON or
            a location of Arbor is turned into these.
        mechanism: point mechanism, such as ``"Exp2Syn"`` (NEURON) or ``"exp2syn"`` (Arbor).
        parameters: its parameters, such as ``{"tau1": 0.3, "tau2": 3.0, "e": 0.0}``.
        weight: weight of an event, for those two the peak conductance in uS; several where NET_RECEIVE takes several, such
            as those of AMPA and NMDA (NEURON).
        sign: +1 where it excites, -1 where it inhibits.
        group: the inputs with which it shares a rate (see `InputRegime`).
        delay_ms: how long after its event the synapse is reached.

    Raises:
        ConfigError: A place, sign, weight or parameter that no synapse can have.
    """

    at: str
    mechanism: str
    parameters: Mapping[str, float] = field(default_factory=dict)
    weight: float | Sequence[float] = 1.0
    sign: int = 1
    group: str = "synapses"
    delay_ms: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "at", place_name(self.at))
        if self.sign not in (1, -1):
            raise ConfigError(f"sign={self.sign} of the synapse at {self.at}: expected 1 or -1. Correct it.")
        try:
            values = np.array([*self.weights, self.delay_ms, *self.parameters.values()], dtype=np.float64)
        except (TypeError, ValueError):
            values = np.full(1, np.nan)
        if not np.isfinite(values).all() or self.delay_ms < 0:
            raise ConfigError(
                f"synapse at {self.at}: weight={self.weight}, delay_ms={self.delay_ms}, {dict(self.parameters)}: expected finite "
                f"numbers, and no negative delay. Correct them."
            )

    @property
    def weights(self) -> tuple[float, ...]:
        """All weights of an event."""
        return tuple(np.atleast_1d(np.asarray(self.weight, dtype=np.float64)).tolist())


@dataclass(frozen=True, eq=False)
class CustomCell(Teacher):
    """What cells of all simulators have in common.

    Attributes:
        build: function without arguments that makes the cell; called once in every process that simulates. All that
            the cell depends on is set inside it: temperature, global parameters, random seeds.
        synapses: its inputs, in order; none where a current alone drives it.
        name: what to call the cell in a data set.
        soma: the place whose voltage is the output, in the simulator's words.
        spike_above_mv: a local maximum of that voltage above this is an output spike.
        refractory_ms: time after an output spike in which no other is counted.
        record: what is recorded beside voltages, by name, as a place and a variable: ``{"calcium": "soma(0.5).cai"}`` in NEURON,
            ``{"calcium": "(location 0 0.5).cai"}`` in Arbor (concentrations inside and outside, such as cai and cao).

    Raises:
        ConfigError: No excitatory synapse, a value that no detector of spikes can have, or something to record that is no
            place and variable.
    """

    build: Callable[[], Any]
    synapses: Sequence[Synapse]
    name: str
    soma: str
    spike_above_mv: float = field(default=SPIKE_ABOVE_MV, kw_only=True)
    refractory_ms: float = field(default=0.0, kw_only=True)
    record: Mapping[str, str] = field(default_factory=dict, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "soma", place_name(self.soma))
        if not (
            np.isfinite(self.spike_above_mv) and np.isfinite(self.refractory_ms) and self.refractory_ms >= 0
        ):
            raise ConfigError(
                f"cell {self.name!r}: spike_above_mv={self.spike_above_mv}, refractory_ms={self.refractory_ms}; expected a "
                f"voltage such as -25 and a time of 0 or more. Correct them."
            )
        if self.synapses and not any(synapse.sign > 0 for synapse in self.synapses):
            raise ConfigError(
                f"cell {self.name!r} has {len(self.synapses)} synapses, none of which excites; expected at least one. "
                f"Add it to synapses."
            )

    @cached_property
    def recorded(self) -> dict[str, tuple[str, str]]:
        """Place and variable of everything in ``record``."""
        found = {}
        for name, text in self.record.items():
            match = _RECORDED.fullmatch(str(text).strip())
            if match is None:
                raise ConfigError(
                    f"cell {self.name!r}: record={{{name!r}: {text!r}}}; expected a place and a variable, such as "
                    f"'{self.soma}.cai'. Correct it."
                )
            found[name] = match["place"], match["variable"]
        return found

    @cached_property
    def input_sign(self) -> Int8[np.ndarray, "inputs"]:
        """The sign of every synapse."""
        return np.array([synapse.sign for synapse in self.synapses], dtype=np.int8)

    @cached_property
    def groups(self) -> tuple[InputGroup, ...]:
        """The synapses of each ``group`` share a rate."""
        members: dict[str, list[int]] = {}
        for number, synapse in enumerate(self.synapses):
            members.setdefault(synapse.group, []).append(number)
        return tuple(
            InputGroup(label, np.array(numbers), np.ones(len(numbers))) for label, numbers in members.items()
        )

    @property
    def regime(self) -> InputRegime:
        """Up to 20 Hz for each excitatory synapse, and up to as many inhibitory spikes."""
        if not self.synapses:
            raise ConfigError(
                f"cell {self.name!r} has no synapses, so no input by default; expected a current: "
                f"CurrentRegime(low_na, high_na), on the command line --current LOW:HIGH. Give one, or list synapses."
            )
        return regime_of_rates(
            self, {group.label: (0.0, HIGHEST_RATE_HZ) for group in self.groups}, "default"
        )

    def doubts(self) -> list[str]:
        """Synapses whose sign and reversal potential do not go together."""
        found = []
        for sign, limit, wrong in ((1, EXCITES_ABOVE_MV, np.less), (-1, INHIBITS_BELOW_MV, np.greater)):
            odd = [
                (number, mv)
                for number, mv in enumerate(self.reversal_mv())
                if mv is not None and self.input_sign[number] == sign and wrong(mv, limit)
            ]
            if odd:
                number, mv = odd[0]
                synapses = f"{len(odd)} synapse{'s' if len(odd) > 1 else ''}"
                found.append(
                    f"cell {self.name!r}: {synapses} with sign={sign} and a reversal potential that "
                    f"{'inhibits' if sign > 0 else 'excites'} (number {number}: {mv:g} mV); the surrogate will take them for "
                    f"the opposite of what they are. Correct the sign or the reversal potential, unless it is intended."
                )
        return found

    @abstractmethod
    def reversal_mv(self) -> list[float | None]:
        """Reversal potential of every synapse; None where its mechanism has none."""

    def made(self) -> Any:
        """What ``build`` returns."""
        try:
            return self.build()
        except UlmusError:
            raise
        except Exception as error:
            raise ConfigError(
                f"cell {self.name!r}: build raised {type(error).__name__}: {error}; expected it to make the cell. Correct "
                f"build; called alone, it shows where."
            ) from error

    @property
    @abstractmethod
    def built_sha256(self) -> str:
        """SHA-256 over what ``build`` made, its shape, channels and their parameters: another cell has another one."""

    def settings(self) -> dict[str, Any]:
        """What the cell is, for the header of a data set."""
        synapses = [
            {
                "at": synapse.at,
                "mechanism": synapse.mechanism,
                "parameters": dict(synapse.parameters),
                "delay_ms": synapse.delay_ms,
                "weight": synapse.weights[0] if len(synapse.weights) == 1 else list(synapse.weights),
            }
            for synapse in self.synapses
        ]
        return {
            **({"record": dict(self.record)} if self.record else {}),
            "cell": self.name,
            "soma": self.soma,
            "spike_above_mv": self.spike_above_mv,
            "refractory_ms": self.refractory_ms,
            "synapses": synapses,
            "built_sha256": self.built_sha256,
        }


def sha256_of(described: Iterable[object]) -> str:
    """SHA-256 over the lines that describe a cell; numbers to 9 digits, as other machines may round the last ones."""
    digest = hashlib.sha256()
    for item in described:
        digest.update((f"{item:.9g}" if isinstance(item, float) else str(item)).encode() + b"\n")
    return digest.hexdigest()
