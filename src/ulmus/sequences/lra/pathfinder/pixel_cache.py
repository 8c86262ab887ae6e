"""Pixels of images that were decoded once: reading 160,000 small files every epoch takes longer than learning from them."""

import os
import sys
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import UInt8

_SUM = 4  # bytes of a checksum


class PixelCache:
    """Images of one shape in two files beside the data, filled as they are first read.

    Every image has a checksum of its pixels and its number, zero until it is kept, so that neither a crash nor several
    processes or threads at once can leave wrong pixels: what does not fit its checksum is read anew. Where the folder cannot
    be written to, nothing is kept. Files are read and written, not mapped: on a full disk that is an error and not the end of
    the process. No reader moves a position that others read from.
    """

    def __init__(self, folder: Path, name: str, images: int, pixels: int) -> None:
        self._paths = (folder / f"{name}.u8", folder / f"{name}.crc")
        self._images, self._size = images, pixels
        self._open()

    def _open(self) -> None:
        self._files: list[BinaryIO] = []
        with suppress(OSError):
            for path, size in zip(self._paths, (self._size, _SUM), strict=True):
                with path.open("ab") as file:  # zeros that take no place on most disks until they are written
                    file.truncate(self._images * size)
                self._files.append(path.open("r+b", buffering=0))

    def __getstate__(self) -> dict[str, object]:
        return {key: value for key, value in vars(self).items() if key != "_files"}  # opened anew elsewhere

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._open()

    def get(self, index: int, read: Callable[[], UInt8[np.ndarray, "pixels"]]) -> UInt8[np.ndarray, "pixels"]:
        """The pixels of an image, which `read` decodes if they are not kept yet."""
        files = self._files  # held, so that no other thread closes them meanwhile
        if len(files) < 2:
            return read()
        pixels, sums = (file.fileno() for file in files)
        try:
            content = os.pread(pixels, self._size, index * self._size)
            known = os.pread(sums, _SUM, index * _SUM)
            if any(known) and known == _checksum(index, content):
                return np.frombuffer(content, np.uint8).copy()
            found = read()
            content = found.tobytes()
            os.pwrite(pixels, content, index * self._size)
            os.pwrite(sums, _checksum(index, content), index * _SUM)
        except OSError:  # a full disk: from now on every image is decoded
            self._files = []
            return read()
        return found


def _checksum(index: int, pixels: bytes) -> bytes:
    return (zlib.crc32(pixels, index) or 1).to_bytes(_SUM, sys.byteorder)  # zero says that nothing is kept
