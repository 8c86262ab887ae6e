"""A fitted neuron step by step: the same spikes and voltage as in chunks, in one call, and as predicted for whole trials."""

import copy

import numpy as np
import pytest
import torch
from kernel_cases import as_events

from ulmus import ELM, Events, Surrogate
from ulmus.errors import ConfigError, DataError, ShapeError
from ulmus.neuron.spikes import first_peaks, spike_times

TIME = 300


def surrogate(threshold=0.5, **options):
    """A neuron whose spike probability goes up and down across the threshold."""
    torch.manual_seed(3)
    sizes = {"memory": 8, "branches": 5, "synapses_per_branch": 8, "routing": "windows"} | options
    neuron = ELM(40, 2, synaptic_weight=2.0, tau_memory_ms=(1.0, 20.0), **sizes)
    with torch.no_grad():
        neuron.readout.weight[0] *= 20
        if not neuron.hidden_readout:
            neuron.readout.bias[0] -= neuron(spikes_in(1))[0][..., 0].median()
    return Surrogate(neuron, spike_threshold=threshold)


def spikes_in(batch, seed=0):
    draw = torch.Generator().manual_seed(seed)
    x = (torch.rand(batch, TIME, 40, generator=draw) < 0.05).float()
    x[..., 20:] *= -1
    return x


def steps_of(prediction):
    return [np.round(times).astype(int).tolist() for times in prediction.spike_times_ms]


@pytest.mark.parametrize(
    "options", [{}, {"tau_synapse_ms": [2.0, 3.0, 5.0, 8.0, 9.0]}, {"hidden_layers": 0}, {"hidden_layers": 2}]
)
@pytest.mark.parametrize("batch", [1, 11])
def test_steps_chunks_and_one_call(batch, options):
    fitted, x = surrogate(**options), spikes_in(batch)
    exact = copy.deepcopy(fitted).double()  # so that no rounding decides what is a peak
    wanted = exact.predict(x.double())
    assert sum(map(len, steps_of(wanted))) > 5 * batch
    found = exact.stepper(batch).run(x.numpy()).spikes
    assert [np.flatnonzero(row).tolist() for row in found] == steps_of(wanted)
    whole = fitted.stepper(batch).run(x.numpy())
    np.testing.assert_allclose(whole.voltage_mv, wanted.voltage_mv.numpy(), rtol=0, atol=2e-3)
    runner = fitted.stepper(batch)
    singly = []
    for step in range(TIME):
        neuron, place = np.nonzero(x[:, step].numpy())
        singly.append(runner.step(place, neurons=None if batch == 1 else neuron))
    np.testing.assert_array_equal(np.stack([one.spikes for one in singly], 1), whole.spikes)
    np.testing.assert_array_equal(np.stack([one.voltage_mv for one in singly], 1), whole.voltage_mv)
    runner, parts = fitted.stepper(batch), []
    for first, last in ((0, 1), (1, 120), (120, TIME)):
        parts.append(runner.run(as_events(x[:, first:last])))
    np.testing.assert_array_equal(np.concatenate([part.spikes for part in parts], 1), whole.spikes)


def test_predictions_in_pieces_have_the_spikes_of_one_call():
    fitted, x = surrogate(), spikes_in(2)
    wanted, state, found = steps_of(fitted.predict(x)), None, [[], []]
    for first in range(0, TIME, 7):
        part = fitted.predict(x[:, first : first + 7], state)
        state = part.state
        for spikes, more in zip(found, steps_of(part), strict=True):
            spikes += [first + step for step in more]
    assert found == wanted


def test_a_saved_state_goes_on():
    fitted, x = surrogate(), spikes_in(1).numpy()
    runner = fitted.stepper()
    runner.run(x[:, :100])
    saved = runner.state
    wanted = runner.run(x[:, 100:])
    other = fitted.stepper()
    other.state = saved
    np.testing.assert_array_equal(other.run(x[:, 100:]).spikes, wanted.spikes)
    with pytest.raises(ShapeError, match="not one of these"):
        other.state = saved[1:]


def test_a_refractory_time_takes_spikes_away_that_follow_too_soon():
    fitted, x = surrogate(), spikes_in(1).numpy()
    free = np.flatnonzero(fitted.stepper().run(x).spikes)
    rarer = np.flatnonzero(fitted.stepper(refractory_ms=15.0).run(x).spikes)
    assert np.diff(free).min() <= 15 < np.diff(rarer).min()
    assert set(rarer) <= set(free)


def test_the_first_peak_of_every_stretch():
    assert first_peaks(np.array([0.1, 0.9, 0.8, 0.95, 0.2, 0.7]), 0.5) == ([1], False)
    assert first_peaks(np.array([0.6]), 0.5, before=0.7, fired=False) == ([-1], True)
    assert first_peaks(np.array([0.6, 0.4]), 0.5, before=0.7, fired=True) == ([], False)
    probability = np.array([0.9, 0.2, 0.6, 0.8, 0.7, 0.9, 0.4, 0.6])  # the last peak may be still to come
    np.testing.assert_array_equal(spike_times(probability, 0.5, 2.0), [2.0, 8.0])
    assert len(spike_times(probability, 0.95, 1.0)) == 0


