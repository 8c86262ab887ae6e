"""Trials on the processes of this machine."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ulmus.errors import UlmusError
from ulmus.teachers.plan import Plan, SimulatedTrial, run_task, simulated_trial, tasks_of

LOSSES_IN_A_ROW = 3
"""How often workers may be killed without a finished trial in between, before the simulation gives up."""


def results_of_processes(plan: Plan, waiting: list[int], workers: int | None) -> Iterator[SimulatedTrial]:
    """Every waiting trial, in the order in which they finish; those of a killed worker are simulated again."""
    import joblib
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    left, lost = dict.fromkeys(waiting), 0
    workers = workers or joblib.cpu_count()
    if workers == 1:  # here, with the cell that is built already: some can be built only once in a process
        yield from (simulated_trial(plan, index) for index in waiting)
        return
    while left:
        try:
            for result in _results_of_pool(plan, list(left), workers):
                del left[result.trial_index]
                lost = 0
                yield result
        except TerminatedWorkerError as error:
            lost += 1
            if lost == LOSSES_IN_A_ROW:
                raise UlmusError(
                    f"worker processes of the simulation were killed {lost} times in a row, perhaps for lack of memory; trials "
                    f"{list(left)[:5]} are among the {len(left)} that are missing, the others are kept. Run the same command "
                    f"again to continue, with fewer workers if memory is short."
                ) from error


def _results_of_pool(plan: Plan, waiting: list[int], workers: int) -> Iterator[SimulatedTrial]:
    import joblib

    pool = joblib.Parallel(
        n_jobs=min(workers, max(2, len(waiting))),  # with 1, the trial that killed a worker would run here
        return_as="generator_unordered",
        batch_size=1,
        initializer=_end_with,
        initargs=(os.getpid(),),
    )
    pickled, tasks = tasks_of(plan, waiting)
    with _workers_end_with_us():
        yield from pool(joblib.delayed(run_task)(pickled, index, drawn) for index, drawn in tasks)


def _end_with(parent: int) -> None:
    """Let this worker end soon after its parent has: a killed parent cannot stop it."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _workers_end_with_us() -> Iterator[None]:
    """Stop the worker processes when we are interrupted, terminated, or fail."""

    def terminate(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, terminate) if main else None
    try:
        yield
    except BaseException:
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor().shutdown(wait=True, kill_workers=True)
        raise
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)
