"""Tables of a fitted neuron, beside what the neuron does when single events reach it."""

import numpy as np
import pytest
import torch

import ulmus
from ulmus.errors import ConfigError
from ulmus.geometry import Geometry


def geometry(inputs: int) -> Geometry:
    """Two pieces, and every third input on the soma."""
    piece = np.where(np.arange(inputs) % 3 == 2, -1, np.arange(inputs) % 2)
    ends = np.array([[0.0, 0.0, 10.0], [4.0, 0.0, 0.0]])
    far = ends + np.array([2.0, 6.0, 0.0])
    return Geometry(ends, far, np.ones(2), piece, np.array([1.0, 2.0, 3.0]), 20.0)


@pytest.mark.parametrize("update", ["published", "bounded"])
def test_values_are_those_that_single_events_show(update):
    torch.manual_seed(0)
    neuron = ulmus.ELM(
        6, 3, memory=4, branches=3, synapses_per_branch=5, routing="random", tau_synapse_ms=[2.0, 5.0, 9.0],
        update=update, gain=3.0, dt_ms=0.5,
    )  # fmt: skip
    with torch.no_grad():
        neuron.synapses.raw.uniform_(-0.2, 1.0)
        neuron.mlp[-1].weight.zero_()  # proposals are constant
    surrogate = ulmus.Surrogate(neuron.double(), sites=("soma", "nexus"), geometry=geometry(6))
    tables = surrogate.tables()
    for channel in range(6):
        x = torch.zeros(1, 5, 6, dtype=torch.float64)
        x[0, 0, channel] = 1.0
        branches = neuron.traces(x).branches[0].detach().numpy()
        mine = tables.synapses[tables.synapses["input"] == channel]
        jump = np.bincount(mine["branch"], mine["weight"], minlength=3)
        faded = jump * np.exp(-np.arange(5)[:, None] * 0.5 / tables.branches["tau_ms"])
        np.testing.assert_allclose(branches, faded, rtol=1e-6, atol=1e-12)
    np.testing.assert_array_equal(tables.branches["synapses"], np.bincount(tables.synapses["branch"]))
    np.testing.assert_allclose(tables.branches["weight"].sum(), tables.synapses["weight"].sum())

    silent = torch.zeros(1, 1, 6, dtype=torch.float64)
    rest = neuron.initial_state(1)
    base = surrogate.predict(silent)
    added = base.state.neuron.memory[0]
    proposal = 1.7159 * np.tanh(2 / 3 * neuron.mlp[-1].bias.detach().numpy())
    np.testing.assert_allclose(added.numpy(), proposal * tables.memory["gain"], rtol=1e-6)
    for unit in range(4):
        state = rest._replace(memory=torch.eye(4, dtype=torch.float64)[unit : unit + 1])
        moved = surrogate.predict(silent, state)
        kept = np.exp(-0.5 / tables.memory["tau_ms"][unit])
        difference = torch.logit(moved.spike_probability) - torch.logit(base.spike_probability)
        np.testing.assert_allclose(difference.item(), kept * tables.memory["spike_logit"][unit], rtol=1e-6)
        shift = (moved.voltage_mv - base.voltage_mv)[0, 0].numpy()
        wanted = [kept * tables.memory[name][unit] for name in ("soma_mv", "nexus_mv")]
        np.testing.assert_allclose(shift, wanted, rtol=1e-6)


def test_places_and_signs_of_inputs():
    surrogate = ulmus.Surrogate(ulmus.ELM(6, 2, memory=3), geometry=geometry(6))
    synapses = surrogate.tables().synapses
    places = np.stack([synapses[name] for name in ("x_um", "y_um", "z_um")], axis=1)
    soma = [1.0, 2.0, 3.0]
    np.testing.assert_array_equal(places, [[1, 3, 10], [5, 3, 0], soma, [5, 3, 0], [1, 3, 10], soma])
    assert not synapses["sign"].any()  # not known
    shipped = ulmus.load("l5pc-branch-20").tables()
    excitatory = shipped.synapses["input"] < 639
    np.testing.assert_array_equal(shipped.synapses["sign"], np.where(excitatory, 1, -1))
    assert np.isnan(shipped.synapses["x_um"]).all()
    assert set(shipped.synapses["input"]) == set(range(1278))


def test_other_models_have_none():
    layers = ulmus.ELMNetwork(6, 2, layers=2, memory=3)
    with pytest.raises(ConfigError, match="ELMNetwork has no branches"):
        ulmus.Surrogate(layers).tables()
