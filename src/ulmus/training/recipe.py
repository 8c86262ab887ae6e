"""A recipe: everything that decides the result of a training run, as one validated, frozen value."""

from abc import abstractmethod
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt, model_validator

from ulmus.arguments import MOST_WORKERS
from ulmus.errors import ConfigError
from ulmus.settings import Names, Settings, several
from ulmus.training.models import ELMModel, Model
from ulmus.training.problem import HeldOut, Problem


class TrainingSettings(Settings):
    """How a model is trained, whatever it is and learns."""

    steps: PositiveInt | None = None
    """Optimiser steps; or give epochs."""
    epochs: PositiveFloat | None = None
    """Passes through the training sequences, instead of steps."""
    batch: PositiveInt = 8
    """Sequences or windows in an optimiser step, over all devices together."""
    optimizer: Literal["adam", "adamw", "adamax", "nadam", "radam", "rmsprop", "sgd"] = "adam"
    """Of `torch.optim`. adam and adamw are one: weights decay beside the gradient. sgd has momentum 0.9."""
    learning_rate: PositiveFloat = 5e-4
    """The highest rate, reached after the warm-up."""
    schedule: Literal["cosine", "linear", "exponential", "constant"] = "cosine"
    """How the learning rate falls after the warm-up, to the share ``final_rate`` of it."""
    final_rate: float = Field(default=0.0, ge=0, le=1)
    """Share of the learning rate at which the schedule ends. Above zero, the last lessons of a curriculum, which are the long
    ones, are still learnt from."""
    warmup_steps: int = Field(default=0, ge=0)
    """Steps at the beginning in which the learning rate rises from zero."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Shrinks weights beside the gradient (AdamW); rmsprop and sgd add it to the gradient."""
    clip_norm: PositiveFloat | None = None
    """Shorten gradients to this length (Euclidean norm over all parameters)."""
    skip_norm: PositiveFloat | None = None
    """Leave out a step whose gradient is longer than this or not finite: after hundreds of chaotic time steps it is noise.
    The metrics count them. From the 20th in a row on, finite ones are shortened to this length (or to a smaller ``clip_norm``)
    and taken: the weights are then where all gradients are long, and must leave."""
    validate_every: PositiveInt | None = None
    """Steps between validations; by default an epoch, or 10,000 steps of windows of trials."""
    select: str = "loss"
    """Validation score that decides which checkpoint is the best."""
    patience: PositiveInt | None = None
    """Early stopping: end after so many validations in a row without a better score."""
    average: float = Field(default=0.0, ge=0, lt=1)
    """Decay of a running average of the weights (EMA), which is then what is validated and kept; 0 keeps the last weights."""
    checkpoint_every: PositiveInt = 2_000
    """Steps between saved states from which an interrupted run resumes."""
    log_every: PositiveInt = 100
    """Steps between lines of ``metrics.jsonl``."""
    loggers: Annotated[tuple[Literal["csv", "tensorboard"], ...], BeforeValidator(several)] = ()
    """Write metrics into the run folder in these forms too; ``metrics.jsonl`` is always written."""
    callbacks: Names = ()
    """Classes derived from `ulmus.training.Callback`, each as ``package.module:Class``."""
    accelerator: str = "cpu"
    """What to train on, by the name that Lightning Fabric gives it: ``cpu``, ``cuda``, ``auto``."""
    devices: PositiveInt = 1
    """Devices per machine, or processes on a CPU."""
    nodes: PositiveInt = 1
    """Machines."""
    precision: str = "32-true"
    """Number format, by the name that Lightning Fabric gives it: ``32-true``, ``bf16-mixed``."""
    threads: int = Field(default=1, ge=1, le=MOST_WORKERS)
    """CPU threads of this process; one is best for small neurons."""
    memory_budget_mib: float = Field(default=16.0, ge=0)
    """What a step may keep for its backward pass before it computes inner signals again: see `ulmus.kernels.memory_budget`."""

    @model_validator(mode="after")
    def _fits_together(self) -> "TrainingSettings":
        if (self.steps is None) == (self.epochs is None):
            raise ValueError(
                f"steps={self.steps}, epochs={self.epochs}: expected one of the two; leave one out"
            )
        if self.final_rate and self.schedule == "constant":
            raise ValueError(
                f"final_rate={self.final_rate} changes nothing: the schedule is constant; choose 'cosine', or leave it out"
            )
        if self.optimizer == "adamax" and self.weight_decay:
            raise ValueError("weight_decay does not go with optimizer 'adamax'; set it to 0, or use adam")
        return self


