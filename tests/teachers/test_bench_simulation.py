"""The benchmark compares like with like: the common cell is the same in both simulators."""

import pytest

from ulmus.bench.simulation import bench_simulation, common_cells


def test_arbor_and_neuron_agree_on_the_common_cell_and_costs_are_told():
    pytest.importorskip("neuron", reason="NEURON (pip install neuron) is not installed")
    rows = {(row.cell, row.simulator): row for row in bench_simulation(0.12)}
    ours, theirs = rows["common", "Arbor"], rows["common", "NEURON"]
    assert ours.spikes == theirs.spikes >= 2
    assert theirs.spikes_within_1_ms == 1.0
    assert theirs.rms_mv < 2.0
    assert all(row.cpu_seconds_per_second > 0 for row in rows.values())
    surrogate = rows["l5pc", "ELM, 20 memory units"]
    assert surrogate.cpu_seconds_per_second < 0.1 * rows["l5pc", "Arbor"].cpu_seconds_per_second


def test_the_common_cell_has_the_same_synapses_in_both():
    one, other = common_cells()
    assert (one.input_sign == other.input_sign).all()
    assert [s.weight for s in one.synapses] == [s.weight for s in other.synapses]
