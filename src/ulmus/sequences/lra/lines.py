"""Lines of text files larger than memory, each read when it is asked for."""

from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from ulmus.errors import DataError

_CHUNK = 1 << 26


class Lines:
    """The lines of a file; opening finds where they end, reading maps the file.

    Args:
        path: the file.
        skip: lines at the top that do not count.

    Raises:
        DataError: the file is missing or cannot be read.
    """

    def __init__(self, path: Path, skip: int = 0) -> None:
        self.path = path
        bytes_ = self._bytes
        ends = [
            np.flatnonzero(bytes_[first : first + _CHUNK] == ord("\n")) + first
            for first in range(0, bytes_.size, _CHUNK)
        ]
        if bytes_.size and bytes_[-1] != ord("\n"):
            ends.append(np.array([bytes_.size]))
        every = np.concatenate([np.array([-1]), *ends])
        self._begin: Int64[np.ndarray, "lines"] = every[:-1][skip:] + 1
        self._end: Int64[np.ndarray, "lines"] = every[1:][skip:]

    def __getstate__(self) -> dict[str, object]:
        return {key: value for key, value in vars(self).items() if key != "_bytes"}  # mapped anew elsewhere

    @cached_property
    def _bytes(self) -> UInt8[np.ndarray, "bytes"]:
        try:
            if self.path.stat().st_size == 0:  # an empty file cannot be mapped
                return np.empty(0, dtype=np.uint8)
            return np.memmap(self.path, dtype=np.uint8, mode="r")
        except OSError as error:
            reason = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
            raise DataError(
                f"{self.path} {reason}; expected a text file of the task; check the folder or copy the file again"
            ) from error

    def __len__(self) -> int:
        return len(self._end)

    @property
    def sizes(self) -> Int64[np.ndarray, "lines"]:
        """Bytes of every line."""
        sizes: Int64[np.ndarray, "lines"] = self._end - self._begin
        return sizes

    def beginning(self, index: int, size: int) -> bytes:
        """The first bytes of a line, without reading the rest."""
        begin, end = self._begin[index], self._end[index]
        return self._bytes[begin : min(end, begin + size)].tobytes()

    def __getitem__(self, index: int) -> bytes:
        return self._bytes[self._begin[index] : self._end[index]].tobytes().rstrip(b"\r")
