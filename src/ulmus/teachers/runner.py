"""Simulate many trials into an event store."""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from importlib import import_module
from numbers import Integral
from pathlib import Path
from typing import Any, NamedTuple

from ulmus.errors import ConfigError, extra
from ulmus.files.lock import only_one
from ulmus.files.writing import append_json
from ulmus.teachers.cluster import connected, results_of_dask
from ulmus.teachers.plan import Plan
from ulmus.teachers.processes import results_of_processes
from ulmus.teachers.stimulus import Stimulus
from ulmus.teachers.teacher import Teacher, check_step
from ulmus.trials.store import Store, StoreWriter
from ulmus.trials.trial import Header

COST_FILE = "cost.jsonl"
_ONE_ENOUGH = (
    "wait for it, or give another folder; one simulation takes all cores, and more machines with Dask"
)


class SimulationProgress(NamedTuple):
    """What became known with a finished trial: its index, how many are done of how many, and what it took.

    ``output_hz`` is the rate of all trials that the store holds by then.
    """

    trial: int
    done: int
    total: int
    output_spikes: int
    simulated_seconds: float
    cpu_seconds: float
    output_hz: float


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
    on_trial: Callable[[SimulationProgress], None] | None = None,
) -> Store:
    """Simulate trials with random input and store them; calling again after a crash or a kill goes on.

    The trials of a worker that is killed are simulated by another one.

    Trial k depends on the arguments, ``seed`` and k alone, so any number of workers writes the same store. What
    each trial cost in CPU seconds goes to ``cost.jsonl`` beside it.

    Args:
        teacher: The neuron, such as an `L5PC`.
        stimulus: Where its input comes from; by default the teacher's own regime.
        trials: How many trials the store shall hold.
        seconds: Length of a trial in seconds.
        out: Folder of the store.
        seed: Seed of the whole store.
        workers: Processes; all cores when not given.
        dt_ms: Integration step in ms; 0.025 for test data, 0.05 for training data, 0.1 for a quick look.
        sites: Places whose voltage is recorded beside the soma's, as the teacher names them.
        dask: Address of a Dask scheduler, such as ``"tcp://host:8786"``, whose workers simulate instead of processes of
            this machine. Only this process writes the store.
        on_trial: Called in this process after each stored trial.

    Raises:
        ConfigError: Arguments that cannot be used, or other ones than the store in ``out`` was begun with, or another
            simulation is writing it.
        MissingToolError: What the teacher needs is not there: a compiler, a simulator.
        UlmusError: A trial failed; the message has its index and seed. Or workers are killed again and again.

    Example:
        >>> neuron = ulmus.teachers.IntegrateAndFire()
        >>> store = ulmus.simulate(neuron, trials=4, seconds=0.8, out="lif", workers=1)
        >>> len(store)
        4
    """
    with extra("simulate", "simulating trials"):
        import_module("cloudpickle"), import_module("joblib")
    _check_counts(trials, seconds, seed, workers, dt_ms)
    _check_kinds(stimulus, sites)
    driven = teacher.regime if stimulus is None else stimulus
    plan = Plan(teacher, driven, round(seconds * 1000), seed, dt_ms, tuple(sites))
    plan.stimulus.check(teacher, plan.steps, trials)
    header = plan.header()
    teacher.prepare()  # once here, so that workers find what was made and a missing tool is met at once
    # A cluster that cannot be reached begins no store.
    with nullcontext() if dask is None else connected(dask) as client:
        return _fill(_writer(out, header, trials), plan, trials, workers, client, on_trial)


def _fill(
    writer: StoreWriter,
    plan: Plan,
    trials: int,
    workers: int | None,
    client: Any,
    on_trial: Callable[[SimulationProgress], None] | None,
) -> Store:
    """Simulate what the store lacks."""
    out = writer.path
    with only_one(out, "simulated into", _ONE_ENOUGH):
        held = writer.done()
        finished = {index for index in held if index < trials}
        spikes = writer.output_spikes()
        waiting = [index for index in range(trials) if index not in finished]
        results = (
            results_of_processes(plan, waiting, workers)
            if client is None
            else results_of_dask(plan, waiting, client)
        )
        for done, (index, trial, cpu) in enumerate(results, len(finished) + 1):
            writer.add(index, trial)
            append_json(out / COST_FILE, {"trial": index, "cpu_seconds": round(cpu, 3)})
            spikes += len(trial.spike_time_ms)
            if on_trial is not None:
                seconds = plan.steps / 1000
                hz = spikes / seconds / (len(held) - len(finished) + done)
                on_trial(SimulationProgress(index, done, trials, len(trial.spike_time_ms), seconds, cpu, hz))
        return writer.finish()


def _writer(out: str | Path, header: Header, trials: int) -> StoreWriter:
    try:
        return StoreWriter(out, header, trials_total=trials)
    except ConfigError as error:
        if "settings.cell" not in str(error):
            raise
        raise ConfigError(f"the cell differs from the one whose trials are there: {error}") from error


def _check_counts(trials: int, seconds: float, seed: int, workers: int | None, dt_ms: float) -> None:
    check_step(dt_ms)
    if not (math.isfinite(seconds) and seconds > 0):
        raise ConfigError(f"seconds={seconds}: expected a positive number. Correct it.")
    if round(seconds * 1000) < 1:
        raise ConfigError(f"seconds={seconds}: expected at least 0.001. Correct it.")
    counts: dict[str, tuple[Any, int]] = {"trials": (trials, 1), "workers": (workers, 1), "seed": (seed, 0)}
    for name, (value, least) in counts.items():
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
            raise ConfigError(f"{name}={value!r}: expected a whole number, at least {least}. Correct it.")


def _check_kinds(stimulus: Stimulus | None, sites: Sequence[int | str]) -> None:
    if stimulus is not None and not hasattr(stimulus, "draw"):
        raise ConfigError(
            f"stimulus={stimulus!r}: expected an InputRegime or SpikeTrains. Make one, or name one of the cell l5pc: "
            f"ulmus.teachers.regimes.regime_named('default')."
        )
    if isinstance(sites, str):
        raise ConfigError(f"sites={sites!r}: expected a list of places. Write [{sites!r}].")
    names = [str(site) for site in sites]
    twice = [name for index, name in enumerate(names) if name in names[:index]]
    if twice:
        raise ConfigError(f"sites name {twice[0]!r} twice; expected every place once. Leave one out.")
