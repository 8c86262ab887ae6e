"""A fitted neuron as a model of NESTML, and in NEST beside `Surrogate`: whether it is true, and what a step and a neuron cost.

    python benchmarks/nestml.py write --out nest                     # nest/l5pc_branch_20.nestml
    nestml --input_path nest --module_name fitted_module             # with a NEST that was built from source
    python benchmarks/nestml.py compare --module fitted_module

NESTML has no vector with values of its own: the weights are set on each neuron from Python. The simulation's resolution has to be
the time step of the neuron.
"""

import resource
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
from common import start

import ulmus
from ulmus.cli.console import say
from ulmus.export.constants import NeuronConstants, constants_of, identifier
from ulmus.neuron.spikes import spike_logit

ACTIVATED = {"relu": "max(0., {0})", "silu": "{0} / (1. + exp(-{0}))", "squared_relu": "max(0., {0})**2"}
STEPS, MANY = 1000, 100


def product(into: str, level: str, parts: list[tuple[str, int]], rows: int, after: str) -> str:
    """Statements for ``total = bias + weights . parts`` of each row, and what follows it."""
    wide, at, lines = sum(size for _, size in parts), 0, []
    for name, size in parts:
        lines.append(f"            for m in 0 ... {size} step 1:")
        lines.append(f"                total += {level}_weight[n * {wide} + {at} + m] * {name}[m]")
        at += size
    head = f"        for n in 0 ... {rows} step 1:\n            total = {level}_bias[n]\n"
    return head + "\n".join(lines) + f"\n            {into}[n] {after}\n"


def model_text(surrogate: ulmus.Surrogate, name: str) -> str:
    """The model without its numbers."""
    c = constants_of(surrogate)
    branches, memory, outputs = len(c.branch_decay), len(c.memory_decay), len(c.readout[1])
    below, body = [("branches", branches), ("memory", memory)], ""
    for level, (_, bias) in enumerate(c.layers[:-1]):
        body += product(f"hidden{level}", f"layer{level}", below, len(bias), "= total")
        activated = ACTIVATED[c.activation].format(f"hidden{level}[n]")
        body += f"        for n in 0 ... {len(bias)} step 1:\n            hidden{level}[n] = {activated}\n"
        below = [(f"hidden{level}", len(bias))]
    last = f"layer{len(c.layers) - 1}"
    body += product("proposed", last, below, memory, "= memory_gain[n] * 1.7159 * tanh(total * 2 / 3)")
    body += f"        for n in 0 ... {memory} step 1:\n            memory[n] += proposed[n]\n"
    body += product("outputs", "readout", [("memory", memory)], outputs, "= total")
    state = {"branches": branches, "memory": memory, "proposed": memory, "outputs": outputs}
    state |= {f"hidden{level}": len(bias) for level, (_, bias) in enumerate(c.layers[:-1])}
    voltages = [f"{identifier(site)}_mV" for site in surrogate.sites]
    given = {key: len(values) for key, values in parameters(surrogate).items() if key != "threshold"}
    units = surrogate.units
    told = "".join(
        f"        {name_} = outputs[{1 + k}] / {units.scale_per_mv!r} + ({units.offset_mv!r})\n"
        for k, name_ in enumerate(voltages)
    )

    def vectors(sizes: dict[str, int]) -> str:
        return "".join(f"        {key}[{size}] real = 0\n" for key, size in sizes.items())

    scalars = "".join(f"        {one} real = 0\n" for one in ("phase", *voltages))
    return f"""\
model {name}_neuron:
    state:
{vectors(state)}{scalars}        before real = -1e30

    parameters:
{vectors(given)}        threshold real = 0

    input:
        events[{c.inputs}] <- spike

    output:
        spike

    update:
        n integer = 0
        m integer = 0
        to integer = 0
        total real = 0
        arrived real = 0
        for n in 0 ... {branches} step 1:
            branches[n] = branch_decay[n] * branches[n]
        for n in 0 ... {c.inputs} step 1:
            arrived = events[n] * 1000.
            if arrived != 0:
                for m in first_synapse[n] ... first_synapse[n + 1] step 1:
                    to = branch[m]
                    branches[to] += arrived * synapse[m]
        for n in 0 ... {memory} step 1:
            memory[n] = memory_decay[n] * memory[n]
{body}{told}        if phase == 1 and outputs[0] < before:
            phase = 2
            emit_spike()
        if outputs[0] <= threshold:
            phase = 0
        elif phase == 0:
            phase = 1
        before = outputs[0]
"""