class Recipe(Settings):
    """What the recipes of all training runs have in common; every kind of data has one of its own."""

    name: str
    """What the run is called in messages and reports."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Decides the random weights, the order of batches, augmentation and dropout."""
    start_from: str | None = None
    """Run folder or saved model of the same shape whose weights training begins with; random ones by default."""
    model: Model = Field(default_factory=lambda: ELMModel.model_validate({}))
    """Which model is trained, with its sizes."""
    data: Any
    """What it learns from; ``kind`` says which settings are meant."""
    training: TrainingSettings
    """How it is trained."""

    @model_validator(mode="after")
    def _score_exists(self) -> Self:
        known = list(self.validated())
        if self.training.select not in known:
            raise ValueError(
                f"training.select={self.training.select!r}: expected one of {known}; choose one of them"
            )
        return self

    @abstractmethod
    def validated(self) -> tuple[str, ...]:
        """Scores of the validation data, one of which chooses the best checkpoint."""

    @abstractmethod
    def problem(self) -> Problem:
        """The model and the data, opened and checked; random weights are drawn from the seed.

        Raises:
            ConfigError: the recipe does not fit the data.
            DataError: data are missing or damaged.
        """

    def held_out(self, split: Literal["validation", "test"], place: str | None = None) -> HeldOut:
        """Sequences of the task that training does not learn from, ready to be scored.

        Args:
            split: ``validation``, which chooses the best checkpoint, or ``test``.
            place: Where the data lie, if not where the recipe says.

        Raises:
            ConfigError: data of this kind have no such part.
            DataError: data are missing or damaged.
        """
        raise ConfigError(
            f"recipe {self.name} has no {split} sequences of its own; expected data of another kind. Score it with "
            "ulmus evaluate --data."
        )

    def check_apart(self, held_out: Collection[str]) -> None:
        """Refuse items that have two uses among training, validation and these held-out ones.

        Raises:
            ConfigError: some have.
        """

    def to_yaml(self) -> str:
        """The whole recipe with every default filled in; itself a valid recipe file."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)

    def with_training(self, **changes: Any) -> Self:
        """The recipe with other values of its training settings."""
        return self.model_copy(update={"training": self.training.model_copy(update=changes)})

    def resolved(self, batches_per_epoch: int, validate_every: int) -> Self:
        """The recipe with steps instead of epochs, and a number of steps between validations."""
        training = self.training
        steps = training.steps or max(1, round((training.epochs or 0) * batches_per_epoch))
        every = training.validate_every or validate_every
        return self.with_training(steps=steps, epochs=None, validate_every=every)

    @property
    def steps(self) -> int:
        """Optimiser steps of a resolved recipe."""
        if self.training.steps is None:
            raise ConfigError("training.epochs was not resolved; call resolved first.")
        return self.training.steps


PLACE_KEYS = frozenset(
    {
        "data.folder",
        "data.more",
        "data.train",
        "data.validation",
        "data.test",
        "data.labelled",
        "data.workers",
    }
)
"""Keys that may change in the course of a run: where its data lie, whose hashes are compared anyway, and how many processes
make the same batches."""


def changed_keys(before: Recipe, now: Recipe, ignored: Collection[str] = ()) -> list[str]:
    """Where two recipes differ, one text for every dotted key with both of its values; `ignored` keys do not count."""
    one, other = (flat_keys(recipe.model_dump(mode="json")) for recipe in (before, now))
    keys = [key for key in {**one, **other} if key not in ignored]
    absent = "absent"
    return [
        f"{key} was {one.get(key, absent)} and is {other.get(key, absent)}"
        for key in keys
        if one.get(key, absent) != other.get(key, absent)
    ]


def flat_keys(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by dotted key."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flat_keys(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat
