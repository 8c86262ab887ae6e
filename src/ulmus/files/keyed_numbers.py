"""Numbers that can be asked for by key: what files of several formats have in common."""

import re
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ulmus.errors import DataError, closest
from ulmus.files.reading import explained

Array = np.ndarray[Any, np.dtype[Any]]
Part = slice | tuple[int, slice] | tuple[slice, int]
ALL = slice(None)
_UNITS = {
    **dict.fromkeys(["s", "sec", "second", "seconds"], "s"),
    **dict.fromkeys(["ms", "msec", "millisecond", "milliseconds"], "ms"),
    **dict.fromkeys(["us", "µs", "microsecond", "microseconds"], "us"),
    **dict.fromkeys(["v", "volt", "volts"], "V"),
    **dict.fromkeys(["mv", "millivolt", "millivolts"], "mV"),
    **dict.fromkeys(["uv", "µv", "microvolt", "microvolts"], "uV"),
    **dict.fromkeys(["a", "ampere", "amperes", "amp", "amps"], "A"),
    **dict.fromkeys(["ma", "milliampere", "milliamperes"], "mA"),
    **dict.fromkeys(["ua", "µa", "microampere", "microamperes"], "uA"),
    **dict.fromkeys(["na", "nanoampere", "nanoamperes"], "nA"),
    **dict.fromkeys(["pa", "picoampere", "picoamperes"], "pA"),
    **{"molar": "M", "millimolar": "mM", "micromolar": "uM", "nanomolar": "nM"},
}
_CONCENTRATIONS = {"M": "M", "mM": "mM", "uM": "uM", "µM": "uM", "nM": "nM", "pM": "pM"}
"""Which differ from lengths by their capital letter alone."""


class Entry(NamedTuple):
    """What a key holds."""

    shape: tuple[int, ...]
    dtype: str
    unit: str | None


class Container(ABC):
    """A file whose numbers can be asked for by key, with or without a leading ``/``.

    Attributes:
        path: the file.
        entries: every key, in the order of the file.
        without: what one might look for and is not there, and why; empty where nothing is to be said.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[str, Entry] = {}
        self.without = ""

    @abstractmethod
    def _read(self, key: str, part: Part) -> Any:
        """Part of an array, or a list of arrays."""

    def bytes(self) -> int:
        """Size of the file, or of the files of a folder."""
        return self.path.stat().st_size

    def table_of(self, key: str) -> str:
        """What the keys of the columns beside this one begin with."""
        return key[: key.rfind("/") + 1]

    def labels(self, key: str) -> Array | list[Array]:
        """Numbers or text under a key.

        Raises:
            DataError: no such key, damaged, or of another kind.
        """
        return self.read(key, kinds="iufSU")

    def scattered(self, key: str) -> bool:
        """Whether something of another trial lies between the numbers under a key."""
        return False

    def series(self, key: str) -> dict[str, Any]:
        """Settings of a trace that the file tells by itself of what is under a key; nothing where it tells none."""
        return {}

    def entry(self, key: str) -> Entry:
        """What a key holds.

        Raises:
            DataError: the file has no such key; names the nearest one.
        """
        found = self.entries.get(key.strip("/"))
        if found is None:
            known = list(self.entries)
            shown = ", ".join(known[:8]) + (", ..." if len(known) > 8 else "")
            raise DataError(
                f"{self.path} has no key {key!r}; expected one of {shown[:200]}; correct the mapping (`ulmus data inspect` "
                f"lists all keys).{closest(key.strip('/'), known)}"
            )
        return found

    def read(self, key: str, part: Part = ALL, kinds: str = "iuf") -> Array | list[Array]:
        """What is under a key, or a list of arrays where it holds lists of different lengths.

        Args:
            key: as in `entries`.
            part: of it.
            kinds: of NumPy that are expected: numbers by default.

        Raises:
            DataError: no such key, damaged, or of another kind.
        """
        self.entry(key)
        with explained(f"{self.path}: {key}", "numbers", "repair the file"):
            values = self._read(key.strip("/"), part)
            for array in values if isinstance(values, list) else [values]:
                if array.dtype.kind not in kinds:
                    raise DataError(
                        f"{self.path}: {key} holds {array.dtype}; expected numbers; name another key in the mapping"
                    )
        return values  # type: ignore[no-any-return]


def known_unit(name: Any = None) -> str | None:
    """A unit by any of its names; None for another one."""
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else name
    if not isinstance(text, str):
        return None
    return _CONCENTRATIONS.get(text.strip()) or _UNITS.get(text.strip().lower())


def unit_in_name(name: str) -> str | None:
    """The unit that stands in brackets at the end of a column's name, as in ``v (mV)``."""
    return known_unit(*re.findall(r"[(\[](.+)[)\]]$", name))
