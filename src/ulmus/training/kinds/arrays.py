"""Anybody's sequences: classes or numbers for a sequence or for its steps, what comes next, learnt by any model."""

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from jaxtyping import Float
from pydantic import BeforeValidator, model_validator
from torch import Tensor, nn
from torch.nn import functional

from ulmus.errors import ConfigError, DataError
from ulmus.evaluation.linear_probe import ProbeScores, fit_probe, part_means
from ulmus.evaluation.sequence_metrics import UPWARDS, sequence_scores
from ulmus.kernels import Events
from ulmus.neuron.predictor import CLASSIFYING, LOOKING_AHEAD, WHOLE, Predictor
from ulmus.sequences.arrays.batches import NO_CLASS, ArrayBatches, SequenceBatch
from ulmus.sequences.arrays.files import read_sequences, step_ms
from ulmus.sequences.arrays.sequence_set import SequenceSet
from ulmus.sequences.arrays.settings import MEMORY, ArraysData, windows
from ulmus.sequences.arrays.splits import check_apart
from ulmus.sequences.arrays.tables import TABLES
from ulmus.training.kinds.array_task import (
    TaskSettings,
    answers_of,
    fitting,
    targets_of,
    task_settings,
    with_names,
)
from ulmus.training.problem import HeldOut, Problem
from ulmus.training.recipe import Recipe


