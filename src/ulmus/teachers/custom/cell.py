"""What a cell of the user's own needs to become a teacher: a function that builds it, and its synapses."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Int8

from ulmus.errors import ConfigError, UlmusError
from ulmus.teachers.regimes import InputRegime, SpikeCounts
from ulmus.teachers.stimulus import InputGroup

HIGHEST_RATE_HZ = 20.0


@dataclass(frozen=True)
class Synapse:
    """One input: where it is and what an event does there.

    Attributes:
        at: place on the cell, in the simulator's words: ``"dend[3](0.5)"`` or ``"(location 3 0.5)"``.
        mechanism: point mechanism, such as ``"Exp2Syn"`` (NEURON) or ``"exp2syn"`` (Arbor).
        parameters: its parameters, such as ``{"tau1": 0.3, "tau2": 3.0, "e": 0.0}``.
        weight: weight of an event, for those two the peak conductance in uS.
        sign: +1 where it excites, -1 where it inhibits.

    Raises:
        ConfigError: A sign or weight that no synapse can have.
    """

    at: str
    mechanism: str
    parameters: Mapping[str, float] = field(default_factory=dict)
    weight: float = 1.0
    sign: int = 1

    def __post_init__(self) -> None:
        if self.sign not in (1, -1):
            raise ConfigError(f"sign={self.sign} of the synapse at {self.at}: expected 1 or -1. Correct it.")
        if not np.isfinite([self.weight, *self.parameters.values()]).all():
            raise ConfigError(
                f"synapse at {self.at}: weight={self.weight}, {dict(self.parameters)}: expected finite numbers. Correct them."
            )


@dataclass(frozen=True, eq=False)
class CustomCell(ABC):
    """What cells of all simulators have in common.

    Attributes:
        build: function without arguments that makes the cell; called once in every process that simulates.
        synapses: its inputs, in order.
        name: what to call the cell in a data set.
        soma: the place whose voltage is the output, in the simulator's words.

    Raises:
        ConfigError: No excitatory synapse.
    """

    build: Callable[[], Any]
    synapses: Sequence[Synapse]
    name: str
    soma: str

    def __post_init__(self) -> None:
        if not any(synapse.sign > 0 for synapse in self.synapses):
            raise ConfigError(
                f"cell {self.name!r} has {len(self.synapses)} synapses, none of which excites; expected at least one. "
                f"Add it to synapses."
            )

    @cached_property
    def input_sign(self) -> Int8[np.ndarray, "inputs"]:
        """The sign of every synapse."""
        return np.array([synapse.sign for synapse in self.synapses], dtype=np.int8)

    @cached_property
    def groups(self) -> tuple[InputGroup, ...]:
        """All synapses share one rate."""
        return (InputGroup("synapses", np.arange(len(self.synapses)), np.ones(len(self.synapses))),)

    @property
    def regime(self) -> InputRegime:
        """Up to 20 Hz for each excitatory synapse, and up to as many inhibitory spikes."""
        spikes = HIGHEST_RATE_HZ / 10 * float((self.input_sign > 0).sum())
        return InputRegime("default", {"synapses": SpikeCounts((0, spikes), (-spikes, 0))})

    def made(self) -> Any:
        """What ``build`` returns.

        Raises:
            ConfigError: It raised an error.
        """
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
        """SHA-256 over what ``build`` made, its shape, channels and their parameters: another cell has another one.

        Raises:
            ConfigError: The cell cannot be built.
        """

    def settings(self) -> dict[str, Any]:
        """What the cell is, for the header of a data set."""
        synapses = [
            {
                "at": synapse.at,
                "mechanism": synapse.mechanism,
                "parameters": dict(synapse.parameters),
                "weight": synapse.weight,
            }
            for synapse in self.synapses
        ]
        return {
            "cell": self.name,
            "soma": self.soma,
            "synapses": synapses,
            "built_sha256": self.built_sha256,
        }


def sha256_of(described: Iterable[object]) -> str:
    """SHA-256 over the lines that describe a cell; numbers to 9 digits, as other machines may round the last ones."""
    digest = hashlib.sha256()
    for item in described:
        digest.update((f"{item:.9g}" if isinstance(item, float) else str(item)).encode() + b"\n")
    return digest.hexdigest()
