"""A user's files become the trials that they hold, whatever their layout; what is wrong in them is said."""

import datetime
import lzma
import pickle
import shutil
import warnings

import h5py
import numpy as np
import pytest
import recording_examples as examples
from hypothesis import given
from hypothesis import strategies as st
from recording_examples import INHIBITORY, INPUTS, LAYOUTS, STEPS, recordings
from trial_examples import folder_bytes

from ulmus.errors import ConfigError, DataError
from ulmus.recordings.conversion import convert
from ulmus.recordings.event_lists import Events
from ulmus.recordings.mapping import event_bins, parse_mapping
from ulmus.report.conversion_page import summarise
from ulmus.trials import Store
from ulmus.trials.neuronio import NeuronIOFile

EVENTS = {"times": "ev/{trial}/t", "ids": "ev/{trial}/id", "unit": "ms", "count": 1, "inhibitory": "none"}
"""One input, in a table of its own."""


def assert_expected(store):
    assert store.verify() == []
    assert (store.header.steps, store.header.dt_ms, len(store)) == (STEPS, 1.0, 3)
    assert np.flatnonzero(store.header.input_sign < 0).tolist() == INHIBITORY
    for index, recording in enumerate(recordings()):
        trial = store.trial(index)
        order = np.lexsort((recording.input, recording.time_ms.astype(int)))
        np.testing.assert_array_equal(trial.event_step, recording.time_ms[order].astype(int))
        np.testing.assert_array_equal(trial.event_input, recording.input[order])
        np.testing.assert_array_equal(trial.voltage_mv[:, 0], recording.voltage_mv[:: examples.PER_MS])
        np.testing.assert_allclose(trial.spike_time_ms, recording.spike_ms, rtol=0, atol=1e-9)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_becomes_the_same_trials(layout, tmp_path):
    files, mapping = layout(tmp_path)
    checked, written = [], []
    store = convert(
        files,
        tmp_path / "store",
        mapping=mapping,
        on_check=lambda *n: checked.append(n),
        on_trial=lambda *n: written.append(n),
    )
    assert checked == written == [(1, 3), (2, 3), (3, 3)]
    assert_expected(store)


def test_a_true_nwb_file(tmp_path):
    pynwb = pytest.importorskip("pynwb", reason="pynwb, which writes true NWB files, is not installed")
    (path,), mapping = examples.nwb_session(tmp_path)
    with h5py.File(path) as file:
        ends, times = file["units/spike_times_index"][()].astype(int), file["units/spike_times"][()]
        trace, starts = file["acquisition/soma/data"][()], file["intervals/trials/start_time"][()]
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    session = pynwb.NWBFile("example", "example", start)
    for entry in np.split(times, ends)[:-1]:
        session.add_unit(spike_times=entry)
    for begin in starts:
        session.add_trial(start_time=begin, stop_time=begin + 0.2)
    soma = pynwb.TimeSeries(
        name="soma", data=trace, unit="volts", rate=8000.0, starting_time=0.5, conversion=0.001
    )
    session.add_acquisition(soma)
    with pynwb.NWBHDF5IO(tmp_path / "true.nwb", "w") as io:
        io.write(session)
    assert_expected(convert(tmp_path / "true.nwb", tmp_path / "store", mapping=mapping))


@pytest.mark.golden
def test_the_published_simulations_from_their_fine_traces(reference_data, tmp_path):
    """What a mapping makes of 8 samples per ms and lists per segment is what the published 1-ms values are."""
    (path,) = (reference_data / "golden" / "l5pc").glob("sim__*")
    with warnings.catch_warnings(), lzma.open(path) as stream:
        warnings.simplefilter("ignore")
        simulations = pickle.load(stream, encoding="latin1")["Results"]["listOfSingleSimulationDicts"]
    with h5py.File(tmp_path / "l5pc.h5", "w") as file:
        for index, simulation in enumerate(simulations):
            file[f"{index}/v"] = simulation["somaVoltageHighRes"].ravel()
            for kind in ("ex", "inh"):
                for segment, times in simulation[f"{kind}InputSpikeTimes"].items():
                    file[f"{index}/{kind}/{segment}"] = np.asarray(times, dtype=np.int32)
    group = {"unit": "ms", "count": 639}
    mapping = parse_mapping(
        {
            "inputs": [
                {"times": "{trial}/ex/{input}", "inhibitory": "none", **group},
                {"times": "{trial}/inh/{input}", "inhibitory": "all", **group},
            ],
            "voltage": {"values": "{trial}/v", "unit": "mV", "sampling_hz": 8000},
        }
    )
    store, published = convert(tmp_path / "l5pc.h5", tmp_path / "store", mapping=mapping), NeuronIOFile(path)
    assert len(store) == len(published) == 2
    for index in range(2):
        ours, theirs = store.trial(index), published.trial(index)
        for key in ("event_step", "event_input", "voltage_mv"):
            np.testing.assert_array_equal(getattr(ours, key), getattr(theirs, key), err_msg=key)
        np.testing.assert_array_equal(ours.spike_time_ms.astype(np.float16), theirs.spike_time_ms)


