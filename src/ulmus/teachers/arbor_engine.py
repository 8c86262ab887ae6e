"""Simulate a cable cell with Arbor: events in, membrane voltage and spikes out.

Arbor integrates with backward Euler, so a spike comes late by an amount that shrinks in proportion to the step:
about 0.1 ms at a step of 0.025 ms.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float64, Int

from ulmus.errors import extra
from ulmus.teachers.teacher import SPIKE_ABOVE_MV, check_trial, detect_spikes, recorded_trial
from ulmus.trials.trial import Trial

with extra("simulate", "simulating a detailed neuron"):
    import arbor
    from arbor import units as U

SIMULATOR = f"Arbor {arbor.__version__}"


@dataclass(frozen=True, eq=False)
class CableModel:
    """A cell as Arbor takes it.

    Attributes:
        parts: what the cell is made of: shape, decor, labels, discretization. The synapse of input k is labelled ``str(k)``.
        soma: where a current is injected.
        probes: where the voltage is read, by name, the soma first.
        properties: ions and mechanisms.
        weight: weight of an event at each input, as its synapse takes it.
        delay_ms: how long after its event each input is reached; not at all by default.
        spike_above_mv: a local maximum of the somatic voltage above this is a spike.
        refractory_ms: time after a spike without another.
    """

    parts: tuple[Any, "arbor.decor", "arbor.label_dict", "arbor.cv_policy"]
    soma: str
    probes: dict[str, "arbor.probe"]
    properties: "arbor.cable_global_properties"
    weight: Float64[np.ndarray, "inputs"]
    delay_ms: Float64[np.ndarray, "inputs"] | None = None
    spike_above_mv: float = SPIKE_ABOVE_MV
    refractory_ms: float = 0.0

    @cached_property
    def cell(self) -> "arbor.cable_cell":
        """The cell without a current."""
        return arbor.cable_cell(*self.parts)

    def with_current(self, current_na: Float64[np.ndarray, "time"]) -> "arbor.cable_cell":
        """The cell with a current into the soma that is constant from each ms to the next."""
        shape, decor, labels, policy = self.parts
        decor = arbor.decor(decor)
        # Linear between points, so two of them for every ms; at equal times the current jumps.
        points = [(t * U.ms, na * U.nA) for k, na in enumerate(current_na.tolist()) for t in (k, k + 1)]
        decor.place(self.soma, arbor.i_clamp(points))
        return arbor.cable_cell(shape, decor, labels, policy)


class CableRecipe(arbor.recipe):  # type: ignore[misc]
    """One cell, its probes, and the events of one trial."""

    def __init__(
        self, model: CableModel, cell: "arbor.cable_cell", generators: list["arbor.event_generator"]
    ) -> None:
        arbor.recipe.__init__(self)
        self._model, self._cell, self._generators = model, cell, generators

    def num_cells(self) -> int:
        """One."""
        return 1

    def cell_kind(self, gid: int) -> "arbor.cell_kind":
        """A cable cell."""
        return arbor.cell_kind.cable

    def cell_description(self, gid: int) -> "arbor.cable_cell":
        """The cell."""
        return self._cell

    def global_properties(self, kind: "arbor.cell_kind") -> "arbor.cable_global_properties":
        """Ions and mechanisms."""
        return self._model.properties

    def probes(self, gid: int) -> list["arbor.probe"]:
        """Where the voltage is read."""
        return list(self._model.probes.values())

    def event_generators(self, gid: int) -> list["arbor.event_generator"]:
        """The input events."""
        return self._generators


def run_cable(
    model: CableModel,
    event_step: Int[np.ndarray, "events"],
    event_input: Int[np.ndarray, "events"],
    steps: int,
    *,
    dt_ms: float,
    silent: AbstractSet[int] = frozenset(),
    current_na: Float64[np.ndarray, "time"] | None = None,
) -> Trial:
    """Simulate a trial of ``steps`` milliseconds from the cell's initial state.

    An event of step t arrives at t ms. Voltage is that of 0, 1, 2, ... ms; a spike is a local maximum of the
    somatic voltage at 8 samples per ms (Beniaguev et al. 2021).

    Args:
        model: The cell.
        event_step: Step of each input event, in any order.
        event_input: Input of each event.
        steps: Length in ms.
        dt_ms: Integration step; 0.025 for test data, 0.05 for training data, 0.1 for a quick look.
        silent: Inputs whose events do not arrive.
        current_na: Current into the soma, constant from each ms to the next.

    Returns:
        The trial, voltage ``[steps, probes]``.

    Raises:
        ConfigError: Steps or events that do not fit.
        DataError: The voltage did not stay finite.
    """
    event_step, event_input = np.asarray(event_step), np.asarray(event_input)
    check_trial(len(model.weight), event_step, event_input, steps, dt_ms, current_na)
    cell = model.cell if current_na is None else model.with_current(current_na)
    recipe = CableRecipe(model, cell, _generators(model, event_step, event_input, dt_ms, silent))
    simulation = arbor.simulation(recipe, arbor.context(threads=1))
    handles = [
        simulation.sample((0, tag), arbor.regular_schedule(0 * U.ms, (1.0 if number else dt_ms) * U.ms))
        for number, tag in enumerate(model.probes)
    ]
    simulation.run(steps * U.ms, dt_ms * U.ms)
    soma, *others = (np.asarray(simulation.samples(handle)[0][0]) for handle in handles)
    time_ms, trace = soma.T
    columns = [np.interp(np.arange(steps), time_ms, trace), *(samples[:steps, 1] for samples in others)]
    spikes = detect_spikes(time_ms, trace, model.spike_above_mv, model.refractory_ms)
    return recorded_trial(event_step, event_input, np.stack(columns, axis=1), spikes, dt_ms)


def _generators(
    model: CableModel, event_step: np.ndarray, event_input: np.ndarray, dt_ms: float, silent: AbstractSet[int]
) -> list["arbor.event_generator"]:
    generators = []
    order = np.lexsort((event_step, event_input))
    inputs, first = np.unique(event_input[order], return_index=True)
    for index, steps in zip(inputs.tolist(), np.split(event_step[order], first)[1:], strict=True):
        if index in silent:
            continue
        schedule = arbor.explicit_schedule()
        # Arbor applies an event at the start of the step that holds it: stay clear of the border's rounding.
        delay_ms = 0.0 if model.delay_ms is None else model.delay_ms[index]
        schedule.times_ms = (steps + delay_ms + dt_ms / 4).tolist()
        target = arbor.cell_local_label(str(index))
        generators.append(arbor.event_generator(target, float(model.weight[index]), schedule))
    return generators
