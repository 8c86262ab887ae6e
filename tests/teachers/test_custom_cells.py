"""Cells of the user's own, in Arbor and in NEURON: the same cell gives the same trial in both."""

import subprocess
import sys
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from ulmus.errors import ConfigError, DataError, MissingToolError
from ulmus.teachers.custom.arbor import ArborCell, ball_and_stick
from ulmus.teachers.custom.cell import Synapse
from ulmus.teachers.custom.neuron import NeuronCell
from ulmus.teachers.runner import simulate
from ulmus.teachers.spike_trains import SpikeTrains

NONE = np.zeros(0, dtype=np.int64)
CABLE_UM, COMPARTMENTS = 400.0, 21


def arbor_cable(active, pas_g=1e-4):
    import arbor
    from arbor import units as U

    tree = arbor.segment_tree()
    tree.append(arbor.mnpos, arbor.mpoint(0, 0, 0, 2), arbor.mpoint(CABLE_UM, 0, 0, 2), tag=1)
    decor = arbor.decor()
    decor.set_property(Vm=-65 * U.mV, rL=100 * U.Ohm * U.cm, cm=1 * U.uF / U.cm2, tempK=279.45 * U.Kelvin)
    decor.set_ion("na", rev_pot=50 * U.mV)
    decor.set_ion("k", rev_pot=-77 * U.mV)
    decor.paint("(all)", arbor.density("hh") if active else arbor.density("pas/e=-65", g=pas_g))
    return tree, decor, arbor.label_dict(), arbor.cv_policy_fixed_per_branch(COMPARTMENTS)


def neuron_cable(active):
    from neuron import h

    class Cable:
        def __init__(self):
            self.soma = h.Section(name="soma", cell=self)

    cell = Cable()
    cell.soma.L, cell.soma.diam, cell.soma.nseg, cell.soma.Ra, cell.soma.cm = (
        CABLE_UM,
        4,
        COMPARTMENTS,
        100,
        1,
    )
    cell.soma.insert("hh" if active else "pas")
    if active:
        cell.soma.ena, cell.soma.ek = 50, -77
    for segment in cell.soma:
        if not active:
            segment.pas.g, segment.pas.e = 1e-4, -65
    h.celsius = 6.3
    return cell


def pair(active):
    """The same cell in both simulators."""
    places = [(k + 0.5) / COMPARTMENTS for k in (4, 12, 18)]
    kinetics = {"tau1": 0.5, "tau2": 4.0}
    signs = ((1, 0.0, 0.03), (1, 0.0, 0.03), (-1, -80.0, 0.01))
    arbor_synapses, neuron_synapses = (
        [
            Synapse(form.format(x), name, {**kinetics, "e": e}, weight, sign)
            for x, (sign, e, weight) in zip(places, signs, strict=True)
        ]
        for name, form in (("exp2syn", "(location 0 {:.9f})"), ("Exp2Syn", "soma({:.9f})"))
    )
    middle = "(location 0 0.5)"
    return (
        ArborCell(lambda: arbor_cable(active), arbor_synapses, "cable", middle),
        NeuronCell(lambda: neuron_cable(active), neuron_synapses, "cable"),
    )


@pytest.mark.parametrize("active", [False, True])
def test_arbor_and_neuron_agree(active):
    pytest.importorskip("neuron", reason="NEURON (pip install neuron) is not installed")
    steps = np.array([20, 22, 60, 61, 90, 130, 131, 132])
    inputs = np.array([0, 1, 2, 0, 1, 0, 1, 2])
    one, other = (cell.run_trial(steps, inputs, 200, dt_ms=0.025) for cell in pair(active))
    assert np.array_equal(one.event_step, other.event_step)
    # Both step with backward Euler. What remains is how they stagger channels and how NEURON's rate tables round.
    assert np.ptp(one.voltage_mv) > 50
    assert np.abs(one.voltage_mv - other.voltage_mv).max() < (0.05 if active else 0.005)
    # Peaks are searched every 0.125 ms: the smallest difference of voltage can move one by a whole step of that grid.
    assert len(one.spike_time_ms) == len(other.spike_time_ms) >= 3
    assert one.spike_time_ms == pytest.approx(other.spike_time_ms, abs=0.126)


def tip_responses(cell):
    """Depolarisation (mV, every ms) of the dendrite by 2 and by 12 events at once on three neighbouring synapses."""
    tip = cell.synapses[35].at

    def trace(count):
        inputs = np.tile(np.arange(34, 37), count)[:count]
        trial = cell.run_trial(np.full(count, 60), inputs, 120, dt_ms=0.05, sites=[tip])
        return trial.voltage_mv[60:, 1]

    quiet = trace(0)
    return trace(2) - quiet, trace(12) - quiet


