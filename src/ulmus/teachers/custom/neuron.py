"""A cell of the NEURON simulator as a teacher."""

import importlib
import os
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ulmus.errors import ConfigError, closest, extra
from ulmus.geometry import ON_SOMA, Geometry
from ulmus.teachers.custom.cell import REVERSAL_NAMES, CustomCell, Synapse, place_name, sha256_of
from ulmus.teachers.custom.neuron_description import described, mechanisms, variables
from ulmus.teachers.teacher import Answer, Drive, cable_answer
from ulmus.trials.header import Signal

_ONE_AT_A_TIME = threading.RLock()  # NEURON has one clock in a process
QUIET_MS = 50
LARGEST_TOLERANCE = 0.1
_PLACE = re.compile(r"(?P<section>.+)\((?P<x>[\d.eE+-]+)\)")


@dataclass(frozen=True, eq=False)
class NeuronCell(CustomCell):
    """A cell of NEURON with synapses: an instance of a hoc template, or a Python object that holds sections.

    ``build`` loads what it needs (``h.load_file``, ``neuron.load_mechanisms``), sets temperature and global parameters, and
    returns the cell. A place is the name of a section without that of the cell, and a fraction of its length:
    ``"dend[3](0.5)"``. Integration has fixed steps (backward Euler), or variable ones.

    Attributes:
        initial_mv: voltage everywhere at the beginning of a trial.
        tolerance: absolute tolerance of NEURON's variable-step method (CVODE), such as 1e-3; the integration step of a simulation
            is then that at which the voltage is looked at for spikes. None for fixed steps.
    """

    soma: str = "soma(0.5)"
    initial_mv: float = -65.0
    tolerance: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tolerance is not None and not 0 < self.tolerance <= LARGEST_TOLERANCE:
            raise ConfigError(
                f"cell {self.name!r}: tolerance={self.tolerance}; expected the absolute tolerance of variable steps, above 0 and "
                f"at most {LARGEST_TOLERANCE:g}, such as 1e-3, or None for fixed steps. Correct it."
            )

    @property
    def simulator(self) -> str:
        """NEURON."""
        return f"NEURON {_neuron().__version__}"

    @property
    def built_sha256(self) -> str:
        """Over temperature, sections, how they join, the parameters of every mechanism in every segment, and its code."""
        with _ONE_AT_A_TIME:
            return _built(self).sha256

    def settings(self) -> dict[str, Any]:
        """What the cell is, for the header of a data set."""
        variable = {} if self.tolerance is None else {"tolerance": self.tolerance}
        return {**super().settings(), "initial_mv": self.initial_mv, **variable}

    @property
    def geometry(self) -> Geometry | None:
        """The segments; None unless every section has 3-D points."""
        with _ONE_AT_A_TIME:
            return _geometry(self)

    @property
    def signals(self) -> tuple[Signal, ...]:
        """What is recorded beside voltages, with the unit that NEURON knows of each variable."""
        with _ONE_AT_A_TIME:
            sections = _built(self).sections if self.record else {}
            for name, (place, variable) in self.recorded.items():
                _reference(self, sections, name, place, variable)
            return tuple(
                Signal(name, str(_neuron().h.units(variable)) or "1")
                for name, (_, variable) in self.recorded.items()
            )

    def site_names(self, sites: Sequence[int | str]) -> tuple[str, ...]:
        """The places themselves."""
        with _ONE_AT_A_TIME:
            names = tuple(place_name(site) if not isinstance(site, int) else str(site) for site in sites)
            for name in names:
                _segment(_built(self).sections, name, f"cell {self.name!r}, site")
        return names

    def reversal_mv(self) -> list[float | None]:
        """Reversal potential of every synapse, as its mechanism has it."""
        with _ONE_AT_A_TIME:
            return [
                next((float(getattr(point, name)) for name in REVERSAL_NAMES if hasattr(point, name)), None)
                for point in _built(self).synapses
            ]

    def prepare(self) -> None:
        """Build the cell once, and see whether it answers the same input twice in the same way."""
        none = np.zeros(0, dtype=np.int64)
        one, two = (self.run_trial(none, none, QUIET_MS, dt_ms=0.1).voltage_mv for _ in range(2))
        if not np.array_equal(one, two):
            at = int(np.flatnonzero((one != two).any(axis=1))[0])
            raise ConfigError(
                f"cell {self.name!r} differs from itself: without input, its voltage at {at} ms is {one[at, 0]:.6g} mV and then "
                f"{two[at, 0]:.6g} mV; expected equal runs. Take noise out of build (a surrogate would not see it; give it as "
                f"input of synapses), or reset what a run leaves behind."
            )

    def answer(self, drive: Drive, dt_ms: float, sites: tuple[str, ...]) -> Answer:
        """Simulate with NEURON."""
        with _ONE_AT_A_TIME:
            h, built = _neuron().h, _built(self)
            traces = [
                h.Vector().record(_segment(built.sections, place, "site")._ref_v, 1.0 if number else dt_ms)
                for number, place in enumerate((self.soma, *sites))
            ]
            signals = [
                h.Vector().record(_reference(self, built.sections, name, *what), 1.0)
                for name, what in self.recorded.items()
            ]
            injected = None if drive.current_na is None else _injected(h, built, self.soma, drive.current_na)
            h.secondorder, h.dt = 0, dt_ms
            _choose_steps(h, self)
            h.finitialize(self.initial_mv)
            for step, index in zip(drive.event_step.tolist(), drive.event_input.tolist(), strict=True):
                built.connections[index].event(step + self.synapses[index].delay_ms)
            context = h.ParallelContext()
            context.set_maxstep(10)
            context.psolve(drive.steps)
            soma, *others = (np.array(trace) for trace in traces)
            further = [np.array(trace) for trace in signals]
            del injected  # no current in the next trial
        time_ms = np.arange(len(soma)) * dt_ms
        spikes = self.spike_above_mv, self.refractory_ms
        return cable_answer(time_ms, soma, others, drive.steps, *spikes, further)


