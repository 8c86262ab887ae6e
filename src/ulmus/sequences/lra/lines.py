"""Lines of text files larger than memory, each read when it is asked for."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Int64

from ulmus.errors import DataError
from ulmus.files.reading import bytes_at

_CHUNK = 1 << 24
_MARK = b"\xef\xbb\xbf"  # byte order mark of UTF-8, which some editors write


class Lines:
    """The lines of a file; opening finds where they end, each is read when it is asked for.

    The file is read and not mapped into memory: if it is truncated meanwhile, that is an error and not the end of the process.
    Threads and processes that fork can read at once: no reader moves a position that others read from. The first `skip` lines do
    not count.
    """

    def __init__(self, path: Path, skip: int = 0) -> None:
        self.path = path
        size, first, last, ends = 0, 0, b"\n", [np.empty(0, dtype=np.int64)]
        with self._errors_named():
            while chunk := bytes_at(self._file, size, _CHUNK):
                first = len(_MARK) if size == 0 and chunk.startswith(_MARK) else first
                ends.append(np.flatnonzero(np.frombuffer(chunk, np.uint8) == ord("\n")) + size)
                size, last = size + len(chunk), chunk[-1:]
        if last != b"\n":
            ends.append(np.array([size]))
        end = np.concatenate(ends)
        self._begin: Int64[np.ndarray, "lines"] = np.concatenate([[first], end[:-1] + 1])[: len(end)][skip:]
        self._end: Int64[np.ndarray, "lines"] = end[skip:]

    def __getstate__(self) -> dict[str, object]:
        return {key: value for key, value in vars(self).items() if key != "_file"}  # opened anew elsewhere

    @cached_property
    def _file(self) -> BinaryIO:
        return self.path.open("rb")

    @contextmanager
    def _errors_named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
            raise DataError(
                f"{self.path} {reason}; expected a text file of the task; check the folder or copy the file again"
            ) from error

    def _read(self, begin: int, size: int) -> bytes:
        with self._errors_named():
            found = bytes_at(self._file, begin, size)
        if len(found) < size:
            raise DataError(
                f"{self.path} was truncated while in use; expected it to stay unchanged; copy the file again"
            )
        return found

    def __len__(self) -> int:
        return len(self._end)

    @property
    def sizes(self) -> Int64[np.ndarray, "lines"]:
        """Bytes of every line."""
        sizes: Int64[np.ndarray, "lines"] = self._end - self._begin
        return sizes

    def beginning(self, index: int, size: int) -> bytes:
        """The first bytes of a line, without reading the rest."""
        begin = int(self._begin[index])
        return self._read(begin, min(size, int(self._end[index]) - begin))

    def __getitem__(self, index: int) -> bytes:
        begin = int(self._begin[index])
        return self._read(begin, int(self._end[index]) - begin).rstrip(b"\r")
