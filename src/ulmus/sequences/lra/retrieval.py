"""Retrieval: whether one of two papers cites the other, as tab-separated pairs of texts."""

import hashlib
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from ulmus.errors import DataError
from ulmus.files.reading import sha256_of_file
from ulmus.sequences.labelled_batches import Splits
from ulmus.sequences.lra.archive import holds_nothing, look_for
from ulmus.sequences.lra.lines import Lines
from ulmus.sequences.lra.sequences import Sequences
from ulmus.sequences.lra.text import TOKENS, tokenize_text

FOLDER = "tsv_data"
FILES = ("new_aan_pairs.train.tsv", "new_aan_pairs.eval.tsv", "new_aan_pairs.test.tsv")
_LONGEST = 4000
_COLUMNS, _FIRST_TEXT = 5, 3  # label, two names, two texts
_LABELS = {b"0.0": 0, b"1.0": 1, b"0": 0, b"1": 1}


class Pairs(Sequences):
    """Pairs of texts in the lines of a file; sequences are cut to `longest` tokens, the end included."""

    name, tokens, classes, towers = "Retrieval (AAN)", TOKENS, ("apart", "linked"), 2

    def __init__(self, file: Path, longest: int) -> None:
        if not file.is_file():
            raise DataError(
                f"{file} does not exist; expected the pairs of papers of the Long Range Arena archive (tsv_data); the address "
                "of the ACL Anthology Network that they come from is dead; unpack the archive completely"
            )
        self.path, self.longest, self._lines = file, longest, Lines(file)
        self.labels = np.array([self._label(index) for index in range(len(self._lines))], dtype=np.int64)

    def _label(self, index: int) -> int:
        text = self._lines.beginning(index, 8).partition(b"\t")[0]
        if text not in _LABELS:
            raise DataError(
                f"{self.path}, line {index + 1}: begins with {text!r}; expected 0.0 or 1.0 and a tab; restore the file from a "
                "copy of the archive"
            )
        return _LABELS[text]

    def read(self, index: int, tower: int = 0) -> UInt8[np.ndarray, "time"]:
        """A text as numbers of bytes."""
        fields = self._lines[index].split(b"\t")
        if len(fields) != _COLUMNS:
            raise DataError(
                f"{self.path}, line {index + 1}: {len(fields)} fields; expected label, two names and two texts, "
                "separated by tabs; restore the file from a copy of the archive"
            )
        return tokenize_text(fields[_FIRST_TEXT + tower], self.longest)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of the file, of its labels and of where texts are cut."""
        texts = sha256_of_file(self.path)
        known = "".join(f"{texts}{_FIRST_TEXT + tower}" for tower in range(self.towers))
        return hashlib.sha256(f"{known}{self.longest}".encode() + self.labels.tobytes()).hexdigest()

    @property
    def rough_length(self) -> Int64[np.ndarray, "items"]:
        """Half the bytes of every line; which text has how many is not known without reading them."""
        return (self._lines.sizes // 2).clip(max=self.longest)


def retrieval_splits(folder: Path, longest: int | None = None) -> Splits[Sequences]:
    """The three files of the Long Range Arena archive, as given; texts are cut to 4000 tokens by default."""
    place = look_for(folder, FOLDER)
    if place is None:
        raise holds_nothing(
            folder, f"{FOLDER} of the Long Range Arena archive (the address of the anthology itself is dead)"
        )
    return Splits(*(Pairs(place / name, longest or _LONGEST) for name in FILES))
