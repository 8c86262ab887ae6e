"""Recordings in one HDF5 file: event counts per time bin, all events, voltage and spikes of every trial."""

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ulmus.errors import DataError
from ulmus.trials.collection import Clip, TrialSource, cut
from ulmus.trials.trial import Header, validate

SEGMENTS = 639  # of the layer-5 pyramidal cell; one excitatory and one inhibitory input each
TREES = [{"label": "basal", "first": 0, "stop": 262}, {"label": "apical", "first": 262, "stop": SEGMENTS}]
_KEYS = {  # dimensions of the arrays that must be there, and the kinds of numbers they may hold
    "event_count": (2, "iu"),
    "event_input": (1, "iu"),
    "voltage_mv": (2, "f"),
    "spike_count": (1, "iu"),
    "spike_time_ms": (1, "f"),
}


class Recorded(TrialSource):
    """Trials of the layer-5 pyramidal cell in one HDF5 file, read into memory.

    Keys: ``event_count`` (trials, steps), ``event_input`` (all events, ordered by trial and step; 0-638 excitatory,
    639-1277 inhibitory; of each the first 262 on the basal tree, the others on the apical one), ``voltage_mv``
    (trials, steps), ``spike_count`` (trials), ``spike_time_ms`` (all spikes); other arrays with one entry per trial
    become attributes of the trial. File attribute ``duration_ms``.

    Args:
        path: the file.

    Raises:
        DataError: names the file and the key that is missing, damaged or does not fit the others.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._arrays, self._settings = _read(self.path)
        trials, steps = self._arrays["event_count"].shape
        sign = np.repeat(np.array([1, -1], dtype=np.int8), SEGMENTS)
        duration_ms = self._settings.get("duration_ms")
        if not isinstance(duration_ms, (int, float)) or not 0 < duration_ms < float("inf"):
            raise _bad(
                self.path, "attribute 'duration_ms'", f"is {duration_ms!r}", "the length of a trial in ms"
            )
        self.header = Header(
            steps,
            duration_ms / steps,
            sign,
            ("soma",),
            "recorded layout",
            {"input_groups": TREES, **self._settings, "file": self.path.name},
        )
        self._trials = trials
        self._check()

    def _check(self) -> None:
        a, trials, steps = self._arrays, self._trials, self.header.steps
        for key, shape in {"voltage_mv": (trials, steps), "spike_count": (trials,)}.items():
            if a[key].shape != shape:
                raise _bad(self.path, key, f"has shape {a[key].shape}", f"{shape}, as event_count says")
        self._step_offset = np.zeros((trials, steps + 1), dtype=np.int64)
        np.cumsum(a["event_count"], axis=1, out=self._step_offset[:, 1:])
        self._event_base = np.concatenate([[0], self._step_offset[:, -1].cumsum()])
        self._spike_base = np.concatenate([[0], a["spike_count"].cumsum(dtype=np.int64)])
        for key in ("event_count", "spike_count", "event_input"):
            if a[key].size and int(a[key].min()) < 0:
                raise _bad(self.path, key, f"holds {a[key].min()}", "numbers from 0 on")
        for key, total in (("event_input", self._event_base[-1]), ("spike_time_ms", self._spike_base[-1])):
            if a[key].size != total:
                raise _bad(self.path, key, f"has {a[key].size} entries", f"{total}, the sum of the counts")
        if a["event_input"].size and int(a["event_input"].max()) >= self.header.inputs:
            found = f"holds {a['event_input'].max()}"
            raise _bad(self.path, "event_input", found, f"inputs 0 to {self.header.inputs - 1}")
        a["event_input"] = a["event_input"].astype(np.uint16)
        a["voltage_mv"] = a["voltage_mv"].astype(np.float32)[..., None]
        a["spike_time_ms"] = a["spike_time_ms"].astype(np.float64)
        for index in range(trials):
            validate(self.trial(index), self.header, f"{self.path}, trial {index}")

    def __reduce__(self) -> tuple[type["Recorded"], tuple[Path]]:
        return Recorded, (self.path,)

    def __repr__(self) -> str:
        return f"Recorded({str(self.path)!r}: {len(self)} trials of {self.header.duration_ms:g} ms)"

    def __len__(self) -> int:
        return int(self._trials)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of the file."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @property
    def description(self) -> list[dict[str, Any]]:
        """Path, hash and number of trials."""
        known = self.content_hash
        return [{"path": str(self.path), "content_hash": known, "origin": known, "trials": len(self)}]

    def clip(self, index: int, start: int, stop: int) -> Clip:
        """Steps `start` to `stop` of trial `index` as views; the arguments are not checked."""
        arrays, events, spikes = self._arrays, self._event_base, self._spike_base
        return cut(
            self._step_offset[index],
            arrays["event_input"][events[index] : events[index + 1]],
            arrays["voltage_mv"][index],
            arrays["spike_time_ms"][spikes[index] : spikes[index + 1]],
            self.header.dt_ms,
            start,
            stop,
        )

    def attributes(self, index: int) -> dict[str, Any]:
        """File, place in it, seed of the file, and every other array's entry for this trial."""
        known = {"file": self.path.name, "trial": index}
        if "seed" in self._settings:
            known["seed"] = self._settings["seed"]
        extra = {k: v[index].tolist() for k, v in self._arrays.items() if k not in _KEYS}
        return {**known, **extra}


