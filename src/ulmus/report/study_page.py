"""The page of a study: a table and a figure for every grid, beside the published numbers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from ulmus.report import style
from ulmus.report.page import Panel, figures_json, page_environment, write_page
from ulmus.studies.study import Grid, Study
from ulmus.studies.tables import Cell

# Okabe and Ito's colours, in the order in which a grid names its models.
COLOURS = ("#009e73", "#0068a8", "#c8511b", "#cc79a7", "#e69f00", "#56b4e9", "#23272e")
Cells = dict[Any, dict[str, Cell]]


def write_study_page(study: Study, tables: Mapping[tuple[str, str], Cells], budget: str, path: Path) -> Path:
    """Write the page of a study; an existing file is replaced only once the new one is whole.

    Args:
        study: What was run.
        tables: Cells by grid and protocol.
        budget: How much was spent.
        path: File to write.

    Raises:
        ConfigError: the path cannot be written.
    """
    panels, parts = {}, []
    for number, ((name, protocol), cells) in enumerate(tables.items()):
        grid, panel = study.grids[name], f"grid{number}"
        if grid.row_name != "task":
            panels[panel] = Panel(panel, ((grid.title, grid_figure(grid, cells)),))
        parts.append(
            {
                "title": grid.title, "score": grid.score, "protocol": protocol, "source": grid.source, "panel": panel,
                "row_name": grid.row_name, "models": grid.models,
                "rows": [(row, list(line.values())) for row, line in cells.items()],
            }
        )  # fmt: skip
    page = (
        page_environment()
        .get_template("study.html")
        .render(
            study=study,
            budget=budget,
            parts=parts,
            panels=panels,
            figures_json=figures_json(panels),
            plotly_js=Markup(get_plotlyjs()),
        )
    )
    write_page(page, path)
    return path


def grid_figure(grid: Grid, cells: Cells) -> go.Figure:
    """Score over the values of the grid's key, a curve for every model, with the published ones hollow."""
    rows = list(cells)
    numbers = all(isinstance(row, int | float) and not isinstance(row, bool) for row in rows)
    logarithmic = numbers and min(rows) > 0 and max(rows) >= 10 * min(rows)
    plot = style.figure(430, showlegend=True, hovermode="closest")
    for model, colour in zip(grid.models, COLOURS * len(grid.models), strict=False):
        drawn = [(row, cells[row][model]) for row in rows if cells[row][model].mean is not None]
        plot.add_scatter(
            x=[row if numbers else str(row) for row, _ in drawn],
            y=[cell.mean for _, cell in drawn],
            error_y={"type": "data", "array": [cell.deviation or 0.0 for _, cell in drawn], "thickness": 1},
            mode="lines+markers",
            name=model,
            line={"color": colour, "width": 2},
            marker={"size": 8},
        )
        published = [(row, cells[row][model].published) for row in rows]
        shown = [(row, value) for row, value in published if value is not None]
        if shown:
            plot.add_scatter(
                x=[row if numbers else str(row) for row, _ in shown],
                y=[value for _, value in shown],
                mode="markers",
                name=f"{model}, published",
                marker={"size": 8, "color": style.PAPER, "line": {"color": colour, "width": 1.5}},
            )
    across = style.axis(grid.row_name)
    if logarithmic:
        across = style.logarithmic_axis(grid.row_name, 0.9 * min(rows), 1.1 * max(rows))
    plot.update_layout(xaxis=across, yaxis=style.axis(grid.score), legend={"orientation": "h", "y": 1.12})
    return plot
