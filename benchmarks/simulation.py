"""CPU seconds per simulated second: the full cell in Arbor, an equal cell in Arbor and NEURON, and a surrogate.

The equal cell has the shipped morphology with the same compartments in both simulators, the channels of Hodgkin and
Huxley and a leak in all of them, two synapses per dendritic segment, and the same events. Both integrate by backward
Euler with the same fixed step and compute rates exactly; NEURON's default, rates from tables, is measured as well.
What is timed is the run, not the building of the cell.

    python benchmarks/simulation.py --out benchmarks/results/simulate-PROCESSOR.json
"""

import math
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import arbor
import numpy as np
from arbor import units as U
from common import start, write
from jaxtyping import Float64, Int

from ulmus.bench.workloads import WORKLOADS, as_events, one_thread
from ulmus.cli.console import console, print_table, say
from ulmus.errors import ConfigError, UlmusError
from ulmus.kernels.stream import Stream
from ulmus.teachers.arbor_engine import CableModel, CableRecipe
from ulmus.teachers.l5pc.arbor import cable_of, global_properties
from ulmus.teachers.l5pc.cell import L5PC
from ulmus.teachers.morphology import (
    AXON_STUB_DIAMETER_UM,
    AXON_STUB_LENGTH_UM,
    AXON_STUBS,
    Morphology,
)
from ulmus.teachers.teacher import detect_spikes
from ulmus.trials.spike_matching import matched_spikes

STEPS_MS = (0.1, 0.05, 0.025)
EQUAL_STEP_MS = 0.025
EQUAL_CELL = "Hodgkin-Huxley, same compartments"
ROUNDS = 3
REST_MV, CELSIUS, RESISTIVITY_OHM_CM = -65.0, 6.3, 100.0
LEAK_S_CM2, LEAK_MV = 1e-4, -65.0
RISE_MS, DECAY_MS, PEAK_US = 0.3, 3.0, 4e-4
SYNAPSE_MV = (0.0, -80.0)


class SimulationRow(NamedTuple):
    """One measurement."""

    cell: str
    computed_by: str
    step_ms: float
    cpu_seconds: float
    """For one simulated second."""
    neuron_seconds: float
    """Simulated seconds for one CPU second."""
    ratio_to_neuron: float
    """How many times faster than NEURON on the same cell in the same run; NaN where NEURON did not run."""
    spikes: int
    agreement: str
    """How the run agrees with NEURON's."""


class Run(NamedTuple):
    """A finished run of the equal cell: CPU seconds, and the somatic voltage (mV) at every step."""

    cpu_seconds: float
    voltage_mv: Float64[np.ndarray, "steps"]


def bench_simulation(seconds: float = 1.0) -> list[SimulationRow]:
    """Measure on one thread; without NEURON its row, and the ratio to it, are left out.

    Args:
        seconds: Simulated time of every measurement.

    Raises:
        ConfigError: Less than 0.1 s.
        UlmusError: Arbor and NEURON do not agree on the equal cell, so their times cannot be compared.
    """
    if not 0.1 <= seconds < 1000:
        raise ConfigError(f"seconds={seconds}: expected 0.1 to 1000. Correct it.")
    steps = round(1000 * seconds)
    with one_thread():
        return [*_full_cell(steps), *_equal_cell(steps), _surrogate(steps)]


def _full_cell(steps: int) -> list[SimulationRow]:
    cell = L5PC()
    drawn = cell.regime.draw(cell, steps, 0, 0)
    none = np.zeros(0, dtype=np.int64)
    cell.run_trial(none, none, 10)  # describes the cell to Arbor once
    rows = []
    for dt_ms in STEPS_MS:
        begin = time.process_time()
        trial = cell.run_trial(drawn.event_step, drawn.event_input, steps, dt_ms=dt_ms)
        spent = (time.process_time() - begin) * 1000 / steps
        rows.append(_row("layer-5 pyramidal", "Arbor", dt_ms, spent, spikes=len(trial.spike_time_ms)))
    return rows


