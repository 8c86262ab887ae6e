"""Stacked LSTMs against PyTorch's own modules put together by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from ulmus.baselines import LSTM, LSTMNetwork
from ulmus.errors import ConfigError, ShapeError


def make(**changes) -> LSTMNetwork:
    torch.manual_seed(1)
    return LSTMNetwork(5, 3, **({"memory": 4} | changes)).double()


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("residual", [True, False])
def test_layers_are_put_together_as_the_formula_says(norm, residual):
    network = make(layers=3, norm=norm, residual=residual)
    x = torch.randn(2, 7, 5, dtype=torch.float64)
    hidden, _ = network.layers[0].recurrent(x)
    for layer, normalise in zip(network.layers[1:], network.norms, strict=False):
        seen = nn.functional.layer_norm(hidden, (4,), normalise.weight, normalise.bias) if norm else hidden
        added, _ = layer.recurrent(seen)
        hidden = hidden + added if residual else added
    last = network.norms[-1]
    hidden = nn.functional.layer_norm(hidden, (4,), last.weight, last.bias) if norm else hidden
    expected = hidden @ network.readout.weight.T + network.readout.bias
    torch.testing.assert_close(network(x)[0], expected, rtol=1e-12, atol=1e-12)


def test_going_on_equals_one_long_call():
    network = make(norm=True)
    x = torch.randn(2, 9, 5, dtype=torch.float64)
    first, state = network(x[:, :4])
    rest, _ = network(x[:, 4:], state)
    torch.testing.assert_close(torch.cat([first, rest], dim=1), network(x)[0])
    assert [part.cell.shape for part in state] == [(2, 4), (2, 4)]


def test_one_layer_without_options_is_an_lstm():
    network = make(layers=1)
    torch.manual_seed(1)
    alone = LSTM(5, 3, memory=4).double()
    x = torch.randn(2, 7, 5, dtype=torch.float64)
    assert network.trainable_parameters() == alone.trainable_parameters()
    assert torch.equal(network(x)[0], alone(x)[0])


def test_chrono_times_reach_every_layer():
    network = LSTMNetwork(1, memory=2000, chrono_ms=(1.0, 2000.0), dt_ms=2.0)
    for layer in network.layers:
        times_ms = layer.recurrent.bias_ih_l0.detach()[2000:4000].exp() * 2.0
        assert 0.999 < float(times_ms.min()) < 10
        assert 1980 < float(times_ms.max()) < 2000.1


@pytest.mark.parametrize("kind", ["dropout", "recurrent_dropout", "input_dropout"])
def test_dropout_is_for_training_alone(kind):
    network = make(**{kind: 0.5})
    x = torch.randn(1, 5, 5, dtype=torch.float64)
    assert not torch.equal(network(x)[0], network(x)[0])
    network.eval()
    assert torch.equal(network(x)[0], network(x)[0])


def test_numbers_of_numpy_and_plain_states_will_do():
    network = make(memory=np.int64(4), layers=np.int64(2), chrono_ms=torch.tensor([1.0, 9.0]))
    x = torch.randn(2, 6, 5, dtype=torch.float64)
    first, state = network(x[:, :3])
    again = network(x[:, 3:], [tuple(part) for part in state])[0]
    torch.testing.assert_close(torch.cat([first, again], dim=1), network(x)[0])


def test_mistakes_are_named():
    with pytest.raises(ConfigError, match="layers=0"):
        make(layers=0)
    with pytest.raises(ConfigError, match="dropout"):
        make(dropout=1.0)
    for range_ms in (5.0, "ab", (1.0,), (2.0, 1.0)):
        with pytest.raises(ConfigError, match="chrono_ms"):
            make(chrono_ms=range_ms)
    packed = nn.utils.rnn.pack_sequence([torch.zeros(3, 5), torch.zeros(2, 5)])
    with pytest.raises(ShapeError, match="PackedSequence"):
        make()(packed)
    with pytest.raises(ShapeError, match="the state has shapes"):
        make()(torch.zeros(1, 2, 5, dtype=torch.float64), make(layers=3)._rest(1))
