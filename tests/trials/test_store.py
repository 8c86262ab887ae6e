import json
import multiprocessing
import os
import pickle
import shutil
import time
from concurrent.futures import ProcessPoolExecutor

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trial_examples import (
    HEADER,
    assert_same_trial,
    make_header,
    make_trial,
    write_store,
)

from ulmus.trials import Store, StoreWriter, Trial, spike_bins
from ulmus.trials import shard as shard_module


@st.composite
def stored_trials(draw):
    header = make_header(
        draw(st.integers(1, 12)),
        draw(st.integers(1, 9)),
        draw(st.sampled_from([("soma",), ("soma", "nexus")])),
    )
    trials = []
    for seed in range(draw(st.integers(1, 6))):
        steps = sorted(draw(st.lists(st.integers(0, header.steps - 1), max_size=15)))
        inputs = draw(st.lists(st.integers(0, header.inputs - 1), min_size=len(steps), max_size=len(steps)))
        spikes = sorted(draw(st.lists(st.floats(0, header.steps + 0.4), max_size=4)))
        voltage = make_trial(header, seed).voltage_mv
        attributes = draw(
            st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=9) | st.none(), max_size=3)
        )
        trials.append(
            Trial(
                np.array(steps, np.int32),
                np.array(inputs, np.uint16),
                voltage,
                np.array(spikes, float),
                attributes,
            )
        )
    order = draw(st.permutations(range(len(trials))))
    return header, trials, order, draw(st.integers(1, 4)), draw(st.booleans())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stored_trials(), st.data())
def test_round_trip(tmp_path_factory, example, data):
    header, trials, order, shard_trials, known = example
    writer = StoreWriter(
        tmp_path_factory.mktemp("s") / "store", header, len(trials) if known else None, shard_trials
    )
    for index in order:
        writer.add(index, trials[index])
    store = writer.finish()
    assert len(store) == len(trials)
    assert store.header.differences(header) == []
    assert store.verify() == []
    for index, trial in enumerate(trials):
        assert_same_trial(store.trial(index), trial)
    index = data.draw(st.integers(0, len(trials) - 1))
    start = data.draw(st.integers(0, header.steps - 1))
    stop = data.draw(st.integers(start + 1, header.steps))
    window, whole = store.window(index, start, stop), trials[index]
    inside = (whole.event_step >= start) & (whole.event_step < stop)
    np.testing.assert_array_equal(window.event_step, whole.event_step[inside] - start)
    np.testing.assert_array_equal(window.event_input, whole.event_input[inside])
    np.testing.assert_array_equal(window.voltage_mv, whole.voltage_mv[start:stop])
    bins = [int(t - 0.5) for t in whole.spike_time_ms]
    expected = [t - start for t, b in zip(whole.spike_time_ms, bins, strict=True) if start <= b < stop]
    np.testing.assert_allclose(window.spike_time_ms, expected, atol=1e-12)
    assert set(spike_bins(window.spike_time_ms, 1.0, stop - start)) == {
        b - start for b in bins if start <= b < stop
    }


def test_info_counts_what_was_written(tmp_path):
    info = write_store(tmp_path / "store").info()
    trials = [make_trial(HEADER, index) for index in range(10)]
    excitatory = sum((t.event_input < 3).sum() for t in trials)
    assert info["trials"] == 10
    assert info["shards"] == 3
    assert info["output_hz"] == pytest.approx(30 / 0.5)
    assert info["silent_share"] == 0
    assert info["excitatory_events_per_second"] == pytest.approx(excitatory / 0.5)
    assert info["inhibitory_events_per_second"] == pytest.approx((2000 - excitatory) / 0.5)
    assert info["hours"] == pytest.approx(0.5 / 3600)
    assert info["bytes"] == sum(p.stat().st_size for p in (tmp_path / "store").glob("*.h5"))
    assert info["settings"] == {"purpose": "test"}


def test_a_shard_explains_itself_to_h5py(tmp_path):
    write_store(tmp_path / "store")
    with h5py.File(tmp_path / "store" / "trials-0000004-0000007.h5") as file:
        assert file["voltage_mv"].attrs["unit"] == "mV"
        assert file["voltage_mv"].attrs["dt_ms"] == 1.0
        assert file["spike_time_ms"].attrs["unit"] == "ms"
        assert file.attrs["first_trial"] == 4
        assert all(d.chunks is None and "description" in d.attrs for d in file.values())
        base, offset = file["event_base"][1], file["step_offset"][1]
        trial = make_trial(HEADER, 5)
        events = file["event_input"][base + offset[7] : base + offset[8]]
        np.testing.assert_array_equal(events, trial.event_input[trial.event_step == 7])


def test_store_travels_to_a_spawned_process(tmp_path):
    store = write_store(tmp_path / "store")
    store.trial(3)  # so that something is mapped
    copy = pickle.loads(pickle.dumps(store))
    assert copy.content_hash == store.content_hash
    # An executor says that its process died; a Pool would wait for ever.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert_same_trial(pool.submit(store.trial, 9).result(), make_trial(HEADER, 9))


def test_a_store_of_100_000_trials_opens_without_reading_a_shard(tmp_path):
    store = write_store(tmp_path / "store", trials=64, shard_trials=64)
    shard = store.path / "trials-0000000-0000063.h5"
    index = json.loads((store.path / "store.json").read_text())
    (entry,) = index["shards"]
    index["shards"] = []
    for first in range(0, 100_032, 64):
        name = f"trials-{first:07d}-{first + 63:07d}.h5"
        if first:
            os.link(shard, store.path / name)
        index["shards"].append({**entry, "file": name, "first": first})
    (store.path / "store.json").write_text(json.dumps(index))
    shard_module._layout.cache_clear()
    begin = time.perf_counter()
    large = Store(store.path)
    assert time.perf_counter() - begin < 1
    assert len(large) == 100_032
    assert shard_module._layout.cache_info().currsize == 0
    assert_same_trial(large.trial(99_999), make_trial(HEADER, 99_999 % 64))
    # More shards than files that a process may usually have open.
    begin = time.perf_counter()
    for trial in range(0, 100_032, 64):
        large.clip(trial, 0, 10)
    first_pass = time.perf_counter() - begin
    begin = time.perf_counter()
    for trial in range(0, 100_032, 64):
        large.clip(trial, 0, 10)
    assert time.perf_counter() - begin < first_pass
    shutil.rmtree(store.path)
