"""The event store: a folder of trials that is written trial by trial and read window by window.

``store.json`` says what is inside (header, units, shards with their SHA-256), ``trials-0000000-0000063.h5`` hold
the trials, and ``pending/`` holds, one file each, the finished trials whose shard is not complete yet.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ulmus.errors import ConfigError, DataError, closest
from ulmus.files.lock import LOCK_FILE
from ulmus.files.reading import read_json, sha256_of_file, sha256_of_json
from ulmus.files.writing import PARTIAL, remove_leftovers, write_file, write_json
from ulmus.trials.header import Header
from ulmus.trials.shard import UNITS, Shard, open_shard, read_layout, write_shard
from ulmus.trials.trial import Trial
from ulmus.trials.trial_source import Clip, TrialSource
from ulmus.trials.validation import validate

FORMAT = "ulmus event store"
SCHEMA = 1
_MOST_TRIALS = 10_000_000  # in memory, the list of those to do takes a third of a gigabyte
_SHARD_NAME = re.compile(r"trials-(\d{7,})-(\d{7,})\.h5")
_PENDING_NAME = re.compile(r"trial-(\d{7,})\.h5")


class StoreWriter:
    """Writes a store one trial at a time; killed at any moment, it can be opened again and goes on.

    Several writers, in one or many processes, may fill one store: files appear complete or not at all, and what
    is there is never replaced.

    Args:
        path: folder of the store, made if absent.
        header: what all trials have in common.
        trials_total: how many trials it will hold; None when that is not known before the end.
        shard_trials: trials per HDF5 file.

    Raises:
        ConfigError: the folder is a store of another header, or the counts are not positive.
        DataError: the folder holds something else, or files of it are damaged.
    """

    def __init__(
        self, path: str | Path, header: Header, trials_total: int | None = None, shard_trials: int = 64
    ) -> None:
        total = 1 if trials_total is None else trials_total
        if shard_trials < 1 or not 1 <= total <= _MOST_TRIALS:
            raise ConfigError(
                f"a store of {trials_total} trials, {shard_trials} in a file: expected 1 to {_MOST_TRIALS:,}, at least one in a "
                "file. Correct the number of trials."
            )
        self.path, self.header = Path(path), header
        self.trials_total, self.shard_trials = trials_total, shard_trials
        index = self.path / "store.json"
        if self.path.exists() and not self.path.is_dir():
            raise DataError(f"{self.path} is a file; expected a folder for a store; give another path")
        foreign = [file.name for file in self.path.iterdir() if not _ours(file)] if self.path.exists() else []
        if foreign and not index.exists():
            raise DataError(
                f"{self.path} holds {foreign[0]!r} but no store.json; expected a store or an empty folder; move the "
                "files or give another path"
            )
        self._pending.mkdir(parents=True, exist_ok=True)
        for folder in (self.path, self._pending):
            remove_leftovers(folder)
        self._merged: dict[int, int] = {}  # up to which trial a block of `shard_trials` is in shards
        # A store without a trial, such as one whose first trial failed, may be begun anew in another way.
        write_json(index, _index(header, shard_trials, []), indent=None, replace=not self.done())
        self._check_same()
        self._check_present()
        self._forget_covered()

    @property
    def _pending(self) -> Path:
        return self.path / "pending"

    def _check_same(self) -> None:
        present = _read_index(self.path)
        differences = self.header.differences(Header.from_json(present["header"]))
        if present["shard_trials"] != self.shard_trials:
            differences.append(f"shard_trials: {self.shard_trials} != {present['shard_trials']}")
        if differences:
            raise ConfigError(
                f"{self.path} was begun with other settings: {'; '.join(differences[:5])} (asked for != present); "
                "expected the same; use these settings again, or another folder"
            )

    def _check_present(self) -> None:
        """Before anything is added: what is there has its layout and size, and a finished shard its SHA-256.

        Who goes on after an interruption should not learn of damage only when everything is simulated.
        """
        known = {shard["file"]: shard["sha256"] for shard in _read_index(self.path)["shards"]}
        for first, stop in self._ranges():
            file = self.path / _shard_name(first, stop)
            shard = Shard(file, self.header, read_layout(file, self.header))
            if len(shard) != stop - first:
                raise DataError(
                    _changed(file, f"holds {len(shard)} trials, not the {stop - first} of its name")
                )
            if file.name in known and sha256_of_file(file) != known[file.name]:
                raise DataError(_changed(file, "does not have the SHA-256 that store.json says"))
        for index in sorted(self._pending_indices()):
            try:
                self._read_pending(index)
            except (DataError, ValueError, IndexError) as error:
                file = self._pending_file(index)
                if file.exists():  # else merged meanwhile, by another writer
                    raise DataError(_changed(file, f"is damaged ({error})")) from error

    def add(self, index: int, trial: Trial) -> None:
        """Check a trial and write it; a trial that is already there is left as it is.

        Raises:
            ConfigError: an index outside of the store.
            DataError: the trial does not fit the header.
        """
        if index < 0 or (self.trials_total is not None and index >= self.trials_total):
            raise ConfigError(
                f"trial {index}: expected 0 to {self.trials_total} (exclusive); correct the index"
            )
        validate(trial, self.header, f"{self.path}, trial {index}")
        if self._covered(index):
            return
        file = self._pending_file(index)
        write_file(file, lambda made: write_shard(made, self.header, index, [trial]), replace=False)
        if self._covered(index):  # meanwhile, by another writer
            file.unlink(missing_ok=True)
        self._merge_block(index // self.shard_trials, only_complete=True)

    def done(self) -> set[int]:
        """Indices of the trials that are there."""
        pending = self._pending_indices()  # before the shards: a trial may move from here to there meanwhile
        return pending | {i for first, stop in self._ranges() for i in range(first, stop)}

    def output_spikes(self) -> int:
        """Output spikes of all trials that are there."""
        pending = [self._pending_file(index) for index in self._pending_indices()]
        files = [self.path / _shard_name(*ends) for ends in self._ranges()] + pending
        shards = (Shard(file, self.header, read_layout(file, self.header)) for file in files)
        return sum(int(shard.counts()[1].sum()) for shard in shards)

    def finish(self) -> "Store":
        """Merge what is left, record the hashes, and open the store for reading.

        Raises:
            DataError: trials are missing.
        """
        done = self.done()
        total = max(self.trials_total or 0, max(done, default=-1) + 1)
        missing = [i for i in range(total) if i not in done]
        if missing or not total:
            raise DataError(
                f"{self.path} lacks {len(missing)} of {total} trials (first: {missing[:5]}); expected all of them; "
                "run what writes this store again, it goes on from here"
            )
        for block in sorted({i // self.shard_trials for i in self._pending_indices()}):
            self._merge_block(block, only_complete=False)
        self._forget_covered()
        remove_leftovers(self.path)
        remove_leftovers(self._pending)
        with suppress(OSError):  # not empty: another writer is at it
            self._pending.rmdir()
        known = {shard["file"]: shard for shard in _read_index(self.path)["shards"]}
        shards = []
        for first, stop in self._ranges():
            name = _shard_name(first, stop)
            entry = {"file": name, "first": first, "trials": stop - first}
            shards.append(known.get(name) or {**entry, "sha256": sha256_of_file(self.path / name)})
        write_json(self.path / "store.json", _index(self.header, self.shard_trials, shards), indent=None)
        return Store(self.path)

    def _pending_file(self, index: int) -> Path:
        return self._pending / f"trial-{index:07d}.h5"

    def _pending_indices(self) -> set[int]:
        try:
            matches = [_PENDING_NAME.fullmatch(file.name) for file in self._pending.iterdir()]
        except FileNotFoundError:  # another writer finished the store
            return set()
        return {int(match[1]) for match in matches if match}

    def _ranges(self) -> list[tuple[int, int]]:
        """First and last + 1 trial of every shard that is there, in order."""
        matches = (_SHARD_NAME.fullmatch(file.name) for file in self.path.iterdir())
        ranges = sorted((int(match[1]), int(match[2]) + 1) for match in matches if match)
        self._merged = {first // self.shard_trials: stop for first, stop in ranges}
        for before, after in zip(ranges, ranges[1:], strict=False):
            if after[0] < before[1]:
                raise DataError(
                    f"{self.path} holds both {_shard_name(*before)} and {_shard_name(*after)}; expected every trial "
                    "once; delete one of them"
                )
        return ranges

    def _covered(self, index: int) -> bool:
        """Whether a shard holds a trial; what this writer has seen, and what others write, is found without a list."""
        block = index // self.shard_trials
        start, stop = self._open_part(block)
        if index >= start and (self.path / _shard_name(start, stop)).exists():
            self._merged[block] = start = stop
        return index < start

    def _open_part(self, block: int) -> tuple[int, int]:
        """The trials of a block that no shard holds yet, as far as this writer has seen."""
        start, stop = block * self.shard_trials, (block + 1) * self.shard_trials
        if self.trials_total is not None:
            stop = min(stop, self.trials_total)
        return self._merged.get(block, start), stop

    def _forget_covered(self) -> None:
        """Remove pending trials that a shard holds: a writer was killed between writing it and removing them."""
        ranges = self._ranges()
        for index in self._pending_indices():
            if any(first <= index < stop for first, stop in ranges):
                self._pending_file(index).unlink(missing_ok=True)

    def _merge_block(self, block: int, only_complete: bool) -> None:
        """Write the trials of a block that no shard holds yet as one shard, once they are all pending."""
        start, stop = self._open_part(block)
        pending = self._pending_indices()
        present = [index for index in range(start, stop) if index in pending]
        if not present or (only_complete and len(present) < stop - start):
            return
        first, end = present[0], present[-1] + 1
        try:
            trials = [self._read_pending(index) for index in range(first, end)]
            write_file(
                self.path / _shard_name(first, end),
                lambda made: write_shard(made, self.header, first, trials),
                replace=False,
            )
        except DataError:
            if not self._covered(first):  # covered: another writer merged this block and removed its files
                raise
        self._merged[block] = end
        for index in range(first, end):
            self._pending_file(index).unlink(missing_ok=True)

    def _read_pending(self, index: int) -> Trial:
        file = self._pending_file(index)
        return Shard(file, self.header, read_layout(file, self.header)).trial(0)


class Store(TrialSource):
    """Reads a finished store; opening reads ``store.json`` alone, shards are opened when they are needed.

    It can be pickled and sent to other processes, which open the files themselves.

    Args:
        path: folder of the store.

    Raises:
        DataError: no such folder, not a store, a newer store, or an unfinished one.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        index = _read_index(self.path)
        self.header = Header.from_json(index["header"])
        if not index["shards"]:
            raise DataError(
                f"{self.path} is not finished: its trials are still being written or that was interrupted; expected "
                "a complete store; run what writes it again, it goes on from where it stopped"
            )
        self._shards = [(self.path / shard["file"], shard["sha256"]) for shard in index["shards"]]
        self._firsts = [shard["first"] for shard in index["shards"]]
        self._length: int = self._firsts[-1] + index["shards"][-1]["trials"]
        ends = [shard["first"] + shard["trials"] for shard in index["shards"]]
        if self._firsts != [0, *ends[:-1]]:
            raise DataError(
                f"{self.path / 'store.json'}: shards do not follow each other; restore it from a copy"
            )
        self._hash = sha256_of_json([index["header"], [sha256 for _, sha256 in self._shards]])

    def __reduce__(self) -> tuple[type["Store"], tuple[Path]]:
        return Store, (self.path,)

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r}: {len(self)} trials of {self.header.duration_ms:g} ms)"

    def __len__(self) -> int:
        return self._length

    @property
    def content_hash(self) -> str:
        """SHA-256 over the header and the hashes of all shards."""
        return self._hash

    @property
    def description(self) -> list[dict[str, Any]]:
        """Path, hashes and number of trials; the origin stays when trials are added behind those that are there."""
        return [
            {
                "path": str(self.path),
                "content_hash": self._hash,
                "origin": sha256_of_json([self.header.to_json(), self._shards[0][1]]),
                "trials": len(self),
            }
        ]

    def _shard(self, position: int) -> Shard:
        path, sha256 = self._shards[position]
        return open_shard(path, self.header, sha256)

    def clip(self, index: int, start: int, stop: int) -> Clip:
        """Steps `start` to `stop` of trial `index`; the arguments are not checked."""
        position = bisect_right(self._firsts, index) - 1
        return self._shard(position).clip(index - self._firsts[position], start, stop)

    def attributes(self, index: int) -> dict[str, Any]:
        """What is known of trial `index` alone."""
        position = bisect_right(self._firsts, index) - 1
        return self._shard(position).attributes(index - self._firsts[position])

    def verify(self) -> list[str]:
        """Check hashes and every trial; what is wrong, one line each, nothing when all is well."""
        return list(self._problems())

    def _problems(self) -> Iterator[str]:
        for position, (path, sha256) in enumerate(self._shards):
            first = self._firsts[position]
            stop = [*self._firsts, len(self)][position + 1]
            try:
                # Not the cached one: the file may have changed since it was opened.
                shard = Shard(path, self.header, read_layout(path, self.header))
                if sha256_of_file(path) != sha256:
                    yield f"{path}: its SHA-256 is not the one in store.json; it changed since the store was finished"
                if len(shard) != stop - first:
                    yield f"{path}: holds {len(shard)} trials, store.json says {stop - first}"
            except DataError as error:
                yield str(error)
                continue
            for index in range(len(shard)):
                where = f"{path}, trial {first + index}"
                try:
                    validate(shard.trial(index), self.header, where)
                except DataError as error:
                    yield str(error) if str(error).startswith(where) else f"{where}: {error}"
                except (ValueError, IndexError, RecursionError) as error:  # attributes that are not JSON
                    yield f"{where}: {error}; restore the file from a copy"

    def recorded_seconds(self) -> float:
        """Time that was recorded, over all trials."""
        steps = (self._shard(position).recorded_steps() for position in range(len(self._shards)))
        return sum(steps) * self.header.dt_ms / 1000

    def info(self) -> dict[str, Any]:
        """What the store holds: trials, hours, rates in Hz, share of silent trials, bytes on disk, settings."""
        events = np.zeros(self.header.inputs, dtype=np.int64)
        spikes = []
        for position in range(len(self._shards)):
            by_input, by_trial = self._shard(position).counts()
            events[: by_input.size] += by_input
            spikes.append(by_trial)
        seconds = self.recorded_seconds()
        per_trial = np.concatenate(spikes)
        spiking = {
            "output_spikes": int(per_trial.sum()),
            "output_hz": float(per_trial.sum() / seconds),
            "silent_share": float((per_trial == 0).mean()),
        }
        return {
            "path": str(self.path),
            "source": self.header.source,
            "trials": len(self),
            "trial_ms": self.header.duration_ms,
            "dt_ms": self.header.dt_ms,
            "hours": seconds / 3600,
            "inputs": self.header.inputs,
            "continuous_inputs": [f"{channel.name} ({channel.unit})" for channel in self.header.continuous],
            "sites": list(self.header.sites),
            **(
                {"signals": [f"{signal.name} ({signal.unit})" for signal in self.header.signals]}
                if self.header.signals
                else {}
            ),
            **(spiking if self.header.spikes else {}),
            "excitatory_events_per_second": float(events[self.header.input_sign > 0].sum() / seconds),
            "inhibitory_events_per_second": float(events[self.header.input_sign < 0].sum() / seconds),
            "bytes": sum(path.stat().st_size for path, _ in self._shards),
            "shards": len(self._shards),
            "content_hash": self._hash,
            "settings": self.header.settings,
        }


