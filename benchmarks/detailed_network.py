"""Ten detailed layer-5 cells that are connected, simulated with Arbor, and the same network of fitted neurons.

Eight of the cells send to excitatory inputs of their targets and two to inhibitory ones. A pair is connected with a probability
of one half, by a number of contacts whose events all arrive after the same delay of 1 to 5 ms: a volley. Besides, each cell
receives the input that the neurons were trained on, drawn for it alone.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import arbor
import numpy as np
from arbor import units as U

from ulmus.teachers import L5PC, Drive, regime_named
from ulmus.teachers.arbor_engine import CableModel, CableRecipe, event_generators
from ulmus.teachers.l5pc.arbor import describe
from ulmus.teachers.teacher import SPIKE_ABOVE_MV

CELLS, INHIBITORY, PROBABILITY, MOST_CONTACTS, DELAY_MS = 10, 2, 0.5, 80, (1, 5)
DETAILED_STEP_MS = 0.05


class Wires(NamedTuple):
    """Contacts, one in every place of the arrays."""

    source: np.ndarray
    target: np.ndarray
    input: np.ndarray
    delay_ms: np.ndarray


class Activity(NamedTuple):
    """What a network did: spikes in ms with their cells, voltage of every soma in mV at every ms."""

    time_ms: np.ndarray
    cell: np.ndarray
    voltage_mv: np.ndarray


def wires(inputs: int, contacts: int, piece: int) -> Wires:
    """The contacts of one piece; fewer of them for a pair are the first of more."""
    draw = np.random.default_rng((27, piece))
    parts = []
    for source in range(CELLS):
        for target in range(CELLS):
            connected, delay = draw.random() < PROBABILITY, draw.integers(DELAY_MS[0], DELAY_MS[1] + 1)
            reached = draw.integers(inputs // 2, size=MOST_CONTACTS)[:contacts]
            reached += inputs // 2 * (source >= CELLS - INHIBITORY)
            if connected and source != target:
                parts.append(
                    np.stack(
                        [np.full_like(reached, one) for one in (source, target)]
                        + [reached, 0 * reached + delay]
                    )
                )
    found = np.concatenate(parts, axis=1)
    return Wires(*found)


def background(teacher: L5PC, steps: int, piece: int) -> list[Drive]:
    """Input from outside of every cell, of the regime that the neurons were trained on."""
    drawn = [regime_named("default").draw(teacher, steps, 27_000 + piece, cell) for cell in range(CELLS)]
    return [Drive(one.event_step, one.event_input, steps, None) for one in drawn]


def received(activity: Activity, wiring: Wires, steps: int) -> list[Drive]:
    """What the cells received from each other, by the step in which it arrived."""
    sent = [activity.time_ms[activity.cell == cell] for cell in range(CELLS)]
    found: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in range(CELLS)]
    for source, target, place, delay in zip(*wiring, strict=True):
        step = np.rint(sent[source] + delay).astype(np.int64)
        step = step[step < steps]
        found[target].append((step, np.full(len(step), place)))
    none = np.zeros(0, np.int64)
    return [
        Drive(*(np.concatenate([none, *(one[part] for one in cell)]) for part in (0, 1)), steps, None)  # type: ignore[misc]
        for cell in found
    ]


class NetworkRecipe(CableRecipe):
    """The cells, their input from outside, and their connections."""

    def __init__(self, model: CableModel, drives: list[Drive], wiring: Wires) -> None:
        shape, decor, labels, policy = model.parts
        decor = arbor.decor(decor)
        decor.place(model.soma, arbor.threshold_detector(SPIKE_ABOVE_MV * U.mV), "spikes")
        super().__init__(model, arbor.cable_cell(shape, decor, labels, policy), [])
        self._drives, self._wiring, self._weight = drives, wiring, model.weight

    def num_cells(self) -> int:
        """All of them."""
        return CELLS

    def event_generators(self, gid: int) -> list[arbor.event_generator]:
        """Input from outside."""
        return event_generators(self._model, self._drives[gid], DETAILED_STEP_MS, frozenset())

    def connections_on(self, gid: int) -> list[arbor.connection]:
        """Contacts that reach a cell."""
        here = self._wiring.target == gid
        # Without any connection Arbor would not record spikes.
        silent = arbor.connection(((gid + 1) % CELLS, "spikes"), "0", 0.0, DELAY_MS[0] * U.ms)
        return [silent] + [
            arbor.connection(
                (int(source), "spikes"), str(place), float(self._weight[place]), float(delay) * U.ms
            )
            for source, _, place, delay in zip(*(part[here] for part in self._wiring), strict=True)
        ]


def run_detailed(teacher: L5PC, drives: list[Drive], wiring: Wires) -> Activity:
    """The network of detailed cells, from rest."""
    teacher.prepare()
    recipe = NetworkRecipe(describe(teacher, ()), drives, wiring)
    simulation = arbor.simulation(recipe, arbor.context(threads=1))
    simulation.record(arbor.spike_recording.all)
    every_ms = arbor.regular_schedule(0 * U.ms, 1 * U.ms)
    handles = [simulation.sample((cell, "soma"), every_ms) for cell in range(CELLS)]
    steps = drives[0].steps
    simulation.run(steps * U.ms, DETAILED_STEP_MS * U.ms)
    spikes = simulation.spikes()
    voltage = np.stack([np.asarray(simulation.samples(handle)[0][0])[:steps, 1] for handle in handles])
    return Activity(spikes["time"], spikes["source"]["gid"].astype(np.int64), voltage)


def kept_detailed(
    folder: Path, name: str, teacher: L5PC, drives: list[Drive], wiring: Wires
) -> tuple[Activity, float]:
    """The same, kept in a folder so that a killed run goes on; and the CPU seconds that it took."""
    import time

    path = folder / f"{name}.npz"
    if not path.exists():
        begin = time.process_time()
        activity = run_detailed(teacher, drives, wiring)
        folder.mkdir(parents=True, exist_ok=True)
        with path.with_suffix(".part").open("wb") as file:
            np.savez_compressed(file, seconds=time.process_time() - begin, **activity._asdict())
        path.with_suffix(".part").rename(path)
    with np.load(path) as file:
        stored: Mapping[str, np.ndarray] = dict(file)
    return Activity(*(stored[name] for name in Activity._fields)), float(stored["seconds"])
