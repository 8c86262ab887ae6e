import shutil

import numpy as np
import pytest

from benchmarks.validate_l5pc.comparison import (
    DRIVEN,
    MORPHOLOGY,
    STEPS,
    Comparison,
    agreement,
    compare_with_neuron,
    compare_with_trials,
    count_comparisons,
    requirements,
)
from benchmarks.validate_l5pc.page import write_validation_page
from ulmus.errors import ConfigError, DataError
from ulmus.teachers.l5pc.cell import L5PC
from ulmus.teachers.runner import simulate
from ulmus.trials import Store


def run(name, rest_step, spikes, theirs, offset=0.0, size=400):
    trace = -80 + 10 * np.sin(np.arange(size) / 30.0)
    return Comparison(name, rest_step, trace + offset, trace, np.array(spikes), np.array(theirs))


def reached(runs):
    return {row.name: (row.reached, row.met) for row in requirements(runs)}


def test_equal_runs_meet_every_requirement():
    runs = [
        run("1 nA", 100, [120.0, 150.0], [120.0, 150.0]),
        run("driven trial 0", None, [20.0], [20.0]),
    ]
    assert all(row.met for row in requirements(runs))


def test_each_difference_is_met_by_its_own_requirement():
    step = run("1 nA", 100, [120.0, 150.7], [120.0, 150.0, 180.0], offset=0.5)
    noisy = run("driven trial 0", None, [20.0, 31.2], [20.5, 30.0])
    noisy = noisy._replace(voltage_mv=noisy.neuron_mv * 1.2)
    rows = reached([step, noisy])
    assert rows["Rest potential"] == ("0.5000 mV apart", False)
    assert rows["Spike count at steps of current"] == ("equal at 0 of 1", False)
    assert rows["First 5 spikes at steps of current"] == ("at most 0.70 ms apart", False)
    assert rows["Spike count of driven trials"] == ("2", True)
    assert rows["Driven spikes matched within 1 ms"] == ("50.0 % (1 of 2)", False)
    # 1.2 times the voltage leaves 0.2 of it, so 4 % of its variance, before the cut at -55 mV (never reached here).
    assert rows["Sub-threshold variance explained, driven"] == ("96.00 %", False)
    assert noisy.unmatched() == [(30.0, pytest.approx(1.2))]


def test_spikes_do_not_count_in_the_sub_threshold_voltage():
    calm = run("driven trial 0", None, [], [])
    with_spike = calm.neuron_mv.copy()
    with_spike[50] = 30.0
    cut = with_spike.copy()
    cut[50] = -40.0
    assert calm._replace(voltage_mv=cut, neuron_mv=with_spike).explained_variance == 1.0


def test_the_page_shows_what_was_asked_and_every_difference(tmp_path):
    runs = [run("1 nA", 100, [120.0], [120.0]), run("driven <0>", None, [31.25], [30.0])]
    page = write_validation_page(runs, 0.05, "Arbor 0", tmp_path / "page.html").read_text()
    assert "0.0 % (0 of 1)" in page
    assert "spike at 30.0 ms has no partner within 1 ms; the nearest comes 1.2 ms later" in page
    assert "driven &lt;0&gt;" in page
    assert page.count("<td>missed</td>") == 1


def test_a_folder_that_is_no_reference_is_explained(tmp_path):
    (tmp_path / STEPS).touch()
    with pytest.raises(ConfigError, match="lacks cell1.asc, neuron_driven_trials.npz, sim__"):
        next(compare_with_neuron(tmp_path))
    for name in (MORPHOLOGY, DRIVEN, "sim__a.p"):
        (tmp_path / name).write_text("nothing")
    with pytest.raises(DataError, match="neuron_step_currents.npz cannot be read"):
        count_comparisons(tmp_path)


