"""Pairs of manual pages, of which one names the other under SEE ALSO or not: a surrogate of Retrieval."""

import gzip
import zlib
from collections import defaultdict
from pathlib import Path

import numpy as np

from ulmus.errors import DataError
from ulmus.sequences.lra.labelled import Splits, random_split
from ulmus.sequences.lra.retrieval import RELATIONS
from ulmus.sequences.lra.roff import page_text
from ulmus.sequences.lra.text import TextList, Texts

_FEWEST_PAIRS = 50
_TRIES = 100
_SEED = 42
Page = tuple[str, str]
"""Name and section."""


def has_manual_pages(folder: Path) -> bool:
    """Whether this folder has sections like ``man3`` with pages."""
    return any(_files(folder))


def manual_splits(folder: Path, longest: int) -> Splits:
    """Linked and unlinked pairs of the pages of a ``man`` folder, as many of both.

    SEE ALSO is cut out of the texts. The unlinked pairs hold the same pages as often and from the same sections: the
    partners of linked pairs, exchanged at random. Pairs are split 80/10/10 (seed 42); pages occur on all sides.

    Raises:
        DataError: a page cannot be read, or there are too few linked pages.
    """
    texts, references = _read(folder)
    linked = sorted({_sorted(page, other) for page in texts for other in references[page]})
    if len(linked) < _FEWEST_PAIRS:
        raise DataError(
            f"{folder} holds {len(texts)} manual pages with {len(linked)} links between them; expected at least "
            f"{_FEWEST_PAIRS}; give a folder with more pages (Debian: manpages and manpages-dev), as /usr/share/man"
        )
    random = np.random.default_rng(_SEED)
    pairs = [(pair, 1) for pair in linked] + [(pair, 0) for pair in _unlinked(linked, random)]
    turned = random.random(len(pairs)) < 0.5
    first = [pair[turn] for (pair, _), turn in zip(pairs, turned.astype(int), strict=True)]
    second = [pair[1 - turn] for (pair, _), turn in zip(pairs, turned.astype(int), strict=True)]
    whole = Texts(
        [TextList([texts[page] for page in side]) for side in (first, second)],
        np.array([label for _, label in pairs], dtype=np.int64),
        classes=RELATIONS,
        name="Manual pages, a surrogate of Retrieval",
        path=folder,
        longest=longest,
    )
    return random_split(whole)


def _files(folder: Path) -> list[Path]:
    return sorted(file for section in folder.glob("man[1-9]") for file in section.glob("*.[1-9]*"))


def _read(folder: Path) -> tuple[dict[Page, bytes], dict[Page, set[Page]]]:
    """Text of every page under its main name, and the other pages that it refers to."""
    texts: dict[Page, bytes] = {}
    named: dict[Page, set[Page]] = {}
    main: dict[Page, Page] = {}
    for file in _files(folder):
        page = main[_page(file)] = _page(file.resolve())
        if page in texts:
            continue
        source = _content(file)
        if source.startswith(".so "):  # another page's text under this name
            main[_page(file)] = _page(Path(source.split()[1]))
        else:
            text, named[page] = page_text(source)
            texts[page] = text.encode()
    references = {
        page: {main[other] for other in others if main.get(other, page) != page and main[other] in texts}
        for page, others in named.items()
    }
    return texts, references


def _page(file: Path) -> Page:
    name, _, section = file.name.removesuffix(".gz").rpartition(".")
    return name, section


def _content(file: Path) -> str:
    try:
        content = file.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{file} cannot be read ({error}); expected a manual page; install it again or leave it out"
        ) from error
    return content.decode("utf-8", errors="replace")


def _sorted(one: Page, other: Page) -> tuple[Page, Page]:
    return (one, other) if (one[1], one[0]) <= (other[1], other[0]) else (other, one)


def _unlinked(linked: list[tuple[Page, Page]], random: np.random.Generator) -> list[tuple[Page, Page]]:
    """Pairs that are not linked, made of the same pages: partners change within their sections."""
    taken = {frozenset(pair) for pair in linked}
    groups: dict[tuple[str, str], list[tuple[Page, Page]]] = defaultdict(list)
    for pair in linked:
        groups[pair[0][1], pair[1][1]].append(pair)
    found: list[tuple[Page, Page]] = []
    for _, group in sorted(groups.items()):
        waiting = group
        for _ in range(_TRIES):
            order = random.permutation(len(waiting)).tolist()
            refused = []
            for (one, _), (_, other) in zip(waiting, [waiting[k] for k in order], strict=True):
                key = frozenset((one, other))
                if one == other or key in taken:
                    refused.append((one, other))
                else:
                    taken.add(key)
                    found.append((one, other))
            waiting = refused
            if len(waiting) < 2:
                break
    return found
