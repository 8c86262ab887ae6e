"""One HDF5 file of a store: some trials behind each other, uncompressed, so that windows can be read without the rest."""

import json
import math
import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int64

from ulmus.errors import DataError
from ulmus.files.hdf5 import new_hdf5
from ulmus.files.reading import bytes_at, explained
from ulmus.trials.header import Header
from ulmus.trials.trial import Trial, label_bins, step_offsets
from ulmus.trials.trial_source import Clip, as_trial
from ulmus.trials.validation import validate

DESCRIPTIONS = {
    "event_input": "input of each event; trials behind each other, ordered by step",
    "event_base": "first event of each trial in event_input, and the total",
    "step_offset": "first event of each step, counted from the trial's event_base, and the trial's total",
    "voltage_mv": "membrane voltage at the beginning of each step",
    "spike_time_ms": "output spikes from the beginning of their trial; trials behind each other",
    "spike_base": "first spike of each trial in spike_time_ms, and the total",
    "attributes": "what is known of each trial alone, as JSON",
    "continuous": "value of every continuous input in each step, where there are such inputs",
    "signals": "value of every further signal of the neuron at the beginning of each step, where there are such signals",
    "recorded": "1 where a step was recorded, 0 in gaps and beyond the end of a shorter trial; absent where all were",
}
UNITS = {"voltage_mv": "mV", "spike_time_ms": "ms"}
_DTYPES = {
    "event_input": "<u2",
    "event_base": "<i8",
    "step_offset": "<u4",
    "voltage_mv": "<f4",
    "spike_time_ms": "<f8",
    "spike_base": "<i8",
    "continuous": "<f4",
    "signals": "<f4",
    "recorded": "|u1",
}
_OPEN_SHARDS = 256  # at a time in one process: each costs a file descriptor, and 1024 is a common limit
_KNOWN_SHARDS = 1 << 14  # that were checked: a million trials
_REMEDY = "restore the file from a copy, or delete the store and make it again"


def write_shard(path: Path, header: Header, first: int, trials: Sequence[Trial]) -> None:
    """Write validated trials `first`, `first` + 1, ... to a new file; the same trials give the same bytes."""
    offsets = np.stack([step_offsets(trial.event_step, header.steps) for trial in trials])
    attributes = [json.dumps(trial.attributes, sort_keys=True).encode("ascii") for trial in trials]
    arrays = {
        "event_input": np.concatenate([trial.event_input for trial in trials]),
        "event_base": _bases([trial.event_input.size for trial in trials]),
        "step_offset": offsets.astype(np.uint32),
        "voltage_mv": np.stack([trial.voltage_mv for trial in trials]),
        "spike_time_ms": np.concatenate([trial.spike_time_ms for trial in trials]),
        "spike_base": _bases([trial.spike_time_ms.size for trial in trials]),
        "attributes": np.array(attributes, dtype=f"S{max(map(len, attributes))}"),
    }
    if header.continuous:
        arrays["continuous"] = np.stack(
            [trial.continuous for trial in trials if trial.continuous is not None]
        )
    if header.signals:
        arrays["signals"] = np.stack([trial.signals for trial in trials if trial.signals is not None])
    if header.gaps:
        arrays["recorded"] = np.stack([trial.recorded for trial in trials if trial.recorded is not None])
    # Aligned, so that a file mapped into memory could be used without a copy.
    with new_hdf5(path, libver=("earliest", "v110"), alignment_threshold=1, alignment_interval=64) as file:
        file.attrs["dt_ms"] = header.dt_ms
        file.attrs["steps"] = header.steps
        file.attrs["inputs"] = header.inputs
        file.attrs["sites"] = list(header.sites)
        file.attrs["first_trial"] = first
        for key, array in arrays.items():
            dataset = file.create_dataset(key, data=array.astype(_DTYPES.get(key, array.dtype), copy=False))
            dataset.attrs["description"] = DESCRIPTIONS[key]
            if key in UNITS:
                dataset.attrs["unit"] = UNITS[key]
            if key in ("continuous", "signals"):
                named = header.continuous if key == "continuous" else header.signals
                dataset.attrs["unit"] = [each.unit for each in named]
            if key in ("voltage_mv", "step_offset"):
                dataset.attrs["dt_ms"] = header.dt_ms


def _bases(counts: Sequence[int]) -> Int64[np.ndarray, "trials_plus_one"]:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


