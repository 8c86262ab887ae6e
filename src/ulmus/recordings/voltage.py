"""A trace in a user's file, voltage or another: its clock, its unit, its values in the time bins of a trial, and its spikes."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

from ulmus.errors import ConfigError, DataError
from ulmus.files.hdf5_numbers import Hdf5File
from ulmus.files.keyed_numbers import Container
from ulmus.recordings.event_lists import flat, matches, rounding, time_scale, with_name
from ulmus.recordings.mapping import (
    LARGEST_MS,
    MILLIVOLTS,
    NANOAMPERES,
    Continuous,
    FurtherSignal,
    OutputSpikes,
    Sampled,
    Voltage,
)
from ulmus.trials.header import Channel, Signal
from ulmus.trials.validation import LARGEST_MV

SMALLEST_MV = 0.2
_FAR = 10.0  # times the usual interval between samples


class Place(NamedTuple):
    """Where in its file a trial is: by name in the keys, row of the arrays, and beginning on the file's clock."""

    name: str | None = None
    row: int | None = None
    start_ms: float = 0.0


class Samples(NamedTuple):
    """A stretch of a trace, with times from the beginning of a trial, and a neighbour on either side."""

    time_ms: Float64[np.ndarray, "samples"]
    voltage_mv: Float64[np.ndarray, "samples"]


def widest_ms(samples: Samples, duration_ms: float) -> float:
    """The longest stretch of a trial between two samples where it is far longer than most; else 0."""
    longest = float(np.diff(np.clip(samples.time_ms, 0, duration_ms)).max(initial=0))
    return longest if longest > _FAR * np.median(np.diff(samples.time_ms)) else 0.0


class _Clock(NamedTuple):
    """When the samples under a key were taken: at `time_ms`, or evenly from `start_ms` on.

    Attributes:
        key: where they are.
        shape: of what is there; a side of 1 counts for nothing.
        samples: in a trace.
        start_ms: time of the first one.
        per_ms: samples in a ms.
        time_ms: of every sample.
        rounding_ms: how exactly the times are stored.
    """

    key: str
    shape: tuple[int, ...]
    samples: int
    start_ms: float
    per_ms: float
    time_ms: Float64[np.ndarray, "samples"] | None
    rounding_ms: float

    @property
    def period_ms(self) -> float:
        """Time between two samples."""
        return 1 / self.per_ms

    @property
    def begin_ms(self) -> float:
        """When the first sample was taken."""
        return self.start_ms if self.time_ms is None else float(self.time_ms[0])

    @property
    def end_ms(self) -> float:
        """When the last sample has passed."""
        if self.time_ms is not None:
            return float(self.time_ms[-1]) + self.period_ms
        return self.start_ms + self.samples / self.per_ms


