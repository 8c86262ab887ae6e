"""Columns of Parquet files by name, as pandas and Polars write them."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from ulmus.errors import DataError, extra
from ulmus.files.keyed_numbers import Container, Entry, Part, unit_in_name
from ulmus.files.limits import check_unpacked

_INDEX = re.compile(r"__index_level_\d+__")
"""Column in which pandas keeps the numbers of rows."""


class ParquetFile(Container):
    """Columns of a Parquet file; a column whose cells are lists holds an array for each row.

    Raises:
        MissingPackageError: pyarrow is not installed.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with extra("parquet", "reading Parquet files"):
            from pyarrow import parquet
        if path.is_dir():
            raise DataError(f"{path} is a folder; expected a file of Parquet; name the files in it")
        with parquet.ParquetFile(path) as file:
            rows = file.metadata.num_rows
            for field in file.schema_arrow:
                if not _INDEX.fullmatch(field.name):
                    self.entries[field.name] = Entry((rows,), str(field.type), unit_in_name(field.name))
        check_unpacked(8 * rows * len(self.entries), path.stat().st_size, str(path))

    def table_of(self, key: str) -> str:
        """Nothing: all columns are of one table; a slash may be of a name, as in ``U/mV``."""
        return ""

    def _read(self, key: str, part: Part) -> Any:
        from pyarrow import parquet, types

        with parquet.ParquetFile(self.path) as file:
            column = file.read([key]).column(key)
        if types.is_list(column.type) or types.is_large_list(column.type):
            rows = [np.array([] if cell is None else cell) for cell in column.to_pylist()]
            return rows[part] if isinstance(part, slice) else rows
        if types.is_integer(column.type) or types.is_floating(column.type):
            return column.to_numpy()[part]  # NaN where there is no number
        return np.array(["" if cell is None else str(cell) for cell in column.to_pylist()], dtype=str)[part]
