"""Files that hold numbers under keys: datasets of HDF5 and NWB, arrays of NPZ, columns of CSV."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ulmus.errors import DataError, closest
from ulmus.files.hdf5 import Hdf5, explained

FORMATS = {".h5": "hdf5", ".hdf5": "hdf5", ".mat": "hdf5", ".npz": "npz", ".csv": "csv", ".nwb": "nwb"}
Array = np.ndarray[Any, np.dtype[Any]]
Part = slice | tuple[int, slice] | tuple[slice, int]
ALL = slice(None)
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

    def bytes(self) -> int:
        """Size of the file, or of the files of a folder."""
        return self.path.stat().st_size

    def entry(self, key: str) -> Entry:
        """What a key holds.

        Raises:
            DataError: the file has no such key; names the nearest one.
        """
        found = self.entries.get(key.strip("/"))
        if found is None:
            known = list(self.entries)
            shown = ", ".join(known[:8]) + (", ..." if len(known) > 8 else "")
            raise DataError(
                f"{self.path} has no key {key!r}; expected one of {shown[:200]}; correct the mapping (`ulmus data inspect` "
                f"lists all keys).{closest(key.strip('/'), known)}"
            )
        return found

    def read(self, key: str, part: Part = ALL) -> Array | list[Array]:
        """The numbers under a key, or a list of arrays where it holds lists of different lengths.

        Raises:
            DataError: no such key, damaged, or no numbers.
        """
        self.entry(key)
        with explained(f"{self.path}: {key}", "numbers", "repair the file"):
            values = self._read(key.strip("/"), part)
            for array in values if isinstance(values, list) else [values]:
                if array.dtype.kind not in "iuf":
                    raise DataError(
                        f"{self.path}: {key} holds {array.dtype}; expected numbers; name another key in the mapping"
                    )
        return values  # type: ignore[no-any-return]


class Hdf5File(Container):
    """Datasets of an HDF5 file; in NWB also ragged columns, and scaled and described time series."""

    def __init__(self, path: Path, nwb: bool = False) -> None:
        super().__init__(path)
        self.nwb = nwb
        self._file = Hdf5(path)
        for key, found in self._file.walk():
            self.entries[key] = self._entry(key, found)

    def _entry(self, key: str, dataset: Any) -> Entry:
        import h5py

        try:
            if isinstance(dataset, DataError):
                raise dataset
            with explained(f"{self.path}: {key}"):
                ragged = isinstance(h5py.check_vlen_dtype(dataset.dtype), np.dtype)  # not one of text
                empty = dataset.attrs.get("MATLAB_empty")
                shape = self._file.values(dataset).shape if empty else dataset.shape
                return Entry(shape or (), "lists" if ragged else str(dataset.dtype), self._unit(key, dataset))
        except DataError as error:
            return Entry((), f"unreadable: {error}", None)

    def _unit(self, key: str, dataset: Any) -> str | None:
        if self.nwb and key.endswith(("/timestamps", "/spike_times", "_time")):
            return "s"  # the standard says so
        return known_unit(dataset.attrs.get("unit", dataset.attrs.get("units")))

    def _read(self, key: str, part: Part) -> Any:
        dataset = self._file.dataset(key)
        values = self._file.values(dataset, part if dataset.shape else ())
        if self.nwb and f"{key}_index" in self.entries:
            index = np.asarray(self._file.values(self._file.dataset(f"{key}_index"))).astype(np.int64)
            if (np.diff(index, prepend=0) < 0).any() or (index.size and index[-1] > len(values)):
                raise DataError(
                    f"{self.path}: {key}_index does not fit {key}; expected ascending ends; repair it"
                )
            return np.split(values, index)[:-1]
        if self.nwb and "conversion" in dataset.attrs:
            values = values * float(dataset.attrs["conversion"]) + float(dataset.attrs.get("offset", 0))
        return values

    def series(self, key: str) -> dict[str, Any]:
        """Settings of a voltage that the time series at a group tells by itself; nothing for a dataset.

        Raises:
            DataError: the time series is damaged.
        """
        key = key.strip("/")
        if f"{key}/data" not in self.entries:
            return {}
        if f"{key}/timestamps" in self.entries:
            return {"values": f"{key}/data", "times": f"{key}/timestamps"}
        if f"{key}/starting_time" not in self.entries:
            return {"values": f"{key}/data"}
        with explained(f"{self.path}: {key}/starting_time"):
            start = self._file.dataset(f"{key}/starting_time")
            rate, first = float(start.attrs.get("rate", 0)), float(start[()])
        if not (np.isfinite([rate, first]).all() and rate >= 0):
            raise DataError(
                f"{self.path}: {key} begins at {first:g} s with {rate:g} samples a second; expected finite numbers; repair it"
            )
        return {"values": f"{key}/data", "sampling_hz": rate or None, "start_ms": 1000 * first}


def open_container(path: Path, form: str | None = None) -> Container:
    """Open a file (or a folder of CSV files) by its format, by default the one of its suffix.

    Raises:
        DataError: no such file, not of that format, an unknown suffix, or nothing in it.
    """
    from ulmus.files.csv_columns import CsvFiles
    from ulmus.files.npz import NpzFile

    form = form or ("csv" if path.is_dir() else FORMATS.get(path.suffix.lower()))
    if form is None:
        raise DataError(
            f"{path} has a suffix unlike {', '.join(FORMATS)}; expected one of them; give `format` in the mapping"
        )
    with explained(str(path), f"a file of format {form}", "check path and format"):
        if form in ("hdf5", "nwb"):
            found: Container = Hdf5File(path, nwb=form == "nwb")
        else:
            found = NpzFile(path) if form == "npz" else CsvFiles(path)
    if not found.entries:
        raise DataError(f"{path} holds nothing; expected numbers under keys; check the file")
    return found


def known_unit(name: Any = None) -> str | None:
    """A unit by any of its names; None for another one."""
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else name
    return _UNITS.get(text.strip().lower()) if isinstance(text, str) else None
