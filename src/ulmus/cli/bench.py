"""``ulmus bench``: kernels, train, threads, passes, memory, lengths, simulate, table."""

import json
import math
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from cyclopts import App
from rich.table import Table

from ulmus.bench import (
    Row,
    bench_kernels,
    bench_lengths,
    bench_memory,
    bench_threads,
    bench_train,
    processor,
    read_rows,
)
from ulmus.bench import table as markdown_table
from ulmus.bench.lengths import LENGTHS
from ulmus.cli.console import console, print_table, say
from ulmus.report.lengths import write_lengths_page
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
def threads(*workloads: str, most: int = 2, out: Path | None = None) -> None:
    """What more threads gain on this machine, by wall time, beside what a product of matrices gains.

    Args:
        workloads: Those that are trained: B and D by default.
        most: Number of threads to go up to.
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
    _write(rows, out)


@app.command
def passes(*workloads: str, out: Path | None = None) -> None:
    """Where a training step spends its time: CPU time of every pass of the kernels, and its share of the peak.

    Args:
        workloads: Those that are trained: A to D2; all by default.
        out: JSON file to write.
    """
    from ulmus.bench.passes import bench_passes

    rows = bench_passes(list(workloads) or None)
    shown = Table("workload", "memory", "pass", "CPU ms", "of peak")
    for row in rows:
        share = "" if math.isnan(row.fraction_of_peak) else f"{100 * row.fraction_of_peak:.0f} %"
        shown.add_row(row.workload, row.kept, row.part, f"{1000 * row.cpu_seconds:.2f}", share)
    console.print(shown)
    _write(rows, out)


@app.command
def table(*files: Path) -> None:
    """Markdown table of measurements that ``ulmus bench kernels --out`` wrote, the one in the README.

    Args:
        files: JSON files, of one or more processors.
    """
    print(markdown_table(read_rows(files)))


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
        "workload", "implementation", "MiB", "of the plain loop's", title="peak memory", title_justify="left"
    )
    for row in rows:
        table.add_row(
            row.workload, row.implementation, f"{row.mebibytes:.0f}", f"{100 * row.ratio_to_plain_loop:.0f} %"
        )
    console.print(table)
    _write(rows, out)


@app.command
def lengths(*steps: int, batch: int = 4, out: Path | None = None, figure: Path | None = None) -> None:
    """CPU time and peak memory of a training step over the length of the sequence: ELM, LSTM, TCN and Transformer.

    Args:
        steps: Lengths of the sequences; 256 to 16,384 by default, which takes a quarter of an hour.
        batch: Sequences in a training step.
        out: JSON file to write.
        figure: Page with the figure to write.
    """
    say("one training step of each model at each length, in processes of their own")
    table = Table("model", "parameters", "steps", "CPU µs a step", "MiB", title_justify="left")
    rows = bench_lengths(
        steps or LENGTHS, batch=batch, on_row=lambda row: say(f"{row.model}, {row.steps} steps: measured")
    )
    for row in rows:
        cost, memory = f"{row.microseconds_per_step:.2f}", f"{row.mebibytes:.0f}"
        table.add_row(row.model, f"{row.parameters:,}", f"{row.steps:,}", cost, memory)
    console.print(table)
    _write(rows, out)
    if figure is not None:
        say(f"wrote {write_lengths_page(rows, figure)}")


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
    for cell, group in groupby(rows, key=lambda row: row.cell):
        measured = list(group)
        cells = [
            (
                row.computed_by,
                f"{row.step_ms:g}",
                f"{row.cpu_seconds:.3g}",
                f"{row.neuron_seconds:.3g}" if row.neuron_seconds < 1000 else f"{row.neuron_seconds:,.0f}",
                "" if math.isnan(row.ratio_to_neuron) else f"{row.ratio_to_neuron:.1f}",
            )
            for row in measured
        ]
        columns = ("", "step ms", "CPU s per simulated s", "simulated s per CPU s", "times NEURON")
        print_table(f"{cell}, one thread", cells, columns)
        for row in measured:
            if row.agreement:
                console.print(f"{row.computed_by} beside NEURON: {row.agreement}\n", soft_wrap=True)
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
        name = processor()
        values = [
            {"processor": name}
            | {
                key: None if isinstance(value, float) and math.isnan(value) else value
                for key, value in row._asdict().items()
            }
            for row in rows
        ]
        write_text(out, json.dumps(values, indent=2))
        say(f"wrote {out}")
