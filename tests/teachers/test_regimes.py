from dataclasses import replace

import h5py
import numpy as np
import pytest
from scipy.special import erf

from ulmus.errors import ConfigError
from ulmus.teachers.l5pc.cell import L5PC
from ulmus.teachers.morphology import APICAL, BASAL
from ulmus.teachers.morphology_files import load_morphology
from ulmus.teachers.regimes import (
    REGIMES,
    InputRegime,
    SpikeCounts,
    interval_rates,
    regime_named,
    smoothed_intervals,
    smoothed_window,
)


@pytest.fixture(scope="module")
def cell():
    return L5PC()


@pytest.fixture(scope="module")
def morphology(cell):
    return cell.morphology


def test_a_trial_is_a_function_of_seed_and_index(cell, morphology):
    first = REGIMES["default"].draw(cell, 400, 7, 3)
    again = REGIMES["default"].draw(cell, 400, 7, 3)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    for other in (
        REGIMES["default"].draw(cell, 400, 7, 4),
        REGIMES["default"].draw(cell, 400, 8, 3),
    ):
        assert len(other.event_step) != len(first.event_step) or (other.event_step != first.event_step).any()


def test_events_are_ordered_in_range_and_never_in_step_zero(cell, morphology):
    drawn = REGIMES["default"].draw(cell, 400, 1, 0)
    order = drawn.event_step.astype(np.int64) * 2 * morphology.segments + drawn.event_input
    assert (np.diff(order) > 0).all()  # at most one spike for each bin and input
    assert drawn.event_step.min() >= 1
    assert drawn.event_step.max() < 400
    assert drawn.event_input.max() < 2 * morphology.segments


def test_held_rates_spread_each_count_over_its_tree_by_length(cell, morphology):
    regime = InputRegime(
        "fixed",
        {"basal": SpikeCounts((300, 300), (100, 100)), "apical": SpikeCounts((500, 500), (-600, -600))},
    )
    rates = interval_rates(cell, regime, 4000, np.random.default_rng(0))
    segments = morphology.segments
    per_100ms = 100 * rates.mean(axis=0)
    for region, excitation, inhibition in ((BASAL, 300, 400), (APICAL, 500, 0)):
        members = np.flatnonzero(morphology.segment_region == region)
        assert per_100ms[members].sum() == pytest.approx(excitation, rel=0.01)
        assert per_100ms[segments + members].sum() == pytest.approx(inhibition, rel=0.01)
        weight = 10 + morphology.segment_length_um[members]
        assert per_100ms[members] == pytest.approx(excitation * weight / weight.sum(), rel=0.05)
    factor = (
        100
        * rates[:, 0]
        / (300 * (10 + morphology.segment_length_um[0]))
        * (
            10 * (morphology.segment_region == BASAL).sum()
            + morphology.segment_length_um[morphology.segment_region == BASAL].sum()
        )
    )
    assert (factor.min(), factor.max()) == pytest.approx((0.5, 1.5), abs=0.01)


