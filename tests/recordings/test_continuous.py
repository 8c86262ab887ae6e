"""Injected currents of a user's files: with units, as one protocol for all sweeps or one for each, alone or beside spikes."""

import numpy as np
import pytest
from recording_examples import PER_MS, STEPS, TRIALS, recordings

from ulmus.errors import ConfigError, DataError
from ulmus.recordings.conversion import convert
from ulmus.recordings.mapping import parse_mapping
from ulmus.report.conversion_page import conversion_figure, summarise


def mapping(**current):
    return {
        "continuous": {"current": {"values": "i", "sampling_hz": 8000, **current}},
        "voltage": {"values": "v", "unit": "mV", "sampling_hz": 8000},
    }


def write(path, current):
    np.savez(path, v=np.stack([r.voltage_mv for r in recordings()]), i=current)
    return path


@pytest.mark.parametrize("shared", [False, True])
def test_a_current_of_every_sweep_or_of_all(tmp_path, shared):
    current_na = np.sin(np.arange(TRIALS * STEPS * PER_MS) / 500).reshape(TRIALS, -1)
    stored = 1000 * (current_na[0] if shared else current_na)
    path = write(tmp_path / "a.npz", stored)
    store = convert(path, tmp_path / "store", mapping=parse_mapping(mapping(unit="pA", scale=0.5)))
    assert store.header.continuous == (("current", "nA", 0.5),)
    assert store.header.inputs == 1
    assert store.verify() == []
    for index in range(TRIALS):
        trial = store.trial(index)
        wanted = current_na[0 if shared else index].reshape(-1, PER_MS).mean(axis=1)
        np.testing.assert_allclose(trial.continuous[:, 0], wanted, atol=1e-6)
        assert trial.event_input.size == 0


@pytest.mark.parametrize(("at", "first"), [("start", 0), ("end", PER_MS)])
def test_a_current_can_be_that_of_an_edge(tmp_path, at, first):
    stored = np.random.default_rng(0).normal(size=(TRIALS, STEPS * PER_MS))
    path = write(tmp_path / "a.npz", stored)
    store = convert(path, tmp_path / "store", mapping=parse_mapping(mapping(unit="nA", at=at)))
    found = store.trial(1).continuous[:-1, 0]
    np.testing.assert_allclose(found, stored[1, first::PER_MS][: STEPS - 1], atol=1e-6)


def test_no_charge_of_a_noisy_current_is_lost(tmp_path):
    """Also where the clock of the samples does not fit the time bins."""
    stored = np.random.default_rng(0).normal(size=STEPS * PER_MS)
    times = np.arange(stored.size) / PER_MS + 0.03
    np.savez(tmp_path / "a.npz", v=np.stack([r.voltage_mv for r in recordings()]), i=stored, t=times)
    told = mapping(unit="nA", times="t", time_unit="ms")
    del told["continuous"]["current"]["sampling_hz"]
    store = convert(tmp_path / "a.npz", tmp_path / "store", mapping=parse_mapping(told))
    wanted = stored.reshape(-1, PER_MS).mean(axis=1)
    np.testing.assert_allclose(store.trial(0).continuous[:, 0], wanted, atol=1e-6)


