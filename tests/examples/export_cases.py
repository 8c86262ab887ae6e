"""Surrogates of every shape that an export must hold, and input for them."""

import torch

import ulmus
from ulmus.neuron import SignalUnits, VoltageUnits

CASES = {
    "published, windows": "l5pc-branch-20",
    "bounded, squared relu": "l5pc-small",
    "no hidden layer": {"hidden_layers": 0},
    "two hidden layers, silu": {"hidden_layers": 2, "hidden": 9, "activation": "silu"},
    "readout of the hidden layer": {"hidden_readout": True, "tau_synapse_ms": [2.0, 5.0, 9.0, 30.0]},
    "inputs without a branch of their own": {"branches": 3, "synapses_per_branch": 5, "routing": "random"},
    "bounds, half a millisecond, two sites": {
        "tau_memory_ms": (1.0, 300.0),
        "tau_memory_bounds_ms": (0.5, 400.0),
        "learn_tau_memory": True,
        "update": "bounded",
        "dt_ms": 0.5,
        "sites": ("soma", "nexus 1"),
    },
    "sites with scales of their own, a further signal": {
        "sites": ("soma", "tip"),
        "units": [VoltageUnits(), VoltageUnits(-20.0, -50.0, 0.02)],
        "signals": [SignalUnits("calcium", "mM", 5e-5, 1e4)],
    },
}


def surrogate(case: str) -> ulmus.Surrogate:
    """A surrogate in double precision, with weights of every sign."""
    made = CASES[case]
    if isinstance(made, str):
        return ulmus.load(made).double()
    torch.manual_seed(0)
    settings = {"inputs": 4, "memory": 6, **made}
    answers = {key: settings.pop(key) for key in ("sites", "units", "signals") if key in settings}
    outputs = 1 + len(answers.get("sites", ("soma",))) + len(answers.get("signals", ()))
    model = ulmus.Surrogate(ulmus.ELM(outputs=outputs, **settings), spike_threshold=0.5, **answers)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.5)
    return model.double().eval()


def input_of(model: ulmus.Surrogate, steps: int, seed: int = 1) -> torch.Tensor:
    """Spikes of either sign, the second half of the inputs inhibitory, with doubled ones."""
    draw = torch.Generator().manual_seed(seed)
    inputs = model.neuron.inputs
    rate = torch.where(torch.arange(inputs) < inputs // 2, 0.012, 0.004) * (1278 / inputs) ** 0.5
    x = (torch.rand(steps, inputs, generator=draw) < rate).double()
    x *= 1 + (torch.rand(steps, inputs, generator=draw) < 0.02).double()
    x[:, inputs // 2 :] *= -1
    return x


def predicted(model: ulmus.Surrogate, x: torch.Tensor) -> torch.Tensor:
    """Spike probability and voltages of every step, by the definition of the recurrence."""
    with ulmus.use_backend("reference"):
        found = model.predict(x.unsqueeze(0))
    return torch.cat([found.spike_probability.unsqueeze(-1), found.voltage_mv], dim=-1)[0]


def events(x: torch.Tensor) -> list[list[tuple[int, float]]]:
    """Inputs and values of the events of every step; a doubled one is told as two events."""
    rows: list[list[tuple[int, float]]] = [[] for _ in range(len(x))]
    for step, channel in x.nonzero().tolist():
        value = float(x[step, channel])
        rows[step] += [(channel, value / abs(value))] * round(abs(value))
    return rows


def showing(probability: list[float], threshold: float) -> list[int]:
    """Steps in which a spike shows: the probability falls for the first time in a stretch above the threshold."""
    found, start = [], None
    for step in range(1, len(probability)):
        if not probability[step - 1] > threshold:
            start = None
        elif start is None:
            start = "rising"
        if start == "rising" and probability[step] < probability[step - 1]:
            found.append(step)
            start = "done"
    return found


def saturated() -> ulmus.Surrogate:
    """One that drives its spike probability to where rounding flattens it: a logit up to 146 in input of `input_of`."""
    model = surrogate("no hidden layer")
    with torch.no_grad():
        model.neuron.readout.weight[0] *= 300
        model.neuron.readout.bias[0] -= 1000
    return model