@pytest.mark.parametrize(("steps", "hold", "sigma"), [(300, 37, 25), (200, 60, 90), (100, 500, 10)])
def test_smoothing_is_the_convolution_of_the_held_rate(steps, hold, sigma):
    rates = np.random.default_rng(1).random(-(-steps // hold))
    held = np.repeat(rates, hold)[:steps]
    width = 1 + 7 * sigma
    kernel = np.exp(-0.5 * ((np.arange(width) - (width - 1) / 2) / sigma) ** 2)
    begin = (width - 1) // 2
    expected = np.convolve(held, kernel / kernel.sum(), mode="full")[begin : begin + steps]
    assert smoothed_intervals(steps, hold, sigma) @ rates == pytest.approx(expected, abs=1e-12)


def test_spikes_follow_the_exponentially_jittered_rate(cell, morphology):
    # P(spike) = E[min(1, rate * exponential)] = rate * (1 - exp(-1 / rate)), far from the faded ends.
    regime = InputRegime(
        "dense",
        {"basal": SpikeCounts((9e4, 9e4), (0, 0)), "apical": SpikeCounts((9e4, 9e4), (0, 0))},
        (25,),
        (25,),
    )
    drawn = regime.draw(cell, 1500, 5, 0)
    inside = (drawn.event_step > 200) & (drawn.event_step < 1300)
    counts = np.bincount(drawn.event_input[inside], minlength=2 * morphology.segments) / 1099
    members = morphology.segment_region == APICAL
    weight = 10 + morphology.segment_length_um[members]
    rate = 900 * weight / weight.sum()
    expected = rate * (1 - np.exp(-1 / rate))
    assert counts[: morphology.segments][members].mean() == pytest.approx(expected.mean(), rel=0.02)


@pytest.mark.golden
def test_the_published_cell_gets_as_many_events_as_recorded(reference_data):
    cell = L5PC(load_morphology(reference_data / "golden" / "l5pc" / "cell1.asc"))
    with h5py.File(reference_data / "data" / "l5pc" / "trials_seed2001.h5") as file:
        per_step, inputs = file["event_count"][:].astype(np.int64), file["event_input"][:].astype(np.int64)
    recorded_trial = np.repeat(np.arange(len(per_step)), per_step.sum(axis=1))
    groups = (np.searchsorted([262, 639, 901], inputs, side="right")) * len(per_step) + recorded_trial
    recorded = np.bincount(groups, minlength=4 * len(per_step)).reshape(4, -1)
    ours = np.zeros((4, 12))
    for trial in range(12):
        drawn = REGIMES["default"].draw(cell, 6000, 1, trial)
        group = np.searchsorted([262, 639, 901], drawn.event_input, side="right")
        ours[:, trial] = np.bincount(group, minlength=4)
    for tree in range(4):  # basal and apical excitation, basal and apical inhibition
        a, b = ours[tree], recorded[tree]
        error = np.sqrt(a.var() / len(a) + b.var() / len(b))
        assert abs(a.mean() - b.mean()) < 4 * error
        assert a.std() == pytest.approx(b.std(), rel=0.6)
    assert 41_000 < ours[:2].sum(axis=0).mean() < 53_000
    assert 30_000 < ours[2:].sum(axis=0).mean() < 40_000


def test_regimes_by_name_and_nonsense():
    assert regime_named("published").groups["basal"] == SpikeCounts((0, 750), (-550, 200))
    assert regime_named("default").settings()["groups"]["apical"] == {
        "excitation": [0, 800],
        "inhibition": [-600, 200],
    }
    with pytest.raises(ConfigError, match="'publishd'.*Did you mean 'published'"):
        regime_named("publishd")
    with pytest.raises(ConfigError, match=r"excitation=\(5, 1\)"):
        SpikeCounts((5, 1), (0, 0))
    with pytest.raises(ConfigError, match="no negative count"):
        SpikeCounts((-5, 1), (0, 0))
    with pytest.raises(ConfigError, match="rate_hold_ms="):
        InputRegime(
            "x",
            {"basal": SpikeCounts((0, 1), (0, 0)), "apical": SpikeCounts((0, 1), (0, 0))},
            rate_hold_ms=(10,),
        )


def _varied(**changes):
    return replace(REGIMES["default"], **changes)


def _mean_rates(cell, regime, trials=3, steps=600):
    drawn = [regime.draw(cell, steps, 11, trial) for trial in range(trials)]
    return drawn, [np.bincount(d.event_input, minlength=len(cell.input_sign)) for d in drawn]


def test_removed_inhibition_leaves_less_excitation_and_none_of_the_other(cell):
    _, counts = _mean_rates(cell, REGIMES["default"])
    drawn, fewer = _mean_rates(cell, _varied(removed_inhibition=1.0))
    for before, after, trial in zip(counts, fewer, drawn, strict=True):
        assert after[cell.input_sign < 0].sum() == 0
        scale = trial.attributes["excitation_without_inhibition"]
        assert 0.1 <= scale <= 0.5
        ours, theirs = (spikes[cell.input_sign > 0].sum() for spikes in (after, before))
        assert ours == pytest.approx(scale * theirs, abs=5 * np.sqrt(scale * theirs) + 1)


def test_synchrony_makes_all_rates_swing_with_the_period_it_says(cell):
    regime = _varied(synchrony=1.0, rate_hold_ms=(600,), smoothing_ms=(600,))
    power, known = [], []
    for trial in range(4):
        drawn = regime.draw(cell, 4000, 2, trial)
        known.append(drawn.attributes["synchrony_period_ms"])
        counts = np.bincount(drawn.event_step, minlength=4000) - len(drawn.event_step) / 4000
        spectrum = np.abs(np.fft.rfft(counts))[10:]
        power.append(4000 / (10 + spectrum.argmax()))
    assert power == pytest.approx(known, rel=0.05)


def test_clusters_are_neighbours_that_are_active_together(cell):
    drawn, counts = _mean_rates(cell, _varied(clustered=1.0), trials=4, steps=3000)
    for trial, spikes in zip(drawn, counts, strict=True):
        active = spikes > 0
        assert active[cell.input_sign > 0].any()
        assert 0 < active.sum() <= trial.attributes["active_inputs"] < len(active)
        # Almost no borders between active and silent inputs: clusters hold about twenty of them.
        assert (active[1:] != active[:-1]).sum() <= 2 * len(active) / 20 + 0.02 * len(active)


def test_spliced_pieces_change_the_trial_inside_them_and_nowhere_else(cell):
    plain = REGIMES["default"]
    regime = _varied(spliced_pieces=1)
    rate, _ = plain._rate(cell, 4000, np.random.default_rng(0))
    spliced = rate.copy()
    piece = regime._splice(cell, spliced, np.random.default_rng(5))
    assert 500 <= piece["stop_ms"] - piece["start_ms"] <= 1500
    changed = np.abs(spliced - rate).max(axis=1)
    assert changed[piece["start_ms"] + 100 : piece["stop_ms"] - 100].min() > 0
    assert changed[: max(0, piece["start_ms"] - 101)].max(initial=0) == 0
    assert changed[piece["stop_ms"] + 101 :].max(initial=0) == 0
    assert len(replace(plain, spliced_pieces=3).draw(cell, 2000, 0, 0).attributes["pieces"]) == 3


def test_a_window_is_the_convolution_of_a_box_with_a_gaussian():
    window = smoothed_window(1000, 300, 700)
    time = np.arange(1000)
    expected = 0.5 * (erf((time + 0.5 - 300) / 25 / 2**0.5) - erf((time + 0.5 - 700) / 25 / 2**0.5))
    assert window == pytest.approx(expected, abs=2e-4)
    assert smoothed_window(1000, 0, 1000) == pytest.approx(1.0)


def test_ergodic_trials_are_a_function_of_seed_and_index(cell):
    one, two = (REGIMES["ergodic"].draw(cell, 2500, 4, 9) for _ in range(2))
    assert np.array_equal(one.event_step, two.event_step)
    assert one.attributes == two.attributes
    assert len(one.attributes["pieces"]) == 5


def test_shares_out_of_range_are_refused():
    with pytest.raises(ConfigError, match=r"synchrony=1.5"):
        _varied(synchrony=1.5)
    with pytest.raises(ConfigError, match=r"spliced_pieces=-1"):
        _varied(spliced_pieces=-1)
