"""Sequences of whole numbers with a class each, read when asked for: what the tasks of Long Range Arena have in common."""

import hashlib
from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, Integer, UInt8
from torch.utils.data import Dataset

from ulmus.errors import DataError
from ulmus.sequences.labelled_batches import Splits


class Sequences(ABC):
    """Items with a class each: one sequence, or two to be compared. They can be pickled and sent to other processes.

    Attributes:
        name: of the task; data made by a generator and stand-ins say so in their name.
        path: file or folder they are read from.
        tokens: how many different numbers there are.
        classes: names of the classes.
        labels: class of every item.
        width: of square images, whose tokens are gray levels from 0 to 255; None for other sequences.
        towers: sequences per item.
        generated: the settings that the data were made with, if Ulmus made them.
        hint_classes: what a hint can say, where there are hints.
    """

    name: str
    path: Path
    tokens: int
    classes: tuple[str, ...]
    labels: Int64[np.ndarray, "items"]
    width: int | None = None
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
        """What training is told at every step of an item: 0 nothing, else the place of a hint class, from 1 on.

        Raises:
            DataError: nothing more is known of these data than their classes.
        """
        raise DataError(
            f"{self.name} in {self.path} has no hints; expected images made by `ulmus data make pathfinder`, whose contours "
            "are known; make such images, or leave out `hints`"
        )

    @property
    @abstractmethod
    def content_hash(self) -> str:
        """SHA-256 of the data, wherever they lie."""

    @property
    def rough_length(self) -> Int64[np.ndarray, "items"] | None:
        """A number that grows with the length of every item, known without reading it; None where all are equal."""
        return None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Integer[np.ndarray, "time"], int]:
        """The first sequence of an item and its class.

        Raises:
            DataError: there is no such item, or its file is missing or damaged.
        """
        if not 0 <= index < len(self):
            raise DataError(
                f"sequence {index} of {self.name}: expected 0 to {len(self) - 1}; ask for one of these"
            )
        return self.read(index), int(self.labels[index])


class Subset(Sequences):
    """Some of the items of other sequences, in a given order."""

    def __init__(self, whole: Sequences, indices: Int64[np.ndarray, "subset"]) -> None:
        self._whole, self._indices = whole, indices
        for name in ("name", "path", "tokens", "classes", "width", "towers", "generated", "hint_classes"):
            setattr(self, name, getattr(whole, name))
        self.labels = whole.labels[indices]

    def read(self, index: int, tower: int = 0) -> Integer[np.ndarray, "time"]:
        """One sequence of an item."""
        return self._whole.read(int(self._indices[index]), tower)

    def hints(self, index: int) -> UInt8[np.ndarray, "time"]:
        """What training is told at every step of an item."""
        return self._whole.hints(int(self._indices[index]))

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of the whole and of what is taken from it."""
        return hashlib.sha256(self._whole.content_hash.encode() + self._indices.tobytes()).hexdigest()

    @property
    def rough_length(self) -> Int64[np.ndarray, "subset"] | None:
        """That of the whole."""
        lengths = self._whole.rough_length
        return None if lengths is None else lengths[self._indices]


def random_split(whole: Sequences, seed: int = 42) -> Splits[Sequences]:
    """80 % to train, 10 % to validate, 10 % to test, drawn by `torch.utils.data.random_split`.

    The order and sizes are those of the S4 repository (Gu et al. 2022), which later work on Pathfinder shares.
    """
    tenth = len(whole) // 10
    return Splits(*_drawn(whole, [len(whole) - 2 * tenth, tenth, tenth], seed))


def with_validation(train: Sequences, test: Sequences, seed: int = 42) -> Splits[Sequences]:
    """A tenth of the training sequences to validate, drawn like those of :func:`random_split`; the test as given."""
    tenth = len(train) // 10
    kept, held_out = _drawn(train, [len(train) - tenth, tenth], seed)
    return Splits(kept, held_out, test)


def _drawn(whole: Sequences, counts: list[int], seed: int) -> list[Sequences]:
    if not min(counts):
        raise DataError(
            f"{whole.name} has {len(whole)} sequences; expected at least 10 to split; make or copy more of them"
        )
    everything: Dataset[int] = range(len(whole))  # type: ignore[assignment]
    generator = torch.Generator().manual_seed(seed)
    parts = torch.utils.data.random_split(everything, counts, generator=generator)
    return [Subset(whole, np.array(part.indices)) for part in parts]
