"""Tables of several trials below each other, as one table for each."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ulmus.errors import DataError, closest
from ulmus.files.keyed_numbers import Array, Container, Entry, Part
from ulmus.files.reading import explained

_MOST_TRIALS = 100_000
_NO_ROWS = np.empty(0, dtype=np.int64)


class SplitTables(Container):
    """A file whose tables have columns that name the trial of every row.

    A column ``v`` beside them becomes ``3/v``, a column ``soma/v`` becomes ``soma/3/v``; with two columns that name trials,
    ``cell2_3/v``. What lies beside no such columns keeps its key. A trial without rows in a table has empty columns there.

    Args:
        file: what holds the tables; the columns of one have the same length, and the same key up to their name.
        columns: names of the columns, which hold whole numbers or text.

    Raises:
        DataError: no table has these columns, or they name no trials.
    """

    def __init__(self, file: Container, columns: Sequence[str]) -> None:
        super().__init__(file.path)
        self._file = file
        self._whole: dict[str, Any] = {}
        self._rows: dict[str, dict[str, Array]] = {}
        self.entries = dict(file.entries)
        tables = dict.fromkeys(file.table_of(key) for key in file.entries)
        for table in tables:
            if all(f"{table}{column}" in file.entries for column in columns):
                self._split(table, columns)
        if not self._rows:
            known = list(dict.fromkeys(key.removeprefix(file.table_of(key)) for key in file.entries))
            wrong = next((column for column in columns if column not in known), columns[0])
            raise DataError(
                f"{file.path} has no table with the column {' and '.join(map(repr, columns))} to name the trial of each row; "
                f"expected some of {', '.join(known)[:200]}; correct `trial_column` in the mapping.{closest(wrong, known)}"
            )

    def _split(self, table: str, columns: Sequence[str]) -> None:
        labels, codes = zip(*(self._labels(f"{table}{column}") for column in columns), strict=True)
        rows = len(codes[0])
        found, code = np.unique(np.stack(codes, axis=1), axis=0, return_inverse=True)
        if len(found) > _MOST_TRIALS:
            raise DataError(
                f"{self.path}: {table}{', '.join(columns)} names {len(found):,} trials in {rows:,} rows; expected at most "
                f"{_MOST_TRIALS:,}; correct `trial_column` in the mapping"
            )
        names = ["_".join(label[number] for label, number in zip(labels, row, strict=True)) for row in found]
        if len(set(names)) < len(names):
            raise DataError(
                f"{self.path}: of {', '.join(columns)} two trials have the same name, such as "
                f"{max(names, key=names.count)!r}; expected other names; give them without _ where columns are joined"
            )
        order = np.argsort(code.ravel(), kind="stable")
        ends = np.cumsum(np.bincount(code.ravel(), minlength=len(names)))
        self._rows[table] = {
            name: order[stop - count : stop]
            for name, stop, count in zip(names, ends, np.diff(ends, prepend=0), strict=True)
        }
        for key in [key for key in self.entries if self._file.table_of(key) == table]:
            shape, dtype, unit = self.entries[key]
            if dtype == "column" or (max(shape, default=0) == rows == np.prod(shape)):
                del self.entries[key]
                if key.removeprefix(table) not in columns:
                    self.entries |= {
                        f"{table}{name}/{key.removeprefix(table)}": Entry((len(part),), dtype, unit)
                        for name, part in self._rows[table].items()
                    }

    def _labels(self, key: str) -> tuple[list[str], Array]:
        """Names of trials, and which of them every row has."""
        values = self._file.labels(key)
        if isinstance(values, list) or values.size != max(values.shape, default=0):
            raise DataError(
                f"{self.path}: {key} is no column; expected the trial of every row; correct `trial_column` in the mapping"
            )
        values = values.ravel()
        numbers = values.dtype.kind in "iuf"
        if numbers:
            wrong = ~((np.abs(values) < 2**53) & (values == np.floor(values)))
        else:
            with explained(f"{self.path}: {key}", "text in UTF-8"):
                text = np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values.astype(str)
            values = np.char.strip(text)
            wrong = (values == "") | (np.char.find(values, "/") >= 0) | (np.char.find(values, "{") >= 0)
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            raise DataError(
                f"{self.path}: {key} holds {values[at].item()!r} in row {at}; expected the trial of every row, a whole number or "
                "a name without / and {; correct the file, or `trial_column` in the mapping"
            )
        found, code = np.unique(values.astype(np.int64) if numbers else values, return_inverse=True)
        return [str(value) for value in found.tolist()], code

    @property
    def names(self) -> dict[str, list[str]]:
        """Trials of every table."""
        return {table: list(rows) for table, rows in self._rows.items()}

    def bytes(self) -> int:
        """Size of the file, or of the files of a folder."""
        return self._file.bytes()

    def series(self, key: str) -> dict[str, Any]:
        """What the file tells by itself of a trace that is no column of these tables."""
        return self._file.series(key)

    def scattered(self, key: str) -> bool:
        """Whether rows of other trials lie between those of a column."""
        place = self._place(key)
        return place is not None and bool((np.diff(place[1]) != 1).any())

    def entry(self, key: str) -> Entry:
        """What a key holds; nothing, of a trial without rows in a table.

        Raises:
            DataError: the file has no such key; names the nearest one.
        """
        place = self._place(key)
        if place is not None:
            _, dtype, unit = self._file.entry(place[0])
            return Entry((len(place[1]),), dtype, unit)
        known = key.strip("/")
        whole = known.replace("{trial}/", "", 1)
        if whole != known and whole in self.entries and (rows := self._rows.get(self._file.table_of(whole))):
            count = sum(map(len, rows.values()))
            raise DataError(
                f"{self.path}: {whole} has the shape {self.entries[whole].shape}, and {count} rows name a trial; expected as "
                "many; correct the file, or the mapping"
            )
        if known in self._file.entries and known not in self.entries:
            table = self._file.table_of(known)
            raise DataError(
                f"{self.path}: {key} is of all trials, which `trial_column` tells apart; expected "
                f"'{table}{{trial}}/{known.removeprefix(table)}'; write that in the mapping"
            )
        return super().entry(key)

    def _place(self, key: str) -> tuple[str, Array] | None:
        """The column that a key is a part of, and its rows."""
        known = key.strip("/")
        for table, rows in self._rows.items():
            name, _, column = known.removeprefix(table).partition("/")
            whole = f"{table}{column}"
            split = whole in self._file.entries and whole not in self.entries
            if split and known.startswith(table) and "{" not in name:
                return whole, rows.get(name, _NO_ROWS)
        return None

    def _read(self, key: str, part: Part) -> Any:
        place = self._place(key)
        if place is None:
            return self._file.read(key, part)
        whole, rows = place
        if whole not in self._whole:
            self._whole[whole] = np.ravel(self._file.read(whole))
        return self._whole[whole][rows[part]]
