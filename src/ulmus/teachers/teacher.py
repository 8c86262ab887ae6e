"""What a teacher is: a neuron, detailed or simple, that turns input events into trials."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64, Int, Int8

from ulmus.errors import ConfigError, DataError
from ulmus.geometry import Geometry
from ulmus.teachers.regimes import InputRegime
from ulmus.teachers.stimulus import InputGroup
from ulmus.trials.header import Signal
from ulmus.trials.trial import Trial
from ulmus.trials.validation import LARGEST_MV

SPIKE_ABOVE_MV = -25.0


class Drive(NamedTuple):
    """What reaches a neuron in a trial of ``steps`` milliseconds, checked.

    Attributes:
        event_step: step of each input event, in any order; an event of step t arrives at t ms.
        event_input: input of each event.
        steps: length in ms.
        current_na: current into the soma, constant from each ms to the next; None where there is none.
    """

    event_step: Int[np.ndarray, "events"]
    event_input: Int[np.ndarray, "events"]
    steps: int
    current_na: Float64[np.ndarray, "time"] | None


class Answer(NamedTuple):
    """What a neuron makes of it: voltage in mV at 0, 1, 2, ... ms, the soma's first, output spikes in ms, and further signals.

    Attributes:
        voltage_mv: at the soma, then at the sites.
        spike_time_ms: output spikes.
        signals: values of `Teacher.signals` at the same times, in their units; None where there are none.
    """

    voltage_mv: Float64[np.ndarray, "time sites"]
    spike_time_ms: Float64[np.ndarray, "spikes"]
    signals: Float64[np.ndarray, "time signals"] | None = None


class Teacher(ABC):
    """A neuron that makes trials. Any other one is a subclass with its inputs, its settings, and `answer`."""

    @property
    @abstractmethod
    def input_sign(self) -> Int8[np.ndarray, "inputs"]:
        """+1 for each excitatory, -1 for each inhibitory input."""

    @property
    @abstractmethod
    def groups(self) -> tuple[InputGroup, ...]:
        """Inputs with a common rate; an input in no group stays silent under an `InputRegime`."""

    @property
    @abstractmethod
    def regime(self) -> InputRegime:
        """The input that drives it unless another one is asked for."""

    @property
    @abstractmethod
    def simulator(self) -> str:
        """What integrates it, with its version."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What the neuron is, for the header of a data set (anything JSON can hold)."""

    @abstractmethod
    def answer(self, drive: Drive, dt_ms: float, sites: tuple[str, ...]) -> Answer:
        """Voltage at the soma and at ``sites`` (names from `site_names`), and spikes, with an integration step of ``dt_ms``."""

    @property
    def signals(self) -> tuple[Signal, ...]:
        """What it answers beside voltage and spikes, with units: nothing, unless a neuron says so."""
        return ()

    @property
    def geometry(self) -> Geometry | None:
        """Where the inputs lie, for drawing; None for a point, or where the cell does not say."""
        return None

    def prepare(self) -> None:  # noqa: B027 (most neurons need nothing)
        """Make ready for trials, once: compile, build, check.

        Raises:
            ConfigError: The neuron cannot be simulated as it is.
            MissingToolError: A program or package is missing.
        """

    def doubts(self) -> list[str]:
        """What looks like a mistake without being one for certain, for the user to hear before the simulation."""
        return []

    def site_names(self, sites: Sequence[int | str]) -> tuple[str, ...]:
        """Names of the places, besides the soma, whose voltage is to be recorded; a point has none.

        Raises:
            ConfigError: The neuron has no such place.
        """
        if sites:
            raise ConfigError(
                f"sites holds {sites[0]!r}: expected none, the neuron is a point. Leave sites out."
            )
        return ()

    def run_trial(
        self,
        event_step: Int[np.ndarray, "events"],
        event_input: Int[np.ndarray, "events"],
        steps: int,
        *,
        dt_ms: float = 0.025,
        sites: Sequence[int | str] = (),
        current_na: Float64[np.ndarray, "time"] | None = None,
    ) -> Trial:
        """Simulate a trial from rest.

        Args:
            event_step: Step of each input event, in any order; an event of step t arrives at t ms.
            event_input: Input of each event.
            steps: Length in ms.
            dt_ms: Integration step; 0.025 for test data, 0.05 for training data, 0.1 for a quick look.
            sites: Places whose voltage is recorded beside the soma's.
            current_na: Current into the soma, constant from each ms to the next; none by default.

        Returns:
            The trial: voltage ``[steps, 1 + sites]`` in mV at 0, 1, 2, ... ms, and output spikes in ms.

        Raises:
            ConfigError: A step, site, event or current that does not fit the neuron.
            DataError: The voltage did not stay finite, or within that of a membrane.
            MissingToolError: See `prepare`.
        """
        drive = Drive(np.asarray(event_step), np.asarray(event_input), steps, current_na)
        check_drive(drive, len(self.input_sign), dt_ms)
        return recorded_trial(drive, self.answer(drive, dt_ms, self.site_names(sites)), dt_ms)


def check_step(dt_ms: float, name: str = "dt_ms") -> None:
    """Check an integration step; ``name`` is what the user calls it."""
    if not (0.001 <= dt_ms <= 0.25 and math.isclose(round(1 / dt_ms) * dt_ms, 1.0)):
        raise ConfigError(
            f"{name}={dt_ms}: expected a whole fraction of 1 ms, 0.001 to 0.25, such as 0.025, 0.05 or 0.1. Correct it."
        )