class Trace:
    """A voltage, or another sampled signal, of one file.

    Args:
        file: where it is.
        voltage: what the mapping says of it.

    Raises:
        ConfigError: neither the mapping nor the file says unit or sampling.
        DataError: no such key, or not a trace.
    """

    may_be_missing = True
    """Whether NaN stands for what was not recorded."""

    def __init__(self, file: Container, voltage: Sampled) -> None:
        self._file, self.voltage = file, voltage
        self._clocks: dict[str | None, _Clock] = {}
        self.names = matches(file, voltage.values, "trial") if "{trial}" in voltage.values else None
        shape = self.clock(self.names[0] if self.names else None).shape
        self.rows = shape[0] if len(shape) == 2 and 1 not in shape else None

    def clock(self, name: str | None = None) -> _Clock:
        """When the samples of a trial were taken."""
        if name not in self._clocks:
            self._clocks = {name: self._find_clock(name)}
        return self._clocks[name]

    def _find_clock(self, name: str | None) -> _Clock:
        key = with_name(self.voltage.values, name)
        known = self._file.series(key)
        if self.voltage.times or self.voltage.sampling_hz:  # which then count more than what the file says
            known = {"values": known.get("values", key)}
        settings = self.voltage.model_copy(update={"values": key, **known})
        start_ms = self.voltage.start_ms if self.voltage.start_ms is not None else settings.start_ms or 0.0
        key, path = settings.values, self._file.path
        shape = self._file.entry(key).shape or np.shape(self._file.read(key))
        # Two dimensions are time and channels in NWB; MATLAB has two always.
        single = name is not None or (isinstance(self._file, Hdf5File) and self._file.nwb)
        sides = [side for side in shape if side != 1]
        samples = sides[-1] if sides else 1
        if len(shape) > 2 or not 1 <= len(sides) <= (1 if single else 2) or samples < 2:
            wanted = "one trace" if single else "one trace, or trials and samples"
            raise DataError(
                f"{path}: {key} has shape {shape}; expected {wanted}; name another key in the mapping"
            )
        if settings.times:
            times = with_name(settings.times, name)
            stored, scale = flat(self._file, times), time_scale(self._file, times, settings.time_unit)
            time_ms = stored.astype(np.float64) * scale
            if wrong := _wrong_times(time_ms, samples):
                raise DataError(f"{path}: {times} {wrong}")
            rounding_ms = rounding(stored) * scale
            period_ms = float(np.median(np.diff(time_ms)))
            return _Clock(key, shape, samples, float(time_ms[0]), 1 / period_ms, time_ms, rounding_ms)
        if self._file.scattered(key):
            raise DataError(
                f"{path}: rows of other trials lie between those of {key}, and nothing says when each was sampled; expected "
                "the rows of a trial behind each other, or `times`; where several columns number trials, name them all in "
                "`trial_column`"
            )
        if not settings.sampling_hz:
            raise ConfigError(
                f"{path} does not say when {key} was sampled; expected `sampling_hz`, or `times` with the key of the sample "
                "times; add one to the mapping"
            )
        return _Clock(key, shape, samples, start_ms, settings.sampling_hz / 1000, None, 0.0)

    def samples(self, place: Place, duration_ms: float, where: str) -> Samples:
        """The trace during a trial, checked.

        Raises:
            ConfigError: the unit is not known.
            DataError: not finite, not in this unit, or shorter than the trial; names `where` and the values.
        """
        clock = self.clock(place.name)
        start, end = place.start_ms, place.start_ms + duration_ms
        slack = clock.period_ms * 0.001 + 2 * clock.rounding_ms
        if start < clock.start_ms - clock.period_ms - slack or end > clock.end_ms + slack:
            raise DataError(
                f"{where}: {clock.key} runs from {clock.start_ms:g} to {clock.end_ms:g} ms, the trial from {start:g} to "
                f"{end:g} ms; expected a trace of the whole trial; trials begin at 0 ms unless the mapping says `trial_start: "
                "first_sample`, or `trials` gives `starts` or cuts one recording into pieces"
            )
        if clock.time_ms is None:
            low, high = ((edge - clock.start_ms) * clock.per_ms for edge in (start, end))
            first, stop = max(0, int(low) - 2), min(clock.samples, int(high) + 3)
            time_ms = clock.start_ms + np.arange(first, stop) / clock.per_ms - start
        else:
            first = max(0, int(np.searchsorted(clock.time_ms, start)) - 2)
            stop = int(np.searchsorted(clock.time_ms, end)) + 2
            time_ms = clock.time_ms[first:stop] - start
        values = np.asarray(self._stored(clock, place.row, slice(first, stop)), dtype=np.float64)
        wrong = ~np.isfinite(values) & ~(np.isnan(values) if self.may_be_missing else False)
        if wrong.any() or np.isnan(values).all():
            at = int(np.flatnonzero(wrong)[0]) if wrong.any() else 0
            raise DataError(
                f"{where}: {clock.key} is {values[at]} at sample {first + at}; expected finite values"
                f"{', or NaN in gaps' if self.may_be_missing else ''}; repair it, or leave this trial out"
            )
        return Samples(time_ms, values * self._scale(clock.key, values, where))

    def _stored(self, clock: _Clock, row: int | None, part: slice) -> Any:
        """Samples of a row, or of the one trace that there is."""
        if row is not None:
            return self._file.read(clock.key, (row, part))
        if len(clock.shape) == 2:
            return self._file.read(clock.key, (part, 0) if clock.shape[1] == 1 else (0, part))
        return self._file.read(clock.key, part)

    def _unit(self, told: str | None, what: str, such_as: str) -> str:
        """The unit that the mapping tells, or the file."""
        key = self.clock(self.names[0] if self.names else None).key
        unit = told or self._file.entry(key).unit
        if unit is None:
            raise ConfigError(
                f"{self._file.path} does not say the unit of the {what} in {key}; expected one such as {such_as}; add `unit` to "
                "the mapping"
            )
        return unit

    def _scale(self, key: str, values: Float64[np.ndarray, "samples"], where: str) -> float:
        unit = (self.voltage.unit if isinstance(self.voltage, Voltage) else None) or self._file.entry(
            key
        ).unit
        largest = float(np.nanmax(np.abs(values)))
        fitting = [name for name, mv in MILLIVOLTS.items() if 10 < largest * mv <= LARGEST_MV]
        hint = f"; it looks like {fitting[0]}: declare `unit: {fitting[0]}`" if fitting else ""
        span = f"from {np.nanmin(values):.4g} to {np.nanmax(values):.4g}"
        if unit not in MILLIVOLTS:
            raise ConfigError(
                f"{where}: {key} runs {span} in an unknown unit; expected `unit` in the mapping{hint or '; add it'}"
            )
        scale = MILLIVOLTS[unit]
        if not SMALLEST_MV < largest * scale <= LARGEST_MV:
            raise DataError(
                f"{where}: {key} runs {span} {unit}; expected a membrane voltage{hint or '; check key and unit'}"
            )
        return scale


