"""Columns of CSV files by name."""

import csv
import re
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from ulmus.errors import DataError
from ulmus.files.keyed_numbers import Array, Container, Entry, Part, known_unit

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)
_LONGEST_LINE = 1 << 20


class CsvFiles(Container):
    """Columns of a CSV file by name, or ``file/column`` for all CSV files of a folder; columns without a name are left out."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._columns: dict[str, Array] = {}
        self._places: dict[str, tuple[Path, str, int, int]] = {}
        for file in csv_files(path) if path.is_dir() else [path]:
            separator, row, names = _header(file)
            for number, name in enumerate(names):
                if not name:  # the index of pandas and R, or what follows a separator at the end
                    continue
                key = f"{file.stem}/{name}" if path.is_dir() else name
                self._places[key] = file, separator, row, number
                self.entries[key] = Entry((), "column", known_unit(*re.findall(r"[(\[](.+)[)\]]$", name)))
        if not self._places:
            what = "has no columns with names" if path.is_file() else "is a folder without .csv files"
            raise DataError(f"{path} {what}; expected some; give files or a folder of CSV")

    def bytes(self) -> int:
        """Size of the file, or of the files of a folder."""
        return sum(file.stat().st_size for file in {place[0] for place in self._places.values()})

    def _read(self, key: str, part: Part) -> Any:
        if key not in self._columns:
            file, separator, row, number = self._places[key]
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "loadtxt: input contained no data")  # a silent trial
                self._columns[key] = np.loadtxt(
                    file,
                    delimiter=separator,
                    skiprows=row,
                    usecols=[number],
                    ndmin=1,
                    quotechar='"',
                    encoding="utf-8-sig",
                )
        return self._columns[key][part]


def csv_files(folder: Path) -> list[Path]:
    """The CSV files in a folder, in order, without those that macOS leaves beside files on other disks."""
    return sorted(file for file in folder.glob("*.csv") if not file.name.startswith("._"))


def _header(file: Path) -> tuple[str, int, list[str]]:
    """Separator, number of lines up to the header, and names of the columns."""
    with file.open(encoding="utf-8-sig", newline="") as lines:
        row = 0
        while line := lines.readline(_LONGEST_LINE):
            row += 1
            if not line.strip() or line.startswith("#"):
                continue
            separator = max(",;\t", key=line.count)
            names = [name.strip() for name in next(csv.reader([line], delimiter=separator))]
            if not any(names) or any(_NUMBER.fullmatch(name) for name in names):
                raise DataError(
                    f"{file} begins with {line.strip()[:60]!r}; expected names of columns; add that line"
                )
            twice = [name for name, count in Counter(filter(None, names)).items() if count > 1]
            if twice:
                raise DataError(
                    f"{file} has {names.count(twice[0])} columns called {twice[0]!r}; expected every name once; rename them"
                )
            return separator, row, names
    raise DataError(f"{file} is empty; expected a line with names of columns; add it")
