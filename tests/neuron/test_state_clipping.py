"""Clipped states: the same outputs, and gradients that are shortened as the formula says and nowhere else."""

import math

import pytest
import torch
from torch import nn

import ulmus
from ulmus import kernels
from ulmus.baselines import LSTM, SpikingNetwork, Transformer
from ulmus.errors import ConfigError
from ulmus.kernels import Events, fused
from ulmus.neuron import Classifier, ELMNetwork
from ulmus.neuron.state_clipping import STEPS, outputs_with_clipped_states

TIME = 3 * STEPS - 10


class Growing(nn.Module):
    """A state that is multiplied at every step: its gradient is known in closed form."""

    outputs = 1

    def __init__(self, factor):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor, dtype=torch.float64))

    def forward(self, inputs, state=None):
        state = torch.zeros(len(inputs), 1, dtype=torch.float64) if state is None else state[0]
        found = []
        for x in inputs.unbind(dim=1):
            state = self.factor * state + x
            found.append(state)
        return torch.stack(found, dim=1), (state,)


def events_of(dense):
    at = dense.nonzero()
    counts = (dense != 0).sum(dim=-1)
    return Events.counted(counts.numpy(), at[:, 2].numpy(), dense[dense != 0].numpy(), dense.shape[2])


@pytest.mark.parametrize(
    "make",
    [
        lambda: ulmus.ELM(4, 3, memory=5),
        lambda: ELMNetwork(4, 3, layers=2, memory=5, norm=True),
        lambda: LSTM(4, 3, memory=5),
        lambda: SpikingNetwork(4, 3),
    ],
    ids=["elm", "elm-network", "lstm", "spiking"],
)
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "events"])
def test_outputs_and_short_gradients_are_those_of_the_model(make, sparse):
    torch.manual_seed(0)
    model = make().eval()  # without dropout
    dense = (torch.rand(2, TIME, 4) < 0.2).float()
    inputs = events_of(dense) if sparse else dense
    expected = model(inputs)[0]
    (wanted,) = torch.autograd.grad(expected[:, -1].square().mean(), [next(model.parameters())])
    outputs = outputs_with_clipped_states(model, inputs, norm=1e9)
    (gradient,) = torch.autograd.grad(outputs[:, -1].square().mean(), [next(model.parameters())])
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(gradient, wanted, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("norm", [1e-3, 1.0])
def test_gradients_are_shortened_at_every_50th_state(norm):
    """With the loss y at the end, the gradient of a state grows by the factor at every step back, and is cut at every 50th."""
    factor, sequences = 1.1, 2
    model = Growing(factor)
    inputs = torch.zeros(sequences, TIME, 1, dtype=torch.float64, requires_grad=True)
    outputs_with_clipped_states(model, inputs, norm)[:, -1].mean().backward()
    expected, gradient = [], 1 / sequences
    for step in reversed(range(TIME)):
        if step + 1 in (STEPS, 2 * STEPS):
            gradient = min(gradient, norm / sequences)
        expected.append(gradient)
        gradient *= factor
    wanted = torch.tensor(expected[::-1], dtype=torch.float64).expand(sequences, -1)
    torch.testing.assert_close(inputs.grad[..., 0], wanted)


class Turning(nn.Module):
    """A state of two parts, each of two values, handed on by given matrices; the output is all of it."""

    outputs = 4

    def __init__(self, matrix):
        super().__init__()
        self.matrix = matrix

    def forward(self, inputs, state=None):
        whole = (
            inputs.new_zeros(len(inputs), 4) if state is None else torch.cat([state[0], state[1][0]], dim=1)
        )
        found = []
        for x in inputs.unbind(dim=1):
            whole = whole @ self.matrix + x
            found.append(whole)
        return torch.stack(found, dim=1), (whole[:, :2], (whole[:, 2:],))


def test_all_parts_of_a_state_are_shortened_together_and_keep_their_direction():
    torch.manual_seed(0)
    model = Turning(torch.randn(4, 4, dtype=torch.float64))
    inputs = torch.zeros(2, STEPS + 1, 4, dtype=torch.float64, requires_grad=True)
    read = torch.tensor([[3.0, 0.1, -2.0, 0.5], [1e-3, 0.0, 0.0, 2e-3]], dtype=torch.float64)
    (outputs_with_clipped_states(model, inputs, norm=1.0)[:, -1] * read).sum().backward()
    before = read @ model.matrix.T  # gradient of the 50th state
    length = before.norm(dim=1, keepdim=True)
    assert length[0] > 0.5 > length[1]
    expected = torch.cat([before[:1] * 0.5 / length[:1], before[1:]])
    torch.testing.assert_close(inputs.grad[:, STEPS - 1], expected)


@pytest.mark.parametrize("scale", [1.0, 1e38])
def test_squares_that_do_not_fit_are_no_obstacle(scale):
    model = Turning(torch.eye(4))
    inputs = torch.zeros(1, STEPS + 1, 4, requires_grad=True)
    (outputs_with_clipped_states(model, inputs, norm=1.0)[:, -1] * 3 * scale).sum().backward()
    torch.testing.assert_close(inputs.grad[0, 0], torch.full((4,), 0.5))


def test_a_gradient_of_zero_stays_zero():
    model = Turning(torch.eye(4))
    inputs = torch.zeros(1, STEPS + 1, 4, requires_grad=True)
    (outputs_with_clipped_states(model, inputs, norm=1.0)[:, -1] * 0).sum().backward()
    assert not inputs.grad.any()


def test_the_memory_budget_is_for_all_stretches_together(monkeypatch):
    budgets = []
    run = fused.run
    monkeypatch.setattr(fused, "run", lambda *given: budgets.append(given[-1]) or run(*given))
    with kernels.memory_budget(12.0):
        outputs_with_clipped_states(ulmus.ELM(4, 3, memory=5), torch.zeros(2, TIME, 4), norm=1.0)
        ulmus.ELM(4, 3, memory=5)(torch.zeros(2, TIME, 4))
    assert budgets == [4.0, 4.0, 4.0, 12.0]


def test_one_sequence_that_explodes_leaves_the_others_alone():
    model = Growing(1.0)
    inputs = torch.zeros(3, TIME, 1, dtype=torch.float64, requires_grad=True)
    weights = torch.tensor([1.0, 1e200, math.inf], dtype=torch.float64)
    loss = (outputs_with_clipped_states(model, inputs, norm=6.0)[:, -1, 0] * weights).sum()
    (gradient,) = torch.autograd.grad(loss, [inputs])
    torch.testing.assert_close(gradient[:, 0, 0], torch.tensor([1.0, 2.0, 0.0], dtype=torch.float64))


def test_a_model_without_a_state_is_refused():
    classifier = Classifier(Transformer(4, 2), ["a", "b"], reading="mean")
    with pytest.raises(ConfigError, match="Transformer, which has no state; leave clip_state_norm out"):
        classifier(torch.zeros(1, 3, 4), clip_state_norm=1.0)


def test_events_in_stretches_are_those_of_the_dense_input():
    torch.manual_seed(0)
    dense = torch.randint(0, 3, (3, 23, 5)).float()
    parts = events_of(dense).split(10)
    assert [part.time for part in parts] == [10, 10, 3]
    torch.testing.assert_close(torch.cat([part.dense() for part in parts], dim=1), dense)
