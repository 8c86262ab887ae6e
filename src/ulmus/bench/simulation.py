"""What simulating costs: Arbor beside NEURON on one cell that both can build, the full cell, and the fitted neuron.

The common cell has the shipped morphology with Hodgkin-Huxley channels and a leak everywhere, the same compartments,
the same exp2syn synapses and the same events, all from mechanisms that both simulators ship: the channels of the full
cell exist for Arbor alone without restrictions.
"""

import time
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import arbor
import numpy as np
from arbor import units as U

from ulmus.data.trial import Trial
from ulmus.errors import MissingToolError
from ulmus.teachers.arbor_cell import cable_of
from ulmus.teachers.l5pc import L5PC
from ulmus.teachers.morphology import AXON_STUB_DIAMETER_UM, AXON_STUB_LENGTH_UM, AXON_STUBS, Morphology
from ulmus.teachers.morphology_files import load_morphology
from ulmus.teachers.own_arbor import ArborCell
from ulmus.teachers.own_cell import Synapse
from ulmus.teachers.own_neuron import NeuronCell
from ulmus.teachers.stimulus import InputRegime, SpikeCounts

KINETICS = {1: {"tau1": 0.3, "tau2": 3.0, "e": 0.0}, -1: {"tau1": 0.2, "tau2": 8.0, "e": -80.0}}
WEIGHT_US = {1: 0.0004, -1: 0.001}
RESISTIVITY_OHM_CM, LEAK_S_CM2, LEAK_MV, START_MV, CELSIUS = 100.0, 3e-5, -65.0, -65.0, 6.3
SODIUM_MV, POTASSIUM_MV = 50.0, -77.0
SOMA_RESISTIVITY_OHM_CM = 1e-6
SURROGATE_ROUNDS = 21
REGIME = InputRegime("bench", {"synapses": SpikeCounts((300, 1200), (-600, 0))})


class SimulationRow(NamedTuple):
    """What one way to get a trial costs, and how its voltage and spikes compare with the first row of its cell."""

    cell: str
    simulator: str
    step_ms: float
    cpu_seconds_per_second: float
    neuron_seconds_per_cpu_second: float
    spikes: int
    spikes_within_1_ms: float
    rms_mv: float


def bench_simulation(seconds: float = 1.0, step_ms: float = 0.025) -> list[SimulationRow]:
    """Simulate the same input with everything that is installed, on one thread; CPU time without building the cell."""
    steps = round(seconds * 1000)
    in_arbor, in_neuron = common_cells()
    drawn = REGIME.draw(in_arbor, steps, 0, 0)
    events = (drawn.event_step, drawn.event_input)
    rows, trials = [], {}
    for name, cell in (("Arbor", in_arbor), ("NEURON", in_neuron)):
        try:
            cell.prepare()
        except MissingToolError:
            continue
        cell.run_trial(drawn.event_step[:0], drawn.event_input[:0], 1, dt_ms=step_ms)
        trials[name], cpu = _timed(lambda cell=cell: cell.run_trial(*events, steps, dt_ms=step_ms))  # type: ignore[misc]
        rows.append(_row("common", name, step_ms, cpu / seconds, trials[name], trials["Arbor"]))
    full = L5PC()
    drawn = full.regime.draw(full, steps, 0, 0)
    full.prepare()
    full.run_trial(drawn.event_step[:0], drawn.event_input[:0], 1, dt_ms=step_ms)
    trial, cpu = _timed(lambda: full.run_trial(drawn.event_step, drawn.event_input, steps, dt_ms=step_ms))
    rows.append(_row("l5pc", "Arbor", step_ms, cpu / seconds, trial, trial))
    return [*rows, _surrogate(full, trial, steps)]


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    begin = time.process_time()
    result = call()
    return result, time.process_time() - begin


def _row(
    cell: str, simulator: str, step_ms: float, cost: float, trial: Trial, reference: Trial
) -> SimulationRow:
    ours, theirs = trial.spike_time_ms, reference.spike_time_ms
    near = np.abs(theirs[:, None] - ours[None, :]).min(axis=1, initial=np.inf) <= 1.0
    difference = np.minimum(trial.voltage_mv, -55.0) - np.minimum(reference.voltage_mv, -55.0)
    return SimulationRow(
        cell,
        simulator,
        step_ms,
        cost,
        1 / cost,
        len(ours),
        float(near.mean()) if len(theirs) else float("nan"),
        float(np.sqrt(np.mean(difference**2))),
    )


