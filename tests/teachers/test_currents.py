"""Currents into the soma: what they are, what neurons make of them, and how they reach stores and surrogates."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_custom_cells import NONE, arbor_cable, pair

import ulmus
from ulmus.errors import ConfigError, DataError
from ulmus.teachers.currents import CurrentRegime, ornstein_uhlenbeck
from ulmus.teachers.custom.arbor import ArborCell
from ulmus.teachers.integrate_and_fire import IntegrateAndFire
from ulmus.teachers.runner import simulate
from ulmus.trials import Store, Windows, events_from_trials
from ulmus.trials.header import Channel, Header
from ulmus.trials.trial import Trial
from ulmus.trials.validation import validate

LIF = IntegrateAndFire()


def test_a_membrane_charges_towards_rest_plus_current_times_resistance():
    neuron = IntegrateAndFire(threshold_mv=1000.0, resistance_mohm=200.0)
    current = np.repeat([0.0, 0.1, -0.05], [20, 200, 200])
    found = neuron.run_trial(NONE, NONE, 420, current_na=current).voltage_mv[:, 0]
    time = np.arange(200)
    charged = -70 + 20 * (1 - np.exp(-time / 20))
    assert found[:21] == pytest.approx(-70)
    assert found[20:220] == pytest.approx(charged, abs=1e-4)
    end = -70 + 20 * (1 - np.exp(-200 / 20))
    assert found[220:] == pytest.approx(-80 + (end + 80) * np.exp(-time / 20), abs=1e-4)


@pytest.fixture
def exact_rates():
    """NEURON interpolates rates in tables of 1 mV, which shifts spikes; here it computes them, as Arbor does."""
    neuron = pytest.importorskip("neuron", reason="NEURON (pip install neuron) is not installed")
    neuron.h.usetable_hh = 0
    yield
    neuron.h.usetable_hh = 1


@pytest.mark.parametrize("active", [False, True])
def test_arbor_and_neuron_agree_under_current(active, exact_rates):
    time = np.arange(200)
    current = np.where(time < 30, 0.0, 0.3 + 0.25 * np.sin(time / 7.0)) * (1.0 if active else 0.3)
    one, other = (cell.run_trial(NONE, NONE, 200, dt_ms=0.025, current_na=current) for cell in pair(active))
    assert np.ptp(one.voltage_mv) > (50 if active else 8)
    # Spikes rise by up to 100 mV in a ms: 0.2 mV are 0.002 ms.
    assert np.abs(one.voltage_mv - other.voltage_mv).max() < (0.2 if active else 0.005)
    assert one.spike_time_ms == pytest.approx(other.spike_time_ms, abs=0.126)
    assert bool(len(one.spike_time_ms)) == active
    # What was injected is gone in the next trial.
    for cell in pair(active):
        cell.run_trial(NONE, NONE, 50, dt_ms=0.1, current_na=np.full(50, 0.5))
        quiet = cell.run_trial(NONE, NONE, 50, dt_ms=0.1).voltage_mv
        assert np.ptp(quiet) < 1


def test_a_current_is_a_function_of_seed_and_index_and_stays_in_its_range():
    regime = CurrentRegime(-0.1, 0.4)
    one, two, other = (regime.draw(LIF, 3000, 5, trial) for trial in (1, 1, 2))
    assert np.array_equal(one.current_na, two.current_na)
    assert not np.array_equal(one.current_na, other.current_na)
    assert one.current_na.shape == (3000,)
    assert -0.1001 < one.current_na.min() < one.current_na.max() < 0.4001
    assert len(one.event_step) == 0
    starts = [piece["start_ms"] for piece in one.attributes["current_pieces"]]
    assert starts[0] == 0
    assert all(200 <= length <= 1000 for length in np.diff(starts))


@pytest.mark.parametrize("kind", ["step", "ramp", "chirp", "noise"])
def test_pieces_are_what_they_are_called(kind):
    regime = CurrentRegime(0.0, 1.0, kinds=(kind,), piece_ms=(4000, 4000))
    values = np.array([regime.draw(LIF, 4000, 0, trial).current_na for trial in range(20)])
    slopes = np.diff(values, axis=1)
    if kind == "step":
        assert np.ptp(values, axis=1).max() == 0
        assert np.ptp(values[:, 0]) > 0.5
    elif kind == "ramp":
        assert np.ptp(slopes, axis=1).max() < 1e-6
    elif kind == "chirp":
        # 1 to 40 Hz, evenly on a logarithmic scale: (40 - 1) / ln 40 Hz on average.
        level = (values.max(axis=1, keepdims=True) + values.min(axis=1, keepdims=True)) / 2
        crossings = (np.diff(np.sign(values - level), axis=1) != 0).sum(axis=1)
        assert crossings == pytest.approx(2 * 4 * 39 / np.log(40), abs=2)
    else:
        assert (np.abs(slopes) > 0).mean() > 0.9
        room = np.minimum(values.mean(axis=1), 1 - values.mean(axis=1))
        assert np.all(values.std(axis=1) < room)


def test_noise_is_an_ornstein_uhlenbeck_process():
    noise = ornstein_uhlenbeck(200_000, 10.0, np.random.default_rng(0))
    assert noise.mean() == pytest.approx(0, abs=0.05)
    assert noise.var() == pytest.approx(1, rel=0.05)
    for lag in (1, 10, 25):
        assert (noise[lag:] * noise[:-lag]).mean() == pytest.approx(np.exp(-lag / 10), abs=0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.5, 0.1), "current from 0.5 to 0.1 nA"),
        ((float("nan"), 0.1), "finite range"),
        ((0, 1, ("stap",)), "Did you mean 'step'"),
        ((0, 1, ()), "expected some of step, ramp"),
        ((0, 1, ("step",), (0, 5)), "piece_ms"),
    ],
)
def test_currents_that_are_none_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        CurrentRegime(*arguments)
    with pytest.raises(ConfigError, match="expected 10 finite values in nA"):
        LIF.run_trial(NONE, NONE, 10, current_na=np.zeros(9))


OPTIONS = {"trials": 3, "seconds": 0.8, "dt_ms": 0.1, "seed": 4}


def test_a_store_holds_the_current_as_the_only_input(tmp_path):
    regime = CurrentRegime(-0.1, 0.5)
    one, two = (
        simulate(LIF, regime, out=tmp_path / str(workers), workers=workers, **OPTIONS) for workers in (1, 2)
    )
    assert one.content_hash == two.content_hash
    assert one.verify() == []
    header = Store(tmp_path / "1").header
    assert (header.inputs, header.event_inputs) == (1, 0)
    assert header.continuous == (Channel("current", "nA", 0.5),)
    assert one.info()["continuous_inputs"] == ["current (nA)"]
    assert one.info()["output_spikes"] > 0
    trial, drawn = one.trial(2), regime.draw(LIF, 800, 4, 2)
    assert np.array_equal(trial.continuous[:, 0], drawn.current_na.astype(np.float32))
    again = LIF.run_trial(NONE, NONE, 800, dt_ms=0.1, current_na=drawn.current_na)
    assert np.array_equal(trial.voltage_mv, again.voltage_mv)
    window = one.window(2, 100, 150)
    assert np.array_equal(window.continuous, trial.continuous[100:150])


def test_a_current_beside_synapses_leaves_their_input_as_it_is(tmp_path):
    regime = CurrentRegime(-0.1, 0.1, synapses=LIF.regime)
    both = simulate(LIF, regime, out=tmp_path / "both", workers=1, **OPTIONS)
    alone = simulate(LIF, LIF.regime, out=tmp_path / "alone", workers=1, **OPTIONS)
    assert both.header.inputs == alone.header.inputs + 1
    for index in range(3):
        assert np.array_equal(both.trial(index).event_input, alone.trial(index).event_input)
    assert not np.array_equal(both.trial(0).voltage_mv, alone.trial(0).voltage_mv)


def test_the_place_of_the_current_is_the_soma(tmp_path):
    cell = pair(active=False)[0]
    regime = CurrentRegime(-0.1, 0.1, synapses=cell.regime)
    store = simulate(cell, regime, out=tmp_path / "store", workers=1, **OPTIONS)
    assert store.header.geometry.input_piece[-1] == -1


def test_a_surrogate_gets_the_current_divided_by_its_scale_in_every_step(tmp_path):
    regime = CurrentRegime(-0.1, 0.5, synapses=LIF.regime)
    store = simulate(LIF, regime, out=tmp_path / "store", workers=1, **OPTIONS)
    windows = Windows(store, 60, 5, seed=1, batches_per_epoch=1)
    batch = windows.batch(0, 0)
    dense = batch.events.dense().numpy()
    trials, starts = windows.plan(0, 0)
    for row, (index, start) in enumerate(zip(trials.tolist(), starts.tolist(), strict=True)):
        part = store.window(index, start, start + 60)
        assert dense[row, :, -1] == pytest.approx(part.continuous[:, 0] / 0.5)
        counts = np.zeros((60, 100))
        np.add.at(counts, (part.event_step, part.event_input), 1.0)
        assert np.array_equal(dense[row, :, :-1], counts * LIF.input_sign)
    whole = events_from_trials([store.trial(0)], store.header)
    assert whole.dense()[0, :, -1].numpy() == pytest.approx(store.trial(0).continuous[:, 0] / 0.5)


def test_a_current_drives_a_surrogate_alike_as_events_and_as_a_dense_array(tmp_path):
    store = simulate(LIF, CurrentRegime(-0.1, 0.5), out=tmp_path / "store", workers=1, **OPTIONS)
    torch.manual_seed(0)
    surrogate = ulmus.Surrogate(ulmus.ELM(1, 2, memory=3))
    events = events_from_trials([store.trial(0)], store.header)
    one, two = surrogate.predict(events), surrogate.predict(events.dense())
    assert one.voltage_mv.std() > 0
    torch.testing.assert_close(one.voltage_mv, two.voltage_mv, rtol=1e-4, atol=1e-3)


def test_a_trial_that_lacks_its_current_or_has_another_unit_is_refused():
    header = Header(3, 1.0, np.array([1], dtype=np.int8), continuous=(Channel("current", "nA", 0.5),))
    bare = Trial(
        np.zeros(0, dtype=np.int32),
        np.zeros(0, dtype=np.uint16),
        np.zeros((3, 1), dtype=np.float32),
        np.zeros(0),
        {},
    )
    for continuous, message in (
        (None, "continuous is missing"),
        (np.zeros((2, 1), dtype=np.float32), r"expected a float32 array of shape \(3, 1\)"),
        (np.full((3, 1), np.nan, dtype=np.float32), "is nan nA at step 0"),
        (np.full((3, 1), 1e5, dtype=np.float32), "usual size of 0.5 nA"),
    ):
        with pytest.raises(DataError, match=message):
            validate(bare._replace(continuous=continuous), header, "here")
    validate(bare._replace(continuous=np.full((3, 1), 0.3, dtype=np.float32)), header, "here")
    with pytest.raises(DataError, match="names no continuous input"):
        validate(
            bare._replace(continuous=np.zeros((3, 1), dtype=np.float32)),
            replace(header, continuous=()),
            "here",
        )
    with pytest.raises(ConfigError, match="scale=0"):
        Header(3, 1.0, np.array([1], dtype=np.int8), continuous=(Channel("current", "nA", 0.0),))


def test_a_cell_without_synapses_is_driven_by_current_alone(tmp_path):
    cell = ArborCell(lambda: arbor_cable(True), [], "bare", "(location 0 0.5)")
    with pytest.raises(ConfigError, match="has no synapses.*CurrentRegime"):
        simulate(cell, out=tmp_path / "store", workers=1, **OPTIONS)
    assert not (tmp_path / "store").exists()
    store = simulate(cell, CurrentRegime(0.0, 2.0), out=tmp_path / "store", workers=1, **OPTIONS)
    assert store.info()["output_spikes"] > 0
