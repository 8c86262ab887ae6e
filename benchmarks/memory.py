"""Peak memory of one training step on a long sequence, each measured in a process of its own.

python benchmarks/memory.py --out benchmarks/results/memory-PROCESSOR.json
"""

from pathlib import Path
from typing import NamedTuple

import torch
from common import in_own_process, peak_mebibytes, start, write
from rich.table import Table

from ulmus.bench.plain import plain_loop
from ulmus.bench.workloads import WORKLOADS
from ulmus.cli.console import console, say
from ulmus.kernels import memory_budget, use_backend


class MemoryRow(NamedTuple):
    """Peak memory of forward and backward beyond what the process held before."""

    workload: str
    implementation: str
    mebibytes: float
    ratio_to_plain_loop: float


def bench_memory(steps: int = 16384) -> list[MemoryRow]:
    """Memory of a training step of workload D with `steps` time steps."""
    cases = ("fused", "fused, all kept", "reference", "plain loop")
    found = {case: in_own_process(__file__, case, steps) for case in cases}
    return [
        MemoryRow(f"D, T={steps}", case, value, value / found["plain loop"]) for case, value in found.items()
    ]


def measure(case: str, steps: int) -> None:
    """Measure in this process and print the mebibytes."""
    torch.set_num_threads(1)
    work = WORKLOADS["D"]
    neuron = work.neuron()
    loop = plain_loop(neuron) if case == "plain loop" else None
    if case == "fused, all kept":
        memory_budget(1e6)
    use_backend("reference" if case == "reference" else "numba")

    def step(x: torch.Tensor) -> None:
        outputs = neuron(x)[0] if loop is None else loop(x)
        outputs.square().mean().backward()

    step(work.input(32))  # compiles, allocates gradients
    x = work.input(steps)
    before = peak_mebibytes()
    step(x)
    print(peak_mebibytes() - before)


def memory(*, steps: int = 16384, out: Path | None = None) -> None:
    """Measure the peak memory of one training step on a long sequence.

    Args:
        steps: Length of the sequence.
        out: JSON file to write.
    """
    say(f"one training step of {steps} steps for each implementation, in processes of their own")
    rows = bench_memory(steps)
    shown = Table(
        "workload", "implementation", "MiB", "of the plain loop's", title="peak memory", title_justify="left"
    )
    for row in rows:
        share = f"{100 * row.ratio_to_plain_loop:.0f} %"
        shown.add_row(row.workload, row.implementation, f"{row.mebibytes:.0f}", share)
    console.print(shown)
    write(rows, out)


if __name__ == "__main__":
    start(memory, measure)
