"""Sequences from files: NPZ, HDF5, folders of .npy files (memory-mapped), and tables in CSV, long or wide."""

import csv
import gzip
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np

from ulmus.errors import DataError, closest
from ulmus.sequences.arrays.sequence_set import Input, SequenceSet, joined, sequence_set

_EVENTS = ("event_sequence", "event_time_ms", "event_channel")
_TABLES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")


@dataclass(frozen=True)
class Layout:
    """What the parts of a file are called.

    Attributes:
        values: The array of values; or the columns of a table that hold them, by default all others.
        targets: The array of targets; or the columns of a table. None where the input is its own target.
        sequence: Column of a long table that says to which sequence a row belongs; a table without it is wide.
        time: Column of a long table with the time of every row in ms.
        columns: What else is read of every sequence, such as the subject.
        input: ``numbers``, ``tokens``, ``characters`` or ``events``, where values do not say it.
        missing: Whether missing values are refused.
        step_targets: Whether every step has a target, else every sequence.
        dt_ms: Duration of a step; 1 by default, or as the times of a table are apart.
    """

    values: tuple[str, ...] = ()
    targets: tuple[str, ...] | None = ("targets",)
    sequence: str = "sequence"
    time: str | None = None
    columns: tuple[str, ...] = ()
    input: Input | None = None
    missing: Literal["refuse", "mask"] = "refuse"
    step_targets: bool = False
    dt_ms: float | None = None


def read_sequences(sources: Sequence[str], layout: Layout) -> SequenceSet:
    """All sequences of some files, in the order of the files.

    Args:
        sources: Paths, or patterns such as ``"subject_*.npz"``.
        layout: What their parts are called.

    Raises:
        DataError: a file is missing, of a format that is not read, damaged, or without a part.
    """
    paths = [path for source in sources for path in _found(source)]
    return joined([_read(path, layout) for path in paths], ", ".join(map(str, sources)))


def step_ms(sources: Sequence[str], layout: Layout) -> float:
    """Duration of a step: as the layout says, else as the times of a table are apart, else 1 ms."""
    if layout.dt_ms is not None or layout.time is None:
        return 1.0 if layout.dt_ms is None else layout.dt_ms
    table = _table(_found(sources[0])[0])
    times = _numbers(table, layout.time, sources[0])
    sequence = table.get(layout.sequence, [""] * len(times))
    steps = [
        after - before
        for before, after, one, other in zip(times, times[1:], sequence, sequence[1:], strict=False)
        if one == other
    ]
    return float(np.median(steps)) if steps else 1.0


def _found(source: str) -> list[Path]:
    path = Path(source).expanduser()
    if path.exists():
        return [path]
    pattern = Path(path.anchor), path.relative_to(path.anchor) if path.anchor else path
    matches = sorted(pattern[0].glob(str(pattern[1])))
    if not matches:
        raise DataError(
            f"{source} does not exist; expected an NPZ, HDF5 or CSV file, or a folder of .npy files."
        )
    return matches


def _read(path: Path, layout: Layout) -> SequenceSet:
    name = path.name.lower()
    if name.endswith(_TABLES):
        return _from_table(_table(path), layout, str(path))
    readers: dict[str, Callable[[Path], Mapping[str, Any]]] = {
        ".npz": _npz, ".h5": _hdf5, ".hdf5": _hdf5, ".npy": _lone_array,
    }  # fmt: skip
    if path.is_dir():
        return _from_arrays(_npy_folder(path), layout, str(path))
    reader = readers.get(path.suffix.lower())
    if reader is None:
        instead = (
            "; save it as CSV or NPZ first, or give the arrays to ulmus.fit"
            if path.suffix == ".parquet"
            else ""
        )
        raise DataError(
            f"{path} is of a format that is not read; expected .npz, .h5, .csv, .tsv or a folder of .npy files{instead}."
        )
    try:
        return _from_arrays(reader(path), layout, str(path))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        if "allow_pickle" in str(error) or "Object arrays" in str(error):
            raise DataError(
                f"{path} holds Python objects, which are not loaded (arrays of unequal length are saved so); save all sequences "
                "behind each other with np.concatenate, and the number of steps of each as 'lengths'."
            ) from error
        raise DataError(
            f"{path} cannot be read ({error}); it is damaged or no such file. Save it again."
        ) from error


def _npz(path: Path) -> Mapping[str, Any]:
    if not zipfile.is_zipfile(path):
        raise ValueError("it is no ZIP archive")
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _hdf5(path: Path) -> Mapping[str, Any]:
    with h5py.File(path) as file:
        return {
            name: part.asstr()[()] if h5py.check_string_dtype(part.dtype) else part[()]
            for name, part in file.items()
            if isinstance(part, h5py.Dataset)
        }


