"""Where a training step spends its time: the passes of the fused kernels, each timed inside the compiled code.

python benchmarks/passes.py --out benchmarks/results/passes-PROCESSOR.json
"""

import math
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from common import start, write
from numba import njit, types
from rich.table import Table

from ulmus.bench.run import PEAK_OPERATIONS, matrix_product
from ulmus.bench.workloads import WORKLOADS, Workload, as_events, chosen, one_thread
from ulmus.cli.console import console
from ulmus.errors import BackendError
from ulmus.kernels import memory_budget, numba_call
from ulmus.kernels import numba_passes as passes
from ulmus.kernels.dispatch import DEFAULT_BUDGET_MEBIBYTES
from ulmus.kernels.numba_recurrence import recall

_ROUNDS = 11
_PASSES = ("computing again", "readout", "recurrence", "weight gradients", "branches and synapses")
_BUDGETS = {"default budget": DEFAULT_BUDGET_MEBIBYTES, "nothing kept": 0.0}


class PassRow(NamedTuple):
    """One pass of a training step."""

    workload: str
    kept: str
    """What the memory budget let the forward pass keep."""
    part: str
    """A pass of the backward kernels; or "forward", all of the call; or "around backward", what is not compiled."""
    cpu_seconds: float
    fraction_of_peak: float
    """Multiplications of the pass against the machine's matrix product; nan where there are hardly any."""


def bench_passes(names: Sequence[str] | None = None) -> list[PassRow]:
    """CPU time of every pass of the workloads named (all that are trained by default) on one thread.

    Raises:
        ConfigError: an unknown workload.
        BackendError: a system without a clock of a thread's CPU time.
    """
    if not hasattr(time, "CLOCK_THREAD_CPUTIME_ID"):
        raise BackendError(
            "the passes cannot be timed here: this system has no clock of a thread's CPU time. Expected Linux or macOS; "
            "use `ulmus bench kernels` instead."
        )
    trained = [name for name, work in WORKLOADS.items() if len(work.directions) > 1]
    with one_thread():
        return [
            row
            for name in chosen(names or trained)
            for kept, budget in _BUDGETS.items()
            for row in _measure(WORKLOADS[name], kept, budget)
        ]


def _measure(work: Workload, kept: str, budget: float) -> list[PassRow]:
    neuron, x, product = work.neuron(), work.input(), matrix_product()
    inputs = as_events(x) if work.density < 1 else x
    rounds = []
    for _ in range(_ROUNDS + 1):
        with memory_budget(budget), _Timed() as spent:
            start = time.process_time()
            loss = neuron(inputs)[0].square().mean()
            between = time.process_time()
            loss.backward()
            end = time.process_time()
        product()
        rounds.append([*spent / 1e9, between - start, end - between, time.process_time() - end])
    *inside, forward, backward, peak = (statistics.median(values) for values in zip(*rounds[1:], strict=True))
    peak = PEAK_OPERATIONS / peak
    once = 2 * work.multiplications()
    shares = {"recurrence": _recurrent(work), "weight gradients": _recurrent(work), "forward": once}
    parts = {
        "forward": forward,
        **dict(zip(_PASSES, inside, strict=True)),
        "around backward": backward - sum(inside),
    }
    return [
        PassRow(work.name, kept, part, value, shares[part] / value / peak if part in shares else float("nan"))
        for part, value in parts.items()
    ]


def _recurrent(work: Workload) -> float:
    """Operations of the two products of the recurrence in one pass."""
    memory = work.config["memory"]
    return 2.0 * work.batch * work.time * 2 * memory * 2 * memory


class _Timed:
    """Inside, the backward pass of the fused kernels also says how many nanoseconds each of its passes took."""

    def __enter__(self) -> np.ndarray:
        spent, self._before = np.zeros(len(_PASSES), np.int64), numba_call.backward
        numba_call.backward = lambda *arguments: _backward(*arguments, spent)
        return spent

    def __exit__(self, *_: object) -> None:
        numba_call.backward = self._before


_CLOCK = getattr(time, "CLOCK_THREAD_CPUTIME_ID", 0)
_clock_gettime = types.ExternalFunction("clock_gettime", types.int32(types.int32, types.voidptr))


