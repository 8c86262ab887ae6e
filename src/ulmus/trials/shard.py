"""One HDF5 file of a store: some trials behind each other, uncompressed, so that it can be mapped into memory."""

import json
import mmap
import os
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int64

from ulmus.errors import DataError
from ulmus.trials.trial import Header, Trial, step_offsets, validate
from ulmus.trials.trial_source import Clip, as_trial, cut

DESCRIPTIONS = {
    "event_input": "input of each event; trials behind each other, ordered by step",
    "event_base": "first event of each trial in event_input, and the total",
    "step_offset": "first event of each step, counted from the trial's event_base, and the trial's total",
    "voltage_mv": "membrane voltage at the beginning of each step",
    "spike_time_ms": "output spikes from the beginning of their trial; trials behind each other",
    "spike_base": "first spike of each trial in spike_time_ms, and the total",
    "attributes": "what is known of each trial alone, as JSON",
    "continuous": "value of every continuous input in each step, where there are such inputs",
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
}
_OPEN_SHARDS = (
    256  # mapped at a time in one process: each costs a file descriptor, and 1024 is a common limit
)


def write_shard(path: Path, header: Header, first: int, trials: Sequence[Trial]) -> None:
    """Write validated trials `first`, `first` + 1, ... to a new file; the same trials give the same bytes."""
    import h5py

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
    # Aligned, so that the mapped arrays can be used by numpy and torch without a copy.
    with h5py.File(
        path, "w", libver=("earliest", "v110"), alignment_threshold=1, alignment_interval=64
    ) as file:
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
            if key == "continuous":
                dataset.attrs["unit"] = [channel.unit for channel in header.continuous]
            if key in ("voltage_mv", "step_offset"):
                dataset.attrs["dt_ms"] = header.dt_ms


def _bases(counts: Sequence[int]) -> Int64[np.ndarray, "trials_plus_one"]:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


class Layout(NamedTuple):
    """Where the arrays of a shard lie in its file: name to (byte offset or None when empty, dtype, shape)."""

    size: int
    arrays: dict[str, tuple[int | None, np.dtype[Any], tuple[int, ...]]]


class Shard:
    """The mapped arrays of one shard file."""

    def __init__(self, path: Path, header: Header, layout: Layout) -> None:
        try:
            with path.open("rb") as file:
                if os.fstat(file.fileno()).st_size < layout.size:
                    raise _damaged(path, "is shorter than its contents")
                memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise _damaged(path, f"cannot be mapped ({error})") from error
        arrays = {}
        for key, (offset, dtype, shape) in layout.arrays.items():
            if offset is None:
                arrays[key] = np.empty(shape, dtype)
            else:
                arrays[key] = np.frombuffer(memory, dtype, int(np.prod(shape)), offset).reshape(shape)
        self._dt_ms = header.dt_ms
        self._arrays = arrays
        self._event_input, self._step_offset = arrays["event_input"], arrays["step_offset"]
        self._voltage_mv, self._spike_time_ms = arrays["voltage_mv"], arrays["spike_time_ms"]
        self._event_base: list[int] = arrays["event_base"].tolist()
        self._spike_base: list[int] = arrays["spike_base"].tolist()

    def __len__(self) -> int:
        return len(self._event_base) - 1

    def clip(self, index: int, start: int, stop: int) -> Clip:
        """Steps `start` to `stop` of the shard's trial `index`."""
        return cut(
            self._step_offset[index],
            self._event_input[self._event_base[index] : self._event_base[index + 1]],
            self._voltage_mv[index],
            self._spike_time_ms[self._spike_base[index] : self._spike_base[index + 1]],
            self._dt_ms,
            start,
            stop,
            self._arrays["continuous"][index] if "continuous" in self._arrays else None,
        )

    def attributes(self, index: int) -> dict[str, Any]:
        """What is known of the shard's trial `index` alone."""
        known: dict[str, Any] = json.loads(bytes(self._arrays["attributes"][index]))
        return known

    def trial(self, index: int) -> Trial:
        """The shard's trial `index`."""
        clip = self.clip(index, 0, self._voltage_mv.shape[1])
        return as_trial(clip, 0, self._dt_ms, self.attributes(index))

    def counts(self) -> tuple[Int64[np.ndarray, "inputs"], Int64[np.ndarray, "trials"]]:
        """Events of each input, and output spikes of each trial."""
        return np.bincount(self._event_input), np.diff(self._arrays["spike_base"])


