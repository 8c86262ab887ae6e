"""The tasks of Long Range Arena by name, ready to be learnt."""

from pathlib import Path
from typing import Literal, get_args

from ulmus.data.labelled import LabelledSplits
from ulmus.data.tasks.batches import SequenceBatches
from ulmus.data.tasks.encoding import Encoding, GrayBins, Intensity, OneHot
from ulmus.data.tasks.listops import listops_splits
from ulmus.data.tasks.pathfinder import Pathfinder
from ulmus.data.tasks.pixels import PROCESSED, processed_splits
from ulmus.data.tasks.sequences import Splits, random_split
from ulmus.errors import ConfigError

Task = Literal["listops", "pathfinder", "pathfinder-x"]
Gray = Literal["bins", "silent-background", "intensity"]


def open_sequences(
    task: Task,
    folder: str | Path,
    *,
    batch: int,
    seed: int = 0,
    share: tuple[int, int] = (0, 1),
    size: int = 32,
    contour_paddles: int = 14,
    gray: Gray = "bins",
    bins: int | None = None,
    similar_lengths: bool = True,
) -> LabelledSplits:
    """Batches of a task: training shuffled by the seed, validation and test in order and the same for every process.

    Args:
        task: which.
        folder: what the archive was unpacked to, or where the data were made.
        batch: items in a batch.
        seed: of the order of the training items.
        share: number of this process and of all processes that share the items of every training batch.
        size: width of the images of ``pathfinder``; ``pathfinder-x`` has 128.
        contour_paddles: 14 (hard, the benchmark), 9 or 6.
        gray: images as gray levels in equal bins, without the darkest of them, or as one number from 0 to 1.
        bins: how many; 16 by default, 8 for images of 128 x 128, as in the paper.
        similar_lengths: put training items of similar length into the same batch.

    Raises:
        ConfigError: a task or option that does not exist.
        DataError: data are missing or damaged.
    """
    if task not in get_args(Task):
        raise ConfigError(f"task={task!r}: expected one of {', '.join(get_args(Task))}; choose one of them")
    if task == "pathfinder-x":
        size = 128
    splits = listops_splits(folder) if task == "listops" else _pathfinder(folder, size, contour_paddles)
    images = task != "listops"
    encoding = _gray(gray, bins or (8 if size == 128 else 16)) if images else OneHot(splits.train.tokens)
    return LabelledSplits(
        SequenceBatches(splits.train, encoding, batch, seed, share, similar_lengths),
        SequenceBatches(splits.valid, encoding, batch),
        SequenceBatches(splits.test, encoding, batch),
    )


def _gray(gray: str, bins: int) -> Encoding:
    if gray not in get_args(Gray):
        raise ConfigError(f"gray={gray!r}: expected one of {', '.join(get_args(Gray))}; choose one of them")
    return Intensity() if gray == "intensity" else GrayBins(bins, gray == "silent-background")


def _pathfinder(folder: str | Path, size: int, contour_paddles: int) -> Splits:
    if all((Path(folder) / part).is_dir() for part in PROCESSED):
        return processed_splits(folder, f"Pathfinder-{size}", Pathfinder.classes)
    return random_split(Pathfinder(folder, size, contour_paddles))
