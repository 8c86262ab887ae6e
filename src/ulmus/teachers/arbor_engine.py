"""Simulate a cable cell with Arbor: events in, membrane voltage and spikes out.

Arbor integrates with backward Euler, so a spike comes late by an amount that shrinks in proportion to the step:
about 0.1 ms at a step of 0.025 ms.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float64

from ulmus.errors import extra
from ulmus.teachers.teacher import SPIKE_ABOVE_MV, Answer, Drive, cable_answer

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
        signals: what else is read every ms, by name.
    """

    parts: tuple[Any, "arbor.decor", "arbor.label_dict", "arbor.cv_policy"]
    soma: str
    probes: dict[str, "arbor.probe"]
    properties: "arbor.cable_global_properties"
    weight: Float64[np.ndarray, "inputs"]
    delay_ms: Float64[np.ndarray, "inputs"] | None = None
    signals: dict[str, "arbor.probe"] = field(default_factory=dict)

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
        """Where the voltage is read, and what else is."""
        return [*self._model.probes.values(), *self._model.signals.values()]

    def event_generators(self, gid: int) -> list["arbor.event_generator"]:
        """The input events."""
        return self._generators


def run_cable(
    model: CableModel,
    drive: Drive,
    dt_ms: float,
    silent: AbstractSet[int] = frozenset(),
    above_mv: float = SPIKE_ABOVE_MV,
    refractory_ms: float = 0.0,
) -> Answer:
    """Simulate a trial from the cell's initial state; events at `silent` inputs do not arrive."""
    cell = model.cell if drive.current_na is None else model.with_current(drive.current_na)
    recipe = CableRecipe(model, cell, event_generators(model, drive, dt_ms, silent))
    simulation = arbor.simulation(recipe, arbor.context(threads=1))
    handles = [
        simulation.sample((0, tag), arbor.regular_schedule(0 * U.ms, (1.0 if number else dt_ms) * U.ms))
        for number, tag in enumerate((*model.probes, *model.signals))
    ]
    simulation.run(drive.steps * U.ms, dt_ms * U.ms)
    (time_ms, trace), *others = (np.asarray(simulation.samples(handle)[0][0]).T for handle in handles)
    values = [sampled for _, sampled in others]
    voltages, signals = values[: len(model.probes) - 1], values[len(model.probes) - 1 :]
    return cable_answer(time_ms, trace, voltages, drive.steps, above_mv, refractory_ms, signals)


def event_generators(
    model: CableModel, drive: Drive, dt_ms: float, silent: AbstractSet[int]
) -> list["arbor.event_generator"]:
    """The events of a trial for Arbor, input by input."""
    generators = []
    order = np.lexsort((drive.event_step, drive.event_input))
    inputs, first = np.unique(drive.event_input[order], return_index=True)
    for index, steps in zip(inputs.tolist(), np.split(drive.event_step[order], first)[1:], strict=True):
        if index in silent:
            continue
        schedule = arbor.explicit_schedule()
        # Arbor applies an event at the start of the step that holds it: stay clear of the border's rounding.
        delay_ms = 0.0 if model.delay_ms is None else model.delay_ms[index]
        schedule.times_ms = (steps + delay_ms + dt_ms / 4).tolist()
        target = arbor.cell_local_label(str(index))
        generators.append(arbor.event_generator(target, float(model.weight[index]), schedule))
    return generators
