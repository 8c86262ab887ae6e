"""Batches by number, made in this process or ahead of time in others."""

from collections.abc import Iterator
from typing import Any, TypeVar

from torch.utils.data import DataLoader, Dataset

B = TypeVar("B")


def in_order(batches: Dataset[B], first: int, total: int, workers: int) -> Iterator[B]:
    """Batches number `first` up to `total` (exclusive), in order, the same for any number of workers.

    Args:
        batches: gives the batch of a number.
        first: 0, or where an interrupted training goes on.
        total: the number after the last batch.
        workers: processes that prepare batches ahead; 0 prepares each when it is asked for.
    """
    numbers = range(first, total)
    if not workers:
        return map(batches.__getitem__, numbers)
    return iter(
        DataLoader(
            batches,
            batch_size=None,
            sampler=numbers,
            num_workers=workers,
            collate_fn=_unchanged,
            multiprocessing_context="spawn",  # a fork of a process with threads can deadlock
        )
    )


def _unchanged(batch: Any) -> Any:
    return batch
