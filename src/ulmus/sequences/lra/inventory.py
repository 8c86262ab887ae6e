"""What there is of Long Range Arena in a folder."""

from pathlib import Path
from typing import Any

import numpy as np

from ulmus.sequences.lra.archive import find_folder, has_folder
from ulmus.sequences.lra.labelled import Splits
from ulmus.sequences.lra.listops.files import FOLDER as LISTOPS_FOLDER
from ulmus.sequences.lra.pathfinder.settings import SIZES, SUBSETS
from ulmus.sequences.lra.tasks import Task, has_retrieval, has_small_images, has_text, task_splits

_SAMPLE = 200


def describe_tasks(folder: str | Path) -> dict[str, dict[str, Any]]:
    """Every task that a folder holds, by its name; lengths are those of the first 200 training sequences.

    Raises:
        DataError: a file is missing or damaged.
    """
    found = (task_splits(task, folder, **options) for task, options in _present(Path(folder).expanduser()))
    return {splits.train.name: _describe(splits) for splits in found}


def _present(folder: Path) -> list[tuple[Task, dict[str, int]]]:
    """Tasks and their options."""
    checks: list[tuple[Task, bool]] = [
        ("listops", has_folder(folder, LISTOPS_FOLDER)),
        ("text", has_text(folder)),
        ("retrieval", has_retrieval(folder)),
        ("image", has_small_images(folder)),
    ]
    present: list[tuple[Task, dict[str, int]]] = [(task, {}) for task, there in checks if there]
    for size in SIZES:
        if has_folder(folder, f"pathfinder{size}"):
            images = find_folder(folder, f"pathfinder{size}")
            lengths = [length for length, subset in SUBSETS.items() if (images / subset).is_dir()]
            present += [("pathfinder", {"size": size, "contour_paddles": length}) for length in lengths]
    return present


def _describe(splits: Splits) -> dict[str, Any]:
    train = splits.train
    lengths = [len(train.read(index)) for index in range(min(_SAMPLE, len(train)))]
    classes = np.concatenate([np.bincount(part.labels, minlength=len(train.classes)) for part in splits])
    per_class = classes.reshape(len(splits), -1).sum(axis=0).tolist()
    return {
        "path": str(train.description["path"]),
        **{name: len(part) for name, part in splits._asdict().items()},
        "sequences_per_item": train.towers,
        "tokens": train.tokens,
        "steps": {"shortest": min(lengths), "mean": float(np.mean(lengths)), "longest": max(lengths)},
        "items_per_class": dict(zip(train.classes, per_class, strict=True)),
        "generated": train.generated,
    }
