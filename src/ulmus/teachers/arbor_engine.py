"""Simulate a cell with Arbor: events in, membrane voltage and spikes out.

Arbor integrates with backward Euler, so a spike comes late by an amount that shrinks in proportion to the step:
about 0.1 ms at a step of 0.025 ms.
"""

import math
from collections.abc import Sequence

import arbor
import numpy as np
from arbor import units as U
from jaxtyping import Float64, Int

from ulmus.data.trial import Trial
from ulmus.errors import ConfigError, DataError
from ulmus.teachers.arbor_cell import CurrentStep, Recipe, describe
from ulmus.teachers.l5pc import L5PC

SPIKE_ABOVE_MV = -25.0


def run_trial(
    cell: L5PC,
    event_step: Int[np.ndarray, "events"],
    event_input: Int[np.ndarray, "events"],
    steps: int,
    *,
    dt_ms: float = 0.05,
    sites: Sequence[int] = (),
    current: CurrentStep | None = None,
) -> Trial:
    """Simulate a trial of ``steps`` milliseconds from the resting gates at -76 mV.

    An event of step t arrives at t ms. Voltage is that of 0, 1, 2, ... ms; a spike is a local maximum above -25 mV
    of the somatic voltage at 8 samples per ms (Beniaguev et al. 2021).

    Args:
        cell: The cell.
        event_step: Step of each input event, in any order.
        event_input: Input of each event.
        steps: Length in ms.
        dt_ms: Integration step; 0.025 for test data, 0.05 for training data, 0.1 for a quick look.
        sites: Dendritic segments whose voltage is recorded beside the soma's.
        current: A current into the soma besides the synapses.

    Returns:
        The trial, voltage ``[steps, 1 + sites]``.

    Raises:
        ConfigError: A step, site or event that the cell does not have.
        DataError: The voltage did not stay finite.
        MissingToolError: The synapses must be compiled first and cannot be.
    """
    event_step, event_input = np.asarray(event_step), np.asarray(event_input)
    _check(cell, event_step, event_input, steps, dt_ms, sites)
    recipe = Recipe(*describe(cell, tuple(sites), current), _generators(cell, event_step, event_input, dt_ms))
    simulation = arbor.simulation(recipe, arbor.context(threads=1))
    soma = simulation.sample((0, "soma"), arbor.regular_schedule(0 * U.ms, dt_ms * U.ms))
    others = [
        simulation.sample((0, f"segment {site}"), arbor.regular_schedule(0 * U.ms, 1 * U.ms))
        for site in sites
    ]
    simulation.run(steps * U.ms, dt_ms * U.ms)
    time_ms, trace = np.asarray(simulation.samples(soma)[0][0]).T
    columns = [np.interp(np.arange(steps), time_ms, trace)]
    columns += [np.asarray(simulation.samples(handle)[0][0])[:steps, 1] for handle in others]
    voltage = np.stack(columns, axis=1).astype(np.float32)
    if not np.isfinite(voltage).all():
        first = int(np.flatnonzero(~np.isfinite(voltage).all(axis=1))[0])
        raise DataError(
            f"the simulated voltage is not finite from {first} ms on at dt_ms={dt_ms}; expected finite values. "
            f"Use a smaller dt_ms."
        )
    order = np.lexsort((event_input, event_step))
    spikes = spike_times(time_ms, trace)
    return Trial(
        event_step[order].astype(np.int32), event_input[order].astype(np.uint16), voltage, spikes, {}
    )


def spike_times(
    time_ms: Float64[np.ndarray, "samples"], trace_mv: np.ndarray
) -> Float64[np.ndarray, "spikes"]:
    """Times (ms) of local maxima above -25 mV, after linear interpolation to 8 samples per ms."""
    grid = np.arange(math.floor(time_ms[-1] * 8) + 1) / 8
    trace = np.interp(grid, time_ms, trace_mv)
    peak = (trace[1:-1] > trace[:-2]) & (trace[1:-1] > trace[2:]) & (trace[1:-1] > SPIKE_ABOVE_MV)
    return np.asarray(grid[1:-1][peak])


def check_step(dt_ms: float) -> None:
    """Whether this integration step can be used.

    Raises:
        ConfigError: It is no whole fraction of a millisecond, or too long.
    """
    if not (0 < dt_ms <= 0.25 and math.isclose(round(1 / dt_ms) * dt_ms, 1.0)):
        raise ConfigError(
            f"dt_ms={dt_ms}: expected a whole fraction of 1 ms, at most 0.25, such as 0.025, 0.05 or 0.1. Correct it."
        )


def _check(
    cell: L5PC,
    event_step: np.ndarray,
    event_input: np.ndarray,
    steps: int,
    dt_ms: float,
    sites: Sequence[int],
) -> None:
    check_step(dt_ms)
    if steps < 1:
        raise ConfigError(f"steps={steps}: expected at least 1 ms. Correct it.")
    for name, values, size in (
        ("event_step", event_step, steps),
        ("event_input", event_input, 2 * cell.morphology.segments),
        ("sites", np.asarray(sites, dtype=np.int64), cell.morphology.segments),
    ):
        wrong = values[(values < 0) | (values >= size)]
        if wrong.size:
            raise ConfigError(f"{name} holds {wrong[0]}: expected 0 to {size - 1} on this cell. Correct it.")
    if len(event_step) != len(event_input):
        raise ConfigError(
            f"{len(event_step)} event steps for {len(event_input)} event inputs: expected as many."
        )


def _generators(
    cell: L5PC, event_step: np.ndarray, event_input: np.ndarray, dt_ms: float
) -> list["arbor.event_generator"]:
    silent = set(event_input[event_step == 0].tolist()) if cell.quirks.silenced_by_event_at_zero else set()
    generators = []
    order = np.lexsort((event_step, event_input))
    inputs, first = np.unique(event_input[order], return_index=True)
    for index, steps in zip(inputs.tolist(), np.split(event_step[order], first)[1:], strict=True):
        if index in silent:
            continue
        schedule = arbor.explicit_schedule()
        # Arbor applies an event at the start of the step that holds it: stay clear of the border's rounding.
        schedule.times_ms = (steps + dt_ms / 4).tolist()
        generators.append(
            arbor.event_generator(arbor.cell_local_label(str(index)), cell.synapse_factor, schedule)
        )
    return generators
