"""What is told or refused of a user's own cells, before a store is begun or where it would be silently wrong."""

from dataclasses import replace

import numpy as np
import pytest
from test_custom_cells import NONE, arbor_cable, neuron_cable, pair

from ulmus.errors import ConfigError
from ulmus.teachers.custom.arbor import ArborCell
from ulmus.teachers.custom.cell import Synapse
from ulmus.teachers.custom.neuron import NeuronCell
from ulmus.teachers.runner import simulate
from ulmus.teachers.spike_trains import SpikeTrains
from ulmus.teachers.teacher import detect_spikes

SHORT = {"trials": 2, "seconds": 0.05, "dt_ms": 0.1}


@pytest.fixture
def h():
    neuron = pytest.importorskip("neuron", reason="NEURON (pip install neuron) is not installed")
    before = neuron.h.celsius
    yield neuron.h
    neuron.h.celsius = before


def cell_of(build, at="soma(0.5)", **changes):
    return NeuronCell(build, [Synapse(at, "Exp2Syn", weight=0.01)], "cell", **changes)


def test_a_temperature_set_outside_of_build_does_not_reach_the_workers_and_is_refused(h, tmp_path):
    def bare():
        from neuron import h

        section = h.Section(name="soma")
        section.insert("hh")
        return [section]

    h.celsius = 34
    with pytest.raises(
        ConfigError, match=r"neuron of a worker process differs.*built_sha256.*Set inside build.*celsius"
    ):
        simulate(cell_of(bare), out=tmp_path / "store", workers=2, **SHORT)
    # Nothing was stored, so the same folder may hold the corrected cell.
    h.celsius = 6.3
    assert len(simulate(cell_of(bare), out=tmp_path / "store", workers=2, **SHORT)) == 2


def test_global_parameters_belong_to_the_fingerprint(h):
    def build(table):
        def make():
            from neuron import h

            h.usetable_hh = table
            return neuron_cable(True)

        return make

    try:
        with_table, without = (cell_of(build(table)).built_sha256 for table in (1, 0))
    finally:
        h.usetable_hh = 1
    assert with_table != without


def test_input_that_build_makes_itself_is_refused(h):
    def build():
        from neuron import h

        made = neuron_cable(False)
        made.point = h.ExpSyn(made.soma(0.5))
        made.noise = h.NetStim()
        made.link = h.NetCon(made.noise, made.point)
        return made

    with pytest.raises(ConfigError, match=r"build connects NetStim\[\d+\] to ExpSyn\[\d+\].*no surrogate"):
        cell_of(build).prepare()


def test_a_cell_that_differs_from_itself_is_refused(h):
    def build():
        from neuron import h

        made, random = neuron_cable(False), np.random.default_rng(0)
        made.clamp = h.IClamp(made.soma(0.5))
        made.clamp.dur = 1e9

        def jump():
            made.clamp.amp = random.normal()

        made.handler = h.FInitializeHandler(jump)
        return made

    with pytest.raises(ConfigError, match=r"differs from itself.*Take noise out of build"):
        cell_of(build).prepare()


def test_two_sections_of_one_name_are_refused(h):
    def build():
        return [neuron_cable(False), neuron_cable(False)]

    with pytest.raises(ConfigError, match=r"two sections named 'soma'.*expected one cell"):
        cell_of(build).prepare()


def test_hoc_at_top_level_works_once_and_says_how_it_works_again(h, tmp_path):
    file = tmp_path / "cell.hoc"
    file.write_text("create trunk, twig[2]\ntrunk { L=20 diam=20 insert hh }\n")

    def build(again):
        def make():
            from neuron import h

            h.load_file(*again, str(file))
            return h.trunk

        return make

    cell = cell_of(build(()), "trunk(0.5)", soma="trunk(0.5)")
    assert len(simulate(cell, out=tmp_path / "store", workers=1, **SHORT)) == 2
    with pytest.raises(ConfigError, match=r"made no section.*loaded once.*load_file\(1"):
        replace(cell, name="again").prepare()
    replace(cell, build=build((1,))).prepare()


