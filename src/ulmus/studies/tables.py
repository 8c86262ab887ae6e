"""From the results of a study to its tables."""

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from ulmus.studies.running import Result
from ulmus.studies.study import Grid


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


def table(grid: Grid, results: Sequence[Result], protocol: str, budget: str) -> dict[Any, dict[str, Cell]]:
    """Cells by row and model.

    Args:
        grid: What stands in the table.
        results: Of this grid.
        protocol: Which scores: a protocol for trials, or the split for sequences.
        budget: Decides which rows there are.
    """
    return {
        row: {model: _cell(grid, results, protocol, row, model) for model in grid.models}
        for row in grid.rows(budget)
    }


def _cell(grid: Grid, results: Sequence[Result], protocol: str, row: Any, model: str) -> Cell:
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


def markdown(cells: dict[Any, dict[str, Cell]], row_name: str) -> str:
    """The table as Markdown."""
    models = list(next(iter(cells.values())))
    lines = [f"| {row_name} | {' | '.join(models)} |", "|" + "---|" * (len(models) + 1)]
    lines += [
        f"| {row} | {' | '.join(cell.text() for cell in line.values())} |" for row, line in cells.items()
    ]
    return "\n".join(lines) + "\n"
