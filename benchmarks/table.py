"""Measurements of `ulmus bench kernels` as the table of docs/performance.md.

python benchmarks/table.py benchmarks/results/kernels-PROCESSOR.json
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from common import start

from ulmus.bench.workloads import WORKLOADS
from ulmus.errors import DataError

_NEEDED = ("processor", "workload", "implementation", "direction", "cpu_seconds", "ratio_to_plain_loop")
_WAYS = (
    ("fused, events", "events"),
    ("fused, uint8", "bytes"),
    ("fused", "dense"),
    ("stream, events", "Stream"),
    ("stepper", "stepper"),
    ("fused, events, cold caches", "events with cold caches"),
)


def read_rows(files: Iterable[Path]) -> list[dict[str, Any]]:
    """Rows of several files that ``ulmus bench kernels --out`` wrote.

    Raises:
        DataError: a file that is not there, is no JSON, or has no such rows.
    """
    rows: list[dict[str, Any]] = []
    for file in files:
        try:
            found = json.loads(file.read_text())
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise DataError(
                f"{file} cannot be read ({error}); expected what `ulmus bench kernels --out FILE` wrote."
            ) from error
        good = isinstance(found, list) and all(isinstance(row, dict) for row in found)
        if not good or any(name not in row for row in found for name in _NEEDED):
            raise DataError(
                f"{file} has no measurements of the kernels; expected rows with {', '.join(_NEEDED)}. Write it with "
                "`ulmus bench kernels --out FILE`."
            )
        rows += found
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown: one line for each workload, one column for each processor.

    A cell says how many times faster than the plain loop the fused kernels are, by kind of input, forward and backward
    where the workload is trained, and what share of the machine's matrix product that is.
    """
    processors = list(dict.fromkeys(row["processor"] for row in rows))
    lines = ["| | workload | " + " | ".join(processors) + " |", "|---" * (2 + len(processors)) + "|"]
    for name, work in WORKLOADS.items():
        cells = [
            _cell(
                [r for r in rows if r["workload"] == name and r["processor"] == processor],
                work.directions[-1],
            )
            for processor in processors
        ]
        if any(cells):
            lines.append(f"| {name} | {work.what}, {work.directions[-1]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(rows: Sequence[dict[str, Any]], direction: str) -> str:
    found = {row["implementation"]: row for row in rows if row["direction"] == direction}
    return ", ".join(
        f"{words} {found[name]['ratio_to_plain_loop']:.{1 if found[name]['ratio_to_plain_loop'] < 20 else 0}f}"
        f" ({100 * found[name]['fraction_of_peak']:.0f} %)"
        for name, words in _WAYS
        if name in found
    )


def print_table(*files: Path) -> None:
    """Print the Markdown table of measurements that ``ulmus bench kernels --out`` wrote.

    Args:
        files: JSON files, of one or more processors.
    """
    print(table(read_rows(files)))


if __name__ == "__main__":
    start(print_table)
