"""``ulmus bench``: kernels, train, memory, simulate."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cyclopts import App
from rich.table import Table

from ulmus.bench import Row, bench_kernels, bench_memory, bench_train
from ulmus.cli.console import console, say
from ulmus.training.run import write_text

app = App(name="bench", help="Measure side by side, in one process on one thread.")


@app.command
def kernels(*workloads: str, out: Path | None = None) -> None:
    """Forward, and forward with backward, of every workload: CPU time, medians, all implementations taking turns.

    Args:
        workloads: A to F and F'; all by default.
        out: JSON file to write.
    """
    say("measuring; the plain loop takes its time")
    _show(bench_kernels(list(workloads) or None), out)


@app.command
def train(*workloads: str, out: Path | None = None) -> None:
    """Forward with backward only.

    Args:
        workloads: Those that are trained: A to D2; all by default.
        out: JSON file to write.
    """
    say("measuring; the plain loop takes its time")
    _show(bench_train(list(workloads) or None), out)


@app.command
def memory(*, steps: int = 16384, out: Path | None = None) -> None:
    """Peak memory of one training step on a long sequence.

    Args:
        steps: Length of the sequence.
        out: JSON file to write.
    """
    say(f"one training step of {steps} steps for each implementation, in processes of their own")
    rows = bench_memory(steps)
    table = Table(
        "workload", "implementation", "MiB", "plain loop / this", title="peak memory", title_justify="left"
    )
    for row in rows:
        table.add_row(
            row.workload, row.implementation, f"{row.mebibytes:.0f}", f"{row.ratio_to_plain_loop:.1f}"
        )
    console.print(table)
    _write(rows, out)


@app.command
def simulate(*, seconds: float = 1.0, out: Path | None = None) -> None:
    """CPU time of detailed neurons: Arbor, the same cell in NEURON where it is installed, and a surrogate.

    Args:
        seconds: Simulated time of every measurement.
        out: JSON file to write.
    """
    from ulmus.bench.simulation import bench_simulation  # loads Arbor, which the other commands do not need

    say("simulating; a second of a detailed neuron takes one to several")
    rows = bench_simulation(seconds)
    table = Table(
        "cell",
        "computed by",
        "step (ms)",
        "CPU s per simulated s",
        "neuron-seconds per CPU s",
        "times NEURON",
        "beside NEURON",
        title="one thread",
        title_justify="left",
    )
    for row in rows:
        ratio = "" if math.isnan(row.ratio_to_neuron) else f"{row.ratio_to_neuron:.1f}"
        speed = (f"{row.cpu_seconds:.3g}", f"{row.neuron_seconds:.3g}", ratio)
        table.add_row(row.cell, row.computed_by, f"{row.step_ms:g}", *speed, row.agreement)
    console.print(table)
    _write(rows, out)


def _show(rows: Sequence[Row], out: Path | None) -> None:
    columns = (
        "workload",
        "direction",
        "implementation",
        "CPU ms",
        "times faster than the plain loop",
        "GFLOP/s",
        "of peak",
    )
    table = Table(*columns, title=f"sgemm peak {rows[0].peak_gflops:.0f} GFLOP/s", title_justify="left")
    for row in rows:
        work = (
            ("", "")
            if math.isnan(row.gflops)
            else (f"{row.gflops:.1f}", f"{100 * row.fraction_of_peak:.0f} %")
        )
        names = (row.workload, row.direction, row.implementation)
        table.add_row(*names, f"{1000 * row.cpu_seconds:.2f}", f"{row.ratio_to_plain_loop:.1f}", *work)
    console.print(table)
    _write(rows, out)


def _write(rows: Sequence[NamedTuple], out: Path | None) -> None:
    if out is not None:
        values = [
            {
                key: None if isinstance(value, float) and math.isnan(value) else value
                for key, value in row._asdict().items()
            }
            for row in rows
        ]
        write_text(out, json.dumps(values, indent=2))
        say(f"wrote {out}")
