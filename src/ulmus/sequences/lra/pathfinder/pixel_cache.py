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

    Every image has a checksum, zero until it is kept, so that neither a crash nor two processes at once can leave wrong
    pixels: what does not fit its checksum is read anew. Where the folder cannot be written to, nothing is kept. Files are
    read and written, not mapped: on a full disk that is an error and not the end of the process. Every process opens them
    for itself: with files open at a fork, one would read and write where another has just gone.
    """

    def __init__(self, folder: Path, name: str, images: int, pixels: int) -> None:
        self._paths = (folder / f"{name}.u8", folder / f"{name}.crc")
        self._images, self._size = images, pixels
        self._open()

    def _open(self) -> None:
        self._files: list[BinaryIO] = []
        self._process = os.getpid()
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
        if self._process != os.getpid():
            self._open()
        if len(self._files) < 2:
            return read()
        pixels, sums = self._files
        try:
            pixels.seek(index * self._size)
            sums.seek(index * _SUM)
            content, known = pixels.read(self._size), sums.read(_SUM)
            if any(known) and known == _checksum(content):
                return np.frombuffer(content, np.uint8).copy()
            found = read()
            content = found.tobytes()
            pixels.seek(index * self._size)
            sums.seek(index * _SUM)
            pixels.write(content)
            sums.write(_checksum(content))
        except OSError:  # a full disk: from now on every image is decoded
            self._files = []
            return read()
        return found


def _checksum(pixels: bytes) -> bytes:
    return (zlib.crc32(pixels) or 1).to_bytes(_SUM, sys.byteorder)  # zero says that nothing is kept
