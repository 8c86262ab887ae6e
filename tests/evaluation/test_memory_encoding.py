"""What memory units encode, for a neuron whose weights were set by hand, so that the answers are known."""

import numpy as np
import pytest
import torch
from torch.nn import functional

import ulmus
from ulmus.baselines import LSTM
from ulmus.errors import DataError
from ulmus.evaluation.memory_encoding import memory_encoding, memory_of, signals, time_since, without_unit
from ulmus.trials import Header, JoinedTrials, Store, StoreWriter, Trial, events_from_trials, open_trials

STEPS, TRIALS = 2000, 12
GROUPS = [{"label": "near", "first": 0, "stop": 10}, {"label": "far", "first": 10, "stop": 20}]
HEADER = Header(
    steps=STEPS,
    dt_ms=1.0,
    input_sign=np.repeat(np.array([1, -1], dtype=np.int8), 20),
    settings={"input_groups": GROUPS},
)


def constructed():
    """Unit 0 filters near excitation (20 ms) and is the voltage, 1 far inhibition (50 ms) and the spikes, 2 rests."""
    neuron = ulmus.ELM(40, 2, memory=3, hidden_layers=0, tau_memory_ms=(20.0, 125.0))
    with torch.no_grad():
        for parameter in (
            neuron.mlp[0].weight,
            neuron.mlp[0].bias,
            neuron.readout.weight,
            neuron.readout.bias,
        ):
            parameter.zero_()
        neuron.mlp[0].weight[0, :10] = 2e-3
        neuron.mlp[0].weight[1, 30:40] = -2e-3
        neuron.readout.weight[0, 1] = 100.0
        neuron.readout.weight[1, 0] = 3.0
    return ulmus.Surrogate(neuron)


def random_input(seed):
    random = np.random.default_rng(seed)
    step, channel = np.nonzero(random.random((STEPS, 40)) < 0.02)
    return step.astype(np.int32), channel.astype(np.uint16)


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    """Trials whose voltage is what the constructed neuron says, with a spike whenever its logit is high."""
    surrogate = constructed()
    folder = tmp_path_factory.mktemp("constructed") / "store"
    writer = StoreWriter(folder, HEADER, trials_total=TRIALS, shard_trials=TRIALS)
    for seed in range(TRIALS):
        step, channel = random_input(seed)
        blank = Trial(step, channel, np.zeros((STEPS, 1), np.float32), np.zeros(0), {})
        found = surrogate.predict(events_from_trials([blank], HEADER))
        logit = torch.logit(found.spike_probability[0].double()).numpy()
        spikes = np.flatnonzero(logit > np.quantile(logit[500:], 0.97)) + 1.0
        writer.add(seed, Trial(step, channel, found.voltage_mv[0].numpy(), spikes, {}))
    writer.finish()
    return Store(folder)


def test_a_constructed_neuron_encodes_what_it_was_made_to(trials):
    found = memory_encoding(constructed(), trials)
    assert found.signals == (
        "near excitation",
        "near inhibition",
        "far excitation",
        "far inhibition",
        "voltage",
        "time since spike",
        "all of these",
    )
    np.testing.assert_allclose(found.tau_ms, [20, 50, 125], rtol=1e-3)
    explained = {name: found.explained[:, column] for column, name in enumerate(found.signals)}
    # A synaptic trace of 5 ms and a memory of 20 ms are together a difference of exponentials, which the filters hold.
    assert explained["near excitation"][0] > 0.999
    assert explained["far inhibition"][1] > 0.99
    assert explained["voltage"][0] > 0.999
    assert explained["all of these"][:2].min() > 0.99
    for name in ("near inhibition", "far excitation"):
        assert explained[name][:2].max() < 0.1
    assert explained["near excitation"][1] < 0.1
    assert explained["voltage"][1] < 0.1
    assert explained["time since spike"][0] < 0.1
    assert explained["time since spike"][1] > 0.1  # spikes are where this unit is high
    assert np.isnan(found.explained[2]).all()  # it does not move