class ArraysRecipe(Recipe):
    """Train a model on sequences of your own."""

    data: ArraysData
    task: Annotated[TaskSettings, BeforeValidator(task_settings)]

    @model_validator(mode="after")
    def _fits_the_task(self) -> Self:
        kind, task = self.task.kind, self.task
        if (task.class_weights or task.label_smoothing) and kind not in CLASSIFYING:
            raise ValueError(
                f"task.class_weights and label_smoothing are for classes, which task {kind} has not; leave them out"
            )
        if (task.horizon > 1 or task.channels) and kind != "forecasting":
            raise ValueError(
                f"task.horizon and task.channels are for forecasting; task {kind} has neither; leave them out"
            )
        both = set(self.data.values) & set(self.data.targets)
        if both and kind not in LOOKING_AHEAD:
            raise ValueError(
                f"{min(both)!r} is among data.values and data.targets, so that a model would read its answer; take it out of one"
            )
        if task.burn_in and kind in WHOLE:
            raise ValueError(
                f"task.burn_in leaves steps out, but task {kind} has one answer a sequence; leave it out"
            )
        return self

    def validated(self) -> tuple[str, ...]:
        """Scores of this task that can choose the best checkpoint."""
        if self.task.kind == "next-token":
            return ("loss", "bits_per_token", "accuracy")
        if self.task.kind in CLASSIFYING:
            return ("loss", "accuracy", "balanced_accuracy", "f1")
        return ("loss", "rmse", "mae", "r2")

    def problem(self) -> "ArraysProblem":
        """The model and the sequences."""
        if self.data.train == (MEMORY,):
            raise ConfigError(
                f"recipe {self.name} was trained on arrays that lie in no file; go on with ulmus.fit(..., resume=True), "
                "or name files with data.train."
            )
        parts, dt_ms = self.data.parts(self.task.kind)
        return ArraysProblem(self, parts, dt_ms)

    def held_out(self, split: Literal["validation", "test"], place: str | None = None) -> HeldOut:
        """Held-out sequences of the recipe; with `place`, all sequences of that file.

        Raises:
            DataError: a file is missing or damaged, or there are no test sequences.
        """
        kind = self.task.kind
        if place is not None:
            layout = self.data.layout(kind, optional=True)
            sequences = read_sequences([place], layout)
            apart_ms = step_ms([place], layout) if place.lower().endswith(TABLES) and self.data.time else None
            if self.data.window is not None:
                step_targets = kind.startswith("step-")
                sequences = windows(
                    sequences, self.data.window, self.data.stride or self.data.window, step_targets
                )
            notes = self._notes(place)

            def scored(predictor: Predictor, *told: Any) -> dict[str, Any]:
                if apart_ms is not None and abs(apart_ms - predictor.dt_ms) > 1e-3 * predictor.dt_ms:
                    raise DataError(
                        f"{place} has a step every {apart_ms:g} ms, but the model was trained with {predictor.dt_ms:g} ms; "
                        "expected the same. Resample it."
                    )
                return self.scores(sequences, predictor, *told) | {"notes": notes}

            return HeldOut(place, sequences.content_hash, {}, scored)
        if self.data.train == (MEMORY,):
            raise ConfigError(
                f"run {self.name} learnt from arrays that lie in no file; name a file with --data."
            )
        parts, _ = self.data.parts(kind)
        if split not in parts:
            raise DataError(
                f"recipe {self.name} holds out no {split} sequences; expected a file with --data, or data.test in the recipe."
            )
        chosen = parts[split]
        hashes = {name: part.content_hash for name, part in parts.items() if name != "test"}
        return HeldOut(chosen.origin, chosen.content_hash, hashes, lambda *told: self.scores(chosen, *told))

    def _notes(self, place: str) -> list[str]:
        """What a reader of scores on a file must know."""
        validation = self.data.validation if isinstance(self.data.validation, tuple) else ()
        known = [Path(file).expanduser().resolve() for file in (*self.data.train, *validation)]
        if Path(place).expanduser().resolve() not in known:
            return []
        return [f"{place} is what it was trained on or chosen by: on other sequences expect worse"]

    def scores(
        self, sequences: SequenceSet, predictor: Predictor, on_batch: Callable[[int, int], None] | None = None
    ) -> dict[str, Any]:
        """Scores of a trained model on some sequences.

        Raises:
            DataError: the sequences do not fit the model.
        """
        sequences = fitting(sequences, predictor)
        missing = self.data.missing == "mask"
        targets = targets_of(sequences, self.task, predictor.channels, predictor.answers, missing)
        batches = ArrayBatches(sequences, targets, self.task.kind not in WHOLE, self.training.batch)
        return sequence_scores(predictor, batches, on_batch) | {"notes": []}

    def check_apart(self, held_out: Collection[str]) -> None:
        """Refuse sequences that have two uses among training, validation and these held-out ones.

        Raises:
            DataError: some have.
        """
        parts, _ = self.data.parts(self.task.kind)
        if held_out:
            parts["held_out"] = read_sequences(tuple(held_out), self.data.layout(self.task.kind))
        check_apart(parts, self.data.split_by if self.data.split == "random" else None)


