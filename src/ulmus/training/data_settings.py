"""The `data` of a recipe for spoken digits or Long Range Arena: what is learnt from, and where it lies."""

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from ulmus.sequences.digits.augmentation import ClipAugmentation
from ulmus.sequences.digits.batches import AddedDigits, Binning, Digits
from ulmus.sequences.digits.shd import open_digits
from ulmus.sequences.labelled_batches import LabelledSplits
from ulmus.sequences.lra.tasks import Gray, Task, open_sequences
from ulmus.settings import Settings


class DigitsData(Settings):
    """Spoken digits as spikes on 700 channels, in the layout of the Spiking Heidelberg Digits."""

    kind: Literal["digits"]
    folder: str
    """Folder with files ``*_train.h5`` and ``*_test.h5``."""
    task: Literal["classify", "add"] = "classify"
    """One digit a sequence, or two after each other to be added (SHD-Adding)."""
    bin_ms: PositiveFloat = 2.0
    """Length of a step."""
    window_s: PositiveFloat = 1.0
    """How much of a clip is used."""
    validation: Literal["speaker", "random", "published"] = "speaker"
    """Whether speakers or clips are held out of the training file, or a file of its own is used."""
    validation_share: float = Field(default=0.2, gt=0, lt=1)
    """Share of the clips that are held out."""
    validation_seed: int = Field(default=0, ge=0)
    """Decides which; the same for every seed of a run, so that all runs are chosen by the same clips."""
    batches_per_epoch: PositiveInt = 500
    """Batches in an epoch of added digits, which are drawn with replacement."""
    held_out_sums: PositiveInt = 2_000
    """Pairs of digits in the fixed validation and test sets of added digits."""
    shift: int = Field(default=0, ge=0)
    """Augmentation: most channels by which a training clip moves as a whole."""
    jitter: float = Field(default=0.0, ge=0)
    """Augmentation: standard deviation in channels by which every spike moves."""
    stretch: float = Field(default=0.0, ge=0, lt=1)
    """Augmentation: largest relative change of a clip's duration."""
    drop: float = Field(default=0.0, ge=0, lt=1)
    """Augmentation: probability that a spike is left out."""
    workers: int = Field(default=0, ge=0)
    """Processes that make batches; batches are the same for any number."""

    def lessons(self) -> list[tuple[float, "DigitsData | SequencesData"]]:
        """None: digits are learnt as they are."""
        return []

    def open(self, batch: int, seed: int, share: tuple[int, int] = (0, 1)) -> LabelledSplits:
        """Training batches shuffled by the seed, of which this process gets a share; held-out ones the same always.

        Raises:
            DataError: a file is missing or damaged.
        """
        clips = open_digits(
            self.folder, validation=self.validation, share=self.validation_share, seed=self.validation_seed
        )
        binning = Binning(self.bin_ms, self.window_s)
        changes = ClipAugmentation(self.shift, self.jitter, self.stretch, self.drop)
        if self.task == "classify":
            held_out = (Digits(part, batch, binning) for part in clips[1:])
            return LabelledSplits(Digits(clips.train, batch, binning, seed, share, changes), *held_out)
        count = -(-self.held_out_sums // batch)
        sums = (
            AddedDigits(part, batch, binning, seed=number, batches_per_epoch=count)
            for number, part in enumerate(clips[1:])
        )
        return LabelledSplits(
            AddedDigits(clips.train, batch, binning, seed, self.batches_per_epoch, share, changes), *sums
        )


class Lesson(Settings):
    """Easier data of the same task, for some of the first steps of training."""

    until: float = Field(gt=0, lt=1)
    """Share of all steps after which the next lesson begins, or after the last one the task itself."""
    subfolder: str | None = None
    """Folder of the data, as seen from that of the task; the same by default."""
    contour_paddles: Literal[6, 9, 14] | None = None
    """Length of the contours of Pathfinder; that of the task by default."""
    hints: bool | None = None
    """Say more than the class of an image, see the task's ``hints``; those of the task by default."""


_CONTOURS = ("pathfinder", "pathfinder-x")
_IMAGES = ("image", *_CONTOURS)
_OF_TASKS = {
    "size": ("pathfinder",),
    "contour_paddles": _CONTOURS,
    "longest": ("text", "retrieval"),
    "gray": _IMAGES,
    "bins": _IMAGES,
}
"""Settings that only some tasks have."""


class SequencesData(Settings):
    """A task of Long Range Arena: tokens or pixels, one a step."""

    kind: Literal["sequences"]
    task: Task
    folder: str
    """What the archive was unpacked to, or where the data were made."""
    size: Literal[32, 64, 128, 256] = 32
    """Width of the images of task ``pathfinder``; ``pathfinder-x`` has 128."""
    contour_paddles: Literal[6, 9, 14] = 14
    """Length of the contours of Pathfinder: 14 is the benchmark, 6 is easy."""
    longest: int | None = Field(default=None, ge=1)
    """Tokens after which texts are cut; 4096 for ``text`` and 4000 for ``retrieval`` by default."""
    gray: Gray = "bins"
    """Images as gray levels in equal bins, without the darkest of them, or as one number from 0 to 1. Or ``lit``: only pixels
    that are not in the darkest bin, one a step, each with its column and row."""
    bins: int | None = Field(default=None, ge=2, le=256)
    """How many; 16 by default, 8 for images of 128 x 128 and for ``lit``."""
    similar_lengths: bool = True
    """Put training items of similar length into the same batch, where lengths are known before reading: texts and expressions."""
    hints: bool = False
    """Say in training at every pixel how many discs it is linked to by what lies before it: more than the benchmark tells. Of
    Pathfinder images that were made here."""
    step_ms: PositiveFloat = 1.0
    """What one step stands for in the time of a neuron: half of it lets a neuron see an image twice as large as before."""
    curriculum: tuple[Lesson, ...] = ()
    """Lessons to begin with, one after the other; validation is of the task itself all the time."""
    workers: int = Field(default=0, ge=0)
    """Processes that make batches; batches are the same for any number."""

    @model_validator(mode="after")
    def _lessons_in_order(self) -> Self:
        ends = [lesson.until for lesson in self.curriculum]
        if any(one >= other for one, other in pairwise(ends)):
            raise ValueError(
                f"lessons end at {ends} of all steps; expected each to end later than the one before"
            )
        return self

    @model_validator(mode="after")
    def _of_this_task(self) -> Self:
        fields = type(self).model_fields
        given = [name for name in _OF_TASKS if getattr(self, name) != fields[name].default]
        given += ["contour_paddles" for lesson in self.curriculum if lesson.contour_paddles]
        for name in given:
            tasks = _OF_TASKS[name]
            if self.task not in tasks:
                raise ValueError(
                    f"{name} changes nothing for task {self.task}; expected it for {' or '.join(tasks)} alone; leave it out"
                )
        return self

    @model_validator(mode="after")
    def _bins_for_bins(self) -> Self:
        if self.bins is not None and self.gray == "intensity":
            raise ValueError(
                f"bins={self.bins} changes nothing for gray 'intensity'; expected it for the other kinds; leave it out"
            )
        return self

    def lessons(self) -> list[tuple[float, "DigitsData | SequencesData"]]:
        """The data of every lesson, and the share of all steps after which it ends."""
        found: list[tuple[float, DigitsData | SequencesData]] = []
        for lesson in self.curriculum:
            changes = {
                "curriculum": (),
                "folder": str(Path(self.folder) / (lesson.subfolder or "")),
                "contour_paddles": lesson.contour_paddles or self.contour_paddles,
                "hints": self.hints if lesson.hints is None else lesson.hints,
            }
            found.append((lesson.until, self.model_copy(update=changes)))
        return found

    def open(self, batch: int, seed: int, share: tuple[int, int] = (0, 1)) -> LabelledSplits:
        """Training batches shuffled by the seed, of which this process gets a share; held-out ones the same always.

        Raises:
            DataError: a file is missing or damaged.
        """
        options = self.model_dump(exclude={"kind", "task", "folder", "step_ms", "curriculum", "workers"})
        splits = open_sequences(self.task, self.folder, batch=batch, seed=seed, share=share, **options)
        for part in splits:
            part.step_ms = self.step_ms
        return splits


LabelledData = Annotated[DigitsData | SequencesData, Field(discriminator="kind")]
"""Sequences with a class each."""