@lru_cache(maxsize=_OPEN_SHARDS)
def open_shard(path: Path, header: Header, sha256: str) -> Shard:
    """The shard at `path`; `sha256` tells files apart that lay at one path at different times.

    Raises:
        DataError: the file is missing, truncated, or not a shard of this header.
    """
    return Shard(path, header, _layout(path, header, sha256))


@cache
def _layout(path: Path, header: Header, sha256: str) -> Layout:
    """Read with h5py and check every trial, once a process: who reads a damaged store should not learn from it."""
    layout = read_layout(path, header)
    shard = Shard(path, header, layout)
    for index in range(len(shard)):
        where = f"{path}, trial {index} of this shard"
        try:
            validate(shard.trial(index), header, where)
        except (ValueError, IndexError) as error:  # offsets that descend, attributes that are not JSON
            raise DataError(f"{where}: {error}; restore the file from a copy") from error
    return layout


def read_layout(path: Path, header: Header) -> Layout:
    """Where the arrays of a shard lie, after checking that keys, types and shapes fit together.

    Raises:
        DataError: names the file and the key.
    """
    import h5py

    arrays: dict[str, tuple[int | None, np.dtype[Any], tuple[int, ...]]] = {}
    try:
        with h5py.File(path, "r", locking=False) as file:
            for key in DESCRIPTIONS:
                if key == "continuous" and not header.continuous:
                    continue
                dataset = file.get(key)
                if not isinstance(dataset, h5py.Dataset):
                    raise _damaged(path, f"has no dataset {key!r}")
                wanted = _DTYPES.get(key)
                if dataset.chunks is not None or (
                    dataset.dtype != wanted if wanted else dataset.dtype.kind != "S"
                ):
                    raise _damaged(path, f"holds {key} as {dataset.dtype}, chunks {dataset.chunks}")
                arrays[key] = (dataset.id.get_offset(), dataset.dtype, dataset.shape)
            bases = {key: file[key][()] for key in ("event_base", "spike_base")}
    except FileNotFoundError:
        raise _damaged(path, "is missing") from None
    except OSError as error:
        raise _damaged(path, f"cannot be read ({error})") from error
    _check_shapes(path, header, arrays, bases)
    size = max(int(np.prod(s)) * d.itemsize + (o or 0) for o, d, s in arrays.values())
    return Layout(size, arrays)


def _check_shapes(
    path: Path,
    header: Header,
    arrays: dict[str, tuple[int | None, np.dtype[Any], tuple[int, ...]]],
    bases: dict[str, Int64[np.ndarray, "trials_plus_one"]],
) -> None:
    shapes = {key: shape for key, (_, _, shape) in arrays.items()}
    trials = len(shapes["attributes"]) and shapes["attributes"][0]
    wanted = {
        "event_base": (trials + 1,),
        "spike_base": (trials + 1,),
        "step_offset": (trials, header.steps + 1),
        "voltage_mv": (trials, header.steps, len(header.sites)),
        **({"continuous": (trials, header.steps, len(header.continuous))} if header.continuous else {}),
    }
    for key, shape in wanted.items():
        if shapes[key] != shape:
            raise _damaged(path, f"holds {key} of shape {shapes[key]}, not {shape}")
    for key, (offset, _, shape) in arrays.items():
        if offset is None and np.prod(shape) > 0:
            raise _damaged(path, f"does not hold the values of {key} itself")
    for key, of in (("event_base", "event_input"), ("spike_base", "spike_time_ms")):
        base = bases[key]
        if base[0] != 0 or (np.diff(base) < 0).any() or shapes[of] != (base[-1],):
            raise _damaged(path, f"holds {key} that does not fit {of} of shape {shapes[of]}")


def _damaged(path: Path, what: str) -> DataError:
    return DataError(
        f"{path} {what}; expected a shard of trials as the store wrote it; restore the file from a copy, or delete "
        "the store and make it again"
    )
