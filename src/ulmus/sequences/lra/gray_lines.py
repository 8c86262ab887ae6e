"""Images as the processed archive of Mega (Ma et al. 2022) holds them: gray levels as text, one image per line."""

import hashlib
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ulmus.errors import DataError
from ulmus.files.reading import sha256_of_file
from ulmus.sequences.labelled_batches import Splits
from ulmus.sequences.lra.encoding import GRAY_LEVELS
from ulmus.sequences.lra.lines import Lines
from ulmus.sequences.lra.sequences import Sequences

_SPLITS = ("train", "valid", "test")


class GrayLines(Sequences):
    """One split of a task: ``input/<split>.src`` with gray levels 0 to 255, ``label/<split>.label`` with classes."""

    tokens = GRAY_LEVELS
    width: int

    def __init__(
        self, folder: str | Path, split: str, name: str, classes: tuple[str, ...], width: int
    ) -> None:
        self.name, self.classes, self.path, self.width = name, classes, Path(folder), width
        self._lines = Lines(self.path / "input" / f"{split}.src")
        self._label_file = self.path / "label" / f"{split}.label"
        labels = Lines(self._label_file)
        if len(labels) != len(self._lines):
            raise DataError(
                f"{labels.path} has {len(labels)} lines, {self._lines.path} has {len(self._lines)}; expected a label for "
                "every image; unpack the archive again"
            )
        self.labels = np.array([self._label(labels, index) for index in range(len(labels))], dtype=np.int64)

    def _label(self, lines: Lines, index: int) -> int:
        text = lines[index].strip()
        if not text.isdigit() or len(text) > 4 or int(text) >= len(self.classes):
            raise DataError(
                f"{lines.path}, line {index + 1}: {text[:20]!r}; expected a class from 0 to {len(self.classes) - 1}; unpack "
                "the archive again, or choose the task that it is of"
            )
        return int(text)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of the images and labels."""
        both = sha256_of_file(self._lines.path) + sha256_of_file(self._label_file)
        return hashlib.sha256(both.encode()).hexdigest()

    def read(self, index: int, tower: int = 0) -> UInt8[np.ndarray, "pixels"]:
        """One image."""
        line, pixels = self._lines[index].strip(), self.width**2
        # Of digits and spaces alone the text reader of NumPy says nothing, and a number too long for it becomes its largest.
        numbers = not line.translate(None, b"0123456789 \t")
        values = np.fromstring(line, np.int64, sep=" ") if numbers else np.empty(0)
        if len(values) != pixels or values.max() >= GRAY_LEVELS:
            raise DataError(
                f"{self._lines.path}, line {index + 1}: {line[:40]!r}; expected {pixels} gray levels 0 to 255 "
                "separated by spaces; unpack the archive again, or choose the task that it is of"
            )
        return values.astype(np.uint8)


def gray_line_splits(
    folder: str | Path, name: str, classes: tuple[str, ...], width: int
) -> Splits[Sequences]:
    """The three splits of a task of the processed archive, as given."""
    return Splits(*(GrayLines(folder, split, name, classes, width) for split in _SPLITS))
