"""How good a model of sequences is: classes that were found, or how far numbers are off."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor
from torch.nn import functional

from ulmus.neuron.evaluating import evaluating
from ulmus.neuron.predictor import CLASSIFYING, Predictor
from ulmus.sequences.arrays.batches import NO_CLASS, ArrayBatches

UPWARDS = ("accuracy", "balanced_accuracy", "f1", "r2")
"""Scores of which more is better."""


class ClassCounts:
    """How often every class was taken for every other, and the loss, summed over batches."""

    def __init__(self, classes: int) -> None:
        self.confusion: Int64[np.ndarray, "true predicted"] = np.zeros((classes, classes), dtype=np.int64)
        self.loss = 0.0

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Count logits beside classes; -100 stands for none."""
        outputs, targets = outputs.flatten(0, -2).float(), targets.flatten()
        there = targets != NO_CLASS
        self.loss += float(functional.cross_entropy(outputs, targets, ignore_index=NO_CLASS, reduction="sum"))
        found = outputs.argmax(dim=-1)
        np.add.at(self.confusion, (targets[there].cpu().numpy(), found[there].cpu().numpy()), 1)

    def scores(self) -> dict[str, Any]:
        """``accuracy``, ``balanced_accuracy`` (mean recall of the classes), ``f1`` (mean over the classes), ``loss``
        (mean cross-entropy), ``confusion`` (a row for every true class), ``counted``.
        """
        of_class, found = self.confusion.sum(axis=1), self.confusion.sum(axis=0)
        right, count = np.diag(self.confusion), int(self.confusion.sum())
        present = of_class > 0
        seen = present | (found > 0)
        return {
            "loss": self.loss / max(count, 1),
            "accuracy": float(right.sum() / max(count, 1)),
            "balanced_accuracy": float((right[present] / of_class[present]).mean()),
            "f1": float((2 * right[seen] / (of_class + found)[seen]).mean()),
            "confusion": self.confusion.tolist(),
            "counted": count,
        }


class NumberErrors:
    """Errors of numbers in the units of the targets, summed over batches.

    Args:
        scale: What makes the loss of every number count alike.
    """

    def __init__(self, scale: Float64[np.ndarray, "numbers"]) -> None:
        self._scale = scale
        self._sums = np.zeros((6, len(scale)))  # steps, error, its square, its size, target, its square
        self._naive = np.zeros((2, len(scale)))  # steps, square of the error of the value that stands now

    def add(self, numbers: Tensor, targets: Tensor, now: Tensor | None = None) -> None:
        """Count predicted numbers beside targets; `now` is what a forecast that nothing changes would say."""
        there = ~targets.isnan()
        error = torch.where(there, numbers - targets, 0.0).double().flatten(0, -2).cpu().numpy()
        target = targets.nan_to_num(0.0).double().flatten(0, -2).cpu().numpy()
        count = there.flatten(0, -2).sum(dim=0).cpu().numpy()
        parts = (error, error**2, np.abs(error), target, target**2)
        self._sums += np.stack([count, *(part.sum(axis=0) for part in parts)])
        if now is not None:
            both = there & ~now.isnan()
            square = torch.where(both, now - targets, 0.0).double().square()
            self._naive += np.stack(
                [both.flatten(0, -2).sum(dim=0).cpu().numpy(), square.flatten(0, -2).sum(dim=0).cpu().numpy()]
            )

    def scores(self, names: tuple[str, ...]) -> dict[str, Any]:
        """``rmse`` and ``mae`` in the units of the targets, ``r2``, means over the numbers; ``loss`` (mean square in units of
        the training data's standard deviation), each by name under ``numbers``; of a forecast ``rmse_persistence``.
        """
        count, _, square, size, target, target_square = self._sums
        count = np.maximum(count, 1)
        mse, mae = square / count, size / count
        variance = target_square / count - (target / count) ** 2
        r2 = np.where(variance > 0, 1 - mse / np.where(variance > 0, variance, 1), np.nan)
        rmse = np.sqrt(mse)
        of_each = {
            name: {"rmse": float(a), "mae": float(b), "r2": None if np.isnan(c) else float(c)}
            for name, a, b, c in zip(names, rmse, mae, r2, strict=True)
        }
        found: dict[str, Any] = {
            "loss": float((mse / self._scale**2).mean()),
            "rmse": float(rmse.mean()),
            "mae": float(mae.mean()),
            "r2": None if np.isnan(r2).all() else float(np.nanmean(r2)),
            "numbers": of_each,
            "counted": int(self._sums[0].sum()),
        }
        if self._naive[0].any():
            found["rmse_persistence"] = float(np.sqrt(self._naive[1] / np.maximum(self._naive[0], 1)).mean())
        return found


@torch.no_grad()
def sequence_scores(
    predictor: Predictor, batches: ArrayBatches, on_batch: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Scores of a model on the sequences of one epoch of `batches`.

    Returns:
        Of classes what `ClassCounts.scores` says, for the next token also ``bits_per_token``; of numbers what
        `NumberErrors.scores` says. With ``sequences``, and ``parameters`` of the model.
    """
    device = next(predictor.parameters()).device
    classes, numbers = (
        ClassCounts(len(predictor.answers)),
        NumberErrors(
            predictor.answer_scale.double().cpu().numpy()
            if predictor.task not in CLASSIFYING
            else np.ones(len(predictor.answers))
        ),
    )
    with evaluating(predictor):
        for number, batch in enumerate(batches.loader(0, batches.batches_per_epoch), 1):
            lengths = None if batch.lengths is None else batch.lengths.to(device)
            outputs = predictor(batch.values.to(device), lengths)
            targets = batch.targets.to(device)
            if predictor.task in CLASSIFYING:
                classes.add(outputs, targets)
            else:
                now = None
                if predictor.task == "forecasting" and isinstance(batch.values, Tensor):
                    now = batch.values.to(device)[..., forecast_places(predictor)]
                numbers.add(predictor.decode(outputs).values, targets, now)
            if on_batch:
                on_batch(number, batches.batches_per_epoch)
    scores = classes.scores() if predictor.task in CLASSIFYING else numbers.scores(predictor.answers)
    if predictor.task == "next-token":
        scores["bits_per_token"] = scores["loss"] / float(np.log(2))
    if predictor.task == "classification":
        share = scores["accuracy"]
        scores["accuracy_standard_error"] = float(np.sqrt(share * (1 - share) / scores["counted"]))
    if predictor.task in ("step-classification", "next-token") and len(predictor.answers) > 100:
        del scores["confusion"]
    return scores | {
        "sequences": len(batches.sequences),
        "parameters": predictor.trainable_parameters(),
    }


def forecast_places(predictor: Predictor) -> list[int]:
    """Which channels a forecast is of."""
    return [predictor.channels.index(name) for name in predictor.answers]