def test_slices_several_files_and_other_bins(tmp_path):
    (path,), mapping = examples.hdf5_rows(tmp_path)
    shutil.copy(path, tmp_path / "rows2.h5")
    values = {**mapping.model_dump(exclude_unset=True), "dt_ms": 0.5}
    values["voltage"] = {**values["voltage"], "at": "end"}
    values["sites"] = {"dendrite": {"values": "v", "sampling_hz": 8000}}
    store = convert(f"{tmp_path}/rows*.h5[1:]", tmp_path / "store", mapping=parse_mapping(values))
    assert (len(store), store.header.sites, store.header.steps) == (4, ("soma", "dendrite"), 400)
    voltage = recordings()[2].voltage_mv
    expected = np.append(
        voltage[4::4], voltage[-1]
    )  # the last bin ends an eighth of a ms after the last sample
    np.testing.assert_array_equal(store.trial(3).voltage_mv[:, 0], expected)
    np.testing.assert_array_equal(store.trial(3).voltage_mv[:, 1], voltage[::4])
    assert store.trial(3).event_step.tolist() == (recordings()[2].time_ms // 0.5).tolist()


def test_an_interrupted_conversion_goes_on(tmp_path):
    files, mapping = examples.csv_folders(tmp_path)

    def stop(done, total):
        raise KeyboardInterrupt

    convert(files, tmp_path / "whole", mapping=mapping)
    with pytest.raises(KeyboardInterrupt):
        convert(files, tmp_path / "store", mapping=mapping, on_trial=stop)
    convert(files, tmp_path / "store", mapping=mapping)
    assert folder_bytes(tmp_path / "store") == folder_bytes(tmp_path / "whole")


def test_noise_on_a_spike_is_one_spike_and_a_flat_top_counts(tmp_path):
    voltage = np.full(100, -70.0)
    voltage[10:17] = [0, 20, 10, 15, 30, 5, 8]  # three maxima within a ms
    voltage[50:53] = 25.0  # as a converter at its limit leaves it
    voltage[80] = -30.0
    np.savez(tmp_path / "a.npz", v=voltage, t=np.array([1.0]), i=np.array([0]))
    values = {
        "inputs": {"times": "t", "ids": "i", "unit": "ms", "count": 1, "inhibitory": "none"},
        "voltage": {"values": "v", "unit": "mV", "sampling_hz": 10_000},
    }
    for settings, expected in (
        ({}, [1.4, 5.0]),
        ({"refractory_ms": 0}, [1.1, 1.4, 1.6, 5.0]),
        ({"threshold_mv": -40}, [1.4, 5.0, 8.0]),
    ):
        mapping = parse_mapping({**values, "output_spikes": settings})
        store = convert(tmp_path / "a.npz", tmp_path / f"store{len(expected)}", mapping=mapping)
        np.testing.assert_allclose(store.trial(0).spike_time_ms, expected)


@given(
    bins=st.lists(st.integers(0, 100_000), min_size=1),
    dt_ms=st.sampled_from([1.0, 0.5, 0.1, 0.025]),
    scale=st.sampled_from([1000.0, 1.0, 0.001]),
    inside=st.floats(0, 0.99),
    kind=st.sampled_from([np.float64, np.float32]),
)
def test_events_fall_into_the_bin_that_they_were_made_in(bins, dt_ms, scale, inside, kind):
    """Also after a round trip through seconds or microseconds, and through single precision at a bin's edge."""
    stored = (np.array(bins) + inside) * dt_ms / scale
    if kind is np.float32:
        stored = (np.array(bins) % 5000 * dt_ms / scale).astype(kind)
        bins = np.array(bins) % 5000
    rounding_ms = float(np.spacing(stored.max())) * scale
    found = event_bins(stored.astype(np.float64) * scale, dt_ms, rounding_ms)
    np.testing.assert_array_equal(found, bins)


def changed(arrays, key, change):
    array = arrays[key].astype(float) if key in arrays else np.empty(0)
    arrays[key] = change(array)


def put(at, value):
    def change(array):
        array[at] = value
        return array

    return change


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("t", put(7, -0.001), r"trial 0: t falls from .* ascending"),
        ("t", put(0, -0.001), "trial 0: t holds -1 ms; expected times from 0"),
        (
            "t",
            put(59, 0.2),
            r"trial 0: t holds 200 ms; expected times within the 200 ms of the voltage; correct",
        ),
        ("t", put(3, np.nan), "t holds nan at entry 3"),
        ("t", lambda t: t * 1000, "thousandth"),
        ("t", lambda t: t / 1000, "all 180 times in t lie in the first .* check `unit`"),
        ("t", lambda t: t[:-1], "id has 180 entries .* t 179"),
        ("t", lambda t: t.reshape(2, -1), r"t has shape \(2, 90\); expected one list"),
        ("id", put(5, 5), r"trial 0: id names input 5; expected 0 to 4"),
        ("id", put(5, -1), "id names input -1"),
        ("id", put(5, 0.5), "id holds 0.5; expected whole numbers"),
        ("trial", put(5, 3), "trial holds trial 3; expected 0 to 2"),
        ("spike", put(0, 201.0), "trial 0: spike holds 201 ms"),
        ("spike", put(1, 40.0), "trial 1: spike falls from 40 to 35"),
        ("v", put((1, 9), np.inf), "trial 1: v is inf at sample 9"),
        ("v", lambda v: v / 1000, r"v runs from -0.07 to 0.02 mV; .*looks like V: declare `unit: V`"),
        ("v", lambda v: v * 1000, r"looks like uV"),
        ("v", lambda v: v * 0, "expected a membrane voltage"),
        ("v", lambda v: v[None], r"v has shape \(1, 3, 1600\)"),
        ("v", lambda v: v[:, :0], r"v has shape \(3, 0\)"),
    ],
)
def test_wrong_numbers_are_named_and_nothing_is_written(key, change, message, tmp_path):
    trials = recordings()
    arrays = {"v": np.stack([r.voltage_mv for r in trials]), "id": np.concatenate([r.input for r in trials])}
    arrays["t"], arrays["trial"] = examples.with_trial([r.time_ms / 1000 for r in trials])
    arrays["spike"], arrays["spike_trial"] = examples.with_trial([r.spike_ms for r in trials])
    changed(arrays, key, change)
    np.savez(tmp_path / "a.npz", **arrays)
    mapping = parse_mapping(
        {
            "inputs": {
                "times": "t",
                "ids": "id",
                "trial": "trial",
                "unit": "s",
                "count": INPUTS,
                "inhibitory": [4],
            },
            "voltage": {"values": "v", "unit": "mV", "sampling_hz": 8000},
            "output_spikes": {"times": "spike", "trial": "spike_trial", "unit": "ms"},
        }
    )
    with pytest.raises(DataError, match=rf"a\.npz.*{message}"):
        convert(tmp_path / "a.npz", tmp_path / "store", mapping=mapping)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("part", "change", "error", "message"),
    [
        (
            "inputs",
            {"times": "in/time"},
            DataError,
            r"no key 'in/time'; expected one of .*Did you mean 'in/t",
        ),
        ("inputs", {"times": "run {trial}"}, DataError, "no key 'run {trial}'"),
        ("inputs", {"ids": None}, ConfigError, "name its key in the mapping with `ids`"),
        ("inputs", {"trial": None}, ConfigError, "there are 3 trials; .*with `trial`"),
        ("inputs", {"unit": None}, ConfigError, "does not say the unit of the times in /in/t"),
        (
            "inputs",
            {"inhibitory": ["7"]},
            ConfigError,
            "inhibitory inputs of /in/t: '7' reaches beyond 1 to 5",
        ),
        ("inputs", {"times": "text"}, DataError, "text holds .*; expected numbers"),
        ("voltage", {"sampling_hz": None}, ConfigError, "does not say when /v was sampled"),
        ("voltage", {"values": "raw", "unit": None}, ConfigError, "unknown unit.*looks like V"),
        (
            "voltage",
            {"sampling_hz": None, "times": "in/id", "time_unit": "s"},
            DataError,
            "180 entries for 1600",
        ),
        ("trials", {"duration_ms": 100}, ConfigError, "holds several traces"),
        (
            "sites",
            {"far": {"values": "v", "sampling_hz": 9000}},
            DataError,
            "v runs from 0 to 177.778 ms, the trial",
        ),
    ],
)
def test_a_mapping_that_does_not_fit_its_file(part, change, error, message, tmp_path):
    (path,), mapping = examples.hdf5_rows(tmp_path)
    with h5py.File(path, "a") as file:
        file["text"], file["raw"] = ["words"], file["v"][()]
    values = mapping.model_dump(exclude_unset=True)
    values["inputs"] = dict(values["inputs"][0])
    if part in ("trials", "inputs"):
        values["inputs"].pop("trial") if part == "trials" else None
        values.pop("output_spikes")
    values[part] = {k: v for k, v in {**values.get(part, {}), **change}.items() if v is not None}
    with pytest.raises(error, match=message):
        convert(path, tmp_path / "store", mapping=parse_mapping(values))
    assert not (tmp_path / "store").exists()


