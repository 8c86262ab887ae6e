"""What the trials of a store have in common, and how a worker makes one of them."""

import json
import math
import time
from collections.abc import Iterator
from functools import lru_cache
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np

from ulmus.arguments import MOST_WORKERS
from ulmus.errors import ConfigError, UlmusError
from ulmus.teachers.spike_trains import SpikeTrains
from ulmus.teachers.stimulus import DrawnInput, Stimulus
from ulmus.teachers.teacher import Teacher, group_spans
from ulmus.trials.header import Header
from ulmus.trials.trial import Trial


class SimulatedTrial(NamedTuple):
    """A finished trial: its index, itself, and the CPU seconds it took."""

    trial_index: int
    trial: Trial
    cpu_seconds: float


class Plan(NamedTuple):
    """What every trial of a store has in common."""

    teacher: Teacher
    stimulus: Stimulus
    steps: int
    seed: int
    dt_ms: float
    sites: tuple[int | str, ...]

    def header(self) -> Header:
        """What the store says of all its trials."""
        return Header(
            steps=self.steps,
            dt_ms=1.0,
            **inputs_of(self.teacher, self.stimulus),
            sites=("soma", *self.teacher.site_names(self.sites)),
            signals=self.teacher.signals,
            source=f"Ulmus, {self.teacher.simulator}",
            settings={
                "cell": self.teacher.settings(),
                "input_groups": group_spans(self.teacher) if self.stimulus.synaptic else [],
                "regime": self.stimulus.settings(),
                "seed": self.seed,
                "integration_step_ms": self.dt_ms,
            },
        )

    def neuron(self) -> dict[str, Any]:
        """What the neuron is in this process, as JSON holds it: state set outside of the cell's own code changes it."""
        settings = {"simulator": self.teacher.simulator, **self.teacher.settings()}
        return json.loads(json.dumps(settings))  # type: ignore[no-any-return]

    def draw(self, index: int) -> DrawnInput:
        """Input of a trial."""
        return self.stimulus.draw(self.teacher, self.steps, self.seed, index)

    def trial(self, index: int, drawn: DrawnInput) -> Trial:
        """What the neuron makes of it."""
        current = {} if drawn.current_na is None else {"current_na": drawn.current_na}
        trial = self.teacher.run_trial(
            drawn.event_step, drawn.event_input, self.steps, dt_ms=self.dt_ms, sites=self.sites, **current
        )
        return trial._replace(
            attributes={"seed": self.seed, "trial": index, **drawn.attributes}, continuous=drawn.continuous
        )


def check_amount(trials: int, seconds: float, seed: int, workers: int | None = None) -> None:
    """Refuse what no store of trials can be made of.

    Raises:
        ConfigError: names the first such value.
    """
    if not (math.isfinite(seconds) and seconds > 0):
        raise ConfigError(f"seconds={seconds}: expected a positive number. Correct it.")
    if round(seconds * 1000) < 1:
        raise ConfigError(f"seconds={seconds}: expected at least 0.001. Correct it.")
    counts: dict[str, tuple[Any, int]] = {"trials": (trials, 1), "workers": (workers, 1), "seed": (seed, 0)}
    for name, (value, least) in counts.items():
        whole = isinstance(value, Integral) and not isinstance(value, bool)
        if value is not None and not (whole and value >= least):
            raise ConfigError(f"{name}={value!r}: expected a whole number, at least {least}. Correct it.")
    if workers is not None and workers > MOST_WORKERS:
        raise ConfigError(f"workers={workers}: expected at most {MOST_WORKERS} processes. Lower it.")


def inputs_of(teacher: Teacher, stimulus: Stimulus) -> dict[str, Any]:
    """What a header says of the inputs: those of the synapses, if they have any input, and the current behind them."""
    sign = teacher.input_sign if stimulus.synaptic else np.zeros(0, dtype=np.int8)
    geometry = teacher.geometry if stimulus.synaptic else None
    if stimulus.current is None:
        return {"input_sign": sign, "geometry": geometry}
    return {
        "input_sign": np.append(sign, np.int8(1)),
        "geometry": None if geometry is None else geometry.with_input_on_soma(),
        "continuous": (stimulus.current,),
    }


def tasks_of(plan: Plan, waiting: list[int]) -> tuple[bytes, Iterator[tuple[int, DrawnInput | None]]]:
    """What a worker needs: the plan, and for each trial its index and input.

    The plan is one text for all trials, so that a process makes the teacher, which may take long, only once.
    """
    # Given spike trains may be large: each task takes its own, not those of all trials.
    given = isinstance(plan.stimulus, SpikeTrains)
    import cloudpickle  # of an extra, like joblib: `ulmus.teachers.runner` has checked that they are there

    try:
        sent = plan._replace(stimulus=SpikeTrains([])) if given else plan
        pickled = cloudpickle.dumps((sent, plan.neuron()))
    except Exception as error:  # whatever a cell of the user's own raises
        raise ConfigError(
            f"the cell cannot be sent to other processes ({type(error).__name__}: {error}); expected a build function that "
            "uses no NEURON or Arbor object from outside. Make them inside build, and keep them as attributes of the "
            "cell that it returns."
        ) from error
    return pickled, ((index, plan.draw(index) if given else None) for index in waiting)


@lru_cache(maxsize=1)
def _unpickled(pickled: bytes) -> Plan:
    """The plan, once it is sure that this process has the neuron that the store names."""
    import cloudpickle

    plan, expected = cloudpickle.loads(pickled)
    found = plan.neuron()
    if found != expected:
        shown = "; ".join(
            f"{key}: {str(found.get(key))[:40]} != {str(value)[:40]}"
            for key, value in expected.items()
            if found.get(key) != value
        )
        raise ConfigError(
            f"the neuron of a worker process differs from that of the process that started the simulation ({shown}); expected "
            f"the same. Set inside build all that it depends on, such as h.celsius and global parameters: what is set "
            f"outside does not reach the workers. On a cluster, have the same simulators on all machines."
        )
    return plan  # type: ignore[no-any-return]


def run_task(pickled: bytes, index: int, drawn: DrawnInput | None) -> SimulatedTrial:
    """One trial, in a worker."""
    return simulated_trial(_unpickled(pickled), index, drawn)


def simulated_trial(plan: Plan, index: int, drawn: DrawnInput | None = None) -> SimulatedTrial:
    """One trial, and what it cost."""
    begin = time.process_time()
    try:
        trial = plan.trial(index, drawn or plan.draw(index))
    except UlmusError as error:
        raise type(error)(f"trial {index} (seed {plan.seed}): {error}") from error
    except Exception as error:
        raise UlmusError(
            f"trial {index} (seed {plan.seed}) failed with {type(error).__name__}: {error}. The other trials are kept; "
            f"run this trial alone to find out why."
        ) from error
    return SimulatedTrial(index, trial, time.process_time() - begin)
