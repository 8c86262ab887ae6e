"""Batches by number, made in this process or ahead of time in others."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Int64
from torch.utils.data import DataLoader, Dataset

from ulmus.errors import ConfigError, UlmusError

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


class EachOnce(Numbered[B]):
    """Numbered batches that hold every item once per epoch; the last one may be smaller.

    Args:
        items: how many.
        batch: items in a batch.
        seed: of the order, 0 to 2**64 - 1; None keeps the order of the items, as for validation and test.
        share: number of this process and of all processes that share the items of every batch.
    """

    def __init__(self, items: int, batch: int, seed: int | None, share: tuple[int, int]) -> None:
        rest = items % batch if batch > 0 else 0
        if batch < share[1] or 0 < rest < share[1]:
            raise ConfigError(
                f"batch={batch} of {items} sequences for {share[1]} processes: expected a sequence for each of them, also in the "
                "last batch; choose another batch size"
            )
        if not 0 <= (seed or 0) < 2**64:
            raise ConfigError(f"seed={seed}: expected 0 to 2**64 - 1; choose another seed")
        self.batch_size, self.seed = batch, seed
        self.batches_per_epoch = -(-items // batch)
        self._items, self._mine = items, slice(share[0], None, share[1])
        self._order: tuple[int, Int64[np.ndarray, "items"]] | None = None

    def plan(self, epoch: int, k: int) -> Int64[np.ndarray, "batch"]:
        """The items of batch `k` in `epoch`, for all processes together."""
        known = self._order  # read once: another thread may ask for another epoch
        if known is None or known[0] != epoch:
            order = np.arange(self._items)
            if self.seed is not None:
                order = self._shuffled(np.random.Generator(random_of(self.seed, epoch, 0)))
            self._order = known = epoch, order
        return known[1][k * self.batch_size : (k + 1) * self.batch_size]

    def _shuffled(self, random: np.random.Generator) -> Int64[np.ndarray, "items"]:
        return random.permutation(self._items)


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
