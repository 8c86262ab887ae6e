"""Tables of several trials below each other, as one table for each."""

from typing import Any

import numpy as np

from ulmus.errors import DataError, closest
from ulmus.files.keyed_numbers import Array, Container, Entry, Part


class SplitTables(Container):
    """A file whose tables have a column that names the trial of every row.

    A column ``v`` beside it becomes ``3/v``, a column ``soma/v`` becomes ``soma/3/v``. What lies beside no such column keeps its
    key. A trial without rows in one of the tables has empty columns there.

    Args:
        file: what holds the tables; columns beside each other have the same length and the same key up to their last part.
        column: last part of the key of the column.

    Raises:
        DataError: no such column, or it names no trials.
    """

    def __init__(self, file: Container, column: str) -> None:
        super().__init__(file.path)
        self._file = file
        self._whole: dict[str, Any] = {}
        self._rows: dict[str, tuple[str, Array]] = {}
        self.entries = {key: entry for key, entry in file.entries.items() if _last(key) != column}
        marks = {key: self._mark(key) for key in file.entries if _last(key) == column}
        if not marks:
            known = list(dict.fromkeys(map(_last, file.entries)))
            raise DataError(
                f"{file.path} has no column {column!r} to name the trial of each row; expected one of {', '.join(known)[:200]}; "
                f"correct `trial_column` in the mapping.{closest(column, known)}"
            )
        trials = np.unique(np.concatenate(list(marks.values())))
        longest = max(map(len, marks.values()))
        if 2 * len(trials) > longest:
            raise DataError(
                f"{file.path}: {column} names {len(trials)} trials in {longest} rows; expected many rows of each; correct "
                "`trial_column` in the mapping"
            )
        for key, mark in marks.items():
            order = np.argsort(mark, kind="stable")
            edges = np.searchsorted(mark[order], trials).tolist()
            for other in self._beside(key, len(mark)):
                _, dtype, unit = self.entries.pop(other)
                for trial, start, stop in zip(trials, edges, [*edges[1:], len(mark)], strict=True):
                    name = f"{other.removesuffix(_last(other))}{trial}/{_last(other)}"
                    self.entries[name] = Entry((stop - start,), dtype, unit)
                    self._rows[name] = other, order[start:stop]

    def bytes(self) -> int:
        """Size of the file, or of the files of a folder."""
        return self._file.bytes()

    def series(self, key: str) -> dict[str, Any]:
        """What the file tells by itself of a trace that is no column of these tables."""
        return self._file.series(key)

    def _mark(self, key: str) -> Array:
        """The trial of every row."""
        values = self._file.read(key)
        if isinstance(values, list) or values.ndim != 1:
            raise DataError(
                f"{self.path}: {key} is no column; expected the trial of every row; correct `trial_column` in the mapping"
            )
        wrong = np.flatnonzero(~((np.abs(values) < 2**31) & (values == np.floor(values))))
        if wrong.size:
            raise DataError(
                f"{self.path}: {key} holds {values[wrong[0]]} in row {wrong[0]}; expected whole numbers of trials; "
                "number them, or correct `trial_column` in the mapping"
            )
        return values.astype(np.int64)

    def _beside(self, key: str, rows: int) -> list[str]:
        """The columns of a table; arrays of another length at the same place are not of it."""
        folder = key.removesuffix(_last(key))
        return [
            other
            for other, entry in self.entries.items()
            if other.removesuffix(_last(other)) == folder
            and (entry.dtype == "column" or entry.shape == (rows,))
        ]

    def _read(self, key: str, part: Part) -> Any:
        if key not in self._rows:
            return self._file.read(key, part)
        other, rows = self._rows[key]
        if other not in self._whole:
            self._whole[other] = self._file.read(other)
        return self._whole[other][rows[part]]


def _last(key: str) -> str:
    return key.rpartition("/")[2]
