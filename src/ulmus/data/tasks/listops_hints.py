"""What somebody who works out a ListOps expression from left to right knows at every symbol."""

from collections.abc import Callable

import numpy as np
from jaxtyping import UInt8

HINTS = tuple("0123456789")
"""What a hint says, from 1 on: a value."""


def _median(values: list[int]) -> int:
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) // 2


_WORTH: dict[str, Callable[[list[int]], int]] = {
    "[MIN": min,
    "[MAX": max,
    "[SM": lambda values: sum(values) % 10,
    "[MED": _median,
}


def hints(symbols: list[str]) -> UInt8[np.ndarray, "time"]:
    """The value, so far, of the innermost expression that is open; at a bracket that closes, of the one that it closes.

    1 and the value, or 0 where there is none: at operators, which have seen no argument yet, and outside of all brackets.
    """
    told = np.zeros(len(symbols), np.uint8)
    open_: list[tuple[str, list[int]]] = []
    for place, symbol in enumerate(symbols):
        if symbol in _WORTH:
            open_.append((symbol, []))
        elif open_ and symbol == "]":
            operator, values = open_.pop()
            value = _WORTH[operator](values)
            told[place] = 1 + value
            if open_:
                open_[-1][1].append(value)
        elif open_ and symbol.isdigit():
            operator, values = open_[-1]
            values.append(int(symbol))
            told[place] = 1 + _WORTH[operator](values)
    return told
