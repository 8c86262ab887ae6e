"""Sequences from tables: CSV and Parquet, with a row for every step (long) or for every sequence (wide)."""

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ulmus.errors import DataError, closest, extra
from ulmus.files.csv_columns import CSV, is_packed, open_table
from ulmus.files.limits import check_gzip, check_unpacked
from ulmus.files.reading import explained
from ulmus.sequences.arrays.layout import Layout
from ulmus.sequences.arrays.sequence_set import SequenceSet, sequence_set

_LARGEST_WHOLE = 2.0**53
PARQUET = ".parquet"
_WHOLE = re.compile("0|-?[1-9][0-9]*")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?(e[-+][0-9]+)?")
_MISSING = {"", "nan"}
TABLES = (*CSV, PARQUET)


def read_table(path: Path) -> dict[str, list[str]]:
    """Columns of a table by name, as texts; an empty one where there is no value.

    Raises:
        DataError: it cannot be read, or has no rows.
    """
    if path.suffix.lower() == PARQUET:
        columns = parquet_columns(path)
        return {name: [_text(cell) for cell in cells] for name, cells in columns.items()}
    delimiter = "\t" if ".tsv" in path.name.lower() else ","
    with (
        explained(str(path), "UTF-8 text with a line of names", "save it again"),
        open_table(path) as file,
    ):
        if is_packed(path):
            check_gzip(path)
        rows = csv.reader(file, delimiter=delimiter)
        heads = next(rows, [])
        lines = [row for row in rows if row]
    if not lines or len(set(heads)) < len(heads):
        raise DataError(
            f"{path} has {len(lines)} rows and columns {heads[:8]}; expected rows under names that differ."
        )
    if len(heads) == 1 and ";" in heads[0]:
        raise DataError(
            f"{path} has semicolons between its columns; expected commas in .csv, tabs in .tsv. Save it with these."
        )
    short = next((number for number, row in enumerate(lines, 2) if len(row) != len(heads)), None)
    if short is not None:
        raise DataError(
            f"line {short} of {path} has {len(lines[short - 2])} cells; expected {len(heads)} like the first line."
        )
    return dict(zip(heads, map(list, zip(*lines, strict=True)), strict=True))


def parquet_columns(path: Path) -> dict[str, list[Any]]:
    """Columns of a Parquet file by name, as Python's numbers, texts and lists.

    Raises:
        DataError: it cannot be read, or has no rows.
        MissingPackageError: pyarrow is not installed.
    """
    with extra("parquet", "reading Parquet files"):
        from pyarrow.parquet import ParquetFile
    with explained(str(path), "a whole file of Parquet", "save it again"), ParquetFile(path) as file:
        cells = file.metadata.num_rows * file.metadata.num_columns
        check_unpacked(8 * cells, path.stat().st_size, str(path))
        table = file.read()
    if not table.num_rows:
        raise DataError(f"{path} has no rows; expected at least one.")
    return {name: table.column(name).to_pylist() for name in table.column_names}


def _text(cell: Any) -> str:
    return "" if cell is None else str(int(cell) if isinstance(cell, bool) else cell)


def _numbers(table: Mapping[str, list[str]], name: str, origin: str) -> np.ndarray:
    """A column as numbers, an empty cell as NaN."""
    cells = _cells(table, name, origin)
    try:
        return np.array([number(cell) for cell in cells])
    except ValueError:
        row = next(k for k, cell in enumerate(cells) if not _is_number(cell))
        raise DataError(
            f"column {name!r} of {origin} is {cells[row]!r} in line {row + 2}; expected a number. Name the columns that hold "
            "values with data.values, and those that hold targets with data.targets."
        ) from None


def time_between_rows(table: Mapping[str, list[str]], layout: Layout, origin: str) -> float:
    """Median time in ms from one row of a sequence to the next in time; 1 where no sequence has two.

    Raises:
        DataError: time stands still, or is missing.
    """
    times = _numbers(table, layout.time or "", origin)
    _, owner = np.unique(table.get(layout.sequence, [""] * len(times)), return_inverse=True)
    order = np.lexsort((times, owner))
    steps = np.diff(times[order])[np.diff(owner[order]) == 0]
    apart = float(np.median(steps)) if steps.size else 1.0
    if not 0 < apart < np.inf:
        raise DataError(
            f"rows of a sequence in {origin} are {apart:g} ms apart by column {layout.time!r}; expected a time for each that is "
            "later than that of the row before. Correct it, or leave data.time out if rows are steps."
        )
    return apart


