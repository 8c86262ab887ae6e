"""The `data` of a recipe for sequences of your own: where they lie, and how they are divided."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from ulmus.arguments import MOST_WORKERS
from ulmus.errors import ConfigError
from ulmus.neuron.predictor import LOOKING_AHEAD, WHOLE, Task
from ulmus.sequences.arrays.files import read_sequences, step_ms
from ulmus.sequences.arrays.layout import Layout
from ulmus.sequences.arrays.sequence_set import SequenceSet
from ulmus.sequences.arrays.splits import check_apart, split
from ulmus.settings import Names, Settings

MEMORY = "given from Python"
"""What a recipe calls data that lie in no file."""


class ArraysData(Settings):
    """Sequences in files of your own: NPZ, HDF5, CSV, Parquet, or folders of .npy files."""

    kind: Literal["arrays"]
    train: Annotated[Names, Field(min_length=1)]
    """Files to learn from; patterns such as ``"subject_*.npz"`` name several."""
    validation: float | Names = 0.2
    """Files, or a share of the sequences of ``train``: they choose the best checkpoint."""
    test: float | Names | None = None
    """Files, or a share of the sequences of ``train``, which ``ulmus evaluate`` scores."""
    split: Literal["random", "time"] = "random"
    """Shares are whole sequences drawn at random (classes in equal shares), or the end of every sequence."""
    split_by: str | None = None
    """Array or column, such as the subject, whose values are each on one side alone; also of files."""
    split_seed: int = Field(default=0, ge=0)
    """Decides which sequences go where; the same for every seed of a run."""
    values: Names = ()
    """The array of values, ``values`` by default; or the columns of a table that hold them, all others by default."""
    targets: Names = ("targets",)
    """The array of targets; or one or several columns of a table."""
    sequence: str = "sequence"
    """Column of a table with a row for every step: to which sequence it belongs. Without it, a row is a sequence."""
    time: str | None = None
    """Column of such a table with the time in ms."""
    input: Literal["numbers", "tokens", "characters", "events"] | None = None
    """What values are; needed only for whole numbers ``[sequence, time]`` and for tables of tokens or texts."""
    dt_ms: PositiveFloat | None = None
    """Duration of a step; 1 ms by default, or as the times of a table are apart."""
    sample_rate_hz: PositiveFloat | None = None
    """Instead of ``dt_ms``."""
    normalise: bool = True
    """Give every channel of numbers mean 0 and standard deviation 1, as measured on the training sequences alone."""
    missing: Literal["refuse", "mask"] = "refuse"
    """Refuse missing values (NaN, or False in ``mask``), or tell the model by further channels which are there."""
    window: PositiveInt | None = None
    """Cut sequences into pieces of so many steps."""
    stride: PositiveInt | None = None
    """Steps from one piece to the next; ``window`` by default."""
    workers: int = Field(default=0, ge=0, le=MOST_WORKERS)
    """Processes that make batches; batches are the same for any number."""

    @model_validator(mode="after")
    def _one_duration(self) -> Self:
        if self.dt_ms is not None and self.sample_rate_hz is not None:
            raise ValueError("dt_ms and sample_rate_hz say the same; give one of them")
        for name in ("validation", "test"):
            share = getattr(self, name)
            if isinstance(share, float) and not 0 < share < 1:
                raise ValueError(f"{name} is a share above 0 and below 1, or files; got {share:g}")
        if self.split_by is not None and self.split == "time":
            raise ValueError(
                f"split: time has the end of every sequence on another side, which split_by: {self.split_by} forbids; give one "
                "of them"
            )
        if self.stride is not None and self.window is None:
            raise ValueError("stride goes with window; give both or none")
        return self

    def layout(self, task: Task, optional: bool = False) -> Layout:
        """What the parts of a file are called; `optional` says that the subjects may be unknown."""
        dt_ms = self.dt_ms if self.sample_rate_hz is None else 1000 / self.sample_rate_hz
        return Layout(
            self.values,
            None if task in LOOKING_AHEAD else self.targets,
            self.sequence,
            self.time,
            (self.split_by,) if self.split_by else (),
            optional,
            self.input,
            self.missing,
            task.startswith("step-"),
            dt_ms,
        )

    def parts(self, task: Task) -> tuple[dict[str, SequenceSet], float]:
        """Sequences to learn from (``train``), to choose by (``validation``) and, where there are some, to report on
        (``test``), and the duration of a step in ms.

        Raises:
            ConfigError: a part has no sequence.
            DataError: files are missing or damaged, or two parts share sequences or subjects.
        """
        layout, step = self.layout(task), step_ms(self.train, self.layout(task))
        train = read_sequences(self.train, layout)
        layout = replace(layout, dt_ms=step) if self.time else layout  # of all files
        files = {
            name: value
            for name, value in (("validation", self.validation), ("test", self.test))
            if isinstance(value, tuple)
        }
        others = {name: read_sequences(sources, layout) for name, sources in files.items()}
        return divided(self, task, train, others), step


def divided(
    data: ArraysData, task: Task, train: SequenceSet, others: Mapping[str, SequenceSet]
) -> dict[str, SequenceSet]:
    """The parts of the data, of which some may lie apart already.

    Raises:
        ConfigError: a part has no sequence.
        DataError: two parts share sequences or subjects.
    """
    step_targets = task.startswith("step-")
    given = {"validation": data.validation, "test": data.test}
    shares = {
        name: value for name, value in given.items() if isinstance(value, float | int) and name not in others
    }
    parts = {"train": train}
    if shares:
        parts = split(
            train, shares, how=data.split, by=data.split_by, seed=data.split_seed, step_targets=step_targets
        )
    parts |= others
    check_apart(parts, data.split_by if data.split == "random" else None)
    if data.window is not None:
        if task in WHOLE:
            raise ConfigError(
                f"data.window={data.window} cuts sequences, each of which has one answer in task {task}; leave it out."
            )
        parts = {
            name: windows(part, data.window, data.stride or data.window, step_targets)
            for name, part in parts.items()
        }
    return {name: parts[name] for name in ("train", "validation", "test") if name in parts}


def windows(sequences: SequenceSet, window: int, stride: int, step_targets: bool) -> SequenceSet:
    """Sequences cut into pieces of so many steps; the last piece of each may be shorter."""
    bounds = [
        (index, first, min(first + window, int(length)))
        for index, length in enumerate(sequences.lengths)
        for first in range(0, max(1, int(length) - window + stride), stride)
        if first < length
    ]
    return sequences.stretches(bounds, step_targets)
