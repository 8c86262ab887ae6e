"""Images as the processed archive of Mega (Ma et al. 2022) holds them: gray levels as text, one image per line."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8

from ulmus.data.tasks.lines import Lines
from ulmus.data.tasks.sequences import Sequences, Splits
from ulmus.errors import ConfigError, DataError

GRAY_LEVELS = 256
_SPLITS = ("train", "valid", "test")


class ProcessedPixels(Sequences):
    """One split of a task: ``input/<split>.src`` with gray levels 0 to 255, ``label/<split>.label`` with classes.

    Args:
        folder: the folder of the task.
        split: train, valid or test.
        name: of the task.
        classes: how many there are.

    Raises:
        DataError: a file is missing, the two do not fit, or a label is not a class.
    """

    tokens = GRAY_LEVELS

    def __init__(self, folder: str | Path, split: str, name: str, classes: int) -> None:
        self.name, self.classes = name, classes
        self._lines = Lines(Path(folder) / "input" / f"{split}.src")
        labels = Lines(Path(folder) / "label" / f"{split}.label")
        if len(labels) != len(self._lines):
            raise DataError(
                f"{labels.path} has {len(labels)} lines, {self._lines.path} has {len(self._lines)}; expected a label for "
                "every image; unpack the archive again"
            )
        self._labels = np.array([self._label(labels, index) for index in range(len(labels))], dtype=np.int64)

    def _label(self, lines: Lines, index: int) -> int:
        text = lines[index].strip()
        if not text.isdigit() or int(text) >= self.classes:
            raise DataError(
                f"{lines.path}, line {index + 1}: {text[:20]!r}; expected a class from 0 to {self.classes - 1}; unpack "
                "the archive again, or correct the number of classes"
            )
        return int(text)

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def labels(self) -> Int64[np.ndarray, "sequences"]:
        """Class of every image."""
        return self._labels

    @property
    def description(self) -> dict[str, Any]:
        """File and number of images."""
        return {"name": self.name, "path": str(self._lines.path), "sequences": len(self)}

    def read(self, index: int) -> UInt8[np.ndarray, "pixels"]:
        """One image; the index is not checked.

        Raises:
            DataError: the line does not hold gray levels.
        """
        line = self._lines[index]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # how NumPy tells of text that is not numbers
                values = np.fromstring(line, dtype=np.int64, sep=" ")
        except (ValueError, DeprecationWarning) as error:
            raise self._bad(index, line[:40]) from error
        if not values.size or values.min() < 0 or values.max() >= GRAY_LEVELS:
            raise self._bad(index, line[:40])
        return values.astype(np.uint8)

    def _bad(self, index: int, found: bytes) -> DataError:
        return DataError(
            f"{self._lines.path}, line {index + 1}: {found!r}; expected gray levels 0 to 255 separated by spaces; "
            "unpack the archive again"
        )


def processed_splits(folder: str | Path, name: str, classes: int) -> Splits:
    """The three splits of a task of the processed archive, as given.

    Args:
        folder: the folder that holds ``input`` and ``label``.
        name: of the task.
        classes: how many there are.

    Raises:
        DataError: a file is missing or damaged.
    """
    return Splits(*(ProcessedPixels(folder, split, name, classes) for split in _SPLITS))


def gray_bins(pixels: UInt8[np.ndarray, "*shape"], bins: int) -> UInt8[np.ndarray, "*shape"]:
    """Gray levels in this many equal bins, as the paper feeds them one-hot (16, or 8 for Pathfinder-X).

    Raises:
        ConfigError: not 1 to 256 bins.
    """
    if not 1 <= bins <= GRAY_LEVELS:
        raise ConfigError(f"bins={bins}: expected 1 to {GRAY_LEVELS}; correct bins")
    return (pixels.astype(np.uint16) * bins // GRAY_LEVELS).astype(np.uint8)
