"""Where inputs lie: against Arbor's own placement, between simulators, and through every file."""

import json

import arbor
import numpy as np
import pytest

from ulmus.errors import ConfigError
from ulmus.geometry import ON_SOMA, Geometry
from ulmus.teachers.custom.arbor import ArborCell, ball_and_stick
from ulmus.teachers.custom.cell import Synapse
from ulmus.teachers.custom.neuron import NeuronCell
from ulmus.teachers.integrate_and_fire import IntegrateAndFire
from ulmus.teachers.l5pc.arbor import cable_of
from ulmus.teachers.l5pc.cell import L5PC
from ulmus.teachers.morphology import AXON_STUBS
from ulmus.teachers.runner import simulate
from ulmus.trials import Store

BENT = np.array([[0.0, 0, 0], [30, 40, 0], [30, 40, 100]])  # 150 um long


def test_segments_of_the_pyramidal_cell_are_where_arbor_places_them():
    cell = L5PC()
    geometry, cable = cell.geometry, cable_of(cell.morphology)
    place = arbor.place_pwlin(cable.shape)
    for index in range(0, cell.morphology.segments, 7):
        compartment = 1 + AXON_STUBS + index
        point = place.at(arbor.location(int(cable.branch[compartment]), float(cable.stop[compartment])))
        assert geometry.distal_um[index] == pytest.approx([point.x, point.y, point.z], abs=0.01)
    chords = np.linalg.norm(geometry.distal_um - geometry.proximal_um, axis=1)
    assert (chords <= cell.morphology.segment_length_um + 1e-9).all()
    assert np.array_equal(geometry.input_piece, np.tile(np.arange(cell.morphology.segments), 2))
    assert len(json.dumps(geometry.to_json())) < 50_000


def test_inputs_of_the_ball_and_stick_run_from_the_soma_to_the_tip():
    geometry = ball_and_stick(10).geometry
    for inputs in (np.arange(10), np.arange(10, 20)):
        pieces = geometry.input_piece[inputs]
        centres = np.arange(10) * 60.0 + 30
        assert (geometry.proximal_um[pieces, 0] <= centres + 0.01).all()
        assert (geometry.distal_um[pieces, 0] >= centres - 0.01).all()
    assert geometry.soma_diameter_um == pytest.approx(20)
    assert geometry.soma_centre_um == pytest.approx([-10, 0, 0], abs=1e-4)


def neuron_cell(points):
    """A soma and a bent dendrite of 150 um in three segments."""

    def build():
        from neuron import h

        class Cell:
            def __init__(self):
                self.soma = h.Section(name="soma", cell=self)
                self.dend = h.Section(name="dend", cell=self)

        cell = Cell()
        cell.dend.connect(cell.soma(1))
        cell.soma.L = cell.soma.diam = 20
        cell.dend.L, cell.dend.diam = 150, 2
        if points:
            for x in (-20, 0):
                cell.soma.pt3dadd(x, 0, 0, 20)
            for x, y, z in BENT:
                cell.dend.pt3dadd(x, y, z, 2)
        cell.dend.nseg = 3
        return cell

    at = ["dend(0.1)", "dend(0.5)", "dend(1)", "soma(0.5)"]
    return NeuronCell(build, [Synapse(place, "Exp2Syn") for place in at], "bent")


def test_segments_of_a_neuron_cell_follow_its_points():
    pytest.importorskip("neuron", reason="NEURON (pip install neuron) is not installed")
    geometry = neuron_cell(points=True).geometry
    edges = np.array([[0, 0, 0], [30, 40, 0], [30, 40, 50], [30, 40, 100]])
    assert geometry.proximal_um == pytest.approx(edges[:-1])
    assert geometry.distal_um == pytest.approx(edges[1:])
    assert geometry.input_piece.tolist() == [0, 1, 2, ON_SOMA]
    assert geometry.soma_centre_um == pytest.approx([-10, 0, 0])
    assert geometry.soma_diameter_um == pytest.approx(20)
    assert neuron_cell(points=False).geometry is None


def test_arbor_and_neuron_cells_of_one_shape_have_one_geometry():
    pytest.importorskip("neuron", reason="NEURON (pip install neuron) is not installed")

    def build():
        tree = arbor.segment_tree()
        last = tree.append(arbor.mnpos, arbor.mpoint(*BENT[0], 1), arbor.mpoint(*BENT[1], 1), tag=3)
        tree.append(last, arbor.mpoint(*BENT[2], 1), tag=3)
        return tree, arbor.decor(), arbor.label_dict(), arbor.cv_policy_fixed_per_branch(3)

    synapses = [Synapse(f"(location 0 {x})", "exp2syn") for x in (0.1, 0.5, 1)]
    one, other = ArborCell(build, synapses, "bent").geometry, neuron_cell(points=True).geometry
    assert one.proximal_um == pytest.approx(other.proximal_um, abs=1e-3)
    assert one.distal_um == pytest.approx(other.distal_um, abs=1e-3)
    assert one.diameter_um == pytest.approx(other.diameter_um)
    assert one.input_piece.tolist() == other.input_piece[:3].tolist()


def test_a_store_keeps_the_geometry_and_goes_on_with_it(tmp_path):
    options = {"trials": 2, "seconds": 0.05, "out": tmp_path / "store", "workers": 1, "dt_ms": 0.1}
    cell = ball_and_stick(4)
    simulate(cell, **options)
    simulate(cell, **options)
    kept, made = Store(tmp_path / "store").header.geometry, cell.geometry
    assert kept.distal_um == pytest.approx(made.distal_um, abs=0.051)
    assert kept.diameter_um == pytest.approx(made.diameter_um, abs=0.0051)
    assert np.array_equal(kept.input_piece, made.input_piece)
    assert kept.to_json() == made.to_json()
    simple = simulate(IntegrateAndFire(), trials=1, seconds=0.05, out=tmp_path / "point", workers=1)
    assert simple.header.geometry is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"distal_um": np.zeros((3, 3))}, "two ends"),
        ({"diameter_um": np.array([1.0, np.nan])}, "not finite"),
        ({"input_piece": np.array([0, 2])}, "piece 2"),
    ],
)
def test_what_is_no_geometry_is_refused(change, message):
    good = {
        "proximal_um": np.zeros((2, 3)),
        "distal_um": np.ones((2, 3)),
        "diameter_um": np.ones(2),
        "input_piece": np.array([0, ON_SOMA]),
        "soma_centre_um": np.zeros(3),
        "soma_diameter_um": 10.0,
    }
    Geometry(**good)
    with pytest.raises(ConfigError, match=message):
        Geometry(**good | change)
