"""What a cell of NEURON consists of, for its fingerprint."""

import re
from collections.abc import Iterator
from typing import Any


def described(h: Any, sections: dict[str, Any], synapses: set[str]) -> Iterator[object]:
    """What the sections are, item by item in NEURON's order, and the mechanisms with their code and global parameters."""
    name_of = {section: name for name, section in sections.items()}
    used = set(synapses)
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
                used.add(mechanism.name())
                if mechanism.is_ion():  # reversal potential and concentrations, without currents
                    yield from (
                        float(getattr(section(segment.x), variable.name()))
                        for variable in list(mechanism)[:3]
                    )
                else:
                    yield from _parameters(h, mechanism.name(), segment)
            for point in segment.point_processes():
                kind = point.hname().partition("[")[0]
                used.add(kind)
                yield kind
                yield from _parameters(h, kind, point)
    for mechanism in sorted(used):
        yield from (mechanism, *_code_and_globals(h, mechanism))


def _parameters(h: Any, mechanism: str, holder: Any) -> Iterator[float]:
    """The PARAMETERs of a mechanism in a segment, or of a point process."""
    standard = h.MechanismStandard(mechanism, 1)
    standard._in(holder)
    for name, entries in variables(h, mechanism):
        yield from (float(standard.get(name, entry)) for entry in range(entries))


def variables(h: Any, mechanism: str, kind: int = 1) -> Iterator[tuple[str, int]]:
    """Name and size of each PARAMETER (kind 1) or GLOBAL variable (kind -1) of a mechanism."""
    standard, name = h.MechanismStandard(mechanism, kind), h.ref("")
    for number in range(int(standard.count())):
        entries = int(standard.name(name, number))
        yield str(name[0]), entries


def mechanisms(h: Any, points: int) -> Iterator[tuple[str, Any, int]]:
    """Name, MechanismType and number of every density mechanism (0) or point process (1) that is loaded."""
    kinds, name = h.MechanismType(points), h.ref("")
    for number in range(int(kinds.count())):
        kinds.select(number)
        kinds.selected(name)
        yield str(name[0]), kinds, number


def _code_and_globals(h: Any, mechanism: str) -> Iterator[object]:
    """The text of a MOD file, and the values of its global parameters."""
    code = next(
        (kinds.code() for points in (0, 1) for name, kinds, _ in mechanisms(h, points) if name == mechanism),
        "",
    )
    yield code
    block = re.search(r"\bPARAMETER\s*\{(.*?)\}", code, re.DOTALL)
    declared = set(re.findall(r"^\s*(\w+)", block[1], re.MULTILINE)) if block else set()
    for name, entries in variables(h, mechanism, -1):
        # The others are ASSIGNED: tables and the like, which a run changes.
        if entries == 1 and (name.removesuffix(f"_{mechanism}") in declared or name.startswith("usetable_")):
            yield from (name, float(getattr(h, name)))
