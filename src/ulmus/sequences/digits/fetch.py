"""Get the Spiking Heidelberg Digits or Speech Commands: over the network, or from files that are at hand."""

import gzip
import hashlib
import zipfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from ulmus.errors import DataError
from ulmus.files.download import download
from ulmus.files.lock import only_one
from ulmus.files.reading import read_json, sha256_of_file
from ulmus.files.unpacking import Unpacking
from ulmus.files.writing import PARTIAL, write_file, write_json
from ulmus.sequences.digits.shd import SpikeFile

MIRRORS = ("https://zenkelab.org/datasets", "https://compneuro.net/datasets")
"""Where the files are published (CC BY 4.0, Cramer, Stradmann, Schemmel & Zenke); tried in this order."""
ARCHIVES = {
    "shd": {
        "shd_train.h5": "f3252aeb598ac776c1b526422d90eecb",
        "shd_test.h5": "1503a5064faa34311c398fb0a1ed0a6f",
    },
    "ssc": {
        "ssc_train.h5": "d102be95e7144fcc0553d1f45ba94170",
        "ssc_valid.h5": "b4eee3516a4a90dd0c71a6ac23a8ae43",
        "ssc_test.h5": "a35ff1e9cffdd02a20eb850c17c37748",
    },
}
"""Files of each data set, and the MD5 of the published ``.zip`` around each."""

_CHECKSUMS = "checksums.json"
_SUFFIXES = ("", ".zip", ".gz")

Report = Callable[[str, int, int], None]


def fetch_shd(
    folder: str | Path,
    from_folder: str | Path | None = None,
    *,
    dataset: Literal["shd", "ssc"] = "shd",
    mirrors: Sequence[str] = MIRRORS,
    on_bytes: Report | None = None,
) -> list[Path]:
    """Put the files of a data set into a folder, checked; what is there and right is left alone.

    An interrupted download goes on where it was. Archives must have the published MD5, every file must be of the
    published layout, and the SHA-256 of what was written is kept in ``checksums.json`` and compared the next time.

    Args:
        folder: where the ``.h5`` files go, made if absent.
        from_folder: take ``.h5``, ``.h5.zip`` or ``.h5.gz`` files from here, and nothing from the network.
        dataset: ``shd``, spoken digits, or ``ssc``, spoken commands.
        mirrors: addresses of the folders to download from, tried one after the other.
        on_bytes: called with (file name, bytes done, bytes in total, 0 while unknown).

    Returns:
        The files, training first.

    Raises:
        ConfigError: another process is fetching into the folder.
        DataError: no mirror answers, a checksum is wrong, or files are missing or damaged; says which and why.
    """
    folder = Path(folder).expanduser()
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is a file; expected a folder for the data set; give another path")
    with only_one(folder, "fetched into"):
        folder.mkdir(parents=True, exist_ok=True)
        report = on_bytes or (lambda name, done, total: None)
        for name, md5 in ARCHIVES[dataset].items():
            target = folder / name
            if target.exists():
                _check_present(target)
                continue
            if from_folder is not None:
                _take(Path(from_folder), target, md5)
            else:
                archive = folder / f".{name}.zip{PARTIAL}"
                addresses = [f"{mirror.rstrip('/')}/{name}.zip" for mirror in mirrors]
                download(archive, addresses, partial(_check_md5, md5=md5), partial(report, name))
                _unpack(archive, target)
                archive.unlink()
    return [folder / name for name in ARCHIVES[dataset]]


def _check_present(file: Path) -> None:
    known = _checksums(file.parent).get(file.name)
    if known is None:
        SpikeFile(file)  # put there by hand
        _remember(file)
    elif known != sha256_of_file(file):
        raise DataError(
            f"{file} changed since it was fetched: its SHA-256 is not {known}; expected the published file; delete it "
            "and fetch it again"
        )


def _checksums(folder: Path) -> dict[str, str]:
    file = folder / _CHECKSUMS
    return read_json(file, remedy="delete it and fetch again") if file.exists() else {}


def _remember(file: Path) -> None:
    write_json(file.parent / _CHECKSUMS, {**_checksums(file.parent), file.name: sha256_of_file(file)})


def _take(source: Path, target: Path, md5: str) -> None:
    """Copy or unpack one file from a folder."""
    if not source.is_dir():
        raise DataError(f"{source} is not a folder; expected one that holds {target.name}; check the path")
    files = (source / (target.name + suffix) for suffix in _SUFFIXES)
    found = next((file for file in files if file.is_file()), None)
    if found is None:
        raise DataError(
            f"{source} holds no {target.name}, not even as .zip or .gz; expected one of them; download it from "
            f"{MIRRORS[0]} into this folder"
        )
    if found.suffix == ".zip":
        _check_md5(found, str(found), md5)
    _unpack(found, target)


def _check_md5(file: Path, name: str, md5: str) -> None:
    with file.open("rb") as stream:
        actual = hashlib.file_digest(stream, "md5").hexdigest()
    if actual != md5:
        raise DataError(
            f"{name} has the MD5 {actual}; expected {md5}, the published one; download it again, or, if the data set was "
            "published anew, unpack it yourself and give the folder with --from"
        )


def _unpack(source: Path, target: Path) -> None:
    """Write what `source` (plain, or an archive by its content) holds to `target`, after a look at its layout."""
    member = target.name

    def write(beside: Path) -> None:
        unpacking = Unpacking(source)
        try:
            if zipfile.is_zipfile(source):
                with zipfile.ZipFile(source) as archive:
                    inside = [name for name in archive.namelist() if Path(name).name == member]
                    if not inside:
                        raise DataError(f"{source} holds no {member}; expected it inside; download it again")
                    with archive.open(inside[0]) as stream:
                        unpacking.write(stream, beside)
            else:
                with gzip.open(source) if source.suffix == ".gz" else source.open("rb") as stream:
                    unpacking.write(stream, beside)
        except DataError:
            raise
        except Exception as error:  # a damaged archive fails in many ways
            raise DataError(
                f"{source} cannot be unpacked ({str(error)[:150]}); expected a whole archive of {member}; download it again"
            ) from error
        try:
            SpikeFile(beside)
        except DataError as error:
            raise DataError(str(error).replace(str(beside), str(source))) from None

    write_file(target, write, replace=False)
    _remember(target)
