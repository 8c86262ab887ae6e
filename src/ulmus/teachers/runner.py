"""Simulate many trials into an event store."""

import math
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from ulmus.errors import ConfigError, extra
from ulmus.files.lock import only_one
from ulmus.files.writing import append_json
from ulmus.teachers.cluster import connected, results_of_dask
from ulmus.teachers.custom.cell import place_name
from ulmus.teachers.plan import Plan, SimulatedTrial, check_amount
from ulmus.teachers.processes import results_of_processes
from ulmus.teachers.stimulus import Stimulus
from ulmus.teachers.teacher import Teacher, check_step
from ulmus.trials.header import Header
from ulmus.trials.store import Store, StoreWriter
from ulmus.trials.validation import USUAL_MV

SECONDS_BETWEEN_LINES = 10.0
SILENT_MS = 5000  # in less, a neuron may well be silent by chance
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
    on_note: Callable[[str], None] = warnings.warn,
) -> Store:
    """Simulate trials with random input and store them; calling it again after a crash or a kill continues.

    The trials of a worker that is killed are simulated by another one. Trial k depends on the arguments, ``seed`` and k
    alone, so any number of workers writes the same store. What each trial cost in CPU seconds goes to ``cost.jsonl`` beside it.

    Args:
        teacher: The neuron, such as an `L5PC`.
        stimulus: Where its input comes from; by default the teacher's own regime.
        trials: Number of trials in the store.
        seconds: Length of a trial in seconds.
        out: Folder of the store.
        seed: Seed of the whole store.
        workers: Processes; all cores when not given.
        dt_ms: Integration step in ms; 0.025 for test data, 0.05 for training data, 0.1 for a quick look.
        sites: Places whose voltage is recorded beside the soma's, as the teacher names them.
        dask: Address of a Dask scheduler whose workers simulate instead, such as ``"tcp://host:8786"``. This process writes.
        on_trial: Called after each stored trial; by default a line on standard error says now and then how far it is.
        on_note: Called with what looks like a mistake of the user's: by default a warning.

    Raises:
        ConfigError: Arguments that cannot be used, or other ones than those of the store; another simulation writes it.
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
    check_step(dt_ms)
    check_amount(trials, seconds, seed, workers)
    places = _checked_kinds(teacher, stimulus, sites)
    stimulus = stimulus or teacher.regime
    plan = Plan(teacher, stimulus, round(seconds * 1000), seed, dt_ms, places)
    stimulus.check(teacher, plan.steps, trials)
    header = plan.header()
    teacher.prepare()  # before any worker starts: it finds what was compiled, and a missing tool is reported at once
    for doubt in teacher.doubts():
        on_note(doubt)
    with _results(dask, workers) as results:  # a cluster that cannot be reached begins no store
        writer = _writer(out, header, trials)
        return _fill(writer, plan, trials, results, on_trial or progress_lines(), on_note)


@contextmanager
def _results(
    dask: str | None, workers: int | None
) -> Iterator[Callable[[Plan, list[int]], Iterator[SimulatedTrial]]]:
    """What simulates the trials of a plan that are waiting."""
    if dask is None:
        yield partial(results_of_processes, workers=workers)
    else:
        with connected(dask) as client:
            yield partial(results_of_dask, client=client)


def _fill(
    writer: StoreWriter,
    plan: Plan,
    trials: int,
    results_of: Callable[[Plan, list[int]], Iterator[SimulatedTrial]],
    on_trial: Callable[[SimulationProgress], None],
    on_note: Callable[[str], None],
) -> Store:
    """Simulate what the store lacks."""
    out = writer.path
    with only_one(out, "simulated into", _ONE_ENOUGH):
        held = writer.done()
        finished = {index for index in held if index < trials}
        spikes, lowest, highest = writer.output_spikes(), math.inf, -math.inf
        waiting = [index for index in range(trials) if index not in finished]
        for done, (index, trial, cpu) in enumerate(results_of(plan, waiting), len(finished) + 1):
            writer.add(index, trial)
            append_json(out / COST_FILE, {"trial": index, "cpu_seconds": round(cpu, 3)})
            spikes += len(trial.spike_time_ms)
            lowest, highest = min(lowest, trial.voltage_mv.min()), max(highest, trial.voltage_mv.max())
            seconds = plan.steps / 1000
            hz = spikes / seconds / (len(held) - len(finished) + done)
            on_trial(SimulationProgress(index, done, trials, len(trial.spike_time_ms), seconds, cpu, hz))
        store = writer.finish()
    if not spikes and len(store) * plan.steps >= SILENT_MS:
        on_note(
            f"{out}: not one output spike in {len(store)} trials; a surrogate fitted to them learns only the voltage. Give the "
            f"neuron stronger or more input, or have its spikes found at a lower voltage (spike_above_mv)."
        )
    if lowest < USUAL_MV[0] or highest > USUAL_MV[1]:
        on_note(
            f"{out}: the voltage runs from {lowest:.4g} to {highest:.4g} mV; a neuron's stays within {USUAL_MV[0]:g} and "
            f"{USUAL_MV[1]:g}. Look at weights, reversal potentials and units, or use a smaller integration step."
        )
    return store


def progress_lines() -> Callable[[SimulationProgress], None]:
    """A line on standard error every ten seconds: trials, firing rate, time left."""
    begin = last = time.monotonic()
    first: int | None = None

    def show(now: SimulationProgress) -> None:
        nonlocal last, first
        first = now.done - 1 if first is None else first
        if (at := time.monotonic()) - last > SECONDS_BETWEEN_LINES:
            last = at
            left = (at - begin) / (now.done - first) * (now.total - now.done)
            sys.stderr.write(
                f"simulate: {now.done} of {now.total} trials, {now.output_hz:.2f} Hz, {left:.0f} s left\n"
            )

    return show


def _writer(out: str | Path, header: Header, trials: int) -> StoreWriter:
    try:
        return StoreWriter(out, header, trials_total=trials)
    except ConfigError as error:
        if "settings.cell" not in str(error):
            raise
        raise ConfigError(f"the cell differs from the one whose trials the store holds: {error}") from error


def _checked_kinds(
    teacher: Teacher, stimulus: Stimulus | None, sites: Sequence[int | str]
) -> tuple[int | str, ...]:
    """The places in the simulator's words."""
    if not isinstance(teacher, Teacher):
        raise ConfigError(
            f"teacher={teacher!r}: expected a detailed neuron, such as ulmus.teachers.L5PC(). Make one; names are for the "
            "command, ulmus simulate."
        )
    if stimulus is not None and not hasattr(stimulus, "draw"):
        raise ConfigError(
            f"stimulus={stimulus!r}: expected an InputRegime, CurrentRegime or SpikeTrains. Make one, or name one of the cell "
            f"l5pc: ulmus.teachers.regime_named('default')."
        )
    if isinstance(sites, str):
        raise ConfigError(f"sites={sites!r}: expected a list of places. Write [{sites!r}].")
    names = [str(site) for site in sites]
    twice = [name for index, name in enumerate(names) if name in names[:index]]
    if twice:
        raise ConfigError(f"sites name {twice[0]!r} twice; expected every place once. Leave one out.")
    return tuple(int(site) if hasattr(site, "__index__") else place_name(site) for site in sites)
