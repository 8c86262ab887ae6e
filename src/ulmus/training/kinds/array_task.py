"""What is to be said of sequences: the task, its targets and answers, and whether sequences fit a trained model."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from ulmus.errors import ConfigError, DataError
from ulmus.neuron.predictor import CLASSIFYING, Predictor, Task
from ulmus.sequences.arrays.sequence_set import SequenceSet, spelt, vocabulary
from ulmus.sequences.arrays.targets import Ahead, class_targets, classes_of, number_targets
from ulmus.settings import Names, Settings


class TaskSettings(Settings):
    """What is to be said of sequences."""

    kind: Task
    """classification, regression (one answer a sequence), step-classification, step-regression (one at every step),
    forecasting (what channels will be), next-token."""
    reading: Literal["last", "mean"] = "last"
    """One answer a sequence is read at its last step, or is the mean over its steps."""
    class_weights: Literal["balanced"] | dict[str, PositiveFloat] | None = None
    """Weight of every class in the loss: by name, or ``balanced``, in inverse proportion to how often it occurs in training."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target that is spread over all classes."""
    horizon: PositiveInt = 1
    """Forecasting: how many steps ahead."""
    channels: Names = ()
    """Forecasting: which channels; all by default."""
    burn_in: int = Field(default=0, ge=0)
    """Steps at the beginning of a sequence that the loss leaves out, for tasks with an answer at every step."""


def task_settings(value: object) -> object:
    """A task by its word alone."""
    return {"kind": value} if isinstance(value, str) else value


def fitting(sequences: SequenceSet, predictor: Predictor) -> SequenceSet:
    """Sequences as a trained model reads them.

    Raises:
        DataError: they have other channels, or tokens that it does not know.
    """
    if sequences.input == "characters" and predictor.input == "tokens":
        return spelt(sequences, predictor.channels)
    if sequences.input != predictor.input:
        raise DataError(
            f"{sequences.origin} holds {sequences.input}, but the model was trained with {predictor.input}; expected the same."
        )
    if sequences.input == "tokens":
        _check_tokens(sequences, len(predictor.channels))
    elif (
        sequences.input == "events"
        and not sequences.named
        and len(sequences.channels) <= len(predictor.channels)
    ):
        return replace(sequences, channels=predictor.channels)  # the last ones have no event
    elif len(sequences.channels) != len(predictor.channels) or _other_names(sequences, predictor):
        alone = " One sequence of several channels is values[None]." if len(sequences.channels) == 1 else ""
        raise DataError(
            f"{sequences.origin} has {len(sequences.channels)} channels ({_shown(sequences.channels)}), but the model was "
            f"trained with {len(predictor.channels)} ({_shown(predictor.channels)}); expected the same in the same order.{alone}"
        )
    return sequences


def _other_names(sequences: SequenceSet, predictor: Predictor) -> bool:
    unnamed = all(name == f"channel {number}" for number, name in enumerate(sequences.channels))
    return not unnamed and sequences.channels != predictor.channels


def _shown(names: tuple[str, ...]) -> str:
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")


def _check_tokens(sequences: SequenceSet, count: int) -> None:
    for index in range(len(sequences)):
        highest = int(np.max(sequences.sequence(index)))
        if highest >= count:
            raise DataError(
                f"{sequences.called(index)} holds token {highest}, which training has not; expected 0 to "
                f"{count - 1}. Move such sequences to training, or name all tokens there are as 'channels'."
            )


def targets_of(
    sequences: SequenceSet,
    task: TaskSettings,
    channels: tuple[str, ...],
    answers: tuple[str, ...],
    missing: bool,
) -> Any:
    """What a model is to say of sequences, as `ArrayBatches` takes it.

    Raises:
        DataError: targets do not fit the task, or are of a class that training has not.
    """
    if task.kind == "next-token":
        return Ahead(sequences, 1)
    if task.kind == "forecasting":
        return Ahead(sequences, task.horizon, [channels.index(name) for name in answers])
    if task.kind in CLASSIFYING:
        return class_targets(sequences, task.kind, answers)
    found = number_targets(sequences, task.kind, missing)
    if found[0].shape[-1] != len(answers):
        raise DataError(
            f"{sequences.origin} has {found[0].shape[-1]} numbers as targets; expected {len(answers)}, as in training."
        )
    return found


def with_names(parts: Mapping[str, SequenceSet]) -> tuple[Mapping[str, SequenceSet], tuple[str, ...]]:
    """Parts with characters as tokens, and names of the channels or of the tokens that training has."""
    train = parts["train"]
    if train.input == "characters":
        known = vocabulary(list(train.values))
        return {name: spelt(part, known) for name, part in parts.items()}, known
    if train.input == "tokens" and not train.channels:
        highest = max(int(np.max(train.sequence(index))) for index in range(len(train)))
        return parts, tuple(map(str, range(highest + 1)))
    return parts, train.channels


def answers_of(
    train: SequenceSet, task: TaskSettings, channels: tuple[str, ...], names: tuple[str, ...], missing: bool
) -> tuple[str, ...]:
    """Names of the classes, or of the numbers that are predicted: `names` where there are as many.

    Raises:
        ConfigError: a channel to forecast that there is not.
        DataError: targets that do not fit the task.
    """
    if task.kind == "next-token":
        return channels
    if task.kind == "forecasting":
        if unknown := [name for name in task.channels if name not in channels]:
            raise ConfigError(f"task.channels names {unknown[0]!r}; expected some of {list(channels)}.")
        return task.channels or channels
    if task.kind in CLASSIFYING:
        return classes_of(train, task.kind)
    width = number_targets(train, task.kind, missing)[0].shape[-1]
    return names if len(names) == width else tuple(f"target {number}" for number in range(width))