class ContinuousTrace(Trace):
    """A continuous input of one file.

    Args:
        file: where it is.
        name: what it is called, for messages.
        continuous: what the mapping says of it.

    Raises:
        ConfigError: neither the mapping nor the file says unit or sampling.
        DataError: no such key, or not a trace.
    """

    may_be_missing = False

    def __init__(self, file: Container, name: str, continuous: Continuous) -> None:
        super().__init__(file, continuous)
        unit = self._unit(continuous.unit, f"continuous input {name!r}", "nA or pA")
        self._factor = NANOAMPERES.get(unit, 1.0)
        self.channel = Channel(name, "nA" if unit in NANOAMPERES else unit, continuous.scale)

    def _scale(self, key: str, values: Float64[np.ndarray, "samples"], where: str) -> float:
        return self._factor


class SignalTrace(Trace):
    """A further signal of one file.

    Args:
        file: where it is.
        name: what it is called, for messages.
        signal: what the mapping says of it.

    Raises:
        ConfigError: neither the mapping nor the file says unit or sampling.
        DataError: no such key, or not a trace.
    """

    def __init__(self, file: Container, name: str, signal: FurtherSignal) -> None:
        super().__init__(file, signal)
        self.signal = Signal(name, self._unit(signal.unit, f"signal {name!r}", "uM or dF/F"))

    def _scale(self, key: str, values: Float64[np.ndarray, "samples"], where: str) -> float:
        return 1.0


def _wrong_times(time_ms: Float64[np.ndarray, "times"], samples: int) -> str | None:
    """What is wrong with the times of samples, if anything."""
    if time_ms.size != samples:
        return f"has {time_ms.size} entries for {samples} samples; expected the time of each; name another key in the mapping"
    if not (np.abs(time_ms) <= LARGEST_MS).all():
        return f"goes beyond {LARGEST_MS:g} ms; expected the time of each sample; correct `time_unit` or the file"
    back = np.flatnonzero(np.diff(time_ms) <= 0)
    if not back.size:
        return None
    at = int(back[0]) + 1
    return (
        f"goes from {time_ms[at - 1]:g} to {time_ms[at]:g} ms at entry {at}; expected times that ascend; if sweeps follow each "
        "other, name the columns that number them with `trial_column`, or give `sampling_hz` instead of times and cut with "
        "`trials: {duration_ms: ...}`"
    )


def in_bins(samples: Samples, steps: int, dt_ms: float, at: str) -> Float32[np.ndarray, "time"]:
    """Value of every time bin: at one edge, interpolated linearly and held where the last sample was just before, or the mean.

    A mean needs two samples in every bin; otherwise it is the value at the start.
    """
    period_ms = float(np.median(np.diff(samples.time_ms))) if samples.time_ms.size > 1 else np.inf
    if at == "mean" and period_ms <= dt_ms / 2:
        # A sample that rounding puts just before an edge belongs after it.
        place = np.floor((samples.time_ms + 0.001 * period_ms) / dt_ms).astype(np.int64)
        inside = (place >= 0) & (place < steps)
        count = np.bincount(place[inside], minlength=steps)
        if count.all():
            summed = np.bincount(place[inside], samples.voltage_mv[inside], minlength=steps)
            return np.asarray(summed / count, dtype=np.float32)
    edge = np.arange(steps) + (at == "end")
    return np.asarray(np.interp(edge * dt_ms, *samples), dtype=np.float32)


def detected_spikes(
    samples: Samples, duration_ms: float, settings: OutputSpikes
) -> Float64[np.ndarray, "spikes"]:
    """Times of local maxima above a threshold; of those within the refractory time, that of the highest.

    A flat top, as a coarse converter leaves it, counts once, at its beginning.
    """
    time_ms, voltage_mv = samples
    start_of_run = np.flatnonzero(np.diff(voltage_mv, prepend=np.nan) != 0)
    height = voltage_mv[start_of_run]
    peak = (height[1:-1] > height[:-2]) & (height[1:-1] > height[2:]) & (height[1:-1] > settings.threshold_mv)
    kept: list[int] = []
    for sample in start_of_run[1:-1][peak].tolist():
        if not 0 <= time_ms[sample] < duration_ms:
            continue
        if kept and time_ms[sample] - time_ms[kept[-1]] < settings.refractory_ms:
            if voltage_mv[sample] > voltage_mv[kept[-1]]:
                kept[-1] = sample
        else:
            kept.append(sample)
    return np.asarray(time_ms[kept], dtype=np.float64)
