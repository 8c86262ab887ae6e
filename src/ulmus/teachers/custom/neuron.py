"""A cell of the NEURON simulator as a teacher."""

import importlib
import os
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from ulmus.errors import ConfigError, closest, extra
from ulmus.geometry import ON_SOMA, Geometry
from ulmus.teachers.custom.cell import CustomCell, sha256_of
from ulmus.teachers.teacher import check_trial, detect_spikes, recorded_trial
from ulmus.trials.trial import Trial

_ONE_AT_A_TIME = threading.RLock()  # NEURON has one clock in a process
_PLACE = re.compile(r"(?P<section>.+)\((?P<x>[\d.eE+-]+)\)")


@dataclass(frozen=True, eq=False)
class NeuronCell(CustomCell):
    """A cell of NEURON with synapses: an instance of a hoc template, or a Python object that holds sections.

    ``build`` loads what it needs (``h.load_file``, ``neuron.load_mechanisms``) and returns the cell. A place is the name
    of a section without that of the cell, and a fraction of its length: ``"dend[3](0.5)"``. Integration has fixed steps
    (backward Euler), at the temperature that ``build`` has set in ``h.celsius``.

    Attributes:
        initial_mv: voltage everywhere at the beginning of a trial.
    """

    soma: str = "soma(0.5)"
    initial_mv: float = -65.0

    @property
    def simulator(self) -> str:
        """NEURON."""
        return f"NEURON {_neuron().__version__}"

    @property
    def built_sha256(self) -> str:
        """Over temperature, sections, how they join, and the RANGE parameters of every mechanism in every segment.

        Parameters that a MOD file declares GLOBAL are not among them.

        Raises:
            ConfigError: See `prepare`.
            MissingToolError: NEURON is not installed.
        """
        with _ONE_AT_A_TIME:
            return _built(self).sha256

    def settings(self) -> dict[str, Any]:
        """What the cell is, for the header of a data set."""
        return {**super().settings(), "initial_mv": self.initial_mv}

    @property
    def geometry(self) -> Geometry | None:
        """The segments; None unless every section has 3-D points.

        Raises:
            ConfigError: A synapse off the cell, an unknown mechanism or parameter.
            MissingToolError: NEURON is not installed.
        """
        with _ONE_AT_A_TIME:
            return _geometry(self)

    def site_names(self, sites: Sequence[int | str]) -> tuple[str, ...]:
        """The places themselves.

        Raises:
            ConfigError: The cell has no such place.
        """
        with _ONE_AT_A_TIME:
            for site in sites:
                _segment(_built(self).sections, str(site))
        return tuple(map(str, sites))

    def prepare(self) -> None:
        """Build the cell once.

        Raises:
            ConfigError: A synapse off the cell, an unknown mechanism or parameter.
            MissingToolError: NEURON is not installed.
        """
        with _ONE_AT_A_TIME:
            _built(self)

    def run_trial(
        self,
        event_step: Int[np.ndarray, "events"],
        event_input: Int[np.ndarray, "events"],
        steps: int,
        *,
        dt_ms: float = 0.025,
        sites: Sequence[int | str] = (),
    ) -> Trial:
        """Simulate a trial with NEURON; arguments and errors of `Teacher.run_trial`, and those of `prepare`."""
        event_step, event_input = np.asarray(event_step), np.asarray(event_input)
        check_trial(len(self.synapses), event_step, event_input, steps, dt_ms)
        with _ONE_AT_A_TIME:
            h, built = _neuron().h, _built(self)
            places = [self.soma, *self.site_names(sites)]
            traces = [
                h.Vector().record(
                    _segment(built.sections, place)._ref_v, dt_ms if place is places[0] else 1.0
                )
                for place in places
            ]
            h.cvode_active(0)
            h.secondorder, h.dt = 0, dt_ms
            h.finitialize(self.initial_mv)
            for step, index in zip(event_step.tolist(), event_input.tolist(), strict=True):
                built.connections[index].event(float(step))
            context = h.ParallelContext()
            context.set_maxstep(10)
            context.psolve(steps)
            soma, *others = (np.array(trace) for trace in traces)
        time_ms = np.arange(len(soma)) * dt_ms
        columns = [np.interp(np.arange(steps), time_ms, soma), *(trace[:steps] for trace in others)]
        return recorded_trial(
            event_step, event_input, np.stack(columns, axis=1), detect_spikes(time_ms, soma), dt_ms
        )


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
    sections = {section.name().rpartition(".")[2]: section for section in h.allsec() if section not in before}
    if not sections:
        raise ConfigError(
            f"cell {cell.name!r}: build made no section; expected it to make the cell and return it. Correct build."
        )
    sha256 = sha256_of(
        _described(h, sections)
    )  # before the synapses, and before any trial has changed a state
    connections, points, deaf = [], [], _without_events(h)
    for number, synapse in enumerate(cell.synapses):
        where = f"synapse {number} of cell {cell.name!r}"
        segment = _segment(sections, synapse.at, where)
        if synapse.mechanism in deaf:
            raise ConfigError(
                f"{where}: {synapse.mechanism} takes no events; expected a point process on the membrane whose MOD file has "
                f"NET_RECEIVE, such as Exp2Syn. Name another mechanism."
            )
        try:
            point = getattr(h, synapse.mechanism)(segment)
            for name, value in synapse.parameters.items():
                setattr(point, name, value)
        except (AttributeError, LookupError, TypeError) as error:
            raise ConfigError(
                f"{where}: {synapse.mechanism} with {dict(synapse.parameters)} cannot be made ({error}); expected a point "
                f"process that NEURON knows. Load its mechanisms in build, or correct the name."
            ) from error
        connection = h.NetCon(None, point)
        connection.delay, connection.weight[0] = 0.0, synapse.weight
        connections.append(connection)
        points.append(point)
    return _Built(made, sections, connections, points, sha256)


