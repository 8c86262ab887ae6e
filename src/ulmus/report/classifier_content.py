"""From the run folder of a classifier, or of another model of sequences, to the content of its report."""

from typing import Any

import numpy as np

from ulmus.errors import CheckpointError
from ulmus.files.reading import explained, read_json
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

_VALIDATED = {
    True: {"loss": ("loss", 1.0), "accuracy (%)": ("accuracy", 100.0)},
    False: {"loss": ("loss", 1.0), "RMSE": ("rmse", 1.0)},
}
"""What the learning curve shows of models that choose among classes, and of others."""
_SCORES = (
    ("accuracy", "accuracy", 100.0, "%", "Share of correct answers{error}."),
    ("balanced_accuracy", "balanced accuracy", 100.0, "%", "Share of correct answers in each class, averaged over classes."),
    ("f1", "F1", 1.0, "", "Harmonic mean of precision and recall, averaged over the classes."),
    ("bits_per_token", "bits per token", 1.0, "", "Bits to write down the next token, given those before it."),
    ("rmse", "RMSE", 1.0, "", "Root-mean-square error in the units of the targets."),
    ("rmse_persistence", "RMSE of persistence", 1.0, "", "That of the forecast that nothing changes."),
    ("mae", "MAE", 1.0, "", "Mean absolute error in the units of the targets."),
    ("r2", "R2", 1.0, "", "Share of the targets' variance that is explained."),
    ("loss", "loss", 1.0, "", "Mean {loss}."),
)  # fmt: skip
_HEADLINES = ("accuracy", "bits_per_token", "rmse")


def classifier_content(model: Classifier | Predictor, run: Run) -> ClassifierContent:
    """Put together what a report shows; nothing is computed that the run folder does not hold.

    Args:
        model: The best checkpoint of the run.
        run: Its run folder, with the scores of the test sequences if ``ulmus evaluate`` has made them.

    Raises:
        CheckpointError: the run folder is damaged.
    """
    file = run.evaluation_file("test")
    test = read_json(file, CheckpointError) if file.is_file() else None
    best_step, parameters = model.card.get("step"), model.trainable_parameters()
    of_classes = isinstance(model, Classifier) or model.task in (
        "classification",
        "step-classification",
        "next-token",
    )
    what, remarks, more, texts = (
        _classifier(model, run) if isinstance(model, Classifier) else _predictor(model, of_classes)
    )
    confusion, test_rows, test_hash = None, [], {}
    if test is not None:
        with explained(str(file), "scores as ulmus evaluate wrote them", "evaluate the run again"):
            test_rows, test_hash = (
                _score_rows("Test", test, "held out", of_classes),
                {"test data hash": str(test["data_hash"])},
            )
            remarks = [*remarks, *map(str, test.get("notes", []))]
            if "confusion" in test:
                answers = model.classes if isinstance(model, Classifier) else model.answers
                confusion = Confusion(
                    answers, np.array(test["confusion"], np.int64).reshape(len(answers), len(answers))
                )
    return ClassifierContent(
        title=run_title(str(model.card.get("recipe", "sequences")), run),
        subtitle=f"A model of kind {type(model.model).__name__} with {parameters:,} trainable parameters {what}.",
        scores=(
            *test_rows,
            *_score_rows(
                "Validation", model.card.get("validation"), f"used to choose the checkpoint of step {best_step}", of_classes
            ),
            *more,
            ScoreRow("Trainable parameters", parameters, "", "Size of the model.", headline=True),
            training_cost(run),
        ),
        learning_curve=learning_curve(run, _VALIDATED[of_classes], best_step),
        confusion=confusion,
        confusion_absent=f"The test sequences have not been scored yet. Run ulmus evaluate {run.folder}, then ulmus report again."
        if of_classes
        else "The targets are numbers, not classes.",
        time_constants=tuple(_time_constants(model)),
        recipe_yaml=run.recipe_file.read_text(encoding="utf-8"),
        provenance=test_hash | run_provenance(run),
        notes=(*divergence(run), *dict.fromkeys(remarks)),
        **texts,
    )  # fmt: skip


_Parts = tuple[str, list[str], list[ScoreRow], dict[str, str]]
"""What the model does, remarks on it, rows of its own, and texts above the scores."""


def _classifier(model: Classifier, run: Run) -> _Parts:
    classes = len(model.classes)
    chance = ScoreRow("Chance", 100 / classes, "%", "Accuracy of guessing, all classes equally often.")
    return f"that sorts sequences into {classes} classes", notes(model, run.recipe()), [chance], {}


def _predictor(model: Predictor, of_classes: bool) -> _Parts:
    channels = f"{len(model.channels)} {'channels' if model.input != 'tokens' else 'tokens'} in"
    what = f"for {model.task}: {channels}, {len(model.answers)} {'classes' if of_classes else 'numbers'} out"
    lead = "Test sequences were held out; the checkpoint was chosen on the validation sequences."
    return what, [], [], {"heading": "How good it is", "lead": lead}


def _score_rows(which: str, scores: dict[str, Any] | None, use: str, of_classes: bool) -> list[ScoreRow]:
    if scores is None:
        return []
    error = scores.get("accuracy_standard_error")
    texts = {
        "error": "" if error is None else f"; standard error {100 * error:.2g} %",
        "loss": "cross-entropy" if of_classes else "square error in units of the targets' standard deviation",
    }
    of = f"{scores['sequences']:,} sequences ({use})."
    return [
        ScoreRow(f"{which} {name}", factor * float(scores[key]), unit, f"{told.format(**texts)} {of}", headline=key in _HEADLINES)
        for key, name, factor, unit, told in _SCORES
        if scores.get(key) is not None
    ]  # fmt: skip


def _time_constants(model: Classifier | Predictor) -> list[TimeConstants]:
    layers = [module for module in model.modules() if isinstance(module, ELM)]
    return [
        TimeConstants(
            f"layer {number}", layer.tau_memory().detach().cpu().numpy(), layer.tau_synapse_ms.cpu().numpy()
        )
        for number, layer in enumerate(layers, 1)
    ]
