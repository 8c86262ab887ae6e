"""Augmented events: how often, where to, reproducible."""

import numpy as np
import pytest

from ulmus.errors import ConfigError
from ulmus.trials.augmentation import Augmentation

SIGN = np.repeat(np.array([1, -1], dtype=np.int8), 50)


def changed(inputs, seed=0, **settings):
    return Augmentation(**settings)(inputs, SIGN, np.random.default_rng(seed))


def test_without_settings_nothing_changes():
    inputs = np.arange(100, dtype=np.int32)
    same, values = changed(inputs)
    np.testing.assert_array_equal(same, inputs)
    np.testing.assert_array_equal(values, SIGN)


def test_events_move_to_neighbours_of_the_same_sign_as_often_as_asked():
    inputs = np.full(100_000, 20, dtype=np.int32)
    moved, _ = changed(inputs, neighbour=0.4)
    shares = [float((moved == 20 + step).mean()) for step in (-1, 0, 1)]
    np.testing.assert_allclose(shares, [0.2, 0.6, 0.2], atol=0.01)
    edges = np.repeat(np.array([0, 49, 50, 99], dtype=np.int32), 1000)
    moved, values = changed(edges, neighbour=0.9)
    assert set(moved.tolist()) == {0, 1, 48, 49, 50, 51, 98, 99}
    np.testing.assert_array_equal(values, SIGN[edges])


def test_left_out_events_are_made_up_for_by_the_others():
    inputs = np.zeros(100_000, dtype=np.int32)
    _, values = changed(inputs, drop=0.2)
    assert set(np.unique(values)) == {np.float32(0), np.float32(1.25)}
    assert values.mean() == pytest.approx(1, abs=0.01)


def test_a_seed_fixes_the_changes():
    inputs = np.arange(100, dtype=np.int32)
    one, again, other = (changed(inputs, seed, neighbour=0.5, drop=0.5) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one[0], other[0])


@pytest.mark.parametrize("settings", [{"drop": 1.0}, {"neighbour": -0.1}])
def test_probabilities_are_checked(settings):
    with pytest.raises(ConfigError, match=r"is no share; expected 0 \(off\) or more, below 1"):
        Augmentation(**settings)
