"""The shape of a neuron as a value: unbranched sections, cut into compartments.

Geometry follows Hay et al. (2011): the reconstructed axon is replaced by a stub, all stems attach to the middle
of the soma, and a section of length L has ``1 + 2 floor(L / 40 um)`` compartments of equal length.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float64, Int8, Int32

from ulmus.errors import DataError

SOMA, AXON, BASAL, APICAL = 1, 2, 3, 4
REGION_NAMES = {SOMA: "soma", AXON: "axon", BASAL: "basal", APICAL: "apical"}

COMPARTMENT_LENGTH_UM = 40.0
AXON_STUBS = 2
AXON_STUB_LENGTH_UM = 30.0
AXON_STUB_DIAMETER_UM = 1.0
MAX_STEM_GAP_UM = 50.0
EXTENT_UM = (10.0, 20_000.0)
"""How far the dendrites of a neuron may reach from its soma; what is outside has another unit."""
UNITS_UM = {"metres": 1e6, "millimetres": 1e3, "nanometres": 1e-3}


@dataclass(frozen=True, eq=False)
class Section:
    """An unbranched piece of dendrite from its proximal to its distal end.

    The first point of a branch is its parent's last point; ``parent`` is -1 at the soma.
    """

    region: int
    parent: int
    point_um: Float64[np.ndarray, "points 3"]
    radius_um: Float64[np.ndarray, "points"]

    @cached_property
    def arc_um(self) -> Float64[np.ndarray, "points"]:
        """Path length from the section's start to each of its points."""
        steps = np.linalg.norm(np.diff(self.point_um, axis=0), axis=1)
        return np.concatenate([[0.0], np.cumsum(steps)])

    @property
    def length_um(self) -> float:
        """Length along the section."""
        return float(self.arc_um[-1])

    @property
    def compartments(self) -> int:
        """Number of compartments, always odd."""
        return 1 + 2 * int(self.length_um / COMPARTMENT_LENGTH_UM)


@dataclass(frozen=True, eq=False)
class Compartments:
    """Every compartment of a cell: soma, axon stubs, then the dendritic segments in input order.

    ``section`` is the index into `Morphology.sections` (-1 outside the dendrites), ``start`` and ``stop`` the
    fractions of that section, ``path_um`` the way from the start of the stem to the compartment's centre and
    ``path_end_um`` to its section's distal end.
    """

    region: Int8[np.ndarray, "compartments"]
    section: Int32[np.ndarray, "compartments"]
    start: Float64[np.ndarray, "compartments"]
    stop: Float64[np.ndarray, "compartments"]
    length_um: Float64[np.ndarray, "compartments"]
    area_um2: Float64[np.ndarray, "compartments"]
    path_um: Float64[np.ndarray, "compartments"]
    path_end_um: Float64[np.ndarray, "compartments"]

    @property
    def last_of_section(self) -> Bool[np.ndarray, "compartments"]:
        """Whether a compartment is the distal one of its section."""
        return np.asarray(self.stop == 1.0)


@dataclass(frozen=True, eq=False)
class Morphology:
    """Soma and dendrites of a reconstructed neuron, sections in input order: basal, then apical, as in the file."""

    name: str
    soma_centre_um: Float64[np.ndarray, "3"]
    soma_length_um: float
    soma_diameter_um: float
    sections: tuple[Section, ...]

    @cached_property
    def section_start_um(self) -> Float64[np.ndarray, "sections"]:
        """Path from the start of the stem to the start of each section."""
        start = np.zeros(len(self.sections))
        for index, section in enumerate(self.sections):
            if section.parent >= 0:
                start[index] = start[section.parent] + self.sections[section.parent].length_um
        return start

    @cached_property
    def apical_length_um(self) -> float:
        """Longest path from the start of the apical trunk to a tip."""
        return max(
            float(start) + section.length_um
            for start, section in zip(self.section_start_um, self.sections, strict=True)
            if section.region == APICAL
        )

    @cached_property
    def compartments(self) -> Compartments:
        """The cell cut into compartments."""
        soma_area = np.pi * self.soma_diameter_um * self.soma_length_um
        stub_area = np.pi * AXON_STUB_DIAMETER_UM * AXON_STUB_LENGTH_UM
        rows: list[tuple[float, ...]] = [(SOMA, -1, 0, 1, self.soma_length_um, soma_area, 0, 0)]
        for stub in range(AXON_STUBS):
            centre, end = (stub + 0.5) * AXON_STUB_LENGTH_UM, (stub + 1.0) * AXON_STUB_LENGTH_UM
            rows.append((AXON, -1, 0, 1, AXON_STUB_LENGTH_UM, stub_area, centre, end))
        for index, section in enumerate(self.sections):
            count, length, begin = section.compartments, section.length_um, self.section_start_um[index]
            edges = np.arange(count + 1) / count
            areas = np.diff(np.interp(edges * length, *_area_along(section)))
            for k, (start, stop, area) in enumerate(zip(edges, edges[1:], areas, strict=False)):
                centre, end = begin + length * (k + 0.5) / count, begin + length
                rows.append((section.region, index, start, stop, length / count, area, centre, end))
        columns = np.array(rows, dtype=np.float64).T
        return Compartments(columns[0].astype(np.int8), columns[1].astype(np.int32), *columns[2:])

    @cached_property
    def segment_ends_um(self) -> Float64[np.ndarray, "segments ends 3"]:
        """Proximal and distal end of each dendritic segment."""
        cut = self.compartments
        ends = []
        for index, start, stop in zip(cut.section, cut.start, cut.stop, strict=True):
            if index >= 0:
                section = self.sections[index]
                arc = np.array([start, stop]) * section.length_um
                ends.append([np.interp(arc, section.arc_um, axis) for axis in section.point_um.T])
        return np.swapaxes(np.array(ends), 1, 2)

    @property
    def segments(self) -> int:
        """Number of dendritic segments, each with one excitatory and one inhibitory synapse."""
        return len(self.compartments.region) - 1 - AXON_STUBS

    @cached_property
    def segment_region(self) -> Int8[np.ndarray, "segments"]:
        """Basal or apical, for each dendritic segment."""
        return self.compartments.region[1 + AXON_STUBS :]

    @cached_property
    def segment_length_um(self) -> Float64[np.ndarray, "segments"]:
        """Length of each dendritic segment."""
        return self.compartments.length_um[1 + AXON_STUBS :]

    @cached_property
    def segment_distance_um(self) -> Float64[np.ndarray, "segments"]:
        """Path from the middle of the soma to the centre of each dendritic segment."""
        return self.soma_length_um / 2 + self.compartments.path_um[1 + AXON_STUBS :]


