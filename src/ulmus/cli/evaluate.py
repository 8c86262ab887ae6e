"""``ulmus evaluate``."""

import json as json_format
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from torch import nn

from ulmus.cli.console import (
    console,
    interval_text,
    print_table,
    progress,
    say,
    score_rows,
    score_text,
    site_rows,
)
from ulmus.errors import ConfigError, DataError
from ulmus.evaluation.intervals import RESAMPLES, differences
from ulmus.evaluation.predictions import PROTOCOLS, check_fit
from ulmus.evaluation.scores import Evaluation, few_note, rate_note, seen_note, sign_note
from ulmus.files.writing import write_json
from ulmus.neuron import Classifier, Predictor, Surrogate, load, load_surrogate
from ulmus.training.run import Run
from ulmus.training.scoring import score_held_out, score_trials
from ulmus.trials import open_trials

COMPARED: tuple[dict[str, str], ...] = (
    {"auc": "AUC", "tpr_at_fpr_01": "TPR at .01", "rmse_mv": "RMSE mV"},
    {"f1_2ms": "F1 2 ms", "rate_correlation": "spike counts r", "isi_distance": "intervals KS"},
    {"accuracy": "accuracy", "rate_hz": "rate Hz", "predicted_rate_hz": "predicted Hz"},
    {"balanced_accuracy": "balanced", "rmse": "RMSE", "r2": "R2", "bits_per_token": "bits per token"},
)
"""Scores of several models or data sets: tables that fit into 80 columns, and what stands above the numbers."""


def evaluate(
    *models: Path,
    data: list[str] | None = None,
    each: bool = False,
    protocol: str = "stream",
    split: Literal["validation", "test"] = "test",
    threshold_on: list[str] | None = None,
    resamples: int = RESAMPLES,
    json: bool = False,
) -> None:
    """Score fitted neurons on trials, or models of sequences on the sequences that their task holds out.

    Several models are compared with the first of them on the same trials.

    Args:
        models: Run folders, saved surrogates, shipped neurons, or authors' checkpoint folders.
        data: Stores, with optional pattern and slice: 'trials_*[96:]'. Given several times, they are
            one set of trials. For a model of sequences: the folder of its task or a file, if not the one in its recipe.
        each: Score every --data by itself instead, for example to see whether a fit fires at the right rate and with the
            right intervals under other input.
        protocol: For trials: stream (whole trials from rest, raw millivolts) or official (the authors' windows and
            rescaling). Both leave the first 500 ms of every trial, of short ones under stream half, out of all scores, rates
            and spike counts.
        split: For a model of sequences: test, or validation, which chose its best checkpoint.
        threshold_on: Trials on which the threshold for spike times is chosen (as many spikes as were recorded); by
            default the one that training chose on its validation trials.
        resamples: For trials: draws of the bootstrap behind the 95 % intervals; 0 leaves them out.
        json: Print JSON.
    """
    if not models:
        raise ConfigError(
            "no model was given; expected a run folder, a saved surrogate, or a shipped neuron."
        )
    if each and not data:
        raise ConfigError("--each scores every --data by itself, but no trials were given; expected --data.")
    results: list[dict[str, Any]] = []
    models_loaded = [(model, load(model)) for model in models]
    sets = [[spec] for spec in data or []] if each else [data or []]
    for specs in sets:  # before the time of scoring is spent, not after
        _check_all(models_loaded, specs)
    for specs in sets:
        first: Evaluation | None = None
        for model, loaded in models_loaded:
            if isinstance(loaded, Classifier | Predictor):
                result = _score_held_out(loaded, model, split, next(iter(specs), None))
            else:
                found = _score_trials(loaded, model, specs, protocol, threshold_on, resamples)
                result = {**found.scores, "model": str(model), "data": specs}
                if first is not None and resamples:
                    result["difference_to_first"] = differences(found.samples, first.samples)
                first = first or found
            if Run(model).exists() and not each:
                record(Run(model), result)
            results.append(result)
    if json:
        console.print_json(json_format.dumps(results[0] if len(results) == 1 else results))
    elif len(results) == 1:
        print_table(f"{models[0]}, {_what(results)}", score_rows(results[0]) + site_rows(results[0]))
    else:
        _print_comparison(results)


