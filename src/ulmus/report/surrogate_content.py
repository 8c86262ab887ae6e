"""From a fitted neuron, its run folder and trials to the content of its report."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Int

from ulmus.evaluation.failures import Moment, failures
from ulmus.evaluation.memory_encoding import MemoryEncoding, memory_encoding
from ulmus.evaluation.predictions import PROTOCOLS, Predictions, check_fit, predict
from ulmus.evaluation.scores import (
    roc_curve,
    score,
    scores_of_resamples,
    seen,
    seen_note,
    sign_note,
    signal_scores,
    site_scores,
)
from ulmus.files.reading import explained
from ulmus.geometry import Geometry
from ulmus.neuron import ELM, Surrogate
from ulmus.report.content import (
    AnswerTrace,
    Example,
    InputStretch,
    InputTrace,
    Learned,
    LearningCurve,
    RocCurve,
    ScoreRow,
    SurrogateContent,
)
from ulmus.training.run import Run
from ulmus.trials import TrialSource

_NO_RUN = "These weights come without a run folder, so there is no learning curve to show."
_AS_WRITTEN = "a file as training wrote it"
_HEADLINES = ("AUC", "RMSE", "Explained variance", "Trainable parameters")
_VALIDATED = {"AUC": ("auc", 1.0), "RMSE (mV)": ("rmse_mv", 1.0)}
_HARDLY, _FEW_SPIKES = 0.6, 20
_SCORES = (
    ("AUC", "auc", "", "Chance that a step with a spike ranks above one without; 0.5 is guessing."),
    ("TPR at FPR 0.0025", "tpr_at_fpr_0025", "", "Share of spikes found at 0.25 % false alarms."),
    ("TPR at FPR 0.01", "tpr_at_fpr_01", "", "Share of spikes found at 1 % false alarms."),
    ("RMSE", "rmse_mv", "mV", "Root-mean-square error of the soma voltage, spikes cut off at {clip}."),
    ("MAE", "mae_mv", "mV", "Mean absolute error of the same voltage."),
    ("Explained variance", "explained_variance_percent", "%", "Of the same voltage."),
    ("Precision, 2 ms", "precision_2ms", "", "Share of predicted spikes within 2 ms of a recorded one."),
    ("Recall, 2 ms", "recall_2ms", "", "Share of recorded spikes within 2 ms of a predicted one."),
    ("F1, 5 ms", "f1_5ms", "", "Harmonic mean of precision and recall at 5 ms."),
    ("RMSE between spikes", "subthreshold_rmse_mv", "mV", "Over steps not within 5 ms of a recorded spike."),
    ("Firing rate", "rate_hz", "Hz", "Of the detailed neuron, over the scored time."),
    ("Predicted firing rate", "predicted_rate_hz", "Hz", "Of the surrogate, at its threshold."),
    (
        "Correlation of spike counts",
        "rate_correlation",
        "",
        "Between recorded and predicted counts, over trials.",
    ),
    (
        "Distance of intervals",
        "isi_distance",
        "",
        "Kolmogorov-Smirnov distance of the inter-spike intervals.",
    ),
    ("Trainable parameters", "parameters", "", "Size of the surrogate."),
    ("Trials", "trials", "", "Trials that were scored."),
    ("Output spikes", "spikes", "", "Spikes of the detailed neuron in the scored time."),
)
_EXAMPLE_QUANTILES = (0.75, 0.95, 0.5)
"""Example trials are those with this rank in number of output spikes: a lively, a bursting and a quiet one."""

_MOMENTS = {
    "missed spikes": "Most missed spikes",
    "false spikes": "Most false spikes",
    "voltage": "Largest error of the voltage",
}


def surrogate_content(
    surrogate: Surrogate,
    trials: TrialSource,
    run: Run | None,
    evaluated_on: str,
    extra_scores: tuple[ScoreRow, ...] = (),
    geometry: Geometry | None = None,
    name: str = "fitted neuron",
) -> SurrogateContent:
    """Predict the trials (protocol ``stream``) and put together what a report shows.

    Args:
        surrogate: The fitted neuron.
        trials: Trials it was not fitted to.
        evaluated_on: Which trials these are, as a sentence for the reader.
        run: Its run folder, for learning curve, recipe and provenance; None for a neuron without one.
        extra_scores: Rows to add to the score table.
        geometry: Where the inputs lie; by default as the surrogate or the trials say.
        name: Title of the page where the card of the surrogate has no name.

    Raises:
        CheckpointError: the run folder is damaged.
        DataError: the trials do not fit the surrogate.
    """
    check_fit(surrogate, trials)
    protocol = PROTOCOLS["stream"].fitted_to(trials)
    predictions = predict(surrogate, trials, protocol)
    dt_ms = trials.header.dt_ms
    scores = scores_of_resamples(predictions, protocol, dt_ms)(np.ones(len(trials), dtype=np.int64))
    scores |= score(predictions, protocol, dt_ms)
    chosen = examples_worth_showing(_liveliness(predictions))
    failed = None
    if predictions.has_spikes or predictions.has_voltage:
        failed = failures(predictions, trials, protocol)
    named = (surrogate.card[key] for key in ("recipe", "name", "source") if surrogate.card.get(key))
    title = str(next(named, name))
    fitted = {"AUC": surrogate.spikes, "RMSE (mV)": bool(surrogate.sites)}
    validated = {label: key for label, key in _VALIDATED.items() if fitted[label]} or {"loss": ("loss", 1.0)}
    return SurrogateContent(
        title=title if run is None else run_title(title, run),
        subtitle=(
            f"{_called(surrogate)} with {surrogate.trainable_parameters():,} trainable parameters beside the "
            "detailed neuron it was fitted to."
        ),
        evaluated_on=f"{evaluated_on} {protocol.scope.capitalize()}. {seen_note({'seen': seen(surrogate, trials)})}".strip(),
        scores=(
            *score_table(scores, surrogate, _cut_share(predictions)),
            *_site_rows(site_scores(predictions, protocol, dt_ms, surrogate.sites)),
            *_signal_rows(signal_scores(predictions, protocol, dt_ms)),
            *extra_scores,
        ),
        examples=tuple(_example(surrogate, trials, predictions, index, protocol.skip_ms) for index in chosen),
        roc=_roc(predictions, scores, round(protocol.skip_ms / dt_ms)),
        learning_curve=None if run is None else learning_curve(run, validated, surrogate.card.get("step")),
        learned=_learned(surrogate, trials, geometry),
        recipe_yaml="" if run is None else run.recipe_file.read_text(encoding="utf-8"),
        provenance=_provenance(trials, run),
        notes=(
            *filter(None, [sign_note(surrogate, trials)]),
            *answers_remark(predictions),
            *auc_remark(scores),
            *divergence(run),
        ),
        **({"learning_curve_absent": _NO_RUN} if run is None else {}),
        failures=failed,
        moments=tuple(
            _moment(surrogate, trials, predictions, moment) for moment in (failed.moments if failed else ())
        ),
        memory_encoding=_memory_encoding(surrogate, trials),
    )


def _cut_share(predictions: Predictions) -> float | None:
    """Share of the recorded voltage that was cut off."""
    recorded = predictions.recorded_mv[..., :1]
    there = np.isfinite(recorded)
    return float((recorded[there] >= predictions.clip_mv).mean()) if there.any() else None


def score_table(
    scores: dict[str, Any], surrogate: Surrogate, cut_share: float | None = None
) -> tuple[ScoreRow, ...]:
    """The scores of one evaluation with how to read them."""
    found = scores | {"parameters": surrogate.trainable_parameters()}
    cut = "" if cut_share is None else f" ({100 * cut_share:.2g} % of the time)"
    clip = f"{surrogate.units.clip_mv:g} mV{cut}"
    return tuple(
        ScoreRow(label, found[key], unit, explanation.format(clip=clip), headline=label in _HEADLINES)
        for label, key, unit, explanation in _SCORES
        if key in found
    )


def answers_remark(predictions: Predictions) -> tuple[str, ...]:
    """What is not compared, because it was not recorded or not fitted."""
    found = []
    there = [
        *(["the voltage"] if predictions.has_voltage else []),
        *(["spikes"] if predictions.has_spikes else []),
        *(signal.name for signal in predictions.signal_units),
    ]
    only = f"Only {' and '.join(there)} {'is' if there != ['spikes'] and len(there) == 1 else 'are'} compared"
    if not predictions.has_spikes:
        found.append(f"{only}: spikes were not recorded, or the surrogate was not fitted to them.")
    if not predictions.has_voltage:
        found.append(f"{only}: no voltage was recorded, or the surrogate was not fitted to one.")
    missing = 1 - float(predictions.known.mean())
    if missing:
        found.append(
            f"{100 * missing:.2g} % of the time was not recorded (gaps, or the end of trials shorter than the longest) and "
            "counts for no score."
        )
    return tuple(found)


def _liveliness(predictions: Predictions) -> Int[np.ndarray, "trials"]:
    """Rank of every trial: by number of spikes or, where these are not known, by how much its voltage varies."""
    signals = predictions.recorded_signals
    if predictions.has_spikes or not (predictions.has_voltage or signals is not None):
        return predictions.spike_count
    varying = predictions.recorded_mv if predictions.has_voltage or signals is None else signals
    spread = np.nanstd(varying[..., 0], axis=1)
    return np.argsort(np.argsort(spread))


def auc_remark(scores: dict[str, Any]) -> tuple[str, ...]:
    """A remark on an area under the curve that is not that of a working fit."""
    auc, spikes = scores.get("auc"), scores.get("spikes", 0)
    if auc is None or auc >= _HARDLY:
        return ()
    uncertain = f" With only {spikes} spikes to detect, it is uncertain." if spikes < _FEW_SPIKES else ""
    if auc > 1 - _HARDLY:
        return (f"An AUC of {auc:.2f} is hardly better than guessing (0.5).{uncertain}",)
    return (
        f"An AUC of {auc:.2f} is worse than guessing (0.5): spikes come where few are predicted. Check that order and "
        f"signs of the inputs, time step and spike times of these trials are those of the training data.{uncertain}",
    )


def _site_rows(sites: dict[str, dict[str, float]]) -> Iterator[ScoreRow]:
    for site, found in sites.items():
        yield ScoreRow(f"RMSE, {site}", found["rmse_mv"], "mV", "Error of the voltage at this further site.")
        yield ScoreRow(
            f"Explained variance, {site}", found["explained_variance_percent"], "%", "Of the same voltage."
        )


def _signal_rows(signals: dict[str, dict[str, Any]]) -> Iterator[ScoreRow]:
    for name, found in signals.items():
        yield ScoreRow(
            f"RMSE, {name}", found["rmse"], found["unit"], "Root-mean-square error of this signal."
        )
        yield ScoreRow(
            f"Explained variance, {name}", found["explained_variance_percent"], "%", "Of the same signal."
        )


def run_title(recipe: str, run: Run) -> str:
    """Recipe and run folder, since a recipe can have many runs."""
    folder = run.folder.resolve()
    return f"{recipe} in {folder.parent.name}/{folder.name}"


def training_cost(run: Run) -> ScoreRow:
    """What training took, over all sessions of the run."""
    with explained(str(run.provenance_file), _AS_WRITTEN):
        sessions = run.provenance()["sessions"]
        seconds, cpu = (
            float(sum(session.get(key, 0.0) for session in sessions)) for key in ("seconds", "cpu_seconds")
        )
    return ScoreRow(
        "Training",
        round(seconds, 1),
        "s",
        f"Wall time of {run.recipe().training.steps:,} steps; {cpu:.0f} s of CPU time.",
    )


def learning_curve(
    run: Run, names: Mapping[str, tuple[str, float]], best_step: int | None
) -> LearningCurve | None:
    """Loss and validation scores over the steps of a run; None when it was too short to log any.

    Args:
        run: The run folder.
        names: Scores to show: what each is called, its key in a validation, and what its value is multiplied by.
        best_step: Step of the checkpoint that was kept.
    """
    lines = run.metrics()
    losses = [line for line in lines if "loss" in line]
    validations = [line for line in lines if "validation" in line]
    if not losses or not validations:
        return None

    def numbers(of: list[dict[str, Any]], key: str) -> np.ndarray:
        return np.array([line[key] for line in of], dtype=np.float64)  # None becomes NaN

    with explained(str(run.metrics_file), _AS_WRITTEN):
        scores = [line["validation"] for line in validations]
        return LearningCurve(
            step=np.array([line["step"] for line in losses], dtype=np.int64),
            loss=numbers(losses, "loss"),
            validation_step=np.array([line["step"] for line in validations], dtype=np.int64),
            validation={name: numbers(scores, key) * factor for name, (key, factor) in names.items()},
            best_step=best_step,
        )


def divergence(run: Run | None) -> tuple[str, ...]:
    """A remark on a run that did not come to its end."""
    found = None if run is None else run.diverged()
    return () if found is None else (f"Training diverged; shown is the best checkpoint before that: {found}",)


def examples_worth_showing(spike_count: np.ndarray) -> list[int]:
    """Trials with some, many and few output spikes, each once; the first has spikes if any has."""
    order = np.argsort(spike_count, kind="stable")
    chosen = [int(order[int(quantile * (len(order) - 1))]) for quantile in _EXAMPLE_QUANTILES]
    firing = order[spike_count[order] > 0]
    if firing.size and not spike_count[chosen[0]]:
        chosen.insert(0, int(firing[len(firing) // 2]))
    return list(dict.fromkeys(chosen))[: len(_EXAMPLE_QUANTILES)]


def _example(
    surrogate: Surrogate, trials: TrialSource, predictions: Predictions, index: int, unscored_ms: float = 0.0
) -> Example:
    trial, header = trials.trial(index), trials.header
    dt_ms, count, steps = header.dt_ms, len(trial.spike_time_ms), trials.recorded_steps(index)
    spikes, voltage = predictions.has_spikes, predictions.has_voltage
    channels = () if trial.continuous is None else zip(header.continuous, trial.continuous.T, strict=True)
    return Example(
        label=f"trial {index}: {count} {'spike' if count == 1 else 'spikes'}" if spikes else f"trial {index}",
        time_ms=np.arange(steps) * dt_ms,
        voltage_mv=trial.voltage_mv[:steps, 0] if voltage else None,
        predicted_voltage_mv=predictions.voltage_mv[index, :steps, 0] if voltage else None,
        spike_times_ms=trial.spike_time_ms if spikes else None,
        predicted_spike_times_ms=predictions.predicted_times_ms[index] if spikes else None,
        spike_probability=predictions.probability[index, :steps] if spikes else None,
        event_time_ms=trial.event_step * dt_ms,
        event_input=trial.event_input,
        input_sign=header.input_sign[: header.event_inputs],
        clip_mv=surrogate.units.clip_mv,
        spike_threshold=surrogate.spike_threshold if spikes else None,
        unscored_ms=unscored_ms,
        traces=tuple(
            InputTrace(f"{channel.name} ({channel.unit})", row[:steps]) for channel, row in channels
        ),
        answers=tuple(_answers(surrogate, predictions, index, steps)),
    )


def _answers(surrogate: Surrogate, predictions: Predictions, index: int, steps: int) -> Iterator[AnswerTrace]:
    """Voltages of further sites, cut off as they were learnt, and further signals."""
    for column, site in enumerate(surrogate.sites[1 : predictions.recorded_mv.shape[2]], 1):
        values = (part[index, :steps, column] for part in (predictions.recorded_mv, predictions.voltage_mv))
        yield AnswerTrace(f"Voltage, {site} (mV)", *values)
    if predictions.signals is None or predictions.recorded_signals is None:
        return
    for column, signal in enumerate(predictions.signal_units):
        values = (part[index, :steps, column] for part in (predictions.recorded_signals, predictions.signals))
        yield AnswerTrace(f"{signal.name} ({signal.unit})", *values)


def _moment(surrogate: Surrogate, trials: TrialSource, predictions: Predictions, moment: Moment) -> Example:
    """A stretch of a trial as an example of its own."""
    whole = _example(surrogate, trials, predictions, moment.trial)
    start, stop = moment.start_ms, moment.stop_ms

    def inside(times: np.ndarray) -> np.ndarray:
        return (times >= start) & (times < stop)

    def cut(values: np.ndarray | None) -> np.ndarray | None:
        return None if values is None else values[steps]

    def within(times: np.ndarray | None) -> np.ndarray | None:
        return None if times is None else times[inside(times)]

    steps, events = inside(whole.time_ms), inside(whole.event_time_ms)
    return replace(
        whole, label=f"{_MOMENTS[moment.reason]}: trial {moment.trial}", time_ms=whole.time_ms[steps],
        voltage_mv=cut(whole.voltage_mv), predicted_voltage_mv=cut(whole.predicted_voltage_mv),
        spike_probability=cut(whole.spike_probability), spike_times_ms=within(whole.spike_times_ms),
        predicted_spike_times_ms=within(whole.predicted_spike_times_ms),
        event_time_ms=whole.event_time_ms[events], event_input=whole.event_input[events],
        traces=tuple(trace._replace(values=trace.values[steps]) for trace in whole.traces),
        answers=tuple(trace._replace(values=trace.values[steps], predicted=trace.predicted[steps]) for trace in whole.answers),
    )  # fmt: skip


def _memory_encoding(surrogate: Surrogate, trials: TrialSource) -> MemoryEncoding | None:
    if not isinstance(surrogate.neuron, ELM) or len(trials) < 2:
        return None
    return memory_encoding(surrogate, trials)


def _roc(predictions: Predictions, scores: dict[str, Any], skip: int) -> RocCurve | None:
    if scores.get("auc") is None:
        return None
    known = predictions.known[:, skip:]
    spikes, logit = predictions.spikes[:, skip:][known], predictions.logit[:, skip:][known]
    false_positive, true_positive = roc_curve(spikes, logit)
    marks = tuple((rate, scores[key]) for rate, key in ((0.0025, "tpr_at_fpr_0025"), (0.01, "tpr_at_fpr_01")))
    return RocCurve(false_positive, true_positive, scores["auc"], marks)


def _called(surrogate: Surrogate) -> str:
    """What the model is called in a sentence."""
    if isinstance(surrogate.neuron, ELM):
        return "An Expressive Leaky Memory neuron"
    return f"A model of kind {type(surrogate.neuron).__name__}"


def _learned(surrogate: Surrogate, trials: TrialSource, geometry: Geometry | None) -> Learned | None:
    neuron = surrogate.neuron
    if not isinstance(neuron, ELM):
        return None
    groups = trials.header.settings.get("input_groups", [])
    return Learned(
        synaptic_weights=neuron.synapses.weights().detach().cpu().numpy(),
        connected=neuron.synapses.connected.cpu().numpy(), input_index=neuron.synapses.indices.cpu().numpy(),
        tau_memory_ms=neuron.tau_memory().detach().cpu().numpy(), tau_synapse_ms=neuron.tau_synapse_ms.cpu().numpy(),
        input_sign=trials.header.input_sign,
        stretches=tuple(InputStretch(group["label"], group["first"], group["stop"]) for group in groups),
        geometry=geometry or surrogate.geometry or trials.header.geometry,
    )  # fmt: skip


def _provenance(trials: TrialSource, run: Run | None) -> dict[str, str]:
    values = {"test data": "; ".join(str(entry.get("path", entry)) for entry in trials.description)}
    values["test data hash"] = trials.content_hash
    return values if run is None else values | run_provenance(run)


def run_provenance(run: Run) -> dict[str, str]:
    """What a run folder says of its data, its last session and the versions behind it."""
    with explained(str(run.provenance_file), _AS_WRITTEN):
        recorded = run.provenance()
        last = recorded["sessions"][-1]
        return {
            **{f"{name} data hash": str(digest) for name, digest in recorded["data"].items()},
            "command": " ".join(last["command"]), "machine": str(last["machine"]), "backend": str(last["backend"]),
            **{f"version of {name}": str(number) for name, number in last["versions"].items()},
        }  # fmt: skip
