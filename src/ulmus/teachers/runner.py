"""Simulate many trials on several processes into an event store."""

import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import arbor
import joblib
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.process_executor import TerminatedWorkerError

from ulmus.data.store import Store, StoreWriter
from ulmus.data.trial import Header, Trial
from ulmus.errors import ConfigError, UlmusError
from ulmus.teachers.arbor_engine import check_step, run_trial
from ulmus.teachers.catalogue import compiled_mechanisms
from ulmus.teachers.l5pc import L5PC
from ulmus.teachers.stimulus import InputRegime, draw_input

COST_FILE = "cost.jsonl"


class Progress(NamedTuple):
    """What became known with a finished trial: its index, how many are done of how many, and what it took."""

    trial: int
    done: int
    total: int
    output_spikes: int
    simulated_seconds: float
    cpu_seconds: float


def simulate(
    cell: L5PC,
    regime: InputRegime,
    *,
    trials: int,
    seconds: float,
    out: str | Path,
    seed: int = 0,
    workers: int | None = None,
    dt_ms: float = 0.05,
    sites: Sequence[int] = (),
    on_trial: Callable[[Progress], None] | None = None,
) -> Store:
    """Simulate trials with random input and store them; calling again after a crash or a kill goes on.

    Trial k depends on the arguments, ``seed`` and k alone, so any number of workers writes the same store. What
    each trial cost in CPU seconds goes to ``cost.jsonl`` beside it.

    Args:
        cell: The cell.
        regime: Statistics of its input.
        trials: How many trials the store shall hold.
        seconds: Length of a trial.
        out: Folder of the store.
        seed: Seed of the whole store.
        workers: Processes; all cores when not given.
        dt_ms: Integration step; 0.025 for test data, 0.05 for training data, 0.1 for a quick look.
        sites: Dendritic segments whose voltage is recorded beside the soma's.
        on_trial: Called in this process after each stored trial.

    Raises:
        ConfigError: Arguments that cannot be used, or other ones than the store in ``out`` was begun with.
        MissingToolError: The synapses must be compiled first and cannot be.
        UlmusError: A trial failed; the message has its index and seed.
    """
    check_step(dt_ms)
    if not (math.isfinite(seconds) and seconds > 0):
        raise ConfigError(f"seconds={seconds}: expected a positive number. Correct it.")
    steps = round(seconds * 1000)
    for name, value in (
        ("trials", trials),
        ("seconds", steps),
        ("workers", 1 if workers is None else workers),
    ):
        if value < 1:
            raise ConfigError(f"{name}={value}: expected at least 1 (seconds: at least 0.001). Correct it.")
    if seed < 0:
        raise ConfigError(f"seed={seed}: expected 0 or more. Correct it.")
    wrong = [site for site in sites if not 0 <= site < cell.morphology.segments]
    if wrong:
        raise ConfigError(
            f"sites holds {wrong[0]}: expected 0 to {cell.morphology.segments - 1} on this cell. Correct it."
        )
    compiled_mechanisms()  # once here, so that workers find them and a missing compiler is met at once
    header = Header(
        steps=steps,
        dt_ms=1.0,
        input_sign=cell.input_sign,
        sites=("soma", *(f"segment {site}" for site in sites)),
        source=f"Ulmus, Arbor {arbor.__version__}",
        settings={
            "cell": cell.settings(),
            "input_groups": cell.input_groups,
            "regime": regime.settings(),
            "seed": seed,
            "integration_step_ms": dt_ms,
        },
    )
    writer = StoreWriter(out, header, trials_total=trials)
    finished = {index for index in writer.done() if index < trials}
    waiting = [index for index in range(trials) if index not in finished]
    count = min(workers or joblib.cpu_count(), max(1, len(waiting)))
    tasks = (
        joblib.delayed(_trial)(cell, regime, steps, seed, index, dt_ms, tuple(sites)) for index in waiting
    )
    pool = joblib.Parallel(
        n_jobs=count,
        return_as="generator_unordered",
        batch_size=1,
        initializer=_end_with,
        initargs=(os.getpid(),),
    )
    with _workers_end_with_us(), (Path(out) / COST_FILE).open("a", encoding="utf-8") as costs:
        try:
            for done, (index, trial, cpu_seconds) in enumerate(pool(tasks), len(finished) + 1):
                writer.add(index, trial)
                costs.write(json.dumps({"trial": index, "cpu_seconds": round(cpu_seconds, 3)}) + "\n")
                costs.flush()
                if on_trial is not None:
                    spikes = len(trial.spike_time_ms)
                    on_trial(Progress(index, done, trials, spikes, steps / 1000, cpu_seconds))
        except TerminatedWorkerError as error:
            raise UlmusError(
                f"a worker process of the simulation was killed, perhaps for lack of memory; the finished trials are "
                f"in {out}. Run the same command again to go on, with fewer workers if memory is short."
            ) from error
    return writer.finish()


def _trial(
    cell: L5PC, regime: InputRegime, steps: int, seed: int, index: int, dt_ms: float, sites: tuple[int, ...]
) -> tuple[int, Trial, float]:
    """One trial in a worker: its index, itself, and the CPU seconds it took."""
    begin = time.process_time()
    try:
        drawn = draw_input(cell.morphology, regime, steps, seed, index)
        trial = run_trial(cell, drawn.event_step, drawn.event_input, steps, dt_ms=dt_ms, sites=sites)
    except UlmusError as error:
        raise type(error)(f"trial {index} (seed {seed}): {error}") from error
    except Exception as error:
        raise UlmusError(
            f"trial {index} (seed {seed}) failed with {type(error).__name__}: {error}. The other trials are kept; "
            f"run this trial alone to find out why."
        ) from error
    attributes = {
        "regime": regime.name,
        "seed": seed,
        "trial": index,
        "rate_hold_ms": drawn.rate_hold_ms,
        "smoothing_ms": drawn.smoothing_ms,
    }
    return index, trial._replace(attributes=attributes), time.process_time() - begin


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
