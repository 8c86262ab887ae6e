"""What stands after the end of a sequence has no effect, on whatever model reads it; and lengths that cannot be."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence, pad_packed_sequence

import ulmus
from ulmus.errors import ShapeError
from ulmus.neuron import ELMLayer
from ulmus.neuron.predictor import Predictor


class OwnBothWays(nn.Module):
    """A user's module that is told of lengths."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(3, 4, batch_first=True, bidirectional=True)

    def forward(self, x, lengths=None):
        if lengths is None:
            return self.rnn(x)
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        y, state = self.rnn(packed)
        return pad_packed_sequence(y, batch_first=True, total_length=x.shape[1])[0], state


MODELS = {
    "ELM": lambda: ulmus.ELM(3, 2, memory=5),
    "ELM both ways": lambda: ulmus.ELM(3, 2, memory=5, bidirectional=True),
    "ELMNetwork both ways": lambda: ulmus.ELMNetwork(3, 2, memory=5, bidirectional=True),
    "LSTM both ways": lambda: nn.LSTM(3, 4, batch_first=True, bidirectional=True),
    "GRU": lambda: nn.GRU(3, 4, batch_first=True),
    "own both ways": OwnBothWays,
}


@pytest.mark.parametrize("task", ["classification", "step-classification"])
@pytest.mark.parametrize("name", MODELS)
def test_a_predictor_does_not_read_padding(name, task):
    torch.manual_seed(0)
    predictor = Predictor(MODELS[name](), task, answers=("a", "b"), channels="xyz")
    x = torch.randn(2, 30, 3)
    alone = predictor(x[:1, :12])
    x[0, 12:] = torch.nan
    together = predictor(x, torch.tensor([12, 30]))
    within = together[:1] if task == "classification" else together[:1, :12]
    torch.testing.assert_close(within, alone)
    (together[1].sum() + within.sum()).backward()
    assert all(value.grad.isfinite().all() for value in predictor.parameters() if value.grad is not None)


@pytest.mark.parametrize("reading", ["last", "mean"])
def test_a_classifier_does_not_read_padding(reading):
    torch.manual_seed(0)
    classifier = ulmus.Classifier(ulmus.ELM(6, 3, memory=5), list("abc"), reading=reading)
    x = torch.randn(2, 20, 6)
    alone = classifier(x[:1, :7])
    x[0, 7:] = torch.nan
    together = classifier(x, [7, 20])
    torch.testing.assert_close(together[:1], alone)
    together.sum().backward()
    assert all(value.grad.isfinite().all() for value in classifier.parameters() if value.grad is not None)


@pytest.mark.parametrize("lengths", [[0, 20], [3], [3.5, 4.0], [21, 20], [-3, 20], [3, 4, 5]])
def test_lengths_that_cannot_be_are_refused(lengths):
    x = torch.zeros(2, 20, 3)
    for model in (
        ulmus.Classifier(ulmus.ELM(3, 2, memory=5), list("ab")),
        Predictor(ulmus.ELM(3, 2, memory=5), "classification", answers=("a", "b"), channels="xyz"),
    ):
        with pytest.raises(ShapeError, match="expected"):
            model(x, torch.tensor(lengths))
        with pytest.raises(ShapeError, match="sequences of 0 steps have nothing to read"):
            model(x[:, :0])


def test_lengths_beside_a_packed_sequence_are_refused():
    packed = pack_sequence([torch.zeros(3, 6), torch.zeros(2, 6)])
    for model in (
        ulmus.ELM(6, 2, memory=5),
        ELMLayer(6, 4),
        ulmus.ELMNetwork(6, 2, memory=5),
    ):
        with pytest.raises(ShapeError, match="beside a PackedSequence"):
            model(packed, lengths=[3, 2])


@pytest.mark.parametrize("layers", [{1: (9, 5)}, {1: (300, 5)}, {1: (10, 4)}, {1: (10, 1)}, {0: (11, 17)}])
def test_layers_of_the_mlp_that_do_not_fit_are_refused(layers):
    neuron = ulmus.ELM(6, 2, memory=5)
    for place, sizes in layers.items():
        neuron.mlp[place] = nn.Linear(*sizes)
    with pytest.raises(ShapeError, match="expected as many. Replace layers of the MLP"):
        neuron(torch.zeros(1, 4, 6))


def test_wider_layers_that_fit_are_read_in_full():
    torch.manual_seed(0)
    neuron = ulmus.ELM(6, 2, memory=5)
    neuron.mlp[0], neuron.mlp[1] = nn.Linear(11, 17), nn.Linear(17, 5)
    x = torch.randn(2, 9, 6)
    y, _ = neuron(x)
    with ulmus.use_backend("reference"):
        torch.testing.assert_close(y, neuron(x)[0])


def test_states_of_another_form_are_refused():
    x = torch.zeros(1, 4, 6)
    for state in (5, (1, 2, 3)):
        with pytest.raises(ShapeError, match="expected a pair, of both directions"):
            ulmus.ELM(6, 2, memory=5, bidirectional=True)(x, state)
        with pytest.raises(ShapeError, match="expected 1. Pass the state that this network returned"):
            ulmus.ELMNetwork(6, 2, memory=5, layers=1)(x, state)


def test_nothing_of_a_network_is_rounded_under_autocast():
    torch.manual_seed(0)
    network = ulmus.ELMNetwork(6, 2, memory=5, layers=2)
    x = torch.randn(2, 9, 6)
    with torch.autocast("cpu"):
        y, _ = network(x)
    torch.testing.assert_close(y, network(x)[0], rtol=0, atol=1e-6)
