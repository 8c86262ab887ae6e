"""The LSTM against the equations written out, step by step."""

import pytest
import torch
from event_sequences import events_of, spikes

from ulmus.baselines import LSTM
from ulmus.errors import ConfigError, ShapeError


def make(**changes) -> LSTM:
    torch.manual_seed(0)
    return LSTM(5, 3, **({"memory": 4} | changes)).double()


def test_follows_the_equations_step_by_step():
    model = make()
    x = torch.randn(2, 7, 5, dtype=torch.float64)
    y, state = model(x)
    weights = model.recurrent
    hidden, cell = torch.zeros(2, 2, 4, dtype=torch.float64)
    for t in range(7):
        gates = x[:, t] @ weights.weight_ih_l0.t() + hidden @ weights.weight_hh_l0.t() + weights.bias_ih_l0
        into, forget, proposal, out = gates.chunk(4, dim=1)
        cell = torch.sigmoid(forget) * cell + torch.sigmoid(into) * torch.tanh(proposal)
        hidden = torch.sigmoid(out) * torch.tanh(cell)
        expected = hidden @ model.readout.weight.t() + model.readout.bias
        torch.testing.assert_close(y[:, t], expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(state.hidden, hidden)
    torch.testing.assert_close(state.cell, cell)


@pytest.mark.parametrize(
    ("inputs", "outputs", "memory", "parameters"),
    [
        (1278, 2, 15, 77_672),
        (1278, 2, 25, 130_452),
        (1278, 2, 50, 265_902),
        (1278, 2, 100, 551_802),
        (1278, 2, 250, 1_529_502),
        (700, 20, 250, 956_020),
    ],
)
def test_parameter_counts_of_the_paper(inputs, outputs, memory, parameters):
    assert LSTM(inputs, outputs, memory=memory).trainable_parameters() == parameters


def test_pieces_equal_one_call():
    model = make()
    x = torch.randn(2, 9, 5, dtype=torch.float64)
    first, state = model(x[:, :4])
    second, state = model(x[:, 4:4], state)
    third, state = model(x[:, 4:], state)
    whole, last = model(x)
    torch.testing.assert_close(torch.cat([first, second, third], dim=1), whole)
    torch.testing.assert_close(state, last)


def test_events_equal_the_dense_input():
    model, x = make(), spikes(2, 6, 5)
    torch.testing.assert_close(model(events_of(x))[0], model(x.double())[0])


def test_gradients_reach_every_trained_value():
    model = make()
    model(torch.randn(2, 9, 5, dtype=torch.float64))[0].square().sum().backward()
    trained = [value for value in model.parameters() if value.requires_grad]
    assert all(bool((value.grad != 0).any()) for value in trained)
    assert model.recurrent.bias_hh_l0.grad is None
    assert not model.recurrent.bias_hh_l0.any()


def test_chrono_cells_forget_over_the_times_asked_for():
    """A cell without input decays by sigmoid(b_f) = T / (1 + T) a step: after T steps about 1/e is left."""
    model = LSTM(1, memory=2000, chrono_ms=(1.0, 2000.0), dt_ms=2.0)
    into, forget = model.recurrent.bias_ih_l0.detach().chunk(4)[:2]
    torch.testing.assert_close(into, -forget)
    steps = forget.exp()
    assert 0.5 <= float(steps.min()) < 5
    assert 990 < float(steps.max()) <= 1000
    assert float(steps.mean()) == pytest.approx(500.25, abs=25)


def test_dropout_is_that_of_masked_input_and_hidden_state():
    model = make(input_dropout=0.5, recurrent_dropout=0.5)
    x = torch.randn(2, 7, 5, dtype=torch.float64)
    torch.manual_seed(3)
    dropped = model(x)[0]
    torch.manual_seed(3)
    inputs = torch.bernoulli(torch.full((5,), 0.5, dtype=torch.float64)) * 2
    hidden = torch.bernoulli(torch.full((4,), 0.5, dtype=torch.float64)) * 2
    assert 0 < inputs.count_nonzero() < 5
    assert 0 < hidden.count_nonzero() < 4
    by_hand = make()
    with torch.no_grad():
        by_hand.recurrent.weight_hh_l0.mul_(hidden)
    torch.testing.assert_close(dropped, by_hand(x * inputs)[0])
    torch.testing.assert_close(model.eval()(x)[0], make()(x)[0])


def test_values_that_cannot_be_used_are_named():
    with pytest.raises(ConfigError, match="memory=0"):
        make(memory=0)
    with pytest.raises(ConfigError, match="chrono_ms"):
        make(chrono_ms=(5.0, 1.0))
    with pytest.raises(ConfigError, match=r"recurrent_dropout=1\.0"):
        make(recurrent_dropout=1.0)
    with pytest.raises(ShapeError, match=r"\[2, 3, 4\].*inputs=5"):
        make()(torch.zeros(2, 3, 4))
    with pytest.raises(ShapeError, match="state"):
        make()(torch.zeros(2, 3, 5), make()(torch.zeros(1, 3, 5))[1])
