"""Describe a cell to Arbor: tree, compartments, channels, synapses, probes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from jaxtyping import Float64, Int

from ulmus.errors import extra
from ulmus.teachers.arbor_engine import CableModel
from ulmus.teachers.catalogue import load_mechanisms
from ulmus.teachers.l5pc.parameters import (
    AMPA,
    AXIAL_RESISTIVITY_OHM_CM,
    CALCIUM_INSIDE_MM,
    CALCIUM_OUTSIDE_MM,
    CAPACITANCE_UF_CM2,
    GABA_A,
    INITIAL_MV,
    LEAK_S_CM2,
    MAGNESIUM_MM,
    NMDA,
    POTASSIUM_MV,
    REST_REVERSAL_MV,
    SODIUM_MV,
    Channel,
    PyramidalParameters,
    Receptor,
)
from ulmus.teachers.morphology import (
    AXON,
    AXON_STUB_DIAMETER_UM,
    AXON_STUB_LENGTH_UM,
    AXON_STUBS,
    REGION_NAMES,
    SOMA,
    Morphology,
)

with extra("simulate", "simulating a detailed neuron"):
    import arbor
    from arbor import units as U

SOMA_RESISTIVITY_OHM_CM = 1e-6


@lru_cache(maxsize=4)
def describe(cell: PyramidalParameters, sites: tuple[str, ...]) -> CableModel:
    """The cell as Arbor describes it, with probes at the soma and at sites ``"segment N"``; made once per process."""
    cable = cable_of(cell.morphology)
    decor = _decor(cell, cable)
    _place_synapses(decor, cell, cable)
    labels = arbor.label_dict(_regions(cell.morphology))
    centres = {"soma": cable.centre(0)}
    centres |= {site: cable.centre(1 + AXON_STUBS + int(site.split()[1])) for site in sites}
    probes = {tag: arbor.cable_probe_membrane_voltage(centre, tag) for tag, centre in centres.items()}
    weight = np.full(2 * cell.morphology.segments, cell.synapse_factor)
    parts = (cable.shape, decor, labels, cable.borders())
    return CableModel(parts, cable.centre(0), probes, global_properties(), weight)


@cache
def global_properties() -> "arbor.cable_global_properties":
    """Ions and mechanisms that all cells may use."""
    properties = arbor.neuron_cable_properties()
    properties.catalogue = load_mechanisms()
    return properties


@dataclass(frozen=True, eq=False)
class Cable:
    """Arbor's view of a morphology: where each compartment lies on its branches."""

    shape: "arbor.morphology"
    branch: Int[np.ndarray, "compartments"]
    start: Float64[np.ndarray, "compartments"]
    stop: Float64[np.ndarray, "compartments"]

    def cable(self, compartment: int) -> str:
        """Expression for a compartment."""
        return f"(cable {self.branch[compartment]} {self.start[compartment]} {self.stop[compartment]})"

    def borders(self) -> "arbor.cv_policy":
        """Cut the tree where compartments meet."""
        ends = {
            (int(b), float(p))
            for edge in (self.start, self.stop)
            for b, p in zip(self.branch, edge, strict=True)
        }
        return arbor.cv_policy_explicit(_join([f"(location {b} {p})" for b, p in sorted(ends)]))

    def centre(self, compartment: int) -> str:
        """Expression for the middle of a compartment."""
        return (
            f"(location {self.branch[compartment]} {(self.start[compartment] + self.stop[compartment]) / 2})"
        )


def cable_of(morphology: Morphology) -> Cable:
    """Build Arbor's tree; a segment's tag is one more than the unit (soma, axon stub, section) it belongs to."""
    tree = arbor.segment_tree()

    def extend(parent: int, points: np.ndarray, radius: np.ndarray, unit: int) -> int:
        last = parent
        for k in range(len(points) - 1):
            if (points[k] != points[k + 1]).any() or radius[k] != radius[k + 1]:
                ends = [arbor.mpoint(*points[j], radius[j]) for j in (k, k + 1)]
                last = tree.append(last, *ends, tag=unit + 1)
        return last

    centre, half = morphology.soma_centre_um, np.array([0.0, morphology.soma_length_um / 2, 0.0])
    soma_radius = np.full(2, morphology.soma_diameter_um / 2)
    soma = extend(arbor.mnpos, np.stack([centre - half, centre + half]), soma_radius, 0)
    end, stub_radius = soma, np.full(2, AXON_STUB_DIAMETER_UM / 2)
    for stub in range(AXON_STUBS):
        reach = np.array([[0.0, 0.0, -(stub + k) * AXON_STUB_LENGTH_UM] for k in (0, 1)])
        end = extend(end, centre + reach, stub_radius, 1 + stub)
    ends: list[int] = []
    for index, section in enumerate(morphology.sections):
        parent = soma if section.parent < 0 else ends[section.parent]
        ends.append(extend(parent, section.point_um, section.radius_um, 1 + AXON_STUBS + index))
    return _locate(arbor.morphology(tree), morphology)


