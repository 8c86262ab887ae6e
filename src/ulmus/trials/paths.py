"""Stores by path or pattern, each with an optional slice: ``"data/trials_*[:96]"``."""

import re
from collections.abc import Sequence
from glob import glob, has_magic
from pathlib import Path

from ulmus.errors import ConfigError, DataError, closest
from ulmus.files.reading import check_place
from ulmus.trials.neuronio import PATTERN, pickles_in
from ulmus.trials.store import Store
from ulmus.trials.trial_source import ChosenSites, JoinedTrials, TrialSource

_SLICE = re.compile(r"(?P<path>.*)\[(?P<start>-?\d*):(?P<stop>-?\d*)\]")


def open_trials(
    spec: str | Path | Sequence[str | Path], share: float = 1.0, sites: Sequence[str] | None = None
) -> JoinedTrials:
    """Open stores by path or pattern, each with an optional slice: ``"data/trials_*[:96]"``.

    A slice applies to every store that the pattern matches.

    Args:
        spec: What to open.
        share: Take the first trials of every one alone: this share of them, and at least one.
        sites: Further sites whose voltage is read beside the soma's, of those recorded; all by default.

    Raises:
        ConfigError: a site that was not recorded.
        DataError: nothing matches, a file is damaged, or the trials do not fit together.

    Example:
        >>> trials = ulmus.open_trials("lif[:3]")
        >>> len(trials), trials.header.inputs, trials.header.dt_ms
        (3, 100, 1.0)
    """
    parts: list[tuple[TrialSource, range]] = []
    for path, part in named_paths(spec):
        source = _open(path) if sites is None else ChosenSites(_open(path), sites)
        indices = range(len(source))[part]
        parts.append((source, indices[: max(1, round(share * len(indices)))]))
    return JoinedTrials(parts)


def named_paths(spec: str | Path | Sequence[str | Path]) -> list[tuple[Path, slice]]:
    """The paths that specifications name, in order, each with its slice.

    Raises:
        ConfigError: no specification.
        DataError: nothing is there by that name.
    """
    specs = [spec] if isinstance(spec, (str, Path)) else list(spec)
    if not specs:
        raise ConfigError("no data were named: expected at least one path; name a store")
    found = []
    for one in map(str, specs):
        check_place(one)
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
        return f"{name} matches no file; expected stores by that pattern; check it"
    folder = Path(name).parent
    while not folder.is_dir():
        name, folder = str(folder), folder.parent
    hint = closest(Path(name).name, [path.name for path in folder.iterdir()])
    return f"{name} does not exist; expected a store; check the path.{hint}"


def _open(path: Path) -> TrialSource:
    if path.is_dir():
        if not (path / "store.json").exists() and pickles_in(path):
            raise DataError(_convert_first(path, "pickled simulations"))
        return Store(path)
    if (path.parent / "store.json").exists():
        raise DataError(
            f"{path} is a part of the store {path.parent}; expected the folder; name that instead"
        )
    if path.match(PATTERN) or path.suffix in (".p", ".pkl", ".pickle", ".xz", ".gz"):
        raise DataError(_convert_first(path, "pickled simulations"))
    raise DataError(_convert_first(path, "recordings", " --mapping MAPPING.yaml"))


def _convert_first(path: Path, what: str, options: str = "") -> str:
    return (
        f"{path} is not a store; if it holds {what}, convert it once with `ulmus data convert {path}{options} --out STORE` "
        "and use STORE"
    )
