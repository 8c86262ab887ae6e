"""Batches by number, made in this process or ahead of time in others."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np
from torch.utils.data import DataLoader, Dataset

from ulmus.errors import UlmusError

B = TypeVar("B")


class Numbered(Dataset[B], ABC):
    """Batches that are numbered; batch ``k`` of an epoch depends on (seed, epoch, k) alone.

    Attributes:
        batches_per_epoch: batches in an epoch.
    """

    batches_per_epoch: int

    @abstractmethod
    def batch(self, epoch: int, k: int) -> B:
        """Batch `k` of `epoch`.

        Raises:
            DataError: a file of the data is missing or damaged.
        """

    def __getitem__(self, number: int) -> B:
        """The batch with this number, counted through all epochs."""
        return self.batch(*divmod(number, self.batches_per_epoch))

    def loader(self, first_batch: int, total: int, workers: int = 0) -> Iterator[B]:
        """Batches number `first_batch` up to `total` (exclusive), in order, the same for any number of workers.

        Args:
            first_batch: 0, or where an interrupted training goes on.
            total: the number after the last batch.
            workers: processes that prepare batches ahead; 0 prepares each when it is asked for.

        Raises:
            DataError: a file of the data is missing or damaged.
        """
        numbers = range(first_batch, total)
        if not workers:
            return map(self.__getitem__, numbers)
        return map(
            _batch,
            DataLoader(
                _OrError(self),
                batch_size=None,
                sampler=numbers,
                num_workers=workers,
                collate_fn=_unchanged,
                multiprocessing_context="spawn",  # a fork of a process with threads can deadlock
            ),
        )


class _OrError(Dataset[Any]):
    """Batches, or what is wrong with them, as a value: raised in a worker, its message would come with a traceback."""

    def __init__(self, batches: Numbered[Any]) -> None:
        self._batches = batches

    def __getitem__(self, number: int) -> Any:
        try:
            return self._batches[number]
        except UlmusError as error:
            return error


def _batch(made: B | UlmusError) -> B:
    if isinstance(made, UlmusError):
        raise made
    return made


def random_of(seed: int, epoch: int, k: int) -> np.random.Philox:
    """Random bits of batch `k` of `epoch`: independent streams, of which none has to be advanced to reach another."""
    return np.random.Philox(key=np.array([seed, epoch << 32 | k], dtype=np.uint64))


def _unchanged(batch: Any) -> Any:
    return batch
