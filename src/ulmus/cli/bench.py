"""``ulmus bench``: kernels, train."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from cyclopts import App
from rich.table import Table

from ulmus.bench import Row, bench_kernels, bench_train, write_rows
from ulmus.cli.console import console, say

app = App(name="bench", help="Time the kernels beside other implementations, in one process on one thread.")


@app.command
def kernels(*workloads: str, out: Path | None = None) -> None:
    """Time forward passes, and training steps, of every workload: median CPU times, all implementations in turn.

    Args:
        workloads: A to F and F'; all by default.
        out: JSON file to write.
    """
    _measure(bench_kernels, workloads, out)


@app.command
def train(*workloads: str, out: Path | None = None) -> None:
    """Time training steps (forward and backward) only.

    Args:
        workloads: Those that are trained: A to D2; all by default.
        out: JSON file to write.
    """
    _measure(bench_train, workloads, out)


def _measure(
    measure: Callable[[list[str] | None], Sequence[Row]], workloads: tuple[str, ...], out: Path | None
) -> None:
    say("measuring; the plain loop is slow, so this takes some minutes")
    rows = measure(list(workloads) or None)
    columns = ("workload", "direction", "implementation", "CPU ms", "times faster than the plain loop")
    title = f"sgemm peak {rows[0].peak_gflops:.0f} GFLOP/s"
    table = Table(*columns, "GFLOP/s", "of peak", title=title, title_justify="left")
    for row in rows:
        work = (f"{row.gflops:.1f}", f"{100 * row.fraction_of_peak:.0f} %")
        names = (row.workload, row.direction, row.implementation)
        times = (f"{1000 * row.cpu_seconds:.2f}", f"{row.ratio_to_plain_loop:.1f}")
        table.add_row(*names, *times, *(("", "") if math.isnan(row.gflops) else work))
    console.print(table)
    if out is not None:
        write_rows(rows, out)
        say(f"wrote {out}")
