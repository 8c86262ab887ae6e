"""Recordings of spikes alone, of voltage alone, with gaps and of different lengths, in several layouts."""

import h5py
import numpy as np
import pytest
from recording_examples import INHIBITORY, INPUTS, PER_MS, STEPS, TRIALS, recordings, with_trial

import ulmus
from ulmus.errors import ConfigError, DataError
from ulmus.recordings.conversion import convert
from ulmus.recordings.mapping import parse_mapping
from ulmus.report.conversion_page import summarise, write_conversion_page
from ulmus.training.fit import fit

EVENTS = {
    "times": "t",
    "ids": "id",
    "trial": "trial",
    "unit": "ms",
    "count": INPUTS,
    "inhibitory": INHIBITORY,
}
VOLTAGE = {"values": "v", "unit": "mV", "sampling_hz": 1000 * PER_MS}


def lists() -> dict[str, np.ndarray]:
    """One list of the events, and one of the spikes, of all trials."""
    trials = recordings()
    times, trial = with_trial([r.time_ms for r in trials])
    spikes, spike_trial = with_trial([r.spike_ms for r in trials])
    ids = np.concatenate([r.input for r in trials])
    return {"t": times, "trial": trial, "id": ids, "out": spikes, "out_trial": spike_trial}


def spikes_of(store) -> list[np.ndarray]:
    return [store.trial(index).spike_time_ms for index in range(len(store))]


def test_spikes_alone_of_numbered_trials(tmp_path):
    np.savez(tmp_path / "a.npz", **lists())
    mapping = {
        "inputs": EVENTS,
        "output_spikes": {"times": "out", "trial": "out_trial", "unit": "ms"},
        "trials": {"duration_ms": STEPS, "count": TRIALS},
    }
    store = convert(tmp_path / "a.npz", tmp_path / "store", mapping=parse_mapping(mapping))
    assert (store.header.sites, store.header.gaps, len(store)) == ((), False, TRIALS)
    for found, wanted in zip(spikes_of(store), recordings(), strict=True):
        np.testing.assert_array_equal(found, wanted.spike_ms)
    assert store.trial(1).event_step.size == recordings()[1].time_ms.size
    assert store.verify() == []
    summary = summarise(store)
    assert dict(summary.rows)["voltage"] == "not recorded"
    page = write_conversion_page(store, summary, "spikes", tmp_path / "page.html").read_text()
    assert f"Output spikes of the first trial: {recordings()[0].spike_ms.size}" in page