def _locate(shape: "arbor.morphology", morphology: Morphology) -> Cable:
    """Find each compartment on Arbor's branches; a branch may hold several units in a row."""
    compartments = morphology.compartments
    unit_of = np.concatenate(
        [np.arange(1 + AXON_STUBS), compartments.section[1 + AXON_STUBS :] + 1 + AXON_STUBS]
    )
    branch = np.zeros(len(unit_of), dtype=np.int64)
    start, stop = np.zeros(len(unit_of)), np.zeros(len(unit_of))
    for index in range(shape.num_branches):
        lengths: dict[int, float] = {}
        for segment in shape.branch_segments(index):
            a, b = segment.prox, segment.dist
            unit = segment.tag - 1
            lengths[unit] = lengths.get(unit, 0.0) + math.dist((a.x, a.y, a.z), (b.x, b.y, b.z))
        total, before = math.fsum(lengths.values()), 0.0
        for unit, length in lengths.items():
            members = np.flatnonzero(unit_of == unit)
            branch[members] = index
            start[members] = (before + compartments.start[members] * length) / total
            stop[members] = (before + compartments.stop[members] * length) / total
            before += length
    stop[stop > 1 - 1e-9] = 1.0
    return Cable(shape, branch, start, stop)


def _regions(morphology: Morphology) -> dict[str, str]:
    """Region expressions by name."""
    units: dict[int, list[int]] = {SOMA: [1], AXON: [2 + stub for stub in range(AXON_STUBS)]}
    for index, section in enumerate(morphology.sections):
        units.setdefault(section.region, []).append(2 + AXON_STUBS + index)
    return {REGION_NAMES[region]: _join([f"(tag {tag})" for tag in tags]) for region, tags in units.items()}


def _join(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"(join {' '.join(parts)})"


def _decor(cell: PyramidalParameters, cable: Cable) -> "arbor.decor":
    """Passive properties, channels, ions and synapses."""
    decor = arbor.decor()
    decor.set_property(
        Vm=INITIAL_MV * U.mV,
        rL=AXIAL_RESISTIVITY_OHM_CM * U.Ohm * U.cm,
        tempK=cell.quirks.celsius * U.Celsius,
    )
    decor.set_ion("na", rev_pot=SODIUM_MV * U.mV)
    decor.set_ion("k", rev_pot=POTASSIUM_MV * U.mV)
    decor.set_ion(
        "ca",
        int_con=CALCIUM_INSIDE_MM * U.mM,
        ext_con=CALCIUM_OUTSIDE_MM * U.mM,
        method=arbor.mechanism("nernst/x=ca"),
    )
    for region, name in REGION_NAMES.items():
        label = f'"{name}"'
        decor.paint(label, cm=CAPACITANCE_UF_CM2[region] * U.uF / U.cm2)
        decor.paint(label, arbor.density(f"pas/e={REST_REVERSAL_MV}", g=LEAK_S_CM2[region]))
    # All stems leave from the middle of the soma, which is one compartment: no resistance on the way to its end.
    decor.paint('"soma"', rL=SOMA_RESISTIVITY_OHM_CM * U.Ohm * U.cm)
    for channel in cell.channels:
        _paint_channel(decor, channel, cell, cable)
    return decor


def _paint_channel(decor: "arbor.decor", channel: Channel, cell: PyramidalParameters, cable: Cable) -> None:
    members = np.flatnonzero(cell.morphology.compartments.region == channel.region)
    columns = {name: np.broadcast_to(value, len(members)) for name, value in channel.parameters.items()}
    groups: dict[tuple[float, ...], list[int]] = {}
    for k, compartment in enumerate(members):
        groups.setdefault(tuple(float(column[k]) for column in columns.values()), []).append(int(compartment))
    for values, compartments in groups.items():
        where = f'"{REGION_NAMES[channel.region]}"'
        if len(groups) > 1:
            where = _join([cable.cable(compartment) for compartment in compartments])
        mechanism = arbor.mechanism(channel.mechanism, dict(zip(columns, values, strict=True)))
        decor.paint(where, arbor.density(mechanism))


def _place_synapses(decor: "arbor.decor", cell: PyramidalParameters, cable: Cable) -> None:
    """One excitatory and one inhibitory synapse in the middle of each dendritic segment, labelled by input."""
    excitatory = _synapse("two_exponentials", {"": AMPA}, {})
    if cell.synapse == "nmda":
        excitatory = _synapse("ampa_nmda", {"_ampa": AMPA, "_nmda": NMDA}, {"mg": MAGNESIUM_MM})
    inhibitory = _synapse("two_exponentials", {"": GABA_A}, {})
    segments, first = cell.morphology.segments, 1 + AXON_STUBS
    for offset, synapse in ((0, excitatory), (segments, inhibitory)):
        for segment in range(segments):
            decor.place(cable.centre(first + segment), synapse, str(offset + segment))


def _synapse(name: str, receptors: dict[str, Receptor], others: dict[str, float]) -> "arbor.synapse":
    """A synapse whose parameters are shared by all of its kind, which is a tenth faster than one value for each."""
    parameters: dict[str, float] = {}
    for suffix, one in receptors.items():
        parameters |= {f"g{suffix}": one.peak_ns / 1000, f"rise{suffix}": one.rise_ms}
        parameters |= {f"decay{suffix}": one.decay_ms, "e": one.reversal_mv}
    values = ",".join(f"{key}={value}" for key, value in (parameters | others).items())
    return arbor.synapse(f"ulmus::{name}/{values}")
