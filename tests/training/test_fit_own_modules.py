"""Every module called as ``y, state = model(x)`` is trained and given back; what cannot be is named before training."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune
from torch.nn.utils.parametrizations import weight_norm

import ulmus
from ulmus.errors import ConfigError
from ulmus.training import fit

_random = np.random.default_rng(0)
X = _random.normal(size=(60, 20, 3)).astype("float32")
DATA = X, (X[:, -1, 0] > 0).astype(int)
SHORT = {"task": "classification", "steps": 3}


class SubELM(ulmus.ELM):
    pass


class Own(nn.Module):
    """Has what models of other libraries have: a config, a mask that is not finite, parts of several precisions, tied weights."""

    def __init__(self, inner=None):
        super().__init__()
        self.config = {"name": "own"}
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.coarse = nn.Linear(3, 3).bfloat16()
        self.recurrent = inner or nn.GRU(3, 2, batch_first=True)
        self.register_buffer("mask", torch.full((3, 3), float("-inf")).triu(1))

    def forward(self, x):
        x = self.coarse((self.first(x) + self.second(x)).bfloat16()).float()
        return self.recurrent(x)


class LowRank(nn.Module):
    def __init__(self, whole):
        super().__init__()
        self.whole = whole.requires_grad_(False)
        self.down, self.up = nn.Linear(whole.in_features, 1), nn.Linear(1, whole.out_features)

    def forward(self, x):
        return self.whole(x) + self.up(self.down(x))


def changed(change):
    neuron = ulmus.ELM(3, None if change == "readout" else 2, memory=5)
    if change == "weight_norm":
        weight_norm(neuron.mlp[0])
    elif change == "pruned":
        prune.l1_unstructured(neuron.mlp[0], "weight", 0.5)
    elif change == "lora":
        neuron.mlp[0] = LowRank(neuron.mlp[0])
    elif change == "readout":
        neuron.readout = nn.Linear(5, 2)
    elif change == "widened":
        neuron.mlp[0], neuron.mlp[1] = nn.Linear(8, 20), nn.Linear(20, 5)
    return neuron


MODELS = {
    "RNN": lambda: nn.RNN(3, 5, batch_first=True),
    "projected": lambda: nn.LSTM(3, 5, proj_size=2, batch_first=True),
    "subclass": lambda: SubELM(3, 2, memory=5),
    "own": Own,
    "own with a changed neuron": lambda: Own(changed("lora")),
    **{
        name: lambda name=name: changed(name)
        for name in ("weight_norm", "pruned", "lora", "readout", "widened")
    },
    "double": lambda: ulmus.ELM(3, 2, memory=5, dtype=torch.float64),
}


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.filterwarnings("ignore:.*layers of this neuron were replaced")
@pytest.mark.parametrize("name", MODELS)
def test_a_legal_model_is_trained_and_given_back(name, tmp_path):
    model = MODELS[name]()
    dtypes = [value.dtype for value in model.state_dict().values()]
    run = fit(model, DATA, **SHORT, folder=tmp_path / "run")
    assert type(run.model.model) is type(model)
    assert [value.dtype for value in run.model.model.state_dict().values()] == dtypes
    again = ulmus.load(run.folder, MODELS[name]())
    expected = run.predict(X[:4]).probability
    torch.testing.assert_close(again.predict(torch.as_tensor(X[:4])).probability, expected)


def test_tied_weights_are_tied_when_they_come_back():
    run = fit(Own(), DATA, **SHORT)
    assert run.model.model.second.weight is run.model.model.first.weight


def test_what_cannot_be_trained_or_kept_is_named_first(tmp_path):
    class Extra(Own):
        def get_extra_state(self):
            return {"a": 1}

    bad = {
        "no parameter that is trained": ulmus.ELM(3, 2, memory=5).requires_grad_(False),
        "on device meta": ulmus.ELM(3, 2, memory=5, device="meta"),
        "could not be kept: .*_extra_state of the": Extra(),
    }
    for what, model in bad.items():
        with pytest.raises(ConfigError, match=what):
            fit(model, DATA, **SHORT, folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_frozen_model_still_trains_the_readout_that_fit_adds():
    frozen = nn.GRU(3, 7, batch_first=True).requires_grad_(False)
    before = [value.clone() for value in frozen.parameters()]
    run = fit(frozen, DATA, **SHORT)
    assert all(torch.equal(a, b) for a, b in zip(run.model.model.parameters(), before, strict=True))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # of PyTorch itself
def test_a_compiled_module_is_refused_before_training():
    compiled = torch.compile(ulmus.ELM(3, 2, memory=4))
    with pytest.raises(ConfigError, match="compiled by torch.compile; expected the module itself"):
        ulmus.fit(compiled, (np.zeros((4, 5, 3), dtype=np.float32), np.array([0, 1, 0, 1])))


def test_an_idle_part_of_ones_own_stops_nobody(tmp_path):
    neuron = ulmus.ELM(3, 2, memory=4)
    neuron.probe = torch.nn.Identity()
    x = torch.randn(2, 5, 3)
    torch.testing.assert_close(ulmus.load(ulmus.save(neuron, tmp_path / "a.safetensors"))(x)[0], neuron(x)[0])
