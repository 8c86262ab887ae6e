"""How near the kernels are to what the machine can do: small neurons in training, and many neurons with weights of their own.

python benchmarks/limits.py --out benchmarks/results/limits-PROCESSOR.json

The recurrence of workload P (16 inputs, 50 memory units, 32 sequences of 1,024 steps) is computed by a loop that stands alone,
with sequences as lanes of vectors and weights repeated: forward, backward and weight gradients, but no filter of the input,
readout, gradients of time constants, nor PyTorch. Its numbers are not checked: it only says how long such work takes.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from common import start, write
from rich.table import Table

from ulmus.bench.run import PEAK_OPERATIONS, matrix_product
from ulmus.bench.workloads import WORKLOADS, one_thread
from ulmus.cli.console import console
from ulmus.kernels.numba_compiling import kernel, part
from ulmus.kernels.numba_functions import RELU, activate, activation_slope, tanh, zero_and_one
from ulmus.kernels.numba_lanes import fma, lanes_of, load, repeat, store
from ulmus.kernels.numba_many import _turn_block
from ulmus.kernels.numba_products import GROUP, product
from ulmus.kernels.numba_step import P as PLAN
from ulmus.kernels.stepping import advanced, arranged

_ROUNDS = 15
_INPUTS, _MEMORY, _HIDDEN, _TILE, _CHUNK = 16, 50, 100, 32, 16
_SIGNALS = _HIDDEN + _MEMORY
_HIDDEN_PAD, _MEMORY_PAD = 112, 64


class LimitRow(NamedTuple):
    """One measurement, the median of rounds in turns."""

    what: str
    cpu_seconds: float
    least_cpu_seconds: float
    fraction_of_peak: float
    """Multiplications against the machine's matrix product; nan where there are hardly any."""
    gigabytes_a_second: float
    """Read from memory in the fastest round, which the machine can do; nan where that does not matter."""


@part
def _layer(out, out_at, first, first_at, first_row, weights, units, signal, signal_at, inputs):
    product(
        out, out_at, _TILE, GROUP * _TILE, first, first_at, first_row, GROUP * first_row, weights, 0, inputs, GROUP * inputs, 1,
        units, signal, signal_at, _TILE, inputs, _TILE,
    )  # fmt: skip


@part
def _turn(signal, at, units, out, to, pad):
    lanes = lanes_of(signal)
    for unit in range(0, units, lanes):
        for s in range(0, _TILE, lanes):
            rows = min(lanes, units - unit)
            _turn_block(
                signal, at + unit * _TILE + s, _TILE, rows, out, to + s * pad + unit, pad, GROUP * pad
            )


