"""The page of a study: a table and a figure for every grid, beside the published numbers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ulmus.errors import extra
from ulmus.report import style
from ulmus.report.page import Panel, render_page, write_page
from ulmus.studies.study import Grid, Study
from ulmus.studies.tables import QUALITY, Cell, Quality, quality_rows

with extra("report", "a report page"):
    import plotly.graph_objects as go

# Okabe and Ito's colours, in the order in which a study names its models; each has the same in all figures.
COLOURS = ("#009e73", "#0068a8", "#c8511b", "#cc79a7", "#e69f00", "#56b4e9", "#23272e")
Cells = dict[Any, dict[str, Cell]]
_ACROSS = {"parameters": "trainable parameters", "multiplications_per_step": "multiplications a step"}


def write_study_page(
    study: Study,
    tables: Mapping[tuple[str, str], Cells],
    notes: Mapping[tuple[str, str], Sequence[str]],
    qualities: Mapping[str, Sequence[Quality]],
    budget: str,
    path: Path,
) -> Path:
    """Write the page of a study; an existing file is replaced only once the new one is whole.

    Args:
        study: What was run.
        tables: Cells by grid and protocol.
        notes: What is to be known of their scores, by the same.
        qualities: All fitted neurons by protocol; empty for a study of classifiers.
        budget: How much was spent.
        path: File to write.

    Raises:
        ConfigError: the path cannot be written.
    """
    panels, parts = {}, []
    models = dict.fromkeys(model for grid in study.grids.values() for model in grid.models)
    colours = dict(zip(models, COLOURS * len(models), strict=False))
    for number, ((name, protocol), cells) in enumerate(tables.items()):
        grid, panel = study.grids[name], f"grid{number}"
        if grid.row_name != "task":
            panels[panel] = Panel(panel, ((grid.title, grid_figure(grid, cells, colours)),))
        parts.append(
            {
                "title": grid.title, "score": grid.score, "protocol": protocol, "source": grid.source, "panel": panel,
                "row_name": grid.row_name, "models": grid.models, "notes": notes[name, protocol],
                "rows": [(row, list(line.values())) for row, line in cells.items()],
            }
        )  # fmt: skip
    summaries = []
    for number, (protocol, lines) in enumerate(qualities.items()):
        panel = f"quality{number}"
        panels[panel] = Panel(
            panel,
            tuple(
                (f"{QUALITY[score]}, {_ACROSS[across]}", quality_figure(lines, across, score, colours))
                for score in ("auc", "rmse_mv")
                for across in _ACROSS
            ),
        )
        heads, rows = quality_rows(lines)
        summaries.append({"protocol": protocol, "panel": panel, "heads": heads, "rows": rows})
    page = render_page("study.html", panels, study=study, budget=budget, parts=parts, summaries=summaries)
    write_page(page, path)
    return path


def grid_figure(grid: Grid, cells: Cells, colours: Mapping[str, str]) -> go.Figure:
    """Score over the values of the grid's key, a curve for every model, with the published ones hollow."""
    rows = list(cells)
    numbers = all(isinstance(row, int | float) and not isinstance(row, bool) for row in rows)
    logarithmic = numbers and min(rows) > 0 and max(rows) >= 10 * min(rows)
    plot = style.figure(430, showlegend=True, hovermode="closest")
    for model in grid.models:
        colour = colours[model]
        drawn = [(row, cells[row][model]) for row in rows if cells[row][model].mean is not None]
        plot.add_scatter(
            x=[row if numbers else str(row) for row, _ in drawn], y=[cell.mean for _, cell in drawn],
            error_y={"type": "data", "array": [cell.deviation or 0.0 for _, cell in drawn], "thickness": 1},
            mode="lines+markers", name=model, line={"color": colour, "width": 2}, marker={"size": 8},
        )  # fmt: skip
        published = [(row, cells[row][model].published) for row in rows]
        shown = [(row, value) for row, value in published if value is not None]
        if shown:
            plot.add_scatter(
                x=[row if numbers else str(row) for row, _ in shown], y=[value for _, value in shown], mode="markers",
                name=f"{model}, published",
                marker={"size": 8, "color": style.PAPER, "line": {"color": colour, "width": 1.5}},
            )  # fmt: skip
    across = style.axis(grid.row_name)
    if logarithmic:
        across = style.logarithmic_axis(grid.row_name, 0.9 * min(rows), 1.1 * max(rows))
    plot.update_layout(xaxis=across, yaxis=style.axis(grid.score), legend={"orientation": "h", "y": 1.12})
    return plot


def quality_figure(
    lines: Sequence[Quality], across: str, score: str, colours: Mapping[str, str]
) -> go.Figure:
    """A score of all fitted neurons over their size or cost; diamonds are neurons that are no runs of the study."""
    plot = style.figure(430, showlegend=True, hovermode="closest")
    drawn = [line for line in lines if getattr(line, across) and line.scores[score] is not None]
    for model in dict.fromkeys(line.model for line in drawn):
        shown = [line for line in drawn if line.model == model]
        plot.add_scatter(
            x=[getattr(line, across) for line in shown], y=[line.scores[score] for line in shown],
            text=[line.name for line in shown],
            hovertemplate="%{text}<br>%{x:,} " + _ACROSS[across] + "<br>%{y:.4f}<extra></extra>", mode="markers",
            name=model or "beside the study",
            marker={"size": 9, "color": colours.get(model, style.NEURON), "symbol": "circle" if model else "diamond"},
        )  # fmt: skip
    values = [getattr(line, across) for line in drawn] or [1]
    plot.update_layout(
        xaxis=style.logarithmic_axis(_ACROSS[across], 0.8 * min(values), 1.25 * max(values)),
        yaxis=style.axis(QUALITY[score]), legend={"orientation": "h", "y": 1.12},
    )  # fmt: skip
    return plot
