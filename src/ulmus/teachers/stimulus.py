"""What input is: the inputs of a neuron, and where the events that reach them in a trial come from."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from jaxtyping import Float32, Float64, Int, Int8, Int32, UInt16

from ulmus.trials.header import Channel


@dataclass(frozen=True, eq=False)
class InputGroup:
    """Inputs that share a slowly changing rate, such as those of one tree.

    Attributes:
        label: the name by which an `InputRegime` says how many spikes reach the group.
        inputs: indices of its inputs, neighbours next to each other, excitatory before inhibitory.
        length_um: length of dendrite that each of them stands for; longer ones receive more of the spikes.
    """

    label: str
    inputs: Int[np.ndarray, "members"]
    length_um: Float64[np.ndarray, "members"]


class Inputs(Protocol):
    """A neuron as far as its input needs to know it."""

    @property
    def input_sign(self) -> Int8[np.ndarray, "inputs"]:
        """+1 for each excitatory, -1 for each inhibitory input."""

    @property
    def groups(self) -> tuple[InputGroup, ...]:
        """Inputs with a common rate; an input in no group stays silent under an `InputRegime`."""


class DrawnInput(NamedTuple):
    """The events of a trial, ordered by step and input, and what else is known of them (for the trial's attributes)."""

    event_step: Int32[np.ndarray, "events"]
    event_input: UInt16[np.ndarray, "events"]
    attributes: dict[str, Any]
    current_na: Float64[np.ndarray, "time"] | None = None
    """Current into the soma from each ms to the next, where there is one."""

    @property
    def continuous(self) -> Float32[np.ndarray, "time channels"] | None:
        """The current as a trial holds it."""
        return None if self.current_na is None else self.current_na[:, None].astype(np.float32)


class Stimulus(ABC):
    """Where the input of a trial comes from."""

    @property
    def current(self) -> Channel | None:
        """The current into the soma, where the input has one."""
        return None

    @property
    def synaptic(self) -> bool:
        """Whether events reach the synapses; without them a trial has the current as its only input."""
        return True

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What it is, for the header of a data set."""

    @abstractmethod
    def check(self, teacher: Inputs, steps: int, trials: int) -> None:
        """Check that it can drive this number of trials of the teacher.

        Raises:
            ConfigError: It cannot.
        """

    @abstractmethod
    def draw(self, teacher: Inputs, steps: int, seed: int, trial: int) -> DrawnInput:
        """The input of a trial; the same arguments give the same input anywhere."""