def test_sweeps_that_follow_each_other_are_told_from_a_wrong_clock(tmp_path):
    stored = np.zeros(STEPS * PER_MS)
    for times, message in (
        (
            np.tile(np.arange(stored.size // 2), 2) / PER_MS,
            "goes from .* to 0 ms at entry .*sweeps follow each other",
        ),
        (np.arange(stored.size - 1) / PER_MS, "entries for .* samples"),
        (np.arange(stored.size) * 1e12, "goes beyond"),
    ):
        np.savez(tmp_path / "a.npz", v=np.stack([r.voltage_mv for r in recordings()]), i=stored, t=times)
        told = mapping(unit="nA", times="t", time_unit="ms")
        del told["continuous"]["current"]["sampling_hz"]
        with pytest.raises(DataError, match=message):
            convert(tmp_path / "a.npz", tmp_path / "store", mapping=parse_mapping(told))


def test_the_summary_shows_the_current_and_no_event_inputs(tmp_path):
    path = write(tmp_path / "a.npz", np.linspace(-50, 250, STEPS * PER_MS))
    store = convert(path, tmp_path / "store", mapping=parse_mapping(mapping(unit="pA", scale=0.1)))
    rows = dict(summarise(store).rows)
    assert rows["current"].startswith("-0.04934 to 0.2493")
    assert rows["current"].endswith("nA, usual size 0.1 nA")
    assert rows["excitatory inputs"] == "0"
    figure = conversion_figure(store, summarise(store))
    drawn = {trace.yaxis or "y" for trace in figure.data}
    assert {f"yaxis{axis[1:]}" for axis in drawn} <= set(figure.to_dict()["layout"])
    current = next(trace for trace in figure.data if trace.name == "current")
    np.testing.assert_array_equal(current.y, store.trial(0).continuous[:, 0])


def test_what_a_current_lacks_is_said(tmp_path):
    path = write(tmp_path / "a.npz", np.zeros((TRIALS, STEPS * PER_MS)))
    with pytest.raises(ConfigError, match="unit of the continuous input 'current' in i.*add `unit`"):
        convert(path, tmp_path / "store", mapping=parse_mapping(mapping()))
    write(path, np.zeros((TRIALS + 1, STEPS * PER_MS)))
    with pytest.raises(DataError, match="'current' has other trials than the voltage"):
        convert(path, tmp_path / "store", mapping=parse_mapping(mapping(unit="pA")))
    write(path, np.full((TRIALS, STEPS * PER_MS), 1e9))
    with pytest.raises(DataError, match="continuous.*usual size of 1 nA"):
        convert(path, tmp_path / "store", mapping=parse_mapping(mapping(unit="pA")))
    with pytest.raises(ConfigError, match="no input"):
        parse_mapping({"voltage": {"values": "v"}})


def test_what_looks_like_a_mistake_is_said_with_the_table(tmp_path):
    path = write(tmp_path / "a.npz", np.full((TRIALS, STEPS * PER_MS), 300.0))
    told = mapping(unit="pA")
    told["output_spikes"] = {"threshold_mv": 60}
    silent = convert(path, tmp_path / "silent", mapping=parse_mapping(told))
    assert "not one output spike in 3 trials" in dict(summarise(silent).rows)["note"]
    told = mapping(unit="pA", sampling_hz=8)
    told["voltage"]["sampling_hz"] = 8  # kHz
    slow = convert(path, tmp_path / "slow", mapping=parse_mapping(told))
    assert dict(summarise(slow).rows)["note"].endswith("if kHz were meant, write 8000")
    voltage = np.stack([r.voltage_mv for r in recordings()])
    voltage[1, 504] = -180.0  # an artefact
    np.savez(path, v=voltage, i=np.full(voltage.shape, 300.0))
    store = convert(path, tmp_path / "seen", mapping=parse_mapping(mapping(unit="pA")))
    assert "soma runs from -180 to 20 mV" in dict(summarise(store).rows)["note"]
    write(path, np.full((TRIALS, STEPS * PER_MS), 300.0))
    for unit, told in (
        ("pA", None),
        ("nA", "current reaches 300 nA, 300 times its usual size; check its unit"),
    ):
        store = convert(path, tmp_path / unit, mapping=parse_mapping(mapping(unit=unit)))
        note = dict(summarise(store).rows).get("note")
        assert note is None if told is None else note.startswith(told)


def test_a_sampling_rate_in_khz_is_blamed_where_times_do_not_fit(tmp_path):
    trials = recordings()
    np.savez(
        tmp_path / "a.npz",
        v=np.stack([r.voltage_mv for r in trials]),
        t=np.concatenate([r.time_ms for r in trials]),
        id=np.concatenate([r.input for r in trials]),
        trial=np.repeat(np.arange(TRIALS), [len(r.time_ms) for r in trials]),
    )
    events = {"times": "t", "ids": "id", "trial": "trial", "unit": "ms", "count": 5, "inhibitory": "none"}
    told = {"inputs": events, "voltage": {"values": "v", "unit": "mV", "sampling_hz": 8}}
    with pytest.raises(DataError, match="8 Hz makes the trials that long .kHz instead of Hz"):
        convert(tmp_path / "a.npz", tmp_path / "store", mapping=parse_mapping(told))
