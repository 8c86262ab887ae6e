"""From the run folder of a classifier to the content of its report."""

from typing import Any

import numpy as np

from ulmus.errors import CheckpointError
from ulmus.files.reading import read_json
from ulmus.neuron import ELM, Classifier
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
        recipe_yaml=run.recipe_file.read_text(),
        provenance=({} if test is None else {"test data hash": test["data_hash"]}) | run_provenance(run),
        notes=(
            *divergence(run),
            *dict.fromkeys([*notes(classifier, run.recipe()), *(test or {}).get("notes", [])]),
        ),
    )


def _scores(which: str, scores: dict[str, Any] | None, use: str) -> list[ScoreRow]:
    if scores is None:
        return []
    error = 100 * scores["accuracy_standard_error"]
    told = f"Share of {scores['sequences']:,} sequences ({use}) that were classified correctly; standard error {error:.2g} %."
    return [
        ScoreRow(f"{which} accuracy", 100 * scores["accuracy"], "%", told, headline=True),
        ScoreRow(f"{which} loss", scores["loss"], "", "Mean cross-entropy of the same."),
    ]


def _time_constants(classifier: Classifier) -> list[TimeConstants]:
    layers = [module for module in classifier.modules() if isinstance(module, ELM)]
    return [
        TimeConstants(
            f"layer {number}", layer.tau_memory().detach().cpu().numpy(), layer.tau_synapse_ms.cpu().numpy()
        )
        for number, layer in enumerate(layers, 1)
    ]
