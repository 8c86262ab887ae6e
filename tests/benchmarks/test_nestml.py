"""The model of NESTML computes the surrogate: its statements are nearly those of Python, and run as such here, without NEST."""

import math
import re

import numpy as np
import pytest
import torch
from nestml import model_text, parameters

import ulmus


@pytest.mark.parametrize(("activation", "layers"), [("relu", 1), ("silu", 2), ("squared_relu", 0)])
def test_the_statements_compute_the_surrogate(activation, layers):
    torch.manual_seed(0)
    neuron = ulmus.ELM(
        12, 3, memory=5, branches=4, synapses_per_branch=3, activation=activation, hidden_layers=layers, synaptic_weight=2.0
    ).double()  # fmt: skip
    with torch.no_grad():
        neuron.readout.weight[0] *= 20
    surrogate = ulmus.Surrogate(neuron, sites=("soma", "far dendrite"))
    draw = torch.Generator().manual_seed(0)
    x = (torch.rand(1, 200, 12, generator=draw, dtype=torch.float64) < 0.1).double()
    wanted = surrogate.predict(x)
    text = model_text(surrogate, "small")
    declared, update = text.split("    update:\n")
    names = {"max": max, "exp": math.exp, "tanh": math.tanh, **parameters(surrogate)}
    for name, size, value in re.findall(r"^ {8}(\w+)(?:\[(\d+)\])? real = (\S+)$", declared, re.MULTILINE):
        if name in names:
            assert np.size(names[name]) == int(size or 1)
        else:
            names[name] = np.zeros(int(size)) if size else float(value)
    lines = re.sub(r"(\w+) (integer|real) = 0\n", r"\1 = 0\n", update)
    lines = re.sub(r"in (\S+) \.\.\. (.+) step 1:", r"in range(int(\1), int(\2)):", lines)
    lines = re.sub(r"to = (.*)\n", r"to = int(\1)\n", lines)
    code = compile("if True:\n" + lines.replace("emit_spike()", "fired.append(step)"), "update", "exec")
    names["fired"], voltages = [], []
    for step in range(200):
        names |= {"step": step, "events": x[0, step].numpy() / 1000}
        exec(code, names)
        voltages.append([names["soma_mV"], names["far_dendrite_mV"]])
    np.testing.assert_allclose(voltages, wanted.voltage_mv[0].numpy(), rtol=1e-9)
    assert names["fired"] == wanted.spike_times_ms[0].tolist()
    assert names["fired"]