def _choose_steps(h: Any, cell: NeuronCell) -> None:
    """Fixed steps, or variable ones where every mechanism allows them."""
    steps = h.CVode()
    steps.active(0)
    if cell.tolerance is None:
        return
    try:
        steps.active(1)
    except RuntimeError as error:
        raise ConfigError(
            f"cell {cell.name!r}: tolerance={cell.tolerance}, but NEURON refuses variable steps ({error}); expected mechanisms "
            f"that CVODE can integrate. Leave tolerance out, or change the mechanism."
        ) from error
    steps.atol(cell.tolerance)


def _reference(cell: NeuronCell, sections: dict[str, Any], name: str, place: str, variable: str) -> Any:
    """What NEURON records."""
    segment = _segment(sections, place, f"cell {cell.name!r}, record {name!r}")
    try:
        return getattr(segment, f"_ref_{variable}")
    except (AttributeError, NameError, LookupError) as error:
        raise ConfigError(
            f"cell {cell.name!r}, record {name!r}: {place} has no variable {variable!r}; expected one of a mechanism that is "
            f"inserted there, such as v, cai or ica. Correct the name, or insert what has it."
        ) from error


def _injected(h: Any, built: "_Built", soma: str, current_na: np.ndarray) -> tuple[Any, ...]:
    """A current clamp at the soma and what it plays; the current flows as long as these objects live."""
    clamp = h.IClamp(_segment(built.sections, soma, "soma"))
    clamp.delay, clamp.dur = 0.0, 1e9
    values, times = h.Vector(current_na), h.Vector(np.arange(len(current_na), dtype=np.float64))
    values.play(clamp._ref_amp, times)  # steps: without interpolation
    return clamp, values, times


class _Built(NamedTuple):
    cell: Any
    sections: dict[str, Any]
    connections: list[Any]
    synapses: list[Any]
    sha256: str


@lru_cache(maxsize=1)
def _built(cell: NeuronCell) -> _Built:
    h = _neuron().h
    h.load_file("stdrun.hoc")
    before = set(h.allsec())  # the sections themselves: another cell may have some of the same names
    made = cell.made()
    sections = _by_name(cell, [section for section in h.allsec() if section not in before])
    _segment(sections, cell.soma, f"cell {cell.name!r}, soma")
    _refuse_own_input(h, cell, set(sections.values()))
    # Before the synapses, and before any trial has changed a state.
    receives = {
        name: kinds.is_netcon_target(number)
        for name, kinds, number in mechanisms(h, 1)
        if not kinds.is_artificial(number)
    }
    sha256 = sha256_of(
        described(h, sections, {synapse.mechanism for synapse in cell.synapses} & set(receives))
    )
    connections, points = [], []
    for number, synapse in enumerate(cell.synapses):
        where = f"synapse {number} of cell {cell.name!r}"
        segment = _segment(sections, synapse.at, where)
        point = _point_process(h, where, synapse, segment, receives)
        connection = h.NetCon(None, point)
        if len(synapse.weights) > connection.wcnt():
            raise ConfigError(
                f"{where}: {len(synapse.weights)} weights {list(synapse.weights)}; expected at most {connection.wcnt()}, which "
                f"NET_RECEIVE of {synapse.mechanism} takes. Leave the others out."
            )
        connection.delay = 0.0
        for number_of_weight, weight in enumerate(synapse.weights):
            connection.weight[number_of_weight] = weight
        connections.append(connection)
        points.append(point)
    return _Built(made, sections, connections, points, sha256)


