"""Arrays of an NPZ file, none of which may need pickle; each is read when it is asked for."""

import math
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ulmus.errors import DataError
from ulmus.files.keyed_numbers import Array, Container, Entry, Part
from ulmus.files.limits import check_unpacked
from ulmus.files.reading import explained

_MAGIC = b"\x93NUMPY"


class NpzFile(Container):
    """Arrays of an NPZ file."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) == _MAGIC:
                raise DataError(
                    f"{path} is one array (.npy) under the name of an archive; expected named arrays; save it with numpy.savez"
                )
        self._members: dict[str, _Member] = {}
        self._arrays: dict[str, Array] = {}
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if info.filename.endswith(".npy"):  # others are no arrays
                    self._note(archive, info)

    def _note(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
        key = info.filename.removesuffix(".npy")
        try:
            with explained(f"{self.path}: {key}"):
                member = _member(archive, info, f"{self.path}: {key}")
        except DataError as error:
            self.entries[key] = Entry((), f"unreadable: {error}", None)
            self._members.pop(key, None)
            return
        self._members[key] = member
        objects = member.dtype.hasobject
        self.entries[key] = Entry(member.shape, "Python objects" if objects else str(member.dtype), None)

    def _read(self, key: str, part: Part) -> Any:
        if key not in self._members:
            raise DataError(self.entries[key].dtype.removeprefix("unreadable: "))
        member = self._members[key]
        if member.dtype.hasobject:
            raise DataError(
                f"{self.path}: {key} holds Python objects, which could run code; expected numbers or texts; save lists of "
                "different lengths end to end, with their 'lengths', or with the input and trial of each entry"
            )
        if key not in self._arrays:
            check_unpacked(member.bytes, member.stored, f"{self.path}: {key}")
            with zipfile.ZipFile(self.path) as archive, archive.open(f"{key}.npy") as file:
                self._arrays[key] = np.lib.format.read_array(file, allow_pickle=False)
        return self._arrays[key][part if member.shape else ()]


class _Member(NamedTuple):
    """What the header of an array says, and the bytes that it has in memory and in the archive."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    bytes: int
    stored: int


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> _Member:
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in read:
            raise DataError(f"{where} has version {version} of the format; expected numbers; save it again")
        shape, _, dtype = read[version](file)
        content = info.file_size - file.tell()
    size = math.prod(shape) * dtype.itemsize
    if any(side < 0 for side in shape) or (size > content and not dtype.hasobject):
        raise DataError(f"{where} declares shape {shape} in {content} bytes; expected as many; save it again")
    return _Member(shape, dtype, size, info.compress_size)