def test_what_is_refused():
    fitted = surrogate()
    runner = fitted.stepper()
    with pytest.raises(ShapeError, match="0 to inputs - 1 = 39"):
        runner.step([40])
    with pytest.raises(DataError, match="input 30 has the wrong sign"):
        runner.step([30], [1.0])
    with pytest.raises(ShapeError, match="Pass neurons"):
        fitted.stepper(3).step([1])
    with pytest.raises(ShapeError, match="values"):
        runner.step([1, 2], [1.0])
    with pytest.raises(ShapeError, match=r"expected \[batch, time, inputs\]"):
        runner.run(np.zeros((2, 3, 40)))
    with pytest.raises(ConfigError, match="refractory_ms"):
        fitted.stepper(refractory_ms=-1)
    with pytest.raises(ConfigError, match="cannot be stepped"):
        surrogate(hidden_readout=True).stepper()


def test_events_whose_row_starts_do_not_fit_are_refused():
    events = Events.counted(np.array([[1, 1]]), np.array([3, 4]), np.ones(2), 40)
    with pytest.raises(ShapeError, match="3 row starts from 0 to 2.*51 row starts"):
        surrogate().stepper().run(events._replace(time=50))


@pytest.mark.parametrize(
    ("inputs", "options", "words"),
    [
        (np.eye(1, 40, 3)[0], {}, "type float64.*flatnonzero"),
        (np.eye(1, 40, 3, dtype=bool)[0], {}, "type bool"),
        ([3.7], {}, "float64"),
        ([[1, 2]], {}, r"shape \[1, 2\]"),
        ([[1], [1, 2]], {}, "no array"),
        (3, {}, r"shape \[\]"),
        (["a"], {}, "whole number"),
        ([3], {"values": [np.nan]}, "input 3 has the value nan"),
        ([3, 4], {"values": [1, np.inf]}, "input 4 has the value inf"),
        ([3], {"values": ["1"]}, "expected numbers"),
        ([3, 4], {"neurons": [0.9, 1]}, "neurons = .*float64"),
        ([3], {"neurons": [np.nan]}, "neurons = .*float64"),
        ([3], {"neurons": [True]}, "neurons = .*bool"),
    ],
)
def test_events_that_are_no_numbers_are_refused(inputs, options, words):
    runner = surrogate().stepper(2)
    state = runner.state
    with pytest.raises(DataError, match=words):
        runner.step(inputs, **options)
    np.testing.assert_array_equal(runner.state, state)


def test_dense_input_has_finite_numbers_and_may_have_a_gradient():
    fitted, x = surrogate(), spikes_in(1)
    wanted = fitted.stepper().run(x).voltage_mv
    np.testing.assert_array_equal(fitted.stepper().run(x.clone().requires_grad_()).voltage_mv, wanted)
    events = as_events(x)
    events = events._replace(values=events.values.clone().requires_grad_())
    np.testing.assert_array_equal(fitted.stepper().run(events).voltage_mv, wanted)
    x[0, 7, 5] = np.nan
    for given, words in (
        (x, "input 5 has the value nan"),
        (as_events(x), "value nan"),
        ("x", "expected numbers"),
    ):
        with pytest.raises(DataError, match=words):
            fitted.stepper().run(given)


def test_a_refractory_time_may_be_a_number_of_numpy():
    fitted, x = surrogate(), spikes_in(1).numpy()
    wanted = fitted.stepper(refractory_ms=15.0).run(x).spikes
    for time in (np.int64(15), np.float32(15)):
        np.testing.assert_array_equal(fitted.stepper(refractory_ms=time).run(x).spikes, wanted)


def test_steps_from_compiled_code():
    from numba import njit

    from ulmus.kernels.numba_step import run_steps

    fitted, x = surrogate(), spikes_in(1)
    wanted = fitted.stepper().run(x.numpy()).spikes[0]
    events = as_events(x)
    starts, inputs, values = (part.numpy() for part in events[:3])

    @njit
    def loop(plan, weights, state, starts, inputs, values):
        count, spikes, outputs = 0, np.zeros(1, np.uint8), np.zeros(2, np.float32)
        for step in range(len(starts) - 1):
            run_steps(plan, weights, state, starts[step : step + 2], inputs, values, 1, spikes, outputs)
            count += spikes[0]
        return count

    plan, weights, state = fitted.stepper().compiled
    assert (
        loop(plan, weights, state, starts.astype(np.int64), inputs.astype(np.int64), values) == wanted.sum()
    )


@pytest.mark.parametrize("sparse", [False, True])
def test_inhibition_that_was_given_as_excitation_is_said(sparse):
    fitted, right = surrogate(), spikes_in(1)
    give = as_events if sparse else lambda x: x
    fitted.predict(give(right))
    fitted.predict(give(right.clamp(min=0)))  # no inhibition at all
    with pytest.warns(UserWarning, match="inputs 20 to 39 are inhibitory, but all their values are positive"):
        fitted.predict(give(right.abs()))
