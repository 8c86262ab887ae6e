"""From the results of a study to its tables."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ulmus.studies.comparison import Compared
from ulmus.studies.running import MemberResult
from ulmus.studies.study import Grid, Study


class Cell(NamedTuple):
    """The runs of one model in one row."""

    scores: tuple[float, ...]
    """One for every seed."""
    published: float | None
    parameters: int | None
    steps: int | None
    cpu_seconds: float | None
    """Mean over the seeds."""
    diverged: int = 0
    """Seeds that have no score because their training diverged."""

    @property
    def mean(self) -> float | None:
        """Mean over the seeds."""
        return statistics.fmean(self.scores) if self.scores else None

    @property
    def deviation(self) -> float | None:
        """Standard deviation over the seeds."""
        return statistics.stdev(self.scores) if len(self.scores) > 1 else None

    def text(self) -> str:
        """As ``mean ± deviation (seeds)``, how many seeds diverged, and the published number in brackets."""
        found = "" if self.mean is None else f"{self.mean:.4f}"
        found += "" if self.deviation is None else f" ± {self.deviation:.4f}"
        found += f" ({len(self.scores)})" if self.scores else "" if self.diverged else "not run"
        found += (", " if self.scores else "") + f"{self.diverged} diverged" if self.diverged else ""
        return found + ("" if self.published is None else f" [{self.published:g}]")


def table(
    grid: Grid, results: Sequence[MemberResult], protocol: str, budget: str
) -> dict[Any, dict[str, Cell]]:
    """Cells by row and model, from results of this grid; `protocol` is one for trials, or the split for sequences."""
    return {
        row: {model: _cell(grid, results, protocol, row, model) for model in grid.models}
        for row in grid.rows(budget)
    }


def _cell(grid: Grid, results: Sequence[MemberResult], protocol: str, row: Any, model: str) -> Cell:
    of_cell = [result for result in results if (result.row, result.model) == (row, model)]
    mine = [result for result in of_cell if result.diverged is None]
    scored = [result.scores[protocol] for result in mine if protocol in result.scores]
    values = tuple(float(scores[grid.score]) for scores in scored if scores[grid.score] is not None)
    return Cell(
        values,
        grid.published.get(model, {}).get(row),
        scored[0]["parameters"] if scored else None,
        mine[0].steps if mine else None,
        statistics.fmean(result.cpu_seconds for result in mine) if mine else None,
        len(of_cell) - len(mine),
    )


def remarks(results: Sequence[MemberResult], protocol: str) -> list[str]:
    """What is to be known of the scores of a grid, each remark once, with the models that it holds for."""
    found: dict[str, dict[str, None]] = {}
    for result in results:
        for note in result.scores.get(protocol, {}).get("notes", ()):
            found.setdefault(note, {})[result.model] = None
    return [f"{', '.join(models)}: {note}" for note, models in found.items()]


def grid_rows(
    cells: dict[Any, dict[str, Cell]], row_name: str
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Heads and rows of the table of a grid."""
    heads = (row_name, *next(iter(cells.values())))
    return heads, [(str(row), *(cell.text() for cell in line.values())) for row, line in cells.items()]


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Any table as Markdown."""
    lines = [[cell.replace("|", r"\|") for cell in line] for line in (heads, ["---"] * len(heads), *rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


QUALITY = {
    "auc": "AUC",
    "tpr_at_fpr_0025": "TPR at FPR .0025",
    "tpr_at_fpr_01": "TPR at FPR .01",
    "rmse_mv": "RMSE mV",
    "explained_variance_percent": "explained variance %",
}
"""Scores of a fitted neuron that stand beside its size and cost, and what they are called."""


class Quality(NamedTuple):
    """How good a fitted neuron is, how large and how costly."""

    name: str
    model: str
    """What it is one of: a model of the recipe; empty for one that is no run of the study."""
    seeds: int
    parameters: int
    multiplications_per_step: int | None
    """None for scores of a version of Ulmus that did not count them."""
    scores: dict[str, float | None]
    """Means over the seeds, by the keys of `QUALITY`; None where there was no spike to tell."""
    seen: int
    """Trials that it was trained on or chosen by; its scores on them say little."""


def quality(results: Sequence[MemberResult], compared: Sequence[Compared], protocol: str) -> list[Quality]:
    """All fitted neurons of a study and those they are compared with, the smallest first."""
    runs: dict[str, dict[str, MemberResult]] = {}
    for result in results:
        if protocol in result.scores:
            seeds = runs.setdefault(result.run.rpartition("-s")[0], {})
            seeds[result.run] = result  # once, though it may be in several grids
    found = [
        (name, next(iter(seeds.values())).model, [result.scores[protocol] for result in seeds.values()])
        for name, seeds in runs.items()
    ]
    found += [(other.name, "", [other.scores[protocol]]) for other in compared]
    lines = [
        Quality(
            name,
            model,
            len(scores),
            scores[0]["parameters"],
            scores[0].get("multiplications_per_step"),
            {key: _mean([one.get(key) for one in scores]) for key in QUALITY},
            max(sum(one.get("seen", {}).values()) for one in scores),
        )
        for name, model, scores in found
    ]
    return sorted(lines, key=lambda line: (line.parameters, line.name))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None


def quality_rows(lines: Sequence[Quality]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Heads and rows of the table of all fitted neurons."""
    heads = ("neuron", "seeds", "parameters", "multiplications a step", *QUALITY.values())
    digits = {"rmse_mv": 3, "explained_variance_percent": 2}
    return heads, [
        (
            line.name + (f" ({line.seen} of the trials are not new to it)" if line.seen else ""),
            str(line.seeds) if line.model else "",
            f"{line.parameters:,}",
            "" if line.multiplications_per_step is None else f"{line.multiplications_per_step:,}",
            *(
                "" if value is None else f"{value:.{digits.get(key, 4)}f}"
                for key, value in line.scores.items()
            ),
        )
        for line in lines
    ]


def study_markdown(
    study: Study,
    tables: Mapping[tuple[str, str], dict[Any, dict[str, Cell]]],
    notes: Mapping[tuple[str, str], Sequence[str]],
    qualities: Mapping[str, Sequence[Quality]],
    budget: str,
) -> str:
    """All tables of a study as Markdown: tables and notes by grid and protocol, fitted neurons by protocol."""
    text = f"# {study.title}\n\nBudget: {budget}. Cells: mean ± standard deviation (seeds) [published].\n"
    for (name, protocol), cells in tables.items():
        grid = study.grids[name]
        text += f"\n## {grid.title}\n\n{grid.score}, {protocol}. {grid.source}\n\n"
        text += markdown_table(*grid_rows(cells, grid.row_name))
        text += "".join(f"\n- {note}" for note in notes[name, protocol]) + "\n"
    for protocol, lines in qualities.items():
        text += f"\n## Quality over size and cost, {protocol}\n\n" + markdown_table(*quality_rows(lines))
    return text
