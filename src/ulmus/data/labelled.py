"""Sequences with a class each, in numbered batches: what every classification task gives to training."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import NamedTuple

from jaxtyping import Float, Int64
from torch import Tensor
from torch.utils.data import Dataset

from ulmus.data.loading import in_order
from ulmus.kernels.events import Events


class LabelledBatch(NamedTuple):
    """Sequences side by side, each with a class.

    Where a class belongs to several sequences (two documents to compare), the first of all come first, then the second.

    Attributes:
        inputs: what a model reads.
        labels: class of every item.
        lengths: steps of every sequence, the rest is silence; None when all fill the batch.
        source: where in the data each item is from, one or more numbers.
    """

    inputs: Events | Float[Tensor, "sequences time channels"]
    labels: Int64[Tensor, "batch"]
    lengths: Int64[Tensor, "sequences"] | None
    source: Int64[Tensor, "batch parts"]


class LabelledBatches(Dataset[LabelledBatch], ABC):
    """Batches that are numbered; batch ``k`` of an epoch depends on (seed, epoch, k) alone.

    Attributes:
        classes: names of the classes.
        channels: of the input.
        step_ms: what one step stands for; 1 where steps are no time.
        towers: sequences that belong to one class.
        batches_per_epoch: batches in an epoch.
        content_hash: SHA-256 of the data.
    """

    classes: tuple[str, ...]
    channels: int
    step_ms: float = 1.0
    towers: int = 1
    batches_per_epoch: int
    content_hash: str

    @abstractmethod
    def batch(self, epoch: int, k: int) -> LabelledBatch:
        """Batch `k` of `epoch`.

        Raises:
            DataError: a file of the data is damaged.
        """

    def __getitem__(self, number: int) -> LabelledBatch:
        """The batch with this number, counted through all epochs."""
        return self.batch(*divmod(number, self.batches_per_epoch))

    def loader(self, first_batch: int, total: int, workers: int = 0) -> Iterator[LabelledBatch]:
        """Batches number `first_batch` up to `total` (exclusive), in order, counted through all epochs.

        Args:
            first_batch: 0, or where an interrupted training goes on.
            total: the number after the last batch.
            workers: processes that prepare batches ahead; 0 prepares each when it is asked for.

        Raises:
            DataError: a file of the data is damaged.
        """
        return in_order(self, first_batch, total, workers)


class LabelledSplits(NamedTuple):
    """Batches to learn from, to choose by, and to report on."""

    train: LabelledBatches
    validation: LabelledBatches
    test: LabelledBatches