@kernel
def _train(x, w, w_back, zeros, decay, gain, kept, memory, sums, whole):  # noqa: PLR0912
    lanes, steps = lanes_of(x), len(x) // (_INPUTS * _TILE)
    zero, one = zero_and_one(x)
    h, carry, back = (
        np.empty(_HIDDEN * _TILE, x.dtype),
        np.zeros(_MEMORY * _TILE, x.dtype),
        np.empty(_HIDDEN * _TILE, x.dtype),
    )
    h_turned, z_turned = (
        np.ones(_CHUNK * _TILE * _HIDDEN_PAD, x.dtype),
        np.ones(_CHUNK * _TILE * _HIDDEN_PAD, x.dtype),
    )
    d_turned, m_turned = (
        np.ones(_CHUNK * _TILE * _MEMORY_PAD, x.dtype),
        np.ones(_CHUNK * _TILE * _MEMORY_PAD, x.dtype),
    )
    x_turned = np.ones(_CHUNK * _TILE * _INPUTS, x.dtype)
    for t in range(steps):
        z, d_at, m = t * _SIGNALS * _TILE, (t * _SIGNALS + _HIDDEN) * _TILE, t * _MEMORY * _TILE
        _layer(kept, z, zeros, 0, 0, w[0], _HIDDEN, x, t * _INPUTS * _TILE, _INPUTS)
        _layer(kept, z, kept, z, _TILE, w[1], _HIDDEN, memory, m, _MEMORY)
        if whole:
            for c in range(0, _HIDDEN * _TILE, lanes):
                store(h, c, activate(RELU, kept, z + c, zero, one))
        _layer(kept, d_at, zeros, 0, 0, w[2], _MEMORY, h, 0, _HIDDEN)
        if whole:
            for unit in range(_MEMORY):
                kappa, gamma = repeat(x, decay[unit]), repeat(x, gain[unit])
                for c in range(unit * _TILE, (unit + 1) * _TILE, lanes):
                    d = tanh(load(kept, d_at + c))
                    store(kept, d_at + c, d)
                    store(memory, m + _MEMORY * _TILE + c, fma(kappa, load(memory, m + c), gamma * d))
    for first in range(steps - _CHUNK, -1, -_CHUNK):
        for t in range(first + _CHUNK - 1, first - 1, -1):
            z, d_at, n = t * _SIGNALS * _TILE, (t * _SIGNALS + _HIDDEN) * _TILE, (t - first) * _TILE
            if whole:
                for unit in range(_MEMORY):
                    kappa, gamma = repeat(x, decay[unit]), repeat(x, gain[unit])
                    for c in range(unit * _TILE, (unit + 1) * _TILE, lanes):
                        change, d = load(carry, c) + one, load(kept, d_at + c)
                        store(kept, d_at + c, change * gamma * fma(zero - d, d, one))
                        store(carry, c, kappa * change)
            _layer(back, 0, zeros, 0, 0, w_back[2], _HIDDEN, kept, d_at, _MEMORY)
            if whole:
                for c in range(0, _HIDDEN * _TILE, lanes):
                    store(h, c, activate(RELU, kept, z + c, zero, one))
                    store(kept, z + c, activation_slope(RELU, kept, z + c, zero, one) * load(back, c))
                _turn(h, 0, _HIDDEN, h_turned, n * _HIDDEN_PAD, _HIDDEN_PAD)
                _turn(kept, z, _HIDDEN, z_turned, n * _HIDDEN_PAD, _HIDDEN_PAD)
                _turn(kept, d_at, _MEMORY, d_turned, n * _MEMORY_PAD, _MEMORY_PAD)
                _turn(memory, t * _MEMORY * _TILE, _MEMORY, m_turned, n * _MEMORY_PAD, _MEMORY_PAD)
                _turn(x, t * _INPUTS * _TILE, _INPUTS, x_turned, n * _INPUTS, _INPUTS)
            _layer(carry, 0, carry, 0, _TILE, w_back[1], _MEMORY, kept, z, _HIDDEN)
            _layer(back, 0, zeros, 0, 0, w_back[0], _INPUTS, kept, z, _HIDDEN)
        for k, pad, rows, one_side, other in (
            (0, _INPUTS, _INPUTS, x_turned, z_turned),
            (1, _MEMORY_PAD, _MEMORY, m_turned, z_turned),
            (2, _MEMORY_PAD, _MEMORY, d_turned, h_turned),
        ):
            product(
                sums[k], 0, _HIDDEN_PAD, GROUP * _HIDDEN_PAD, sums[k], 0, _HIDDEN_PAD, GROUP * _HIDDEN_PAD, one_side, 0, 1, GROUP,
                pad, rows, other, 0, _HIDDEN_PAD, _CHUNK * _TILE, _HIDDEN,
            )  # fmt: skip


@kernel
def _read(numbers, out):
    lanes = lanes_of(numbers)
    a, b, c, d = load(out, 0), load(out, 0), load(out, 0), load(out, 0)
    for at in range(0, len(numbers) - 4 * lanes + 1, 4 * lanes):
        a, b = a + load(numbers, at), b + load(numbers, at + lanes)
        c, d = c + load(numbers, at + 2 * lanes), d + load(numbers, at + 3 * lanes)
    store(out, 0, a + b + c + d)