def test_a_clock_that_runs_on_through_all_sweeps(tmp_path):
    """Sweeps with the time of the session, a protocol with a clock of its own, events on the clock of the session."""
    (folder,), mapping = examples.csv_tables(tmp_path)
    later_s = {7: 0.5, 8: 12.0, 9: 33.3}
    for name, unit in (("events", 1000), ("soma", 1), ("spikes", 1000)):
        lines = (folder / f"{name}.csv").read_text().splitlines()
        names = lines[0].split(",")
        time, sweep = (
            next(k for k, found in enumerate(names) if found.startswith(what)) for what in ("time", "sweep")
        )
        table = [line.split(",") for line in lines[1:]]
        for row in table:
            row[time] = repr(float(row[time]) + unit * later_s[int(row[sweep])])
        (folder / f"{name}.csv").write_text("\n".join([lines[0], *map(",".join, table)]))
    (folder / "protocol.csv").write_text("\n".join(["i", *map(str, range(20))]))
    values = mapping.model_dump(exclude_unset=True)
    values["continuous"] = {
        "current": {"values": "protocol/i", "unit": "nA", "sampling_hz": 100, "scale": 10}
    }
    values["trial_start"] = "first_sample"
    store = convert(folder, tmp_path / "store", mapping=parse_mapping(values))
    for index, recording in enumerate(recordings()):
        trial = store.trial(index)
        order = np.lexsort((recording.input, recording.time_ms.astype(int)))
        np.testing.assert_array_equal(trial.event_step, recording.time_ms[order].astype(int))
        np.testing.assert_array_equal(trial.voltage_mv[:, 0], recording.voltage_mv[:: examples.PER_MS])
        np.testing.assert_allclose(trial.spike_time_ms, recording.spike_ms, rtol=0, atol=1e-9)
        np.testing.assert_allclose(trial.continuous[:, 0], np.minimum(np.arange(200) / 10, 19), rtol=1e-6)
        assert trial.attributes["start_ms"] == pytest.approx(1000 * later_s[7 + index])
    values.pop("trial_start")
    with pytest.raises(DataError, match="begin at 0 ms unless the mapping says `trial_start: first_sample`"):
        convert(folder, tmp_path / "other", mapping=parse_mapping(values))