def _equal_cell(steps: int) -> list[SimulationRow]:
    """Both simulators in turns, medians of the rounds."""
    teacher = L5PC()
    morphology = teacher.morphology
    drawn = teacher.regime.draw(teacher, steps, 0, 0)
    arguments = (morphology, drawn.event_step, drawn.event_input, steps, EQUAL_STEP_MS)
    calls: dict[str, Callable[[], Run]] = {"Arbor": arbor_run(*arguments)}
    if find_spec("neuron") is not None:
        theirs = neuron_run(*arguments)  # one cell for both: NEURON advances every cell that exists
        calls["NEURON"] = theirs
        calls["NEURON, rates from tables"] = partial(theirs, tables=True)
    runs: dict[str, list[Run]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            runs[name].append(call())
    spent = {
        name: statistics.median(run.cpu_seconds for run in done) * 1000 / steps for name, done in runs.items()
    }
    traces = {name: done[0].voltage_mv for name, done in runs.items()}
    if "NEURON" in runs:
        require_agreement(traces["Arbor"], traces["NEURON"])
    rows = []
    for name in runs:
        agreement, ratio = "NEURON is not installed", float("nan")
        if "NEURON" in runs:
            agreement = "" if name == "NEURON" else agreement_text(traces[name], traces["NEURON"])
            ratio = spent["NEURON"] / spent[name]
        spikes = len(_spikes(traces[name]))
        rows.append(_row(EQUAL_CELL, name, EQUAL_STEP_MS, spent[name], ratio, spikes, agreement))
    return rows


def require_agreement(
    voltage_mv: Float64[np.ndarray, "steps"], neuron_mv: Float64[np.ndarray, "steps"]
) -> None:
    """Whether two runs of the equal cell agree, so that their times can be compared.

    Raises:
        UlmusError: A spike has no partner within 1 ms, or less than 99 % of the variance is explained.
    """
    ours, theirs = _spikes(voltage_mv), _spikes(neuron_mv)
    found = len(matched_spikes(theirs, ours, 1.0))
    if found < max(len(theirs), len(ours)) or _explained(voltage_mv, neuron_mv) < 0.99:
        text = agreement_text(voltage_mv, neuron_mv)
        raise UlmusError(
            f"Arbor and NEURON do not agree on the equal cell ({text}, {len(ours)} spikes in Arbor); expected all spikes "
            f"and 99 %, without which times are no measure. Please report it with the versions of both."
        )


def agreement_text(voltage_mv: Float64[np.ndarray, "steps"], neuron_mv: Float64[np.ndarray, "steps"]) -> str:
    """How a run of the equal cell agrees with NEURON's, in words."""
    ours, theirs = _spikes(voltage_mv), _spikes(neuron_mv)
    found = len(matched_spikes(theirs, ours, 1.0))
    explained = 100 * _explained(voltage_mv, neuron_mv)
    return f"{found} of {len(theirs)} spikes within 1 ms, {explained:.2f} % of variance"


def _explained(voltage_mv: Float64[np.ndarray, "steps"], neuron_mv: Float64[np.ndarray, "steps"]) -> float:
    return float(1 - (voltage_mv - neuron_mv).var() / neuron_mv.var())


def _surrogate(steps: int) -> SimulationRow:
    """The streaming neuron of workload E, in steps of 1 ms."""
    work = WORKLOADS["E"]
    neuron, events = work.neuron(), as_events(work.input(steps))
    stream = Stream(neuron.weights(), neuron.activation)
    stream.run(events)  # compiles
    repeats, found = max(1, 6000 // steps), []
    for _ in range(ROUNDS):
        begin = time.process_time()
        for _ in range(repeats):
            stream.run(events)
        found.append((time.process_time() - begin) * 1000 / steps / repeats)
    return _row("surrogate, 1278 inputs, memory 20", "Ulmus", 1.0, statistics.median(found))


def _row(
    cell: str,
    by: str,
    dt_ms: float,
    spent: float,
    ratio: float = float("nan"),
    spikes: int = 0,
    agreement: str = "",
) -> SimulationRow:
    return SimulationRow(cell, by, dt_ms, spent, 1 / spent, ratio, spikes, agreement)


def _spikes(voltage_mv: Float64[np.ndarray, "steps"]) -> Float64[np.ndarray, "spikes"]:
    return detect_spikes(np.arange(len(voltage_mv)) * EQUAL_STEP_MS, voltage_mv)


def arbor_run(
    morphology: Morphology,
    event_step: Int[np.ndarray, "events"],
    event_input: Int[np.ndarray, "events"],
    steps: int,
    dt_ms: float,
) -> Callable[[], Run]:
    """The equal cell in Arbor, ready to run."""
    cable, decor = cable_of(morphology), arbor.decor()
    decor.set_property(
        Vm=REST_MV * U.mV,
        cm=1 * U.uF / U.cm2,
        rL=RESISTIVITY_OHM_CM * U.Ohm * U.cm,
        tempK=CELSIUS * U.Celsius,
    )
    decor.set_ion("na", rev_pot=50 * U.mV)
    decor.set_ion("k", rev_pot=-77 * U.mV)
    decor.paint("(all)", arbor.density("hh"))
    decor.paint("(all)", arbor.density(f"pas/e={LEAK_MV}", g=LEAK_S_CM2))
    # As in the full cell: all stems leave from the middle of the soma.
    decor.paint("(tag 1)", rL=1e-6 * U.Ohm * U.cm)
    for sign, reversal in enumerate(SYNAPSE_MV):
        synapse = arbor.synapse("exp2syn", {"e": reversal, "tau1": RISE_MS, "tau2": DECAY_MS})
        for segment in range(morphology.segments):
            label = str(sign * morphology.segments + segment)
            decor.place(cable.centre(1 + AXON_STUBS + segment), synapse, label)
    parts = (cable.shape, decor, arbor.label_dict(), cable.borders())
    probes = {"soma": arbor.cable_probe_membrane_voltage(cable.centre(0), "soma")}
    weight = np.full(2 * morphology.segments, PEAK_US)
    model = CableModel(parts, cable.centre(0), probes, global_properties(), weight)
    generators = []
    for label in np.unique(event_input):
        schedule = arbor.explicit_schedule()
        schedule.times_ms = (np.sort(event_step[event_input == label]) + dt_ms / 4).tolist()
        generators.append(arbor.event_generator(arbor.cell_local_label(str(label)), PEAK_US, schedule))

    def run() -> Run:
        simulation = arbor.simulation(CableRecipe(model, model.cell, generators), arbor.context(threads=1))
        handle = simulation.sample((0, "soma"), arbor.regular_schedule(0 * U.ms, dt_ms * U.ms))
        begin = time.process_time()
        simulation.run(steps * U.ms, dt_ms * U.ms)
        spent = time.process_time() - begin
        return Run(spent, np.asarray(simulation.samples(handle)[0][0])[: round(steps / dt_ms), 1])

    return run


def neuron_run(
    morphology: Morphology,
    event_step: Int[np.ndarray, "events"],
    event_input: Int[np.ndarray, "events"],
    steps: int,
    dt_ms: float,
) -> Callable[..., Run]:
    """The equal cell in NEURON, ready to run; no other NEURON cell may exist, since all are advanced together.

    With ``tables=True`` the run looks rates up in tables, as NEURON does by default: faster, but spikes come apart
    within a second.
    """
    os.environ.setdefault("NEURON_MODULE_OPTIONS", "-nogui")  # or it warns where there is no display
    from neuron import h  # optional

    soma, sections, middles = _neuron_sections(h, morphology)
    synapses, connections = [], []
    for reversal in SYNAPSE_MV:
        for middle in middles:
            synapse = h.Exp2Syn(middle)
            synapse.tau1, synapse.tau2, synapse.e = RISE_MS, DECAY_MS, reversal
            synapses.append(synapse)
            connections.append(h.NetCon(None, synapse, 0, 0, PEAK_US))
    trace = h.Vector().record(soma(0.5)._ref_v)
    times = [(connections[label], step) for step, label in zip(event_step, event_input, strict=True)]

    def run(tables: bool = False) -> Run:
        # NEURON keeps these for the whole process, where other cells want their own.
        before = h.celsius, h.dt, h.secondorder, h.usetable_hh
        h.celsius, h.dt, h.secondorder, h.usetable_hh = CELSIUS, dt_ms, 0, int(tables)
        h.finitialize(REST_MV)
        for connection, step in times:
            connection.event(float(step) + dt_ms / 4)
        begin = time.process_time()
        for _ in range(round(steps / dt_ms)):
            h.fadvance()
        spent = time.process_time() - begin
        h.celsius, h.dt, h.secondorder, h.usetable_hh = before
        return Run(spent, np.asarray(trace)[: round(steps / dt_ms)].copy())

    run.keep = sections, synapses  # type: ignore[attr-defined]  # NEURON drops what Python no longer holds
    return run


def _neuron_sections(h: Any, morphology: Morphology) -> tuple[Any, list[Any], list[Any]]:
    """Soma, all sections, and the middle of every dendritic segment in input order."""
    soma = h.Section(name="soma")
    soma.L, soma.diam = morphology.soma_length_um, morphology.soma_diameter_um
    found = [soma]
    for stub in range(AXON_STUBS):
        section = h.Section(name=f"axon{stub}")
        section.L, section.diam = AXON_STUB_LENGTH_UM, AXON_STUB_DIAMETER_UM
        section.connect(soma(0.5) if stub == 0 else found[-1](1))
        found.append(section)
    dendrites: list[Any] = []
    for index, shape in enumerate(morphology.sections):
        section = h.Section(name=f"dendrite{index}")
        for point, radius in zip(shape.point_um, shape.radius_um, strict=True):
            h.pt3dadd(*point.tolist(), 2 * float(radius), sec=section)
        section.connect(soma(0.5) if shape.parent < 0 else dendrites[shape.parent](1))
        section.nseg = shape.compartments
        dendrites.append(section)
    for section in (*found, *dendrites):
        section.Ra, section.cm = RESISTIVITY_OHM_CM, 1.0
        section.insert("hh")
        section.insert("pas")
        section.ena, section.ek = 50.0, -77.0
        for segment in section:
            segment.pas.g, segment.pas.e = LEAK_S_CM2, LEAK_MV
    return soma, [*found, *dendrites], [segment for section in dendrites for segment in section]


def simulate(*, seconds: float = 1.0, out: Path | None = None) -> None:
    """Measure the CPU time of detailed neurons: Arbor, the same cell in NEURON where it is installed, and a surrogate.

    Args:
        seconds: Simulated time of every measurement.
        out: JSON file to write.
    """
    say("simulating; a second of a detailed neuron takes one to several")
    rows = bench_simulation(seconds)
    for cell, group in groupby(rows, key=lambda row: row.cell):
        measured = list(group)
        cells = [
            (
                row.computed_by,
                f"{row.step_ms:g}",
                f"{row.cpu_seconds:.3g}",
                f"{row.neuron_seconds:.3g}" if row.neuron_seconds < 1000 else f"{row.neuron_seconds:,.0f}",
                "" if math.isnan(row.ratio_to_neuron) else f"{row.ratio_to_neuron:.1f}",
            )
            for row in measured
        ]
        columns = ("", "step ms", "CPU s per simulated s", "simulated s per CPU s", "times NEURON")
        print_table(f"{cell}, one thread", cells, columns)
        for row in measured:
            if row.agreement:
                console.print(f"{row.computed_by} beside NEURON: {row.agreement}\n", soft_wrap=True)
    write(rows, out)


if __name__ == "__main__":
    start(simulate)