def _cells(table: Mapping[str, list[str]], name: str, origin: str) -> list[str]:
    if name not in table:
        known = list(table)
        raise DataError(
            f"{origin} has no column {name!r}; expected one of {known[:20]}.{closest(name, known)}"
        )
    return table[name]


def number(cell: str) -> float:
    """A cell as a number; NaN if it is empty.

    Raises:
        ValueError: it is none.
    """
    if "_" in cell:  # which float() takes for a mark between digits
        raise ValueError(cell)
    return float(cell) if cell.strip() else float("nan")


def _is_number(cell: str) -> bool:
    try:
        number(cell)
    except ValueError:
        return False
    return True


def _typed(cells: Sequence[str]) -> np.ndarray:
    """Cells as whole numbers or numbers where these tell apart what the texts do, else as texts: subject 01 may not be 1."""
    texts = {cell.strip() for cell in cells}
    if all(map(_WHOLE.fullmatch, texts)) and all(abs(int(text)) < 2**63 for text in texts):
        return np.array([int(cell) for cell in cells])
    known = {text for text in texts if text.lower() not in _MISSING}
    if all(map(_DECIMAL.fullmatch, known)) and len(set(map(float, known))) == len(known):
        return np.array([number(cell) for cell in cells])
    if all(map(_is_number, known)):  # written in several ways; what is missing is missing here too
        return np.array([text if (text := cell.strip()) in known else "" for cell in cells])
    return np.array(cells)


def from_table(table: dict[str, list[str]], layout: Layout, origin: str) -> SequenceSet:
    """Sequences of a table, long or wide.

    Raises:
        DataError: a column is missing or holds what it cannot.
    """
    known = (*(layout.targets or ()), *layout.columns_in(table), *((layout.time,) if layout.time else ()))
    long = layout.time is not None or layout.sequence != Layout.sequence  # as the recipe says
    for name in (*known, *((layout.sequence,) if long else ())):
        _cells(table, name, origin)
    ends = (
        "lengths" if layout.sequence not in table and "lengths" in table and "lengths" not in known else None
    )
    names = layout.values or tuple(name for name in table if name not in (*known, layout.sequence, ends))
    if not names:
        raise DataError(
            f"{origin} has the columns {list(table)[:20]} and none for values; expected one or more beside {known}."
        )
    if layout.sequence in table:
        return _from_long(table, names, layout, origin)
    targets = _targets([_typed(table[name]) for name in layout.targets or ()])
    columns = {name: _typed(table[name]) for name in layout.columns_in(table)}
    if layout.input == "characters":
        texts = _cells(table, _only(names, layout, origin), origin)
        return sequence_set(list(texts), targets, columns=columns, input="characters", origin=origin)
    channels, steps = _steps_by_channel(names, bool(layout.values), origin)
    numbers = np.stack([_numbers(table, name, origin) for name in steps], axis=1)
    lengths = None if ends is None else _whole(_numbers(table, ends, origin), "a number of steps", origin)
    if layout.input == "tokens":
        _only(channels, layout, origin)
        inside = np.arange(len(steps)) < (len(steps) if lengths is None else lengths[:, None])
        tokens = _whole(np.where(inside, numbers, 0), "a token", origin)
        return sequence_set(tokens, targets, lengths, columns=columns, input="tokens", origin=origin)
    values = numbers.reshape(len(numbers), len(channels), -1).transpose(0, 2, 1)
    return sequence_set(
        values, targets, lengths, channels=channels, columns=columns, input=layout.input, missing=layout.missing,
        origin=origin,
    )  # fmt: skip


def _only(names: Sequence[str], layout: Layout, origin: str) -> str:
    """The one column of tokens or texts.

    Raises:
        DataError: there are several.
    """
    if len(names) > 1:
        raise DataError(
            f"{origin} has values in {list(names)[:8]}; expected one column of {layout.input}. Name it with data.values."
        )
    return names[0]


def _whole(numbers: np.ndarray, what: str, origin: str, label: str | None = None) -> np.ndarray:
    """Numbers as whole ones.

    Raises:
        DataError: some are none, or missing.
    """
    wrong = np.argwhere(~(np.abs(numbers) < _LARGEST_WHOLE) | (numbers != np.floor(numbers)))
    if wrong.size:
        row = wrong[0]
        found = "missing" if np.isnan(numbers[tuple(row)]) else f"{numbers[tuple(row)]:g}"
        raise DataError(
            f"{what} of sequence {row[0] if label is None else label} in {origin} is {found}; expected whole numbers. Of shorter "
            "sequences give the number of steps in a column 'lengths'."
        )
    return numbers.astype(np.int64)


