import itertools
import math
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
import simulation
from simulation import (
    EQUAL_STEP_MS,
    agreement_text,
    arbor_run,
    bench_simulation,
    neuron_run,
    require_agreement,
)

from ulmus.errors import ConfigError, UlmusError
from ulmus.teachers.l5pc.cell import L5PC


def spiking(times_ms, size=4000):
    time = np.arange(size) * EQUAL_STEP_MS
    return -70 + 100 * sum(np.exp(-(((time - at) / 0.5) ** 2)) for at in times_ms)


def test_traces_that_differ_are_no_measure():
    require_agreement(spiking([20.0, 50.0]), spiking([20.0, 50.0]))
    for ours in ([20.0], [20.0, 52.0], [20.0, 50.0, 80.0]):
        with pytest.raises(UlmusError, match="do not agree"):
            require_agreement(spiking(ours), spiking([20.0, 50.0]))


def test_simulated_time_must_be_useful():
    with pytest.raises(ConfigError, match="seconds=0.0"):
        bench_simulation(0.0)


@pytest.mark.skipif(find_spec("neuron") is None, reason="NEURON is not installed")
def test_both_simulators_give_the_same_voltage():
    morphology = L5PC().morphology
    drawn = L5PC().regime.draw(L5PC(), 60, 0, 0)
    arguments = (morphology, drawn.event_step, drawn.event_input, 60, EQUAL_STEP_MS)
    ours, theirs = arbor_run(*arguments)(), neuron_run(*arguments)()
    require_agreement(ours.voltage_mv, theirs.voltage_mv)
    assert agreement_text(ours.voltage_mv, theirs.voltage_mv).startswith("2 of 2 spikes")
    assert ours.voltage_mv[:200] == pytest.approx(theirs.voltage_mv[:200], abs=0.02)  # 5 ms, before any spike


def test_every_row_is_measured_and_neuron_left_out_where_it_is_not(monkeypatch):
    """Every reading of the clock is a second after the last, so that a run of 0.1 s takes 10 s for a simulated one."""
    monkeypatch.setattr(simulation, "find_spec", lambda name: None)
    monkeypatch.setattr(simulation, "ROUNDS", 1)
    ticks = itertools.count()
    monkeypatch.setattr(simulation, "time", SimpleNamespace(process_time=lambda: float(next(ticks))))
    rows = bench_simulation(0.1)
    assert [(row.computed_by, row.step_ms) for row in rows] == [
        *(("Arbor", step) for step in (0.1, 0.05, 0.025, 0.025)),
        ("Ulmus", 1.0),
    ]
    assert [row.cpu_seconds for row in rows] == pytest.approx(
        [10.0] * 4 + [10.0 / 60]
    )  # the last one runs 60 times
    assert [row.neuron_seconds for row in rows] == pytest.approx([0.1] * 4 + [6.0])
    assert all(math.isnan(row.ratio_to_neuron) for row in rows)
    assert rows[3].agreement == "NEURON is not installed"