def test_rows_that_were_left_out_are_said_and_sweeps_of_one_number_are_not_joined(tmp_path):
    (folder,), mapping = examples.csv_tables(tmp_path)
    header, *rows = (folder / "soma.csv").read_text().splitlines()
    left = [row for number, row in enumerate(rows) if not 100 <= number < 400]
    (folder / "soma.csv").write_text("\n".join([header, *left]))
    store = convert(folder, tmp_path / "store", mapping=mapping)
    assert [store.trial(k).attributes.get("samples_apart_ms") for k in range(3)] == [301 / 8, None, None]
    assert "in 1 trials samples of the voltage are up to 37.62 ms apart" in " ".join(
        map(" ".join, summarise(store).rows)
    )
    (folder / "soma.csv").write_text("\n".join([header, *rows, *rows]))
    values = mapping.model_dump(exclude_unset=True)
    values["voltage"] = {"values": "soma/{trial}/v", "unit": "mV", "sampling_hz": 8000}
    with pytest.raises(DataError, match="rows of other trials lie between those of soma/7/v"):
        convert(folder, tmp_path / "other", mapping=parse_mapping(values))


def test_a_current_of_the_whole_session_is_read_on_its_clock(tmp_path):
    for name, rows in (
        ("soma", [f"{s},{t},-70" for s, start in ((1, 0), (2, 100)) for t in range(start, start + 20)]),
        ("ev", ["1,3,0", "2,103,0"]),
        ("gaps", ["2,105,107"]),
    ):
        names = {"soma": "sweep,t,v", "ev": "sweep,t,id", "gaps": "sweep,from,to"}[name]
        (tmp_path / f"{name}.csv").write_text("\n".join([names, *rows]))
    values = {
        "trial_column": "sweep",
        "trial_start": "first_sample",
        "inputs": EVENTS,
        "continuous": {
            "i": {"values": "cur/i", "times": "cur/t", "time_unit": "ms", "unit": "nA", "scale": 100}
        },
        "voltage": {"values": "soma/{trial}/v", "unit": "mV", "times": "soma/{trial}/t", "time_unit": "ms"},
        "output_spikes": "none",
        "gaps": {"starts": "gaps/{trial}/from", "stops": "gaps/{trial}/to", "unit": "ms"},
    }
    for number, (last, expected) in enumerate(((120, 100), (20, 0), (60, None))):
        (tmp_path / "cur.csv").write_text(
            "\n".join(["t,i", *(f"{t},{t}" for t in range(-5 * (number == 2), last))])
        )
        if expected is None:
            with pytest.raises(
                DataError, match="cur/i runs from -5 to 60 ms, through some trials and not through others"
            ):
                convert(tmp_path, tmp_path / "no", mapping=parse_mapping(values))
            continue
        second = convert(tmp_path, tmp_path.parent / f"store{number}", mapping=parse_mapping(values)).trial(1)
        assert second.continuous[:, 0].tolist() == [expected + k for k in range(20)]
        assert second.event_step.tolist() == [3]
        assert np.flatnonzero(~second.recorded).tolist() == [5, 6]


