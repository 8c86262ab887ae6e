"""The tasks of Long Range Arena by name: where each is read, with which options, and what a folder holds of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ulmus.sequences.labelled_batches import Splits
from ulmus.sequences.lra import images, retrieval, text
from ulmus.sequences.lra.listops import files as listops
from ulmus.sequences.lra.pathfinder import files as pathfinder
from ulmus.sequences.lra.sequences import Sequences

_SAMPLE = 200


class Task(NamedTuple):
    """How a task is found and opened.

    Attributes:
        open: the sequences in a folder; gets the options in `reading` by name.
        find: options of every data set of the task that a folder holds, for its description.
        reading: options that decide what is read.
        encoding: options that decide how it becomes input.
    """

    open: Callable[..., Splits[Sequences]]
    find: Callable[[Path], list[dict[str, Any]]]
    reading: tuple[str, ...] = ()
    encoding: tuple[str, ...] = ()

    @property
    def options(self) -> tuple[str, ...]:
        """All options that change something for this task."""
        return self.reading + self.encoding


_GRAY = ("gray", "bins")
TASKS = {
    "listops": Task(listops.listops_splits, listops.find),
    "text": Task(text.text_splits, text.find, ("longest",)),
    "retrieval": Task(retrieval.retrieval_splits, retrieval.find, ("longest",)),
    "image": Task(images.image_splits, images.find, (), _GRAY),
    "pathfinder": Task(pathfinder.pathfinder_splits, pathfinder.find, ("size", "contour_paddles"), _GRAY),
    "pathfinder-x": Task(pathfinder.pathfinder_x_splits, lambda folder: [], ("contour_paddles",), _GRAY),
}
"""A new task is a module with functions like these, and an entry here; its images of 128 x 128 are listed by ``pathfinder``."""


def describe_tasks(folder: str | Path) -> dict[str, dict[str, Any]]:
    """Every task that a folder holds, by its name; lengths are those of the first 200 training sequences.

    Raises:
        DataError: a file is missing or damaged.
    """
    place = Path(folder).expanduser()
    found = (task.open(place, **options) for task in TASKS.values() for options in task.find(place))
    return {splits.train.name: _describe(splits) for splits in found}


def _describe(splits: Splits[Sequences]) -> dict[str, Any]:
    train = splits.train
    lengths = [len(train.read(index)) for index in range(min(_SAMPLE, len(train)))]
    per_class = sum(np.bincount(part.labels, minlength=len(train.classes)) for part in splits)
    return {
        "path": str(train.path),
        **{name: len(part) for name, part in splits._asdict().items()},
        "sequences_per_item": train.towers,
        "tokens": train.tokens,
        "steps": {"shortest": min(lengths), "mean": float(np.mean(lengths)), "longest": max(lengths)},
        "items_per_class": dict(zip(train.classes, np.asarray(per_class).tolist(), strict=True)),
        "generated": train.generated,
    }
