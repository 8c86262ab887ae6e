"""ListOps expressions by the thousand, in the layout of the published archive."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

from ulmus.errors import ConfigError
from ulmus.files.writing import remove_leftovers, write_file
from ulmus.sequences.lra.listops.expressions import OPERATORS, draw_expression
from ulmus.sequences.lra.listops.files import COLUMNS, FILES, FOLDER, listops_splits
from ulmus.sequences.making import Report, begin, check_counts, check_seed, give_up, in_order

COUNTS = (96_000, 2_000, 2_000)
_PER_TASK = 500
_LONGEST, _DEEPEST = 1_000_000, 1_000
_MOST_DUPLICATES = 0.9  # of a task: the space of short expressions is exhausted


def make_listops(
    out: str | Path,
    *,
    counts: tuple[int, int, int] = COUNTS,
    seed: int = 0,
    shortest: int = 501,
    longest: int = 1999,
    depth: int = 10,
    most_arguments: int = 10,
    operators: Sequence[str] = OPERATORS,
    repeats: bool = False,
    workers: int | None = None,
    on_expressions: Report | None = None,
) -> Path:
    """Write ``out/listops-1000/basic_{train,val,test}.tsv`` with expressions that are all different, unless `repeats`.

    The published settings are the defaults: more than 500 and fewer than 2000 tokens. Expression k depends on the
    settings, the seed and k alone, so any number of workers writes the same files. Returns their folder.

    Args:
        out: folder that stands for ``lra_release``.
        counts: expressions to train, to validate and to test.
        seed: of the whole set.
        shortest: fewest tokens (operators count twice, parentheses do not).
        longest: most tokens.
        depth: levels of the tree; the deepest holds digits alone.
        most_arguments: of an operator; the fewest are 2.
        operators: which ones there are, of ``MIN``, ``MAX``, ``MED`` and ``SM``.
        repeats: draw independently, so that the few shortest expressions keep their share, and the same ones are in several
            files: for lessons; training refuses them as a task.
        workers: processes; all cores when not given.
        on_expressions: called when expressions are finished.

    Raises:
        ConfigError: arguments that cannot be used or give no expression, or other ones than the folder was begun with.
        DataError: the folder holds data that were not made here, or damaged ones.
        UlmusError: a process was killed.
    """
    limits = {"shortest": shortest, "longest": longest, "depth": depth, "most_arguments": most_arguments}
    check_counts(train=counts[0], valid=counts[1], test=counts[2], shortest=shortest, workers=workers)
    check_seed(seed)
    _check_limits(operators, **limits)
    operators = tuple(name for name in OPERATORS if name in operators)
    settings: dict[str, Any] = {"task": "listops", "seed": seed, "counts": list(counts), **limits}
    # Named only where they are not the published ones, so that folders begun earlier can go on.
    settings |= {} if operators == OPERATORS else {"operators": list(operators)}
    settings |= {"repeats": True} if repeats else {}
    folder = Path(out).expanduser() / FOLDER
    begin(folder, settings)
    if all((folder / name).exists() for name in FILES):
        listops_splits(folder)  # says what is damaged
        return folder
    rows = _counted(_rows(seed, limits, operators, repeats, workers), sum(counts), on_expressions)
    try:
        for name, count in zip(FILES, counts, strict=True):
            _write(islice(rows, count), folder / name)
    except ConfigError:  # of every writer with these settings, so that nobody misses their record
        give_up(folder)
        raise
    return folder


def _check_limits(
    operators: Sequence[str], shortest: int, longest: int, depth: int, most_arguments: int
) -> None:
    if not operators or len(set(operators)) < len(operators) or not set(operators) <= set(OPERATORS):
        raise ConfigError(
            f"operators={list(operators)}: expected some of {', '.join(OPERATORS)}, each once; correct them"
        )
    if not (
        shortest + 3 <= longest <= _LONGEST and 2 <= depth <= _DEEPEST and 2 <= most_arguments <= _DEEPEST
    ):
        raise ConfigError(
            f"shortest={shortest}, longest={longest}, depth={depth}, most_arguments={most_arguments}: expected longest from "
            f"shortest + 3 to {_LONGEST:,}, and 2 to {_DEEPEST:,} levels and arguments; correct them"
        )


def _write(rows: Iterable[tuple[bytes, int]], path: Path) -> None:
    """The whole file or none."""

    def write(made: Path) -> None:
        with made.open("wb") as file:
            file.write(COLUMNS + b"\n")
            for text, value in rows:
                file.write(b"%s\t%d\n" % (text, value))

    remove_leftovers(path.parent, path.name)
    write_file(path, write)


def _counted(
    rows: Iterable[tuple[bytes, int]], total: int, report: Report | None
) -> Iterator[tuple[bytes, int]]:
    for done, row in enumerate(rows, 1):
        if report is not None and done % _PER_TASK == 0:
            report(done, total)
        yield row


def _rows(
    seed: int, limits: Mapping[str, int], operators: tuple[str, ...], repeats: bool, workers: int | None
) -> Iterator[tuple[bytes, int]]:
    """Expressions in order; each text once, unless they may repeat."""
    seen: set[bytes] = set()
    drawn_with = (*limits.values(), operators)
    first = 0
    while True:
        block = [(seed, first + k * _PER_TASK, drawn_with) for k in range(64)]
        new = 0
        for rows in in_order(_draw, block, workers):
            for text, value in rows:
                digest = blake2b(text, digest_size=16).digest()  # the texts themselves take gigabytes
                if repeats or digest not in seen:
                    seen.add(digest)
                    new += 1
                    yield text, value
        if new < (1 - _MOST_DUPLICATES) * len(block) * _PER_TASK:
            found = ", ".join(f"{name} {value}" for name, value in limits.items())
            raise ConfigError(
                f"only {len(seen)} different expressions were found of {', '.join(operators)} with {found}; expected more of "
                "them; allow longer ones, ask for fewer, or let them repeat"
            )
        first += len(block) * _PER_TASK


def _draw(seed: int, first: int, limits: tuple[Any, ...]) -> list[tuple[bytes, int]]:
    return [draw_expression(seed, index, *limits)[:2] for index in range(first, first + _PER_TASK)]