def test_removing_a_unit_loses_what_it_carried(trials):
    surrogate = constructed()
    found = memory_encoding(surrogate, trials)
    memory = memory_of(surrogate.neuron, JoinedTrials([(trials, range(TRIALS))]))[:, 500:, 0]
    expected = memory.std() * 3.0 / surrogate.units.scale_per_mv
    np.testing.assert_allclose(found.rmse_change_mv, [expected, 0, 0], rtol=1e-3, atol=1e-5)
    assert found.auc_change[0] == found.auc_change[2] == 0
    assert found.auc_change[1] == pytest.approx(-0.5, abs=0.02)  # nothing is left to rank by


def test_units_are_in_order_of_their_time_constants(trials):
    surrogate = ulmus.Surrogate(ulmus.ELM(40, 2, memory=3, tau_memory_ms=(5.0, 50.0)))
    with torch.no_grad():
        surrogate.neuron.tau_memory.raw.copy_(surrogate.neuron.tau_memory.raw.flip(0))
    found = memory_encoding(surrogate, trials)
    assert (np.diff(found.tau_ms) > 0).all()
    assert found.unit.tolist() == [2, 1, 0]


@pytest.mark.parametrize("hidden_readout", [False, True])
def test_a_removed_unit_is_held_at_its_value_at_every_step(hidden_readout):
    torch.manual_seed(0)
    arguments = {"memory": 4, "hidden": 6, "activation": "silu", "tau_memory_ms": (3.0, 40.0)}
    cell = ulmus.ELMCell(5, 2, hidden_readout=hidden_readout, **arguments)
    surrogate = ulmus.Surrogate(ulmus.ELM(5, 2, hidden_readout=hidden_readout, **arguments))
    surrogate.neuron.load_state_dict(cell.state_dict())
    inputs = (torch.rand(2, 30, 5) < 0.3).float()
    state, expected = cell.initial_state(2), []
    with torch.no_grad():
        for step in range(30):
            state.memory[:, 1] = 0.7
            inner = cell.traces(inputs[:, step : step + 1], state)
            _, state = cell(inputs[:, step], state)
            seen = state.memory.clone()
            seen[:, 1] = 0.7
            if hidden_readout:
                seen = torch.cat([seen, inner.hidden[:, 0]], dim=-1)
            expected.append(functional.linear(seen, cell.readout.weight, cell.readout.bias))
        torch.testing.assert_close(without_unit(surrogate, 1, 0.7)(inputs), torch.stack(expected, dim=1))


def test_signals_without_groups_are_those_of_all_inputs():
    header = Header(steps=6, dt_ms=1.0, input_sign=np.array([1, -1], dtype=np.int8))
    trial = Trial(
        np.array([1, 1, 3], np.int32), np.array([0, 0, 1], np.uint16), np.zeros((6, 1), np.float32),
        np.array([2.5, 4.0]), {},
    )  # fmt: skip
    found = signals(trial, header, -55.0)
    assert list(found) == ["excitation", "inhibition", "voltage", "time since spike"]
    after = np.exp(-np.arange(5) / 2.0)
    np.testing.assert_allclose(found["excitation"][:, 0], [0, *(2 * after)])
    assert (found["voltage"] == -55).all()
    np.testing.assert_allclose(time_since(trial.spike_time_ms, header), [np.inf, np.inf, 0.5, 0, 1, 2])


def test_what_has_no_memory_units_is_refused(integrator_store):
    store = open_trials(str(integrator_store))
    with pytest.raises(DataError, match="LSTM has no memory units"):
        memory_encoding(ulmus.Surrogate(LSTM(12, 2, memory=3)), store)
    with pytest.raises(DataError, match="two or more"):
        memory_encoding(ulmus.Surrogate(ulmus.ELM(12, 2, memory=3)), open_trials(f"{integrator_store}[:1]"))
