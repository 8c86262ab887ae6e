import numpy as np
import pytest

from ulmus.errors import ConfigError
from ulmus.teachers.l5pc.cell import L5PC
from ulmus.teachers.l5pc.parameters import Quirks
from ulmus.teachers.morphology import APICAL, BASAL, SOMA
from ulmus.teachers.morphology_files import load_morphology


def _parameter(cell, mechanism, region, name):
    found = [c for c in cell.channels if c.mechanism == mechanism and c.region == region]
    assert len(found) == 1
    return found[0].parameters[name]


@pytest.mark.golden
def test_the_published_cell_has_the_published_hot_zone_and_ih(reference_data):
    morphology = load_morphology(reference_data / "golden" / "l5pc" / "cell1.asc")
    cell = L5PC(morphology)
    assert cell.synapse_factor == 1.0
    calcium = _parameter(cell, "bbp::Ca_LVAst", APICAL, "gCa_LVAstbar")
    assert ((calcium == 0.2271264).sum(), (calcium == 0.002271264).sum()) == (29, 377 - 29)
    assert L5PC(morphology, quirks=Quirks(distal_value=False)).hot_zone.sum() == 28
    ih = _parameter(cell, "bbp::Ih", APICAL, "gIhbar")
    assert (ih.min(), ih.max()) == pytest.approx((1.26e-4, 2.10e-3), rel=5e-3)
    far = morphology.segment_distance_um[262:] - morphology.soma_length_um / 2 > 880
    assert np.ptp(ih[far]) == 0


def test_hot_zone_of_the_shipped_cell_is_where_the_trunk_forks():
    cell = L5PC()
    where = cell.morphology.segment_distance_um[cell.morphology.segment_region == APICAL][cell.hot_zone]
    assert len(where) > 20
    assert where.min() > 0.5 * cell.morphology.apical_length_um
    assert where.max() < 0.72 * cell.morphology.apical_length_um


def test_variants_change_what_they_name():
    morphology = load_morphology()
    passive = L5PC(morphology, active_dendrites=False)
    assert {channel.region for channel in passive.channels}.isdisjoint({BASAL, APICAL})
    assert _parameter(L5PC(morphology, sk_scale=0.1), "bbp::SK_E2", SOMA, "gSK_E2bar") == pytest.approx(
        0.009965
    )
    shifted = L5PC(morphology, ih_shift_mv=-7.0)
    assert _parameter(shifted, "ulmus::ih_shifted", SOMA, "shift") == -7.0
    assert not any(channel.mechanism == "bbp::Ih" for channel in shifted.channels)
    settings = shifted.settings()
    assert (settings["ih_shift_mv"], settings["morphology"]) == (-7.0, "C060114A7")
    assert shifted.input_sign.sum() == 0
    assert len(shifted.input_sign) == 2 * morphology.segments


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"synapse": "nmdaa"}, "synapse='nmdaa'.*Did you mean 'nmda'"),
        ({"sk_scale": -1.0}, "sk_scale=-1"),
        ({"synapse_scale": float("nan")}, "synapse_scale=nan"),
        ({"ih_shift_mv": float("inf")}, "ih_shift_mv=inf"),
    ],
)
def test_options_that_cannot_be_used_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        L5PC(**options)
