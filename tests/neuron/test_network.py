"""Stacked layers: one is a neuron, several are their formula."""

import pytest
import torch
from network_examples import NEURON
from network_examples import make_network as make
from torch.nn import functional

import ulmus
from ulmus.errors import ConfigError, ShapeError


def test_one_layer_without_options_is_the_neuron():
    network = make(layers=1)
    torch.manual_seed(0)
    neuron = ulmus.ELM(6, 2, **NEURON).double()
    x = torch.randn(3, 20, 6, dtype=torch.float64)
    y, (state,) = network(x)
    expected, last = neuron(x)
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(state, last)
    assert network.trainable_parameters() == neuron.trainable_parameters()


@pytest.mark.parametrize("width", [None, 5])
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("scale_memory", [True, False])
def test_layers_follow_their_formula(width, residual, norm, scale_memory):
    network = make(width=width, residual=residual, norm=norm, scale_memory=scale_memory)
    # Sizes are found in single precision, before the network is made double.
    first = ulmus.ELM(6, **NEURON).memory_sizes().double()
    sizes = first if scale_memory and width is None else 1
    with torch.no_grad():
        for value in network.norms.parameters():
            value.add_(0.3 * torch.randn_like(value))
    x = torch.randn(3, 20, 6, dtype=torch.float64)

    def normal(number, values):
        if not norm:
            return values
        layer = network.norms[number]
        centred = values - values.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return scaled * layer.weight + layer.bias

    hidden = network.layers[0](x)[0] / sizes
    for number, layer in enumerate(network.layers[1:]):
        assert layer.branches == layer.inputs == (width or 4)
        added = layer(normal(number, hidden))[0] / sizes
        hidden = hidden + added if residual else added
    expected = functional.linear(normal(2, hidden), network.readout.weight, network.readout.bias)
    torch.testing.assert_close(network(x)[0], expected)


@pytest.mark.parametrize("changes", [{}, {"norm": True, "width": 5}, {"outputs": None, "residual": False}])
def test_pieces_equal_one_call(changes):
    network, x = make(**changes), torch.randn(2, 15, 6, dtype=torch.float64)
    first, state = network(x[:, :6], network.initial_state(2))
    second, state = network(x[:, 6:], state)
    whole, last = network(x)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)
    torch.testing.assert_close(state, last)


def test_gradients_agree_with_finite_differences():
    network = make(norm=True, layers=2)
    names = [name for name, value in network.named_parameters() if value.requires_grad]
    values = [network.get_parameter(name).detach().clone().requires_grad_() for name in names]
    x = torch.randn(2, 5, 6, dtype=torch.float64, requires_grad=True)

    def run(x, *values):
        return torch.func.functional_call(network, dict(zip(names, values, strict=True)), (x,))[0]

    assert torch.autograd.gradcheck(run, (x, *values))


def test_events_equal_the_dense_input():
    row_start = torch.tensor([0, 2, 2, 3, 3, 3, 4], dtype=torch.int32)
    inputs = torch.tensor([1, 5, 0, 2], dtype=torch.int32)
    values = torch.tensor([1.0, -1, 1, -1], dtype=torch.float64)
    events = ulmus.Events(row_start, inputs, values, batch=2, time=3, channels=6)
    network = make()
    torch.testing.assert_close(network(events)[0], network(events.dense())[0])


def test_dropout_leaves_out_values_of_every_layer_in_training_only():
    network, x = make(dropout=0.5, layers=1, outputs=None), torch.randn(4, 100, 6, dtype=torch.float64)
    whole = make(layers=1, outputs=None)(x)[0]
    ratio = network(x)[0] / whole
    assert set(ratio.detach().round(decimals=6).flatten().tolist()) == {0.0, 2.0}
    assert float((ratio == 0).double().mean()) == pytest.approx(0.5, abs=0.05)
    assert torch.equal(network.eval()(x)[0], whole)


def test_options_of_the_input_are_those_of_the_first_layer():
    network = make(input_dropout=0.5, memory_dropout=0.25, synaptic_weight=0.2)
    assert [layer.dropout for layer in network.layers] == [
        (0.5, 0.25, 0.0),
        (0.0, 0.25, 0.0),
        (0.0, 0.25, 0.0),
    ]
    assert network.layers[0].synapses.raw[0, 0].item() == pytest.approx(0.2)


def test_values_that_cannot_be_used_are_named():
    with pytest.raises(ConfigError, match="layers=0"):
        make(layers=0)
    with pytest.raises(ConfigError, match="dropout=1"):
        make(dropout=1.0)
    with pytest.raises(ConfigError, match="Did you mean 'relu'"):
        make(activation="rleu")
    with pytest.raises(ShapeError, match="one of 3 layers; expected 2"):
        make(layers=2)(torch.zeros(1, 2, 6), make().initial_state(1))
