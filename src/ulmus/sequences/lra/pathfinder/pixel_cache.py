"""Pixels of images that were decoded once: reading 160,000 small files every epoch takes longer than learning from them."""

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import UInt8


class PixelCache:
    """Images of one shape in two files beside the data, filled as they are first read.

    Every image has a checksum, zero until it is kept, so that neither a crash nor two processes at once can leave wrong
    pixels: what does not fit its checksum is read anew. Where the folder cannot be written to, nothing is kept.

    Args:
        folder: where the files lie.
        name: of the files; other data in the same folder have other ones.
        images: how many.
        pixels: of an image.
    """

    def __init__(self, folder: Path, name: str, images: int, pixels: int) -> None:
        self._files = (folder / f"{name}.u8", folder / f"{name}.crc")
        self._shapes = ((images, pixels), (images,))
        self._open()

    def _open(self) -> None:
        self._pixels, self._sums = None, None
        try:
            for file, shape, bytes_ in zip(self._files, self._shapes, (1, 4), strict=True):
                size = int(np.prod(shape)) * bytes_
                if not file.exists() or file.stat().st_size != size:
                    with file.open("ab") as new:
                        new.truncate(size)  # zeros that take no place on most disks until they are written
            self._pixels = np.memmap(self._files[0], np.uint8, "r+", shape=self._shapes[0])
            self._sums = np.memmap(self._files[1], np.uint32, "r+", shape=self._shapes[1])
        except OSError:
            self._pixels, self._sums = None, None

    def __getstate__(self) -> dict[str, object]:
        return {"_files": self._files, "_shapes": self._shapes}  # mapped anew in another process

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._open()

    def get(self, index: int, read: Callable[[], UInt8[np.ndarray, "pixels"]]) -> UInt8[np.ndarray, "pixels"]:
        """The pixels of an image, which `read` decodes if they are not kept yet."""
        if self._pixels is None or self._sums is None:
            return read()
        kept = self._pixels[index]
        if self._sums[index] and self._sums[index] == _checksum(kept):
            return np.array(kept)
        found = read()
        self._pixels[index] = found
        self._sums[index] = _checksum(found)
        return found


def _checksum(pixels: UInt8[np.ndarray, "pixels"]) -> int:
    return zlib.crc32(pixels.tobytes()) or 1  # zero says that nothing is kept
