"""``ulmus evaluate``."""

import json as json_format
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from ulmus.cli.console import console, print_table, progress, score_rows
from ulmus.data.sources import open_trials
from ulmus.errors import ConfigError
from ulmus.neuron import Classifier, Surrogate, load
from ulmus.training.classification import evaluate_classes
from ulmus.training.evaluation import evaluate as score_trials
from ulmus.training.recipe import ClassifierRecipe
from ulmus.training.run import Run, write_text


def evaluate(
    model: Path,
    *,
    data: list[str] | None = None,
    protocol: str = "stream",
    split: Literal["validation", "test"] = "test",
    json: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Score a fitted neuron on trials, or a classifier on the held-out sequences of its task.

    Args:
        model: Run folder, saved surrogate, or authors' checkpoint folder.
        data: Stores or recordings, with optional pattern and slice: 'trials_*.h5[96:]'. May be given several times.
        protocol: For trials: stream (whole trials, raw millivolts) or official (the authors' windows and rescaling).
        split: For a classifier: test, or validation, which chose its best checkpoint.
        json: Print JSON.
    """
    loaded = load(model)
    if isinstance(loaded, Classifier):
        result, what = _score_classes(loaded, model, split), f"{split} split"
    else:
        if not data:
            raise ConfigError("no trials were given; expected --data with stores or recordings to score on.")
        result, what = _score_trials(load_surrogate(model), model, data, protocol), f"protocol {protocol}"
    if Run(model).exists():
        record(Run(model), result)
    if json:
        console.print_json(json_format.dumps(result))
    else:
        print_table(f"{model}, {what}", score_rows(result))


def _score_trials(surrogate: Surrogate, model: Path, data: list[str], protocol: str) -> dict[str, Any]:
    trials = open_trials(data)
    with progress("evaluate") as show:
        scores = score_trials(surrogate, trials, protocol, show)
    return {**scores, "model": str(model), "data": data, "data_hash": trials.content_hash}


def _score_classes(classifier: Classifier, model: Path, split: str) -> dict[str, Any]:
    recipe = Run(model).recipe()
    if not isinstance(recipe, ClassifierRecipe):
        raise ConfigError(f"{model} was not trained on classes; train it again.")
    batches = getattr(recipe.data.open(recipe.training.batch, recipe.seed), split)
    with progress("evaluate") as show:
        scores = evaluate_classes(classifier, batches, show)
    return {**scores, "protocol": split, "model": str(model), "data_hash": batches.content_hash}


def load_surrogate(model: Path) -> Surrogate:
    """A surrogate from any place it can be.

    Raises:
        ConfigError: a layer was saved there, not a fitted neuron.
    """
    surrogate = load(model)
    if not isinstance(surrogate, Surrogate):
        raise ConfigError(
            f"{model} holds a bare {type(surrogate).__name__}; expected a fitted neuron (ulmus.Surrogate)."
        )
    return surrogate


def record(run: Run, result: dict[str, Any]) -> None:
    """Keep scores in the run folder."""
    write_text(run.evaluation_file(result["protocol"]), json_format.dumps(result, indent=2))
