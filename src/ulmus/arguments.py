"""Checks of constructor arguments that several models share."""

import math
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

from ulmus.errors import ConfigError, UlmusError, closest

MOST_WORKERS = 1024
"""Processes or threads: more would take the machine down."""


def plain(value: Any) -> Any:
    """A constructor argument as a file can hold it: numbers and arrays of NumPy and PyTorch as numbers and lists of Python."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, tuple):
        return tuple(map(plain, value))
    return list(map(plain, value)) if isinstance(value, Sequence) and not isinstance(value, str) else value


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number by its type, also of NumPy; True and False are none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_sizes(**values: Any) -> None:
    """Every value is a whole number above zero.

    Raises:
        ConfigError: one is not; the message names it.
    """
    for name, value in values.items():
        if not is_whole(value) or value < 1:
            raise ConfigError(f"{name}={value!r} is no size; expected a whole number, positive.")


def check_positive(**values: Any) -> None:
    """Every value is a finite number above zero.

    Raises:
        ConfigError: one is not; the message names it.
    """
    for name, value in values.items():
        if not isinstance(value, Real) or not 0 < float(value) < math.inf:
            raise ConfigError(f"{name}={value!r} is not positive; expected a finite number above zero.")


def whole_numbers(name: str, values: Any, kind: type[UlmusError] = ConfigError) -> Any:
    """An array of whole numbers, also of those that a table keeps with a point.

    Raises:
        UlmusError: of the kind: they are not.
    """
    try:
        given = np.asarray(values)
        with np.errstate(invalid="ignore"):
            found = given.astype(np.int64)
        if given.dtype.kind in "iuf" and (found == given).all():
            return found
    except (TypeError, ValueError):
        pass
    raise kind(f"{name} = {str(values)[:60]} are no whole numbers; expected the number of each.")


def check_shares(**values: Any) -> None:
    """Every value is a probability below one.

    Raises:
        ConfigError: one is not; the message names it.
    """
    for name, value in values.items():
        if not isinstance(value, Real) or not 0 <= float(value) < 1:
            raise ConfigError(f"{name}={value!r} is no share; expected 0 (off) or more, below 1.")


def check_choice(name: str, value: str, known: Sequence[str]) -> None:
    """The value is a known one.

    Raises:
        ConfigError: it is not; the message names the nearest known one.
    """
    if value not in known:
        raise ConfigError(
            f"{name}={value!r} is not known; expected one of {list(known)}.{closest(value, list(known))}"
        )


def pair_of(name: str, ends: Iterable[float]) -> tuple[float, float]:
    """Two numbers.

    Raises:
        ConfigError: anything else.
    """
    try:
        first, second = map(plain, ends)
    except (TypeError, ValueError):
        first = second = None
    if not (isinstance(first, Real) and isinstance(second, Real)):
        raise ConfigError(f"{name}={ends!r} is no range; expected two numbers, such as (1.0, 100.0).")
    return float(first), float(second)


def range_of(name: str, ends: Iterable[float]) -> tuple[float, float]:
    """Both ends of a range of positive numbers.

    Raises:
        ConfigError: not two, or not positive and ascending.
    """
    first, second = pair_of(name, ends)
    if not 0 < first <= second < math.inf:
        raise ConfigError(
            f"{name}={(first, second)} is no range; expected two numbers with 0 < first <= second."
        )
    return first, second
