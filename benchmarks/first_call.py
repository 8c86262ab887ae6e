"""What the first forward and backward pass of a process cost: where kernels have to be compiled, and where they are on disk.

python benchmarks/first_call.py --out benchmarks/results/first-call-PROCESSOR.json
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from common import start, write
from rich.table import Table

from ulmus.bench.workloads import chosen
from ulmus.cli.console import console, say

# A process as a user starts it, without what scripts of this folder import.
_PROGRAM = """
import sys, time
moments = [time.process_time()]
import ulmus
from ulmus.bench.workloads import WORKLOADS
import torch
torch.set_num_threads(1)
work = WORKLOADS[sys.argv[1]]
neuron, x = work.neuron(), work.input()
moments.append(time.process_time())
loss = neuron(x)[0].square().mean()
moments.append(time.process_time())
loss.backward()
moments.append(time.process_time())
print([after - before for before, after in zip(moments, moments[1:])])
"""


class FirstRow(NamedTuple):
    """The first training step of a process in float32, CPU seconds, median of the rounds."""

    workload: str
    kernels: str
    """"compiled" where the cache on disk was empty, or "on disk"."""
    importing: float
    """PyTorch, Ulmus, the neuron and its input."""
    forward: float
    """Importing Numba included."""
    backward: float


def bench_first_call(names: Sequence[str] = ("A", "P"), rounds: int = 3) -> list[FirstRow]:
    """Every workload in new processes, pairs of which share a cache that is empty before the first.

    Raises:
        ConfigError: an unknown workload.
    """
    rows = []
    for name in chosen(names):
        found: dict[str, list[list[float]]] = {"compiled": [], "on disk": []}
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as cache:
                for seconds in found.values():
                    done = subprocess.run(
                        [sys.executable, "-c", _PROGRAM, name],
                        env={**os.environ, "NUMBA_CACHE_DIR": cache}, capture_output=True, text=True, check=True,
                    )  # fmt: skip
                    seconds.append(json.loads(done.stdout))
        for kernels, seconds in found.items():
            medians = (statistics.median(values) for values in zip(*seconds, strict=True))
            rows.append(FirstRow(name, kernels, *medians))
    return rows


def first_call(*workloads: str, rounds: int = 3, out: Path | None = None) -> None:
    """Measure the first forward and backward pass of a process, with an empty cache of compiled kernels and with a full one.

    Args:
        workloads: Those that are trained; A and P by default.
        rounds: Pairs of processes.
        out: JSON file to write.
    """
    say("CPU seconds of new processes, one thread")
    rows = bench_first_call(workloads or ("A", "P"), rounds)
    shown = Table("workload", "kernels", "importing", "first forward", "first backward")
    for row in rows:
        shown.add_row(*row[:2], *(f"{value:.2f}" for value in row[2:]))
    console.print(shown)
    write(rows, out)


if __name__ == "__main__":
    start(first_call)
