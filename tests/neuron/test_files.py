"""Saved neurons come back whole, or with an error that says why not."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

import ulmus
import ulmus.baselines
from ulmus.errors import LONGEST, CheckpointError
from ulmus.evaluation.scores import evaluate
from ulmus.neuron import Predictor, shipped_neurons
from ulmus.neuron.surrogate import VoltageUnits


@pytest.fixture
def surrogate() -> ulmus.Surrogate:
    torch.manual_seed(0)
    neuron = ulmus.ELM(6, 3, memory=4, branches=3, synapses_per_branch=5, routing="random")
    return ulmus.Surrogate(
        neuron,
        sites=("soma", "nexus"),
        spike_threshold=0.2,
        units=VoltageUnits(clip_mv=-50.0),
        card={"score": 1},
    )


def test_a_saved_surrogate_is_the_same_neuron(surrogate, tmp_path):
    again = ulmus.load(ulmus.save(surrogate, tmp_path / "new" / "neuron.safetensors"))
    x = torch.randn(2, 30, 6)
    assert torch.equal(again(x), surrogate(x))
    assert (again.sites, again.units, again.spike_threshold, again.card) == (
        surrogate.sites, surrogate.units, surrogate.spike_threshold, surrogate.card,
    )  # fmt: skip


@pytest.mark.parametrize("kind", [ulmus.ELM, ulmus.ELMCell])
def test_a_saved_layer_keeps_kind_and_precision(kind, tmp_path):
    neuron = kind(6, memory=4, tau_synapse_ms=[1.0, 2, 3, 4, 5, 6]).double()
    again = ulmus.load(ulmus.save(neuron, tmp_path / "neuron"))
    assert type(again) is kind
    assert again.mlp[0].weight.dtype == torch.float64
    assert all(
        torch.equal(a, b)
        for a, b in zip(again.state_dict().values(), neuron.state_dict().values(), strict=True)
    )


MODELS = [
    ulmus.ELMNetwork(
        6, 3, layers=2, memory=4, branches=3, synapses_per_branch=5, routing="random", norm=True
    ),
    ulmus.baselines.LSTM(6, 3, memory=4, chrono_ms=(1.0, 50.0)),
    ulmus.baselines.LSTMNetwork(6, 3, memory=4, norm=True),
    ulmus.baselines.PointNeuron(6, 3, adaptive=True),
    ulmus.baselines.SpikingNetwork(6, 3, units=5, layers=2),
    ulmus.baselines.TCN(6, 3, channels=4, kernels=(5, 3)),
]


def test_a_network_of_scaled_memory_keeps_its_first_sizes(tmp_path):
    network = ulmus.ELMNetwork(6, 3, layers=2, memory=4, learn_tau_memory=True, scale_memory=True)
    with torch.no_grad():
        network.layers[0].tau_memory.raw.add_(1.0)
    x = torch.randn(2, 30, 6)
    again = ulmus.load(ulmus.save(network, tmp_path / "network"))
    torch.testing.assert_close(again(x)[0], network(x)[0])
    plain = ulmus.ELMNetwork(6, 3, layers=2, memory=4, learn_tau_memory=True)
    with pytest.raises(RuntimeError, match="_memory_sizes"):
        plain.load_state_dict(network.state_dict())


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_a_surrogate_can_be_any_model(model, tmp_path):
    surrogate = ulmus.Surrogate(model, sites=("soma", "nexus"))
    again = ulmus.load(ulmus.save(surrogate, tmp_path / "surrogate"))
    assert type(again.neuron) is type(model)
    x = torch.randn(2, 30, 6)
    whole = surrogate.predict(x)
    torch.testing.assert_close(again.predict(x).voltage_mv, whole.voltage_mv)
    first = again.predict(x[:, :10])
    second = again.predict(x[:, 10:], first.state)
    torch.testing.assert_close(torch.cat([first.voltage_mv, second.voltage_mv], dim=1), whole.voltage_mv)


def test_a_surrogate_that_keeps_no_state_is_loaded_again(tmp_path):
    surrogate = ulmus.Surrogate(ulmus.baselines.Transformer(6, 2, width=8, heads=2, hidden=9, layers=1))
    again = ulmus.load(ulmus.save(surrogate, tmp_path / "surrogate"))
    x = torch.randn(2, 30, 6)
    torch.testing.assert_close(again.predict(x).voltage_mv, surrogate.predict(x).voltage_mv)


def test_a_model_of_an_unknown_kind_is_not_written(tmp_path):
    with pytest.raises(CheckpointError, match="kind Linear"):
        ulmus.save(torch.nn.Linear(2, 2), tmp_path / "model")
    assert not list(tmp_path.iterdir())


def weight_normed():
    neuron = ulmus.ELM(6, 3, memory=4)
    weight_norm(neuron.mlp[0])
    return neuron


def wrapped():
    neuron = ulmus.ELM(6, 3, memory=4)
    neuron.mlp[0] = nn.Sequential(neuron.mlp[0])
    return neuron


def widened():
    neuron = ulmus.ELM(6, 3, memory=4)
    neuron.mlp[0], neuron.mlp[1] = nn.Linear(10, 20), nn.Linear(20, 4)
    return neuron


def tied():
    neuron = ulmus.ELM(6, memory=4, hidden=10)
    neuron.mlp[0].weight = nn.Parameter(neuron.mlp[1].weight.T)
    neuron.mlp[0].bias = neuron.mlp[1].bias
    return neuron


@pytest.mark.parametrize("change", [weight_normed, wrapped, widened, tied])
def test_a_changed_model_is_not_written_as_what_it_was(change, tmp_path):
    with pytest.raises(
        CheckpointError, match=r"of this ELM is not what .*ulmus.load\(path, model="
    ) as caught:
        ulmus.save(change(), tmp_path / "model")
    assert len(str(caught.value)) < LONGEST
    with pytest.raises(CheckpointError, match="kind ELM"):
        ulmus.save(ulmus.Surrogate(type("ELM", (ulmus.ELM,), {})(6, 2, memory=4)), tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_saving_draws_no_random_numbers(tmp_path):
    neuron = ulmus.ELM(6, 3, memory=4, branches=3, synapses_per_branch=5, routing="random")
    before = torch.get_rng_state()
    ulmus.save(neuron, tmp_path / "neuron")
    assert torch.equal(torch.get_rng_state(), before)


RECURRENT = [
    nn.RNN(3, 5, nonlinearity="relu", batch_first=True),
    nn.LSTM(3, 5, proj_size=2, batch_first=True),
    nn.GRU(3, 5, num_layers=2, batch_first=True),
]


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("model", RECURRENT, ids=lambda model: type(model).__name__)
def test_recurrent_layers_of_torch_are_loaded_again(model, tmp_path):
    again = ulmus.load(ulmus.save(model, tmp_path / "model"))
    x = torch.randn(2, 10, 3)
    assert torch.equal(again(x)[0], model(x)[0])


def test_every_tensor_keeps_the_precision_it_was_saved_in(tmp_path):
    neuron = ulmus.ELM(3, 3, memory=5, dtype=torch.float64)
    predictor = Predictor(neuron, "classification", answers="ab", channels="xyz")
    again = ulmus.load(ulmus.save(predictor, tmp_path / "model"))
    dtypes = {name: value.dtype for name, value in predictor.state_dict().items()}
    assert {name: value.dtype for name, value in again.state_dict().items()} == dtypes
    assert {torch.float32, torch.float64} <= set(dtypes.values())


@pytest.mark.parametrize("bad", ["meta", "complex128", "extra"])
def test_values_that_files_cannot_hold_are_named(bad, tmp_path):
    model = nn.LSTM(3, 5, device="meta" if bad == "meta" else None)
    if bad == "complex128":
        model = Predictor(Complex(), "classification", answers="ab", channels="xy")
    if bad == "extra":
        model = Predictor(Extra(2, 2), "classification", answers="ab", channels="xy")
    with pytest.raises(CheckpointError, match="expected a plain tensor with values"):
        ulmus.save(model, tmp_path / "model")


class Complex(nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(2, dtype=torch.complex128))

    def forward(self, x):
        return (x * self.factor).real, None


class Extra(ulmus.ELM):
    def get_extra_state(self):
        return {"a": 1}


def test_nothing_is_pickled(surrogate, tmp_path):
    path = ulmus.save(surrogate, tmp_path / "neuron")
    size = int.from_bytes(path.read_bytes()[:8], "little")
    header = json.loads(path.read_bytes()[8 : 8 + size])
    assert json.loads(header["__metadata__"]["ulmus"])["kind"] == "Surrogate"


def test_damage_is_reported(surrogate, tmp_path):
    path = ulmus.save(surrogate, tmp_path / "neuron")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="whole safetensors file"):
        ulmus.load(path)
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="whole safetensors file"):
        ulmus.load(path)
    with pytest.raises(CheckpointError, match="does not exist"):
        ulmus.load(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="neither"):
        ulmus.load(tmp_path)
    with pytest.raises(CheckpointError, match="is a folder"):
        ulmus.save(surrogate, tmp_path)
    with pytest.raises(CheckpointError, match="cannot be written"):
        ulmus.save(surrogate, path / "below_a_file")


def test_foreign_and_later_files_are_refused(surrogate, tmp_path):
    path = ulmus.save(surrogate, tmp_path / "neuron")
    tensors = load_file(path)
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match="without the 'ulmus' header"):
        ulmus.load(path)
    save_file(tensors, path, metadata={"ulmus": json.dumps({"format": 99})})
    with pytest.raises(CheckpointError, match="Upgrade"):
        ulmus.load(path)
    header = {"format": 1, "kind": "ELM", "config": {"inputs": 6, "memory": 5}}
    save_file(tensors, path, metadata={"ulmus": json.dumps(header)})
    with pytest.raises(CheckpointError, match="do not fit"):
        ulmus.load(path)


def test_predictions_carry_units_and_state(surrogate):
    x = torch.randn(2, 40, 6)
    raw = surrogate(x).detach()
    whole = surrogate.predict(x)
    torch.testing.assert_close(whole.voltage_mv, raw[..., 1:] * 10 - 67.7)
    torch.testing.assert_close(whole.spike_probability, torch.sigmoid(raw[..., 0]))
    first = surrogate.predict(x[:, :15])
    second = surrogate.predict(x[:, 15:], first.state)
    torch.testing.assert_close(torch.cat([first.voltage_mv, second.voltage_mv], dim=1), whole.voltage_mv)


def test_voltage_units_are_the_published_ones():
    units = VoltageUnits()
    voltage = torch.tensor([-77.7, -67.7, -55.0, 20.0])
    torch.testing.assert_close(units.encode(voltage), torch.tensor([-1.0, 0.0, 1.27, 1.27]))
    torch.testing.assert_close(units.decode(units.encode(voltage[:3])), voltage[:3])


@pytest.mark.parametrize("seed", range(12))
def test_a_loaded_routing_is_the_one_that_is_used(seed, tmp_path):
    """A random routing may look like one input for each branch, and its successor in the file not."""
    torch.manual_seed(seed)
    neuron = ulmus.ELM(inputs=2, outputs=1, memory=3, branches=2, routing="random")
    again = ulmus.load(ulmus.save(neuron, tmp_path / "neuron"))
    x = torch.randn(1, 10, 2)
    assert torch.equal(again(x)[0], neuron(x)[0])


def test_values_that_json_cannot_hold_are_reported(surrogate, tmp_path):
    surrogate.card["tensor"] = torch.zeros(2)
    with pytest.raises(CheckpointError, match="JSON"):
        ulmus.save(surrogate, tmp_path / "neuron")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", shipped_neurons())
def test_a_shipped_neuron_comes_with_its_card(name):
    surrogate = ulmus.load(name)
    card = surrogate.card
    assert card["parameters"] == surrogate.trainable_parameters()
    assert {"data", "command", "seed", "steps", "validation", "test"} <= set(card)
    assert surrogate(torch.zeros(1, 20, surrogate.neuron.inputs)).shape == (1, 20, 2)


def test_a_shipped_neuron_has_the_name_of_the_recipe_that_made_it():
    for name in set(shipped_neurons()) - {"l5pc-demo"}:  # which `ulmus demo` made
        surrogate = ulmus.load(name)
        assert surrogate.card["command"].startswith(f"ulmus train {name} ")
        recipe = ulmus.load_recipe(name, {"data.train": "lif", "data.validation": "lif"})
        assert recipe.training.steps == surrogate.card["steps"]
        made = recipe.model.build(surrogate.neuron.inputs, 2, surrogate.neuron.dt_ms)
        assert json.loads(json.dumps(made.config)) == surrogate.neuron.config


@pytest.mark.golden
@pytest.mark.parametrize(
    "name", ["l5pc-branch-20", "l5pc-small", "l5pc-under-10k"]
)  # l5pc-demo is of another cell
def test_a_shipped_neuron_scores_what_its_card_says(name, reference_store):
    surrogate = ulmus.load(name)
    trials = reference_store("test_published_seed3003")
    scores = evaluate(surrogate, trials, "stream", resamples=0)
    for key in ("auc", "rmse_mv", "f1_2ms"):
        assert scores[key] == pytest.approx(surrogate.card["test"]["published ranges, stream"][key], abs=1e-4)


def test_neurons_are_shipped_and_a_mistyped_name_is_corrected():
    assert "l5pc-branch-20" in shipped_neurons()
    with pytest.raises(CheckpointError, match="Did you mean 'l5pc-branch-20'"):
        ulmus.load("l5pc-branch20")


def test_a_file_of_the_users_own_goes_before_a_shipped_name(surrogate, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ulmus.save(surrogate, "l5pc-branch-20")
    assert ulmus.load("l5pc-branch-20").card == surrogate.card