def _surrogate(cell: L5PC, trial: Trial, steps: int) -> SimulationRow:
    """A Branch-ELM of the size that is fitted to the cell, on the same events; what it costs is not in its weights."""
    from ulmus.bench.workloads import WORKLOADS, one_thread
    from ulmus.data.trial import Header
    from ulmus.data.windows import events_from_trials
    from ulmus.kernels.stream import Stream
    from ulmus.neuron.elm import ELM

    config = {**WORKLOADS["E"].config, "inputs": len(cell.input_sign)}
    events = events_from_trials([trial], Header(steps, 1.0, cell.input_sign))
    neuron = ELM(**config)
    stream = Stream(neuron.weights(), neuron.activation)
    with one_thread():
        stream.run(events)
        costs = [_timed(lambda: stream.run(events))[1] for _ in range(SURROGATE_ROUNDS)]
    cost = float(np.median(costs)) / steps * 1000
    nan = float("nan")
    return SimulationRow("l5pc", f"ELM, {config['memory']} memory units", 1.0, cost, 1 / cost, 0, nan, nan)


@cache
def common_cells() -> tuple[ArborCell, NeuronCell]:
    """The same cell for both simulators."""
    morphology = load_morphology()
    segments = [
        (section, (k + 0.5) / part.compartments)
        for section, part in enumerate(morphology.sections)
        for k in range(part.compartments)
    ]
    cable = cable_of(morphology)
    first = 1 + AXON_STUBS
    synapses: dict[str, list[Synapse]] = {"Arbor": [], "NEURON": []}
    for sign in (1, -1):
        for number, (section, x) in enumerate(segments):
            for name, mechanism, at in (
                ("Arbor", "exp2syn", cable.centre(first + number)),
                ("NEURON", "Exp2Syn", f"dend[{section}]({x})"),
            ):
                synapses[name].append(Synapse(at, mechanism, KINETICS[sign], WEIGHT_US[sign], sign))
    return (
        ArborCell(_build_in_arbor, synapses["Arbor"], "common", cable.centre(0)),
        NeuronCell(_build_in_neuron, synapses["NEURON"], "common", initial_mv=START_MV),
    )


def _build_in_arbor() -> tuple[Any, ...]:
    cable = cable_of(load_morphology())
    decor = arbor.decor()
    decor.set_property(
        Vm=START_MV * U.mV,
        rL=RESISTIVITY_OHM_CM * U.Ohm * U.cm,
        cm=1 * U.uF / U.cm2,
        tempK=CELSIUS * U.Celsius,
    )
    decor.set_ion("na", rev_pot=SODIUM_MV * U.mV)
    decor.set_ion("k", rev_pot=POTASSIUM_MV * U.mV)
    decor.paint("(all)", arbor.density("hh"))
    decor.paint("(all)", arbor.density(f"pas/e={LEAK_MV}", g=LEAK_S_CM2))
    decor.paint("(tag 1)", rL=SOMA_RESISTIVITY_OHM_CM * U.Ohm * U.cm)
    return cable.shape, decor, arbor.label_dict(), cable.borders()


class _Sections:
    """The shipped morphology in NEURON."""

    def __init__(self, morphology: Morphology, h: Any) -> None:
        self.soma = h.Section(name="soma", cell=self)
        self.soma.L, self.soma.diam = morphology.soma_length_um, morphology.soma_diameter_um
        self.axon = [h.Section(name=f"axon[{k}]", cell=self) for k in range(AXON_STUBS)]
        self.dend = [h.Section(name=f"dend[{k}]", cell=self) for k in range(len(morphology.sections))]
        for k, stub in enumerate(self.axon):
            stub.L, stub.diam = AXON_STUB_LENGTH_UM, AXON_STUB_DIAMETER_UM
            stub.connect(self.axon[k - 1](1) if k else self.soma(0.5))
        for part, section in zip(morphology.sections, self.dend, strict=True):
            section.connect(self.dend[part.parent](1) if part.parent >= 0 else self.soma(0.5))
            for (x, y, z), radius in zip(part.point_um.tolist(), part.radius_um.tolist(), strict=True):
                section.pt3dadd(x, y, z, 2 * radius)
            section.nseg = part.compartments


def _build_in_neuron() -> Any:
    from neuron import h

    cell = _Sections(load_morphology(), h)
    for section in (cell.soma, *cell.axon, *cell.dend):
        section.Ra, section.cm = RESISTIVITY_OHM_CM, 1.0
        section.insert("hh")
        section.insert("pas")
        section.ena, section.ek = SODIUM_MV, POTASSIUM_MV
        for segment in section:
            segment.pas.g, segment.pas.e = LEAK_S_CM2, LEAK_MV
    h.celsius = CELSIUS
    return cell
