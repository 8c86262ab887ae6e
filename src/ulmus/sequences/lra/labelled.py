"""Labelled sequences of whole numbers: what the tasks of Long Range Arena have in common, read when asked for."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int, Int64, Integer, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from ulmus.errors import DataError


class Labelled(NamedTuple):
    """Sequences side by side, padded at the end to the longest.

    Attributes:
        tokens: one number per step, 0 behind the end; where an item has two sequences, the first of all come first.
        length: steps of each sequence.
        label: class of each item.
    """

    tokens: Int[Tensor, "sequences time"]
    length: Int64[Tensor, "sequences"]
    label: Int64[Tensor, "batch"]


class Sequences(ABC):
    """Items with a class each: one sequence, or two to be compared. They can be pickled and sent to other processes.

    Attributes:
        name: of the task; data made by a generator and stand-ins say so in their name.
        path: file or folder they are read from.
        tokens: how many different numbers there are.
        classes: names of the classes.
        labels: class of every item.
        towers: sequences of an item.
        generated: the settings that the data were made with, if they are ours.
        hint_classes: what a hint can say, where there are some.
    """

    name: str
    path: Path
    tokens: int
    classes: tuple[str, ...]
    labels: Int64[np.ndarray, "items"]
    towers: int = 1
    generated: dict[str, Any] | None = None
    hint_classes: tuple[str, ...] = ()

    @abstractmethod
    def read(self, index: int, tower: int = 0) -> Integer[np.ndarray, "time"]:
        """One sequence of an item; the index is not checked.

        Raises:
            DataError: its file is missing or damaged.
        """

    def hints(self, index: int) -> UInt8[np.ndarray, "time"]:
        """What a teacher says at every step of an item: 0 nothing, else the place of a hint's class, from 1 on.

        Raises:
            DataError: nobody knows more of these data than their classes.
        """
        raise DataError(
            f"{self.name} in {self.path} has no hints; expected images that `ulmus data make pathfinder` drew, whose "
            "contours are known; make them, or leave out `hints`"
        )

    @property
    @abstractmethod
    def content_hash(self) -> str:
        """SHA-256 of the data, wherever they lie."""

    @property
    def rough_length(self) -> Int64[np.ndarray, "items"] | None:
        """A number that grows with the length of every item, known without reading it; None where all are equal."""
        return None

    @property
    def description(self) -> dict[str, Any]:
        """Where the sequences come from, for provenance."""
        return {
            "name": self.name,
            "path": str(self.path),
            "sequences": len(self),
            "generated": self.generated,
        }

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Integer[np.ndarray, "time"], int]:
        """The first sequence of an item and its class.

        Raises:
            DataError: there is no such item, or its file is missing or damaged.
        """
        self._check(index)
        return self.read(index), int(self.labels[index])

    def batch(self, indices: Sequence[int]) -> Labelled:
        """The sequences of these items side by side.

        Raises:
            DataError: there is no such item, or a file is missing or damaged.
        """
        for index in indices:
            self._check(index)
        rows = [self.read(index, tower) for tower in range(self.towers) for index in indices]
        length = np.array([len(row) for row in rows], dtype=np.int64)
        if rows and (length == length[0]).all():
            tokens = np.stack(rows)
        else:
            kind = np.result_type(*(row.dtype for row in rows))
            tokens = np.zeros((len(rows), length.max()), dtype=kind)
            for place, row in zip(tokens, rows, strict=True):
                place[: len(row)] = row
        label = self.labels[np.asarray(indices, dtype=np.int64)]
        return Labelled(torch.from_numpy(tokens), torch.from_numpy(length), torch.from_numpy(label))

    def _check(self, index: int) -> None:
        if not 0 <= index < len(self):
            raise DataError(
                f"sequence {index} of {self.name}: expected 0 to {len(self) - 1}; ask for one of these"
            )


class Part(Sequences):
    """Some of the items of a source, in a given order."""

    def __init__(self, whole: Sequences, indices: Int64[np.ndarray, "part"], split: str) -> None:
        self._whole, self._indices, self._split = whole, indices, split
        self.name, self.path, self.generated = whole.name, whole.path, whole.generated
        self.tokens, self.classes, self.towers = whole.tokens, whole.classes, whole.towers
        self.labels, self.hint_classes = whole.labels[indices], whole.hint_classes

    def read(self, index: int, tower: int = 0) -> Integer[np.ndarray, "time"]:
        """One sequence of an item; the index is not checked."""
        return self._whole.read(int(self._indices[index]), tower)

    def hints(self, index: int) -> UInt8[np.ndarray, "time"]:
        """What a teacher says at every step of an item."""
        return self._whole.hints(int(self._indices[index]))

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of the source and of what is taken from it."""
        return hashlib.sha256(self._whole.content_hash.encode() + self._indices.tobytes()).hexdigest()

    @property
    def rough_length(self) -> Int64[np.ndarray, "part"] | None:
        """That of the source."""
        lengths = self._whole.rough_length
        return None if lengths is None else lengths[self._indices]

    @property
    def description(self) -> dict[str, Any]:
        """What the source says, and how many of it are taken."""
        return {**self._whole.description, "split": self._split, "sequences": len(self)}


class Splits(NamedTuple):
    """The sequences to train with, to choose with, and to report."""

    train: Sequences
    valid: Sequences
    test: Sequences


def random_split(whole: Sequences, seed: int = 42) -> Splits:
    """80 % to train, 10 % to validate, 10 % to test, drawn by `torch.utils.data.random_split`.

    The order and sizes are those of the S4 repository (Gu et al. 2022), which later work on Pathfinder shares.

    Raises:
        DataError: fewer than ten sequences.
    """
    tenth = len(whole) // 10
    return Splits(*_drawn(whole, [len(whole) - 2 * tenth, tenth, tenth], seed, Splits._fields))


def with_validation(train: Sequences, test: Sequences, seed: int = 42) -> Splits:
    """A tenth of the training sequences to validate, drawn like those of :func:`random_split`; the test as given.

    Raises:
        DataError: fewer than ten sequences.
    """
    tenth = len(train) // 10
    kept, held_out = _drawn(train, [len(train) - tenth, tenth], seed, Splits._fields[:2])
    return Splits(kept, held_out, test)


def _drawn(whole: Sequences, counts: list[int], seed: int, names: Sequence[str]) -> list[Sequences]:
    if not min(counts):
        raise DataError(
            f"{whole.name} has {len(whole)} sequences; expected at least 10 to split; make or copy more of them"
        )
    everything: Dataset[int] = range(len(whole))  # type: ignore[assignment]
    generator = torch.Generator().manual_seed(seed)
    parts = torch.utils.data.random_split(everything, counts, generator=generator)
    return [Part(whole, np.array(part.indices), name) for part, name in zip(parts, names, strict=True)]


def file_hash(path: Path) -> str:
    """SHA-256 of a file.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}); expected a file; copy it again") from error