class Layout(NamedTuple):
    """Where the arrays of a shard lie in its file: name to (byte offset or None when empty, dtype, shape)."""

    arrays: dict[str, tuple[int | None, np.dtype[Any], tuple[int, ...]]]


class Shard:
    """One shard file, read piece by piece: a mapped one would end the process when somebody cuts it meanwhile."""

    def __init__(self, path: Path, header: Header, layout: Layout) -> None:
        try:
            self._file = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise _damaged(path, f"cannot be opened ({error.strerror})") from error
        self._path, self._arrays = path, layout.arrays
        self._dt_ms, self._steps, self._sites = header.dt_ms, header.steps, len(header.sites)
        self._channels, self._signals, self._gaps = len(header.continuous), len(header.signals), header.gaps
        self._event_base: list[int] = self._whole("event_base").tolist()
        self._spike_base: list[int] = self._whole("spike_base").tolist()

    def __del__(
        self, close: Callable[[int], None] = os.close
    ) -> None:  # modules may be gone when a process ends
        if (file := getattr(self, "_file", None)) is not None:
            close(file)

    def __len__(self) -> int:
        return len(self._event_base) - 1

    def _read(self, key: str, first: int, count: int) -> Any:
        """So many values of an array from a place on, whatever its shape."""
        offset, dtype, shape = self._arrays[key]
        if count < 0 or first < 0 or first + count > math.prod(shape):
            raise _damaged(self._path, f"holds offsets that do not fit {key} of shape {shape}")
        if not count or offset is None:
            return np.empty(0, dtype)
        size = count * dtype.itemsize
        data = bytes_at(self._file, offset + first * dtype.itemsize, size)
        if len(data) < size:
            raise _damaged(self._path, "was cut while it was read")
        return np.frombuffer(data, dtype)

    def _whole(self, key: str) -> Any:
        return self._read(key, 0, math.prod(self._arrays[key][2]))

    def clip(self, index: int, start: int, stop: int) -> Clip:
        """Steps `start` to `stop` of the shard's trial `index`; a spike belongs to the clip that its label bin is in."""
        offsets = self._read("step_offset", index * (self._steps + 1) + start, stop - start + 1)
        base, end = self._event_base[index : index + 2]
        first, last = base + int(offsets[0]), base + int(offsets[-1])
        if last > end:
            raise _damaged(self._path, f"holds step_offset {last - base} in a trial of {end - base} events")
        events = self._read("event_input", first, last - first)
        voltage = self._steps_of("voltage_mv", index, start, stop, self._sites)
        continuous = (
            self._steps_of("continuous", index, start, stop, self._channels) if self._channels else None
        )
        base, end = self._spike_base[index : index + 2]
        times = self._read("spike_time_ms", base, end - base)
        bins = label_bins(times, self._dt_ms)
        if stop - start < self._steps:  # else all of them, so that a check of the trial sees wrong ones
            inside = (bins >= start) & (bins < stop)
            times, bins = times[inside], bins[inside] - start
        recorded = (
            self._steps_of("recorded", index, start, stop, 1)[:, 0].astype(bool) if self._gaps else None
        )
        signals = self._steps_of("signals", index, start, stop, self._signals) if self._signals else None
        return Clip(offsets, events, voltage, times, bins, continuous, recorded, signals)

    def _steps_of(self, key: str, index: int, start: int, stop: int, width: int) -> Any:
        first = (index * self._steps + start) * width
        return self._read(key, first, (stop - start) * width).reshape(stop - start, width)

    def attributes(self, index: int) -> dict[str, Any]:
        """What is known of the shard's trial `index` alone."""
        known = json.loads(self._read("attributes", index, 1)[0])
        if not isinstance(known, dict):
            raise _damaged(self._path, f"holds attributes of trial {index} that are no JSON object")
        return known

    def trial(self, index: int) -> Trial:
        """The shard's trial `index`."""
        clip = self.clip(index, 0, self._steps)
        return as_trial(clip, 0, self._dt_ms, self.attributes(index))

    def recorded_steps(self) -> int:
        """Steps that were recorded, over all trials."""
        return int(self._whole("recorded").sum()) if self._gaps else len(self) * self._steps

    def counts(self) -> tuple[Int64[np.ndarray, "inputs"], Int64[np.ndarray, "trials"]]:
        """Events of each input, and output spikes of each trial."""
        return np.bincount(self._whole("event_input")), np.diff(self._spike_base)


