"""How good a surrogate is: scores of its predictions, and how sure they are."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int

from ulmus.errors import ConfigError, DataError
from ulmus.evaluation.failures import KindScores
from ulmus.evaluation.intervals import (
    FEW_TRIALS,
    LEVEL,
    MOST_RESAMPLES,
    RESAMPLES,
    intervals,
    resampled,
)
from ulmus.evaluation.metrics import SpikeMetrics, SpikeRanking, VoltageErrors
from ulmus.evaluation.predictions import Predictions, Protocol, check_fit, find_protocol, predict
from ulmus.neuron import Surrogate
from ulmus.trials import TrialSource
from ulmus.trials.overlap import Part, overlap, parts


def score(predictions: Predictions, protocol: Protocol, dt_ms: float) -> dict[str, Any]:
    """Scores over all steps that count, voltage of the first site.

    AUC and true positive rates are None where there is no spike (or nothing but spikes) to tell apart. What was not recorded,
    or is not predicted, has no scores.

    Raises:
        DataError: the protocol leaves no trial to score.
    """
    keep, skip = _counted(predictions, protocol, dt_ms)
    found: dict[str, Any] = {}
    if predictions.has_spikes:
        known = predictions.known[keep, skip:]
        spikes, logit = predictions.spikes[keep, skip:][known], predictions.logit[keep, skip:][known]
        found |= spike_scores(spikes, logit, protocol.nearest_rate)
        found["spikes"] = int(spikes.sum())
    if predictions.has_voltage:
        voltage, recorded = predictions.voltage_mv[..., 0], predictions.recorded_mv[..., 0]
        there = np.isfinite(recorded)
        if protocol.restandardise:
            # Over all steps of all trials, also those that do not count below: the authors' order.
            mean, std = voltage[there].mean(), max(float(voltage[there].std()), 1e-12)
            voltage = (voltage - mean) / std * recorded[there].std() + recorded[there].mean()
        there = there[keep, skip:]
        recorded, voltage = recorded[keep, skip:][there], voltage[keep, skip:][there]
        if there.any():
            found |= voltage_scores(recorded, voltage)
            found["mae_mv"] = float(np.abs(recorded.astype(np.float64) - voltage).mean())
    return {**found, "trials": int(keep.sum()), "protocol": protocol.name}


def site_scores(
    predictions: Predictions, protocol: Protocol, dt_ms: float, sites: Sequence[str]
) -> dict[str, dict[str, float]]:
    """``rmse_mv`` and ``explained_variance_percent`` of the voltage of every site but the first, as it was predicted.

    Raises:
        DataError: the protocol leaves no trial to score.
    """
    keep, skip = _counted(predictions, protocol, dt_ms)
    found = {}
    for column, site in enumerate(sites[1 : predictions.recorded_mv.shape[2]], 1):
        recorded, voltage = (
            values[keep, skip:, column] for values in (predictions.recorded_mv, predictions.voltage_mv)
        )
        if (there := np.isfinite(recorded)).any():
            found[site] = voltage_scores(recorded[there], voltage[there])
    return found


def signal_scores(predictions: Predictions, protocol: Protocol, dt_ms: float) -> dict[str, dict[str, Any]]:
    """``rmse`` in the unit of the signal, ``unit``, and ``explained_variance_percent`` of every further signal.

    Raises:
        DataError: the protocol leaves no trial to score.
    """
    if predictions.signals is None or predictions.recorded_signals is None:
        return {}
    keep, skip = _counted(predictions, protocol, dt_ms)
    found = {}
    for column, signal in enumerate(predictions.signal_units):
        recorded, said = (
            values[keep, skip:, column] for values in (predictions.recorded_signals, predictions.signals)
        )
        if (there := np.isfinite(recorded)).any():
            of_it = voltage_scores(recorded[there], said[there])
            explained = of_it["explained_variance_percent"]
            found[signal.name] = {
                "rmse": of_it["rmse_mv"],
                "unit": signal.unit,
                "explained_variance_percent": explained,
            }
    return found


def _counted(
    predictions: Predictions, protocol: Protocol, dt_ms: float
) -> tuple[Bool[np.ndarray, "trials"], int]:
    """Which trials count, and how many steps at the beginning of each do not."""
    keep = np.full(len(predictions.spikes), True)
    if protocol.most_spikes is not None:
        keep = predictions.spike_count <= protocol.most_spikes
    skip = round(protocol.skip_ms / dt_ms)
    if not keep.any() or not predictions.known[keep, skip:].any():
        raise DataError(
            f"protocol {protocol.name!r} leaves nothing to score: it skips {protocol.skip_ms} ms of trials that last "
            f"{predictions.spikes.shape[1] * dt_ms} ms, and keeps {int(keep.sum())} of {len(keep)} trials. "
            "Use longer trials, or protocol 'stream'."
        )
    return keep, skip


def spike_metrics(predictions: Predictions, protocol: Protocol, dt_ms: float) -> SpikeMetrics:
    """Spike times, intervals, rates and voltage between spikes, over the trials and steps that count.

    Raises:
        DataError: the protocol leaves no trial to score.
    """
    keep, skip = _counted(predictions, protocol, dt_ms)
    chosen = np.flatnonzero(keep)
    error = (predictions.voltage_mv[keep, skip:, :1] - predictions.recorded_mv[keep, skip:, :1]).astype(
        np.float64
    )
    return SpikeMetrics(
        [predictions.spike_times_ms[k] for k in chosen],
        [predictions.predicted_times_ms[k] for k in chosen],
        error[..., 0] if predictions.has_voltage else None,
        predictions.known[keep],
        skip,
        dt_ms,
    )


def scores_of_resamples(
    predictions: Predictions, protocol: Protocol, dt_ms: float
) -> Callable[[Int[np.ndarray, "trials"]], dict[str, float | None]]:
    """All scores as a function of how often every trial is taken; see `ulmus.evaluation.intervals`.

    Raises:
        DataError: the protocol leaves no trial to score.
    """
    keep, skip = _counted(predictions, protocol, dt_ms)
    of_kept: list[Callable[[Int[np.ndarray, "kept"]], dict[str, float | None]]] = []
    if predictions.has_spikes:
        of_kept.append(spike_metrics(predictions, protocol, dt_ms).at)
    of_kept.append(KindScores(predictions, keep, skip, dt_ms).at)
    ranking = voltage = None
    if predictions.has_spikes:
        spikes, logit, known = (
            part[keep, skip:] for part in (predictions.spikes, predictions.logit, predictions.known)
        )
        ranking = SpikeRanking(spikes, logit, known, protocol.nearest_rate)
    if predictions.has_voltage:
        soma = predictions.recorded_mv[..., 0], predictions.voltage_mv[..., 0]
        voltage = VoltageErrors(*soma, keep, skip, protocol.restandardise)

    def scores(counts: Int[np.ndarray, "trials"]) -> dict[str, float | None]:
        kept = counts[keep]
        found = {} if ranking is None else ranking.at(kept)
        found |= {} if voltage is None else voltage.at(counts)
        if kept.any():  # a resample may hold none of the trials that the protocol keeps
            for at in of_kept:
                found |= at(kept)
        return found

    return scores


def spike_scores(
    spikes: Bool[np.ndarray, "steps"], logit: Float32[np.ndarray, "steps"], nearest_rate: bool = False
) -> dict[str, float | None]:
    """Area under the ROC curve, and true positive rates at two small false positive rates."""
    if spikes.all() or not spikes.any():
        return {"auc": None, "tpr_at_fpr_0025": None, "tpr_at_fpr_01": None}
    false_positive, true_positive = roc_curve(spikes, logit, corners_only=nearest_rate)

    def rate_at(limit: float) -> float:
        if nearest_rate:
            return float(true_positive[np.argmin(np.abs(false_positive - limit))])
        return float(true_positive[np.searchsorted(false_positive, limit, side="right") - 1])

    return {
        "auc": float(np.trapezoid(true_positive, false_positive)),
        "tpr_at_fpr_0025": rate_at(0.0025),
        "tpr_at_fpr_01": rate_at(0.01),
    }


def roc_curve(
    spikes: Bool[np.ndarray, "steps"], logit: Float[np.ndarray, "steps"], corners_only: bool = True
) -> tuple[Float64[np.ndarray, "thresholds"], Float64[np.ndarray, "thresholds"]]:
    """False and true positive rates at every threshold, from none above it to all; or where the curve bends alone."""
    order = np.argsort(-logit, kind="stable")
    ranked, spike = logit[order], spikes[order]
    last_of_tie = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    true = np.cumsum(spike)[last_of_tie]
    false = last_of_tie + 1 - true
    if corners_only and len(true) > 2:
        bends = (np.diff(false, 2) != 0) | (np.diff(true, 2) != 0)
        corner = np.concatenate([[True], bends, [True]])
        false, true = false[corner], true[corner]
    return np.append(0, false) / false[-1], np.append(0, true) / true[-1]


def voltage_scores(
    recorded_mv: Float[np.ndarray, "steps"], voltage_mv: Float[np.ndarray, "steps"]
) -> dict[str, float]:
    """``rmse_mv``, and ``explained_variance_percent``: ``100 (1 - var(recorded - voltage) / var(recorded))``.

    Where what was recorded does not vary, 100 for a voltage that is wrong by a constant, else 0.
    """
    error = recorded_mv.astype(np.float64) - voltage_mv
    variance, left = recorded_mv.var(dtype=np.float64), error.var()
    explained = 1 - left / variance if variance else float(left == 0)
    return {
        "rmse_mv": float(np.sqrt((error**2).mean())),
        "explained_variance_percent": 100 * float(explained),
    }


class Evaluation(NamedTuple):
    """Scores of a surrogate, and how much they vary with the trials that happened to be drawn."""

    scores: dict[str, Any]
    samples: dict[str, Float64[np.ndarray, "resamples"]]
    """Scores of resamples of the trials; the same resamples for every surrogate scored on these trials."""


def evaluation(
    surrogate: Surrogate,
    trials: TrialSource,
    protocol: str = "stream",
    on_trials: Callable[[int, int], None] | None = None,
    resamples: int = RESAMPLES,
) -> Evaluation:
    """Scores of a surrogate on trials under a named protocol, with bootstrap intervals over the trials.

    Args:
        surrogate: The fitted neuron.
        trials: Trials it was not fitted to.
        protocol: See `PROTOCOLS`.
        on_trials: Called with the number of trials done and in all.
        resamples: How often trials are drawn with replacement; 0 leaves the intervals out.

    Raises:
        ConfigError: no such protocol, or a number of resamples that cannot be drawn.
        DataError: the trials do not fit the surrogate, or the protocol leaves none of them.
    """
    if not 0 <= resamples <= MOST_RESAMPLES:
        raise ConfigError(f"resamples={resamples}: expected 0 to {MOST_RESAMPLES:,}. Correct it.")
    chosen = find_protocol(protocol)
    check_fit(surrogate, trials)
    chosen = chosen.fitted_to(trials)
    predictions = predict(surrogate, trials, chosen, on_trials)
    dt_ms = trials.header.dt_ms
    at = scores_of_resamples(predictions, chosen, dt_ms)
    samples = resampled(at, len(trials), resamples) if resamples else {}
    scores: dict[str, Any] = {
        **at(np.ones(len(trials), dtype=np.int64)),
        **score(predictions, chosen, dt_ms),
        **({"spike_threshold": surrogate.spike_threshold} if predictions.has_spikes else {}),
        "skipped_ms": chosen.skip_ms,
        "parameters": surrogate.trainable_parameters(),
        "multiplications_per_step": multiplications_per_step(surrogate),
    }
    if known := seen(surrogate, trials):
        scores["seen"] = known
    if predictions.recorded_mv.shape[2] > 1:
        scores["sites"] = site_scores(predictions, chosen, dt_ms, surrogate.sites)
    if of_signals := signal_scores(predictions, chosen, dt_ms):
        scores["signals"] = of_signals
    if resamples:
        scores |= {"intervals": intervals(samples), "interval_level": LEVEL, "resamples": resamples}
    return Evaluation(scores, samples)


def multiplications_per_step(surrogate: Surrogate) -> int:
    """What one step costs with dense input: a multiplication for every entry of every matrix, trained or not.

    Neurons, LSTMs and convolutions use each of them once a step; biases and leaks are few beside them.
    """
    values = (*surrogate.parameters(), *surrogate.buffers())
    return sum(value.numel() for value in values if value.is_floating_point() and value.ndim > 1)


def seen(surrogate: Surrogate, trials: TrialSource) -> dict[str, int]:
    """How many of the trials it was fitted to (``train``) or chosen by (``validation``), as far as its card says."""
    known = surrogate.card.get("trials", {})
    counts = {
        use: sum(part.stop - part.first for part in overlap(parts(trials), (Part(*part) for part in listed)))
        for use, listed in known.items()
    }
    return {use: count for use, count in counts.items() if count}


def seen_note(scores: Mapping[str, Any]) -> str:
    """What a reader of scores must know of their trials; nothing when all were unseen."""
    known = scores.get("seen", {})
    told = [f"{known[use]} of the trials {what}" for use, what in _SEEN.items() if use in known]
    return f"{' and '.join(told)}: on unseen trials expect worse." if told else ""


def few_note(scores: Mapping[str, Any]) -> str:
    """What a reader of intervals over few trials must know; nothing when there are enough of them."""
    if "intervals" not in scores or scores["trials"] >= FEW_TRIALS:
        return ""
    count = scores["trials"]
    only = "only one trial was" if count == 1 else f"only {count} trials were"
    return f"{only} scored, so the 95 % intervals are rough and probably too narrow; score on {FEW_TRIALS} or more."


def sign_note(surrogate: Surrogate, trials: TrialSource) -> str:
    """What a reader must know of trials that excite where the neuron expects inhibition; else nothing."""
    signs, known = surrogate.input_signs
    inhibitory = signs < 0
    if not (known and inhibitory.any()) or (trials.header.input_sign[inhibitory] < 0).any():
        return ""
    return (
        f"none of its {int(inhibitory.sum())} inhibitory inputs inhibits in these trials, whose events are positive there: check "
        "`inhibitory` in the mapping, or the signs of the synapses."
    )


def rate_note(scores: Mapping[str, Any]) -> str:
    """What a reader must know of a neuron that spikes less than half as often as the recorded one; else nothing."""
    rate, predicted = scores.get("rate_hz"), scores.get("predicted_rate_hz")
    if not rate or predicted is None or predicted >= rate / 2:
        return ""
    return (
        f"it has {predicted:.3g} spikes a second where {rate:.3g} were recorded. A stretch above the threshold counts as one "
        "spike, however long it is: for rates, sum spike_probability over the steps instead."
    )


_SEEN = {
    "train": "were trained on",
    "validation": "chose the checkpoint and the spike threshold",
}


def evaluate(
    surrogate: Surrogate,
    trials: TrialSource,
    protocol: str = "stream",
    on_trials: Callable[[int, int], None] | None = None,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """Scores of a surrogate on trials under a named protocol; arguments and errors of `evaluation`.

    Returns:
        ``auc``, ``tpr_at_fpr_0025``, ``tpr_at_fpr_01``, ``rmse_mv``, ``mae_mv``, ``explained_variance_percent``, the
        spike metrics of `SpikeMetrics.at`, scores by kind of `KindScores.at`, ``trials`` and ``spikes`` that counted,
        ``protocol``, ``parameters``, ``multiplications_per_step``, ``spike_threshold``, ``sites``: error and explained
        variance at each further site where there are some, ``signals``: error, its unit and explained variance of every
        further signal where there are some, ``intervals``: low and high end for every score, and ``seen``
        where some trials were used in training: how many of them, and for what. Of answers that were not recorded or are not
        predicted there are no scores.
    """
    return evaluation(surrogate, trials, protocol, on_trials, resamples).scores