def test_subtracting_the_beginning_of_a_trial_does_not_put_events_before_it():
    one = Events("t", np.array([12100.0 - 1e-9]), np.array([0]), None, 0.0)
    assert one.of_trial(0, "here", 12100.0).time_ms.tolist() == [0]
    with pytest.raises(DataError, match="holds 12000 ms; expected times from 12100 on"):
        one._replace(time_ms=np.array([12000.0])).of_trial(0, "here", 12100.0)


def test_tables_that_number_trials_otherwise_are_refused_and_rows_beyond_are_said(tmp_path):
    (folder,), mapping = examples.csv_tables(tmp_path)
    header, *rows = (folder / "events.csv").read_text().splitlines()
    (folder / "events.csv").write_text("\n".join([header, *rows, "12,3.5,0"]))
    store = convert(folder, tmp_path / "store", mapping=mapping)
    assert "events has rows of 1 trials without a voltage, such as 12, which are left out" in str(
        summarise(store).rows
    )
    (folder / "events.csv").write_text("\n".join([header, *("s" + row for row in rows)]))
    with pytest.raises(
        DataError, match="events/ has the trials s7, s8, s9, the voltage has 7, 8, 9; expected the same"
    ):
        convert(folder, tmp_path / "other", mapping=mapping)


def test_of_spikes_alone_silent_sweeps_are_trials_too(tmp_path):
    (tmp_path / "ev.csv").write_text("sweep,t,id\n" + "".join(f"{s},{s}.5,0\n" for s in range(1, 6)))
    (tmp_path / "spikes.csv").write_text("sweep,t\n1,4\n3,5\n3,7\n")
    values = {
        "trial_column": "sweep",
        "inputs": EVENTS,
        "output_spikes": {"times": "spikes/{trial}/t", "unit": "ms"},
        "trials": {"duration_ms": 20, "count": 5},
    }
    store = convert(tmp_path, tmp_path.parent / "alone", mapping=parse_mapping(values))
    assert [store.trial(k).spike_time_ms.tolist() for k in range(len(store))] == [[4], [], [5, 7], [], []]
    values["trials"]["count"] = 4
    with pytest.raises(ConfigError, match="has 5 trials, `count` says 4"):
        convert(tmp_path, tmp_path.parent / "other", mapping=parse_mapping(values))