def _by_name(cell: NeuronCell, made: list[Any]) -> dict[str, Any]:
    """The sections that build made, by their name without the cell's."""
    if not made:
        raise ConfigError(
            f"cell {cell.name!r}: build made no section; expected it to make the cell and return it. Keep the sections as "
            f"attributes of what build returns. A hoc file that creates sections at top level is loaded once in a process by "
            f"h.load_file('cell.hoc'); h.load_file(1, 'cell.hoc') loads it each time."
        )
    sections: dict[str, Any] = {}
    for section in made:
        name = section.name().rpartition(".")[2]
        if name in sections:
            raise ConfigError(
                f"cell {cell.name!r}: build made two sections named {name!r} ({sections[name]} and {section}); expected one cell "
                f"with a name for every section, as places name them. Build one cell, or rename one of them."
            )
        sections[name] = section
    return sections


def _refuse_own_input(h: Any, cell: NeuronCell, sections: set[Any]) -> None:
    """Refuse a cell to which something artificial sends events: all input is that of the synapses."""
    for connection in h.List("NetCon"):
        source, target = connection.pre(), connection.syn()
        if source is None or source.has_loc() or target is None or not target.has_loc():
            continue
        if target.get_segment().sec in sections:
            raise ConfigError(
                f"cell {cell.name!r}: build connects {source} to {target}, input that is stored with no trial and that no "
                f"surrogate would know of; expected no input but that of synapses. Leave it out of build, and list {target} "
                f"among the synapses or give its spikes as SpikeTrains."
            )


def _point_process(h: Any, where: str, synapse: Synapse, segment: Any, receives: dict[str, bool]) -> Any:
    """The synapse itself, with its parameters."""
    if not receives.get(synapse.mechanism, False):
        known = [name for name in receives if receives[name]]
        what = "takes no events" if hasattr(h, synapse.mechanism) else "is not a mechanism that NEURON knows"
        # NEURON crashes where events are sent to one without NET_RECEIVE.
        raise ConfigError(
            f"{where}: {synapse.mechanism} {what}; expected a point process whose MOD file has NET_RECEIVE: {', '.join(known)}."
            f"{closest(synapse.mechanism, known)} Correct the name, or load its mechanisms in build."
        )
    point = getattr(h, synapse.mechanism)(segment)
    known = [name for name, _ in variables(h, synapse.mechanism)]
    for name, value in synapse.parameters.items():
        if name not in known:
            raise ConfigError(
                f"{where}: {synapse.mechanism} has no parameter {name!r}; expected some of {', '.join(known)}."
                f"{closest(name, known)} Correct the name."
            )
        setattr(point, name, value)
    return point


def _geometry(cell: NeuronCell) -> Geometry | None:
    sections = _built(cell).sections
    if any(section.n3d() < 2 for section in sections.values()):
        return None
    soma = _segment(sections, cell.soma, "soma")
    first: dict[str, int] = {}
    ends: list[tuple[np.ndarray, np.ndarray]] = []
    diameters: list[float] = []
    for section in sections.values():
        if section == soma.sec:
            continue
        first[section.name()] = len(ends)
        points = _points(section, np.arange(section.nseg + 1) / section.nseg)
        ends += list(zip(points[:-1], points[1:], strict=True))
        diameters += [segment.diam for segment in section]

    def piece(place: Any) -> int:
        number = min(int(place.x * place.sec.nseg), place.sec.nseg - 1)
        return first[place.sec.name()] + number if place.sec != soma.sec else ON_SOMA

    both = np.array(ends).reshape(-1, 2, 3)
    return Geometry(
        proximal_um=both[:, 0],
        distal_um=both[:, 1],
        diameter_um=np.array(diameters),
        input_piece=np.array([piece(_segment(sections, synapse.at, "synapse")) for synapse in cell.synapses]),
        soma_centre_um=_points(soma.sec, np.array([soma.x]))[0],
        soma_diameter_um=float(np.sqrt(soma.sec.L * soma.diam)),
    )


def _points(section: Any, x: np.ndarray) -> np.ndarray:
    """Where fractions of a section's length lie in space (um)."""
    arc = [section.arc3d(k) for k in range(section.n3d())]
    axes = (section.x3d, section.y3d, section.z3d)
    return np.stack(
        [np.interp(x * arc[-1], arc, [axis(k) for k in range(section.n3d())]) for axis in axes], axis=1
    )


def _segment(sections: dict[str, Any], place: str, where: str) -> Any:
    match = _PLACE.fullmatch(place.strip())
    x = float(match["x"]) if match else float("nan")
    if not match or not 0 <= x <= 1:
        raise ConfigError(
            f"{where}: place {place!r}; expected a section and a fraction of its length from 0 to 1, such as "
            f"'dend[0](0.5)'. Correct it."
        )
    name = match["section"]
    if name not in sections:
        raise ConfigError(
            f"{where}: the cell has no section {name!r}; expected one of its {len(sections)}, such as "
            f"{next(iter(sections))!r}.{closest(name, list(sections))} Correct the place."
        )
    return sections[name](x)


def _neuron() -> Any:
    os.environ.setdefault("NEURON_MODULE_OPTIONS", "-nogui")  # else it warns where there is no display
    with extra("neuron", "a cell of the NEURON simulator"):
        return importlib.import_module("neuron")