def test_clustered_synapses_of_the_ball_and_stick_make_nmda_spikes():
    few, many = tip_responses(ball_and_stick())
    # With currents alone six times the synapses do less than six times as much; the magnesium gate turns that round.
    assert many[20:].max() > 7 * few[20:].max()
    assert (many > 30).sum() >= 25  # a plateau that outlasts AMPA


def test_without_nmda_the_ball_and_stick_makes_no_nmda_spike():
    cell = ball_and_stick()
    synapses = [
        replace(synapse, mechanism=synapse.mechanism.replace("g_nmda=0.0008", "g_nmda=0"))
        for synapse in cell.synapses
    ]
    assert (
        sum(one.mechanism != other.mechanism for one, other in zip(synapses, cell.synapses, strict=True))
        == 40
    )
    few, many = tip_responses(replace(cell, synapses=synapses))
    assert many.max() > 10  # it does answer
    assert many[20:].max() < 6 * few[20:].max()
    assert (many > 30).sum() <= 8  # AMPA decays in 3 ms


def test_the_ball_and_stick_fires_under_its_regime_on_any_number_of_workers(tmp_path):
    options = {"trials": 3, "seconds": 0.4, "seed": 1, "dt_ms": 0.1}
    one = simulate(ball_and_stick(), out=tmp_path / "one", workers=1, **options)
    two = simulate(ball_and_stick(), out=tmp_path / "two", workers=2, **options)
    assert one.content_hash == two.content_hash
    assert one.info()["output_hz"] > 0
    assert one.header.settings["input_groups"] == [{"label": "synapses", "first": 0, "stop": 40}]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"at": "(location 3 0.5)"}, "Arbor refuses"),
        ({"mechanism": "nmda"}, "Arbor refuses.*nmda"),
        ({"parameters": {"tau3": 1.0}}, "Arbor refuses.*tau3"),
    ],
)
def test_synapses_off_an_arbor_cell_are_refused(change, message):
    synapse = {"at": "(location 0 0.5)", "mechanism": "exp2syn", **change}
    with pytest.raises(ConfigError, match=message):
        ArborCell(lambda: arbor_cable(False), [Synapse(**synapse)], "cable").prepare()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"at": "sma(0.5)"}, "no section 'sma'.*Did you mean 'soma'"),
        ({"at": "soma(1.5)"}, r"place 'soma\(1.5\)'"),
        ({"mechanism": "Exp3Syn"}, "Exp3Syn is not a mechanism that NEURON knows.*Did you mean"),
        ({"mechanism": "IClamp"}, "IClamp takes no events.*NET_RECEIVE"),
        ({"mechanism": "IntFire1"}, "IntFire1 takes no events"),
    ],
)
def test_synapses_off_a_neuron_cell_are_refused(change, message):
    pytest.importorskip("neuron", reason="NEURON (pip install neuron) is not installed")
    synapse = {"at": "soma(0.5)", "mechanism": "Exp2Syn", **change}
    with pytest.raises(ConfigError, match=message):
        NeuronCell(lambda: neuron_cable(False), [Synapse(**synapse)], "cable").prepare()


def test_a_cell_defined_in_a_script_reaches_the_workers(tmp_path):
    pytest.importorskip("neuron", reason="NEURON (pip install neuron) is not installed")
    cell = pair(active=True)[1]
    one, two = (
        simulate(cell, out=tmp_path / str(workers), workers=workers, trials=2, seconds=0.3, dt_ms=0.05)
        for workers in (1, 2)
    )
    assert one.content_hash == two.content_hash
    assert one.header.source.startswith("Ulmus, NEURON")


def other(cell, pas_g):
    """The passive cell with another leak, under the same name, in the same simulator."""
    if isinstance(cell, ArborCell):
        return replace(cell, build=lambda: arbor_cable(False, pas_g))

    def build_neuron():
        made = neuron_cable(False)
        made.soma(0.9).pas.g = pas_g  # in one segment alone
        return made

    return replace(cell, build=build_neuron)


@pytest.mark.parametrize("which", [0, 1])
def test_another_cell_of_the_same_name_does_not_continue_a_store(which, tmp_path):
    if which:
        pytest.importorskip("neuron", reason="NEURON (pip install neuron) is not installed")
    cell = pair(active=False)[which]
    options = {"seconds": 0.05, "out": tmp_path / "store", "workers": 1, "dt_ms": 0.1}
    simulate(cell, trials=1, **options)
    with pytest.raises(ConfigError, match=r"the cell differs.*built_sha256"):
        simulate(other(cell, 1e-4 + 1e-9), trials=2, **options)
    # Built again, after trials have run in this process, the same cell goes on.
    assert len(simulate(pair(active=False)[which], trials=2, **options)) == 2


