import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from trial_examples import make_header, make_trial

from ulmus.errors import ConfigError
from ulmus.trials import StoreWriter, Windows, events_from_trials, open_trials, spike_bins, whole_trials

HEADER = make_header(50, 6, ("soma", "nexus"))
TRIALS = 7


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    writer = StoreWriter(tmp_path_factory.mktemp("windows") / "store", HEADER, TRIALS, 3)
    for index in range(TRIALS):
        writer.add(index, make_trial(HEADER, index, events=150 * (index % 3), spikes=index % 4))
    return writer.finish()


def assert_same_batch(one, other):
    for a, b in zip((*one.events, *one[1:]), (*other.events, *other[1:]), strict=True):
        assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def dense_input(trial, header, steps):
    dense = np.zeros((steps, header.inputs), np.float32)
    np.add.at(dense, (trial.event_step, trial.event_input), header.input_sign[trial.event_input])
    return dense


def assert_batch_is(batch, trials, length):
    dense = batch.events.dense().numpy()
    for row, (index, start) in enumerate(zip(batch.trial.tolist(), batch.start.tolist(), strict=True)):
        whole = trials.trial(index)
        np.testing.assert_array_equal(
            dense[row], dense_input(whole, trials.header, 50)[start : start + length]
        )
        np.testing.assert_array_equal(batch.voltage_mv[row], whole.voltage_mv[start : start + length])
        spikes = np.zeros(50)
        spikes[spike_bins(whole.spike_time_ms, 1.0, 50)] = 1
        np.testing.assert_array_equal(batch.spikes[row], spikes[start : start + length])


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 50), st.integers(1, 5), st.integers(0, 2**64 - 1), st.integers(0, 10**6), st.data())
def test_batches_hold_the_windows_of_the_plan(store, length, size, seed, k, data):
    earliest = data.draw(st.integers(0, 50 - length))
    windows = Windows(store, length, size, seed, 10**6 + 1, earliest)
    trial, start = windows.plan(3, k)
    assert ((trial >= 0) & (trial < TRIALS)).all()
    assert ((start >= earliest) & (start <= 50 - length)).all()
    batch = windows.batch(3, k)
    np.testing.assert_array_equal(batch.trial, trial)
    np.testing.assert_array_equal(batch.start, start)
    assert_batch_is(batch, store, length)
    assert batch.voltage_mv.shape == (size, length, 2)
    assert (batch.events.batch, batch.events.time, batch.events.channels) == (size, length, 6)
    dtypes = [t.dtype for t in (*batch.events[:3], *batch[1:5])]
    assert dtypes == [
        torch.int32,
        torch.int32,
        torch.float32,
        torch.float32,
        torch.float32,
        torch.int64,
        torch.int64,
    ]


def test_every_trial_and_start_is_drawn_equally_often(store):
    windows = Windows(store, 41, 8, 0, 1000, 2)
    plans = [windows.plan(epoch, k) for epoch in range(2) for k in range(1000)]
    for values, choices in (
        (np.concatenate([p[0] for p in plans]), range(7)),
        (np.concatenate([p[1] for p in plans]), range(2, 10)),
    ):
        counts = np.array([(values == choice).sum() for choice in choices])
        assert counts.sum() == 16000
        expected = 16000 / len(counts)
        # chi-squared with 6 or 7 degrees of freedom exceeds 35 once in 10^5
        assert ((counts - expected) ** 2 / expected).sum() < 35


def test_other_seed_epoch_or_number_is_another_batch(store):
    plans = [
        tuple(np.concatenate(Windows(store, 10, 16, seed, 10).plan(epoch, k)))
        for seed in (0, 1)
        for epoch in (0, 1)
        for k in range(10)
    ]
    assert len(set(plans)) == len(plans)


def test_loader_gives_the_same_batches_for_any_workers_and_from_any_point(store):
    windows = Windows(store, 20, 3, 5, 4)
    expected = [windows.batch(number // 4, number % 4) for number in range(11)]
    for first in range(12):
        batches = list(windows.loader(first, 11))
        assert len(batches) == 11 - first
        for one, other in zip(batches, expected[first:], strict=True):
            assert_same_batch(one, other)


@pytest.mark.parametrize(("workers", "first"), [(1, 0), (2, 0), (2, 3)])
def test_loader_with_processes(store, workers, first):
    windows = Windows(open_trials(store.path), 20, 3, 5, 4)
    batches = list(windows.loader(first, 11, workers))
    assert len(batches) == 11 - first
    for number, batch in enumerate(batches, first):
        assert_same_batch(batch, windows[number])


def test_whole_trials(store):
    batches = list(whole_trials(store, 3))
    assert [len(batch.trial) for batch in batches] == [3, 3, 1]
    assert torch.cat([batch.trial for batch in batches]).tolist() == list(range(TRIALS))
    for batch in batches:
        assert_batch_is(batch, store, 50)


def test_events_from_trials(store):
    whole = next(whole_trials(store, TRIALS)).events
    built = events_from_trials([store.trial(index) for index in range(TRIALS)], HEADER)
    for one, other in zip(whole, built, strict=True):
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


@pytest.mark.parametrize(
    "change",
    [
        {"window_steps": 0},
        {"window_steps": 51},
        {"window_steps": 50, "earliest_step": 1},
        {"earliest_step": -1},
        {"batch": 0},
        {"seed": -1},
        {"seed": 2**64},
        {"batches_per_epoch": 0},
    ],
)
def test_settings_that_give_no_window(store, change):
    with pytest.raises(ConfigError, match=next(iter(change))):
        Windows(store, **{"window_steps": 10, "batch": 2, "seed": 0, "batches_per_epoch": 5, **change})
    with pytest.raises(ConfigError, match="batch=0"):
        next(whole_trials(store, 0))


@pytest.mark.golden
def test_a_batch_of_reference_data_is_made_fast(reference_store):
    """Far below the milliseconds a training step takes; measured 0.2 ms on one core."""
    windows = Windows(reference_store("test_published_seed3003"), 500, 8, 0, 1000, 500)
    times = []
    for k in range(200):
        begin = time.perf_counter()
        windows.batch(0, k)
        times.append(time.perf_counter() - begin)
    assert np.median(times) < 2e-3
