"""Our neuron is the authors' neuron: their outputs, losses and gradients."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import ulmus
from ulmus.errors import CheckpointError
from ulmus.neuron.official import neuron_from_official

CHECKPOINTS = ["num_memory_1", "num_memory_20", "num_memory_50", "num_memory_100", "best_elm_neuron"]
SMALL_MODELS = ["v1_plain", "v2_plain", "v2_branch_silu_2layer", "v1_branch_random"]


@pytest.fixture(scope="module")
def recorded(official: Path) -> dict[str, np.ndarray]:
    return dict(np.load(official / "official_v1_outputs.npz"))


@pytest.fixture(scope="module")
def signed_input(recorded: dict[str, np.ndarray]) -> torch.Tensor:
    x = torch.zeros(*recorded["shape"], dtype=torch.float64)
    place = [
        torch.as_tensor(recorded[f"event_{axis}"].astype(np.int64)) for axis in ("trial", "time_ms", "input")
    ]
    x.index_put_(tuple(place), torch.as_tensor(recorded["event_sign"], dtype=torch.float64))
    return x


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoints_give_the_authors_outputs(official, recorded, signed_input, name):
    surrogate = ulmus.import_official(official / "checkpoints" / name)
    expected = torch.as_tensor(recorded[f"y_{name}"])
    single = surrogate(signed_input.float())
    assert (single - expected).abs().max() < 1e-4
    double = surrogate.double()(signed_input)
    assert (double - expected).abs().max() < 1e-9


@pytest.mark.parametrize(
    ("name", "parameters"), [("num_memory_1", 4601), ("num_memory_20", 8002), ("best_elm_neuron", 54002)]
)
def test_checkpoints_have_the_published_size(official, name, parameters):
    assert ulmus.import_official(official / "checkpoints" / name).trainable_parameters() == parameters


@pytest.mark.parametrize("case", SMALL_MODELS)
def test_small_models_give_the_authors_outputs_loss_and_gradients(official, case):
    settings = json.loads((official / "official_small_models.json").read_text())[case]["config"]
    stored = np.load(official / "official_small_models.npz")

    def tensors(kind):
        prefix = f"{case}/{kind}/"
        return {
            key.removeprefix(prefix): torch.as_tensor(stored[key])
            for key in stored.files
            if key.startswith(prefix)
        }

    previous = torch.get_default_dtype()
    torch.set_default_dtype(
        torch.float64
    )  # the stored parameters are float64; a float32 neuron would round them
    try:
        neuron = neuron_from_official(settings, tensors("state"), case)
    finally:
        torch.set_default_dtype(previous)
    y, _ = neuron(torch.as_tensor(stored[f"{case}/x"]))
    assert (y - torch.as_tensor(stored[f"{case}/y"])).abs().max() < 1e-9
    loss = (torch.as_tensor(stored[f"{case}/w"]) * torch.tanh(y)).sum()
    assert abs(loss.item() - float(stored[f"{case}/loss"])) < 1e-9
    loss.backward()
    ours = {
        "_proto_w_s": neuron.synapses.raw.grad,
        "_proto_tau_m": neuron.tau_memory.raw.grad,
        "w_y.weight": neuron.readout.weight.grad,
        "w_y.bias": neuron.readout.bias.grad,
    }
    for index, layer in enumerate(neuron.mlp):
        ours |= {
            f"mlp.network.{2 * index}.weight": layer.weight.grad,
            f"mlp.network.{2 * index}.bias": layer.bias.grad,
        }
    expected = tensors("grad")
    assert set(expected) == set(ours)
    for key, gradient in expected.items():
        assert (ours[key].flatten() - gradient.flatten()).abs().max() < 1e-9, key


def test_windows_routing_and_time_constants_start_as_the_authors(official):
    """A fresh neuron of ours has the routing that the authors' checkpoints store."""
    theirs = ulmus.import_official(official / "checkpoints" / "num_memory_20").neuron
    ours = ulmus.ELM(
        1278, 2, memory=20, branches=45, synapses_per_branch=100, routing="windows", tau_memory_ms=(1, 150)
    )
    assert torch.equal(ours.synapses.connected, theirs.synapses.connected)
    assert int(ours.synapses.connected.sum()) == 4282
    connected = ours.synapses.connected
    assert torch.equal(ours.synapses.indices[connected], theirs.synapses.indices[connected])
    # Theirs went through the inverse of the sigmoid in float32, which moves the shortest by 1.5e-4 ms.
    torch.testing.assert_close(ours.tau_memory(), theirs.tau_memory(), rtol=0, atol=2e-4)


def test_a_folder_without_weights_says_what_is_missing(tmp_path):
    with pytest.raises(CheckpointError, match="model_config.json"):
        ulmus.import_official(tmp_path)
    (tmp_path / "model_config.json").write_text('{"num_input": 3, "num_output": 2}')
    with pytest.raises(CheckpointError, match=r"0 files named \*\.pt"):
        ulmus.import_official(tmp_path)
    (tmp_path / "weights.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match="cannot be read"):
        ulmus.import_official(tmp_path)


def test_a_checkpoint_that_executes_code_is_refused(tmp_path):
    class Hostile:
        def __reduce__(self):
            return Path.touch, (tmp_path / "executed",)

    (tmp_path / "model_config.json").write_text('{"num_input": 3, "num_output": 2}')
    torch.save({"_proto_w_s": Hostile()}, tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match="cannot be read"):
        ulmus.import_official(tmp_path)
    assert not (tmp_path / "executed").exists()


def test_unknown_argument_gets_a_suggestion(tmp_path):
    (tmp_path / "model_config.json").write_text('{"num_input": 3, "num_output": 2, "num_memry": 4}')
    torch.save({"tau_s": torch.ones(3)}, tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match="num_memory"):
        ulmus.import_official(tmp_path)