def test_the_range_of_a_current_is_that_of_the_trials(tmp_path):
    rows = [(1, t, "nan" if 5 <= t < 9 else -70, 50 if t == 6 else 30) for t in range(20)]
    rows += [(2, t, -70, 20) for t in range(10)]  # what is behind its end is stored as 0
    (tmp_path / "a.csv").write_text(
        "\n".join(["sweep,t (ms),v (mV),i (nA)", *(",".join(map(str, row)) for row in rows)])
    )
    values = {
        "trial_column": "sweep",
        "continuous": {"i": {"values": "{trial}/i (nA)", "times": "{trial}/t (ms)", "scale": 30}},
        "voltage": {"values": "{trial}/v (mV)", "times": "{trial}/t (ms)"},
    }
    store = convert(tmp_path / "a.csv", tmp_path / "store", mapping=parse_mapping(values))
    assert ("i", "20 to 50 nA, usual size 30 nA") in summarise(store).rows


def test_pauses_between_trials_are_not_within_them(tmp_path):
    times = [start + t / 10 for start in (0, 1000, 2000) for t in range(300)]
    (tmp_path / "a.csv").write_text("\n".join(["t (ms),v (mV),i (nA)", *(f"{t},-70,1" for t in times)]))
    (tmp_path / "starts.csv").write_text("s (ms)\n0\n1000\n2000\n")
    values = {
        "continuous": {"i": {"values": "a/i (nA)", "times": "a/t (ms)"}},
        "voltage": {"values": "a/v (mV)", "times": "a/t (ms)"},
        "trials": {"duration_ms": 30, "starts": "starts/s (ms)"},
    }
    store = convert(tmp_path, tmp_path / "store", mapping=parse_mapping(values))
    assert [store.trial(k).attributes.get("samples_apart_ms") for k in range(3)] == [None] * 3


def test_sweeps_are_told_by_their_column_alone(tmp_path):
    (folder,), mapping = examples.csv_tables(tmp_path)
    values = mapping.model_dump(exclude_unset=True)
    for part, change in (
        ("output_spikes", {"times": "spikes/time", "trial": "spikes/sweep"}),
        ("inputs", {**values["inputs"][0], "times": "events/time (ms)", "trial": "events/sweep"}),
        ("gaps", {"starts": "gaps/a", "stops": "gaps/b", "trial": "gaps/sweep"}),
    ):
        with pytest.raises(
            ConfigError, match="both `trial_column`, which names trials as the file does, and `trial`"
        ):
            parse_mapping({**values, part: change})
    header, *rows = (folder / "spikes.csv").read_text().splitlines()
    (folder / "spikes.csv").write_text("\n".join([header, *(row for row in rows if not row.endswith(",8"))]))
    (folder / "meta.csv").write_text("sweep,day\n7,1\n8,1\n9,2\n10,2\n")  # one that was not recorded
    store = convert(folder, tmp_path / "store", mapping=mapping)
    assert [store.trial(k).spike_time_ms.size for k in range(len(store))] == [1, 0, 3]


def test_files_that_do_not_fit(tmp_path):
    (path, *others), mapping = examples.csv_folders(tmp_path)
    soma = others[1] / "soma.csv"
    soma.write_text("\n".join(soma.read_text().splitlines()[:1000]) + "\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.npz").write_bytes(b"nothing of that kind")
    (tmp_path / "a.dat").write_bytes(b"nothing of that kind")
    (tmp_path / "b.h5").write_bytes(b"nothing of that kind")
    (tmp_path / "a.csv").write_text("1,2\n3,4\n")
    for source, message in [
        (
            tmp_path / "cell *",
            r"cell 2, trial 0: events/time .* holds 198.5 ms; expected times within the 124 ms",
        ),
        (tmp_path / "empty", r"without \.csv and \.tsv files"),
        (tmp_path / "a.npz", "cannot be read"),
        (tmp_path / "b.h5", "cannot be read"),
        (tmp_path / "a.dat", "give `format`"),
        (tmp_path / "a.csv", "expected names of columns"),
    ]:
        with pytest.raises(DataError, match=message):
            convert(source, tmp_path / "store", mapping=mapping)
    (path / "spikes.csv").write_text("time\n3.5\nlate\n")
    with pytest.raises(DataError, match=r"spikes/time cannot be read \(could not convert string 'late'"):
        convert(path, tmp_path / "store", mapping=mapping)
    (path / "spikes.csv").write_text("time\n")
    assert convert(path, tmp_path / "store", mapping=mapping).trial(0).spike_time_ms.size == 0
    with pytest.raises(ConfigError, match="begun with other settings"):
        convert(others[0], tmp_path / "store", mapping=mapping)
    assert len(Store(tmp_path / "store")) == 1
