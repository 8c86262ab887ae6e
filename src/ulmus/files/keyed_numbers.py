"""Files that hold numbers under keys: datasets of HDF5 and NWB, arrays of NPZ, columns of CSV."""

import csv
import re
import warnings
import zipfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ulmus.errors import DataError, closest

FORMATS = {".h5": "hdf5", ".hdf5": "hdf5", ".mat": "hdf5", ".npz": "npz", ".csv": "csv", ".nwb": "nwb"}
Array = np.ndarray[Any, np.dtype[Any]]
Part = int | slice | tuple[int, slice]
_UNITS = {
    **dict.fromkeys(["s", "sec", "second", "seconds"], "s"),
    **dict.fromkeys(["ms", "msec", "millisecond", "milliseconds"], "ms"),
    **dict.fromkeys(["us", "µs", "microsecond", "microseconds"], "us"),
    **dict.fromkeys(["v", "volt", "volts"], "V"),
    **dict.fromkeys(["mv", "millivolt", "millivolts"], "mV"),
    **dict.fromkeys(["uv", "µv", "microvolt", "microvolts"], "uV"),
}


class Entry(NamedTuple):
    """What a key holds."""

    shape: tuple[int, ...]
    dtype: str
    unit: str | None


class Container(ABC):
    """A file whose numbers can be asked for by key, with or without a leading ``/``.

    Attributes:
        path: the file.
        entries: every key, in the order of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[str, Entry] = {}

    @abstractmethod
    def _read(self, key: str, part: Part) -> Any:
        """Part of an array, or a list of arrays."""

    def entry(self, key: str) -> Entry:
        """What a key holds.

        Raises:
            DataError: the file has no such key; names the nearest one.
        """
        found = self.entries.get(key.strip("/"))
        if found is None:
            known = list(self.entries)
            shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
            raise DataError(
                f"{self.path} has no key {key!r}; expected one of {shown}; correct the mapping (`ulmus data inspect` "
                f"lists all keys).{closest(key.strip('/'), known)}"
            )
        return found

    def read(self, key: str, part: Part = slice(None)) -> Array | list[Array]:
        """The numbers under a key, or a list of arrays where it holds lists of different lengths.

        Raises:
            DataError: no such key, damaged, or no numbers.
        """
        self.entry(key)
        try:
            values = self._read(key.strip("/"), part)
        except (OSError, ValueError, IndexError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(
                f"{self.path}: {key} cannot be read ({error}); expected numbers; repair the file"
            ) from error
        for array in values if isinstance(values, list) else [values]:
            if array.dtype.kind not in "iuf":
                raise DataError(
                    f"{self.path}: {key} holds {array.dtype}; expected numbers; name another key in the mapping"
                )
        return values  # type: ignore[no-any-return]


class Hdf5File(Container):
    """Datasets of an HDF5 file; in NWB also ragged columns, and scaled and described time series."""

    def __init__(self, path: Path, nwb: bool = False) -> None:
        import h5py

        super().__init__(path)
        self.nwb = nwb
        self._file = h5py.File(path, "r", locking=False)
        self._file.visititems(self._note)

    def _note(self, name: str, item: Any) -> None:
        import h5py

        if isinstance(item, h5py.Dataset):
            unit = item.attrs.get("unit", item.attrs.get("units"))
            if self.nwb and name.endswith(("/timestamps", "/spike_times", "_time")):
                unit = "s"  # the standard says so
            ragged = isinstance(h5py.check_vlen_dtype(item.dtype), np.dtype)  # not one of text
            self.entries[name] = Entry(item.shape, "lists" if ragged else str(item.dtype), _known_unit(unit))

    def _read(self, key: str, part: Part) -> Any:
        dataset = self._file[key]
        if self.entries[key].dtype == "lists":
            return [np.asarray(values) for values in dataset[()]]
        values = np.asarray(dataset[part if dataset.shape else ()])
        if self.nwb and f"{key}_index" in self.entries:
            return np.split(values, self._file[f"{key}_index"][()].astype(np.int64))[:-1]
        if self.nwb and "conversion" in dataset.attrs:
            values = values * float(dataset.attrs["conversion"]) + float(dataset.attrs.get("offset", 0))
        return values

    def series(self, key: str) -> dict[str, Any]:
        """Settings of a voltage that the time series at a group tells by itself; nothing for a dataset."""
        key = key.strip("/")
        if f"{key}/data" not in self.entries:
            return {}
        if f"{key}/timestamps" in self.entries:
            return {"values": f"{key}/data", "times": f"{key}/timestamps"}
        if f"{key}/starting_time" not in self.entries:
            return {"values": f"{key}/data"}
        start = self._file[f"{key}/starting_time"]
        rate = float(start.attrs.get("rate", 0)) or None
        return {"values": f"{key}/data", "sampling_hz": rate, "start_ms": 1000 * float(start[()])}


class NpzFile(Container):
    """Arrays of an NPZ file, none of which may need pickle."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._arrays: dict[str, Array] = {}
        with np.load(path, allow_pickle=False) as file:
            for name in file.files:
                try:
                    self._arrays[name] = array = file[name]
                    self.entries[name] = Entry(array.shape, str(array.dtype), None)
                except ValueError:  # pickled
                    self.entries[name] = Entry((), "Python objects", None)

    def _read(self, key: str, part: Part) -> Any:
        if key not in self._arrays:
            raise ValueError(
                "holds Python objects, which could run code; save lists of different lengths end to end, with arrays "
                "of the input and the trial of each entry"
            )
        return self._arrays[key][part]


