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
def simulate(*, seconds: float = 1.0, step_ms: float = 0.025, out: Path | None = None) -> None:
    """What a simulated second costs with Arbor and, if installed, with NEURON on the same cell, and with an ELM neuron.

    Args:
        seconds: Length of the trial.
        step_ms: Integration step of both simulators.
        out: JSON file to write.
    """
    from ulmus.bench.simulation import bench_simulation

    say(
        "building the cells and simulating; the common cell has hh and pas channels, which both simulators ship"
    )
    rows = bench_simulation(seconds, step_ms)
    table = Table(
        "cell", "simulator", "step ms", "CPU s per s", "s per CPU s", "spikes", "matched", "RMS mV",
        title="one neuron; spikes matched within 1 ms and voltage compared with Arbor's", title_justify="left",
    )  # fmt: skip
    for row in rows:
        known = not math.isnan(row.spikes_within_1_ms)
        compared = (str(row.spikes), f"{row.spikes_within_1_ms:.0%}", f"{row.rms_mv:.3f}") if known else ()
        cost = (f"{row.cpu_seconds_per_second:.3g}", f"{row.neuron_seconds_per_cpu_second:,.3g}")
        table.add_row(row.cell, row.simulator, f"{row.step_ms:g}", *cost, *compared)
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