def trials_in(path: Path) -> int:
    """Number of trials in a recording, without reading it.

    Raises:
        DataError: not a recording.
    """
    import h5py

    try:
        with h5py.File(path, "r", locking=False) as file:
            return int(_dataset(path, file, "event_count").shape[0])
    except OSError as error:
        raise _unreadable(path, error) from error


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """All arrays and attributes of the file."""
    import h5py

    arrays: dict[str, Any] = {}
    try:
        with h5py.File(path, "r", locking=False) as file:
            for key in _KEYS:
                arrays[key] = _values(path, _dataset(path, file, key))
            trials = len(arrays["event_count"])
            for key, dataset in file.items():
                if key not in _KEYS and isinstance(dataset, h5py.Dataset) and dataset.shape[:1] == (trials,):
                    arrays[key] = _values(path, dataset)
            settings = {key: np.asarray(value).tolist() for key, value in file.attrs.items()}
    except OSError as error:
        raise _unreadable(path, error) from error
    if settings.pop("complete", True) is not True:
        raise _bad(
            path, "attribute 'complete'", "is false: its writer was interrupted", "a finished recording"
        )
    settings.pop("trials", None)
    if "dt_ms" in settings:
        settings["solver_step_ms"] = settings.pop("dt_ms")  # in this layout not the width of a time bin
    return arrays, settings


def _dataset(path: Path, file: Any, key: str) -> Any:
    import h5py

    dataset = file.get(key)
    if not isinstance(dataset, h5py.Dataset):
        raise _bad(path, key, "is missing", f"the keys {', '.join(_KEYS)}, or a mapping of yours")
    dimensions, kinds = _KEYS[key]
    if (
        dataset.ndim != dimensions
        or dataset.dtype.kind not in kinds
        or (dimensions == 2 and 0 in dataset.shape)
    ):
        wanted = f"{dimensions} dimension(s) of {'integers' if kinds == 'iu' else 'floating-point numbers'}"
        raise _bad(path, key, f"is {dataset.dtype} of shape {dataset.shape}", wanted)
    return dataset


def _values(path: Path, dataset: Any) -> Any:
    try:
        return dataset[()]
    except OSError as error:
        raise _bad(
            path, dataset.name.lstrip("/"), f"cannot be read ({error})", "an undamaged file"
        ) from error


def _unreadable(path: Path, error: OSError) -> DataError:
    reason = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
    return DataError(
        f"{path} {reason}; expected an HDF5 file of recorded trials, or a mapping that says what other files "
        "hold; check the path or copy it again"
    )


def _bad(path: Path, key: str, found: str, wanted: str) -> DataError:
    return DataError(
        f"{path}: {key} {found}; expected {wanted}; restore the file from a copy or make it again"
    )