@pytest.mark.parametrize("which", [0, 1])
def test_the_same_cell_has_the_same_fingerprint_in_another_process(which):
    if which:
        pytest.importorskip("neuron", reason="NEURON (pip install neuron) is not installed")
    here = pair(active=True)[which].built_sha256
    script = f"from test_custom_cells import pair; print(pair(True)[{which}].built_sha256)"
    there = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
    )
    assert there.stdout.split()[-1] == here
    assert pair(active=False)[which].built_sha256 != here


def test_sections_without_a_cell_are_found_beside_others_of_their_name():
    neuron = pytest.importorskip("neuron", reason="NEURON (pip install neuron) is not installed")

    def build():
        section = neuron.h.Section(name="s")
        section.insert("pas")
        return [section]

    kept = build()
    cells = [NeuronCell(build, [Synapse("s(0.5)", "Exp2Syn")], name, "s(0.5)") for name in ("one", "two")]
    for cell in cells:  # the second is built while the first is there
        assert np.isfinite(cell.run_trial(NONE, NONE, 5).voltage_mv).all()
    assert kept[0].psection()["point_processes"] == {}


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("change", [{"e": 1e6}, {"weight": -1.0}])
def test_a_voltage_that_no_membrane_has_is_no_trial(which, change, tmp_path):
    if which:
        pytest.importorskip("neuron", reason="NEURON (pip install neuron) is not installed")
    cell, weight = pair(active=False)[which], change.get("weight", 1e3)
    first = cell.synapses[0]
    wild = replace(first, weight=weight, parameters={**first.parameters, "e": change.get("e", 0.0)})
    trains = SpikeTrains([{0: np.array([5.0, 6.0, 7.0])}])
    with pytest.raises(
        DataError, match=r"trial 0 \(seed 0\): the simulated voltage is .*from -300 to 300 mV"
    ):
        simulate(
            replace(cell, synapses=[wild]), trains, trials=1, seconds=0.05, out=tmp_path / "store", workers=1
        )


@pytest.mark.parametrize("which", [0, 1])
def test_a_build_that_raises_is_said(which):
    if which:
        pytest.importorskip("neuron", reason="NEURON (pip install neuron) is not installed")
    with pytest.raises(ConfigError, match="cell 'cable': build raised ZeroDivisionError: division by zero"):
        replace(pair(active=False)[which], build=lambda: 1 / 0).prepare()


def test_a_build_that_cannot_be_sent_to_a_worker_is_said(tmp_path):
    cell, lock = pair(active=False)[0], threading.Lock()

    def build():
        with lock:  # what no process can give another one
            return cell.build()

    held = replace(cell, build=build)
    with pytest.raises(ConfigError, match="cannot be sent to other processes.*lock"):
        simulate(held, held.regime, trials=2, seconds=0.1, out=tmp_path / "store", workers=2)


def test_nothing_that_excites_is_no_cell():
    with pytest.raises(ConfigError, match="none of which excites"):
        ArborCell(lambda: None, [Synapse("(root)", "exp2syn", sign=-1)], "empty")
    with pytest.raises(ConfigError, match="sign=0"):
        Synapse("(root)", "exp2syn", sign=0)


@pytest.mark.parametrize("which", [0, 1])
def test_sites_off_the_cell_begin_no_store(which, tmp_path):
    if which:
        pytest.importorskip("neuron", reason="NEURON (pip install neuron) is not installed")
    with pytest.raises(ConfigError, match="dend"):
        simulate(
            pair(active=False)[which], trials=1, seconds=0.1, out=tmp_path / "store", sites=["dend(0.5)"]
        )
    assert not (tmp_path / "store").exists()


def test_a_catalogue_that_this_arbor_cannot_load_is_said(tmp_path):
    (tmp_path / "old.so").write_bytes(b"no library")
    cell = ArborCell(
        lambda: arbor_cable(False), [Synapse("(root)", "exp2syn")], "cable", catalogue=tmp_path / "old.so"
    )
    with pytest.raises(MissingToolError, match=r"old\.so cannot be loaded.*Build it again"):
        cell.prepare()


def test_neuron_is_asked_for_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "neuron", None)
    cell = NeuronCell(lambda: None, [Synapse("soma(0.5)", "Exp2Syn")], "cell")
    with pytest.raises(MissingToolError, match=r"needs the package neuron.*pip install 'ulmus\[neuron\]'"):
        simulate(cell, trials=1, seconds=0.1, out=tmp_path / "store")
    assert not (tmp_path / "store").exists()


def recording_cell(build, kind, variable):
    place, mechanism = {NeuronCell: ("soma(0.5)", "Exp2Syn"), ArborCell: ("(location 0 0.5)", "exp2syn")}[
        kind
    ]
    synapses = [Synapse(place, mechanism, {"tau1": 0.5, "tau2": 5.0, "e": 0.0}, weight=0.01)]
    return kind(build, synapses, "cable", place, record={"ion": f"{place}.{variable}"})


