"""A user's recordings as trials: put together as a mapping says, and checked before anything is written."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int8, Int64

from ulmus.errors import ConfigError, DataError
from ulmus.files.containers import open_container
from ulmus.files.limits import check_unpacked
from ulmus.files.split_tables import SplitTables
from ulmus.recordings.event_lists import (
    Events,
    flat,
    input_count,
    read_events,
    time_scale,
    with_name,
)
from ulmus.recordings.mapping import Inputs, Mapping, OutputSpikes, event_bins, selected
from ulmus.recordings.places import find_places, find_protocols, rows_left_out
from ulmus.recordings.voltage import (
    ContinuousTrace,
    Place,
    Samples,
    SignalTrace,
    Trace,
    detected_spikes,
    in_bins,
    widest_ms,
)
from ulmus.trials.header import Header
from ulmus.trials.trial import Trial, label_bins
from ulmus.trials.validation import validate

SLOW_HZ = 1000.0
"""A voltage of fewer samples a second is rare enough to be a mistake where times do not fit it."""
_MANY = 10  # events; fewer may all lie at the beginning of their trials by chance


class MappedFile:
    """The trials of one file.

    Args:
        path: the file, or a folder of CSV files.
        mapping: where to find what in it.
        steps: of a trial, where another file has a longer one; what is shorter is filled up with what was not recorded.
        gaps: whether trials say which of their steps were recorded.

    Raises:
        ConfigError: the mapping does not fit together or says too little.
        DataError: a key is missing or what it holds is wrong; names file, trial, key and value.
    """

    def __init__(self, path: Path, mapping: Mapping, steps: int | None = None, gaps: bool = True) -> None:
        self.path, self.mapping = path, mapping
        self._file = open_container(path, mapping.format)
        if mapping.trial_column:
            self._file = SplitTables(self._file, mapping.trial_column)
        sites = {} if mapping.voltage is None else {"soma": mapping.voltage, **mapping.sites}
        self._traces = {site: Trace(self._file, voltage) for site, voltage in sites.items()}
        self._signals = [SignalTrace(self._file, *item) for item in mapping.signals.items()]
        self._continuous = [ContinuousTrace(self._file, *item) for item in mapping.continuous.items()]
        leading = next(iter((*self._traces.values(), *self._signals, *self._continuous)), None)
        if leading is not None:
            self._check_same_trials(leading)
        self._places = find_places(self._file, mapping, leading)
        # They cut one recording into pieces, or say how long trials without a trace are.
        trials = mapping.trials
        self._cut = trials is not None and (leading is not None or trials.starts is not None)
        self._whole: dict[Inputs | OutputSpikes, Events] = {}  # lists of the whole file
        self.latest: dict[
            Inputs | OutputSpikes, tuple[int, float]
        ] = {}  # how many times were read, the latest in ms
        sign = [self._sign(group) for group in mapping.inputs]
        self._first_input = np.cumsum([0, *map(len, sign)])
        self.lengths = [self._steps(place, leading) for place in self._places]
        self._protocols: list[ContinuousTrace] = []
        if mapping.trial_start == "first_sample":
            steps_ms = [length * mapping.dt_ms for length in self.lengths]
            spans_ms = [
                (place.start_ms, place.start_ms + ms)
                for place, ms in zip(self._places, steps_ms, strict=True)
            ]
            self._protocols = find_protocols(self._file, self._continuous, spans_ms)
        self.left_out = rows_left_out(self._file, mapping, {place.name for place in self._places})
        check_unpacked(
            8 * max(self.lengths), self._file.bytes(), f"{path}: trials of {max(self.lengths)} steps"
        )
        self.header = Header(
            steps or max(self.lengths),
            mapping.dt_ms,
            np.concatenate([*sign, np.ones(len(self._continuous), dtype=np.int8)]),
            tuple(sites),
            "mapped recordings",
            continuous=tuple(trace.channel for trace in self._continuous),
            spikes=mapping.known_spikes is not None,
            gaps=gaps,
            signals=tuple(trace.signal for trace in self._signals),
        )

    def _check_same_trials(self, leading: Trace) -> None:
        for site, trace in self._traces.items():
            if (trace.rows, trace.names) != (leading.rows, leading.names):
                raise DataError(
                    f"{self.path}: voltage of {site!r} has other trials than that of the soma; expected the same; correct the key"
                )
        what = "voltage of the soma" if self._traces else "first trace"
        for trace in self._signals:
            if (trace.rows, trace.names) != (leading.rows, leading.names):
                raise DataError(
                    f"{self.path}: the signal {trace.signal.name!r} has other trials than the {what}; expected the same; correct "
                    "the key"
                )
        for trace in self._continuous:  # one trace may be that of all trials
            if (trace.rows, trace.names) not in ((None, None), (leading.rows, leading.names)):
                raise DataError(
                    f"{self.path}: the continuous input {trace.channel.name!r} has other trials than the {what}; "
                    "expected the same, or one trace for all; correct the key"
                )

    def _steps(self, place: Place, leading: Trace | None) -> int:
        """Length of a trial in time bins."""
        duration_ms, rounding_ms = 0.0, 0.0
        if self.mapping.trials:
            duration_ms = self.mapping.trials.duration_ms
        elif leading is not None:
            clock = leading.clock(place.name)
            duration_ms, rounding_ms = clock.end_ms - place.start_ms, clock.rounding_ms
        dt_ms = self.mapping.dt_ms
        return int(duration_ms / dt_ms + 1e-6 + 2 * rounding_ms / dt_ms)

    def __len__(self) -> int:
        return len(self._places)

    def _sign(self, group: Inputs) -> Int8[np.ndarray, "inputs"]:
        """+1 or -1 for every input of a group."""
        count = input_count(self._file, group, self._places[0].name)
        try:
            inhibitory = selected(group.inhibitory, count, group.first_id)
        except ValueError as error:
            raise ConfigError(
                f"{self.path}: inhibitory inputs of {group.times}: {error}; expected some of its {count} inputs; correct "
                "`inhibitory` or `count` in the mapping"
            ) from error
        return np.where(inhibitory, -1, 1).astype(np.int8)

    def trial(self, index: int) -> Trial:
        """One trial, checked.

        Raises:
            ConfigError: the mapping says too little.
            DataError: names file, trial, key and value.
        """
        place, mapping, steps = self._places[index], self.mapping, self.lengths[index]
        where = f"{self.path}, trial {index if place.name is None else place.name}"
        pairs = [self._inputs(number, index, where) for number in range(len(mapping.inputs))]
        nothing = np.empty(0, dtype=np.int64)
        step, event_input = (np.concatenate(part) for part in zip(*pairs, (nothing, nothing), strict=True))
        order = np.lexsort((event_input, step))
        samples = {site: t.samples(place, steps * mapping.dt_ms, where) for site, t in self._traces.items()}
        voltage = np.full((self.header.steps, len(samples)), np.nan, dtype=np.float32)
        for column, (site, trace) in zip(voltage.T, self._traces.items(), strict=True):
            column[:steps] = in_bins(samples[site], steps, mapping.dt_ms, trace.voltage.at)
        signals = np.full((self.header.steps, len(self._signals)), np.nan, dtype=np.float32)
        for column, further in zip(signals.T, self._signals, strict=True):
            column[:steps] = in_bins(
                further.samples(place, steps * mapping.dt_ms, where), steps, mapping.dt_ms, further.voltage.at
            )
        spikes = self._spikes(index, samples.get("soma"), where)
        recorded = self._recorded(index, np.concatenate([voltage, signals], axis=1))
        voltage[~recorded], signals[~recorded] = np.nan, np.nan
        cut = {"start_ms": place.start_ms} if self._cut or place.start_ms else {}
        widest = max((widest_ms(trace, steps * mapping.dt_ms) for trace in samples.values()), default=0.0)
        apart = {"samples_apart_ms": widest} if widest > mapping.dt_ms else {}
        named = {"name": place.name} if place.name else {}
        trial = Trial(
            event_step=step[order].astype(np.int32),
            event_input=event_input[order].astype(np.uint16),
            voltage_mv=voltage,
            spike_time_ms=spikes[recorded[label_bins(spikes, mapping.dt_ms)]],
            attributes={"file": self.path.name, "trial": index, **named, **cut, **apart},
            continuous=self._series(place, steps, where) if self._continuous else None,
            recorded=recorded if self.header.gaps else None,
            signals=signals if self._signals else None,
        )
        validate(trial, self.header, where)
        return trial

    def _spikes(self, index: int, soma: Samples | None, where: str) -> Float64[np.ndarray, "spikes"]:
        """Output spikes of a trial: given, found in the voltage, or none where they are not wanted."""
        settings, steps, dt_ms = self.mapping.known_spikes, self.lengths[index], self.mapping.dt_ms
        if settings is None:
            return np.empty(0)
        if not settings.times:
            return np.empty(0) if soma is None else detected_spikes(soma, steps * dt_ms, settings)
        spikes = self._list(settings, index, where).time_ms
        if spikes.size and label_bins(spikes[-1:], dt_ms)[0] >= steps:
            raise self._beyond(where, settings.times, spikes[-1], index)
        return spikes

    def _recorded(self, index: int, answers: Float32[np.ndarray, "time columns"]) -> Bool[np.ndarray, "time"]:
        """Steps of a trial in which something was recorded: spikes that were found in a voltage are known where it is."""
        recorded = np.arange(self.header.steps) < self.lengths[index]
        spikes = self.mapping.known_spikes
        if spikes is None:
            recorded &= np.isfinite(answers).any(axis=1)
        elif not spikes.times:
            recorded &= np.isfinite(answers[:, 0])
        edges = np.arange(self.header.steps) * self.mapping.dt_ms
        for start, stop in self._gaps(index):
            recorded &= (edges + self.mapping.dt_ms <= start) | (edges >= stop)
        return recorded

    def _gaps(self, index: int) -> list[tuple[float, float]]:
        """Beginning and end of the gaps of a trial, from its beginning, in ms."""
        settings, place = self.mapping.gaps, self._places[index]
        if settings is None:
            return []
        keys = [with_name(key, place.name) for key in (settings.starts, settings.stops)]
        starts, stops = (flat(self._file, key) * time_scale(self._file, key, settings.unit) for key in keys)
        if starts.shape != stops.shape or not (starts <= stops).all():
            raise DataError(
                f"{self.path}: {keys[0]} holds {starts.size} times and {keys[1]} {stops.size}, or a gap ends before it begins; "
                "expected pairs; correct the file or the mapping"
            )
        mine = slice(None)
        if settings.trial:
            mine = flat(self._file, with_name(settings.trial, place.name)) == index
        pairs = zip(starts[mine] - place.start_ms, stops[mine] - place.start_ms, strict=True)
        return [(float(start), float(stop)) for start, stop in pairs]

    def _series(self, place: Place, steps: int, where: str) -> Float32[np.ndarray, "time channels"]:
        """Values of the continuous inputs in every time bin; zero after the end of a trial."""
        series = np.zeros((self.header.steps, len(self._continuous)), dtype=np.float32)
        for column, trace in zip(series.T, self._continuous, strict=True):
            own = Place(
                place.name if trace.names else None, place.row if trace.rows else None, place.start_ms
            )
            if trace in self._protocols:
                own = Place(start_ms=trace.clock().begin_ms)
            samples = trace.samples(own, steps * self.mapping.dt_ms, where)
            column[:steps] = in_bins(samples, steps, self.mapping.dt_ms, trace.voltage.at)
        return series

    def _inputs(
        self, number: int, index: int, where: str
    ) -> tuple[Int64[np.ndarray, "events"], Int64[np.ndarray, "events"]]:
        """Time bins and inputs of the events of one group in one trial."""
        group = self.mapping.inputs[number]
        events = self._list(group, index, where)
        step = event_bins(events.time_ms, self.header.dt_ms, events.rounding_ms)
        if step.size and step.max() >= self.lengths[index]:
            raise self._beyond(where, events.key, events.time_ms.max(), index)
        first, stop = self._first_input[number : number + 2]
        event_input = events.id - group.first_id + first
        wrong = (event_input < first) | (event_input >= stop)
        if wrong.any():
            raise DataError(
                f"{where}: {group.ids or events.key} names input {events.id[wrong][0]}; expected {group.first_id} to "
                f"{group.first_id + stop - first - 1}; correct the data, or `count` and `first_id` in the mapping"
            )
        return step, event_input

    def _list(self, group: Inputs | OutputSpikes, index: int, where: str) -> Events:
        """The times of a group of inputs or of the output in one trial, from its beginning."""
        place = self._places[index]
        if place.name is not None and "{trial}" in f"{group.times}{group.trial}{group.ids}":
            events = read_events(self._file, group, place.name, len(self))
            events = events.of_trial(index, where, place.start_ms)
        else:
            if group not in self._whole:
                events = read_events(self._file, group, None, len(self))
                if events.trial is None and len(self) > 1 and not self._cut:
                    raise ConfigError(
                        f"{self.path}: {group.times} is one list, but there are {len(self)} trials; expected to know "
                        "the trial of each time; name its key in the mapping with `trial`"
                    )
                self._whole[group] = events.of_trial(0, str(self.path)) if self._cut else events
            events = self._whole[group]
            if self._cut:
                events = events.cut(place.start_ms, self.header.dt_ms, self.lengths[index])
            else:
                events = events.of_trial(index, where, place.start_ms)
        number, latest = self.latest.get(group, (0, 0.0))
        self.latest[group] = number + events.time_ms.size, max(latest, float(events.time_ms.max(initial=0.0)))
        return events

    def _beyond(self, where: str, key: str, latest_ms: float, index: int) -> DataError:
        duration_ms = self.lengths[index] * self.mapping.dt_ms
        soma = self._traces.get("soma")
        shape = () if soma is None else soma.clock(self._places[index].name).shape
        hint = ""
        if 0.05 * duration_ms < latest_ms / 1000 < duration_ms:
            hint = "; a thousandth of that would fit: check `unit`"
        if len(shape) == 2 and shape[0] > shape[1] > 1 and latest_ms < shape[0] * duration_ms / shape[1]:
            hint = f"; its shape {shape} is read as trials and samples and looks transposed"
        return DataError(
            f"{where}: {key} holds {latest_ms:g} ms; expected times within the {duration_ms:g} ms of the "
            f"{'trial' if soma is None else 'voltage'}{hint}; correct the data or the mapping"
        )


class Checked(NamedTuple):
    """What all files together hold.

    Attributes:
        trials: number of trials of every file.
        steps: of the longest trial.
        gaps: whether some steps of some trials were not recorded, or trials differ in length.
        left_out: what is not read, for the user.
    """

    trials: list[int]
    steps: int
    gaps: bool
    left_out: list[str]


def check_files(
    files: Sequence[tuple[Path, slice]], mapping: Mapping, on_trial: Callable[[int, int | None], None]
) -> Checked:
    """Read every trial of every file once, so that whatever is wrong is said before anything is written.

    Raises:
        ConfigError: the mapping does not fit the files.
        DataError: names file, trial, key and value.
    """
    trials: list[int] = []
    left_out: list[str] = []
    steps, gaps = 1, False
    first = MappedFile(files[0][0], mapping).header
    for path, part in files:  # a mistake in the last file is found before all of the first one is read
        recording = MappedFile(path, mapping)
        lengths = recording.lengths[part]
        trials.append(len(lengths))
        left_out += recording.left_out
        steps = max(steps, *lengths) if lengths else steps
        if differences := replace(recording.header, steps=first.steps).differences(first):
            raise DataError(
                f"{path} differs from {files[0][0]} in {'; '.join(differences)}; expected trials of one layout; leave it out, "
                "or say the `count` of inputs"
            )
    done = 0
    for path, part in files:
        recording = MappedFile(path, mapping, steps)
        for index in range(len(recording))[part]:
            trial = recording.trial(index)
            lost = trial.recorded is not None and not trial.recorded.all()
            answers = trial.voltage_mv if trial.signals is None else trial.signals
            gaps = gaps or lost or bool(np.isnan(trial.voltage_mv).any()) or bool(np.isnan(answers).any())
            done += 1
            on_trial(done, sum(trials))
        for group, (times, latest_ms) in recording.latest.items():
            if times >= _MANY and latest_ms < first.duration_ms / 500:
                rate_hz = mapping.voltage.sampling_hz if mapping.voltage else None
                slow = rate_hz is not None and rate_hz < SLOW_HZ
                raise DataError(
                    f"{path}: all {times} times in {group.times} lie in the first {latest_ms:g} ms of trials of "
                    f"{first.duration_ms:g} ms; expected times throughout; "
                    + (
                        f"check `sampling_hz` of the voltage: {rate_hz:g} Hz makes the trials that long (kHz instead of Hz?)"
                        if slow
                        else "check `unit` in the mapping (s instead of ms?)"
                    )
                )
    return Checked(trials, steps, gaps, left_out)
