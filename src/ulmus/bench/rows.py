"""Measurements as a file, with the processor that they come from."""

import math
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ulmus.files.writing import write_json


def processor() -> str:
    """Name of the processor as the system gives it."""
    listed = Path("/proc/cpuinfo")
    if listed.exists():
        for line in listed.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def write_rows(rows: Sequence[Any], out: Path) -> None:
    """Write measurements (named tuples) as JSON, each with the name of the processor; NaN becomes null."""
    name = processor()
    values = [
        {"processor": name}
        | {
            key: None if isinstance(value, float) and math.isnan(value) else value
            for key, value in row._asdict().items()
        }
        for row in rows
    ]
    write_json(out, values)