def test_a_misspelt_soma_begins_no_store(h, tmp_path):
    with pytest.raises(ConfigError, match=r"soma: the cell has no section 'sma'.*Did you mean 'soma'"):
        simulate(cell_of(lambda: neuron_cable(False), soma="sma(0.5)"), out=tmp_path / "store", **SHORT)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize(("sign", "reversal"), [(1, -80.0), (-1, 0.0)])
def test_a_sign_against_the_reversal_potential_is_said(which, sign, reversal, tmp_path):
    if which:
        pytest.importorskip("neuron", reason="NEURON (pip install neuron) is not installed")
    cell, said = pair(active=False)[which], []
    odd = replace(cell.synapses[0], sign=sign, parameters={**cell.synapses[0].parameters, "e": reversal})
    wrong = replace(cell, synapses=[*cell.synapses, odd])
    simulate(wrong, out=tmp_path / "store", workers=1, on_note=said.append, **SHORT)
    assert len(said) == 1
    assert f"1 synapse with sign={sign}" in said[0]
    assert f"number 3: {reversal:g} mV" in said[0]
    assert cell.doubts() == []


def test_a_silent_neuron_and_odd_voltages_are_said(tmp_path):
    said, cell = [], pair(active=False)[0]
    options = {"workers": 1, "on_note": said.append, "dt_ms": 0.25}
    nothing = SpikeTrains([{}] * 5)
    simulate(cell, nothing, out=tmp_path / "quiet", trials=5, seconds=1, **options)
    assert len(said) == 1
    assert "not one output spike in 5 trials" in said[0]
    first = cell.synapses[0]
    high = replace(cell, synapses=[replace(first, weight=1.0, parameters={**first.parameters, "e": 150.0})])
    simulate(high, SpikeTrains([{0: [5.0]}]), out=tmp_path / "high", trials=1, seconds=0.05, **options)
    assert len(said) == 2
    assert "the voltage runs from" in said[1]


def test_wrong_names_list_the_right_ones(h):
    def refused(cell, **change):
        with pytest.raises(ConfigError) as error:
            replace(cell, synapses=[replace(cell.synapses[0], **change)]).prepare()
        return str(error.value)

    arbor_cell, neuron_cell = pair(active=False)
    assert "expected some of tau1, tau2, e. Did you mean 'tau1'" in refused(
        neuron_cell, parameters={"tau11": 1.0}
    )
    assert "Did you mean 'Exp2Syn'" in refused(neuron_cell, mechanism="Exp2Sin")
    text = refused(arbor_cell, parameters={"tau11": 1.0})
    assert "Did you mean 'tau1'" in text
    assert {"e", "tau1", "tau2"} < set(text.replace(",", " ").replace(".", " ").split())
    assert "Did you mean 'exp2syn'" in refused(arbor_cell, mechanism="exp2sin")


def test_segments_and_locations_are_places(h, tmp_path):
    import arbor

    made = neuron_cable(False)
    assert Synapse(made.soma(0.25), "Exp2Syn").at == "soma(0.25)"
    assert Synapse(arbor.location(0, 0.5), "exp2syn").at == "(location 0 0.5)"
    with pytest.raises(ConfigError, match="is a Section; expected where on the cell"):
        Synapse(made.soma, "Exp2Syn")
    assert cell_of(lambda: neuron_cable(False), soma=made.soma(0.5)).soma == "soma(0.5)"
    store = simulate(
        cell_of(lambda: neuron_cable(False)),
        out=tmp_path / "store",
        sites=[made.soma(0.1)],
        workers=1,
        **SHORT,
    )
    assert store.header.sites == ("soma", "soma(0.1)")


@pytest.mark.parametrize(
    ("build", "what"),
    [
        (lambda: __import__("arbor").cable_cell(*arbor_cable(False)), "a cable_cell"),
        (lambda: arbor_cable(False)[:3], "3 of them"),
    ],
)
def test_something_else_than_the_parts_of_a_cable_cell_is_named(build, what):
    with pytest.raises(ConfigError, match=f"build returns {what}; expected what arbor.cable_cell is made of"):
        ArborCell(build, [Synapse("(root)", "exp2syn")], "cell").prepare()


