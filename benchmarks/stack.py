"""What surrounds the neurons of a network costs: a training step of one neuron of 50 memory units, of two, and of a network.

python benchmarks/stack.py --out benchmarks/results/stack-PROCESSOR.json
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from common import in_own_process, peak_mebibytes, start, write

from ulmus import Classifier, ELMNetwork
from ulmus.bench.workloads import WORKLOADS
from ulmus.cli.console import say

_CASES = {
    "one neuron": {"layers": 1},
    "two layers": {"layers": 2, "residual": False},
    "two layers, normalised, residual": {"layers": 2, "norm": True},
}
_ROUNDS = 5


class StackRow(NamedTuple):
    """One training step, forward and backward, of a classifier that reads the mean."""

    network: str
    steps: int
    microseconds_a_step: float
    """CPU time for one time step of one sequence, least of the rounds."""
    mebibytes: float
    """Peak memory beyond what the process held before."""


def bench_stack(steps: tuple[int, ...] = (1024, 16384)) -> list[StackRow]:
    """Every network at every length, each in a process of its own."""
    return [
        StackRow(case, length, *in_own_process(__file__, case, length)) for length in steps for case in _CASES
    ]


def measure(case: str, steps: int) -> None:
    """Measure in this process and print microseconds and mebibytes."""
    torch.set_num_threads(1)
    work = WORKLOADS["P"]
    network = ELMNetwork(**work.config, **_CASES[case])  # type: ignore[arg-type]
    classifier = Classifier(network, ["no", "yes"], reading="mean")
    classes = torch.arange(work.batch) % 2

    def step(x: torch.Tensor) -> None:
        torch.nn.functional.cross_entropy(classifier(x), classes).backward()

    step(work.input(32))  # compiles, allocates gradients
    x, seconds = work.input(steps), []
    before = peak_mebibytes(reset=True)
    for _ in range(_ROUNDS):
        begin = time.process_time()
        step(x)
        seconds.append(time.process_time() - begin)
    print([1e6 * min(seconds) / (work.batch * steps), peak_mebibytes() - before])


def stack(*, steps: tuple[int, ...] = (1024, 16384), out: Path | None = None) -> None:
    """Measure a training step of one neuron of 50 memory units, of two layers, and of a normalised residual network.

    Args:
        steps: Lengths of the sequences.
        out: JSON file to write.
    """
    say("one training step of 32 sequences for each network, in processes of their own")
    rows = bench_stack(steps)
    print(table(rows))
    write(rows, out)


def table(rows: Sequence[StackRow]) -> str:
    """Markdown: a line for each network, time and memory for each length."""
    lengths = list(dict.fromkeys(row.steps for row in rows))
    lines = [
        "| network | " + " | ".join(f"{length:,} steps | memory" for length in lengths) + " |",
        "|---" * (1 + 2 * len(lengths)) + "|",
    ]
    for name in dict.fromkeys(row.network for row in rows):
        cells = [
            f"{row.microseconds_a_step:.2f} | {row.mebibytes:.0f} MiB" for row in rows if row.network == name
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    start(stack, measure)
