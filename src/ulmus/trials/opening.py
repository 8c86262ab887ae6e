"""Trials by name: paths, patterns and slices of what they hold, put behind each other."""

import re
from bisect import bisect_right
from collections.abc import Sequence
from glob import glob, has_magic
from pathlib import Path
from typing import Any

from ulmus.errors import ConfigError, DataError, closest
from ulmus.files.reading import sha256_of_json
from ulmus.trials.collection import Clip, TrialSource
from ulmus.trials.neuronio import PATTERN, pickles_in
from ulmus.trials.recorded import Recorded
from ulmus.trials.store import Store

_SLICE = re.compile(r"(?P<path>.*)\[(?P<start>-?\d*):(?P<stop>-?\d*)\]")


class Trials(TrialSource):
    """Several sources behind each other, or parts of them.

    Args:
        parts: source and the indices to take from it.

    Raises:
        DataError: no trials, or sources whose trials do not fit together.
    """

    def __init__(self, parts: Sequence[tuple[TrialSource, range]]) -> None:
        self._parts = [(source, indices) for source, indices in parts if len(indices)]
        if not self._parts:
            raise DataError(f"no trials in {len(parts)} source(s); expected at least one; widen the slices")
        self._firsts = []
        self._length = 0
        for _, indices in self._parts:
            self._firsts.append(self._length)
            self._length += len(indices)
        first = self._parts[0][0]
        self.header = first.header
        for source, _ in self._parts[1:]:
            if differences := first.header.differences(source.header, layout_only=True):
                raise DataError(
                    f"{first!r} and {source!r} differ in {'; '.join(differences)}; expected trials of one layout; "
                    "use them apart"
                )

    def __repr__(self) -> str:
        return f"Trials({len(self)} of {', '.join(repr(source) for source, _ in self._parts)})"

    def __len__(self) -> int:
        return self._length

    def _find(self, index: int) -> tuple[TrialSource, int]:
        position = bisect_right(self._firsts, index) - 1
        source, indices = self._parts[position]
        return source, indices[index - self._firsts[position]]

    def clip(self, index: int, start: int, stop: int) -> Clip:
        """Steps `start` to `stop` of trial `index`; the arguments are not checked."""
        source, local = self._find(index)
        return source.clip(local, start, stop)

    def attributes(self, index: int) -> dict[str, Any]:
        """What is known of trial `index` alone."""
        source, local = self._find(index)
        return source.attributes(local)

    @property
    def description(self) -> list[dict[str, Any]]:
        """Every source with its hash and the trials taken from it."""
        return [
            {**entry, "first": indices.start, "stop": indices.stop}
            for source, indices in self._parts
            for entry in source.description
        ]

    @property
    def content_hash(self) -> str:
        """SHA-256 over the hashes of the sources and what is taken from them; paths do not count."""
        parts = [[source.content_hash, indices.start, indices.stop] for source, indices in self._parts]
        return sha256_of_json(parts)


def open_trials(spec: str | Path | Sequence[str | Path], share: float = 1.0) -> Trials:
    """Open stores and recordings by path or pattern, each with an optional slice: ``"data/trials_*.h5[:96]"``.

    A slice applies to every file or store that the pattern matches.

    Args:
        spec: What to open.
        share: Take the first trials of every one alone: this share of them, and at least one.

    Raises:
        DataError: nothing matches, a file is damaged, or the trials do not fit together.
    """
    parts: list[tuple[TrialSource, range]] = []
    for path, part in expand(spec):
        source = _open(path)
        indices = range(len(source))[part]
        parts.append((source, indices[: max(1, round(share * len(indices)))]))
    return Trials(parts)


def expand(spec: str | Path | Sequence[str | Path]) -> list[tuple[Path, slice]]:
    """The paths that specifications name, in order, each with its slice.

    Raises:
        ConfigError: no specification.
        DataError: nothing is there by that name.
    """
    specs = [spec] if isinstance(spec, (str, Path)) else list(spec)
    if not specs:
        raise ConfigError("no data were named: expected at least one path; name a store or a recording")
    found = []
    for one in map(str, specs):
        match = _SLICE.fullmatch(one)
        name, part = one, slice(None)
        if match and not Path(one).exists():
            name = match["path"]
            part = slice(*(int(match[edge]) if match[edge] else None for edge in ("start", "stop")))
        name = str(Path(name).expanduser())
        # Not Path.glob, which takes no absolute pattern.
        paths = [Path(name)] if Path(name).exists() else sorted(map(Path, glob(name)))  # noqa: PTH207
        if not paths:
            raise DataError(_missing(name))
        found += [(path, part) for path in paths]
    return found


def _missing(name: str) -> str:
    if has_magic(name):
        return f"{name} matches no file; expected stores or recordings by that pattern; check it"
    folder = Path(name).parent
    while not folder.is_dir():
        name, folder = str(folder), folder.parent
    hint = closest(Path(name).name, [path.name for path in folder.iterdir()])
    return f"{name} does not exist; expected a store or a recording; check the path.{hint}"


def _open(path: Path) -> TrialSource:
    if path.is_dir():
        if not (path / "store.json").exists() and pickles_in(path):
            raise DataError(_convert_first(path))
        return Store(path)
    if path.match(PATTERN) or path.suffix in (".p", ".pkl", ".pickle", ".xz", ".gz"):
        raise DataError(_convert_first(path))
    if (path.parent / "store.json").exists():
        raise DataError(
            f"{path} is a part of the store {path.parent}; expected the folder; name that instead"
        )
    return Recorded(path)


def _convert_first(path: Path) -> str:
    return (
        f"{path} holds pickled simulations; expected a store or a recording; convert it once with "
        f"`ulmus data convert {path} STORE` and use STORE"
    )
