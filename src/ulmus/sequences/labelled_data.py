"""What every kind of labelled data offers to a recipe: its settings, and how they are opened."""

from abc import abstractmethod
from typing import Self

from ulmus.sequences.labelled_batches import LabelledBatches, Splits
from ulmus.settings import Settings


class LabelledSettings(Settings):
    """The ``data`` of a recipe for sequences with a class each; every kind of data is a subclass with its own ``kind``."""

    @abstractmethod
    def open(self, batch: int, seed: int, share: tuple[int, int] = (0, 1)) -> Splits[LabelledBatches]:
        """Training batches shuffled by the seed, of which this process gets a share; the held-out ones are always the same.

        Args:
            batch: sequences in a batch, of all processes together.
            seed: of the order of the training sequences.
            share: number of this process, and of all processes that share every training batch.

        Raises:
            DataError: a file is missing or damaged.
        """

    def lessons(self) -> list[tuple[float, Self]]:
        """Data to begin training with, and the share of all steps after which each lesson ends."""
        return []

    @property
    def has_hints(self) -> bool:
        """Whether training is told more than the class of a sequence."""
        return False

    def for_scoring(self) -> Self:
        """The same data without what only training is told."""
        return self

    def notes(self) -> list[str]:
        """What makes scores on these data incomparable with scores of the published task."""
        return []
