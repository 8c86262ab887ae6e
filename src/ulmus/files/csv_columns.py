"""Columns of CSV files by name."""

import csv
import gzip
import math
import re
import warnings
from collections import Counter
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from ulmus.errors import DataError
from ulmus.files.keyed_numbers import Array, Container, Entry, Part, unit_in_name
from ulmus.files.limits import check_gzip
from ulmus.files.reading import explained, files_in

CSV = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)
_MISSING = {"", "na", "n/a", "nan", "null", "none", "-"}
_LONGEST_LINE = 1 << 20


class CsvFiles(Container):
    """Columns of a CSV file by name, or ``file/column`` for all CSV files of a folder; columns without a name are left out."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._columns: dict[str, Array] = {}
        self._places: dict[str, tuple[Path, str, int, int]] = {}
        files = csv_files(path) if path.is_dir() else [path]
        for file in files:
            if is_packed(file):
                check_gzip(file)
            separator, row, names = _header(file)
            for number, name in enumerate(names):
                if not name:  # the index of pandas and R, or what follows a separator at the end
                    continue
                key = f"{_table(file)}/{name}" if path.is_dir() else name
                self._places[key] = file, separator, row, number
                self.entries[key] = Entry((), "column", unit_in_name(name))
        if not self._places:
            what = (
                "has no columns with names" if path.is_file() else "is a folder without .csv and .tsv files"
            )
            raise DataError(f"{path} {what}; expected some; give files or a folder of CSV")

    def bytes(self) -> int:
        """Size of the file, or of the files of a folder."""
        return sum(file.stat().st_size for file in {place[0] for place in self._places.values()})

    def table_of(self, key: str) -> str:
        """What the keys of the columns of the same file begin with; a slash may also be of a name, as in ``U/mV``."""
        return key[: key.find("/") + 1] if self.path.is_dir() else ""

    def labels(self, key: str) -> Array:
        """Numbers under a key, or text where they are none."""
        try:
            return np.asarray(self.read(key))
        except DataError:
            with explained(f"{self.path}: {key}"):
                return self._load(key.strip("/"), dtype=str)

    def _read(self, key: str, part: Part) -> Any:
        if key not in self._columns:
            try:
                self._columns[key] = self._load(key)
            except ValueError as error:  # the message of the reader, which says the line
                self._columns[key] = self._with_missing(key, error)
        return self._columns[key][part]

    def _with_missing(self, key: str, error: ValueError) -> Array:
        """Numbers, some of which may be missing: several times slower to read."""
        try:
            return self._load(key, converters=_number)
        except ValueError:
            commas = self._load(key, dtype=str)
            if any(re.fullmatch(r"[-+]?\d+,\d+", text) for text in commas[:100].tolist()):
                raise DataError(
                    f"{self.path}: {key} has decimal commas; expected points; write the table with them, in pandas by decimal='.'"
                ) from error
            raise error from None

    def _load(self, key: str, **settings: Any) -> Array:
        file, separator, row, number = self._places[key]
        with warnings.catch_warnings(), open_table(file) as lines:
            warnings.filterwarnings("ignore", "loadtxt: input contained no data")  # a silent trial
            return np.loadtxt(
                lines,
                delimiter=separator,
                skiprows=row,
                usecols=[number],
                ndmin=1,
                quotechar='"',
                encoding="utf-8-sig",
                **settings,
            )


def _number(text: str) -> float:
    """A number, or NaN for what pandas and R write where there is none."""
    if "_" in text:  # which Python reads over
        raise ValueError(f"could not convert {text!r}")
    return math.nan if text.strip().lower() in _MISSING else float(text)


def csv_files(folder: Path) -> list[Path]:
    """The CSV and TSV files in a folder, in order, of one table the first in the order of `CSV`: others are copies."""
    files = [file for file in files_in(folder, "*") if file.name.lower().endswith(CSV)]
    files.sort(
        key=lambda file: next(place for place, end in enumerate(CSV) if file.name.lower().endswith(end))
    )
    return sorted({_table(file): file for file in reversed(files)}.values())


def is_packed(file: Path) -> bool:
    """Whether a table is packed by gzip, as its name ends."""
    return file.suffix.lower() == ".gz"


def open_table(file: Path) -> TextIO:
    """The text of a table, which may be packed."""
    # Not the lines' ends as Python would have them: a quoted field may hold some.
    opened: Any = gzip.open if is_packed(file) else open
    return opened(file, "rt", encoding="utf-8-sig", newline="")  # type: ignore[no-any-return]


def _table(file: Path) -> str:
    """Name of a table: that of its file, without what says how it is stored."""
    return Path(file.stem).stem if is_packed(file) else file.stem


def _header(file: Path) -> tuple[str, int, list[str]]:
    """Separator, number of lines up to the header, and names of the columns."""
    with open_table(file) as lines:
        row = 0
        while line := lines.readline(_LONGEST_LINE):
            row += 1
            if not line.strip() or line.startswith("#"):
                continue
            first = _next_line(lines).partition("#")[0].strip("\r\n")
            separator = "\t" if ".tsv" in file.name.lower() else max(",;\t", key=line.count)
            if line.count(separator) == 0:  # one name: R leaves out that of the names of rows
                separator = max(",;\t", key=first.count)
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
            return separator, row, _with_names_of_rows(file, names, first, separator)
    raise DataError(f"{file} is empty; expected a line with names of columns; add it")


def _with_names_of_rows(file: Path, names: list[str], first: str, separator: str) -> list[str]:
    """The names, and one before them where rows have a name that R left out of the header."""
    values = next(csv.reader([first], delimiter=separator), [])
    while len(values) > len(names) and not values[-1].strip():  # of a separator at the end
        values.pop()
    if len(values) <= len(names):
        return names
    if len(values) == len(names) + 1 and (first.startswith('"') or not _NUMBER.fullmatch(values[0].strip())):
        return ["", *names]
    raise DataError(
        f"{file} has {len(names)} names of columns and {len(values)} values in its first row; expected a name for each, and "
        "decimal points instead of commas; correct the file"
    )


def _next_line(lines: TextIO) -> str:
    """The first row of numbers, empty where there is none."""
    while line := lines.readline(_LONGEST_LINE):
        if line.strip() and not line.startswith("#"):
            return line
    return ""
