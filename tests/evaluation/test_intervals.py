"""Bootstrap scores: against scores of trials that are really repeated, and against known sampling distributions."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ulmus.evaluation.intervals import differences, interval, intervals, resampled
from ulmus.evaluation.predictions import PROTOCOLS, Predictions
from ulmus.evaluation.scores import score, scores_of_resamples, spike_metrics

ARRAYS = ("probability", "logit", "voltage_mv", "spikes", "recorded_mv")


def predictions_of(seed: int, trials: int, decimals: int) -> Predictions:
    """Noisy predictions; few decimals make many ties."""
    random = np.random.default_rng(seed)
    rates = random.choice([0.0, 0.01, 0.06], size=(trials, 1))  # silent trials, and some over 24 spikes
    spikes = random.random((trials, 900)) < rates
    spikes[0, 600] = True
    logit = np.round(random.normal(size=spikes.shape) + 2 * spikes, decimals).astype(np.float32)
    recorded = random.normal(-65, 4, (*spikes.shape, 1)).astype(np.float32)
    voltage = (recorded * 0.9 - 5 + random.normal(size=recorded.shape)).astype(np.float32)
    times = tuple(np.flatnonzero(row) + 1.3 for row in spikes)
    predicted = tuple(np.flatnonzero(random.random(900) < 0.01) + 1.0 for _ in spikes)
    return Predictions(1 / (1 + np.exp(-logit)), logit, voltage, spikes, recorded, times, predicted)


def repeated(predictions: Predictions, counts: np.ndarray) -> Predictions:
    """The trials written out as often as they are drawn."""
    index = np.repeat(np.arange(len(counts)), counts)
    arrays = {name: getattr(predictions, name)[index] for name in ARRAYS}
    times = {
        name: tuple(getattr(predictions, name)[k] for k in index)
        for name in ("spike_times_ms", "predicted_times_ms")
    }
    return dataclasses.replace(predictions, **arrays, **times)


@given(
    seed=st.integers(0, 10_000),
    trials=st.integers(2, 7),
    decimals=st.sampled_from([0, 1, 7]),
    name=st.sampled_from(list(PROTOCOLS)),
)
@settings(max_examples=60, deadline=None)
def test_a_resample_scores_what_its_trials_written_out_score(seed, trials, decimals, name):
    predictions, protocol = predictions_of(seed, trials, decimals), PROTOCOLS[name]
    random = np.random.default_rng(seed)
    counts = np.bincount(random.integers(trials, size=trials), minlength=trials)
    if protocol.most_spikes and not (predictions.spike_count[counts > 0] <= protocol.most_spikes).any():
        counts[:] = 1
        if not (predictions.spike_count <= protocol.most_spikes).any():
            return
    at = scores_of_resamples(predictions, protocol, 1.0)(counts)
    written_out = repeated(predictions, counts)
    plain = score(written_out, protocol, 1.0)
    for key in ("auc", "tpr_at_fpr_0025", "tpr_at_fpr_01", "rmse_mv", "mae_mv", "explained_variance_percent"):
        assert at[key] == (None if plain[key] is None else pytest.approx(plain[key], rel=1e-5, abs=1e-5)), key
    metrics = spike_metrics(written_out, protocol, 1.0)
    kept = (
        len(written_out.spikes)
        if protocol.most_spikes is None
        else int((written_out.spike_count <= protocol.most_spikes).sum())
    )
    once = metrics.at(np.ones(kept, dtype=np.int64))
    for key, value in once.items():
        assert at[key] == (None if value is None else pytest.approx(value)), key


def test_the_interval_of_a_mean_is_that_of_the_central_limit():
    values = np.random.default_rng(1).normal(3, 2, size=400)
    samples = resampled(lambda counts: {"mean": float(counts @ values) / counts.sum()}, 400, 4000)
    low, high = interval(samples["mean"])
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.05)
    assert (low + high) / 2 == pytest.approx(values.mean(), abs=0.03)


def test_what_is_hard_for_both_neurons_does_not_widen_their_difference():
    hard = np.random.default_rng(2).normal(size=100)
    first, second = (
        resampled(lambda c, k=k: {"x": float(c @ (hard + k)) / 100}, 100, 500) for k in (0.0, 0.5)
    )
    assert differences(second, first)["x"] == pytest.approx([0.5, 0.5])
    assert np.ptp(intervals(first)["x"]) > 0.3


def test_an_undefined_score_has_no_interval():
    samples = resampled(lambda counts: {"auc": None}, 5, 10)
    assert intervals(samples) == {"auc": None}