def _ours(file: Path) -> bool:
    """Whether a writer that was killed before it wrote store.json can have left this file."""
    return file.name in ("pending", LOCK_FILE) or file.name.endswith(PARTIAL)


def _changed(file: Path, what: str) -> str:
    return (
        f"{file} {what}; expected it as it was written; restore it from a copy, or delete this file and run what writes the "
        "store again, which makes its trials anew"
    )


def _shard_name(first: int, stop: int) -> str:
    return f"trials-{first:07d}-{stop - 1:07d}.h5"


def _index(header: Header, shard_trials: int, shards: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "schema": SCHEMA,
        "shard_trials": shard_trials,
        "units": UNITS,
        "header": header.to_json(),
        "shards": shards,
    }


def _read_index(path: Path) -> dict[str, Any]:
    file = path / "store.json"
    if not file.exists():
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        hint = "" if path.exists() else closest(path.name, siblings)
        raise DataError(
            f"{file} does not exist; expected the folder of an event store; check the path.{hint}"
        )
    index = read_json(file)
    if index.get("format") != FORMAT:
        raise DataError(
            f"{file} is not the index of an {FORMAT}; expected one with that 'format'; check the path"
        )
    if index.get("schema") != SCHEMA:
        raise DataError(
            f"{file} has schema {index.get('schema')!r}; expected {SCHEMA}; update Ulmus to read it"
        )
    try:
        Header.from_json(index["header"])
        for shard in index["shards"]:
            if shard["file"] != _shard_name(shard["first"], shard["first"] + shard["trials"]):
                raise ValueError(
                    f"shard {shard['file']!r} with first {shard['first']}, trials {shard['trials']}"
                )
            if shard["trials"] < 1:
                raise ValueError(f"shard {shard['file']!r} of no trials")
            shard["sha256"]
        index["shard_trials"]
    except Exception as error:  # what a header is made of can be anything
        raise DataError(f"{file} has a missing or wrong entry ({error!r}); restore it from a copy") from error
    return index
