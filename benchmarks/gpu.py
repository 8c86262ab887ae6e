"""What a GPU makes of the neuron: one command, under five minutes, with the figures as JSON.

    python benchmarks/gpu.py [--out gpu.json]

First every kind of input, forward and backward, is compared with the reference in double precision. Then the rows of
`ulmus bench kernels` are timed beside the published algorithmic form (a loop over time and synapses), `nn.LSTM` and `nn.GRU`
(cuDNN), a training step of 16,384 time steps, and a population of neurons with the same weights. Times are medians of
rounds in which all take turns, by the GPU's own clock. Last come connected populations (`ulmus.Population`): in double precision
the spikes have to be those of the compiled loop; times are of one run, and include what the CPU does.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import ulmus
from ulmus.bench.plain import plain_loop
from ulmus.bench.workloads import WORKLOADS, as_events
from ulmus.kernels import reference, run, use_backend
from ulmus.populations import Cells, FromList

EXAMPLES = Path(__file__).parent.parent / "tests" / "examples"
ROUNDS, LONGEST_ROUND_S = 5, 20.0


def moved(value: Any, device: str) -> Any:
    """Tensors, and named tuples and tuples of them, on another device."""
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, ulmus.Events):
        return value.to(torch.device(device))
    if isinstance(value, tuple):
        parts = [moved(part, device) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value


def parity() -> list[dict[str, Any]]:
    """Largest error of outputs, final state and gradients relative to each, of every kind of input and activation."""
    sys.path.insert(0, str(EXAMPLES))
    from kernel_cases import KINDS, double, make, results, worst_error

    def on_gpu(*case: Any) -> Any:
        with use_backend("triton"):
            return run(*case)

    rows = []
    for kind in KINDS:
        for hidden, memory, activation in (
            ((200,), 100, "relu"),
            ((), 20, "relu"),
            ((33,), 17, "silu"),
            ((512,), 256, "silu"),
        ):
            case = make(kind, batch=19, time=60, memory=memory, hidden=hidden, activation=activation)
            found = results(moved(case, "cuda"), on_gpu)
            found = {name: value.cpu() for name, value in found.items()}
            error, where = worst_error(found, results(double(case), reference.run))
            row = {"kind": kind, "hidden": hidden, "memory": memory, "activation": activation, "error": error}
            rows.append({**row, "where": where, "passed": error < 2e-4})
    return rows


def milliseconds(work: Callable[[], Any]) -> float:
    """Time of one call by the GPU's clock."""
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    work()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end)


