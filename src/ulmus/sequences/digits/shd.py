"""Spiking Heidelberg Digits and Speech Commands as published (Cramer et al. 2022), and files of the same layout.

One HDF5 file per split: ``spikes/times`` in s and ``spikes/units`` (one array per clip), ``labels``, and under ``extra``
what is known of them: ``keys`` (names of the classes), ``speaker``, ``meta_info``.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64, UInt32

from ulmus.errors import DataError
from ulmus.files.reading import sha256_of_file

CHANNELS = 700
_LONGEST_S = 1000.0  # of a clip; the longest window
_SAMPLE, _USUAL_S = 20, 20.0  # clips that are looked at on opening, and the longest that they usually last
_MOST_CLASSES = 10_000
_TELLING = 10  # spikes, of which no two clips have the same by chance
_REMEMBERED_BYTES = 512 * 2**20  # of clips, for each file and process: all of SHD's training file
_REFERENCE = np.dtype(
    [("length", "<u4"), ("place", "<u8"), ("entry", "<u4")]
)  # to an array of varying length
SPLITS = ("train", "valid", "test")


class SpikeFile:
    """One file of the published layout; opening reads labels and speakers, spikes are read clip by clip.

    What was read is kept as it lies in the file, up to half a GiB: reading a clip can take as long as learning from it. A file
    can be pickled and sent to other processes, which open it themselves.

    Attributes:
        labels: class of every clip.
        classes: names of the classes; numbers where the file has no names.
        speakers: number of every clip's speaker, or None where the file does not say.
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
        """Refuse times that are no seconds: of some clips, most spikes are later than any word lasts."""
        chosen = np.unique(np.linspace(0, len(self) - 1, _SAMPLE).astype(int)).tolist()
        times = np.concatenate([self._read(index)[0] for index in chosen]).astype(np.float64)
        if times.size and (usual := (times < _USUAL_S).mean()) < 0.5:
            found = f"holds times up to {times.max():.6g}; within {_USUAL_S:g} s lie {usual:.1%} of them"
            raise self._bad("spikes/times", found, "seconds; milliseconds have to be divided by 1000")

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
            longest = int(_lengths(tables[key], self.path).max(initial=0))
            if longest * np.dtype(kind).itemsize > self.path.stat().st_size:
                raise self._bad(key, f"has a clip of {longest} spikes", "no more than the file has bytes")
            if (count := len(tables[key])) != (wanted := len(tables["labels"])):
                raise self._bad(key, f"has {count} entries", f"{wanted}, as many as labels")
        if not len(tables["labels"]) or tables["labels"].dtype.kind not in "iu":
            raise self._bad("labels", f"is {tables['labels']}", "a whole number for every clip")
        self.labels: Int64[np.ndarray, "clips"] = tables["labels"][()].astype(np.int64)
        names = self._table(file, "extra/keys")
        count = _MOST_CLASSES if names is None else len(names)
        low, high = int(self.labels.min()), int(self.labels.max())
        if low < 0 or high >= count:
            of = "" if names is None else ", the classes in extra/keys"
            raise self._bad("labels", f"holds {low} to {high}", f"0 to {count - 1}{of}")
        known = range(high + 1) if names is None else names[()]
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
    def names(self) -> frozenset[str]:
        """Files of the recordings; none where the file does not say."""
        with self._errors_named("extra/clip"):
            names = self._table(self._open(), "extra/clip")
            return frozenset(() if names is None else (Path(_text(name)).name for name in names[()]))

    @cached_property
    def clip_hashes(self) -> frozenset[bytes]:
        """SHA-256 of the spikes of every clip of ten and more, by which the same clip is known under another name."""
        clips = (self.spikes(index) for index in range(len(self)))
        return frozenset(
            hashlib.sha256(times.tobytes() + units.tobytes()).digest()
            for times, units in clips
            if times.size >= _TELLING
        )

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of the file."""
        return sha256_of_file(self.path)

    def spikes(self, index: int) -> tuple[Float64[np.ndarray, "spikes"], Int64[np.ndarray, "spikes"]]:
        """Times in s and channels of the spikes of clip `index`."""
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
        for key, values, end, wanted in (
            ("spikes/times", times, _LONGEST_S, f"seconds from 0 to {_LONGEST_S:g}"),
            ("spikes/units", units, CHANNELS, f"0 to {CHANNELS - 1}"),
        ):
            if values.size and not (values.min() >= 0 and values.max() < end):  # NaN is neither
                raise self._bad(key + where, f"holds {values.min()} to {values.max()}", wanted)
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


def _lengths(dataset: Any, path: Path) -> UInt32[np.ndarray, "clips"]:
    """Entries of every array of a list, as they stand in the file: the library reserves what it reads there.

    Those in filtered chunks are not looked at.
    """
    places = []  # of references in the file, and how many lie there

    def note(chunk: Any) -> None:
        count = min(chunk.size // _REFERENCE.itemsize, len(dataset) - chunk.chunk_offset[0])
        places.append((chunk.byte_offset, count))

    if dataset.chunks is None:
        places.append((dataset.id.get_offset(), len(dataset)))
    elif dataset.id.get_create_plist().get_nfilters() == 0:
        dataset.id.chunk_iter(note)
    with path.open("rb") as file:
        found = [np.empty(0, np.uint32)]
        for offset, count in places:
            if offset is not None:  # else nothing was ever written
                file.seek(offset)
                found.append(np.frombuffer(file.read(count * _REFERENCE.itemsize), _REFERENCE)["length"])
    return np.concatenate(found)