def test_what_a_cell_records_beside_its_voltage_is_in_the_store(tmp_path):
    pytest.importorskip("neuron")
    cell = recording_cell(partial(neuron_cable, active=True), NeuronCell, "nai")
    assert cell.signals == (("ion", "mM"),)
    store = simulate(cell, trials=1, seconds=0.1, out=tmp_path / "store", workers=1, dt_ms=0.1)
    assert store.header.signals == (("ion", "mM"),)
    assert store.header.settings["cell"]["record"] == {"ion": "soma(0.5).nai"}
    np.testing.assert_allclose(store.trial(0).signals[:, 0], 10.0)  # NEURON's default, which nothing changes
    # Of the voltage as a signal, the same is expected as of the voltage.
    same = replace(cell, record={"voltage": "soma(0.5).v"})
    trial = same.run_trial(np.array([3, 20]), np.array([0, 0]), 60, dt_ms=0.05)
    np.testing.assert_allclose(trial.signals[:, 0], trial.voltage_mv[:, 0], atol=1e-4)
    assert same.signals == (("voltage", "mV"),)
    for record, message in {
        "soma(0.5).nothing": "no variable 'nothing'.*such as v, cai or ica",
        "axon(0.5).v": "no section 'axon'",
        "soma.v": "expected a place and a variable, such as 'soma\\(0.5\\).cai'",
    }.items():
        with pytest.raises(ConfigError, match=message):
            _ = replace(cell, record={"it": record}).signals


def arbor_with_calcium():
    import arbor

    shape, decor, labels, policy = arbor_cable(active=True)
    # A current of calcium and a shell that it fills and that empties again.
    decor.paint("(all)", arbor.density("bbp::Ca_HVA", gCa_HVAbar=1e-4))
    decor.paint("(all)", arbor.density("bbp::CaDynamics_E2", gamma=0.05, decay=20.0))
    return shape, decor, labels, policy


def test_arbor_records_concentrations():
    cell = recording_cell(arbor_with_calcium, ArborCell, "cai")
    assert cell.signals == (("ion", "mM"),)
    trial = cell.run_trial(np.array([20, 21, 22]), np.array([0, 0, 0]), 120, dt_ms=0.05)
    calcium = trial.signals[:, 0]
    assert trial.spike_time_ms.size
    peak = int(calcium.argmax())
    assert trial.spike_time_ms[0] < peak
    assert calcium[peak] > 1.5 * calcium[15]
    assert calcium[-1] < calcium[peak]
    with pytest.raises(ConfigError, match="a concentration such as cai"):
        _ = replace(cell, record={"current": "(location 0 0.5).ica"}).signals


def test_variable_steps_agree_with_small_fixed_ones():
    pytest.importorskip("neuron")
    synapses = [Synapse("soma(0.3)", "Exp2Syn", {"tau1": 0.5, "tau2": 5.0, "e": 0.0}, weight=0.02)]
    build = partial(neuron_cable, active=True)
    fixed = NeuronCell(build, synapses, "cable")
    variable = replace(fixed, tolerance=1e-4)
    events = np.array([3, 4, 5, 30, 31, 32, 33, 60])
    current = np.repeat([0.0, 0.3, 0.0], [70, 30, 20])
    drive = {
        "event_step": events,
        "event_input": np.zeros(len(events), dtype=int),
        "steps": 120,
        "current_na": current,
    }
    fine, one = (cell.run_trial(**drive, dt_ms=dt) for cell, dt in ((fixed, 0.001), (variable, 0.025)))
    assert len(fine.spike_time_ms) >= 3
    np.testing.assert_allclose(one.spike_time_ms, fine.spike_time_ms, atol=0.126)  # read off 8 samples per ms
    away = np.abs(np.arange(120)[:, None] - fine.spike_time_ms).min(axis=1) > 2
    np.testing.assert_allclose(one.voltage_mv[away], fine.voltage_mv[away], atol=0.3)
    coarse = replace(fixed, tolerance=0.1).run_trial(**drive, dt_ms=0.025)
    assert not np.array_equal(coarse.voltage_mv, one.voltage_mv)
    # It is the cell's own: the next one has fixed steps again.
    assert np.array_equal(
        fixed.run_trial(**drive, dt_ms=0.025).voltage_mv, fixed.run_trial(**drive, dt_ms=0.025).voltage_mv
    )
    assert "tolerance" not in fixed.settings()
    assert variable.settings()["tolerance"] == 1e-4
    variable.prepare()
    with pytest.raises(ConfigError, match="tolerance=0.*such as 1e-3"):
        replace(fixed, tolerance=0)
