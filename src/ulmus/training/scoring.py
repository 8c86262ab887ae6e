"""Scores of anything that was fitted: neurons on trials, classifiers on the held-out sequences of their task."""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from torch import nn

from ulmus.arguments import check_choice
from ulmus.errors import ConfigError
from ulmus.evaluation.intervals import RESAMPLES
from ulmus.evaluation.predictions import choose_threshold
from ulmus.evaluation.scores import Evaluation, evaluation
from ulmus.neuron import Classifier, Predictor, Surrogate, load, load_surrogate
from ulmus.training.run import Run
from ulmus.trials import TrialSource, open_trials

Data = TrialSource | str | Path | Sequence[str | Path]
"""Trials, or where they lie: see `ulmus.open_trials`."""


def evaluate(
    model: Surrogate | str | Path,
    data: Data | None = None,
    *,
    protocol: str = "stream",
    split: Literal["validation", "test"] = "test",
    threshold_on: Data | None = None,
    resamples: int = RESAMPLES,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Score a fitted neuron on trials, or a model of sequences on those that its task holds out.

    Args:
        model: A `Surrogate`, or the place or name of anything that `ulmus.load` reads. A model of sequences is given by its
            run folder, which knows its task.
        data: Trials that the neuron was not fitted to. For a model of sequences: the folder of its task or a file,
            where that is not the one in its recipe.
        protocol: For trials: ``stream`` (whole trials from rest, raw millivolts) or ``official`` (the authors' windows and
            rescaling). Both leave the first 500 ms of every trial out.
        split: For a model of sequences: ``test``, or ``validation``, which chose its checkpoint.
        threshold_on: Trials on which the threshold for spike times is chosen, so that as many spikes are predicted as were
            recorded; by default the surrogate's own. ``model`` keeps its threshold.
        resamples: For trials: draws of the bootstrap behind the 95 % intervals; 0 leaves them out.
        on_progress: Called with what is done and the total.

    Returns:
        Of a neuron: ``auc``, ``rmse_mv``, ``explained_variance_percent``, ``f1_2ms``, ``rate_hz``, ``intervals`` and more.
        Of a model of sequences: ``accuracy``, ``balanced_accuracy``, ``rmse`` or what its task has, ``loss``, ``sequences``
        and ``notes``.

    Raises:
        CheckpointError: the model cannot be loaded.
        ConfigError: no trials for a neuron, no run folder of a model of sequences, or an unknown protocol.
        DataError: data are missing or damaged, or do not fit the model.

    Example:
        >>> surrogate = ulmus.Surrogate(ulmus.ELM(100, 2, memory=5))
        >>> scores = ulmus.evaluate(surrogate, "lif", resamples=0)
        >>> scores["trials"], scores["protocol"]
        (4, 'stream')
    """
    loaded = model if isinstance(model, Surrogate) else load(model)
    if not isinstance(loaded, Classifier | Predictor):
        if data is None:
            raise ConfigError(
                f"no trials were given to score {_called(model)} on; expected a store or recordings."
            )
        trials = data if isinstance(data, TrialSource) else open_trials(data)
        surrogate = load_surrogate(loaded, _called(model))
        return score_trials(surrogate, trials, protocol, threshold_on, resamples, on_progress).scores
    if not isinstance(model, (str, Path)) or isinstance(data, TrialSource):
        raise ConfigError(
            "a model of sequences is scored on those that its run folder names, or on a file; give the folder of the run."
        )
    folders = [data] if isinstance(data, (str, Path)) else list(data or [])
    if len(folders) > 1:
        raise ConfigError(
            f"a model of sequences is scored on one folder or file, not {len(folders)}; give one, or none."
        )
    return score_held_out(loaded, Path(model), split, next(iter(folders), None), on_progress)


def score_trials(
    surrogate: Surrogate,
    trials: TrialSource,
    protocol: str = "stream",
    threshold_on: Data | None = None,
    resamples: int = RESAMPLES,
    on_progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Scores of a neuron, with the resamples that differences between neurons are made of; see `evaluate`."""
    found = evaluation(with_threshold(surrogate, threshold_on), trials, protocol, on_progress, resamples)
    return found._replace(scores={**found.scores, "data_hash": trials.content_hash})


def with_threshold(surrogate: Surrogate, threshold_on: Data | None) -> Surrogate:
    """The surrogate with the threshold for spike times chosen on these trials; the one that was given keeps its own."""
    if not threshold_on:
        return surrogate
    surrogate = copy.copy(surrogate)
    choose_threshold(
        surrogate, threshold_on if isinstance(threshold_on, TrialSource) else open_trials(threshold_on)
    )
    return surrogate


def score_held_out(
    trained: nn.Module,
    model: Path,
    split: Literal["validation", "test"] = "test",
    place: str | Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Scores on what the task of a run folder holds out, and what a reader of them should know (``notes``); see `evaluate`."""
    check_choice("split", split, ["validation", "test"])
    run = Run(model)
    learnt = run.provenance()["data"]
    held_out = run.recipe().held_out(split, None if place is None else str(place))
    scores = held_out.scores(trained, on_progress)
    notes = list(scores["notes"])
    if any(learnt.get(part) != data_hash for part, data_hash in held_out.training_hashes.items()):
        notes.append(
            f"{held_out.place} holds other data than those it was trained on: whether it learnt from some that are scored "
            "here is not known (it did from most of them, if `ulmus data make` drew them with a seed that training had, "
            "also for other numbers of them)"
        )
    held = {"data": [held_out.place], "data_hash": held_out.content_hash}
    return {**scores, "protocol": split, **held, "notes": notes}


def _called(model: Any) -> str:
    return str(model) if isinstance(model, (str, Path)) else "the surrogate"
