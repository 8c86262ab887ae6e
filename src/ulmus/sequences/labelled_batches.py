"""Sequences with a class each: settings that open them, and numbered batches, as every kind of data gives them to training."""

from abc import abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, Self, TypeVar

from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from ulmus.files.batch_loading import EachOnce
from ulmus.kernels.events import Events
from ulmus.settings import Settings

T = TypeVar("T")


class Splits(NamedTuple, Generic[T]):
    """What to learn from, to choose by, and to report on."""

    train: T
    validation: T
    test: T


class LabelledBatch(NamedTuple):
    """Sequences side by side, each with a class.

    Where a class belongs to several sequences (two documents to compare), the first sequences of all items come first,
    then the second ones.

    Attributes:
        inputs: what a model reads.
        labels: class of every item.
        lengths: steps of every sequence, behind which it is padded; None when all fill the batch.
        source: where in the data each item is from, one or more numbers.
        hints: what training is told at every step: 0 nothing, else the place of a hint class, from 1 on; None without hints.
    """

    inputs: Events | Float[Tensor, "sequences time channels"]
    labels: Int64[Tensor, "batch"]
    lengths: Int64[Tensor, "sequences"] | None
    source: Int64[Tensor, "batch parts"]
    hints: UInt8[Tensor, "batch time"] | None = None


class LabelledBatches(EachOnce[LabelledBatch]):
    """Numbered batches of sequences with a class each.

    Attributes:
        classes: names of the classes.
        channels: of the input.
        step_ms: duration of a step; 1 where steps are no time.
        towers: sequences per item.
        content_hash: SHA-256 of the data.
        further: SHA-256 of what is learnt from beside them, by name.
        hint_classes: what hints can say; empty without hints.
        generated: the settings that the data were made with, if Ulmus made them.
    """

    classes: tuple[str, ...]
    channels: int
    step_ms: float = 1.0
    towers: int = 1
    content_hash: str
    further: Mapping[str, str] = MappingProxyType({})
    hint_classes: tuple[str, ...] = ()
    generated: dict[str, Any] | None = None


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
