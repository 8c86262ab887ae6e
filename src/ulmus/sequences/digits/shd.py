"""Spiking Heidelberg Digits and Speech Commands as published (Cramer et al. 2022), and files of the same layout.

One HDF5 file per split: ``spikes/times`` in s and ``spikes/units`` (one array per clip), ``labels``, and under ``extra``
what is known of them: ``keys`` (names of the classes), ``speaker``, ``meta_info``.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float64, Int64

from ulmus.errors import ConfigError, DataError
from ulmus.files.reading import files_in, sha256_of_file
from ulmus.sequences.labelled_batches import Splits

CHANNELS = 700
_LONGEST_S = 1000.0  # of a clip; the longest window
_SAMPLE, _USUAL_S = (
    20,
    20.0,
)  # clips that are looked at when a file is opened, and the longest that they usually last
_MOST_CLASSES = 10_000
_REMEMBERED_BYTES = 512 * 2**20  # of clips, for each file and process: all of SHD's training file
SPLITS = ("train", "valid", "test")


class SpikeFile:
    """One file of the published layout; opening reads labels and speakers, spikes are read clip by clip.

    What was read is kept as it lies in the file, up to half a GiB: reading a clip can take as long as learning from it. A file
    can be pickled and sent to other processes, which open it themselves.

    Attributes:
        labels: class of every clip.
        classes: names of the classes; numbers where the file has no names.
        speakers: number of every clip's speaker, or None where the file does not tell.

    Args:
        path: the file.

    Raises:
        DataError: the file is missing, damaged, or not of this layout; names file and key.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file: Any = None
        self._process = -1
        self._remembered: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._remembered_bytes = 0
        try:
            with self._errors_named(""):
                self._read_tables(self._open())
            self._check_unit()
        except DataError:
            self._close()
            raise

    @contextmanager
    def _errors_named(self, key: str) -> Iterator[None]:
        """Whatever the HDF5 library finds wrong is said with file and key."""
        try:
            yield
        except DataError:
            raise
        except Exception as error:  # it fails in many ways on damaged bytes
            raise self._bad(key, f"cannot be read ({str(error)[:150]})", "an undamaged file") from error

    def _table(self, file: Any, key: str) -> Any:
        """A list of this file, no longer than the file can hold; None if there is none."""
        import h5py

        dataset = file.get(key)
        if dataset is None:
            return None
        if not isinstance(dataset, h5py.Dataset) or dataset.ndim != 1:
            raise self._bad(key, f"is {str(dataset)[:60]}", "a list with one entry per clip")
        if dataset.external or dataset.is_virtual or dataset.file.filename != file.filename:
            raise self._bad(key, "lies in another file", "all data in this one")
        if dataset.size > self.path.stat().st_size:
            raise self._bad(key, f"has {dataset.size} entries", "no more than the file has bytes")
        return dataset

    def _check_unit(self) -> None:
        """Refuse times that are no seconds: nearly none lies within the length of a clip.

        Raises:
            DataError: most spikes of some clips are later than any word lasts.
        """
        chosen = np.unique(np.linspace(0, len(self) - 1, _SAMPLE).astype(int)).tolist()
        times = np.concatenate([self._read(index)[0] for index in chosen]).astype(np.float64)
        if times.size and (times < _USUAL_S).mean() < 0.5:
            raise self._bad(
                "spikes/times",
                f"holds times up to {times.max():.6g}; within {_USUAL_S:g} s lie {(times < _USUAL_S).mean():.1%} of them",
                "seconds; milliseconds have to be divided by 1000",
            )

    def _read_tables(self, file: Any) -> None:
        import h5py

        tables = {key: self._table(file, key) for key in ("labels", "spikes/times", "spikes/units")}
        for key, dataset in tables.items():
            if dataset is None:
                raise self._bad(key, "is missing", "a list with one entry per clip")
        for key, kinds in (("spikes/times", "f"), ("spikes/units", "iu")):
            kind = h5py.check_vlen_dtype(tables[key].dtype)
            if kind is None or np.dtype(kind).kind not in kinds:
                raise self._bad(key, f"holds {tables[key].dtype}", "arrays of numbers of varying length")
            if tables[key].shape != tables["labels"].shape:
                raise self._bad(
                    key, f"has {len(tables[key])} entries", f"{len(tables['labels'])}, as many as labels"
                )
        if not len(tables["labels"]) or tables["labels"].dtype.kind not in "iu":
            raise self._bad("labels", f"is {tables['labels']}", "a whole number for every clip")
        self.labels: Int64[np.ndarray, "clips"] = tables["labels"][()].astype(np.int64)
        names = self._table(file, "extra/keys")
        count = _MOST_CLASSES if names is None else len(names)
        if self.labels.min() < 0 or self.labels.max() >= count:
            raise self._bad(
                "labels",
                f"holds {self.labels.min()} to {self.labels.max()}",
                f"0 to {count - 1}{'' if names is None else ', the classes in extra/keys'}",
            )
        known = range(int(self.labels.max()) + 1) if names is None else names[()]
        self.classes = tuple(_text(name) for name in known)
        speakers = self._table(file, "extra/speaker")
        self.speakers: Int64[np.ndarray, "clips"] | None = None
        if speakers is not None:
            if speakers.shape != self.labels.shape or speakers.dtype.kind not in "iu":
                raise self._bad("extra/speaker", f"is {speakers}", "a whole number for every clip")
            self.speakers = speakers[()].astype(np.int64)
        self.attributes = {key: _plain(value) for key, value in file.attrs.items()}

    def _open(self) -> Any:
        """The open file; another one in another process, since an open HDF5 file does not survive a fork."""
        import h5py

        if self._file is None or self._process != os.getpid():
            if not self.path.is_file():
                raise self._bad("", "does not exist", "a file of spikes")
            self._file, self._process = h5py.File(self.path, "r"), os.getpid()
        return self._file

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()

    def __reduce__(self) -> tuple[type["SpikeFile"], tuple[Path]]:
        return SpikeFile, (self.path,)

    def __repr__(self) -> str:
        return f"SpikeFile({str(self.path)!r}: {len(self)} clips, {len(self.classes)} classes)"

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of the file."""
        return sha256_of_file(self.path)

    def spikes(self, index: int) -> tuple[Float64[np.ndarray, "spikes"], Int64[np.ndarray, "spikes"]]:
        """Times in s and channels of the spikes of clip `index`.

        Raises:
            DataError: names file, clip and key.
        """
        times, units = self._remembered.get(index) or self._read(index)
        # Published times are half precision, in which sums and products would lose milliseconds.
        return times.astype(np.float64), units.astype(np.int64)

    def _read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        where = f" of clip {index}"
        with self._errors_named("spikes" + where):
            file = self._open()
            times, units = file["spikes/times"][index], file["spikes/units"][index]
        if times.shape != units.shape:
            raise self._bad("spikes/units" + where, f"has {units.size} entries", f"{times.size}, as times")
        if times.size and not (times.min() >= 0 and times.max() < _LONGEST_S):  # NaN is neither
            raise self._bad(
                "spikes/times" + where,
                f"holds {times.min()} to {times.max()}",
                f"seconds from 0 to {_LONGEST_S:g}",
            )
        if units.size and not (units.min() >= 0 and units.max() < CHANNELS):
            raise self._bad(
                "spikes/units" + where, f"holds {units.min()} to {units.max()}", f"0 to {CHANNELS - 1}"
            )
        if self._remembered_bytes + times.nbytes + units.nbytes <= _REMEMBERED_BYTES:
            self._remembered[index] = times, units
            self._remembered_bytes += times.nbytes + units.nbytes
        return times, units

    def _bad(self, key: str, found: str, wanted: str) -> DataError:
        return DataError(
            f"{self.path}{': ' + key if key else ''} {found}; expected {wanted}, in the layout of the Spiking Heidelberg "
            "Digits; fetch the file again with `ulmus data fetch shd`, or make it again"
        )


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _plain(value: Any) -> Any:
    """An attribute as numbers and text, which JSON can hold."""
    array = np.asarray(value)
    return array.tolist() if array.dtype.kind in "biufU" else _text(value)


class Clips:
    """Some clips of one or more files, in order.

    Args:
        parts: files and the clips to take from each.

    Raises:
        DataError: no clips, or files with different classes.
    """

    def __init__(self, parts: Sequence[tuple[SpikeFile, Int64[np.ndarray, "clips"]]]) -> None:
        self._parts = [(file, np.asarray(index, dtype=np.int64)) for file, index in parts if len(index)]
        if not self._parts:
            raise DataError("no clips were chosen; expected at least one; choose other speakers or shares")
        first = self._parts[0][0]
        for file, _ in self._parts[1:]:
            if file.classes != first.classes:
                raise DataError(
                    f"{file.path} has the classes {file.classes}, {first.path} has {first.classes}; expected the same; "
                    "use them apart"
                )
        self.classes = first.classes
        self.labels: Int64[np.ndarray, "clips"] = np.concatenate([f.labels[i] for f, i in self._parts])
        self._file_of = np.repeat(np.arange(len(self._parts)), [len(index) for _, index in self._parts])
        self._place = np.concatenate([index for _, index in self._parts])

    @staticmethod
    def all_of(*files: SpikeFile) -> "Clips":
        """All clips of these files."""
        return Clips([(file, np.arange(len(file))) for file in files])

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"Clips({len(self)} of {', '.join(repr(file) for file, _ in self._parts)})"

    def spikes(self, index: int) -> tuple[Float64[np.ndarray, "spikes"], Int64[np.ndarray, "spikes"]]:
        """Times in s and channels of the spikes of clip `index`.

        Raises:
            DataError: the file is damaged.
        """
        file = self._parts[int(self._file_of[index])][0]
        return file.spikes(int(self._place[index]))

    @property
    def speakers(self) -> Int64[np.ndarray, "clips"]:
        """Number of every clip's speaker.

        Raises:
            DataError: a file does not tell who speaks.
        """
        found = []
        for file, index in self._parts:
            if file.speakers is None:
                raise DataError(
                    f"{file.path} has no extra/speaker; expected the speaker of every clip; split it at random instead"
                )
            found.append(file.speakers[index])
        return np.concatenate(found)

    def where(self, chosen: Bool[np.ndarray, "clips"]) -> "Clips":
        """The clips for which `chosen` is true.

        Raises:
            DataError: there are none.
        """
        starts = np.cumsum([0, *(len(index) for _, index in self._parts)])
        return Clips(
            [
                (file, index[chosen[start:stop]])
                for (file, index), start, stop in zip(self._parts, starts, starts[1:], strict=False)
            ]
        )

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over the files and what is taken from them; paths do not count."""
        digest = hashlib.sha256()
        for file, index in self._parts:
            digest.update(file.content_hash.encode() + index.tobytes())
        return digest.hexdigest()


