"""Trials on the workers of a Dask cluster."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from itertools import islice
from typing import Any

from ulmus.errors import ConfigError, UlmusError, extra
from ulmus.teachers.plan import Plan, SimulatedTrial, run_task, tasks_of

CONNECT_SECONDS = 10
TRIALS_AHEAD = 2  # for each core of a cluster, so that none waits


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """A client of the scheduler at this address."""
    with extra("dask", "simulating on a cluster"):
        distributed: Any = import_module("dask.distributed")
    try:
        client = distributed.Client(address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"dask={address!r}: no scheduler answers there ({error}); expected an address such as 'tcp://host:8786'. Start "
            f"`dask scheduler` and workers, or correct the address."
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        except TimeoutError as error:
            raise ConfigError(
                f"dask={address!r}: the scheduler has no workers; expected at least one. Start `dask worker {address}` on each "
                f"machine first."
            ) from error
        yield client


def results_of_dask(plan: Plan, waiting: list[int], client: Any) -> Iterator[SimulatedTrial]:
    """Every waiting trial, in the order in which they finish; Dask gives those of a lost worker to another one.

    Every core is kept busy with as few trials in flight as that takes.
    """
    # Not through joblib, which simulates here when the cluster has one core, and overlooks workers that join later.
    distributed: Any = import_module("dask.distributed")
    pickled, tasks = tasks_of(plan, waiting)
    shared = client.submit(bytes, pickled, pure=False)  # a task, so that it outlives the worker that holds it
    running = distributed.as_completed(with_results=True)

    def submit() -> None:
        free = TRIALS_AHEAD * sum(client.ncores().values()) - running.count()
        for task in islice(tasks, max(free, 1 if running.is_empty() else 0)):
            running.add(client.submit(run_task, shared, *task, pure=False))

    submit()
    try:
        for _, result in running:
            yield result
            submit()
    except distributed.KilledWorker as error:
        raise UlmusError(
            f"the workers that simulated one trial were killed again and again, perhaps for lack of memory ({error}); the "
            f"finished trials are kept. Run the same command again to continue, with fewer workers on a machine."
        ) from error
