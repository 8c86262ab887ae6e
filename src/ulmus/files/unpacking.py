"""What comes out of an archive, and no more of it than data of its size can hold."""

from pathlib import Path
from typing import Protocol

from ulmus.errors import DataError

_PIECE = 1 << 20
_TIMES, _AT_LEAST = 40, 64 * 2**20


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Unpacking:
    """Files written from one archive: together at most 40 times as large as it is, and 64 MiB if that is more.

    Data compress to a tenth at best; what unpacks to far more was made to fill a disk.

    Args:
        archive: the file.
    """

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        self._left = max(_TIMES * archive.stat().st_size, _AT_LEAST)

    def write(self, stream: _Stream, target: Path) -> None:
        """Write all that a stream gives to a file.

        Raises:
            DataError: it gives more than the archive may hold.
            OSError: the disk is full.
        """
        with target.open("wb") as out:
            while piece := stream.read(_PIECE):
                self._left -= len(piece)
                if self._left < 0:
                    raise DataError(
                        f"{self._archive} unpacks to more than {_TIMES} times its size; expected data; get it from its "
                        "publisher, or unpack it yourself if you trust it"
                    )
                out.write(piece)
