"""Data sets of HDF5 and NWB files as numbers by key."""

from pathlib import Path
from typing import Any

import numpy as np

from ulmus.errors import DataError
from ulmus.files.hdf5 import Hdf5
from ulmus.files.keyed_numbers import Container, Entry, Part, known_unit
from ulmus.files.reading import explained


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
