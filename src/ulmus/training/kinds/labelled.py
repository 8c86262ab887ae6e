"""Train a model to tell classes of sequences apart, and count how often it does."""

from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int64
from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional

from ulmus.errors import ConfigError, DataError
from ulmus.kernels import Events
from ulmus.neuron.classifier import Classifier
from ulmus.neuron.evaluating import evaluating
from ulmus.sequences.kinds import LabelledData
from ulmus.sequences.labelled_batches import LabelledBatch, LabelledBatches, LabelledSettings
from ulmus.sequences.making import generated_notes
from ulmus.settings import Settings
from ulmus.training.problem import HeldOut, Problem
from ulmus.training.recipe import Recipe


class ClassifierSettings(Settings):
    """How classes are read from the outputs of a model."""

    reading: Literal["last", "mean"] = "last"
    """Outputs of the last step of a sequence, or their mean over all its steps."""
    latent: PositiveInt = 75
    """Outputs of a model that reads two sequences, which are then compared; else the outputs are the classes."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target that is spread over all classes."""
    hint_weight: float = Field(default=3.0, gt=0)
    """Weight of the loss of hints, in lessons that have some, beside that of the class."""
    clip_state_norm: PositiveFloat | None = None
    """Shorten what later steps add to the gradient of every sequence's state to this length, at every 50th step on the way
    back: through hundreds of chaotic steps it would explode. See `ulmus.neuron.state_clipping`."""


_ONE_MASK_FOR_ALL_STEPS = ("input_dropout", "memory_dropout", "hidden_dropout", "recurrent_dropout")


class ClassifierRecipe(Recipe):
    """Train a model to tell classes of sequences apart."""

    data: LabelledData
    classifier: ClassifierSettings = ClassifierSettings()

    def validated(self) -> tuple[str, ...]:
        """Scores that can choose the best checkpoint."""
        return ("loss", "accuracy")

    def problem(self) -> "ClassifierProblem":
        """The classifier and its sequences."""
        return ClassifierProblem(self)

    def held_out(self, split: Literal["validation", "test"], place: str | None = None) -> HeldOut:
        """Sequences of the task that training does not learn from.

        Raises:
            DataError: a file is missing or damaged.
        """
        data = self.data if place is None else self.data.model_copy(update={"folder": place})
        splits = data.for_scoring().open(self.training.batch, self.seed)
        batches: LabelledBatches = getattr(splits, split)

        def scores(model: Classifier, on_batch: Callable[[int, int], None] | None = None) -> dict[str, Any]:
            if batches.classes != model.classes:
                raise DataError(
                    f"{data.folder} has {len(batches.classes)} classes ({', '.join(batches.classes)}), but the model tells "
                    f"{len(model.classes)} ({', '.join(model.classes)}); expected data of its task; give another folder."
                )
            return evaluate_classes(model, batches, on_batch) | {
                "notes": data_notes(batches) + notes(model, self)
            }

        hashes = {"train": splits.train.content_hash, "validation": splits.validation.content_hash}
        return HeldOut(data.folder, batches.content_hash, hashes, scores)

    @model_validator(mode="after")
    def _states_can_be_clipped(self) -> "ClassifierRecipe":
        norm, kind, model = self.classifier.clip_state_norm, self.model.kind, self.model.model_dump()
        if norm is None:
            return self
        if kind in ("transformer", "tcn"):
            raise ValueError(
                f"classifier.clip_state_norm={norm} is for models that hand a state on from step to step, and a {kind} does "
                "not; leave it out, for this model alone under `models` of the recipe"
            )
        masks = [name for name in _ONE_MASK_FOR_ALL_STEPS if model.get(name)]
        if masks:
            raise ValueError(
                f"classifier.clip_state_norm={norm} gives sequences to the model in pieces, each of which would have a mask of "
                f"its own from model.{masks[0]}={model[masks[0]]}; leave one of the two out"
            )
        if self.training.precision.startswith("16"):
            raise ValueError(
                f"classifier.clip_state_norm={norm} with training.precision={self.training.precision!r}, which multiplies "
                "gradients by a large number first; use 'bf16-mixed' or '32-true'"
            )
        return self

    @model_validator(mode="after")
    def _hints_have_a_weight(self) -> "ClassifierRecipe":
        weight = self.classifier.hint_weight
        parts = [self.data, *(lesson for _, lesson in self.data.lessons())]
        hints = any(part.has_hints for part in parts)
        if weight != ClassifierSettings().hint_weight and not hints:
            raise ValueError(
                f"classifier.hint_weight={weight} changes nothing: neither the task nor a lesson has hints; "
                "set data.hints, or leave the weight out"
            )
        return self