def test_the_page_tells_an_error_of_the_step_from_one_of_the_cell(tmp_path):
    step, calm = run("1 nA", 100, [120.0], [120.0]), run("driven trial 0", None, [20.0, 30.0], [20.0, 30.0])
    worst, coarse, fine = (calm._replace(voltage_mv=calm.neuron_mv * factor) for factor in (1.3, 1.2, 1.05))
    late = worst._replace(spike_ms=np.array([20.0, 33.0]))

    def page(driven, others, recorded=None):
        path = tmp_path / "page.html"
        write_validation_page([step, driven], 0.025, "Arbor 0", path, other_steps=others, recorded=recorded)
        return " ".join(path.read_text().split())

    text = page(coarse, {0.05: [late], 0.0125: [fine]})
    rows = text[text.index("at other steps") :]
    assert rows.index("0.05 ms") < rows.index("0.025 ms") < rows.index("0.0125 ms")
    assert "50.0 % (1)" in rows
    assert "explained, from 91.00 to 99.75 %" in text
    assert "Trials simulated elsewhere" not in text
    text = page(fine, {0.0125: [coarse]}, [late])
    assert "does not always come closer" in text
    assert "2 spikes where 2 were recorded, 50.0 % of these within 1 ms, and 91.00 %" in text


def test_recorded_trials_of_a_cell_are_repeated(integrator_store, tmp_path):
    cell = L5PC()
    store = simulate(cell, trials=2, seconds=0.12, out=tmp_path / "store", workers=1, dt_ms=0.1)
    found = list(compare_with_trials(cell, store, 0.1))
    assert [(one.name, one.driven) for one in found] == [("trial 0", True), ("trial 1", True)]
    assert agreement(found).explained_variance == 1.0
    assert agreement(list(compare_with_trials(cell, store, 0.25))).explained_variance < 1.0
    with pytest.raises(ConfigError, match="12 inputs.*expected the 1394"):
        next(compare_with_trials(cell, Store(integrator_store)))


@pytest.mark.golden
def test_one_step_of_the_reference_is_repeated(reference_data, tmp_path):
    source = reference_data / "golden" / "l5pc"
    for name in (MORPHOLOGY, DRIVEN):
        shutil.copyfile(source / name, tmp_path / name)
    shutil.copyfile(next(source.glob("sim__*")), tmp_path / next(source.glob("sim__*")).name)
    with np.load(source / STEPS) as arrays:
        kept = {key: arrays[key] for key in arrays if "soma" not in key or "0.793" in key}
    kept["soma_mv_at_0.793_nA"] = kept["soma_mv_at_0.793_nA"][:10000]  # the first second is enough
    np.savez(tmp_path / STEPS, **kept)
    assert count_comparisons(tmp_path) == 3
    found = next(compare_with_neuron(tmp_path))
    assert found.name == "0.793 nA"
    assert not found.driven
    assert len(found.spike_ms) == len(found.neuron_spike_ms) > 0
    assert found.first_spikes_differ_ms < 0.5
    assert found.voltage_mv[699] == pytest.approx(found.neuron_mv[699], abs=0.01)


def test_the_page_begins_with_a_verdict_on_every_requirement(tmp_path):
    step, late = run("1 nA", 100, [120.0], [120.0]), run("driven trial 0", None, [31.25], [30.0])
    others = {0.0125: [late._replace(spike_ms=np.array([30.2]))], 0.05: [late]}
    path = tmp_path / "page.html"
    page = write_validation_page([step, late], 0.025, "Arbor 0", path, other_steps=others).read_text()
    verdict = page[page.index("<h2>Verdict</h2>") : page.index("<h2>Required and reached</h2>")]
    assert "5 of 6 requirements are met at a step of 0.025 ms." in verdict
    matched = verdict[verdict.index("Driven spikes matched") :].split("</li>")[0]
    assert "missed at 0.025 ms with 0.0 % (0 of 1)" in matched
    assert "missed at 0.05 ms with 0.0 % (0 of 1)" in matched
    assert "met at 0.0125 ms with 100.0 % (1 of 1)" in matched
    assert "an error of the step" in matched
    assert "<b>Rest potential</b>, within 0.01 mV of NEURON: met at 0.025 ms" in verdict