def _area_along(section: Section) -> tuple[np.ndarray, np.ndarray]:
    """Path length and membrane area up to it, fine enough that linear interpolation is exact to rounding.

    The area of a tapering piece is quadratic in the path, so pieces are cut at the compartment borders too.
    """
    borders = np.arange(1, section.compartments) / section.compartments * section.length_um
    arc = np.concatenate([section.arc_um, borders])
    radius = np.concatenate([section.radius_um, np.interp(borders, section.arc_um, section.radius_um)])
    order = np.argsort(arc, kind="stable")
    arc, radius = arc[order], radius[order]
    step = np.diff(arc)
    area = np.pi * (radius[1:] + radius[:-1]) * np.hypot(step, np.diff(radius))
    return arc, np.concatenate([[0.0], np.cumsum(area)])


def assemble(
    source: str,
    soma: tuple[np.ndarray, float, float],
    sections: list[tuple[Section, int]],
    name: str,
) -> Morphology:
    """Check what was read from a file and put it in input order.

    Args:
        source: The file, for messages.
        soma: Centre (um), length (um) and diameter (um).
        sections: Dendritic sections in file order, parents before children, each with its line in the file.
        name: What to call the cell.
    """
    centre, length, diameter = soma
    _check_unit(source, centre, [section for section, _ in sections])
    for index, (section, line) in enumerate(sections):
        where = f"{source}, line {line}, {REGION_NAMES[section.region]} section {index}"
        trunk = sections[section.parent][0].region if section.parent >= 0 else section.region
        if trunk != section.region:
            raise DataError(
                f"{where}: it grows out of a section of type {REGION_NAMES[trunk]}; expected one type per tree. Relabel it."
            )
        _check_section(where, section)
        gap = float(np.linalg.norm(section.point_um[0] - centre)) - max(length, diameter) / 2
        if section.parent < 0 and gap > MAX_STEM_GAP_UM:
            raise DataError(
                f"{where}: the stem begins {gap:.0f} um away from the soma; expected at most {MAX_STEM_GAP_UM:.0f} um. "
                f"The tree is disconnected: join it to its parent, or move it to the soma."
            )
    for region in (BASAL, APICAL):
        if not any(section.region == region for section, _ in sections):
            raise DataError(
                f"{source}: no {REGION_NAMES[region]} dendrite; expected a pyramidal cell with basal and apical trees "
                f"(types 3 and 4 in SWC, Dendrite and Apical in ASC). Label the trees or choose another file."
            )
    order = sorted(range(len(sections)), key=lambda index: (sections[index][0].region, index))
    position = {old: new for new, old in enumerate(order)}
    position[-1] = -1
    in_order = (sections[old][0] for old in order)
    ordered = tuple(replace(section, parent=position[section.parent]) for section in in_order)
    return Morphology(name, np.asarray(centre, dtype=np.float64), float(length), float(diameter), ordered)


def _check_section(where: str, section: Section) -> None:
    if not (np.isfinite(section.point_um).all() and np.isfinite(section.radius_um).all()):
        raise DataError(f"{where}: a coordinate or diameter is not a finite number; correct the point.")
    thin = np.flatnonzero(section.radius_um <= 0)
    if thin.size:
        raise DataError(
            f"{where}: diameter {2 * section.radius_um[thin[0]]:g} um at point {thin[0]}; expected a positive "
            f"diameter. Correct the point or delete the section."
        )
    if len(section.radius_um) < 2 or section.length_um <= 0:
        raise DataError(
            f"{where}: the section has no length; expected two different points. Delete it or add its points."
        )


def _check_unit(source: str, centre: np.ndarray, sections: list[Section]) -> None:
    far = [np.abs(section.point_um - centre).max(initial=0) for section in sections]
    extent = float(np.max(far, initial=0))
    if not np.isfinite(extent) or not sections or EXTENT_UM[0] <= extent <= EXTENT_UM[1]:
        return  # a coordinate that is not finite is named with its line, later
    likely = [unit for unit, um in UNITS_UM.items() if 50 <= extent * um <= 5000]
    raise DataError(
        f"{source}: the dendrites reach {extent:g} from the soma; expected micrometres, {EXTENT_UM[0]:g} to {EXTENT_UM[1]:g} of "
        f"them. {f'These look like {likely[0]}' if likely else 'The unit is unknown'}: convert coordinates and diameters to "
        f"micrometres."
    )
