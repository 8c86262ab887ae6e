"""Sequences with a class each, in numbered batches: what every kind of data gives to training."""

from typing import Any, Generic, NamedTuple, TypeVar

from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from ulmus.files.batch_loading import Numbered
from ulmus.kernels.events import Events

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


class LabelledBatches(Numbered[LabelledBatch]):
    """Numbered batches of sequences with a class each.

    Attributes:
        classes: names of the classes.
        channels: of the input.
        step_ms: duration of a step; 1 where steps are no time.
        towers: sequences per item.
        content_hash: SHA-256 of the data.
        hint_classes: what hints can say; empty without hints.
        generated: the settings that the data were made with, if Ulmus made them.
    """

    classes: tuple[str, ...]
    channels: int
    step_ms: float = 1.0
    towers: int = 1
    content_hash: str
    hint_classes: tuple[str, ...] = ()
    generated: dict[str, Any] | None = None
