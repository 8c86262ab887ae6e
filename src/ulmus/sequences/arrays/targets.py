"""What a model is to say of every sequence, or of every step of it, for each task."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ulmus.errors import DataError
from ulmus.neuron.predictor import Task
from ulmus.sequences.arrays.batches import NO_CLASS
from ulmus.sequences.arrays.sequence_set import SequenceSet
from ulmus.sequences.arrays.tables import number

_NO_CLASS = (NO_CLASS, str(NO_CLASS), "")


def classes_of(sequences: SequenceSet, task: Task) -> tuple[str, ...]:
    """Names of all classes among the targets, in order.

    Raises:
        DataError: targets are no classes, or of one class alone.
    """
    found: set[Any] = set()
    for index in range(len(sequences)):
        found |= set(_labels(sequences, index, task))
    names = {str(label): label for label in found.difference(_NO_CLASS)}
    if len(names) < 2:
        raise DataError(
            f"all targets of {sequences.origin} are {next(iter(names.values()), 'empty')!r}; expected two classes or more to "
            "tell apart."
        )
    return tuple(sorted(names, key=lambda name: (isinstance(names[name], str), names[name])))


def class_targets(sequences: SequenceSet, task: Task, classes: Sequence[str]) -> list[np.ndarray]:
    """The place of the class of every sequence, or of every step; -100 where a step has none.

    Raises:
        DataError: a class is not among the known ones.
    """
    place: dict[str, int] = {name: number for number, name in enumerate(classes)}
    place |= dict.fromkeys(map(str, _NO_CLASS), NO_CLASS) if task == "step-classification" else {}
    targets = []
    for index in range(len(sequences)):
        labels = [str(label) for label in _labels(sequences, index, task)]
        unknown = [label for label in labels if label not in place]
        if unknown:
            raise DataError(
                f"class {unknown[0]!r} of {sequences.called(index)} does not occur in training, which has "
                f"{', '.join(map(repr, list(classes)[:8]))}; expected classes that can be learnt. Move such sequences "
                "to training, "
                "or leave them out."
            )
        found = np.array([place[label] for label in labels], dtype=np.int64)
        targets.append(found if task == "step-classification" else found[0])
    return targets


def number_targets(sequences: SequenceSet, task: Task, missing: bool) -> list[np.ndarray]:
    """Numbers for every sequence ``[number]``, or for every step ``[time, number]``.

    Raises:
        DataError: targets are no numbers, not finite, or of different shapes.
    """
    targets, width = [], None
    for index in range(len(sequences)):
        target = _numbers(sequences.target(index))
        if target.dtype.kind not in "fiub":
            raise DataError(
                f"the target of {sequences.called(index)} is {str(target.reshape(-1)[0])!r}; expected "
                f"numbers for task {task}. "
                "For classes choose classification or step-classification."
            )
        target = target.astype(np.float32)
        if task == "step-regression":
            _check_steps(sequences, index, target)
            target = target[: int(sequences.lengths[index])]
        target = np.atleast_1d(target) if task == "regression" else target.reshape(len(target), -1)
        width = target.shape[-1] if width is None else width
        if target.ndim != (1 if task == "regression" else 2) or target.shape[-1] != width:
            raise DataError(
                f"the target of {sequences.called(index)} has shape {list(target.shape)}; expected {width} numbers "
                f"for {'the sequence' if task == 'regression' else 'every step'}, as for the first."
            )
        if not np.isfinite(target).all() and not (
            missing and task == "step-regression" and not np.isinf(target).any()
        ):
            raise DataError(
                f"the target of {sequences.called(index)} is not finite; expected numbers. Leave the sequence out, "
                "or set missing: mask for targets of single steps."
            )
        targets.append(target)
    return targets


def _numbers(target: np.ndarray) -> np.ndarray:
    """Texts as numbers, if they all are: a table leaves those as they are that it has in two ways, such as 0.5 and 0.50."""
    try:
        texts = target.reshape(-1).tolist() if target.dtype.kind == "U" else ()
        return np.array([number(text) for text in texts]).reshape(target.shape) if texts else target
    except ValueError:
        return target


class Ahead(Sequence[np.ndarray]):
    """Input that comes later, as the target of every step; steps with none ahead have no target.

    Args:
        sequences: numbers or tokens.
        horizon: how many steps later.
        channels: which channels of numbers.
    """

    def __init__(self, sequences: SequenceSet, horizon: int, channels: Sequence[int] = ()) -> None:
        self._sequences, self._horizon, self._channels = sequences, horizon, list(channels)
        longest = int(sequences.lengths.max())
        if longest <= horizon:
            raise DataError(
                f"the longest sequence of {sequences.origin} has {longest} steps, of which none has one {horizon} steps later; "
                "expected longer sequences, or a smaller task.horizon."
            )

    def __len__(self) -> int:
        return len(self._sequences)

    def __getitem__(self, index: Any) -> Any:
        """Targets of every step of a sequence."""
        values = np.asarray(self._sequences.sequence(index))
        if self._sequences.input == "tokens":
            target = np.full(len(values), NO_CLASS, dtype=np.int64)
            target[: -self._horizon] = values[self._horizon :]
            return target
        ahead = np.full((len(values), len(self._channels)), np.nan, dtype=np.float32)
        ahead[: -self._horizon] = values[self._horizon :, self._channels]
        return ahead


def _labels(sequences: SequenceSet, index: int, task: Task) -> list[Any]:
    target = sequences.target(index)
    if task == "step-classification":
        _check_steps(sequences, index, target)
        target = target[: int(sequences.lengths[index])]
        if target.size != len(target):
            raise DataError(
                f"{sequences.called(index)} has targets of shape {list(target.shape)}; expected one class for each step. Of "
                "one-hot vectors give the place of the one (argmax)."
            )
        target = target.reshape(-1)
    elif target.ndim and target.size != 1:
        raise DataError(
            f"{sequences.called(index)} has {target.size} targets; expected one class. Of one-hot vectors give the "
            "place of the one (argmax); for a class at every step choose task step-classification."
        )
    if target.dtype.kind == "f":
        known = target[~np.isnan(target)]
        whole = np.isfinite(known) & (known == known.round())
        if not whole.all():
            raise DataError(
                f"the target of {sequences.called(index)} is {known[~whole][0]:g}; "
                "expected classes, "
                "which are texts or whole numbers. For numbers choose regression or step-regression."
            )
        target = np.where(np.isnan(target), NO_CLASS, target).astype(np.int64)
    labels = np.atleast_1d(target).tolist()
    if task == "classification" and labels[0] in _NO_CLASS:
        raise DataError(
            f"{sequences.called(index)} has no class (NaN or an empty text); expected one. Leave it out."
        )
    return list(labels)


def _check_steps(sequences: SequenceSet, index: int, target: np.ndarray) -> None:
    length = int(sequences.lengths[index])
    padded = sequences.longest if sequences.input == "events" else len(sequences.values[index])
    most = max(length, padded, sequences.longest) if sequences.longest else np.inf
    if target.ndim == 0 or not length <= len(target) <= most:
        found = "one target" if target.ndim == 0 else f"{len(target)} targets"
        raise DataError(
            f"{sequences.called(index)} has {length} steps and {found}; expected one for each. For one answer a "
            "sequence choose classification or regression."
        )