class ClassifierProblem(Problem):
    """Classes of sequences.

    Raises:
        ConfigError: settings that do not fit the data.
        DataError: data are missing or damaged.
    """

    losses = ("loss", "accuracy")

    def __init__(self, recipe: ClassifierRecipe) -> None:
        self.recipe = recipe
        self.splits = recipe.data.open(recipe.training.batch, recipe.seed)
        train = self.splits.train
        self.lessons = list(self._lessons())
        hints = max(len(part.hint_classes) for part in [train, *(part for _, part in self.lessons)])
        outputs = len(train.classes) + hints if train.towers == 1 else recipe.classifier.latent
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.model = Classifier(
                recipe.model.build(train.channels, outputs, train.step_ms),
                train.classes,
                reading=recipe.classifier.reading,
                towers=train.towers,
                hints=hints,
                card={"recipe": recipe.name, "seed": recipe.seed},
            )
        self.batches_per_epoch = self.validate_every = train.batches_per_epoch
        self.hashes = {"train": train.content_hash, "validation": self.splits.validation.content_hash}
        self.hashes |= train.further
        self.hashes |= {
            f"lesson {number}": part.content_hash for number, (_, part) in enumerate(self.lessons, 1)
        }

    def _lessons(self) -> Iterator[tuple[float, LabelledBatches]]:
        for number, (until, data) in enumerate(self.recipe.data.lessons(), 1):
            try:
                yield until, self._train(data)
            except DataError as error:
                raise DataError(f"lesson {number} of data.curriculum: {error}") from error

    def check_new(self) -> None:
        """Refuse what holds items of the held-out data, or parts of them: a task whose items repeat, and lessons drawn from
        the same random numbers as the task.

        Raises:
            ConfigError: the task is like that, or names the first such lesson.
        """
        task = self.splits.train
        if (task.generated or {}).get("repeats"):
            raise ConfigError(
                "the data of the task were made with --repeats, so that the same items are in all three files, and scores of "
                "held-out ones say nothing; expected that of lessons alone; make the task without --repeats"
            )
        seed = (task.generated or {}).get("seed")
        for number, (_, lesson) in enumerate(self.lessons, 1):
            others = (lesson.generated or {}).get("seed")
            if seed is not None and seed == others and lesson.content_hash != task.content_hash:
                raise ConfigError(
                    f"lesson {number} of data.curriculum was made with seed {seed}, like the task itself, so that it shares "
                    "items, or parts of them, with the data held out for validation and test; expected another seed; delete "
                    "the folder of the lesson and make it again with another --seed"
                )

    def _train(self, data: LabelledSettings, share: tuple[int, int] = (0, 1)) -> LabelledBatches:
        return data.open(self.recipe.training.batch, self.recipe.seed, share).train

    def batches(self, first: int, total: int, share: tuple[int, int]) -> Iterator[LabelledBatch]:
        """Shuffled training sequences, of every lesson and then of the task itself."""
        data = self.recipe.data
        parts = [part for _, part in self.lessons] + [self.splits.train]
        if share != (0, 1):  # they were opened for one process, which has all of every batch
            parts = [self._train(part, share) for part in [*(lesson for _, lesson in data.lessons()), data]]
        begins = self.stretches(total)
        for part, begin, end in zip(parts, begins, [*begins[1:], total], strict=True):
            if max(first, begin) < end:
                yield from part.loader(max(first, begin), end, data.workers)

    def stretches(self, total: int) -> list[int]:
        """First steps of the lessons and of the task itself."""
        return [0, *(int(until * total) for until, _ in self.lessons)]

    def loss(self, model: nn.Module, batch: LabelledBatch, device: torch.device) -> Float[Tensor, "losses"]:
        """Cross-entropy, with that of the hints where there are some, and accuracy of a batch."""
        settings = self.recipe.classifier
        logits, hints, labels = _logits(model, batch, device, settings.clip_state_norm)
        loss = functional.cross_entropy(logits, labels, label_smoothing=settings.label_smoothing)
        if batch.hints is not None:
            known = batch.hints.to(device)
            at = known > 0
            loss = loss + settings.hint_weight * functional.cross_entropy(hints[at], known[at].long() - 1)
        return torch.stack([loss, (logits.argmax(dim=1) == labels).float().mean()])

    def example(self) -> Tensor | Events:
        """Input of the first batch."""
        return self.splits.train.batch(0, 0).inputs

    def validate(self, model: Classifier) -> dict[str, Any]:
        """Loss and accuracy on all validation sequences."""
        scores = evaluate_classes(model, self.splits.validation)
        return {name: value for name, value in scores.items() if name != "confusion"}

    def badness(self, scores: dict[str, Any]) -> float:
        """The loss, or the share of mistakes."""
        return float(scores["loss"] if self.recipe.training.select == "loss" else 1 - scores["accuracy"])

    def note(self, scores: dict[str, Any]) -> str:
        """The accuracy."""
        return f"validation accuracy {100 * scores['accuracy']:.2f} %"


