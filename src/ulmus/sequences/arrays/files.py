"""Sequences from files: NPZ, HDF5, folders of .npy files (memory-mapped), and tables."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ulmus.errors import DataError, closest
from ulmus.files.containers import open_container
from ulmus.files.reading import explained
from ulmus.sequences.arrays.layout import Layout
from ulmus.sequences.arrays.sequence_set import SequenceSet, joined, sequence_set
from ulmus.sequences.arrays.tables import (
    PARQUET,
    TABLES,
    from_table,
    parquet_columns,
    read_table,
    time_between_rows,
)

_EVENTS = ("event_sequence", "event_time_ms", "event_channel")
LONGEST_MS = 1e10
_LONGEST_PATH = 250
_MOST_SEQUENCES = 10_000_000
_MOST_UNNAMED = 100_000  # channels, of which a single wrong number would otherwise make any number


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
    first = _found(sources[0])[0]
    return time_between_rows(read_table(first), layout, sources[0])


def _found(source: str) -> list[Path]:
    if len(source) > _LONGEST_PATH:
        raise DataError(f"{source[:40]!r}... is no name of a file; expected one. Give texts as a list.")
    path = Path(source).expanduser()
    if path.exists():
        return [path]
    pattern = Path(path.anchor), path.relative_to(path.anchor) if path.anchor else path
    matches = sorted(pattern[0].glob(str(pattern[1])))
    if not matches:
        raise DataError(
            f"{source} does not exist; expected an NPZ, HDF5, CSV or Parquet file, or a folder of .npy files."
        )
    return matches


def _read(path: Path, layout: Layout) -> SequenceSet:
    name = path.name.lower()
    if name.endswith(PARQUET):
        columns = parquet_columns(path)
        if any(_has_lists(cells) for cells in columns.values()):
            return _from_arrays(_row_each(columns), layout, str(path))
    if name.endswith(TABLES):
        return from_table(read_table(path), layout, str(path))
    if path.is_dir():
        return _from_arrays(_npy_folder(path), layout, str(path))
    if path.suffix.lower() not in (".npz", ".h5", ".hdf5", ".npy"):
        raise DataError(
            f"{path} is of a format that is not read; expected .npz, .h5, .csv, .tsv, .parquet or a folder of .npy files. Save "
            "it as one of these, or give the arrays to ulmus.fit."
        )
    if path.suffix.lower() != ".npy":
        return _from_arrays(_Arrays(path), layout, str(path))
    with explained(str(path), "an array of numpy.save", "save it again"):
        return _from_arrays({"values": _mapped(path)}, layout, str(path))


def _row_each(columns: Mapping[str, list[Any]]) -> Mapping[str, Any]:
    """A sequence in every row: columns of lists as a list of arrays, with NaN for what is missing, others as arrays."""

    def filled(cell: Any) -> Any:
        return (
            [np.nan if value is None else filled(value) for value in cell] if isinstance(cell, list) else cell
        )

    return {
        name: [filled(cell) for cell in cells] if _has_lists(cells) else np.asarray(cells)
        for name, cells in columns.items()
    }


def _has_lists(cells: Sequence[Any]) -> bool:
    return any(isinstance(cell, list) for cell in cells)


class _Arrays(Mapping[str, Any]):
    """The arrays of a file, each read when it is asked for; those in groups are called ``group/name``."""

    def __init__(self, path: Path) -> None:
        self._file = open_container(path)
        self._names = list(self._file.entries)

    def __getitem__(self, name: str) -> Any:
        if name not in self._names:
            raise KeyError(name)
        return self._file.read(name, kinds="biufSU")

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _mapped(path: Path) -> Any:
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _npy_folder(path: Path) -> Mapping[str, Any]:
    files = sorted(path.glob("*.npy"))
    if not files:
        raise DataError(
            f"{path} holds no .npy file; expected values.npy, targets.npy and what else is known."
        )
    found = {}
    for file in files:
        with explained(str(file), "an array of numpy.save", "save it again"):
            found[file.stem] = _mapped(file)
    return found


def _from_arrays(arrays: Mapping[str, Any], layout: Layout, origin: str) -> SequenceSet:
    columns = {name: _part(arrays, name, origin) for name in layout.columns_in(arrays)}
    targets = None
    if layout.targets is not None:
        parts = [np.asarray(_part(arrays, name, origin)) for name in layout.targets]
        if len({part.shape for part in parts}) > 1:
            shapes = [list(part.shape) for part in parts]
            raise DataError(
                f"{origin}: {', '.join(layout.targets)} have the shapes {shapes}; expected the same for all targets."
            )
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
        raise DataError(f"{origin} has no {name!r}; expected one of {known[:20]}.{closest(name, known)} Say which with "
                        "data.values, data.targets or data.split_by.")  # fmt: skip
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
    sequence, time_ms, channel = parts = [np.asarray(arrays[name]) for name in _EVENTS]
    amplitude = np.asarray(arrays.get("event_amplitude", np.ones(sequence.shape)), dtype=np.float64)
    if sequence.ndim != 1 or {part.shape for part in (*parts, amplitude)} != {sequence.shape}:
        raise DataError(
            f"{origin}: {', '.join(_EVENTS)} have different lengths; expected an entry of each for every event."
        )
    limits = ((sequence, _MOST_SEQUENCES), (channel, np.inf), (time_ms, LONGEST_MS))
    if not len(sequence) or not all(((part >= 0) & (part < limit)).all() for part, limit in limits):
        raise DataError(f"{origin}: events have times, sequences or channels below 0, not finite or too large, or are none; "
                        f"expected 0 or more, and times below {LONGEST_MS:g} ms.")  # fmt: skip
    if (
        any((part != np.floor(part)).any() for part in (sequence, channel))
        or not np.isfinite(amplitude).all()
    ):
        raise DataError(f"{origin}: events have sequences or channels that are no whole numbers, or amplitudes that are not "
                        "finite; correct them.")  # fmt: skip
    sequence, channel = sequence.astype(np.int64), channel.astype(np.int64)
    count = int(sequence.max()) + 1 if targets is None else len(targets)
    if int(sequence.max()) >= count:
        raise DataError(f"{origin}: an event belongs to sequence {int(sequence.max())}, but there are targets for {count}; "
                        "expected 0 to the number of targets.")  # fmt: skip
    dt_ms = layout.dt_ms or 1.0
    step = np.floor(time_ms / dt_ms).astype(np.int64)
    duration = np.asarray(arrays.get("duration_ms", (step.max() + 1) * dt_ms), dtype=np.float64)
    if duration.shape not in ((), (count,)) or not ((duration > 0) & (duration <= LONGEST_MS)).all():
        raise DataError(f"{origin}: duration_ms has shape {list(duration.shape)} and values up to {duration.max(initial=0):g}; "
                        f"expected one number or {count}, up to {LONGEST_MS:g} ms.")  # fmt: skip
    duration = np.broadcast_to(duration, (count,))
    lengths = np.ceil(duration / dt_ms - 1e-9).astype(np.int64)
    late = np.flatnonzero(step >= lengths[sequence])
    if late.size:
        raise DataError(f"{origin}: an event of sequence {sequence[late[0]]} comes at {time_ms[late[0]]} ms, but it lasts "
                        f"{duration[sequence[late[0]]]:g} ms; correct duration_ms.")  # fmt: skip
    width = len(names) if names else int(channel.max()) + 1
    if not names and width > _MOST_UNNAMED:
        raise DataError(f"{origin}: an event is of channel {width - 1}; expected fewer than {_MOST_UNNAMED}, or the names of all "
                        "as 'channels'.")  # fmt: skip
    if int(channel.max()) >= width:
        raise DataError(f"{origin}: an event is of channel {int(channel.max())}, but there are {width} names; expected "
                        "one for each.")  # fmt: skip
    order = np.lexsort((channel, step, sequence))
    table = np.stack([step, channel, amplitude], axis=1)[order]
    edges = np.cumsum(np.bincount(sequence, minlength=count))[:-1]
    found = {name: np.asarray(column) for name, column in columns.items()}
    channels = tuple(names or (f"channel {number}" for number in range(width)))
    return SequenceSet(
        origin, "events", np.split(table, edges), lengths, channels, targets, found, bool(names)
    )