@lru_cache(maxsize=_OPEN_SHARDS)
def open_shard(path: Path, header: Header, sha256: str) -> Shard:
    """The shard at `path`; `sha256` tells files apart that lay at one path at different times.

    Raises:
        DataError: the file is missing, truncated, or not a shard of this header.
    """
    return Shard(path, header, _layout(path, header, sha256))


@lru_cache(maxsize=_KNOWN_SHARDS)
def _layout(path: Path, header: Header, sha256: str) -> Layout:
    """Read with h5py and check every trial, once a process: who reads a damaged store should not learn from it."""
    layout = read_layout(path, header)
    shard = Shard(path, header, layout)
    for index in range(len(shard)):
        where = f"{path}, trial {index} of this shard"
        try:
            validate(shard.trial(index), header, where)
        except (ValueError, IndexError, RecursionError) as error:  # attributes that are not JSON
            raise DataError(f"{where}: {error}; restore the file from a copy") from error
    return layout


def read_layout(path: Path, header: Header) -> Layout:
    """Where the arrays of a shard lie, after checking that keys, types and shapes fit together.

    Raises:
        DataError: names the file and the key.
    """
    import h5py

    arrays: dict[str, tuple[int | None, np.dtype[Any], tuple[int, ...]]] = {}
    with explained(str(path), "a shard of trials as the store wrote it", _REMEDY):
        size = path.stat().st_size
        with h5py.File(path, "r", locking=False) as file:
            absent = {
                "continuous": not header.continuous,
                "signals": not header.signals,
                "recorded": not header.gaps,
            }
            for key in DESCRIPTIONS:
                if absent.get(key):
                    continue
                dataset = file.get(key) if isinstance(file.get(key, getlink=True), h5py.HardLink) else None
                if not isinstance(dataset, h5py.Dataset):
                    raise _damaged(path, f"has no dataset {key!r}")
                wanted = _DTYPES.get(key)
                if dataset.chunks is not None or (
                    dataset.dtype != wanted if wanted else dataset.dtype.kind != "S"
                ):
                    raise _damaged(path, f"holds {key} as {dataset.dtype}, chunks {dataset.chunks}")
                offset, bytes_ = dataset.id.get_offset(), math.prod(dataset.shape) * dataset.dtype.itemsize
                if bytes_ and (offset is None or offset + bytes_ > size):
                    raise _damaged(
                        path, f"is shorter than its contents: it does not hold the values of {key} itself"
                    )
                arrays[key] = (offset, dataset.dtype, dataset.shape)
            _check_shapes(path, header, arrays)
            _check_bases(path, arrays, {key: file[key][()] for key in ("event_base", "spike_base")})
    return Layout(arrays)


def _check_shapes(
    path: Path,
    header: Header,
    arrays: dict[str, tuple[int | None, np.dtype[Any], tuple[int, ...]]],
) -> None:
    shapes = {key: shape for key, (_, _, shape) in arrays.items()}
    trials = shapes["attributes"][0] if len(shapes["attributes"]) == 1 else 0
    wanted = {
        "event_base": (trials + 1,),
        "spike_base": (trials + 1,),
        "step_offset": (trials, header.steps + 1),
        "voltage_mv": (trials, header.steps, len(header.sites)),
        **({"continuous": (trials, header.steps, len(header.continuous))} if header.continuous else {}),
        **({"signals": (trials, header.steps, len(header.signals))} if header.signals else {}),
        **({"recorded": (trials, header.steps)} if header.gaps else {}),
    }
    for key, shape in wanted.items():
        if shapes[key] != shape:
            raise _damaged(path, f"holds {key} of shape {shapes[key]}, not {shape}")


def _check_bases(
    path: Path,
    arrays: dict[str, tuple[int | None, np.dtype[Any], tuple[int, ...]]],
    bases: dict[str, Int64[np.ndarray, "trials_plus_one"]],
) -> None:
    for key, of in (("event_base", "event_input"), ("spike_base", "spike_time_ms")):
        base, shape = bases[key], arrays[of][2]
        if base[0] != 0 or (base[1:] < base[:-1]).any() or shape != (base[-1],):
            raise _damaged(path, f"holds {key} that does not fit {of} of shape {shape}")


def _damaged(path: Path, what: str) -> DataError:
    return DataError(f"{path} {what}; expected a shard of trials as the store wrote it; {_REMEDY}")
