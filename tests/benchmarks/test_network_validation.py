"""The networks that are compared: the same wiring and input in both, and measures that know what they count."""

import numpy as np
import pytest

import ulmus

pytest.importorskip("arbor")

from detailed_network import CELLS, Activity, Wires, received, wires
from network_validation import STEPS, Piece, fitted_network, measured, open_loop

from ulmus.teachers import Drive


def test_fewer_contacts_are_the_first_of_more():
    few, many = wires(1278, 5, 3), wires(1278, 20, 3)
    pairs = {(a, b) for a, b, *_ in zip(*few, strict=True)}
    assert pairs == {(a, b) for a, b, *_ in zip(*many, strict=True)}
    assert len(few.source) == 5 * len(pairs)
    assert set(zip(*few, strict=True)) <= set(zip(*many, strict=True))
    inhibitory = many.source >= CELLS - 2
    np.testing.assert_array_equal(many.input >= 639, inhibitory)
    assert not (many.source == many.target).any()


def test_a_network_is_its_neurons_with_what_they_received():
    draw = np.random.default_rng(0)
    surrogate = ulmus.load("l5pc-branch-20").double()  # no rounding decides what is a spike
    outside = [
        Drive(draw.integers(1, STEPS, 50_000), draw.integers(639, size=50_000), STEPS, None)
        for _ in range(CELLS)
    ]
    wiring = wires(1278, 10, 0)
    activity = fitted_network(surrogate, outside, wiring)
    assert len(activity.time_ms) > 20
    again = open_loop(surrogate, outside, received(activity, wiring, STEPS))
    np.testing.assert_array_equal(again.time_ms, activity.time_ms)
    np.testing.assert_array_equal(again.cell, activity.cell)
    early = slice(None), slice(0, 500)  # later, other orders of sums have grown
    np.testing.assert_allclose(again.voltage_mv[early], activity.voltage_mv[early], atol=1e-6)


def test_what_is_measured_of_known_spikes():
    cells, times = np.arange(CELLS), np.arange(1000.0, 5000.0, 100.0)
    together = Activity(np.repeat(times, CELLS), np.tile(cells, len(times)), np.zeros((CELLS, STEPS)))
    none = Wires(*np.zeros((4, 0), dtype=int))
    found = measured([Piece(1278, [], none, together, together, together)], "detailed")
    assert found["rate_hz"] == pytest.approx(len(times) / 5.5)
    assert found["interval_cv"] == 0
    assert found["synchrony_10_ms"] == pytest.approx(CELLS)
    assert found["correlation_10_ms"] == pytest.approx(1)