class CsvFiles(Container):
    """Columns of a CSV file by name, or ``file/column`` for all CSV files of a folder."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._columns: dict[str, Array] = {}
        self._places: dict[str, tuple[Path, str, int, int]] = {}
        for file in sorted(path.glob("*.csv")) if path.is_dir() else [path]:
            separator, row, names = _header(file)
            for number, name in enumerate(names):
                key = f"{file.stem}/{name}" if path.is_dir() else name
                self._places[key] = file, separator, row, number
                self.entries[key] = Entry((), "column", _known_unit(*re.findall(r"[(\[](.+)[)\]]$", name)))
        if not self._places:
            raise DataError(
                f"{path} is a folder without .csv files; expected some; give files or a folder of CSV"
            )

    def _read(self, key: str, part: Part) -> Any:
        if key not in self._columns:
            file, separator, row, number = self._places[key]
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "loadtxt: input contained no data")  # a silent trial
                self._columns[key] = np.loadtxt(
                    file, delimiter=separator, skiprows=row, usecols=[number], ndmin=1, quotechar='"'
                )
        return self._columns[key][part]


def open_container(path: Path, form: str | None = None) -> Container:
    """Open a file (or a folder of CSV files) by its format, by default the one of its suffix.

    Raises:
        DataError: no such file, not of that format, or an unknown suffix.
    """
    form = form or ("csv" if path.is_dir() else FORMATS.get(path.suffix.lower()))
    if form is None:
        raise DataError(
            f"{path} has a suffix unlike {', '.join(FORMATS)}; expected one of them; give `format` in the mapping"
        )
    try:
        if form in ("hdf5", "nwb"):
            return Hdf5File(path, nwb=form == "nwb")
        return NpzFile(path) if form == "npz" else CsvFiles(path)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        reason = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
        raise DataError(
            f"{path} {reason}; expected a file of format {form}; check path and format"
        ) from error


def _known_unit(name: Any = None) -> str | None:
    text = name.decode() if isinstance(name, bytes) else name
    return _UNITS.get(text.strip().lower()) if isinstance(text, str) else None


def _header(file: Path) -> tuple[str, int, list[str]]:
    """Separator, number of lines up to the header, and names of the columns."""
    with file.open(encoding="utf-8-sig", newline="") as lines:
        for row, line in enumerate(lines, start=1):
            if not line.strip() or line.startswith("#"):
                continue
            separator = max(",;\t", key=line.count)
            names = [name.strip() for name in next(csv.reader([line], delimiter=separator))]
            if any(re.fullmatch(r"[-+.\d]*(e[-+]?\d+)?", name) for name in names):
                raise DataError(
                    f"{file} begins with {line.strip()!r}; expected names of columns; add that line"
                )
            return separator, row, names
    raise DataError(f"{file} is empty; expected a line with names of columns; add it")