def _lanes() -> Callable[[bool], None]:
    rng = np.random.default_rng(0)
    steps = WORKLOADS["P"].time

    def normal(*shape: int) -> Any:
        return (rng.standard_normal(shape) * shape[-1] ** -0.5).astype(np.float32)

    matrices = normal(_HIDDEN, _INPUTS), normal(_HIDDEN, _MEMORY), normal(_MEMORY, _HIDDEN)
    decay = np.exp(-1 / np.logspace(0, 3, _MEMORY)).astype(np.float32)
    fixed = (
        normal(steps, _INPUTS, _TILE).ravel(),
        tuple(matrix.ravel() for matrix in matrices),
        tuple(matrix.T.copy().ravel() for matrix in matrices),
        np.zeros(_TILE, np.float32),
        decay,
        1 - decay,
    )
    kept, memory = (np.zeros(steps * rows * _TILE, np.float32) for rows in (_SIGNALS, _MEMORY))
    memory = np.concatenate([memory, memory[: _MEMORY * _TILE]])
    sums = tuple(np.zeros((rows + GROUP) * _HIDDEN_PAD, np.float32) for rows in (_INPUTS, _MEMORY, _MEMORY))
    return lambda whole: _train(*fixed, kept, memory, sums, whole)


def _own_weights() -> tuple[Callable[[], None], int]:
    """A step of 1,000 neurons with weights of their own, and the bytes that it has to read."""
    work = WORKLOADS["G'"]
    neuron, (step,) = work.neuron(), work.input(1).unbind(1)
    own = arranged([neuron.weights()] * work.batch, neuron.activation, 1, [0.0] * work.batch)
    to, inputs = step.nonzero(as_tuple=True)
    row_start = np.searchsorted(to.numpy(), np.arange(work.batch + 1))
    values = np.ones(len(inputs), np.float32)
    numbers = (
        work.batch * (own.plan[PLAN.set_stride] + own.plan[PLAN.record])
        + len(inputs) * own.plan[PLAN.trace_pad]
    )
    return lambda: advanced(own, row_start, inputs.numpy(), values, 1) and None, int(
        numbers
    ) * own.weights.itemsize


def bench_limits() -> list[LimitRow]:
    """All measurements, on one thread."""
    numbers, out = np.ones(1 << 26, np.float32), np.zeros(16, np.float32)
    work, lanes, product_of = WORKLOADS["P"], _lanes(), matrix_product()
    neuron, x = work.neuron(), work.input()
    own, own_bytes = _own_weights()
    operations = 6 * work.multiplications()
    calls: dict[str, tuple[Callable[[], object], float, float]] = {
        "P, the neuron": (lambda: neuron(x)[0].square().mean().backward(), operations, 0),
        "P, sequences as lanes": (lambda: lanes(True), operations, 0),
        "P, sequences as lanes, products alone": (lambda: lanes(False), operations, 0),
        "G', weights of their own": (own, 0, own_bytes),
        "reading 256 MiB": (lambda: _read(numbers, out), 0, numbers.nbytes),
        "matrix product": (product_of, PEAK_OPERATIONS, 0),
    }
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    with one_thread(), torch.enable_grad():
        for _ in range(_ROUNDS + 1):
            for name, (call, _, _) in calls.items():
                begin = time.process_time()
                call()
                seconds[name].append(time.process_time() - begin)
    medians = {name: statistics.median(values[1:]) for name, values in seconds.items()}
    peak, nan = PEAK_OPERATIONS / medians["matrix product"], float("nan")
    least = {name: min(values) for name, values in seconds.items()}
    return [
        LimitRow(
            name,
            medians[name],
            least[name],
            of / medians[name] / peak or nan,
            read / least[name] / 1e9 or nan,
        )
        for name, (_, of, read) in calls.items()
    ]


def limits(*, out: Path | None = None) -> None:
    """Measure how near the kernels are to what the machine can do.

    Args:
        out: JSON file to write.
    """
    rows = bench_limits()
    shown = Table("what", "CPU ms", "least", "of peak", "GB a second")
    for row in rows:
        shown.add_row(
            row.what,
            f"{1000 * row.cpu_seconds:.2f}",
            f"{1000 * row.least_cpu_seconds:.2f}",
            *("" if np.isnan(value) else text for value, text in (
                (row.fraction_of_peak, f"{100 * row.fraction_of_peak:.0f} %"),
                (row.gigabytes_a_second, f"{row.gigabytes_a_second:.1f}"),
            )),
        )  # fmt: skip
    console.print(shown)
    write(rows, out)


if __name__ == "__main__":
    start(limits)
