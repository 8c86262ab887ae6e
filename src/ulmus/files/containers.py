"""Files of numbers by their format: HDF5 (also MATLAB 7.3) and NWB, NPZ, CSV, Parquet, and ABF and others through Neo."""

from pathlib import Path

from ulmus.errors import DataError
from ulmus.files.csv_columns import CSV, CsvFiles
from ulmus.files.hdf5_numbers import Hdf5File
from ulmus.files.keyed_numbers import Container
from ulmus.files.neo_file import NeoFile
from ulmus.files.npz import NpzFile
from ulmus.files.parquet import ParquetFile
from ulmus.files.reading import explained

FORMATS = {
    ".abf": "neo",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".mat": "hdf5",
    ".npz": "npz",
    ".nwb": "nwb",
    ".parquet": "parquet",
}


def open_container(path: Path, form: str | None = None) -> Container:
    """Open a file (or a folder of CSV files) by its format, by default the one of its suffix.

    Raises:
        DataError: no such file, not of that format, an unknown suffix, or nothing in it.
    """
    if form is None:
        is_csv = path.is_dir() or path.name.lower().endswith(CSV)
        form = "csv" if is_csv else FORMATS.get(path.suffix.lower())
    if form is None:
        raise DataError(
            f"{path} has a suffix unlike {', '.join([*FORMATS, *CSV])}; expected one of them; give `format` in the mapping"
        )
    with explained(str(path), f"a file of format {form}", "check path and format"):
        if form in ("hdf5", "nwb"):
            found: Container = Hdf5File(path, nwb=form == "nwb")
        elif form == "neo":
            found = NeoFile(path)
        elif form == "parquet":
            found = ParquetFile(path)
        else:
            found = NpzFile(path) if form == "npz" else CsvFiles(path)
    if not found.entries:
        raise DataError(f"{path} holds nothing; expected numbers under keys; check the file")
    return found
