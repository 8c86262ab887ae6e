import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.stats import binom

from ulmus.sequences.digits.cochlea.cells import binomial, bushy_spikes, firing_probability, refractory_steps


def test_a_hair_cell_in_silence_stays_at_rest():
    probability = firing_probability(np.zeros((2, 500), np.float32), 11025.0)
    np.testing.assert_allclose(probability, probability[0, 0], rtol=1e-5)


def test_a_hair_cell_follows_the_published_equations():
    # An independent solver of the same differential equations, at a fine step.
    rate_hz, steps = 400_000.0, 8000

    def moved(t):
        return 60 * np.sin(2 * np.pi * 300 * t) * np.minimum(t / 0.005, 1)

    def slope(t, pools):
        q, c, w = pools
        s = moved(t)
        k = 2000 * (s + 5) / (s + 305) if s > -5 else 0.0
        release = k * q
        return [5.05 * max(1 - q, 0) - release + 66.3 * w, release - 9080 * c, 6580 * c - 66.3 * w]

    k = 2000 * 5 / 305
    c = 5.05 * k / (2500 * k + 5.05 * 9080)
    t = np.arange(steps) / rate_hz
    expected = solve_ivp(
        slope, (0, t[-1]), [c * 9080 / k, c, c * 6580 / 66.3], "LSODA", t, rtol=1e-8, atol=1e-12
    )
    probability = firing_probability(moved(t).astype(np.float32)[None], rate_hz)[0]
    rate = probability * rate_hz
    np.testing.assert_allclose(rate, 50000 * expected.y[1], rtol=0.02, atol=2)
    assert rate.max() > 5 * rate[0]


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 40), st.floats(0, 0.999), st.floats(0, 0.9999))
def test_the_number_of_firing_fibres_is_the_binomial_quantile(trials, probability, uniform):
    near = binom.cdf(np.arange(trials + 1), trials, probability)
    if np.abs(near - uniform).min() < 1e-9:
        return  # on the edge between two numbers either may come out
    assert binomial(trials, probability, uniform) == np.searchsorted(near, uniform, side="right")


def test_a_certain_binomial():
    assert binomial(17, 1.0, 0.3) == 17


@pytest.mark.parametrize(("rate_hz", "steps"), [(24000, 24), (11025, 12), (12000, 12), (8000, 8)])
def test_the_refractory_time_lasts_at_least_a_millisecond(rate_hz, steps):
    assert refractory_steps(rate_hz) == steps


@pytest.mark.parametrize("probability", [0.012, 0.02, 0.06])
def test_counting_fibres_is_the_same_as_following_each(probability):
    rate_hz, steps, cells, refractory = 11025.0, 3000, 150, 12
    random = np.random.default_rng(1)
    shape = (cells, steps)
    found = bushy_spikes(
        np.full(shape, probability, np.float32), random.random(shape, np.float32), rate_hz, refractory
    )
    # Every fibre on its own, in plain NumPy.
    ready = np.zeros((cells, 40), int)
    current, voltage, held = np.zeros(cells), np.zeros(cells), np.zeros(cells, int)
    spikes = 0
    for step in range(steps):
        fires = (ready <= step) & (random.random((cells, 40)) < probability)
        ready[fires] = step + refractory
        current = current * np.exp(-2000 / rate_hz) + 325 * fires.sum(axis=1)
        free = held == 0
        held -= ~free
        voltage = np.where(free, voltage * np.exp(-1000 / rate_hz) + current / rate_hz, 0.0)
        spiking = voltage >= 1
        spikes += spiking.sum()
        voltage[spiking], held[spiking] = 0.0, refractory
    assert spikes > 300
    assert abs(len(found) - spikes) < 5 * np.sqrt(spikes)
    for cell in range(cells):
        assert (np.diff(found[found[:, 1] == cell, 0]) > refractory).all()
