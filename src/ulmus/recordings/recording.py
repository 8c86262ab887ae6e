"""A user's recordings as trials: put together as a mapping says, and checked before anything is written."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int8, Int64

from ulmus.errors import ConfigError, DataError
from ulmus.files.containers import open_container
from ulmus.files.limits import check_unpacked
from ulmus.recordings.event_lists import Events, flat, input_count, read_events, time_scale
from ulmus.recordings.mapping import LARGEST_MS, Inputs, Mapping, OutputSpikes, Trials, event_bins, selected
from ulmus.recordings.voltage import ContinuousTrace, Place, Trace, detected_spikes, in_bins
from ulmus.trials.trial import Header, Trial, label_bins, validate

_MANY = 10  # events; fewer may all lie at the beginning of their trials by chance


class MappedFile:
    """The trials of one file.

    Args:
        path: the file, or a folder of CSV files.
        mapping: where to find what in it.

    Raises:
        ConfigError: the mapping does not fit together or says too little.
        DataError: a key is missing or what it holds is wrong; names file, trial, key and value.
    """

    def __init__(self, path: Path, mapping: Mapping) -> None:
        self.path, self.mapping = path, mapping
        self._file = open_container(path, mapping.format)
        sites = {"soma": mapping.voltage, **mapping.sites}
        self._traces = {site: Trace(self._file, voltage) for site, voltage in sites.items()}
        soma, trials = self._traces["soma"], mapping.trials
        if unlike := [s for s, t in self._traces.items() if (t.rows, t.names) != (soma.rows, soma.names)]:
            raise DataError(
                f"{path}: voltage of {unlike[0]!r} has other trials than that of the soma; expected the same; correct the key"
            )
        self._continuous = [ContinuousTrace(self._file, *item) for item in mapping.continuous.items()]
        for trace in self._continuous:  # one trace may be that of all trials
            if (trace.rows, trace.names) not in ((None, None), (soma.rows, soma.names)):
                raise DataError(
                    f"{path}: the continuous input {trace.channel.name!r} has other trials than the voltage of the soma; "
                    "expected the same, or one trace for all; correct the key"
                )
        self._places = self._find_places(soma, trials)
        self._whole: dict[Inputs | OutputSpikes, Events] = {}  # lists of the whole file
        self.latest: dict[
            Inputs | OutputSpikes, tuple[int, float]
        ] = {}  # how many times were read, the latest in ms
        duration_ms = trials.duration_ms if trials else soma.clock(self._places[0].name).end_ms
        sign = [self._sign(group) for group in mapping.inputs]
        self._first_input = np.cumsum([0, *map(len, sign)])
        rounding_ms = 0.0 if trials else soma.clock(self._places[0].name).rounding_ms
        steps = int(duration_ms / mapping.dt_ms + 1e-6 + 2 * rounding_ms / mapping.dt_ms)
        check_unpacked(8 * steps, self._file.bytes(), f"{path}: trials of {steps} steps")
        self.header = Header(
            steps,
            mapping.dt_ms,
            np.concatenate([*sign, np.ones(len(self._continuous), dtype=np.int8)]),
            tuple(sites),
            "mapped recordings",
            continuous=tuple(trace.channel for trace in self._continuous),
        )

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

    def _find_places(self, soma: Trace, trials: Trials | None) -> list[Place]:
        if trials is None:
            if soma.names is not None:
                return [Place(name=name) for name in soma.names]
            return [Place(row=row) for row in range(soma.rows)] if soma.rows else [Place()]
        if soma.names is not None or soma.rows:
            raise ConfigError(
                f"{self.path} holds several traces under {self.mapping.voltage.values!r}; expected one long trace for "
                "`trials` to cut; leave out `trials`, or name another voltage"
            )
        clock, duration_ms = soma.clock(), trials.duration_ms
        if trials.starts is None:
            pieces = int((clock.end_ms - clock.start_ms) / duration_ms + 1e-6)
            check_unpacked(8 * pieces, self._file.bytes(), f"{self.path}: {pieces} trials")
            starts = clock.start_ms + duration_ms * np.arange(pieces)
        else:
            starts = flat(self._file, trials.starts) * time_scale(self._file, trials.starts, trials.unit)
            wrong = np.flatnonzero(~(np.abs(starts) <= LARGEST_MS))
            if wrong.size:
                raise DataError(
                    f"{self.path}: {trials.starts} holds {starts[wrong[0]]:g} ms in row {wrong[0]}; expected the beginning of "
                    "every trial; remove the row, or correct it"
                )
        if not len(starts):
            raise DataError(
                f"{self.path}: not one trial of {duration_ms:g} ms in a recording of {clock.end_ms - clock.start_ms:g} ms; "
                "expected at least one; correct `trials` in the mapping"
            )
        return [Place(start_ms=start) for start in starts.tolist()]

    def trial(self, index: int) -> Trial:
        """One trial, checked.

        Raises:
            ConfigError: the mapping says too little.
            DataError: names file, trial, key and value.
        """
        place, mapping, header = self._places[index], self.mapping, self.header
        where = f"{self.path}, trial {index if place.name is None else place.name}"
        pairs = [self._inputs(number, index, where) for number in range(len(mapping.inputs))]
        nothing = np.empty(0, dtype=np.int64)
        step, event_input = (np.concatenate(part) for part in zip(*pairs, (nothing, nothing), strict=True))
        order = np.lexsort((event_input, step))
        samples = {site: t.samples(place, header.duration_ms, where) for site, t in self._traces.items()}
        voltage = [in_bins(samples[site], header, t.voltage.at) for site, t in self._traces.items()]
        given = mapping.output_spikes.times
        spikes = (
            self._list(mapping.output_spikes, index, where).time_ms
            if given
            else detected_spikes(samples["soma"], header.duration_ms, mapping.output_spikes)
        )
        if given and spikes.size and label_bins(spikes[-1:], header.dt_ms)[0] >= header.steps:
            raise self._beyond(where, given, spikes[-1])
        cut = {"start_ms": place.start_ms} if mapping.trials else {}
        named = {"name": place.name} if place.name else {}
        trial = Trial(
            event_step=step[order].astype(np.int32),
            event_input=event_input[order].astype(np.uint16),
            voltage_mv=np.stack(voltage, axis=1),
            spike_time_ms=spikes,
            attributes={"file": self.path.name, "trial": index, **named, **cut},
            continuous=self._series(place, where) if self._continuous else None,
        )
        validate(trial, header, where)
        return trial

    def _series(self, place: Place, where: str) -> Float32[np.ndarray, "time channels"]:
        """Values of the continuous inputs in every time bin."""
        columns = []
        for trace in self._continuous:
            own = Place(
                place.name if trace.names else None, place.row if trace.rows else None, place.start_ms
            )
            samples = trace.samples(own, self.header.duration_ms, where)
            columns.append(in_bins(samples, self.header, trace.voltage.at))
        return np.stack(columns, axis=1)

    def _inputs(
        self, number: int, index: int, where: str
    ) -> tuple[Int64[np.ndarray, "events"], Int64[np.ndarray, "events"]]:
        """Time bins and inputs of the events of one group in one trial."""
        group = self.mapping.inputs[number]
        events = self._list(group, index, where)
        step = event_bins(events.time_ms, self.header.dt_ms, events.rounding_ms)
        if step.size and step.max() >= self.header.steps:
            raise self._beyond(where, events.key, events.time_ms.max())
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
        mapping, place = self.mapping, self._places[index]
        if place.name is not None and "{trial}" in f"{group.times}{group.trial}{group.ids}":
            events = read_events(self._file, group, place.name, len(self)).of_trial(index, where)
        else:
            if group not in self._whole:
                events = read_events(self._file, group, None, len(self))
                if events.trial is None and len(self) > 1 and not mapping.trials:
                    raise ConfigError(
                        f"{self.path}: {group.times} is one list, the voltage has {len(self)} trials; expected to know "
                        "the trial of each time; name its key in the mapping with `trial`"
                    )
                self._whole[group] = events.of_trial(0, str(self.path)) if mapping.trials else events
            events = self._whole[group]
            if mapping.trials:
                events = events.cut(place.start_ms, self.header.dt_ms, self.header.steps)
            else:
                events = events.of_trial(index, where)
        number, latest = self.latest.get(group, (0, 0.0))
        self.latest[group] = number + events.time_ms.size, max(latest, float(events.time_ms.max(initial=0.0)))
        return events

    def _beyond(self, where: str, key: str, latest_ms: float) -> DataError:
        duration_ms, shape = self.header.duration_ms, self._traces["soma"].clock(self._places[0].name).shape
        hint = ""
        if 0.05 * duration_ms < latest_ms / 1000 < duration_ms:
            hint = "; a thousandth of that would fit: check `unit`"
        if len(shape) == 2 and shape[0] > shape[1] > 1 and latest_ms < shape[0] * duration_ms / shape[1]:
            hint = f"; its shape {shape} is read as trials and samples and looks transposed"
        return DataError(
            f"{where}: {key} holds {latest_ms:g} ms; expected times within the {self.header.duration_ms:g} ms of the "
            f"voltage{hint}; correct the data or the mapping"
        )


def check_files(
    files: Sequence[tuple[Path, slice]], mapping: Mapping, on_trial: Callable[[int, int | None], None]
) -> list[int]:
    """Read every trial of every file once, so that whatever is wrong is said before anything is written.

    Returns:
        The number of trials of every file.

    Raises:
        ConfigError: the mapping does not fit the files.
        DataError: names file, trial, key and value.
    """
    trials: list[int] = []
    first = MappedFile(files[0][0], mapping).header
    for path, part in files:  # a mistake in the last file is found before all of the first one is read
        recording = MappedFile(path, mapping)
        trials.append(len(range(len(recording))[part]))
        if differences := recording.header.differences(first):
            raise DataError(
                f"{path} differs from {files[0][0]} in {'; '.join(differences)}; expected trials of one layout; leave it out, "
                "say the `count` of inputs, or cut pieces of one length with `trials` in the mapping"
            )
    done = 0
    for path, part in files:
        recording = MappedFile(path, mapping)
        for index in range(len(recording))[part]:
            recording.trial(index)
            done += 1
            on_trial(done, sum(trials))
        for group, (times, latest_ms) in recording.latest.items():
            if times >= _MANY and latest_ms < first.duration_ms / 500:
                raise DataError(
                    f"{path}: all {times} times in {group.times} lie in the first {latest_ms:g} ms of trials of "
                    f"{first.duration_ms:g} ms; expected times throughout; check `unit` in the mapping (s instead of ms?)"
                )
    return trials
