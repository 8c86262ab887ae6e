"""Which trials two collections have in common: by what they are, not by where they lie."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ulmus.errors import ConfigError
from ulmus.trials.trial_source import TrialSource


class Part(NamedTuple):
    """Neighbouring trials of one store or file.

    Attributes:
        origin: what names the store or file, see `TrialSource.description`.
        first: number of the first trial in it.
        stop: number after the last.
    """

    origin: str
    first: int
    stop: int


def parts(trials: TrialSource) -> list[Part]:
    """What the trials are."""
    return [_part(entry) for entry in trials.description]


def overlap(some: Iterable[Part], others: Iterable[Part]) -> Iterator[Part]:
    """Those of `some` trials that are among `others` too; costs grow with the parts, not with the trials."""
    runs: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for part in sorted(others):
        known = runs[part.origin]
        if known and part.first <= known[-1][1]:  # so that a trial that is there twice counts once
            known[-1] = (known[-1][0], max(known[-1][1], part.stop))
        else:
            known.append((part.first, part.stop))
    for part in some:
        for first, stop in runs.get(part.origin, ()):
            if max(first, part.first) < min(stop, part.stop):
                yield Part(part.origin, max(first, part.first), min(stop, part.stop))


def check_apart(uses: Mapping[str, TrialSource]) -> None:
    """No trial may have two uses, such as training and validation.

    Args:
        uses: trials by the name of what they are for.

    Raises:
        ConfigError: some have two.
    """
    named = list(uses.items())
    for number, (use, trials) in enumerate(named):
        for other, before in named[:number]:
            for part in overlap(parts(trials), parts(before)):
                path = next(entry["path"] for entry in trials.description if entry["origin"] == part.origin)
                one = part.stop - part.first == 1
                which = f"trial {part.first}" if one else f"trials {part.first} to {part.stop - 1}"
                raise ConfigError(
                    f"{which} of {path} {'is' if one else 'are'} in {other} and in {use}; expected no trial in both, else "
                    "scores say nothing of unseen trials. Change the slices, as in STORE[:96] and STORE[96:]."
                )


def _part(entry: Mapping[str, Any]) -> Part:
    return Part(entry["origin"], entry.get("first", 0), entry.get("stop", entry["trials"]))
