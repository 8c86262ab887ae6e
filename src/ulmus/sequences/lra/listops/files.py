"""ListOps as it is distributed: tab-separated expressions and their values."""

from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from ulmus.errors import DataError
from ulmus.files.reading import sha256_of_file
from ulmus.sequences.labelled_batches import Splits
from ulmus.sequences.lra.archive import find_folder
from ulmus.sequences.lra.lines import Lines
from ulmus.sequences.lra.sequences import Sequences
from ulmus.sequences.making import RECORD, generated_by_us

FOLDER = "listops-1000"
FILES = ("basic_train.tsv", "basic_val.tsv", "basic_test.tsv")
COLUMNS = b"Source\tTarget"
TOKENS = ("<pad>", "<end>", "[MIN", "[MAX", "[MED", "[SM", "]", *"0123456789")
"""Every symbol; its place is its number. Parentheses are dropped, as all readers do."""
_NUMBERS = {token.encode(): number for number, token in enumerate(TOKENS[2:], 2)}
_END = TOKENS.index("<end>")


def tokenize(text: bytes) -> UInt8[np.ndarray, "time"]:
    """Numbers of the symbols of an expression, without its parentheses.

    Raises:
        DataError: a symbol that ListOps does not have.
    """
    symbols = text.translate(None, b"()").split()
    try:
        return np.array([_NUMBERS[symbol] for symbol in symbols], dtype=np.uint8)
    except KeyError as error:
        raise DataError(
            f"symbol {error.args[0]!r}: expected one of {' '.join(TOKENS[2:])} or parentheses"
        ) from error


class ListOps(Sequences):
    """The expressions of one file, read when they are asked for; classes are their values 0 to 9.

    With `end_token`, sequences end with a symbol of their own, on which to read out.
    """

    tokens, classes = len(TOKENS), tuple("0123456789")

    def __init__(self, path: str | Path, end_token: bool = False) -> None:
        self.path = Path(path)
        self.generated = generated_by_us(self.path.parent)
        self.name = "ListOps, generated" if self.generated else "ListOps"
        header = Lines(self.path)
        if not len(header) or header[0] != COLUMNS:
            found = header[0][:40] if len(header) else b"nothing"
            raise DataError(f"{self.path} begins with {found!r}; expected {COLUMNS!r}; {self._cure()}")
        self._lines = Lines(self.path, skip=1)
        self._end_token = end_token
        counts = (self.generated or {}).get("counts")
        known = dict(zip(FILES, counts, strict=False)) if isinstance(counts, list) else {}
        wanted = known.get(self.path.name, len(self._lines))
        if len(self._lines) != wanted:
            raise DataError(
                f"{self.path} holds {len(self._lines)} expressions; expected the {wanted} of {RECORD}; {self._cure()}"
            )
        self.labels = np.array([self._split(index)[1] for index in range(len(self._lines))], dtype=np.int64)

    def _cure(self) -> str:
        if self.generated:
            return f"delete the file and run `ulmus data make listops` again with the settings of {RECORD}"
        return f"copy the file from {FOLDER} of the archive"

    def _split(self, index: int) -> tuple[bytes, int]:
        text, tab, value = self._lines[index].partition(b"\t")
        if not tab or len(value) != 1 or not value.isdigit():
            raise DataError(
                f"{self.path}, line {index + 2}: value {value[:20]!r}; expected an expression, a tab, and its value 0 to "
                f"9; {self._cure()}"
            )
        return text, int(value)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of the file."""
        return sha256_of_file(self.path)

    @property
    def rough_length(self) -> Int64[np.ndarray, "items"]:
        """Characters of every expression."""
        return self._lines.sizes

    def read(self, index: int, tower: int = 0) -> UInt8[np.ndarray, "time"]:
        """One expression as numbers of symbols."""
        try:
            numbers = tokenize(self._split(index)[0])
        except DataError as error:
            raise DataError(f"{self.path}, line {index + 2}: {error}; {self._cure()}") from error
        return np.append(numbers, np.uint8(_END)) if self._end_token else numbers


def listops_splits(root: str | Path, end_token: bool = False) -> Splits[Sequences]:
    """The three files as they are given."""
    folder = find_folder(root, FOLDER)
    return Splits(*(ListOps(folder / name, end_token) for name in FILES))
