"""Input that is given: the spike trains of a user, instead of drawn ones."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ulmus.errors import ConfigError, DataError
from ulmus.files.limits import check_unpacked
from ulmus.teachers.stimulus import DrawnInput, Inputs, Stimulus


@dataclass(frozen=True, eq=False)
class SpikeTrains(Stimulus):
    """Spike times (ms) of the inputs, trial by trial; a spike at t arrives at floor(t) ms.

    Attributes:
        trials: for every trial, the ascending spike times of its inputs by their number; silent inputs may be left out.
        name: what to call them in the attributes of a trial, such as the file they came from, without its folder.
        source_hash: SHA-256 of the store, or of the columns of the table, they came from; empty for trains made in memory.
        duration_ms: length of the trials they come from; None where only their spikes are known.

    Raises:
        DataError: Times that are negative, not finite or not ascending; names trial, input and value.
    """

    trials: Sequence[Mapping[int, Float[np.ndarray, "spikes"]]]
    name: str = "given"
    source_hash: str = ""
    duration_ms: float | None = None

    def __post_init__(self) -> None:
        for trial, trains in enumerate(self.trials):
            for index, given in trains.items():
                times = np.asarray(given, dtype=np.float64)
                where = f"trial {trial}, input {index}"
                wrong = times[~(np.isfinite(times) & (times >= 0))]
                if wrong.size:
                    raise DataError(
                        f"{where}: spike time {wrong[0]} ms; expected finite times from 0 on. Correct or leave it out."
                    )
                falls = np.flatnonzero(np.diff(times) < 0)
                if falls.size:
                    before, after = times[falls[0]], times[falls[0] + 1]
                    raise DataError(
                        f"{where}: spike times fall from {before} to {after} ms; expected ascending times. Sort them."
                    )

    @classmethod
    def load(cls, path: str | Path) -> "SpikeTrains":
        """Read them from a store or recording (its input is given again), or from a table.

        A table is an HDF5, NPZ or CSV file with ``input`` and ``time_ms`` of every spike and, where there are several
        trials, ``trial`` (from 0).

        Raises:
            DataError: The file is missing, damaged, or holds something else.
        """
        path, duration_ms = Path(path), None
        if not path.exists():
            raise DataError(
                f"spike trains {path} do not exist; expected a store or a table of spikes. Correct the path."
            )
        if (path / "store.json").exists():
            from ulmus.trials.store import Store

            store = Store(path)
            count = len(store)  # trials without input count too
            events = [(one.event_step, one.event_input) for one in map(store.trial, range(count))]
            trial = np.repeat(np.arange(count), [step.size for step, _ in events])
            step, channel = (np.concatenate(column) for column in zip(*events, strict=True))
            time_ms = step * store.header.dt_ms
            source_hash, duration_ms = store.content_hash, store.header.duration_ms
        else:
            trial, channel, time_ms = _table(path)
            count = int(trial.max()) + 1
            check_unpacked(100 * count, path.stat().st_size, f"{path}: trial {count - 1}")
            source_hash = hashlib.sha256(b"".join(map(bytes, (trial, channel, time_ms)))).hexdigest()
        order = np.lexsort((np.arange(len(trial)), channel, trial))
        trains: list[dict[int, np.ndarray]] = [{} for _ in range(count)]
        keys, first = np.unique(np.stack([trial, channel])[:, order], axis=1, return_index=True)
        for (k, index), times in zip(keys.T.tolist(), np.split(time_ms[order], first)[1:], strict=True):
            trains[k][index] = times
        return cls(trains, path.resolve().name, source_hash, duration_ms)

    def settings(self) -> dict[str, Any]:
        """Where they come from."""
        spikes = sum(len(times) for trains in self.trials for times in trains.values())
        known = {"name": self.name, "trials": len(self.trials), "spikes": spikes}
        return {**known, "source_hash": self.source_hash} if self.source_hash else known

    def check(self, teacher: Inputs, steps: int, trials: int) -> None:
        """Whether there are enough trials, and only inputs and times that the teacher has."""
        if trials > len(self.trials):
            raise ConfigError(
                f"trials={trials}: the spike trains {self.name!r} hold {len(self.trials)}; expected at most as many. Lower it."
            )
        if self.duration_ms is not None and steps > self.duration_ms:
            raise ConfigError(
                f"trials of {steps} ms: those of {self.name!r} last {self.duration_ms:g} ms, and the rest would be silent; "
                f"expected at most as long. Simulate {self.duration_ms / 1000:g} seconds."
            )
        for trial, trains in enumerate(self.trials[:trials]):
            for index, times in trains.items():
                if not 0 <= index < len(teacher.input_sign):
                    raise ConfigError(
                        f"trial {trial} of {self.name!r} has input {index}; expected 0 to {len(teacher.input_sign) - 1} on "
                        f"this cell. Correct the numbers, or take the cell that they were made for."
                    )
                if len(times) and times[-1] >= steps:
                    raise ConfigError(
                        f"trial {trial} of {self.name!r}, input {index}: spike at {times[-1]} ms; expected times within the "
                        f"{steps} ms of a trial. Simulate longer trials or cut the spikes."
                    )

    def draw(self, teacher: Inputs, steps: int, seed: int, trial: int) -> DrawnInput:
        """The input of a trial, ordered by step and input."""
        trains = self.trials[trial]
        channel = np.repeat(np.array(list(trains), dtype=np.int64), [len(times) for times in trains.values()])
        step = np.floor(np.concatenate([[], *trains.values()])).astype(np.int64)
        order = np.lexsort((channel, step))
        known = {"regime": self.name, **({"source_hash": self.source_hash} if self.source_hash else {})}
        return DrawnInput(step[order].astype(np.int32), channel[order].astype(np.uint16), known)


_LARGEST = 2**31  # number of a trial or an input


def _table(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from ulmus.files.containers import open_container

    container = open_container(path)
    known = {name.strip("/"): name for name in container.entries}
    missing = [name for name in ("input", "time_ms") if name not in known]
    if missing:
        raise DataError(
            f"{path} holds {', '.join(list(known)[:8]) or 'nothing'}, but no {missing[0]!r}; expected 'input' and 'time_ms' "
            f"of every spike (and 'trial'). Rename the columns."
        )
    columns = {
        name: np.asarray(container.read(known[name]), dtype=np.float64)
        for name in ("trial", "input", "time_ms")
        if name in known
    }
    columns.setdefault("trial", np.zeros(len(columns["input"])))
    lengths = {name: column.shape for name, column in columns.items()}
    if len(set(lengths.values())) > 1 or len(next(iter(lengths.values()))) != 1:
        raise DataError(
            f"{path}: columns of shapes {lengths}; expected one value each for every spike. Correct them."
        )
    if not len(columns["input"]):
        raise DataError(
            f"{path} holds no spike; expected a row for each of at least one. Give another table."
        )
    for name in ("trial", "input"):
        column = columns[name]
        if not ((column >= 0) & (column < _LARGEST) & (column == np.floor(column))).all():
            raise DataError(
                f"{path}: {name} holds values other than 0, 1, 2, ...; expected whole numbers from 0 on. Correct them."
            )
    return columns["trial"].astype(np.int64), columns["input"].astype(np.int64), columns["time_ms"]
