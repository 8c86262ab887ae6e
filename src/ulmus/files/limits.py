"""How much of the memory a file may ask for: what is declared is compared with what is there before anything is reserved."""

import gzip
import os
from pathlib import Path

from ulmus.errors import ConfigError, DataError

UNPACKED_MB = 256
"""What a file of any size may unpack to."""
TIMES_STORED = 20
"""What more a file may unpack to, in sizes of what is stored: numbers that compress better hold little."""
_PIECE = 1 << 20
VARIABLE = "ULMUS_UNPACKED_MB"
"""The environment variable that lifts the first of the two."""


def check_unpacked(size: int, stored: int, what: str) -> None:
    """Refuse what declares to become larger than `stored` bytes of a file plausibly hold.

    Args:
        size: bytes in memory.
        stored: bytes in the file.
        what: file and key, for the message.

    Raises:
        DataError: larger than `UNPACKED_MB` and than `TIMES_STORED` times what is stored.
    """
    if size > max(unpacked_limit(), TIMES_STORED * stored):
        raise DataError(
            f"{what} declares {_in_mb(size)} in {stored} bytes of the file; expected at most {_in_mb(unpacked_limit())}, or "
            f"{TIMES_STORED} times what is stored; if you trust the file, set {VARIABLE}={-(-size // 10**6)}"
        )


def check_gzip(path: Path) -> None:
    """Refuse a file of gzip that unpacks to more than `check_unpacked` allows, by unpacking it piece by piece.

    Raises:
        DataError: it does.
        OSError, EOFError, zlib.error: it is damaged.
    """
    size, stored = 0, path.stat().st_size
    with gzip.open(path) as file:
        while part := file.read(_PIECE):
            size += len(part)
            check_unpacked(size, stored, str(path))


def unpacked_limit() -> int:
    """Bytes that any file may unpack to.

    Raises:
        ConfigError: the environment variable is no positive number.
    """
    text = os.environ.get(VARIABLE, str(UNPACKED_MB))
    if not text.isdigit() or not int(text[:12]):
        raise ConfigError(f"{VARIABLE}={text!r}; expected a whole number of megabytes; correct or unset it")
    return int(text[:12]) * 10**6


def _in_mb(size: int) -> str:
    return f"{size / 10**6:,.0f} MB"
