"""From the run folder of a classifier to the content of its report."""

from typing import Any

import numpy as np

from ulmus.errors import CheckpointError
from ulmus.files.reading import read_json
from ulmus.neuron import ELM, Classifier, Predictor
from ulmus.report.content import ClassifierContent, Confusion, ScoreRow, TimeConstants
from ulmus.report.surrogate_content import (
    divergence,
    learning_curve,
    run_provenance,
    run_title,
    training_cost,
)
from ulmus.training.kinds.labelled import notes
from ulmus.training.run import Run

_VALIDATED = {"loss": ("loss", 1.0), "accuracy (%)": ("accuracy", 100.0)}


def classifier_content(classifier: Classifier, run: Run) -> ClassifierContent:
    """Put together what a report shows; nothing is computed that the run folder does not hold.

    Args:
        classifier: The best checkpoint of the run.
        run: Its run folder, with the scores of the test sequences if ``ulmus evaluate`` has made them.

    Raises:
        CheckpointError: the run folder is damaged.
    """
    file = run.evaluation_file("test")
    test = read_json(file, CheckpointError) if file.is_file() else None
    parameters, classes = classifier.trainable_parameters(), len(classifier.classes)
    best_step = classifier.card.get("step")
    return ClassifierContent(
        title=run_title(str(classifier.card.get("recipe", "classifier")), run),
        subtitle=f"A model of kind {type(classifier.model).__name__} with {parameters:,} trainable parameters that sorts "
        f"sequences into {classes} classes.",
        scores=(
            *_scores("Test", test, "held out"),
            *_scores(
                "Validation",
                classifier.card.get("validation"),
                f"by which the checkpoint of step {best_step} was chosen",
            ),
            ScoreRow("Chance", 100 / classes, "%", "Accuracy of guessing, all classes equally often."),
            ScoreRow("Trainable parameters", parameters, "", "Size of the model.", headline=True),
            training_cost(run),
        ),
        learning_curve=learning_curve(run, _VALIDATED, best_step),
        confusion=None if test is None else Confusion(classifier.classes, np.array(test["confusion"])),
        confusion_absent=f"The test sequences have not been scored yet. Run ulmus evaluate {run.folder}, then ulmus report "
        "again.",
        time_constants=tuple(_time_constants(classifier)),
        recipe_yaml=run.recipe_file.read_text(encoding="utf-8"),
        provenance=({} if test is None else {"test data hash": test["data_hash"]}) | run_provenance(run),
        notes=(
            *divergence(run),
            *dict.fromkeys([*notes(classifier, run.recipe()), *(test or {}).get("notes", [])]),
        ),
    )


_SCORES: dict[str, tuple[str, float, str, str]] = {
    "accuracy": ("accuracy", 100.0, "%", "Share of the answers that are right."),
    "balanced_accuracy": (
        "balanced accuracy",
        100.0,
        "%",
        "Mean over the classes of the share that was found.",
    ),
    "f1": ("F1", 1.0, "", "Harmonic mean of precision and recall, averaged over the classes."),
    "bits_per_token": (
        "bits a token",
        1.0,
        "",
        "What it takes to write the next token down, knowing those before it.",
    ),
    "rmse": ("RMSE", 1.0, "", "Root mean square error in the units of the targets."),
    "rmse_persistence": ("RMSE of persistence", 1.0, "", "The same of a forecast that nothing changes."),
    "mae": ("MAE", 1.0, "", "Mean absolute error in the units of the targets."),
    "r2": ("R2", 1.0, "", "Share of the variance of the targets that is explained."),
    "loss": (
        "loss",
        1.0,
        "",
        "Cross-entropy, or mean square error in units of the standard deviation of the targets.",
    ),
}
_HEADLINES = ("accuracy", "bits_per_token", "rmse")


def predictor_content(predictor: Predictor, run: Run) -> ClassifierContent:
    """What the report of a model of anybody's sequences shows; nothing is computed that the run folder does not hold.

    Args:
        predictor: The best checkpoint of the run.
        run: Its run folder, with the scores of the test sequences if ``ulmus evaluate`` has made them.

    Raises:
        CheckpointError: the run folder is damaged.
    """
    file = run.evaluation_file("test")
    test = read_json(file, CheckpointError) if file.is_file() else None
    best_step, parameters = predictor.card.get("step"), predictor.trainable_parameters()
    of_classes = predictor.task in ("classification", "step-classification", "next-token")
    confusion = None
    if test is not None and "confusion" in test:
        confusion = Confusion(predictor.answers, np.array(test["confusion"]))
    validated = _VALIDATED if of_classes else {"loss": ("loss", 1.0), "RMSE": ("rmse", 1.0)}
    return ClassifierContent(
        title=run_title(str(predictor.card.get("recipe", "sequences")), run),
        subtitle=f"A model of kind {type(predictor.model).__name__} with {parameters:,} trainable parameters for "
        f"{predictor.task}: {len(predictor.channels)} {'channels' if predictor.input != 'tokens' else 'tokens'} in, "
        f"{len(predictor.answers)} {'classes' if of_classes else 'numbers'} out.",
        scores=(
            *_score_rows("Test", test, "held out"),
            *_score_rows(
                "Validation",
                predictor.card.get("validation"),
                f"by which the checkpoint of step {best_step} was chosen",
            ),
            ScoreRow("Trainable parameters", parameters, "", "Size of the model.", headline=True),
            training_cost(run),
        ),
        learning_curve=learning_curve(run, validated, best_step),
        confusion=confusion,
        confusion_absent="The targets are numbers, not classes."
        if not of_classes
        else f"The test sequences have not been scored yet. Run ulmus evaluate {run.folder}, then ulmus report again.",
        time_constants=tuple(_time_constants(predictor)),
        recipe_yaml=run.recipe_file.read_text(),
        provenance=({} if test is None else {"test data hash": test["data_hash"]}) | run_provenance(run),
        notes=(*divergence(run), *(test or {}).get("notes", [])),
        heading="How good it is",
        lead="Test sequences were held out; validation sequences chose the checkpoint.",
    )


def _score_rows(which: str, scores: dict[str, Any] | None, use: str) -> list[ScoreRow]:
    rows = []
    for key, (name, factor, unit, told) in _SCORES.items():
        if scores is not None and scores.get(key) is not None:
            told_all = f"{told} {scores['sequences']:,} sequences ({use})."
            rows.append(
                ScoreRow(f"{which} {name}", factor * scores[key], unit, told_all, headline=key in _HEADLINES)
            )
    return rows


def _scores(which: str, scores: dict[str, Any] | None, use: str) -> list[ScoreRow]:
    if scores is None:
        return []
    error = 100 * scores["accuracy_standard_error"]
    told = f"Share of {scores['sequences']:,} sequences ({use}) that were classified correctly; standard error {error:.2g} %."
    return [
        ScoreRow(f"{which} accuracy", 100 * scores["accuracy"], "%", told, headline=True),
        ScoreRow(f"{which} loss", scores["loss"], "", "Mean cross-entropy of the same."),
    ]


def _time_constants(classifier: Classifier | Predictor) -> list[TimeConstants]:
    layers = [module for module in classifier.modules() if isinstance(module, ELM)]
    return [
        TimeConstants(
            f"layer {number}", layer.tau_memory().detach().cpu().numpy(), layer.tau_synapse_ms.cpu().numpy()
        )
        for number, layer in enumerate(layers, 1)
    ]
