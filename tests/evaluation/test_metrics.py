"""Spike metrics: hand-made cases, and a matching found another way."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching

from ulmus.evaluation.metrics import SpikeMetrics, largest_difference
from ulmus.trials.spike_matching import matched_spikes

trains = st.lists(st.integers(0, 80), max_size=12).map(
    lambda times: np.sort(np.array(times, dtype=float)) / 2
)


@given(recorded=trains, predicted=trains, tolerance=st.sampled_from([0.5, 1.0, 3.0]))
def test_as_many_pairs_as_a_maximum_matching_of_all_close_pairs(recorded, predicted, tolerance):
    pairs = matched_spikes(recorded, predicted, tolerance)
    assert all(abs(recorded[a] - predicted[b]) <= tolerance for a, b in pairs)
    assert len(set(pairs[:, 0])) == len(set(pairs[:, 1])) == len(pairs)
    close = np.abs(recorded[:, None] - predicted[None]) <= tolerance
    most = (maximum_bipartite_matching(csr_matrix(close)) >= 0).sum() if close.size else 0
    assert len(pairs) == most


def metrics_of(recorded, predicted, error=None, trials=1, steps=1000):
    error = np.zeros((trials, steps)) if error is None else error
    arrays = [[np.array(times, dtype=float) for times in part] for part in (recorded, predicted)]
    known = np.ones((trials, steps), dtype=bool)
    return SpikeMetrics(*arrays, error, known, 0, 1.0).at(np.ones(trials, dtype=int))


def test_a_burst_predicted_as_one_spike_is_one_hit():
    values = metrics_of([[100, 104, 108]], [[104.5]])
    assert values["precision_1ms"] == 1
    assert values["recall_1ms"] == pytest.approx(1 / 3)
    assert values["f1_1ms"] == pytest.approx(0.5)
    assert values["recall_5ms"] == pytest.approx(1 / 3)  # also near to all three it stands for one only


def test_early_and_late_spikes_count_within_their_tolerance():
    values = metrics_of([[100, 200, 300, 400]], [[101, 198, 304, 450]])
    assert [values[f"recall_{ms}ms"] for ms in (1, 2, 3, 5)] == [0.25, 0.5, 0.5, 0.75]
    assert values["precision_5ms"] == 0.75


def test_rates_and_intervals():
    values = metrics_of([[100, 110, 200], [50]], [[100, 120], []], trials=2)
    assert values["rate_hz"] == pytest.approx(2.0)
    assert values["predicted_rate_hz"] == pytest.approx(1.0)
    assert values["rate_correlation"] == pytest.approx(1.0)
    assert values["isi_median_ms"] == pytest.approx(50)
    assert values["predicted_isi_median_ms"] == pytest.approx(20)
    assert values["isi_distance"] == pytest.approx(
        0.5
    )  # at 10 ms half of the recorded intervals, none predicted


def test_voltage_counts_between_spikes_only():
    error = np.full((1, 1000), 2.0)
    error[0, 95:106] = 30.0  # within 5 ms of the spike
    assert metrics_of([[100]], [[100]], error)["subthreshold_rmse_mv"] == pytest.approx(2.0)
    error[0, 106] = 30.0
    assert metrics_of([[100]], [[100]], error)["subthreshold_rmse_mv"] > 2.1


def test_without_spikes_there_is_nothing_to_find():
    values = metrics_of([[]], [[]])
    assert values["precision_2ms"] is None
    assert values["recall_2ms"] is None
    assert values["isi_distance"] is None
    assert values["rate_correlation"] is None
    assert metrics_of([[]], [[7.0]])["precision_2ms"] == 0


def test_spikes_before_the_first_step_do_not_count():
    times = [np.array([40.0, 600.0])]
    known = np.ones((1, 1000), dtype=bool)
    values = SpikeMetrics(times, [np.array([40.0])], np.zeros((1, 500)), known, 500, 1.0).at(np.array([1]))
    assert values["recall_5ms"] == 0
    assert values["precision_5ms"] is None
    assert values["rate_hz"] == pytest.approx(2.0)


def test_the_distance_of_intervals_is_that_of_kolmogorov_and_smirnov():
    random = np.random.default_rng(0)
    for sizes in ((1, 1), (2, 1), (7, 30), (40, 40)):
        a, b = (random.integers(1, 30, size).astype(float) for size in sizes)
        expected = stats.ks_2samp(a, b, method="exact").statistic
        assert largest_difference(a, b) == pytest.approx(expected)
