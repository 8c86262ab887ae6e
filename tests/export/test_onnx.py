"""ONNX files give what the models give: run by onnxruntime, in one call and in several."""

import numpy as np
import pytest
import torch

import ulmus
from ulmus.errors import ConfigError
from ulmus.neuron.surrogate import SignalUnits, VoltageUnits

onnxruntime = pytest.importorskip("onnxruntime")

NEURONS = {
    "plain": {},
    "branches": {"branches": 3, "synapses_per_branch": 2, "activation": "silu", "update": "bounded"},
    "deep": {"hidden_layers": 2, "activation": "squared_relu", "tau_synapse_ms": [3.0, 5, 5, 7, 9, 20]},
    "linear": {"hidden_layers": 0},
    "hidden readout": {"hidden_readout": True},
    "bidirectional": {"bidirectional": True},
    "double": {"dtype": torch.float64},
    "half": {"dtype": torch.bfloat16},
}


def session(model, folder):
    path = ulmus.export(model, folder / "model.onnx")
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def run(loaded, x, state=None):
    """All outputs by name; from rest where no state is given."""
    given = {"inputs": x.numpy()}
    for entry in loaded.get_inputs()[1:]:
        rest = np.zeros((x.shape[0], entry.shape[1]), given["inputs"].dtype)
        given[entry.name] = rest if state is None else state[f"{entry.name}_after"]
    names = [output.name for output in loaded.get_outputs()]
    return dict(zip(names, loaded.run(names, given), strict=True))


def calm(neuron):
    """The same neuron with smaller weights, in which rounding does not grow over thousands of steps."""
    with torch.no_grad():
        for layer in neuron.mlp:
            layer.weight *= 0.7
    return neuron


@pytest.mark.parametrize("kind", NEURONS)
@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (2, 3000)])
def test_a_neuron(kind, shape, tmp_path):
    torch.manual_seed(0)
    neuron = calm(ulmus.ELM(6, 2, memory=5, tau_memory_ms=(1, 100), **NEURONS[kind]))
    x = torch.randn(*shape, 6, dtype=torch.float64 if kind == "double" else torch.float32)
    with torch.no_grad():
        exact = neuron.float() if kind == "half" else neuron
        wanted, state = exact(x)
    loaded = session(neuron, tmp_path)
    found = run(loaded, x)
    np.testing.assert_allclose(found["outputs"], wanted, atol=1e-5)
    after = state[0] if kind == "bidirectional" else state
    np.testing.assert_allclose(found["memory_after"], after.memory, atol=1e-5)
    np.testing.assert_allclose(found["branches_after"], after.branches, atol=1e-5)


def test_streaming_equals_one_call(tmp_path):
    torch.manual_seed(0)
    loaded, x = (
        session(ulmus.ELM(6, 2, memory=5, branches=3, synapses_per_branch=2), tmp_path),
        torch.randn(3, 50, 6),
    )
    whole = run(loaded, x)
    first = run(loaded, x[:, :17])
    second = run(loaded, x[:, 17:], first)
    np.testing.assert_array_equal(np.concatenate([first["outputs"], second["outputs"]], 1), whole["outputs"])
    np.testing.assert_array_equal(second["memory_after"], whole["memory_after"])


@pytest.mark.parametrize(
    "options",
    [{"norm": True}, {"residual": False, "width": 4}, {"scale_memory": True}, {"bidirectional": True}],
)
def test_a_network(options, tmp_path):
    torch.manual_seed(0)
    network = ulmus.ELMNetwork(6, 3, layers=3, memory=5, dropout=0.5, tau_memory_ms=(1, 50), **options)
    loaded, x = session(network, tmp_path), torch.randn(3, 60, 6)
    assert network.training
    with torch.no_grad():
        wanted, states = network.eval()(x)
    found = run(loaded, x)
    np.testing.assert_allclose(found["outputs"], wanted, atol=1e-5)
    last = states[-1][1] if "bidirectional" in options else states[-1]
    number = 5 if "bidirectional" in options else 2
    np.testing.assert_allclose(found[f"memory_{number}_after"], last.memory, atol=1e-5)


def test_a_surrogate_in_its_units(tmp_path):
    surrogate = ulmus.load("l5pc-branch-20")
    x = (torch.rand(2, 600, 1278, generator=torch.Generator().manual_seed(0)) < 0.002).float()
    x[..., 639:] *= -1
    found, wanted = run(session(surrogate, tmp_path), x), surrogate.predict(x)
    np.testing.assert_allclose(found["spike_probability"], wanted.spike_probability, atol=1e-5)
    np.testing.assert_allclose(
        found["voltage_mv"], wanted.voltage_mv, atol=2e-4
    )  # an output of 1e-5 is 1e-4 mV


def test_a_surrogate_of_several_sites_and_other_units(tmp_path):
    torch.manual_seed(0)
    units = VoltageUnits(offset_mv=-60.0, scale_per_mv=0.05)
    surrogate = ulmus.Surrogate(ulmus.ELM(6, 3, memory=5), sites=("soma", "tuft"), units=units)
    loaded, x = session(surrogate, tmp_path), torch.randn(2, 30, 6)
    found, wanted = run(loaded, x), surrogate.predict(x)
    np.testing.assert_allclose(found["voltage_mv"], wanted.voltage_mv, atol=1e-3)
    assert loaded.get_modelmeta().custom_metadata_map["sites"] == '["soma", "tuft"]'


@pytest.mark.parametrize(
    "options", [{"reading": "last"}, {"reading": "mean"}, {"reading": "mean", "towers": 2}, {"hints": 2}]
)
def test_a_classifier(options, tmp_path):
    torch.manual_seed(0)
    outputs = 3 + options.get("hints", 0)
    classifier = ulmus.Classifier(ulmus.ELM(6, outputs, memory=5), "abc", **options)
    x = torch.randn(4, 30, 6)
    with torch.no_grad():
        np.testing.assert_allclose(run(session(classifier, tmp_path), x)["logits"], classifier(x), atol=1e-5)


def test_what_onnx_cannot_hold_is_named(tmp_path):
    with pytest.raises(ConfigError, match="LSTM cannot be written as ONNX"):
        ulmus.export(ulmus.baselines.LSTM(6, 2), tmp_path / "model.onnx")
    neuron = ulmus.ELM(6, 2)
    neuron.mlp[0] = torch.nn.Sequential(neuron.mlp[0])
    with pytest.raises(ConfigError, match="replaced or have hooks"):
        ulmus.export(neuron, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_sites_with_scales_of_their_own_and_further_signals(tmp_path):
    torch.manual_seed(0)
    units = [VoltageUnits(), VoltageUnits(-20.0, -50.0, 0.02)]
    signals = [SignalUnits("calcium", "mM", 5e-5, 1e4)]
    neuron = calm(ulmus.ELM(6, 4, memory=5))
    surrogate = ulmus.Surrogate(neuron, sites=("soma", "tip"), units=units, signals=signals)
    x = torch.randn(2, 40, 6)
    found, wanted = run(session(surrogate, tmp_path), x), surrogate.predict(x)
    np.testing.assert_allclose(found["voltage_mv"], wanted.voltage_mv, atol=1e-3)
    np.testing.assert_allclose(found["calcium"], wanted.signals["calcium"], rtol=1e-4, atol=1e-8)
