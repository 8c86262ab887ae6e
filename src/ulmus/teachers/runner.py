"""Simulate many trials on several processes into an event store."""

import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import cloudpickle
import joblib
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.process_executor import TerminatedWorkerError

from ulmus.data.store import Store, StoreWriter
from ulmus.data.trial import Header, Trial
from ulmus.errors import ConfigError, MissingToolError, UlmusError
from ulmus.teachers.spike_trains import SpikeTrains
from ulmus.teachers.stimulus import DrawnInput, Stimulus
from ulmus.teachers.teacher import Teacher, check_step, group_spans

COST_FILE = "cost.jsonl"
CONNECT_SECONDS = 10


class Progress(NamedTuple):
    """What became known with a finished trial: its index, how many are done of how many, and what it took."""

    trial: int
    done: int
    total: int
    output_spikes: int
    simulated_seconds: float
    cpu_seconds: float


class _Plan(NamedTuple):
    """What every trial of a store has in common."""

    teacher: Teacher
    stimulus: Stimulus
    steps: int
    seed: int
    dt_ms: float
    sites: tuple[int | str, ...]

    def header(self) -> Header:
        return Header(
            steps=self.steps,
            dt_ms=1.0,
            input_sign=self.teacher.input_sign,
            sites=("soma", *self.teacher.site_names(self.sites)),
            source=f"Ulmus, {self.teacher.simulator}",
            settings={
                "cell": self.teacher.settings(),
                "input_groups": group_spans(self.teacher),
                "regime": self.stimulus.settings(),
                "seed": self.seed,
                "integration_step_ms": self.dt_ms,
            },
            geometry=self.teacher.geometry,
        )

    def draw(self, index: int) -> DrawnInput:
        return self.stimulus.draw(self.teacher, self.steps, self.seed, index)

    def trial(self, index: int, drawn: DrawnInput) -> Trial:
        trial = self.teacher.run_trial(
            drawn.event_step, drawn.event_input, self.steps, dt_ms=self.dt_ms, sites=self.sites
        )
        return trial._replace(attributes={"seed": self.seed, "trial": index, **drawn.attributes})


def simulate(
    teacher: Teacher,
    stimulus: Stimulus | None = None,
    *,
    trials: int,
    seconds: float,
    out: str | Path,
    seed: int = 0,
    workers: int | None = None,
    dt_ms: float = 0.05,
    sites: Sequence[int | str] = (),
    dask: str | None = None,
    on_trial: Callable[[Progress], None] | None = None,
) -> Store:
    """Simulate trials with random input and store them; calling again after a crash or a kill goes on.

    Trial k depends on the arguments, ``seed`` and k alone, so any number of workers writes the same store. What
    each trial cost in CPU seconds goes to ``cost.jsonl`` beside it.

    Args:
        teacher: The neuron, such as an `L5PC`.
        stimulus: Where its input comes from; by default the teacher's own regime.
        trials: How many trials the store shall hold.
        seconds: Length of a trial.
        out: Folder of the store.
        seed: Seed of the whole store.
        workers: Processes; all cores when not given.
        dt_ms: Integration step; 0.025 for test data, 0.05 for training data, 0.1 for a quick look.
        sites: Places whose voltage is recorded beside the soma's, as the teacher names them.
        dask: Address of a Dask scheduler, such as ``"tcp://host:8786"``, whose workers simulate instead of processes of
            this machine; a trial whose worker is lost is simulated by another one. Only this process writes the store.
        on_trial: Called in this process after each stored trial.

    Raises:
        ConfigError: Arguments that cannot be used, or other ones than the store in ``out`` was begun with.
        MissingToolError: What the teacher needs is not there: a compiler, a simulator.
        UlmusError: A trial failed; the message has its index and seed.
    """
    _check_counts(trials, seconds, seed, workers, dt_ms)
    plan = _Plan(
        teacher,
        teacher.regime if stimulus is None else stimulus,
        round(seconds * 1000),
        seed,
        dt_ms,
        tuple(sites),
    )
    plan.stimulus.check(teacher, plan.steps, trials)
    header = plan.header()
    teacher.prepare()  # once here, so that workers find what was made and a missing tool is met at once
    writer = StoreWriter(out, header, trials_total=trials)
    finished = {index for index in writer.done() if index < trials}
    waiting = [index for index in range(trials) if index not in finished]
    results = _results(plan, waiting, workers) if dask is None else _results_of_dask(plan, waiting, dask)
    with (Path(out) / COST_FILE).open("a", encoding="utf-8") as costs:
        try:
            for done, (index, trial, cpu) in enumerate(results, len(finished) + 1):
                writer.add(index, trial)
                costs.write(json.dumps({"trial": index, "cpu_seconds": round(cpu, 3)}) + "\n")
                costs.flush()
                if on_trial is not None:
                    on_trial(Progress(index, done, trials, len(trial.spike_time_ms), plan.steps / 1000, cpu))
        except TerminatedWorkerError as error:
            raise UlmusError(
                f"a worker process of the simulation was killed, perhaps for lack of memory; the finished trials are "
                f"in {out}. Run the same command again to go on, with fewer workers if memory is short."
            ) from error
    return writer.finish()