def notes(classifier: Classifier, recipe: Recipe) -> list[str]:
    """Remarks on a classifier whose training or input was more than its task gives."""
    data = recipe.data if isinstance(recipe, ClassifierRecipe) else None
    found = []
    if classifier.hints:
        found.append(
            "training was told more than the classes of whole sequences, hints at single steps: compare these scores with those "
            "of models that were told as much"
        )
    if data is not None and data.lessons():
        found.append(
            "training began with other data than those of the task (data.curriculum): compare these scores with those of models "
            "that learnt from as much"
        )
    if data is not None:
        found += data.notes()
    if recipe.start_from:
        found.append(
            f"training began with the weights of {recipe.start_from}: what those had learnt from, and were told, counts too"
        )
    return found


def data_notes(scored: LabelledBatches) -> list[str]:
    """Remarks on scores on sequences that are not the published ones."""
    return generated_notes(scored.generated)


@torch.no_grad()
def evaluate_classes(
    classifier: Classifier,
    batches: LabelledBatches,
    on_batch: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """How often a classifier is right about the sequences of one epoch of `batches`.

    Returns:
        ``accuracy``, ``accuracy_standard_error`` (binomial), ``loss`` (mean cross-entropy), ``sequences``, ``confusion``
        (a row for every true class, columns as predicted), ``parameters``.
    """
    device = next(classifier.parameters()).device
    confusion: Int64[np.ndarray, "true predicted"] = np.zeros((len(batches.classes),) * 2, dtype=np.int64)
    loss = 0.0
    with evaluating(classifier):
        for number, batch in enumerate(batches.loader(0, batches.batches_per_epoch), 1):
            logits, _, labels = _logits(classifier, batch, device)
            loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
            np.add.at(confusion, (labels.cpu().numpy(), logits.argmax(dim=1).cpu().numpy()), 1)
            if on_batch:
                on_batch(number, batches.batches_per_epoch)
    count = int(confusion.sum())
    accuracy = float(confusion.trace() / count)
    return {
        "accuracy": accuracy,
        "accuracy_standard_error": float(np.sqrt(accuracy * (1 - accuracy) / count)),
        "loss": loss / count,
        "sequences": count,
        "confusion": confusion.tolist(),
        "parameters": classifier.trainable_parameters(),
    }


def _logits(
    model: nn.Module, batch: LabelledBatch, device: torch.device, clip_state_norm: float | None = None
) -> tuple[Float[Tensor, "batch classes"], Float[Tensor, "sequences time hints"], Int64[Tensor, "batch"]]:
    lengths = None if batch.lengths is None else batch.lengths.to(device)
    inputs = batch.inputs.to(device)
    logits, hints = model(inputs, lengths, with_hints=True, clip_state_norm=clip_state_norm)
    return logits, hints, batch.labels.to(device)