def check_drive(drive: Drive, inputs: int, dt_ms: float) -> None:
    """Check that events and a current fit a neuron with this number of inputs."""
    event_step, event_input, steps, current_na = drive
    check_step(dt_ms)
    if current_na is not None and (np.shape(current_na) != (steps,) or not np.isfinite(current_na).all()):
        raise ConfigError(
            f"current_na of shape {np.shape(current_na)}: expected {steps} finite values in nA, one for each ms. Correct it."
        )
    if steps < 1:
        raise ConfigError(f"steps={steps}: expected at least 1 ms. Correct it.")
    for name, values, size in (("event_step", event_step, steps), ("event_input", event_input, inputs)):
        check_indices(name, values, size)
    if len(event_step) != len(event_input):
        raise ConfigError(
            f"{len(event_step)} event steps for {len(event_input)} event inputs: expected equal numbers. Correct one of them."
        )


def check_indices(name: str, values: np.ndarray, size: int) -> None:
    """Check that all values are indices below ``size``."""
    wrong = values[(values < 0) | (values >= size)]
    if wrong.size:
        raise ConfigError(f"{name} holds {wrong[0]}: expected 0 to {size - 1} on this cell. Correct it.")


def recorded_trial(drive: Drive, answer: Answer, dt_ms: float) -> Trial:
    """A trial from what a simulator recorded."""
    voltage = answer.voltage_mv.astype(np.float32)
    if not np.isfinite(voltage).all():
        first = int(np.flatnonzero(~np.isfinite(voltage).all(axis=1))[0])
        raise DataError(
            f"the simulated voltage is not finite from {first} ms on at dt_ms={dt_ms}; expected finite values. "
            f"Use a smaller dt_ms."
        )
    far = np.abs(voltage).max(axis=1)
    if far.max() > LARGEST_MV:
        first = int(np.argmax(far > LARGEST_MV))
        value = voltage[first, np.abs(voltage[first]).argmax()]
        raise DataError(
            f"the simulated voltage is {value:.4g} mV at {first} ms; expected a membrane voltage from {-LARGEST_MV:g} to "
            f"{LARGEST_MV:g} mV. Correct the weights, signs and reversal potentials of the synapses, or use a smaller dt_ms."
        )
    signals = None if answer.signals is None else answer.signals.astype(np.float32)
    if signals is not None and not np.isfinite(signals).all():
        first = int(np.flatnonzero(~np.isfinite(signals).all(axis=1))[0])
        raise DataError(
            f"a simulated signal is not finite from {first} ms on at dt_ms={dt_ms}; expected finite values. Use a smaller dt_ms."
        )
    order = np.lexsort((drive.event_input, drive.event_step))
    step, of = drive.event_step[order].astype(np.int32), drive.event_input[order].astype(np.uint16)
    return Trial(step, of, voltage, answer.spike_time_ms, {}, signals=signals)


def detect_spikes(
    time_ms: Float64[np.ndarray, "samples"],
    trace_mv: np.ndarray,
    above_mv: float = SPIKE_ABOVE_MV,
    refractory_ms: float = 0.0,
) -> Float64[np.ndarray, "spikes"]:
    """Times (ms) of local maxima above a voltage, after linear interpolation to 8 samples per ms (Beniaguev et al. 2021).

    A maximum less than ``refractory_ms`` after a spike does not count.
    """
    grid = np.arange(math.floor(time_ms[-1] * 8) + 1) / 8
    trace = np.interp(grid, time_ms, trace_mv)
    peak = (trace[1:-1] > trace[:-2]) & (trace[1:-1] > trace[2:]) & (trace[1:-1] > above_mv)
    times = np.asarray(grid[1:-1][peak])
    if refractory_ms == 0:
        return times
    kept: list[float] = []
    for time in times.tolist():
        if not kept or time - kept[-1] >= refractory_ms:
            kept.append(time)
    return np.array(kept, dtype=np.float64)


def cable_answer(
    time_ms: Float64[np.ndarray, "samples"],
    soma_mv: Float64[np.ndarray, "samples"],
    others_mv: Sequence[np.ndarray],
    steps: int,
    above_mv: float = SPIKE_ABOVE_MV,
    refractory_ms: float = 0.0,
    signals: Sequence[np.ndarray] = (),
) -> Answer:
    """The answer of a cable whose soma was sampled at every integration step, other places and signals at every ms."""
    columns = [np.interp(np.arange(steps), time_ms, soma_mv), *(trace[:steps] for trace in others_mv)]
    further = np.stack([trace[:steps] for trace in signals], axis=1) if signals else None
    return Answer(
        np.stack(columns, axis=1), detect_spikes(time_ms, soma_mv, above_mv, refractory_ms), further
    )


def group_spans(teacher: Teacher) -> list[dict[str, Any]]:
    """Groups that are a stretch of the excitatory (and the same of the inhibitory) inputs: label, first, stop."""
    rank = np.zeros(len(teacher.input_sign), dtype=np.int64)
    for sign in (1, -1):
        mine = teacher.input_sign == sign
        rank[mine] = np.arange(mine.sum())
    spans = []
    for group in teacher.groups:
        stretches = [
            np.sort(rank[group.inputs[teacher.input_sign[group.inputs] == sign]]) for sign in (1, -1)
        ]
        held = [ranks for ranks in stretches if ranks.size]
        first, stop = int(held[0][0]), int(held[0][-1]) + 1
        if all(np.array_equal(ranks, np.arange(first, stop)) for ranks in held):
            spans.append({"label": group.label, "first": first, "stop": stop})
    return spans
