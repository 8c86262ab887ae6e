"""A walk through the operations of a pickle, which says what it would make its reader reserve, before a reader sees it."""

from functools import cache
from pickletools import opcodes
from typing import Any

import numpy as np

_FIXED = {"uint1": 1, "uint2": 2, "int4": 4, "uint4": 4, "uint8": 8, "float8": 8}
_COUNTED = {
    **dict.fromkeys(["string1", "bytes1", "unicodestring1", "long1"], 1),
    **dict.fromkeys(["string4", "bytes4", "unicodestring4", "long4"], 4),
    **dict.fromkeys(["bytes8", "unicodestring8", "bytearray8"], 8),
}
_LINES = {"stringnl_noescape_pair": 2}
_COUNTED_BY, _TEXT = 16, 32  # added to what follows an operation: bytes of a length, or lines
_UNKNOWN = 255
_GOOD, _PLACE, _LENGTH, _OPERATION, _CUT = range(5)
_REASONS = {
    _PLACE: "asks for a place far beyond its own length",
    _LENGTH: "declares content longer than itself",
    _OPERATION: "holds no operation of a pickle",
    _CUT: "ends before its content does",
}


def check_pickle(data: bytes) -> int:
    """Where the content of a pickle ends.

    Raises:
        ValueError: it is cut, holds something else than operations of pickles, or asks for more than its size allows.
    """
    end, found = _walk()(np.frombuffer(data, np.uint8), _table())
    if found != _GOOD:
        raise ValueError(_REASONS[found])
    return int(end)


@cache
def _table() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """What follows every operation: so many bytes, a length of so many bytes and as much, or so many lines."""
    table = np.full(256, _UNKNOWN, np.uint8)
    for operation in opcodes:
        argument = operation.arg.name if operation.arg else ""
        follows = _FIXED.get(argument, 0)
        if argument in _COUNTED:
            follows = _COUNTED_BY + _COUNTED[argument]
        elif argument and argument not in _FIXED:
            follows = _TEXT + _LINES.get(argument, 1)
        table[ord(operation.code)] = follows
    return table


@cache
def _walk() -> Any:
    """The walk, compiled: a published file has a hundred million operations."""
    import numba

    return numba.njit(_walked, nogil=True)


def _walked(data: Any, table: Any) -> tuple[int, int]:  # noqa: PLR0911, PLR0912 - one loop, as it is compiled
    """Where the walk ended, and why."""
    at, size = 0, len(data)
    while at < size:
        operation = data[at]
        follows = table[operation]
        at += 1
        if operation == 0x2E:  # "."
            return at, _GOOD
        if follows == _UNKNOWN:
            return at, _OPERATION
        if follows > _TEXT:
            for _ in range(follows - _TEXT):
                begin, number = at, 0
                while at < size and data[at] != 0x0A:
                    number = min(10 * number + data[at] - 0x30, 1 << 60) if at - begin < 18 else 1 << 60
                    at += 1
                at += 1
            if operation == 0x70 and number > size:  # "p", a place written in digits
                return at, _PLACE
        elif follows > _COUNTED_BY:
            if at + follows - _COUNTED_BY > size:
                return at, _CUT
            length = 0
            for position in range(follows - _COUNTED_BY):
                if position == 7 and data[at + position] > 127:
                    return at, _LENGTH
                length |= int(data[at + position]) << (8 * position)
            at += follows - _COUNTED_BY
            if length > size - at:
                return at, _LENGTH
            at += length
        else:
            if operation == 0x72 and at + 4 <= size:  # "r", a place of four bytes
                place = 0
                for position in range(4):
                    place |= int(data[at + position]) << (8 * position)
                if place > size:
                    return at, _PLACE
            at += follows
    return at, _CUT