def choose_speakers(speakers: Iterable[Any], share: float, seed: int = 0) -> list[Any]:
    """Speakers who together have about this share of the clips: at least one, never all; the seed decides.

    Args:
        speakers: the speaker of every clip.
        share: of the clips.
        seed: of the order in which speakers are taken.

    Raises:
        DataError: there is only one speaker.
        ConfigError: a share that is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise ConfigError(f"share={share}: expected a number between 0 and 1; correct the share")
    names, counts = np.unique(np.asarray(list(speakers)), return_counts=True)
    if len(names) < 2:
        raise DataError(
            f"all {counts.sum()} clips are of speaker {names[0]}; expected at least two speakers to hold one out; "
            "add recordings of other speakers, or split at random"
        )
    order = np.random.default_rng(seed).permutation(len(names))
    held_out = counts[order].cumsum()[:-1] / counts.sum()
    taken = order[: int(np.abs(held_out - share).argmin()) + 1]
    return sorted(names[taken].tolist())


def hold_out(clips: Clips, speakers: Sequence[int]) -> tuple[Clips, Clips]:
    """The clips of all other speakers, and those of these speakers.

    Raises:
        ConfigError: a speaker who says nothing.
        DataError: nobody is left, or the file does not tell who speaks.
    """
    known = clips.speakers
    for speaker in speakers:
        if speaker not in known:
            raise ConfigError(
                f"speaker {speaker} has no clip; expected one of {sorted(set(known.tolist()))}; correct the speakers"
            )
    held = np.isin(known, list(speakers))
    return clips.where(~held), clips.where(held)


def open_digits(
    folder: str | Path,
    *,
    validation: Literal["speaker", "random", "published"] = "speaker",
    share: float = 0.2,
    seed: int = 0,
) -> Splits[Clips]:
    """Open a folder with files ``*_train.h5``, ``*_test.h5`` and perhaps ``*_valid.h5``.

    Args:
        folder: where they are.
        validation: ``"speaker"`` holds speakers out of the training file; ``"random"`` draws clips, each with
            probability `share` (with share 0.2 and seed 0 the draw of the ELM authors, speakers on both sides);
            ``"published"`` takes ``*_valid.h5``, as the Speech Commands have it.
        share: of the clips held out for validation.
        seed: decides which.

    Raises:
        DataError: a file is missing or damaged.
        ConfigError: a share or a kind of validation that cannot be used.
    """
    train = Clips.all_of(open_split(folder, "train"))
    test = Clips.all_of(open_split(folder, "test"))
    if validation == "published":
        return Splits(train, Clips.all_of(open_split(folder, "valid")), test)
    if validation == "random":
        if not 0 < share < 1:
            raise ConfigError(f"share={share}: expected a number between 0 and 1; correct the share")
        held = np.random.default_rng(seed).binomial(1, share, size=len(train)).astype(bool)
        return Splits(train.where(~held), train.where(held), test)
    if validation != "speaker":
        raise ConfigError(
            f"validation={validation!r}: expected 'speaker', 'random' or 'published'; choose one of them"
        )
    kept, held_out = hold_out(train, choose_speakers(train.speakers, share, seed))
    return Splits(kept, held_out, test)


def open_split(folder: str | Path, split: str) -> SpikeFile:
    """The one file of this split in a folder.

    Raises:
        DataError: none or several, or a damaged one.
    """
    folder = Path(folder).expanduser()
    files = files_in(folder, f"*_{split}.h5")
    if len(files) != 1:
        found = f"holds {', '.join(file.name for file in files)}" if files else f"holds no file *_{split}.h5"
        raise DataError(
            f"{folder} {found}; expected one for this split; get the digits with `ulmus data fetch shd`, or make some "
            "with `ulmus data make spoken-digits`"
        )
    return SpikeFile(files[0])


def describe(folder: str | Path, sample: int = 200) -> dict[str, dict[str, Any]]:
    """What is in a folder of spoken digits, file by file; spikes are counted in the first `sample` clips.

    Raises:
        DataError: no file of the layout, or a damaged one.
    """
    place = Path(folder).expanduser()
    present = [split for split in SPLITS if files_in(place, f"*_{split}.h5")]
    if not present:
        open_split(folder, "train")
    return {split: _describe(open_split(folder, split), sample) for split in present}


def _describe(file: SpikeFile, sample: int) -> dict[str, Any]:
    counted = [file.spikes(index) for index in range(min(sample, len(file)))]
    last_s = [float(times.max()) if times.size else 0.0 for times, _ in counted]
    return {
        **file.attributes,
        "file": str(file.path),
        "clips": len(file),
        "classes": len(file.classes),
        "speakers": None if file.speakers is None else len(np.unique(file.speakers)),
        "clips_per_class": np.bincount(file.labels, minlength=len(file.classes)).tolist(),
        "mean_spikes": float(np.mean([times.size for times, _ in counted])),
        "mean_last_spike_s": float(np.mean(last_s)),
        "bytes": file.path.stat().st_size,
        "content_hash": file.content_hash,
    }