def test_spikes_alone_of_named_trials_and_of_a_cut_recording(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for index, r in enumerate(recordings()):
            file[f"sweep {index}/out"] = r.spike_ms / 1000
            file[f"sweep {index}/t"], file[f"sweep {index}/id"] = r.time_ms / 1000, r.input
        file["out"] = np.concatenate([r.spike_ms + 500.0 * k for k, r in enumerate(recordings())])
        file["t"] = np.concatenate([r.time_ms + 500.0 * k for k, r in enumerate(recordings())])
        file["id"] = np.concatenate([r.input for r in recordings()])
        file["starts"] = 500.0 * np.arange(TRIALS)
    inputs = {"ids": "id", "count": INPUTS, "inhibitory": INHIBITORY}
    named = {
        "inputs": {**inputs, "times": "sweep {trial}/t", "ids": "sweep {trial}/id", "unit": "s"},
        "output_spikes": {"times": "sweep {trial}/out", "unit": "s"},
        "trials": {"duration_ms": STEPS},
    }
    cut = {
        "inputs": {**inputs, "times": "t", "unit": "ms"},
        "output_spikes": {"times": "out", "unit": "ms"},
        "trials": {"duration_ms": STEPS, "starts": "starts", "unit": "ms"},
    }
    for name, mapping in {"named": named, "cut": cut}.items():
        store = convert(tmp_path / "a.h5", tmp_path / name, mapping=parse_mapping(mapping))
        for found, wanted in zip(spikes_of(store), recordings(), strict=True):
            np.testing.assert_allclose(found, wanted.spike_ms, atol=1e-9)


def test_spikes_alone_under_a_current_whose_trace_says_how_long_trials_are(tmp_path):
    current = np.sin(np.arange(TRIALS * STEPS) / 30).reshape(TRIALS, STEPS)
    np.savez(tmp_path / "a.npz", i=current, **lists())
    mapping = {
        "continuous": {"current": {"values": "i", "unit": "nA", "sampling_hz": 1000}},
        "output_spikes": {"times": "out", "trial": "out_trial", "unit": "ms"},
    }
    store = convert(tmp_path / "a.npz", tmp_path / "store", mapping=parse_mapping(mapping))
    assert (len(store), store.header.steps) == (TRIALS, STEPS)
    np.testing.assert_allclose(store.trial(2).continuous[:, 0], current[2], atol=1e-6)
    assert "current of the first trial (nA)" in write_conversion_page(
        store, summarise(store), "current", tmp_path / "page.html"
    ).read_text(encoding="utf-8")


def test_voltage_alone(tmp_path):
    np.savez(tmp_path / "a.npz", v=np.stack([r.voltage_mv for r in recordings()]), **lists())
    mapping = {"inputs": EVENTS, "voltage": VOLTAGE, "output_spikes": "none"}
    store = convert(tmp_path / "a.npz", tmp_path / "store", mapping=parse_mapping(mapping))
    assert not store.header.spikes
    assert not any(len(found) for found in spikes_of(store))
    np.testing.assert_array_equal(store.trial(0).voltage_mv[:, 0], recordings()[0].voltage_mv[::PER_MS])
    assert dict(summarise(store).rows)["output spikes"] == "not known"


def test_nan_and_given_intervals_are_gaps(tmp_path):
    voltage = np.stack([r.voltage_mv for r in recordings()])
    voltage[1, 100 * PER_MS : 120 * PER_MS] = np.nan
    given = {"gap_start": [30.0, 40.5], "gap_stop": [35.0, 42.25], "gap_trial": [0, 2]}
    np.savez(tmp_path / "a.npz", v=voltage, **given, **lists())
    gaps = {"starts": "gap_start", "stops": "gap_stop", "trial": "gap_trial", "unit": "ms"}
    mapping = {"inputs": EVENTS, "voltage": VOLTAGE, "gaps": gaps}
    store = convert(tmp_path / "a.npz", tmp_path / "found", mapping=parse_mapping(mapping))
    lost = [np.flatnonzero(~store.trial(index).recorded) for index in range(TRIALS)]
    np.testing.assert_array_equal(lost[0], np.arange(30, 35))
    # The bin before is interpolated towards a missing sample, or taken from the last one there is.
    assert set(range(100, 120)) <= set(lost[1]) <= set(range(99, 121))
    np.testing.assert_array_equal(lost[2], [40, 41, 42])
    assert dict(summarise(store).rows)["gaps"].endswith("% of the time was not recorded")
    # Spikes that are given are known where the voltage is not.
    mapping["output_spikes"] = {"times": "out", "trial": "out_trial", "unit": "ms"}
    store = convert(tmp_path / "a.npz", tmp_path / "given", mapping=parse_mapping(mapping))
    assert store.trial(1).recorded.all()
    assert np.isnan(store.trial(1).voltage_mv[110, 0])


def test_trials_of_different_length_in_one_store(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for index, r in enumerate(recordings()):
            kept = STEPS - 50 * index
            inside = r.time_ms < kept
            file[f"{index}/v"] = r.voltage_mv[: kept * PER_MS]
            file[f"{index}/t"], file[f"{index}/id"] = r.time_ms[inside], r.input[inside]
    inputs = {
        "times": "{trial}/t",
        "ids": "{trial}/id",
        "unit": "ms",
        "count": INPUTS,
        "inhibitory": INHIBITORY,
    }
    mapping = {"inputs": inputs, "voltage": {**VOLTAGE, "values": "{trial}/v"}}
    store = convert(tmp_path / "a.h5", tmp_path / "store", mapping=parse_mapping(mapping))
    assert (store.header.steps, store.header.gaps) == (STEPS, True)
    assert [store.recorded_steps(index) for index in range(TRIALS)] == [STEPS, STEPS - 50, STEPS - 100]
    assert np.isnan(store.trial(2).voltage_mv[-100:]).all()
    assert dict(summarise(store).rows)["trials"].startswith("3 of 100 to 200 ms")
    assert "gaps" not in dict(summarise(store).rows)  # a trial that is shorter has none
    assert store.verify() == []
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file["2/t"], file["2/id"]
        file["2/t"], file["2/id"] = [150.0], [0]
    with pytest.raises(DataError, match="holds 150 ms; expected times within the 100 ms"):
        convert(tmp_path / "a.h5", tmp_path / "other", mapping=parse_mapping(mapping))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"voltage": None, "output_spikes": "none"}, "no answer of the neuron"),
        ({"voltage": None}, "no answer of the neuron"),
        ({"voltage": None, "output_spikes": {"times": "out"}}, "give `trials` with its `duration_ms`"),
    ],
)
def test_what_a_mapping_of_less_lacks_is_said(change, message):
    values = {"inputs": EVENTS, "voltage": VOLTAGE, **change}
    with pytest.raises(ConfigError, match=message):
        parse_mapping({key: value for key, value in values.items() if value is not None})


def test_a_trace_without_any_value_and_gaps_that_are_no_pairs_are_refused(tmp_path):
    voltage = np.stack([r.voltage_mv for r in recordings()])
    voltage[1] = np.nan
    np.savez(tmp_path / "a.npz", v=voltage, **lists())
    mapping = {"inputs": EVENTS, "voltage": VOLTAGE}
    with pytest.raises(DataError, match="trial 1: v is nan at sample 0.*or NaN in gaps"):
        convert(tmp_path / "a.npz", tmp_path / "store", mapping=parse_mapping(mapping))
    np.savez(tmp_path / "b.npz", v=np.nan_to_num(voltage, nan=-70), b=[5.0], e=[4.0], **lists())
    mapping["gaps"] = {"starts": "b", "stops": "e", "unit": "ms"}
    with pytest.raises(DataError, match="a gap ends before it begins"):
        convert(tmp_path / "b.npz", tmp_path / "store", mapping=parse_mapping(mapping))


@pytest.mark.parametrize("answer", ["spikes", "voltage"])
def test_one_answer_goes_from_its_file_to_the_report(answer, tmp_path):
    np.savez(tmp_path / "a.npz", v=np.stack([r.voltage_mv for r in recordings()]), **lists())
    one = {"voltage": VOLTAGE, "output_spikes": "none"}
    if answer == "spikes":
        one = {
            "output_spikes": {"times": "out", "trial": "out_trial", "unit": "ms"},
            "trials": {"duration_ms": STEPS, "count": TRIALS},
        }
    mapping = parse_mapping({"inputs": EVENTS, **one})
    store = convert(tmp_path / "a.npz", tmp_path / "store", mapping=mapping)
    recipe = ulmus.load_recipe("auto", {"data.train": str(store.path), "training.steps": 5})
    run = fit(recipe, tmp_path / "run")
    page = ulmus.report(run.folder, str(store.path)).read_text(encoding="utf-8")
    assert ("Only spikes are compared" in page, "Only the voltage is compared" in page) == (
        answer == "spikes", answer == "voltage",
    )  # fmt: skip
