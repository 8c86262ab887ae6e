"""Labelled sequences of whole numbers: what the tasks of Long Range Arena have in common, read when asked for."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int, Int64, Integer
from torch import Tensor
from torch.utils.data import Dataset

from ulmus.errors import DataError


class Labelled(NamedTuple):
    """Sequences side by side, padded at the end to the longest.

    Attributes:
        tokens: one number per step; the padding number of the task behind the end of a sequence.
        length: steps of each sequence.
        label: class of each.
    """

    tokens: Int[Tensor, "batch time"]
    length: Int64[Tensor, "batch"]
    label: Int64[Tensor, "batch"]


class Sequences(ABC):
    """Sequences with a class each. They can be pickled and sent to other processes.

    Attributes:
        name: of the task; data made by a generator say so in their name.
        tokens: how many different numbers there are, the padding among them if there is any.
        padding: the number that fills the end of shorter sequences in a batch.
        classes: how many classes there are.
    """

    name: str
    tokens: int
    padding: int = 0
    classes: int

    @abstractmethod
    def __len__(self) -> int:
        """Number of sequences."""

    @abstractmethod
    def read(self, index: int) -> Integer[np.ndarray, "time"]:
        """One sequence; the index is not checked.

        Raises:
            DataError: its file is missing or damaged.
        """

    @property
    @abstractmethod
    def labels(self) -> Int64[np.ndarray, "sequences"]:
        """Class of every sequence."""

    @property
    @abstractmethod
    def description(self) -> dict[str, Any]:
        """Where the sequences come from, for provenance."""

    def __getitem__(self, index: int) -> tuple[Integer[np.ndarray, "time"], int]:
        """A sequence and its class.

        Raises:
            DataError: there is no such sequence, or its file is missing or damaged.
        """
        if not 0 <= index < len(self):
            raise DataError(
                f"sequence {index} of {self.name}: expected 0 to {len(self) - 1}; ask for one of these"
            )
        return self.read(index), int(self.labels[index])

    def batch(self, indices: Sequence[int]) -> Labelled:
        """These sequences side by side.

        Raises:
            DataError: there is no such sequence, or a file is missing or damaged.
        """
        pairs = [self[index] for index in indices]
        length = np.array([len(sequence) for sequence, _ in pairs])
        kind = np.result_type(*(sequence.dtype for sequence, _ in pairs))
        tokens = np.full((len(pairs), length.max()), self.padding, dtype=kind)
        for row, (sequence, _) in zip(tokens, pairs, strict=True):
            row[: len(sequence)] = sequence
        label = torch.tensor([label for _, label in pairs])
        return Labelled(torch.from_numpy(tokens), torch.from_numpy(length), label)


class Part(Sequences):
    """Some of the sequences of a source, in a given order."""

    def __init__(self, whole: Sequences, indices: Int64[np.ndarray, "part"], split: str) -> None:
        self._whole, self._indices, self._split = whole, indices, split
        self.name, self.tokens, self.classes = whole.name, whole.tokens, whole.classes
        self.padding = whole.padding

    def __len__(self) -> int:
        return len(self._indices)

    def read(self, index: int) -> Integer[np.ndarray, "time"]:
        """One sequence; the index is not checked."""
        return self._whole.read(int(self._indices[index]))

    @property
    def labels(self) -> Int64[np.ndarray, "part"]:
        """Class of every sequence."""
        return np.asarray(self._whole.labels[self._indices])

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
    if not tenth:
        raise DataError(
            f"{whole.name} has {len(whole)} sequences; expected at least 10 to split; make or copy more of them"
        )
    everything: Dataset[int] = range(len(whole))  # type: ignore[assignment]
    parts = torch.utils.data.random_split(
        everything,
        [len(whole) - 2 * tenth, tenth, tenth],
        generator=torch.Generator().manual_seed(seed),
    )
    names = Splits._fields
    return Splits(
        *(Part(whole, np.array(part.indices), name) for part, name in zip(parts, names, strict=True))
    )
