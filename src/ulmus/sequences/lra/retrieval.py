"""Retrieval: whether one of two papers cites the other, as tab-separated pairs of texts."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from ulmus.errors import DataError
from ulmus.files.reading import sha256_of_file
from ulmus.sequences.labelled_batches import Splits
from ulmus.sequences.lra.archive import find_folder, has_folder, holds_nothing
from ulmus.sequences.lra.lines import Lines
from ulmus.sequences.lra.sequences import Sequences
from ulmus.sequences.lra.text import Texts

FOLDER = "tsv_data"
FILES = ("new_aan_pairs.train.tsv", "new_aan_pairs.eval.tsv", "new_aan_pairs.test.tsv")
RELATIONS = ("apart", "linked")
_LONGEST = 4000
_COLUMNS = 5  # label, two names, two texts
_LABELS = {b"0.0": 0, b"1.0": 1, b"0": 0, b"1": 1}


class TextColumn:
    """One of the two texts of every line."""

    def __init__(self, lines: Lines, column: int) -> None:
        self._lines, self._column = lines, column

    @property
    def sizes(self) -> Int64[np.ndarray, "documents"]:
        """Half the bytes of every line; which text has how many is not known without reading them."""
        return self._lines.sizes // 2

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of the file and of which column this is."""
        return f"{sha256_of_file(self._lines.path)}{self._column}"

    def __getitem__(self, index: int) -> bytes:
        fields = self._lines[index].split(b"\t")
        if len(fields) != _COLUMNS:
            raise DataError(
                f"{self._lines.path}, line {index + 1}: {len(fields)} fields; expected label, two names and two texts, "
                "separated by tabs; restore the file from a copy of the archive"
            )
        return fields[self._column]


def retrieval_splits(folder: Path, longest: int | None = None) -> Splits[Sequences]:
    """The three files of the Long Range Arena archive, as given.

    Args:
        folder: that the archive was unpacked to.
        longest: tokens after which texts are cut; 4000 by default.

    Raises:
        ConfigError: a length that leaves no room for a text.
        DataError: a file is missing or damaged.
    """
    if not has_folder(folder, FOLDER):
        raise holds_nothing(
            folder, f"{FOLDER} of the Long Range Arena archive (the address of the anthology itself is dead)"
        )
    place = find_folder(folder, FOLDER)
    return Splits(*(_pairs(place / name, _LONGEST if longest is None else longest) for name in FILES))


def find(folder: Path) -> list[dict[str, Any]]:
    """Options of the one data set, if the folder holds it."""
    return [{}] if has_folder(folder, FOLDER) else []


def _pairs(file: Path, longest: int) -> Texts:
    if not file.is_file():
        raise DataError(
            f"{file} does not exist; expected the pairs of papers of the Long Range Arena archive (tsv_data); the address "
            "of the ACL Anthology Network they come from is dead; unpack the archive completely"
        )
    lines = Lines(file)
    labels = np.array([_label(lines, index) for index in range(len(lines))], dtype=np.int64)
    return Texts(
        [TextColumn(lines, 3), TextColumn(lines, 4)],
        labels,
        classes=RELATIONS,
        name="Retrieval (AAN)",
        path=file,
        longest=longest,
    )


def _label(lines: Lines, index: int) -> int:
    text = lines.beginning(index, 8).partition(b"\t")[0]
    if text not in _LABELS:
        raise DataError(
            f"{lines.path}, line {index + 1}: begins with {text!r}; expected 0.0 or 1.0 and a tab; restore the file from a "
            "copy of the archive"
        )
    return _LABELS[text]
