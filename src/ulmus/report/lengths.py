"""Cost and memory of a training step over the length of the sequence, as one figure."""

from collections.abc import Sequence
from pathlib import Path

import plotly.graph_objects as go

from ulmus.bench.lengths import LengthRow
from ulmus.report import style
from ulmus.report.page import write_page

# Okabe and Ito's colours, the ELM in that of a surrogate.
_COLOURS = {"ELM": style.SURROGATE, "LSTM": "#0068a8", "TCN": "#e69f00", "Transformer": "#c8511b"}


def lengths_figure(rows: Sequence[LengthRow]) -> go.Figure:
    """CPU time of a step on the left, peak memory on the right, over the length of the sequence; all logarithmic."""
    plot = style.figure(
        440,
        showlegend=True,
        legend={"orientation": "h", "y": 1.14},
        grid={"rows": 1, "columns": 2, "xgap": 0.16},
    )
    across = style.logarithmic_axis(
        "steps of the sequence", 0.9 * min(row.steps for row in rows), 1.1 * max(row.steps for row in rows)
    )
    for name in dict.fromkeys(row.model for row in rows):
        mine = sorted((row for row in rows if row.model == name), key=lambda row: row.steps)
        label = f"{name}, {mine[0].parameters / 1000:,.0f} thousand parameters"
        for panel, values in (
            ("", [row.microseconds_per_step for row in mine]),
            ("2", [row.mebibytes for row in mine]),
        ):
            plot.add_scatter(
                x=[row.steps for row in mine],
                y=values,
                xaxis=f"x{panel}",
                yaxis=f"y{panel}",
                mode="lines+markers",
                name=label,
                legendgroup=name,
                showlegend=not panel,
                line={"color": _COLOURS.get(name, style.MUTED), "width": 2},
                marker={"size": 7},
            )
    plot.update_layout(
        xaxis=across,
        xaxis2={**across, "anchor": "y2"},
        yaxis=style.axis("CPU time of a step (µs)", type="log", dtick=1),
        yaxis2=style.axis("peak memory (MiB)", anchor="x2", type="log", dtick=1),
    )
    return plot


def write_lengths_page(rows: Sequence[LengthRow], path: Path) -> Path:
    """Write the figure as a page that opens offline; an existing one is replaced once the new one is whole.

    Raises:
        ConfigError: the path cannot be written.
    """
    write_page(lengths_figure(rows).to_html(include_plotlyjs=True), path)
    return path