def _check_all(models: list[tuple[Path, nn.Module]], data: list[str]) -> None:
    """Whether every model can be scored on the data."""
    of_sequences = [pair for pair in models if isinstance(pair[1], Classifier | Predictor)]
    neurons = [pair for pair in models if pair not in of_sequences]
    if of_sequences and data:
        _check_place(*of_sequences[0], data, alone=not neurons)
    trials = open_trials(data) if data and neurons else None
    for model, loaded in neurons:
        surrogate = load_surrogate(loaded, model)
        if trials is None:
            raise ConfigError(f"no trials were given to score {model} on; expected --data with stores.")
        try:
            check_fit(surrogate, trials)
        except DataError as error:
            raise DataError(f"{model}: {error}") from error


def _check_place(model: Path, trained: nn.Module, data: list[str], alone: bool) -> None:
    """Whether a model of sequences can be scored on the data: one folder or file, with no neurons beside it."""
    if not alone:
        raise ConfigError(
            f"{model} is a model of sequences and others of these are not, so that no --data fits all; score them separately."
        )
    if len(data) > 1:
        raise ConfigError(
            f"{model} is scored on the held-out sequences of one folder or file, not of {', '.join(data)}; give --data once, or "
            "not at all."
        )
    if isinstance(trained, Classifier) and not Path(data[0]).expanduser().is_dir():
        raise DataError(
            f"{data[0]} is not a folder; expected the data of the task that {model} was trained on; give their folder, "
            "or leave --data out."
        )


def _what(results: list[dict[str, Any]]) -> str:
    result = results[0]
    if "sequences" in result:
        return f"split {result['protocol']}"
    note = ", 95 % intervals over trials" if "intervals" in result else ""
    skipped_ms = [found["skipped_ms"] for found in results]
    protocol = replace(PROTOCOLS[result["protocol"]], skip_ms=min(skipped_ms))
    longer = f"; of some data {max(skipped_ms):g} ms" if max(skipped_ms) > min(skipped_ms) else ""
    return f"protocol {protocol.name}{note}\n{protocol.scope}{longer}"


def _print_comparison(results: list[dict[str, Any]]) -> None:
    """Numbered names of models and data sets, and tables of their scores."""
    for number, result in enumerate(results, 1):
        on = ", ".join(result.get("data", []))
        parameters = f"{result['parameters']:,} parameters"
        named = f"{number}  {result['model']}: {parameters}{f', on {on}' if on else ''}"
        console.print(named, soft_wrap=True, highlight=False)
    title = _what(results)
    for part in COMPARED:
        if shown := [key for key in part if any(key in result for result in results)]:
            print_table(title, _compared(results, shown), ("", *(part[key] for key in shown)))
        title = ""


def _compared(results: list[dict[str, Any]], shown: list[str]) -> list[tuple[str, ...]]:
    """A row for every result; under it its intervals, and how far it is from the first model on the same data."""
    rows, first = [], 1
    for number, result in enumerate(results, 1):
        cells = (
            score_text(result, key).removesuffix(" (no spikes)") if key in result else "" for key in shown
        )
        rows.append((str(number), *cells))
        if "difference_to_first" not in result:
            first = number
        for label, key in (("  95 %", "intervals"), (f"  minus {first}", "difference_to_first")):
            if key in result:
                rows.append((label, *(interval_text(result[key], score, "..") for score in shown)))
    return rows


def _score_trials(
    surrogate: Surrogate,
    model: Path,
    data: list[str],
    protocol: str,
    threshold_on: list[str] | None,
    resamples: int,
) -> Evaluation:
    trials = open_trials(data)
    with progress("evaluate") as show:
        found = score_trials(surrogate, trials, protocol, threshold_on, resamples, show)
    notes = (
        sign_note(surrogate, trials),
        seen_note(found.scores),
        few_note(found.scores),
        rate_note(found.scores),
    )
    for note in filter(None, notes):
        say(f"{model}: {note}")
    return found


def _score_held_out(
    trained: nn.Module, model: Path, split: Literal["validation", "test"], place: str | None
) -> dict[str, Any]:
    with progress("evaluate") as show:
        scores = score_held_out(trained, model, split, place, show)
    if scores["notes"]:
        say("\n".join([f"{model}:", *(f"- {note}" for note in scores["notes"])]))
    return {**scores, "model": str(model)}


def record(run: Run, result: dict[str, Any]) -> None:
    """Keep scores in the run folder, and where their data were named from; say so where that cannot be written."""
    try:
        write_json(run.evaluation_file(result["protocol"]), {**result, "named_from": str(Path.cwd())})
    except OSError as error:
        say(f"not recorded in {run.folder} ({error.strerror}); --json prints them, to be kept elsewhere")