def test_several_weights_reach_the_mechanism_and_too_many_are_refused(h):
    cell = cell_of(lambda: neuron_cable(False))
    with pytest.raises(ConfigError, match="2 weights.*expected at most 1"):
        replace(cell, synapses=[Synapse("soma(0.5)", "Exp2Syn", weight=(0.1, 0.2))]).prepare()
    with pytest.raises(ConfigError, match="expected one, as an event of Arbor has"):
        ArborCell(lambda: arbor_cable(False), [Synapse("(root)", "exp2syn", weight=(1, 2))], "cell").prepare()
    one = replace(cell, synapses=[Synapse("soma(0.5)", "Exp2Syn", weight=[0.01])])
    assert one.settings()["synapses"][0]["weight"] == 0.01
    with pytest.raises(ConfigError, match="expected finite numbers"):
        Synapse("soma(0.5)", "Exp2Syn", weight="strong")


@pytest.mark.parametrize("which", [0, 1])
def test_a_delayed_synapse_answers_as_a_later_event_does(which):
    if which:
        pytest.importorskip("neuron", reason="NEURON (pip install neuron) is not installed")
    cell = pair(active=True)[which]
    delayed = replace(cell, synapses=[replace(cell.synapses[0], delay_ms=7.0)])
    at = np.zeros(1, dtype=np.int64)
    late = delayed.run_trial(at + 13, at, 60, dt_ms=0.1).voltage_mv
    assert late == pytest.approx(cell.run_trial(at + 20, at, 60, dt_ms=0.1).voltage_mv, abs=1e-4)
    assert np.ptp(late) > 5
    with pytest.raises(ConfigError, match="no negative delay"):
        replace(cell.synapses[0], delay_ms=-1.0)


def test_groups_have_rates_of_their_own():
    from ulmus.teachers.regimes import regime_of_rates

    cell = pair(active=False)[0]
    a, b, c = cell.synapses
    cell = replace(
        cell,
        synapses=[replace(a, group="near"), replace(b, group="far"), replace(c, group="inhibition")],
    )
    regime = regime_of_rates(cell, {"near": (50, 50), "far": (0, 0), "inhibition": (20, 20)})
    drawn = [regime.draw(cell, 20_000, 0, trial) for trial in range(3)]
    hz = sum(np.bincount(one.event_input, minlength=3) for one in drawn) / 60
    # A probability of rate times an exponential factor is cut at 1, hardly ever at these rates.
    assert hz == pytest.approx([50, 0, 20], rel=0.15)
    with pytest.raises(ConfigError, match="none of 'far'"):
        regime_of_rates(cell, {"near": (0, 1)})
    with pytest.raises(ConfigError, match="'neer'.*Did you mean 'near'"):
        regime_of_rates(cell, {"neer": (0, 1)})


def test_the_detector_has_a_threshold_and_a_refractory_time():
    time = np.arange(0, 30, 0.125)
    trace = -70 + 40.0 * np.isin(time, [5, 7, 20]) + 20.0 * (time == 12)
    assert detect_spikes(time, trace, -40).tolist() == [5, 7, 20]
    assert detect_spikes(time, trace, -40, 3.0).tolist() == [5, 20]
    assert detect_spikes(time, trace, -60).tolist() == [5, 7, 12, 20]
    cell = pair(active=True)[0]
    steps, inputs = np.array([10, 60]), np.array([0, 0])
    count = [
        len(replace(cell, spike_above_mv=above, refractory_ms=ms).run_trial(steps, inputs, 120).spike_time_ms)
        for above, ms in ((-25, 0), (100, 0), (-25, 200))
    ]
    assert count[0] >= 2
    assert count[1:] == [0, 1]
    assert len(cell.run_trial(NONE, NONE, 5).spike_time_ms) == 0


def test_a_store_that_was_begun_otherwise_says_where_it_differs(tmp_path):
    cell = pair(active=False)[0]
    simulate(cell, out=tmp_path / "store", workers=1, **SHORT)
    other = replace(
        cell, synapses=[cell.synapses[0], replace(cell.synapses[1], weight=0.5), cell.synapses[2]]
    )
    with pytest.raises(ConfigError, match=r"settings\.cell\.synapses\[1\]\.weight: 0\.5 != 0\.03"):
        simulate(other, out=tmp_path / "store", workers=1, **SHORT)