def _check_counts(trials: int, seconds: float, seed: int, workers: int | None, dt_ms: float) -> None:
    check_step(dt_ms)
    if not (math.isfinite(seconds) and seconds > 0):
        raise ConfigError(f"seconds={seconds}: expected a positive number. Correct it.")
    counts = {
        "trials": trials,
        "seconds": round(seconds * 1000),
        "workers": 1 if workers is None else workers,
    }
    for name, value in counts.items():
        if value < 1:
            raise ConfigError(f"{name}={value}: expected at least 1 (seconds: at least 0.001). Correct it.")
    if seed < 0:
        raise ConfigError(f"seed={seed}: expected 0 or more. Correct it.")


def _results(plan: _Plan, waiting: list[int], workers: int | None) -> Iterator[tuple[int, Trial, float]]:
    """Index, trial and CPU seconds of every waiting trial, as they are finished."""
    pool = joblib.Parallel(
        n_jobs=min(workers or joblib.cpu_count(), max(1, len(waiting))),
        return_as="generator_unordered",
        batch_size=1,
        initializer=_end_with,
        initargs=(os.getpid(),),
    )
    with _workers_end_with_us():
        yield from pool(_tasks(plan, waiting))


def _results_of_dask(plan: _Plan, waiting: list[int], address: str) -> Iterator[tuple[int, Trial, float]]:
    """The same from the workers of a Dask cluster."""
    try:
        distributed: Any = import_module("dask.distributed")
    except ImportError as error:
        raise MissingToolError(
            "Dask is not installed; expected the package 'distributed'. Run `pip install distributed` and try again."
        ) from error
    try:
        client = distributed.Client(address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"dask={address!r}: no scheduler answers there ({error}); expected an address such as 'tcp://host:8786'. Start "
            f"`dask scheduler` and workers, or correct the address."
        ) from error
    with client, joblib.parallel_config(backend="dask", client=client):
        yield from joblib.Parallel(return_as="generator_unordered", batch_size=1)(_tasks(plan, waiting))


def _tasks(plan: _Plan, waiting: list[int]) -> Iterator[Any]:
    # Given spike trains may be large: each task takes its own, not those of all trials.
    given = isinstance(plan.stimulus, SpikeTrains)
    # One text for all tasks, so that a process makes the teacher, which may take long, only once.
    pickled = cloudpickle.dumps(plan._replace(stimulus=plan.teacher.regime) if given else plan)
    return (joblib.delayed(_trial)(pickled, index, plan.draw(index) if given else None) for index in waiting)


@lru_cache(maxsize=1)
def _unpickled(plan: bytes) -> _Plan:
    loaded: _Plan = cloudpickle.loads(plan)
    return loaded


def _trial(pickled: bytes, index: int, drawn: DrawnInput | None) -> tuple[int, Trial, float]:
    """One trial in a worker: its index, itself, and the CPU seconds it took."""
    begin = time.process_time()
    plan = _unpickled(pickled)
    try:
        trial = plan.trial(index, drawn or plan.draw(index))
    except UlmusError as error:
        raise type(error)(f"trial {index} (seed {plan.seed}): {error}") from error
    except Exception as error:
        raise UlmusError(
            f"trial {index} (seed {plan.seed}) failed with {type(error).__name__}: {error}. The other trials are kept; "
            f"run this trial alone to find out why."
        ) from error
    return index, trial, time.process_time() - begin


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
        get_reusable_executor().shutdown(wait=True, kill_workers=True)
        raise
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)