def parameters(surrogate: ulmus.Surrogate) -> dict[str, Any]:
    """What each neuron is told: ``nest.Create(model).set(parameters)``. Vectors of integers do not compile, so all are real."""
    c: NeuronConstants = constants_of(surrogate)
    found: dict[str, Any] = {
        "first_synapse": c.first_synapse, "branch": c.branch, "synapse": c.weight, "branch_decay": c.branch_decay,
        "memory_decay": c.memory_decay, "memory_gain": c.memory_gain,
    }  # fmt: skip
    for name, (weight, bias) in [
        *((f"layer{k}", one) for k, one in enumerate(c.layers)),
        ("readout", c.readout),
    ]:
        found |= {f"{name}_weight": weight.ravel(), f"{name}_bias": bias}
    told = {name: np.asarray(values, np.float64) for name, values in found.items()}
    return {**told, "threshold": spike_logit(surrogate.spike_threshold)}


def nestml(
    what: Literal["write", "compare"],
    *,
    neuron: str = "l5pc-branch-20",
    out: Path = Path("nest"),
    module: str = "fitted_module",
) -> None:
    """Write a model, or compare the compiled one with the fitted neuron.

    Args:
        what: write, or compare.
        neuron: Fitted neuron.
        out: Folder of the model.
        module: Compiled module for NEST.
    """
    surrogate, name = ulmus.load(neuron).double(), identifier(neuron)
    if what == "write":
        out.mkdir(parents=True, exist_ok=True)
        (out / f"{name}.nestml").write_text(model_text(surrogate, name), encoding="utf-8")
        say(f"wrote {out / f'{name}.nestml'}")
        return
    import nest
    import torch

    nest.ResetKernel()
    nest.verbosity = nest.VerbosityLevel.ERROR
    nest.resolution = surrogate.neuron.dt_ms
    nest.Install(module)
    told, draw = parameters(surrogate), np.random.default_rng(0)
    half = surrogate.neuron.inputs // 2
    signs = np.repeat([1.0, -1.0], half)
    x = signs * (draw.random((STEPS, 2 * half)) < np.repeat([0.012, 0.003], half))
    cell = nest.Create(f"{name}_neuron")
    cell.set(told)
    for number in np.flatnonzero(np.abs(x).sum(0)).tolist():
        source = nest.Create("spike_generator", params={"spike_times": np.flatnonzero(x[:, number]) + 1.0})
        nest.Connect(source, cell, syn_spec={"receptor_type": number + 1, "weight": signs[number]})
    meter = nest.Create("multimeter", params={"record_from": ["soma_mV"], "interval": 1.0})
    recorder = nest.Create("spike_recorder")
    nest.Connect(meter, cell)
    nest.Connect(cell, recorder)
    nest.Simulate(STEPS + 2.0)
    wanted = surrogate.predict(
        torch.from_numpy(np.concatenate([0 * x[:1], x])[None])
    )  # events arrive a step later
    voltage = np.asarray(meter.get("events", "soma_mV"))[: STEPS + 1]
    error = np.abs(voltage - wanted.voltage_mv[0, : len(voltage), 0].numpy()).max()
    times = [at + 1.0 for at in wanted.spike_times_ms[0].tolist()]
    same = np.asarray(recorder.get("events", "times")).tolist() == times
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    nest.Create(f"{name}_neuron", MANY).set(told)
    nest.Simulate(10.0)
    begun = time.process_time()
    nest.Simulate(float(STEPS))
    cost = 1e6 * (time.process_time() - begun) / (MANY + 1) / STEPS
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 / MANY
    say(
        f"{error:.2g} mV, spikes {'equal' if same else 'differ'} ({len(times)}); {cost:.1f} us a step, {more:.2f} MiB a neuron"
    )


if __name__ == "__main__":
    start(nestml)
