"""Which trials a user's file holds, and where each begins."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from ulmus.errors import ConfigError, DataError
from ulmus.files.keyed_numbers import Container
from ulmus.files.limits import check_unpacked
from ulmus.files.split_tables import SplitTables
from ulmus.recordings.event_lists import flat, matches, natural, time_scale
from ulmus.recordings.mapping import LARGEST_MS, Mapping, Trials
from ulmus.recordings.voltage import ContinuousTrace, Place, Trace


def find_places(file: Container, mapping: Mapping, leading: Trace | None) -> list[Place]:
    """Where the trials of a file are: by the names, rows or samples of its leading trace, or as `trials` cuts them.

    Raises:
        ConfigError: the mapping does not fit the file.
        DataError: beginnings of trials are no times, or there is no trial.
    """
    trials = mapping.trials
    if trials is None:
        if leading is None:
            return [Place()]
        names: list[str | None] = [*leading.names] if leading.names else [None]
        rows: list[int | None] = [*range(leading.rows)] if leading.rows else [None]
        first = mapping.trial_start == "first_sample"
        return [
            Place(name, row, leading.clock(name).begin_ms if first else 0.0) for name in names for row in rows
        ]
    if leading is None and not trials.starts:
        times = "" if mapping.known_spikes is None else mapping.known_spikes.times or ""
        if "{trial}" in times:
            found = matches(file, times, "trial")
            if isinstance(file, SplitTables):  # also those without a spike
                found = sorted({name for names in file.names.values() for name in names}, key=natural)
            if trials.count not in (None, len(found)):
                raise ConfigError(
                    f"{file.path} has {len(found)} trials, `count` says {trials.count}; expected the same; leave out `count`"
                )
            return [Place(name=name) for name in found]
        return [Place(row=row) for row in range(trials.count)] if trials.count else [Place()]
    return [Place(start_ms=start) for start in _starts_ms(file, leading, trials).tolist()]


def _starts_ms(file: Container, leading: Trace | None, trials: Trials) -> Float64[np.ndarray, "trials"]:
    """When the pieces of one recording begin."""
    if leading is not None and (leading.names is not None or leading.rows):
        raise ConfigError(
            f"{file.path} holds several traces under {leading.voltage.values!r}; expected one long trace for "
            "`trials` to cut; leave out `trials`, or name another voltage"
        )
    duration_ms = trials.duration_ms
    if trials.starts is None and leading is not None:
        clock = leading.clock()
        pieces = int((clock.end_ms - clock.start_ms) / duration_ms + 1e-6)
        check_unpacked(8 * pieces, file.bytes(), f"{file.path}: {pieces} trials")
        starts = clock.start_ms + duration_ms * np.arange(pieces)
        recording_ms = clock.end_ms - clock.start_ms
    else:
        key = trials.starts or ""
        starts = flat(file, key) * time_scale(file, key, trials.unit)
        recording_ms = np.inf
        wrong = np.flatnonzero(~(np.abs(starts) <= LARGEST_MS))
        if wrong.size:
            raise DataError(
                f"{file.path}: {trials.starts} holds {starts[wrong[0]]:g} ms in row {wrong[0]}; expected the beginning of "
                "every trial; remove the row, or correct it"
            )
    if not len(starts):
        raise DataError(
            f"{file.path}: not one trial of {duration_ms:g} ms in a recording of {recording_ms:g} ms; "
            "expected at least one; correct `trials` in the mapping"
        )
    return np.asarray(starts, dtype=np.float64)


def find_protocols(
    file: Container, traces: Sequence[ContinuousTrace], spans_ms: Sequence[tuple[float, float]]
) -> list[ContinuousTrace]:
    """Continuous inputs that are one trace for all trials, on a clock of their own: each trial begins with its beginning.

    Args:
        file: of the traces.
        traces: all continuous inputs.
        spans_ms: beginning and end of every trial.

    Raises:
        DataError: a trace runs through some trials and not through others.
    """
    found = []
    for trace in traces:
        if trace.names or trace.rows:
            continue
        clock = trace.clock()
        slack = clock.period_ms + 2 * clock.rounding_ms
        covered = [
            clock.begin_ms - slack <= start and stop <= clock.end_ms + slack
            for start, stop in spans_ms
            if abs(start - clock.begin_ms) > slack
        ]
        if any(covered) and not all(covered):
            raise DataError(
                f"{file.path}: {clock.key} runs from {clock.begin_ms:g} to {clock.end_ms:g} ms, through some trials and "
                "not through others; expected it to run through all of them, or to be a protocol that begins with each"
            )
        if not any(covered):
            found.append(trace)
    return found


def rows_left_out(file: Container, mapping: Mapping, trials: set[str | None]) -> list[str]:
    """What is to be said of trials that the tables of events have and the voltage has not.

    Raises:
        DataError: a table has no trial of the voltage.
    """
    if not isinstance(file, SplitTables):
        return []
    spikes, gaps = mapping.known_spikes, mapping.gaps
    keys = [group.times for group in mapping.inputs]
    keys += [spikes.times] if spikes and spikes.times else []
    keys += [gaps.starts] if gaps else []
    found = []
    for table, names in file.names.items():
        if not any(key.strip("/").startswith(f"{table}{{trial}}/") for key in keys):
            continue
        beyond = [name for name in names if name not in trials]
        if len(names) > 1 and len(beyond) == len(names):
            raise DataError(
                f"{file.path}: {table or 'the table'} has the trials {', '.join(names[:5])}, the voltage has "
                f"{', '.join(map(str, sorted(map(str, trials))[:5]))}; expected the same; number them alike"
            )
        if beyond:
            found.append(
                f"{table.rstrip('/') or 'the table'} has rows of {len(beyond)} trials without a voltage, such as "
                f"{beyond[0]}, which are left out; look whether all tables number trials alike"
            )
    return found
