"""The tasks of Long Range Arena as the ``data`` of a recipe: what each reads, and with which options."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from pydantic import Field, PositiveFloat, field_validator, model_validator

from ulmus.arguments import MOST_WORKERS
from ulmus.errors import closest
from ulmus.sequences.labelled_batches import LabelledBatches, LabelledSettings, Splits
from ulmus.sequences.lra import images, retrieval, text
from ulmus.sequences.lra.archive import look_for
from ulmus.sequences.lra.batches import SequenceBatches
from ulmus.sequences.lra.encoding import Encoding, Gray, OneHot, gray_encoding
from ulmus.sequences.lra.listops import files as listops
from ulmus.sequences.lra.pathfinder import files as pathfinder
from ulmus.sequences.lra.sequences import Sequences
from ulmus.settings import Settings, validated

_SAMPLE = 200
_GRAY = ("gray", "bins")


class Task(NamedTuple):
    """How a task is found and opened.

    Attributes:
        open: the sequences in a folder; gets the options in `reading` by name.
        find: options of every data set of the task that a folder holds, or whether it holds the one that there is.
        reading: options that decide what is read.
        encoding: options that decide how it becomes input.
    """

    open: Callable[..., Splits[Sequences]]
    find: Callable[[Path], list[dict[str, Any]] | Path | None]
    reading: tuple[str, ...] = ()
    encoding: tuple[str, ...] = ()

    @property
    def options(self) -> tuple[str, ...]:
        """All options that change something for this task."""
        return self.reading + self.encoding


TASKS = {
    "listops": Task(listops.listops_splits, lambda folder: look_for(folder, listops.FOLDER)),
    "text": Task(text.text_splits, text.find, ("longest",)),
    "retrieval": Task(
        retrieval.retrieval_splits, lambda folder: look_for(folder, retrieval.FOLDER), ("longest",)
    ),
    "image": Task(images.image_splits, images.find, (), _GRAY),
    "pathfinder": Task(pathfinder.pathfinder_splits, pathfinder.find, ("size", "contour_paddles"), _GRAY),
    "pathfinder-x": Task(pathfinder.pathfinder_x_splits, lambda folder: [], ("contour_paddles",), _GRAY),
}
"""A new task is a module with functions like these, and an entry here; its images of 128 x 128 are listed by ``pathfinder``."""


class Lesson(Settings):
    """Easier data of the same task, for some of the first steps of training."""

    until: float = Field(gt=0, lt=1)
    """Share of all steps after which the next lesson begins, or after the last one the task itself."""
    subfolder: str | None = None
    """Folder of the data, relative to that of the task; the same by default."""
    contour_paddles: Literal[6, 9, 14] | None = None
    """Length of the contours of Pathfinder; that of the task by default."""
    hints: bool | None = None
    """Whether training is told more than the class of an image; as for the task by default."""


class SequencesData(LabelledSettings):
    """A task of Long Range Arena: tokens or pixels, one per step."""

    kind: Literal["sequences"]
    task: str
    """``listops``, ``text``, ``retrieval``, ``image``, ``pathfinder`` or ``pathfinder-x``."""
    folder: str
    """Folder that the archive was unpacked to, or in which the data were made."""
    size: Literal[32, 64, 128, 256] = 32
    """Width of the images of task ``pathfinder``; those of ``pathfinder-x`` are 128 wide."""
    contour_paddles: Literal[6, 9, 14] = 14
    """Length of the contours of Pathfinder: 14 is the benchmark, 6 is easy."""
    longest: int | None = Field(default=None, ge=2)
    """Tokens after which texts are cut; 4096 for ``text`` and 4000 for ``retrieval`` by default."""
    gray: Gray = "bins"
    """Images as gray levels in equal bins (``bins``), without an event for the darkest bin (``silent-background``), or as one
    number from 0 to 1 (``intensity``). With ``lit``, only pixels outside the darkest bin are read, each with its
    column and row."""
    bins: int | None = Field(default=None, ge=2, le=256)
    """Number of gray bins; 16 by default, 8 for images of 128 x 128 (as in the paper) and for ``lit``."""
    similar_lengths: bool = True
    """Put training items of similar length into the same batch, where lengths are known before reading: texts and expressions."""
    hints: bool = False
    """Tell training at every pixel how many discs it is linked to by the pixels before it: more than the benchmark tells. Only
    for Pathfinder images that were made with Ulmus."""
    step_ms: PositiveFloat = 1.0
    """Duration of a step for the neuron: with half of it, a neuron can go on with images twice as wide as before."""
    curriculum: tuple[Lesson, ...] = ()
    """Lessons to begin with, one after the other; validation is always on the task itself."""
    workers: int = Field(default=0, ge=0, le=MOST_WORKERS)
    """Processes that make batches; batches are the same for any number."""

    @field_validator("task")
    @classmethod
    def _known(cls, task: str) -> str:
        if task not in TASKS:
            raise ValueError(f"expected one of {', '.join(TASKS)}.{closest(task, list(TASKS))}")
        return task

    @model_validator(mode="after")
    def _lessons_in_order(self) -> Self:
        ends = [lesson.until for lesson in self.curriculum]
        if any(one >= other for one, other in pairwise(ends)):
            raise ValueError(
                f"lessons end at {ends} of all steps; expected each to end later than the one before"
            )
        return self

    @model_validator(mode="after")
    def _options_of_this_task(self) -> Self:
        fields = type(self).model_fields
        of_some = {option for task in TASKS.values() for option in task.options}
        given = [name for name in fields if name in of_some and getattr(self, name) != fields[name].default]
        given += ["contour_paddles" for lesson in self.curriculum if lesson.contour_paddles]
        for name in given:
            if name not in TASKS[self.task].options:
                tasks = [other for other, task in TASKS.items() if name in task.options]
                raise ValueError(
                    f"{name} has no effect on task {self.task}; expected it only for {' or '.join(tasks)}; leave it out"
                )
        return self

    @model_validator(mode="after")
    def _bins_for_bins(self) -> Self:
        if self.bins is not None and self.gray == "intensity":
            raise ValueError(
                f"bins={self.bins} has no effect with gray 'intensity'; expected it only with the other kinds; leave it out"
            )
        return self

    def lessons(self) -> list[tuple[float, Self]]:
        """The data of every lesson, and the share of all steps after which it ends."""
        found = []
        for lesson in self.curriculum:
            changes = {
                "curriculum": (),
                "folder": str(Path(self.folder) / (lesson.subfolder or "")),
                "contour_paddles": lesson.contour_paddles or self.contour_paddles,
                "hints": self.hints if lesson.hints is None else lesson.hints,
            }
            found.append((lesson.until, self.model_copy(update=changes)))
        return found

    @property
    def has_hints(self) -> bool:
        """Whether training is told more than the class of an image."""
        return self.hints

    def for_scoring(self) -> Self:
        """The same data without hints, which held-out data need not have."""
        return self.model_copy(update={"hints": False})

    def notes(self) -> list[str]:
        """Reading lit pixels is another input than that of the benchmark."""
        if self.gray != "lit":
            return []
        return [
            "it reads only the lit pixels of an image and is told the place of each: compare these scores with those of models "
            "that read the same"
        ]

    def sequences(self) -> Splits[Sequences]:
        """The sequences of the task, from whatever the folder holds; stand-ins have names of their own.

        Raises:
            DataError: data are missing or damaged.
        """
        task = TASKS[self.task]
        return task.open(
            Path(self.folder).expanduser(), **{name: getattr(self, name) for name in task.reading}
        )

    def open(self, batch: int, seed: int, share: tuple[int, int] = (0, 1)) -> Splits[LabelledBatches]:
        """Encoded batches."""
        train, *held_out = self.sequences()
        encoding: Encoding = OneHot(train.tokens)
        if train.width is not None:
            encoding = gray_encoding(self.gray, self.bins, train.width)
        splits = Splits[LabelledBatches](
            SequenceBatches(train, encoding, batch, seed, share, self.similar_lengths, self.hints),
            *(SequenceBatches(part, encoding, batch) for part in held_out),
        )
        for part in splits:
            part.step_ms = self.step_ms
        return splits


def open_sequences(
    task: str,
    folder: str | Path,
    *,
    batch: int,
    seed: int = 0,
    share: tuple[int, int] = (0, 1),
    **options: Any,
) -> Splits[LabelledBatches]:
    """Batches of a task; `options` are those of :class:`SequencesData`, such as ``gray="lit"``.

    Raises:
        ConfigError: a task or option that does not exist.
        DataError: data are missing or damaged.
    """
    return _settings(task, folder, options).open(batch, seed, share)


def task_splits(task: str, folder: str | Path, **options: Any) -> Splits[Sequences]:
    """The sequences of a task before they are encoded; `options` are those of :class:`SequencesData`.

    Raises:
        ConfigError: a task or option that does not exist.
        DataError: data are missing or damaged.
    """
    return _settings(task, folder, options).sequences()


def _settings(task: str, folder: str | Path, options: dict[str, Any]) -> SequencesData:
    values = {"kind": "sequences", "task": task, "folder": str(folder), **options}
    return validated(SequencesData, values, f"task {task}", "give {key}")


def describe_tasks(folder: str | Path) -> dict[str, dict[str, Any]]:
    """Every task that a folder holds, by its name; lengths are those of the first 200 training sequences.

    Raises:
        DataError: a file is missing or damaged.
    """
    place = Path(folder).expanduser()
    described = {}
    for task in TASKS.values():
        found = task.find(place) or []
        for options in found if isinstance(found, list) else [{}]:
            splits = task.open(place, **options)
            described[splits.train.name] = _describe(splits)
    return described


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
