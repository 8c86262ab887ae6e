"""Lists of event times in a user's files: pairs of time and input, a list per input, a list per trial."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from ulmus.errors import ConfigError, DataError
from ulmus.files.keyed_numbers import Array, Container
from ulmus.recordings.mapping import LARGEST_MS, MILLISECONDS, Inputs, OutputSpikes, event_bins, selected

_LARGEST_NUMBER = 2**31  # of an input or a trial
_ROUNDING_MS = 1e-6


class Events(NamedTuple):
    """Events of a file, in the order of the file.

    Attributes:
        key: where the times are, for messages.
        time_ms: on the file's clock.
        id: input of each, as the file numbers it.
        trial: trial of each; None when the list is of one trial or of a whole recording.
        rounding_ms: how exactly the times are stored.
    """

    key: str
    time_ms: Float64[np.ndarray, "events"]
    id: Int64[np.ndarray, "events"]
    trial: Int64[np.ndarray, "events"] | None
    rounding_ms: float

    def of_trial(self, trial: int, where: str, start_ms: float = 0.0) -> "Events":
        """Those of one trial that begins at `start_ms`: they ascend within every input, and none is before the beginning.

        Raises:
            DataError: they do not; names `where` and the times.
        """
        mine = slice(None) if self.trial is None else self.trial == trial
        time, event_id = self.time_ms[mine] - start_ms, self.id[mine]
        order = np.argsort(event_id, kind="stable")
        falls = np.flatnonzero((np.diff(event_id[order]) == 0) & (np.diff(time[order]) < 0))
        if falls.size:
            one, other = time[order][falls[0]], time[order][falls[0] + 1]
            raise DataError(
                f"{where}: {self.key} falls from {one + start_ms:g} to {other + start_ms:g} ms within one list; expected "
                "ascending times; sort them, or name the key that holds times"
            )
        if start_ms:  # subtracting rounds
            time = np.where((time < 0) & (time > -_ROUNDING_MS - 2 * self.rounding_ms), 0.0, time)
        if time.size and time.min() < 0:
            raise DataError(
                f"{where}: {self.key} holds {time.min() + start_ms:g} ms; expected times from {start_ms:g} on; correct the data"
            )
        return Events(self.key, time, event_id, None, self.rounding_ms)

    def cut(self, start_ms: float, dt_ms: float, steps: int) -> "Events":
        """Those of a piece of the recording, with times from its beginning."""
        time = self.time_ms - start_ms
        bins = event_bins(time, dt_ms, self.rounding_ms)
        inside = (bins >= 0) & (bins < steps)
        # What is a rounding error before the beginning lies in the first bin.
        return Events(self.key, np.maximum(time[inside], 0.0), self.id[inside], None, self.rounding_ms)


def input_count(file: Container, group: Inputs, name: str | None) -> int:
    """Number of inputs of a group: what the mapping says, or the number of lists where every input has one.

    Raises:
        ConfigError: one list of times, and nothing says which input each is of.
        DataError: no such key.
    """
    times = with_name(group.times, name)
    if group.ids and group.count:
        return group.count
    if "{input}" in times:
        return group.count or len(matches(file, times, "input"))
    values = file.read(times)
    if not isinstance(values, list):
        raise ConfigError(
            f"{file.path}: {times} is one list of times; expected to know the input of each; name its key in the mapping "
            "with `ids`, and say the `count` of inputs"
        )
    return group.count or len(_rows(file, times, group.rows, len(values)))


def read_events(file: Container, group: Inputs | OutputSpikes, name: str | None, trials: int) -> Events:
    """Events of inputs or of the output, of the trial with this name or, without one, of the whole file.

    Raises:
        ConfigError: the mapping does not say which input, trial or unit events have.
        DataError: keys are missing or do not fit each other.
    """
    times, ids, trial = (with_name(key, name) for key in (group.times, group.ids, group.trial))
    numbers: Sequence[int] | None = None  # of the inputs, where each has a list
    marks: list[Array] | None = None
    if "{input}" in times:
        names = matches(file, times, "input")
        numbers = [int(found) for found in names]
        lists = [flat(file, times.replace("{input}", found)) for found in names]
        marks = [flat(file, trial.replace("{input}", found)) for found in names] if trial else None
        times = times.replace("{input}", names[0])
    else:
        values = file.read(times)
        lists = _lists(file, times)
        if isinstance(values, list) and (ids or not group.rows):
            marks = [np.full(len(entry), number) for number, entry in enumerate(values)]
        elif isinstance(values, list):
            lists = [values[row] for row in _rows(file, times, group.rows, len(values))]
            numbers = range(group.first_id, group.first_id + len(lists))
        elif trial:
            marks = [flat(file, trial)]
    if ids:
        event_id = _joined(file, ids, _lists(file, ids), times, lists)
    else:
        event_id = np.repeat(numbers or [0] * len(lists), [len(entry) for entry in lists]).astype(np.int64)
    trial = trial or times
    mark = None if marks is None else _joined(file, trial, marks, times, lists)
    if mark is not None and mark.size and not (mark.min() >= 0 and mark.max() < trials):
        bad = mark[(mark < 0) | (mark >= trials)][0]
        raise DataError(
            f"{file.path}: {trial} holds trial {bad}; expected 0 to {trials - 1}, the trials that there are; correct the mapping "
            "(the list of one neuron among several is named with `row`)"
        )
    scale, stored = time_scale(file, times, group.unit), np.concatenate([*lists, np.empty(0, np.float16)])
    if not np.isfinite(stored).all():
        at = int(np.flatnonzero(~np.isfinite(stored))[0])
        raise DataError(
            f"{file.path}: {times} holds {stored[at]} at entry {at}; expected finite times; remove it"
        )
    latest = float(np.abs(stored).max(initial=0)) * scale
    if latest > LARGEST_MS:
        raise DataError(
            f"{file.path}: {times} holds a time of {latest:g} ms; expected at most {LARGEST_MS:g} ms; "
            "correct the data, or `unit` in the mapping"
        )
    return Events(times, stored.astype(np.float64) * scale, event_id, mark, rounding(stored) * scale)


def rounding(times: Array) -> float:
    """How far apart the numbers of a type are that are as large as the latest of these times."""
    exact = times.dtype.itemsize >= 8 or times.dtype.kind != "f" or not times.size
    return 0.0 if exact else float(np.spacing(np.abs(times).max()))


def time_scale(file: Container, key: str, unit: str | None) -> float:
    """Milliseconds per unit of the times under a key.

    Raises:
        ConfigError: neither the mapping nor the file says the unit.
    """
    unit = unit or file.entry(key).unit
    if unit not in MILLISECONDS:
        raise ConfigError(
            f"{file.path} does not say the unit of the times in {key}; expected s, ms or us; add `unit` to the mapping"
        )
    return MILLISECONDS[unit]


def with_name(key: str | None, name: str | None) -> str:
    """The key with the name of a trial in its place; empty for none."""
    return (key or "").replace("{trial}", name or "{trial}")


def matches(file: Container, key: str, placeholder: str) -> list[str]:
    """What stands in the place of ``{trial}`` or, only digits, of ``{input}`` in the keys of a file, in natural order.

    Raises:
        DataError: no key is like that; names those there are.
    """
    name = re.escape("{" + placeholder + "}")
    pattern = re.escape(key.strip("/")).replace(name, r"(\d+)" if placeholder == "input" else "([^/]+)", 1)
    pattern = pattern.replace(name, r"\1")
    # A voltage may be named by the time series (NWB) that holds its data.
    likely = [known for known in file.entries if known.startswith(key.strip("/").split("{")[0])]
    found = [match[1] for match in (re.fullmatch(pattern + "(?:/data)?", known) for known in likely) if match]
    if not found:
        file.entry(key)
    return sorted(found, key=natural)


def natural(name: str) -> tuple[bool, int, list[str]]:
    """Whole numbers first, by their size; others by the numbers in them."""
    number = re.fullmatch(r"-?\d{1,20}", name) is not None
    return (
        not number,
        int(name) if number else 0,
        [part.zfill(20) if part.isdigit() else part for part in re.split(r"(\d+)", name)],
    )


def flat(file: Container, key: str) -> Array:
    """An array of one dimension, or of one row or column as MATLAB writes it.

    Raises:
        DataError: it has another shape.
    """
    values = file.read(key)
    if isinstance(values, list) or values.ndim < 1 or (values.size and values.size != max(values.shape)):
        shape = f"{len(values)} lists" if isinstance(values, list) else f"shape {values.shape}"
        raise DataError(f"{file.path}: {key} has {shape}; expected one list; name another key in the mapping")
    return values.ravel()


def _lists(file: Container, key: str) -> list[Array]:
    values = file.read(key)
    return values if isinstance(values, list) else [flat(file, key)]


def _joined(
    file: Container, key: str, parts: list[Array], times: str, lists: list[Array]
) -> Int64[np.ndarray, "events"]:
    """Whole numbers that accompany times, end to end."""
    if [part.shape for part in parts] != [entry.shape for entry in lists]:
        found, wanted = (sum(map(np.size, arrays)) for arrays in (parts, lists))
        raise DataError(
            f"{file.path}: {key} has {found} entries in {len(parts)} list(s), {times} {wanted} in {len(lists)}; expected as "
            "many; correct the mapping or the file"
        )
    values = np.concatenate(parts)
    wrong = ~((np.abs(values) < _LARGEST_NUMBER) & (values == np.floor(values)))
    if wrong.any():
        raise DataError(
            f"{file.path}: {key} holds {values[wrong][0]}; expected whole numbers of inputs or trials; name another key"
        )
    return values.astype(np.int64)


def _rows(file: Container, key: str, rows: tuple[str, ...], lists: int) -> list[int]:
    try:
        return np.flatnonzero(selected(rows, lists)).tolist()
    except ValueError as error:
        raise ConfigError(
            f"{file.path}: {key} holds {lists} lists; the mapping asks for rows: {error}; correct it"
        ) from error
