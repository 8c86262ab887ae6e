"""Callbacks and loggers: what training calls as it goes."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from ulmus.errors import ConfigError, extra
from ulmus.training.run import Run

LOGGERS = ("csv", "tensorboard")


class TrainingProgress(NamedTuple):
    """Where a training run stands."""

    step: int
    steps: int
    loss: float
    note: str
    """The scores of the last validation in a few words."""


class Callback:
    """Called in the course of a training; derive from it and fill in what you need.

    A method that returns True ends the training after this step; the run can be resumed.

    Example:
        >>> class StopWhenGood(Callback):
        ...     def on_validation_end(self, progress, scores):
        ...         return scores["loss"] < 0.1
    """

    def on_train_start(self, run: Run) -> None:
        """Before the first step of this process."""

    def on_train_batch_end(self, progress: TrainingProgress) -> bool | None:
        """After every step of the optimiser."""

    def on_validation_end(self, progress: TrainingProgress, scores: Mapping[str, Any]) -> bool | None:
        """After every validation, with its scores."""

    def on_train_end(self, run: Run) -> None:
        """After the last step of this process."""


class Logger(Protocol):
    """Receives metrics in addition to the run folder; Lightning's loggers fit."""

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        """Keep the metrics of a step."""


def named_callbacks(names: Sequence[str]) -> list[Callback]:
    """Callbacks by the place of their class, ``package.module:Class``.

    Raises:
        ConfigError: there is none.
    """
    found = []
    for name in names:
        module, _, kind = name.partition(":")
        try:
            found.append(getattr(import_module(module), kind)())
        except (ImportError, AttributeError, ValueError, TypeError) as error:
            raise ConfigError(
                f"training.callbacks: {name!r} cannot be used ({error}); expected package.module:Class, a class derived from "
                "ulmus.training.Callback that is made without arguments."
            ) from error
    return found


def named_loggers(names: Sequence[str], folder: Path) -> list[Logger]:
    """Loggers of Lightning Fabric by name, which write into the run folder.

    Raises:
        MissingToolError: a package is not installed.
    """
    made: list[Logger] = []
    for name in names:
        with extra("loggers", f"training.loggers: {name}"):
            from lightning_fabric.loggers.csv_logs import CSVLogger
            from lightning_fabric.loggers.tensorboard import TensorBoardLogger

            if name == "tensorboard":
                import_module("tensorboard")
        kind: Any = CSVLogger if name == "csv" else TensorBoardLogger
        made.append(kind(root_dir=folder, name=name, version=""))
    return made


def log(loggers: Sequence[Logger], line: Mapping[str, Any]) -> None:
    """Give a line of metrics to all loggers, numbers alone; those of a validation as ``validation/NAME``."""
    metrics = {
        name: float(value)
        for name, value in line.items()
        if isinstance(value, int | float) and name != "step"
    }
    for name, value in line.get("validation", {}).items():
        if isinstance(value, int | float):
            metrics[f"validation/{name}"] = float(value)
    for logger in loggers:
        logger.log_metrics(metrics, line["step"])
        if hasattr(logger, "save"):
            logger.save()