def _lone_array(path: Path) -> Mapping[str, Any]:
    return {"values": np.load(path, mmap_mode="r", allow_pickle=False)}


def _npy_folder(path: Path) -> Mapping[str, Any]:
    files = sorted(path.glob("*.npy"))
    if not files:
        raise DataError(
            f"{path} holds no .npy file; expected values.npy, targets.npy and what else is known."
        )
    return {file.stem: np.load(file, mmap_mode="r", allow_pickle=False) for file in files}


def _from_arrays(arrays: Mapping[str, Any], layout: Layout, origin: str) -> SequenceSet:
    columns = {name: _part(arrays, name, origin) for name in layout.columns}
    targets = None
    if layout.targets is not None:
        parts = [np.asarray(_part(arrays, name, origin)) for name in layout.targets]
        targets = parts[0] if len(parts) == 1 else np.stack(parts, axis=-1)
    names = [str(name) for name in np.asarray(arrays["channels"]).tolist()] if "channels" in arrays else None
    if all(name in arrays for name in _EVENTS):
        return _from_events(arrays, targets, names, columns, layout, origin)
    values = _part(arrays, layout.values[0] if layout.values else "values", origin)
    return sequence_set(
        values, targets, arrays.get("lengths"), mask=arrays.get("mask"), input=layout.input, channels=names, columns=columns,
        missing=layout.missing, origin=origin,
    )  # fmt: skip


def _part(arrays: Mapping[str, Any], name: str, origin: str) -> Any:
    if name not in arrays:
        known = sorted(arrays)
        raise DataError(f"{origin} has no {name!r}; expected one of {known}.{closest(name, known)} Say which with data.values, "
                        "data.targets or data.split_by.")  # fmt: skip
    return arrays[name]


def _from_events(
    arrays: Mapping[str, Any],
    targets: Any,
    names: Sequence[str] | None,
    columns: Mapping[str, Any],
    layout: Layout,
    origin: str,
) -> SequenceSet:
    """Events in steps: event ``k`` falls into step ``floor(time / dt)`` of its sequence."""
    sequence, time_ms, channel = (np.asarray(arrays[name]) for name in _EVENTS)
    amplitude = np.asarray(arrays.get("event_amplitude", np.ones(len(sequence))), dtype=np.float64)
    if not len(sequence) == len(time_ms) == len(channel) == len(amplitude):
        raise DataError(
            f"{origin}: {', '.join(_EVENTS)} have different lengths; expected an entry of each for every event."
        )
    if (
        len(sequence) == 0
        or not np.isfinite(time_ms).all()
        or time_ms.min() < 0
        or min(sequence.min(), channel.min()) < 0
    ):
        raise DataError(f"{origin}: events have times, sequences or channels below 0 or not finite, or there are none; expected "
                        "0 or more.")  # fmt: skip
    count = int(sequence.max()) + 1 if targets is None else len(targets)
    if int(sequence.max()) >= count:
        raise DataError(f"{origin}: an event belongs to sequence {int(sequence.max())}, but there are targets for {count}; "
                        "expected 0 to the number of targets.")  # fmt: skip
    dt_ms = layout.dt_ms or 1.0
    step = np.floor(time_ms / dt_ms).astype(np.int64)
    duration = np.broadcast_to(
        np.asarray(arrays.get("duration_ms", (step.max() + 1) * dt_ms), dtype=np.float64), (count,)
    )
    lengths = np.ceil(duration / dt_ms - 1e-9).astype(np.int64)
    late = np.flatnonzero(step >= lengths[sequence])
    if late.size:
        raise DataError(f"{origin}: an event of sequence {sequence[late[0]]} comes at {time_ms[late[0]]} ms, but it lasts "
                        f"{duration[sequence[late[0]]]:g} ms; correct duration_ms.")  # fmt: skip
    width = len(names) if names else int(channel.max()) + 1
    if int(channel.max()) >= width:
        raise DataError(f"{origin}: an event is of channel {int(channel.max())}, but there are {width} names; expected "
                        "one for each.")  # fmt: skip
    order = np.lexsort((channel, step, sequence))
    table = np.stack([step, channel, amplitude], axis=1)[order]
    edges = np.cumsum(np.bincount(sequence, minlength=count))[:-1]
    found = {name: np.asarray(column) for name, column in columns.items()}
    channels = tuple(names or (f"channel {number}" for number in range(width)))
    return SequenceSet(origin, "events", np.split(table, edges), lengths, channels, targets, found)


def _table(path: Path) -> dict[str, list[str]]:
    """Columns of a table by name, as texts."""
    opened = gzip.open if path.name.endswith(".gz") else open
    delimiter = "\t" if ".tsv" in path.name else ","
    try:
        with opened(path, "rt", newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file, delimiter=delimiter)
            heads = next(rows, [])
            lines = [row for row in rows if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path} cannot be read as a table ({error}); expected UTF-8 text with a line of names."
        ) from error
    if not lines or len(set(heads)) < len(heads):
        raise DataError(
            f"{path} has {len(lines)} rows and columns {heads[:8]}; expected rows under names that differ."
        )
    short = next((number for number, row in enumerate(lines, 2) if len(row) != len(heads)), None)
    if short is not None:
        raise DataError(
            f"line {short} of {path} has {len(lines[short - 2])} cells; expected {len(heads)} like the first line."
        )
    return dict(zip(heads, map(list, zip(*lines, strict=True)), strict=True))


def _numbers(table: Mapping[str, list[str]], name: str, origin: str) -> np.ndarray:
    """A column as numbers, an empty cell as NaN."""
    cells = _cells(table, name, origin)
    try:
        return np.array([float(cell) if cell.strip() else np.nan for cell in cells])
    except ValueError:
        row = next(k for k, cell in enumerate(cells) if cell.strip() and not _is_number(cell))
        raise DataError(
            f"column {name!r} of {origin} is {cells[row]!r} in line {row + 2}; expected a number. Name the columns that hold "
            "values with data.values, and those that hold targets with data.targets."
        ) from None


def _cells(table: Mapping[str, list[str]], name: str, origin: str) -> list[str]:
    if name not in table:
        known = list(table)
        raise DataError(
            f"{origin} has no column {name!r}; expected one of {known[:20]}.{closest(name, known)}"
        )
    return table[name]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _typed(cells: Sequence[str]) -> np.ndarray:
    """Cells as whole numbers, numbers, or texts, whichever they all are."""
    for kind in (int, float):
        try:
            return np.array([kind(cell) if cell.strip() or kind is int else np.nan for cell in cells])
        except ValueError:
            continue
    return np.array(cells)


def _from_table(table: dict[str, list[str]], layout: Layout, origin: str) -> SequenceSet:
    known = (*(layout.targets or ()), *layout.columns, *((layout.time,) if layout.time else ()))
    for name in known:
        _cells(table, name, origin)
    names = layout.values or tuple(name for name in table if name not in (*known, layout.sequence))
    if layout.sequence in table:
        return _from_long(table, names, layout, origin)
    targets = _targets([_typed(table[name]) for name in layout.targets or ()])
    columns = {name: _typed(table[name]) for name in layout.columns}
    if layout.input == "characters":
        texts = _cells(table, names[0], origin)
        return sequence_set(list(texts), targets, columns=columns, input="characters", origin=origin)
    parts = [re.fullmatch(r"(.+)_(\d+)", name) for name in names]
    channels = list(dict.fromkeys(part[1] for part in parts if part)) if all(parts) else ["value"]
    numbers = np.stack([_numbers(table, name, origin) for name in names], axis=1)
    if len(names) % len(channels):
        raise DataError(
            f"{origin} has {len(names)} columns for channels {channels}; expected as many steps of each."
        )
    if len(channels) > 1:  # NAME_STEP in any order
        place = {part[0]: (channels.index(part[1]), int(part[2])) for part in parts if part}
        numbers = numbers[:, sorted(range(len(names)), key=lambda k: place[names[k]])]
    values = numbers.reshape(len(numbers), len(channels), -1).transpose(0, 2, 1)
    if layout.input == "tokens":
        return sequence_set(numbers.astype(np.int64), targets, columns=columns, input="tokens", origin=origin)
    return sequence_set(
        values,
        targets,
        channels=channels,
        columns=columns,
        input=layout.input,
        missing=layout.missing,
        origin=origin,
    )


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
        for name in (*(layout.targets or ()), *layout.columns)
    }

    def one_each(name: str) -> np.ndarray:
        for key, part in zip(sequences, each[name], strict=True):
            if len(np.unique(part)) > 1:
                raise DataError(
                    f"{name!r} of sequence {key} in {origin} changes from {part[0]} to {part[part != part[0]][0]}; expected one "
                    "value for a sequence. For targets of every step choose a task such as step-classification."
                )
        return np.array([part[0] for part in each[name]])

    columns = {name: one_each(name) for name in layout.columns}
    if layout.step_targets and layout.targets:
        parts = [each[name] for name in layout.targets]
        targets: Any = (
            parts[0] if len(parts) == 1 else [np.stack(step, axis=1) for step in zip(*parts, strict=True)]
        )
    else:
        targets = _targets([one_each(name) for name in layout.targets or ()])
    if layout.input == "tokens":
        values = [part[:, 0].astype(np.int64) for part in values]
    return sequence_set(
        values, targets, channels=None if layout.input == "tokens" else names, columns=columns, input=layout.input,
        missing=layout.missing, origin=origin,
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