@njit(no_cpython_wrapper=True)
def _now():
    moment = np.empty(2, np.int64)
    _clock_gettime(_CLOCK, moment.ctypes)
    return moment[0] * 1_000_000_000 + moment[1]


@njit(error_model="numpy", cache=True)
def _backward(sizes, net, source, kept, given, sums, unit, units, parity, together, spent):
    """`numba_passes.backward` with a look at the clock after each pass."""
    rows, chunk, kind = sizes.rows, sizes.chunk, net.w.dtype
    last, memory_slot, branch_slot = (
        net.columns[sizes.later],
        rows * sizes.memory_pad,
        rows * sizes.branch_pad,
    )
    z_group, m_group, b_group = (
        chunk * rows * sizes.width,
        (chunk + 1) * memory_slot,
        (chunk + 1) * branch_slot,
    )
    inner, memory, branches = (
        np.empty(2 * z_group, kind),
        np.empty(2 * m_group, kind),
        np.empty(2 * b_group, kind),
    )
    hidden, outer = np.empty(2 * chunk * rows * last, kind), np.empty(2 * chunk * memory_slot, kind)
    now, carry = np.zeros(2 * rows * sizes.hidden_pad, kind), np.empty(2 * memory_slot, kind)
    gradient, read = np.empty(chunk * branch_slot, kind), np.empty(chunk * rows * sizes.output_pad, kind)
    scratch = np.empty(chunk * sizes.input_pad if len(sums.dense) > 0 else 0, kind)
    tile = slot = 2 * unit + parity
    while tile < sizes.tiles:
        groups = min(together, sizes.tiles - tile)
        carry[: groups * memory_slot] = sums.initial_memory[
            tile * memory_slot : (tile + groups) * memory_slot
        ]
        for number in range((sizes.time + chunk - 1) // chunk - 1, -1, -1):
            first = number * chunk
            steps = min(chunk, sizes.time - first)
            times = [_now(), 0, 0, 0, 0, 0]
            passes._enter(sizes, kept, tile, groups, number, memory, branches)
            if sizes.kept == 0:
                passes._compute(sizes, net, source, tile, groups, first, steps, inner, memory, branches, now)
            else:
                passes._restore(
                    sizes, net, source, kept.inner, tile, groups, first, steps, inner, memory, branches, hidden
                )  # fmt: skip
            times[1] = _now()
            for g in range(groups):
                passes._read_out_backward(
                    sizes, net, tile + g, first, steps, memory, g * m_group, read, given, sums, slot + g,
                    outer, g * chunk * memory_slot,
                )  # fmt: skip
            times[2] = _now()
            recall(
                sizes, net, inner, 0, z_group, memory, 0, m_group, groups, steps, hidden, chunk * rows * last,
                outer, chunk * memory_slot, carry, now,
                sums.memory_decay[slot * sizes.memory_pad :], sums.gain[slot * sizes.memory_pad :], sizes.memory_pad,
            )  # fmt: skip
            times[3] = _now()
            for g in range(groups):
                passes._weight_gradients(
                    sizes, net, steps, inner, g * z_group, memory, g * m_group, hidden, g * chunk * rows * last,
                    sums, slot + g,
                )  # fmt: skip
            times[4] = _now()
            for g in range(groups):
                passes._branch_gradients(
                    sizes, net, source, tile + g, first, steps, inner, g * z_group, branches, g * b_group,
                    gradient, sums, slot + g, scratch,
                )  # fmt: skip
            times[5] = _now()
            for part in range(5):
                spent[part] += times[part + 1] - times[part]
        tile += 2 * units


def time_passes(*workloads: str, out: Path | None = None) -> None:
    """Measure where a training step spends its time: CPU time of every pass of the kernels, and its share of the peak.

    Args:
        workloads: Those that are trained: A to D2; all by default.
        out: JSON file to write.
    """
    rows = bench_passes(list(workloads) or None)
    shown = Table("workload", "memory", "pass", "CPU ms", "of peak")
    for row in rows:
        share = "" if math.isnan(row.fraction_of_peak) else f"{100 * row.fraction_of_peak:.0f} %"
        shown.add_row(row.workload, row.kept, row.part, f"{1000 * row.cpu_seconds:.2f}", share)
    console.print(shown)
    write(rows, out)


if __name__ == "__main__":
    start(time_passes)