def timed(candidates: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Median milliseconds of each, in turns; the first call of each is not counted."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for work in candidates.values():
        work()
    begun = time.perf_counter()
    for _ in range(ROUNDS):
        for name, work in candidates.items():
            times[name].append(milliseconds(work))
        if time.perf_counter() - begun > LONGEST_ROUND_S:
            break
    return {name: statistics.median(values) for name, values in times.items()}


def step(model: nn.Module, x: Any, backward: bool) -> Callable[[], Any]:
    """One pass of a model over its input, with gradients of all weights where asked for."""

    def work() -> None:
        with torch.set_grad_enabled(backward):
            outputs = model(x)
            outputs = outputs[0] if isinstance(outputs, tuple) else outputs
            if backward:
                outputs.square().mean().backward()

    return work


def rows() -> list[dict[str, Any]]:
    """The workloads of `ulmus bench kernels` that have shared weights."""
    found = []
    for name, work in WORKLOADS.items():
        if work.own_weights:
            continue
        neuron, dense = work.neuron().cuda(), work.input()
        x, events = dense.cuda(), as_events(dense).to(torch.device("cuda"))
        inputs, memory = work.config["inputs"], work.config["memory"]
        for direction in work.directions:
            backward = direction == "forward+backward"
            candidates = {
                "dense": step(neuron, x, backward),
                "LSTM": step(nn.LSTM(inputs, memory, batch_first=True).cuda(), x, backward),
                "GRU": step(nn.GRU(inputs, memory, batch_first=True).cuda(), x, backward),
            }
            if work.density < 1:
                candidates["events"] = step(neuron, events, backward)
            if dense.shape[0] * dense.shape[1] <= 16_000:
                candidates["published form"] = step(plain_loop(work.neuron()).cuda(), x, backward)
            times = timed(candidates)
            steps = dense.shape[0] * dense.shape[1]
            found.append({
                "workload": name, "what": work.what, "direction": direction, "batch": work.batch, "time": dense.shape[1],
                "milliseconds": times, "neuron_steps_per_s": {key: steps / value * 1e3 for key, value in times.items()},
            })  # fmt: skip
            print(found[-1], flush=True)
    return found


def long_step() -> dict[str, Any]:
    """A training step of 256 sequences of 16,384 steps, memory 150, as Pathfinder-X needs, in both number formats."""
    x, times = torch.randn(256, 16_384, 8, device="cuda"), {}
    for dtype in (torch.float32, torch.bfloat16):
        neuron = ulmus.ELM(8, 2, memory=150).to("cuda", dtype)
        torch.cuda.reset_peak_memory_stats()
        name = str(dtype).removeprefix("torch.")
        times[name] = timed({"step": step(neuron, x.to(dtype), True)})["step"] / 1e3
        times[f"{name} GiB"] = torch.cuda.max_memory_allocated() / 2**30
    return {"batch": 256, "time": 16_384, "memory": 150, "seconds": times}


def population(neurons: int, device: str | None, surrogate: Any) -> Any:
    """Neurons with 100 connections each, and input from outside about as strong as what they were fitted to."""
    net, draw = ulmus.Population([Cells(surrogate, neurons)], seed=1, device=device), np.random.default_rng(0)
    pairs = np.stack([np.repeat(np.arange(neurons), 100), draw.integers(neurons, size=100 * neurons)], 1)
    net.connect("cells", "cells", FromList(pairs), delay_ms=lambda draw, count: draw.uniform(1, 20, count))
    net.poisson("cells", 12.0)
    net.poisson("cells", 3.0, inputs="inhibitory")
    return net


def populations(device: str = "cuda", sizes: tuple[int, ...] = (1_000, 10_000, 100_000)) -> dict[str, Any]:
    """Spikes of a population in double precision on the device and by the compiled loop, and neuron-steps a second of both."""
    double = ulmus.load("l5pc-branch-20").double()
    found, wanted = (population(1_000, place, double).run(1000.0) for place in (device, None))
    same = [np.array_equal(one, other) for one, other in zip(found[:2], wanted[:2], strict=True)]
    rows = []
    for neurons in sizes:
        speed = {}
        for name, place in ((device, device), ("compiled", None)):
            net = population(neurons, place, ulmus.load("l5pc-branch-20"))
            net.run(20.0)  # compiles, grows its arrays
            begun = time.perf_counter()
            net.run(50.0)
            speed[name] = 50 * neurons / (time.perf_counter() - begun)
        rows.append({"neurons": neurons, "neuron_steps_per_s": speed})
    return {
        "spikes": len(wanted.spike_neuron),
        "passed": len(wanted.spike_neuron) > 0 and all(same),
        "rows": rows,
    }


def main() -> None:
    """Run everything and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("PyTorch finds no GPU here; run this on a machine with one.")
    begun = time.perf_counter()
    found: dict[str, Any] = {
        "gpu": torch.cuda.get_device_name(), "torch": torch.__version__, "ulmus": ulmus.__version__,
        "python": platform.python_version(), "tf32": torch.backends.cuda.matmul.allow_tf32,
    }  # fmt: skip
    for name, work in (
        ("parity", parity),
        ("long step", long_step),
        ("rows", rows),
        ("populations", populations),
    ):
        try:
            found[name] = work()
        except Exception as error:  # what was found so far is kept: machines with a GPU are rare here
            found[name] = f"{type(error).__name__}: {error}"
        found["seconds"] = time.perf_counter() - begun
        arguments.out.write_text(json.dumps(found, indent=1), encoding="utf-8")
        print(name, json.dumps(found[name])[:2000], flush=True)
    checks = [found["parity"], [found["populations"]]]
    passed = all(
        isinstance(rows, list) and all(isinstance(row, dict) and row["passed"] for row in rows)
        for rows in checks
    )
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