def _steps_by_channel(names: Sequence[str], chosen: bool, origin: str) -> tuple[list[str], list[str]]:
    """Channels, and the columns of a wide table by channel and step: NAME_STEP or STEP in any order, else one channel as it is.

    Raises:
        DataError: channels have different steps, or other columns are among those that nobody has `chosen`.
    """
    parts = {name: re.fullmatch(r"(?:(.+)_)?(\d+)", name) for name in names}
    odd = [name for name, part in parts.items() if part is None]
    if len(odd) == len(names) or (odd and chosen):
        return ["value"], list(names)
    if odd:
        raise DataError(
            f"{origin} has the columns {odd[:5]} beside those of steps, such as {next(name for name in names if parts[name])!r}; "
            "expected steps alone. Name the columns of steps with data.values."
        )
    steps: dict[str, list[int]] = {}
    for part in filter(None, parts.values()):
        steps.setdefault(part[1] or "value", []).append(int(part[2]))
    for channel, found in steps.items():
        found.sort()
        if found != next(iter(steps.values())) or len(set(np.diff(found))) > 1:
            raise DataError(
                f"{channel!r} of {origin} has columns for the steps {found[:8]}; expected steps that are evenly apart, and the "
                f"same of every channel ({', '.join(list(steps)[:8])})."
            )
    place = {
        name: (list(steps).index(part[1] or "value"), int(part[2])) for name, part in parts.items() if part
    }
    return list(steps), sorted(names, key=place.__getitem__)


def _from_long(table: dict[str, list[str]], names: Sequence[str], layout: Layout, origin: str) -> SequenceSet:
    """A table with a row for every step of every sequence."""
    keys = table[layout.sequence]
    sequences = list(dict.fromkeys(keys))
    number = {key: place for place, key in enumerate(sequences)}
    owner = np.array([number[key] for key in keys])
    order = np.argsort(owner, kind="stable")
    if layout.time is not None:
        times = _numbers(table, layout.time, origin)
        order = np.lexsort((times, owner))
        _check_times(times[order], owner[order], sequences, layout, origin)
    lengths = np.bincount(owner)
    edges = np.cumsum(lengths)[:-1]
    values = np.split(np.stack([_numbers(table, name, origin) for name in names], axis=1)[order], edges)
    each = {
        name: np.split(_typed(table[name])[order], edges)
        for name in (*(layout.targets or ()), *layout.columns_in(table))
    }

    def one_each(name: str) -> np.ndarray:
        for key, part in zip(sequences, each[name], strict=True):
            if len(np.unique(part)) > 1:
                raise DataError(
                    f"{name!r} of sequence {key} in {origin} changes from {part[0]} to {part[part != part[0]][0]}; expected one "
                    "value for a sequence. For targets of every step choose a task such as step-classification."
                )
        return np.array([part[0] for part in each[name]])

    columns = {name: one_each(name) for name in layout.columns_in(table)}
    if layout.step_targets and layout.targets:
        parts = [each[name] for name in layout.targets]
        targets: Any = (
            parts[0] if len(parts) == 1 else [np.stack(step, axis=1) for step in zip(*parts, strict=True)]
        )
    else:
        targets = _targets([one_each(name) for name in layout.targets or ()])
    if layout.input == "tokens":
        _only(names, layout, origin)
        values = [
            _whole(part[:, 0], "a token", origin, key) for key, part in zip(sequences, values, strict=True)
        ]
    return sequence_set(
        values, targets, channels=None if layout.input == "tokens" else names, columns=columns, input=layout.input,
        missing=layout.missing, origin=origin, labels=sequences,
    )  # fmt: skip


def _targets(columns: Sequence[np.ndarray]) -> np.ndarray | None:
    if not columns:
        return None
    return columns[0] if len(columns) == 1 else np.stack(columns, axis=1)


def _check_times(
    times: np.ndarray, owner: np.ndarray, sequences: Sequence[str], layout: Layout, origin: str
) -> None:
    apart = np.diff(times)[np.diff(owner) == 0]
    dt_ms = layout.dt_ms or (float(np.median(apart)) if apart.size else 1.0)
    wrong = np.flatnonzero((np.abs(np.diff(times) - dt_ms) > 1e-3 * dt_ms) & (np.diff(owner) == 0))
    if wrong.size or not np.isfinite(times).all():
        at = int(wrong[0]) if wrong.size else int(np.flatnonzero(~np.isfinite(times))[0])
        raise DataError(
            f"rows of sequence {sequences[owner[at]]} in {origin} are not evenly spaced: {times[at]:g} ms is followed by "
            f"{times[min(at + 1, len(times) - 1)]:g} ms; expected steps of {dt_ms:g} ms. Interpolate them first, or "
            "leave data.time "
            "out if rows are steps."
        )
