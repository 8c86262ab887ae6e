"""Measurements: CPU time of one thread, medians of rounds in which all implementations take turns."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ulmus.bench.plain import LSTM, plain_loop
from ulmus.bench.workloads import WORKLOADS, Workload, as_events, chosen, one_thread
from ulmus.kernels import use_backend
from ulmus.kernels.population import Population
from ulmus.kernels.stepping import advanced, arranged
from ulmus.kernels.stream import Stream
from ulmus.neuron.elm import ELM
from ulmus.neuron.surrogate import Surrogate

PEAK_OPERATIONS = 2 * 1024**3
"""Of `matrix_product`: multiplications and additions."""
_ROUNDS, _SLOW_ROUNDS, _SLOW_SECONDS = 9, 3, 0.5


class Row(NamedTuple):
    """One measurement."""

    workload: str
    implementation: str
    direction: str
    cpu_seconds: float
    ratio_to_plain_loop: float
    """How many times faster than the plain loop in the same run."""
    fraction_of_peak: float
    """Multiplications of the MLP (three times as many with backward) against the machine's matrix product."""
    gflops: float
    peak_gflops: float


def bench_kernels(names: Sequence[str] | None = None, train_only: bool = False) -> list[Row]:
    """Measure the workloads named (all by default) on one thread.

    Raises:
        ConfigError: an unknown workload.
    """
    rows = []
    with one_thread():
        for name in chosen(names or list(WORKLOADS)):
            for direction in WORKLOADS[name].directions:
                if not train_only or direction != "forward":
                    rows += _measure(WORKLOADS[name], direction)
    return rows


def bench_train(names: Sequence[str] | None = None) -> list[Row]:
    """Measure forward and backward only, of the workloads that are trained."""
    return bench_kernels(
        names or [n for n, work in WORKLOADS.items() if len(work.directions) > 1], train_only=True
    )


def _measure(work: Workload, direction: str) -> list[Row]:
    """Interleaved medians of all implementations of one workload."""
    calls = _implementations(work, direction != "forward")
    names = [(name, cold) for cold in ((False, True) if work.cold else (False,)) for name in calls]
    calls["peak"] = matrix_product()
    names.append(("peak", False))
    seconds: dict[tuple[str, bool], list[float]] = {name: [] for name in names}
    with torch.set_grad_enabled(direction != "forward"):
        for call in calls.values():
            call()  # compiles, fills caches
        for round_number in range(_ROUNDS):
            for name in names:
                slow = seconds[name] and seconds[name][0] > _SLOW_SECONDS
                if not slow or round_number < _SLOW_ROUNDS:
                    seconds[name].append(_timed(calls[name[0]], name[1]))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    peak = PEAK_OPERATIONS / medians.pop(("peak", False)) / 1e9
    flops = 2 * work.multiplications() * (1 if direction == "forward" else 3) / 1e9
    return [
        Row(
            work.name,
            f"{name}, cold caches" if cold else name,
            direction,
            value,
            medians["plain loop", cold] / value,
            flops / value / peak if name != "lstm" else float("nan"),
            flops / value if name != "lstm" else float("nan"),
            peak,
        )
        for (name, cold), value in medians.items()
    ]


def _timed(call: Callable[[], object], cold: bool) -> float:
    """CPU seconds of a call, after other work that leaves nothing of it in the caches where they are to be cold."""
    if cold:
        _OTHER_WORK.add_(1)
    start = time.process_time()
    call()
    return time.process_time() - start


_OTHER_WORK = torch.zeros(1 << 24)  # 64 MiB, more than the last-level cache of a core's share


def matrix_product() -> Callable[[], object]:
    """The product that stands for the machine's peak."""
    matrix = torch.randn(1024, 1024)
    return lambda: matrix @ matrix


def _implementations(work: Workload, backward: bool) -> dict[str, Callable[[], object]]:
    """Calls that compute the workload, forward or forward and backward, by name."""
    x, neuron = work.input(), work.neuron()
    if work.own_weights:
        return _own_weights(work, x)
    if work.single_steps:
        return _single_steps(work, neuron, x)
    calls: dict[str, Callable[[], object]] = {}

    def add(name: str, compute: Callable[[], Tensor]) -> None:
        calls[name] = (lambda: torch.autograd.backward(compute().square().mean())) if backward else compute

    loop, lstm = (
        plain_loop(neuron),
        LSTM(work.config["inputs"], work.config["memory"], work.config["outputs"]),
    )
    add("fused", lambda: _with("numba", neuron, x))
    if work.density < 1:
        events, small = as_events(x), x.abs().to(torch.uint8)
        add("fused, events", lambda: _with("numba", neuron, events))
        add("fused, uint8", lambda: _with("numba", neuron, small))
        if work.batch == 1:
            stream = Stream(neuron.weights(), neuron.activation)
            add("stream, events", lambda: stream.run(events))
    add("reference", lambda: _with("reference", neuron, x))
    add("plain loop", lambda: loop(x))
    add("lstm", lambda: lstm(x))
    return calls


def _with(backend: str, neuron: ELM, x: object) -> Tensor:
    with use_backend(backend):
        return neuron(x)[0]  # type: ignore[no-any-return]


def _own_weights(work: Workload, x: Tensor) -> dict[str, Callable[[], object]]:
    """Every sequence through a neuron of its own."""
    neurons = [ELM(**work.config) for _ in range(work.batch)]
    loops = [plain_loop(neuron) for neuron in neurons[:2]]
    population, events = Population([neuron.weights() for neuron in neurons], "relu"), as_events(x)
    share = work.batch // len(loops)

    def step_by_step() -> None:
        for _ in range(share):
            for index, loop in enumerate(loops):
                loop(x[index : index + 1])

    return {
        "fused": lambda: population.run(x),
        "fused, events": lambda: population.run(events),
        "plain loop": step_by_step,
    }


def _single_steps(work: Workload, neuron: ELM, x: Tensor) -> dict[str, Callable[[], object]]:
    """Step after step, each with the state of the one before; the plain loop gets all steps in one call."""
    runner, loop = Surrogate(neuron).stepper(work.batch), plain_loop(neuron)
    steps = [step.nonzero(as_tuple=True) for step in x.unbind(1)]
    events = [(inputs.numpy(), None if work.batch == 1 else to.numpy()) for to, inputs in steps]
    own = arranged([neuron.weights()] * work.batch, neuron.activation, 1, [0.0] * work.batch)
    rows = [
        (
            np.searchsorted(to.numpy(), np.arange(work.batch + 1)),
            inputs.numpy(),
            np.ones(len(inputs), np.float32),
        )
        for to, inputs in steps
    ]

    def stepper() -> None:
        for inputs, to in events:
            runner.step(inputs, neurons=to)

    def own_weights() -> None:
        for row in rows:
            advanced(own, *row, 1)

    def layer() -> None:
        state = None
        for step in torch.split(x, 1, dim=1):
            _, state = neuron(step, state)

    calls: dict[str, Callable[[], object]] = {
        "stepper": stepper, "fused": layer, "plain loop": lambda: loop(x),
    }  # fmt: skip
    return calls if work.batch == 1 else {**calls, "stepper, own weights": own_weights}
