"""Scores: against the authors' checkpoints' known ones, closed forms, and windows cut the plain way."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

import ulmus
from ulmus.errors import ConfigError, DataError
from ulmus.evaluation.predictions import (
    PROTOCOLS,
    Predictions,
    find_protocol,
    matching_threshold,
    overlapping_windows,
    predict,
)
from ulmus.evaluation.scores import evaluate, score, spike_scores
from ulmus.neuron.spikes import first_peaks, spike_logit
from ulmus.trials import events_from_trials, open_trials

# What the authors' checkpoints score on simulated trials of the published cell, from an independent evaluation.
KNOWN = [
    ("test_default_seed3001", "num_memory_20", "official", 0.9893, 0.6862, 95.26),
    ("test_default_seed3001", "best_elm_neuron", "official", 0.9937, 0.5849, 96.56),
    ("test_default_seed3001", "num_memory_1", "stream", 0.9328, 1.571, 79.56),
    ("test_default_seed3001", "num_memory_20", "stream", 0.9870, 0.7337, 95.13),
    ("test_published_seed3003", "num_memory_20", "official", 0.9903, 0.6871, 95.17),
    ("test_published_seed3003", "num_memory_50", "stream", 0.9925, 0.6283, 95.97),
]


@pytest.mark.golden
@pytest.mark.parametrize(("file", "checkpoint", "protocol", "auc", "rmse_mv", "explained"), KNOWN)
def test_the_authors_checkpoints_score_what_they_are_known_to(
    reference_store, official, file, checkpoint, protocol, auc, rmse_mv, explained
):
    surrogate = ulmus.import_official(official / "checkpoints" / checkpoint)
    scores = evaluate(surrogate, reference_store(file), protocol)
    assert scores["auc"] == pytest.approx(auc, abs=6e-5)
    assert scores["rmse_mv"] == pytest.approx(rmse_mv, abs=6e-4)
    assert scores["explained_variance_percent"] == pytest.approx(explained, abs=6e-3)


@given(seed=st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_auc_is_the_probability_of_ranking_right(seed):
    random = np.random.default_rng(seed)
    spikes = random.random(300) < 0.1
    spikes[:2] = [True, False]
    logit = (random.normal(size=300) + 2 * spikes).astype(np.float32)
    statistic = mannwhitneyu(logit[spikes], logit[~spikes]).statistic
    assert spike_scores(spikes, logit)["auc"] == pytest.approx(statistic / (spikes.sum() * (~spikes).sum()))


def test_true_positive_rate_never_exceeds_the_false_positives_allowed():
    spikes = np.zeros(10_000, dtype=bool)
    spikes[:100] = True
    logit = np.zeros(10_000, dtype=np.float32)
    logit[:40] = 3  # 40 spikes above everything
    logit[100:124] = 2  # 24 false alarms of 9,900: a rate of 0.0024
    logit[40:60] = 1.5
    logit[124:300] = 1  # 200 false alarms: 0.0202
    logit[60:100] = 0.5
    scores = spike_scores(spikes, logit)
    assert scores["tpr_at_fpr_0025"] == pytest.approx(0.6)
    assert scores["tpr_at_fpr_01"] == pytest.approx(0.6)


def test_without_spikes_the_auc_is_undefined():
    assert spike_scores(np.zeros(5, dtype=bool), np.arange(5, dtype=np.float32))["auc"] is None


@given(time=st.integers(1, 40), window=st.integers(2, 12), overlap=st.integers(0, 5), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_windows_are_cut_as_from_the_dense_array(time, window, overlap, seed):
    overlap = min(overlap, window - 1)
    random = np.random.default_rng(seed)
    dense = torch.as_tensor((random.random((2, time, 3)) < 0.4).astype(np.float32))
    rows = dense.flatten(0, 1)
    counts = (rows != 0).sum(1)
    row_start = torch.cat([torch.zeros(1), counts.cumsum(0)]).int()
    events = ulmus.Events(row_start, rows.nonzero()[:, 1].int(), torch.ones(int(counts.sum())), 2, time, 3)
    stride = window - overlap
    cut = overlapping_windows(events, window, stride).dense().view(2, -1, window, 3)
    starts = list(range(0, max(time - window, 0) + stride, stride))
    starts = starts[: cut.shape[1]]
    assert starts[-1] + window >= time
    padded = torch.cat([dense, torch.zeros(2, starts[-1] + window, 3)], dim=1)
    for position, start in enumerate(starts):
        stop = min(start + window, time)
        expected = padded[:, start : start + window].clone()
        expected[:, stop - start :] = 0
        assert torch.equal(cut[:, position], expected)


def test_windows_agree_with_streaming_where_the_memory_is_short(integrator_store):
    """A neuron that forgets within the overlap predicts the same in windows as in one stream."""
    torch.manual_seed(0)
    neuron = ulmus.ELM(12, 2, memory=4, tau_memory_ms=(1.0, 5.0), tau_synapse_ms=3.0)
    surrogate, trials = ulmus.Surrogate(neuron), open_trials(str(integrator_store))
    stream, windows = (predict(surrogate, trials, PROTOCOLS[name]) for name in ("stream", "official"))
    np.testing.assert_allclose(windows.voltage_mv, stream.voltage_mv, atol=1e-4)
    np.testing.assert_allclose(windows.probability, stream.probability, atol=1e-5)


def test_prediction_in_batches_equals_trial_by_trial(integrator_store):
    torch.manual_seed(0)
    surrogate, trials = ulmus.Surrogate(ulmus.ELM(12, 2, memory=4)), open_trials(str(integrator_store))
    together = predict(surrogate, trials, PROTOCOLS["stream"])
    alone = surrogate(events_from_trials([trials.trial(13)], trials.header)).detach()
    np.testing.assert_allclose(together.logit[13], alone[0, :, 0], atol=1e-5)


def make_predictions(spikes: np.ndarray, logit: np.ndarray) -> Predictions:
    voltage = np.random.default_rng(0).normal(-70, 3, (*spikes.shape, 1)).astype(np.float32)
    times = tuple(np.flatnonzero(row) + 1.0 for row in spikes)
    return Predictions(1 / (1 + np.exp(-logit)), logit, voltage, spikes, voltage + 1, times, times)


def test_scores_of_a_constant_error():
    random = np.random.default_rng(0)
    spikes = random.random((3, 1000)) < 0.01
    predictions = make_predictions(spikes, random.normal(size=spikes.shape).astype(np.float32))
    scores = score(predictions, PROTOCOLS["stream"], 1.0)
    assert scores["rmse_mv"] == pytest.approx(1, rel=1e-4)
    assert scores["mae_mv"] == pytest.approx(1, rel=1e-4)
    assert scores["explained_variance_percent"] == pytest.approx(100)
    assert scores["spikes"] == int(spikes[:, 500:].sum())
    official = score(predictions, PROTOCOLS["official"], 1.0)
    assert official["rmse_mv"] == pytest.approx(0, abs=1e-4)


def test_trials_with_many_spikes_count_only_in_stream():
    spikes = np.zeros((2, 1000), dtype=bool)
    spikes[0, 500:530] = True
    spikes[1, 600] = True
    predictions = make_predictions(
        spikes, np.random.default_rng(0).normal(size=spikes.shape).astype(np.float32)
    )
    assert score(predictions, PROTOCOLS["official"], 1.0)["trials"] == 1
    assert score(predictions, PROTOCOLS["stream"], 1.0)["trials"] == 2


def test_a_protocol_that_leaves_nothing_says_so():
    spikes = np.ones((2, 400), dtype=bool)
    predictions = make_predictions(spikes, np.zeros(spikes.shape, dtype=np.float32))
    with pytest.raises(DataError, match=r"400\.0 ms"):
        score(predictions, PROTOCOLS["stream"], 1.0)


def counts_of_thresholds(predictions, skip):
    """Spikes by the one rule for spikes at every threshold between two outputs, and those thresholds: by force."""
    heights = np.unique(predictions.logit.astype(np.float64))
    middles = np.append((heights[1:] + heights[:-1]) / 2, heights[-1] + 0.5)
    counts = []
    for threshold in middles:
        found = 0
        for row, known in zip(predictions.logit.astype(np.float64), predictions.known, strict=True):
            steps = np.array(first_peaks(row, threshold)[0], dtype=np.int64)
            found += int((known[steps] & (steps >= skip)).sum())
        counts.append(found)
    return middles, np.array(counts)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("rate", [0.0, 0.01, 0.1, 0.4])
def test_no_threshold_has_a_number_of_spikes_nearer_to_that_of_the_neuron(seed, rate):
    random = np.random.default_rng(seed)
    spikes = random.random((2, 150)) < rate
    smooth = np.cumsum(random.normal(size=spikes.shape), axis=1) / 4  # whose stretches run into each other
    logit = np.round(smooth + 2 * spikes, seed % 3).astype(np.float32)  # some of them equal
    known = random.random(spikes.shape) < 0.95
    predictions = replace(make_predictions(spikes & known, logit), recorded=known)
    skip, target = 20, int((spikes & known)[:, 20:].sum())
    thresholds, counts = counts_of_thresholds(predictions, skip)
    found = spike_logit(matching_threshold(predictions, skip))
    steps = [np.array(first_peaks(row, found)[0], dtype=int) for row in logit.astype(np.float64)]
    got = sum(int((row[step] & (step >= skip)).sum()) for row, step in zip(known, steps, strict=True))
    peak = np.flatnonzero(counts == counts.max())[-1]
    distance = np.abs(counts[peak:] - target)
    assert abs(got - target) == distance.min()
    higher = distance[thresholds[peak:] > found] == distance.min()
    assert (np.diff(higher.astype(int)) <= 0).all()  # none of those beyond where it changes


def test_a_threshold_is_found_where_the_count_is_not_monotone():
    """Ten spikes on a plateau as high as their valleys: at the middle of all outputs there is one stretch alone."""
    logit = np.full((1, 1000), -8.0)
    logit[0, 100:900] = 1.0
    logit[0, 140:900:80] = 2.0
    spikes = np.zeros((1, 1000), dtype=bool)
    spikes[0, 140:900:80] = True
    predictions = make_predictions(spikes, logit.astype(np.float32))
    threshold = matching_threshold(predictions, 0)
    assert 1 < spike_logit(threshold) < 2
    assert len(first_peaks(logit[0], spike_logit(threshold))[0]) == 10


def test_without_any_peak_or_spike_the_threshold_gives_none():
    rising = np.linspace(-3, 3, 100)[None].astype(np.float32)
    for logit in (rising, np.zeros((1, 100), np.float32), np.sin(rising * 9)):
        threshold = matching_threshold(make_predictions(np.zeros((1, 100), dtype=bool), logit), 0)
        assert not first_peaks(logit[0].astype(np.float64), spike_logit(threshold))[0]


def test_mismatched_data_are_named(integrator_store):
    trials = open_trials(str(integrator_store))
    with pytest.raises(DataError, match="12 inputs.*fitted with 5"):
        evaluate(ulmus.Surrogate(ulmus.ELM(5, 2, memory=3)), trials)
    with pytest.raises(DataError, match=r"1\.0 ms.*fitted with 2\.0 ms"):
        evaluate(ulmus.Surrogate(ulmus.ELM(12, 2, memory=3, dt_ms=2.0)), trials)
    with pytest.raises(DataError, match="'nexus'"):
        evaluate(ulmus.Surrogate(ulmus.ELM(12, 3, memory=3), sites=("soma", "nexus")), trials)
    with pytest.raises(ConfigError, match="Did you mean 'official'"):
        find_protocol("oficial")


def test_trials_of_the_shipped_reconstruction_are_explained_to_who_scores_a_shipped_neuron(integrator_store):
    with pytest.raises(DataError) as raised:
        evaluate(ulmus.load("l5pc-branch-20"), open_trials(str(integrator_store)))
    message = str(raised.value)
    assert message.startswith(f"{integrator_store}: the trials have 12 inputs")
    assert "--morphology cell1.asc" in message
    assert "JoinedTrials(" not in message


@pytest.mark.parametrize("corners_only", [True, False])
@pytest.mark.parametrize("levels", [1, 2, 3, 1000])
def test_roc_curves_are_those_of_scikit_learn(corners_only, levels):
    from sklearn import metrics

    from ulmus.evaluation.scores import roc_curve

    random = np.random.default_rng(levels)
    spikes = random.random(400) < 0.2
    logit = random.integers(levels, size=400).astype(np.float32)  # few levels: ties
    ours = roc_curve(spikes, logit, corners_only)
    theirs = metrics.roc_curve(spikes, logit, drop_intermediate=corners_only)[:2]
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


def test_scores_of_the_voltage_are_those_of_scikit_learn():
    from sklearn import metrics

    from ulmus.evaluation.scores import voltage_scores

    random = np.random.default_rng(0)
    recorded = random.normal(-70, 5, 1000)
    for voltage in (recorded + random.normal(1, 2, 1000), recorded + 1, np.full(1000, -70.0)):
        found = voltage_scores(recorded, voltage)
        assert found["rmse_mv"] == pytest.approx(metrics.root_mean_squared_error(recorded, voltage))
        explained = 100 * metrics.explained_variance_score(recorded, voltage)
        assert found["explained_variance_percent"] == pytest.approx(explained, abs=1e-9)
    still = np.full(9, -70.0)
    assert voltage_scores(still, still + 1)["explained_variance_percent"] == 100.0
    assert voltage_scores(still, recorded[:9])["explained_variance_percent"] == 0.0


@pytest.mark.parametrize("dt_ms", [0.5, 1.0, 4.0])
def test_plateaus_are_those_of_a_running_median(dt_ms):
    from scipy.ndimage import median_filter

    from ulmus.evaluation.failures import MEDIAN_MS, plateaus

    voltage = np.cumsum(np.random.default_rng(1).normal(0, 1, (6, 3000)), axis=1)
    voltage -= voltage.mean(axis=1, keepdims=True)
    width = 2 * round(MEDIAN_MS / dt_ms / 2 - 0.5) + 1
    above = median_filter(voltage, size=(1, width), mode="nearest") > 0
    found = plateaus(voltage, 0.0, dt_ms)
    assert found.any()
    assert not (found & ~above).any()
    # What the median is above and no plateau is shorter than one.
    for row, plateau in zip(above, found, strict=True):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], row, [0]]).astype(np.int8)))
        for start, stop in edges.reshape(-1, 2):
            assert plateau[start:stop].all() == plateau[start:stop].any() == ((stop - start) * dt_ms >= 20)
