"""Dropout in the weights: the masks by hand, the mean over many, nothing in evaluation."""

import itertools

import pytest
import torch

import ulmus
from ulmus.errors import ConfigError
from ulmus.kernels import use_backend

VARIANTS = [
    {},
    {"branches": 3, "synapses_per_branch": 4, "routing": "random"},
    {"hidden_layers": 2},
    {"hidden_readout": True},
]


def make(**changes) -> ulmus.ELM:
    torch.manual_seed(0)
    return ulmus.ELM(6, **({"outputs": 2, "memory": 4, "tau_memory_ms": (1.0, 50.0)} | changes)).double()


def mask(width: int) -> torch.Tensor:
    return torch.bernoulli(torch.full((width,), 0.5, dtype=torch.float64)) * 2


@pytest.mark.parametrize("changes", VARIANTS)
@pytest.mark.parametrize("backend", ["reference", "numba"])
def test_output_is_that_of_a_neuron_with_masked_signals(changes, backend):
    """Each mask is applied by hand where the signal that it masks enters a product."""
    neuron = make(**changes, input_dropout=0.5, memory_dropout=0.5, hidden_dropout=0.5)
    by_hand = make(**changes).eval()
    x = torch.randn(3, 15, 6, dtype=torch.float64)
    torch.manual_seed(5)
    with use_backend(backend):
        dropped = neuron(x)[0]
    torch.manual_seed(5)
    inputs, memory = mask(6), mask(4)
    hidden = [mask(8) for _ in neuron.mlp[1:]]
    with torch.no_grad():
        by_hand.mlp[0].weight[:, by_hand.branches :] *= memory
        for layer, factors in zip(by_hand.mlp[1:], hidden, strict=True):
            layer.weight *= factors
        seen = torch.cat([memory, hidden[-1]]) if neuron.hidden_readout else memory
        by_hand.readout.weight *= seen
    torch.testing.assert_close(dropped, by_hand(x * inputs)[0])


def all_masks(monkeypatch, width):
    """Let every mask be drawn in turn; all are equally likely at a share of one half."""
    for kept in itertools.product([0.0, 2.0], repeat=width):
        drawn = torch.tensor(kept, dtype=torch.float64)
        monkeypatch.setattr("ulmus.neuron.dropout.dropout_mask", lambda *_, drawn=drawn: drawn)
        yield


def test_mean_over_all_masks_is_the_neuron_without_dropout_where_it_is_linear(monkeypatch):
    """Traces of branches are linear in the inputs, and outputs in the memory."""
    x, plain = torch.randn(2, 9, 6, dtype=torch.float64), make()
    neuron = make(input_dropout=0.5)
    traces = [neuron.traces(x).branches for _ in all_masks(monkeypatch, 6)]
    torch.testing.assert_close(torch.stack(traces).mean(0), plain.traces(x).branches)
    neuron = make(memory_dropout=0.5)
    memory = torch.randn(7, 4, dtype=torch.float64)
    outputs = [
        torch.nn.functional.linear(memory, *neuron.weights().readout) for _ in all_masks(monkeypatch, 4)
    ]
    assert len(outputs) == 16
    assert not torch.equal(outputs[0], outputs[1])
    torch.testing.assert_close(torch.stack(outputs).mean(0), plain.readout(memory))


def test_masks_keep_the_share_and_the_mean():
    torch.manual_seed(0)
    neuron = ulmus.ELM(4000, 2, memory=300, input_dropout=0.2, memory_dropout=0.4, hidden_dropout=0.5)
    weights, plain = neuron.weights(), neuron.eval().weights()
    for masked, whole, share in (
        (weights.synapses, plain.synapses, 0.2),
        (weights.recurrent[0], plain.recurrent[0], 0.4),
        (weights.later[0][0][0], plain.later[0][0][0], 0.5),
    ):
        ratio = masked / whole
        assert set(ratio.detach().mul(1 - share).round(decimals=4).tolist()) == {0.0, 1.0}
        assert float((ratio == 0).float().mean()) == pytest.approx(share, abs=0.08)
    hidden_by_readout = weights.readout[0] == 0
    assert torch.equal(hidden_by_readout.all(dim=0), weights.recurrent.eq(0).all(dim=0))


def test_nothing_is_dropped_in_evaluation():
    x = torch.randn(2, 9, 6, dtype=torch.float64)
    neuron = make(input_dropout=0.5, memory_dropout=0.5, hidden_dropout=0.5)
    assert torch.equal(neuron.eval()(x)[0], make()(x)[0])


def test_masks_come_from_the_seed_of_pytorch():
    x = torch.randn(2, 9, 6, dtype=torch.float64)
    neuron, found = make(memory_dropout=0.5), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(neuron(x)[0])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_shares_that_cannot_be_used_are_named():
    with pytest.raises(ConfigError, match=r"memory_dropout=1\.0"):
        make(memory_dropout=1.0)
    with pytest.raises(ConfigError, match="needs a hidden layer"):
        make(hidden_dropout=0.5, hidden_layers=0)
