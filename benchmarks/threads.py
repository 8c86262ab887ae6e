"""What a second thread gains: wall time, one thread and two taking turns.

python benchmarks/threads.py --out benchmarks/results/threads-PROCESSOR.json
"""

import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from common import start, write
from rich.table import Table

from ulmus.bench.run import matrix_product
from ulmus.bench.workloads import WORKLOADS, as_events, chosen
from ulmus.cli.console import console, say

_ROUNDS = 15


class ThreadsRow(NamedTuple):
    """One number of threads."""

    workload: str
    threads: int
    wall_seconds: float
    cpu_seconds: float
    """Of all threads together; where it grows with their number, some of them wait."""
    ratio_to_one_thread: float
    """How many times faster than one thread, by wall time."""
    load_average: float
    """Programs that wanted a core during the last minute, this one included."""


def bench_threads(names: Sequence[str] | None = None, most: int = 2) -> list[ThreadsRow]:
    """Forward and backward of the workloads named (B and D by default), and a product of matrices, with 1 to `most` threads.

    Raises:
        ConfigError: an unknown workload.
    """
    work = {name: _training_step(name) for name in chosen(names or ("B", "D"))}
    before = torch.get_num_threads()
    try:
        return [
            row
            for name, call in {**work, "sgemm": matrix_product()}.items()
            for row in _measure(name, call, most)
        ]
    finally:
        torch.set_num_threads(before)


def _measure(name: str, call: Callable[[], object], most: int) -> list[ThreadsRow]:
    counts = range(1, most + 1)
    wall: dict[int, list[float]] = {count: [] for count in counts}
    cpu: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(_ROUNDS):
        for count in counts:
            torch.set_num_threads(count)
            call()  # the first call after a change starts threads
            start = time.perf_counter(), time.process_time()
            call()
            wall[count].append(time.perf_counter() - start[0])
            cpu[count].append(time.process_time() - start[1])
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    times = {count: statistics.median(wall[count]) for count in counts}
    return [
        ThreadsRow(name, count, times[count], statistics.median(cpu[count]), times[1] / times[count], load)
        for count in counts
    ]


def _training_step(name: str) -> Callable[[], object]:
    work = WORKLOADS[name]
    neuron, x = work.neuron(), work.input()
    inputs = as_events(x) if work.density < 1 else x

    def step() -> None:
        neuron.zero_grad()
        neuron(inputs)[0].square().mean().backward()

    return step


def threads(*workloads: str, most: int = 2, out: Path | None = None) -> None:
    """Measure what more threads gain on this machine, by wall time, beside what a product of matrices gains.

    Args:
        workloads: Those that are trained: B and D by default.
        most: Largest number of threads.
        out: JSON file to write.
    """
    rows = bench_threads(list(workloads) or None, most)
    shown = Table("workload", "threads", "wall ms", "CPU ms", "times faster than one thread")
    for row in rows:
        times = (f"{1000 * row.wall_seconds:.1f}", f"{1000 * row.cpu_seconds:.1f}")
        shown.add_row(row.workload, str(row.threads), *times, f"{row.ratio_to_one_thread:.2f}")
    console.print(shown)
    say(
        f"load average {rows[-1].load_average:.1f}; other programs on the machine make these figures too small"
    )
    write(rows, out)


if __name__ == "__main__":
    start(threads)