class ArraysProblem(Problem):
    """A model, and sequences that it is to say something of.

    Args:
        recipe: What to do.
        parts: Sequences by use: ``train``, ``validation`` and perhaps ``test``.
        dt_ms: Duration of a step.
        model: What reads the sequences; by default the one of the recipe, with weights drawn from its seed.

    Raises:
        ConfigError: the model does not fit the data or the task.
        DataError: targets do not fit the task, or validation has classes, channels or tokens that training has not.
    """

    def __init__(
        self,
        recipe: ArraysRecipe,
        parts: Mapping[str, SequenceSet],
        dt_ms: float,
        model: nn.Module | None = None,
    ) -> None:
        self.recipe, task = recipe, recipe.task
        parts, channels = with_names(parts)
        train = parts["train"]
        if task.kind in LOOKING_AHEAD and train.input != (
            "tokens" if task.kind == "next-token" else "numbers"
        ):
            wanted = "tokens or characters" if task.kind == "next-token" else "numbers"
            raise DataError(
                f"{train.origin} holds {train.input}; expected {wanted} for task {task.kind}. Say so with data.input."
            )
        masked = recipe.data.missing == "mask"
        if masked and train.input != "numbers":
            raise ConfigError(
                f"missing: mask says which numbers are missing, but {train.origin} holds {train.input}; leave it out."
            )
        for part in parts.values():
            if task.burn_in >= part.lengths.max():
                raise ConfigError(
                    f"task.burn_in={task.burn_in} leaves nothing of {part.origin}, whose longest sequence has "
                    f"{part.lengths.max()} steps; expected fewer."
                )
        answers = answers_of(train, task, channels, recipe.data.targets, masked)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            inputs = len(channels) * (1 + masked)
            self.model = Predictor(
                recipe.model.build(inputs, len(answers), dt_ms) if model is None else model,
                task.kind,
                answers=answers,
                channels=channels,
                input="tokens"
                if train.input == "tokens"
                else "events"
                if train.input == "events"
                else "numbers",
                masked=masked,
                reading=task.reading,
                horizon=task.horizon,
                dt_ms=dt_ms,
                card={"recipe": recipe.name, "seed": recipe.seed},
            )
        self.parts = {name: fitting(part, self.model) for name, part in parts.items()}
        self.targets = {
            name: targets_of(part, task, channels, answers, masked) for name, part in self.parts.items()
        }
        self._scale(train)
        if task.kind in LOOKING_AHEAD and self.model.looks_ahead():
            raise ConfigError(
                f"the answers of this {type(self.model.model).__name__} change with later input, which task {task.kind} is to "
                "predict; expected a model that reads forwards alone: model.causal for a Transformer, no bidirectional LSTM."
            )
        self.losses = ("loss", "accuracy") if task.kind in CLASSIFYING else ("loss",)
        self._weights = self._class_weights()
        self.batches_per_epoch = self.validate_every = self._batches("train", (0, 1)).batches_per_epoch
        self.hashes = {name: part.content_hash for name, part in parts.items() if name != "test"}

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is read, so that a column that should not be is noticed."""
        model, counts = self.model, [f"{len(part)} for {name}" for name, part in self.parts.items()]
        read = (
            f"{len(model.channels)} tokens"
            if model.input == "tokens"
            else _listed("channels", model.channels)
        )
        told = _listed("classes" if model.task in CLASSIFYING else "numbers", model.answers)
        return (f"{', '.join(counts)} of sequences with {read}, a step every {model.dt_ms:g} ms; {told}",)

    def _scale(self, train: SequenceSet) -> None:
        """Means and standard deviations of numbers, from the training sequences alone."""
        model = self.model
        if train.input == "numbers" and self.recipe.data.normalise:
            mean, deviation = train.moments()
            model.input_mean.copy_(torch.as_tensor(mean))
            model.input_scale.copy_(torch.as_tensor(deviation))
        if model.task == "forecasting" and self.recipe.data.normalise:
            places = [model.channels.index(name) for name in model.answers]
            model.answer_mean.copy_(model.input_mean[places])
            model.answer_scale.copy_(model.input_scale[places])
        elif model.task in ("regression", "step-regression"):
            everything = np.concatenate([np.atleast_2d(target) for target in self.targets["train"]]).astype(
                np.float64
            )
            deviation = np.nanstd(everything, axis=0)
            model.answer_mean.copy_(torch.as_tensor(np.nanmean(everything, axis=0)))
            model.answer_scale.copy_(torch.as_tensor(np.where(deviation > 0, deviation, 1.0)))

    def _class_weights(self) -> Tensor | None:
        asked, answers = self.recipe.task.class_weights, self.model.answers
        if asked is None:
            return None
        if isinstance(asked, dict):
            if unknown := [name for name in asked if name not in answers]:
                raise ConfigError(
                    f"task.class_weights names {unknown[0]!r}; expected some of {list(answers)[:20]}."
                )
            return torch.tensor([asked.get(name, 1.0) for name in answers])
        everything = np.concatenate([np.atleast_1d(target) for target in self.targets["train"]])
        counts = np.bincount(everything[everything != NO_CLASS], minlength=len(answers))
        return torch.tensor(counts.sum() / (len(answers) * np.maximum(counts, 1)), dtype=torch.float32)

    def _batches(self, name: str, share: tuple[int, int]) -> ArrayBatches:
        recipe = self.recipe
        seed = recipe.seed if name == "train" else None
        step_targets = recipe.task.kind not in WHOLE
        return ArrayBatches(
            self.parts[name], self.targets[name], step_targets, recipe.training.batch, seed, share
        )

    def batches(self, first: int, total: int, share: tuple[int, int]) -> Iterator[SequenceBatch]:
        """Shuffled training sequences."""
        return self._batches("train", share).loader(first, total, self.recipe.data.workers)

    def loss(self, model: nn.Module, batch: SequenceBatch, device: torch.device) -> Float[Tensor, "losses"]:
        """Cross-entropy and accuracy, or mean square error in units of the standard deviation of the targets."""
        lengths = None if batch.lengths is None else batch.lengths.to(device)
        outputs, targets = model(batch.values.to(device), lengths), batch.targets.to(device)
        if self.recipe.task.burn_in:
            outputs, targets = outputs[:, self.recipe.task.burn_in :], targets[:, self.recipe.task.burn_in :]
        if self.recipe.task.kind in CLASSIFYING:
            outputs, targets = outputs.flatten(0, -2), targets.flatten()
            weights = None if self._weights is None else self._weights.to(device)
            smoothing = self.recipe.task.label_smoothing
            loss = functional.cross_entropy(
                outputs, targets, weights, ignore_index=NO_CLASS, label_smoothing=smoothing
            )
            there = targets != NO_CLASS
            right = (outputs.argmax(dim=-1) == targets) & there
            return torch.stack([loss, right.sum() / there.sum()])
        wanted = (targets - self.model.answer_mean) / self.model.answer_scale
        there = ~wanted.isnan()
        error = torch.where(there, outputs - wanted.nan_to_num(0.0), 0.0)
        mean: Tensor = error.square().sum() / there.sum().clamp(min=1)
        return mean.unsqueeze(0)

    def validate(self, model: Predictor) -> dict[str, Any]:
        """Scores on all validation sequences."""
        scores = sequence_scores(model, self._batches("validation", (0, 1)))
        return {name: value for name, value in scores.items() if name != "confusion"}

    def badness(self, scores: dict[str, Any]) -> float:
        """The chosen score, negative where more is better."""
        chosen = self.recipe.training.select
        value = scores["loss"] if scores[chosen] is None else scores[chosen]
        return float(-value if chosen in UPWARDS else value)

    def note(self, scores: dict[str, Any]) -> str:
        """The accuracy, or how far numbers are off."""
        if self.recipe.task.kind in CLASSIFYING:
            return f"validation accuracy {100 * scores['accuracy']:.2f} %"
        return f"validation RMSE {scores['rmse']:.4g}"

    def probe(self, parts: int) -> ProbeScores:
        """Scores of a linear probe on the same sequences, see `ulmus.evaluation.linear_probe`.

        Raises:
            ConfigError: the task is none of whole sequences with classes, or there are no test sequences.
        """
        if self.recipe.task.kind != "classification" or "test" not in self.parts:
            raise ConfigError(
                f"a linear probe needs task classification and test sequences; recipe {self.recipe.name} has task "
                f"{self.recipe.task.kind} and parts {list(self.parts)}. Set data.test."
            )
        channels = len(self.model.channels)
        return fit_probe(
            *(
                (part_means(self.parts[name], parts, channels), np.array(self.targets[name]))
                for name in ("train", "validation", "test")
            )
        )

    def example(self) -> Tensor | Events:
        """Input of the first batch, as the model reads it."""
        inputs: Tensor | Events = self.model.encode(self._batches("train", (0, 1)).batch(0, 0).values)
        return inputs


def _listed(what: str, names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return f"{len(names)} {what} ({shown})"