def _without_events(h: Any) -> set[str]:
    """Point processes that cannot be a synapse: NEURON crashes where events are sent to one without NET_RECEIVE."""
    kinds, name, found = h.MechanismType(1), h.ref(""), set()
    for number in range(int(kinds.count())):
        kinds.select(number)
        kinds.selected(name)
        if kinds.is_artificial(number) or not kinds.is_netcon_target(number):
            found.add(str(name[0]))
    return found


def _described(h: Any, sections: dict[str, Any]) -> Iterator[object]:
    """What the sections are, item by item in NEURON's order."""
    name_of = {section: name for name, section in sections.items()}
    yield float(h.celsius)
    for name, section in sections.items():
        parent = section.parentseg()
        yield name
        yield from (section.nseg, float(section.L), float(section.Ra))
        if parent is not None:
            yield from (name_of.get(parent.sec), float(parent.x), float(section.orientation()))
        for segment in section:
            yield from (float(segment.diam), float(segment.cm), float(segment.area()))
            for mechanism in segment:
                yield mechanism.name()
                if mechanism.is_ion():  # reversal potential and concentrations, without currents
                    yield from (
                        float(getattr(section(segment.x), variable.name()))
                        for variable in list(mechanism)[:3]
                    )
                else:
                    yield from _parameters(h, mechanism.name(), segment)
            for point in segment.point_processes():
                kind = point.hname().partition("[")[0]
                yield kind
                yield from _parameters(h, kind, point)


def _parameters(h: Any, mechanism: str, holder: Any) -> Iterator[float]:
    """The PARAMETERs of a mechanism in a segment, or of a point process."""
    standard = h.MechanismStandard(mechanism, 1)
    standard._in(holder)
    name = h.ref("")
    for number in range(int(standard.count())):
        entries = int(standard.name(name, number))
        yield from (float(standard.get(name[0], entry)) for entry in range(entries))


def _geometry(cell: NeuronCell) -> Geometry | None:
    sections = _built(cell).sections
    if any(section.n3d() < 2 for section in sections.values()):
        return None
    soma = _segment(sections, cell.soma)
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
        input_piece=np.array([piece(_segment(sections, synapse.at)) for synapse in cell.synapses]),
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


def _segment(sections: dict[str, Any], place: str, where: str = "site") -> Any:
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
    os.environ.setdefault("NEURON_MODULE_OPTIONS", "-nogui")  # else it complains where there is no display
    with extra("neuron", "a cell of the NEURON simulator"):
        return importlib.import_module("neuron")
