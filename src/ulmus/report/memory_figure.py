"""The figure of what memory units encode and what is lost without each of them."""

import numpy as np

from ulmus.errors import extra
from ulmus.evaluation.memory_encoding import MemoryEncoding
from ulmus.report import style

with extra("report", "a report page"):
    import plotly.graph_objects as go

EXPLAINED_SCALE = [[0.0, "#ffffff"], [0.25, "#d3ece3"], [0.6, "#5cba99"], [1.0, "#005b42"]]
_MOST_NUMBERED = 40
_MAP, _AUC, _RMSE = (0.0, 0.62), (0.67, 0.82), (0.85, 1.0)


def memory_summary(found: MemoryEncoding) -> str:
    """What a reader should take away, in numbers: how much is explained, and which units are missed most."""
    sentences = []
    if np.isfinite(found.explained[:, -1]).any():
        middle = 100 * np.nanmedian(found.explained[:, -1])
        share = (
            f"{middle:.0f} %" if middle >= 0.5 else "none"
        )  # negative where the readout does worse than the mean
        sentences.append(f"Of the variance of a unit, {share} is linear in these signals (median).")
    spikes, voltage = found.auc_change, -found.rmse_change_mv
    if np.isfinite(spikes).any() and np.nanmin(spikes) < 0:
        worst = int(np.nanargmin(spikes))
        sentences.append(
            f"Without the unit of {_time_constant(found, worst)} ms the AUC falls by {-spikes[worst]:.2g}."
        )
    if np.isfinite(voltage).any() and np.nanmin(voltage) < 0:
        worst = int(np.nanargmin(voltage))
        sentences.append(
            f"Without that of {_time_constant(found, worst)} ms the error of the voltage grows by {-voltage[worst]:.2g} mV."
        )
    return " ".join(sentences)


def memory_figure(found: MemoryEncoding) -> go.Figure:
    """A row for every memory unit, by time constant: what explains it, and the change of the scores without it."""
    units = len(found.tau_ms)
    numbered = units <= _MOST_NUMBERED
    plot = style.figure(
        (22 if numbered else 9) * units + 94, hovermode="closest", margin={"l": 78, "r": 18, "t": 78, "b": 16}
    )
    percent = 100 * np.clip(found.explained, 0, 1)
    rows = np.arange(units)
    plot.add_heatmap(
        z=percent, x=np.arange(len(found.signals)), y=rows, zmin=0, zmax=100, colorscale=EXPLAINED_SCALE, showscale=False,
        xgap=1.5, ygap=1.5, customdata=np.broadcast_to(np.array(found.signals), percent.shape),
        text=[["" if np.isnan(value) else f"{value:.0f}" for value in row] for row in percent],
        texttemplate="%{text}" if numbered else None, textfont={"size": 11},
        hovertemplate="unit %{y}: %{customdata} explains %{z:.0f} % of it<extra></extra>",
    )  # fmt: skip
    for axis, change, domain, title, digits in (
        ("2", -found.auc_change, _AUC, "AUC lost", ".2g"),
        ("3", found.rmse_change_mv, _RMSE, "mV of error added", ".2g"),
    ):
        if np.isnan(change).all():
            continue  # not compared
        _changes(plot, axis, change, domain, title, digits)
    last = len(found.signals) - 1
    plot.add_shape(
        type="line", xref="x", yref="paper", x0=last - 0.5, x1=last - 0.5, y0=0, y1=1,
        line={"color": style.NEURON, "width": 1},
    )  # fmt: skip
    shown = rows if numbered else rows[:: -(-units // 25)]
    plot.update_layout(
        xaxis=style.axis(
            domain=list(_MAP), side="top", tickvals=list(range(len(found.signals))), fixedrange=True,
            ticktext=[name.replace(" ", "<br>", 1) for name in found.signals], grid=False, ticks="", showline=False,
        ),
        yaxis=style.axis(
            range=[units - 0.5, -0.5], grid=False, ticks="", showline=False,
            tickvals=shown, ticktext=[_time_constant(found, row) for row in shown], fixedrange=True,
        ),
    )  # fmt: skip
    corner = {
        "xref": "paper",
        "x": 0,
        "xanchor": "right",
        "yref": "paper",
        "y": 1,
        "yanchor": "bottom",
        "yshift": 4,
    }
    style.note(plot, "time constant<br>(ms)", align="right", **corner)
    return plot


def _time_constant(found: MemoryEncoding, row: int) -> str:
    tau_ms = found.tau_ms[row]
    return f"{tau_ms:,.0f}" if tau_ms >= 100 else f"{tau_ms:.3g}"


def _changes(
    plot: go.Figure, axis: str, change: np.ndarray, domain: tuple[float, float], title: str, digits: str
) -> None:
    """Worsening without each unit on a logarithmic axis; hollow where the score gets better."""
    size = np.abs(change)
    finite = size[np.isfinite(size) & (size > 0)]
    top = 2 * float(finite.max(initial=1e-6))
    low = top * 1e-3
    drawn = np.where(np.isfinite(size), np.maximum(size, low), np.nan)
    worse = change > 0
    plot.add_scatter(
        x=drawn, y=np.arange(len(change)), customdata=-change if title.startswith("AUC") else change, mode="markers",
        xaxis=f"x{axis}", cliponaxis=False, marker={
            "size": 8, "color": [style.SURROGATE if bad else style.PAPER for bad in worse],
            "line": {"color": style.SURROGATE, "width": 1.3},
        },
        hovertemplate=f"without unit %{{y}}: %{{customdata:+{digits}}}<extra></extra>",
    )  # fmt: skip
    decades = 10.0 ** np.arange(np.ceil(np.log10(low)), np.floor(np.log10(top)) + 1)
    x = style.logarithmic_axis("", low, top, domain=list(domain), side="top", anchor="y", fixedrange=True)
    ticks = {"tickangle": 0, "tickvals": decades, "ticktext": [f"{value:g}" for value in decades]}
    plot.update_layout({f"xaxis{axis}": x | ticks})
    plot.add_annotation(
        style.panel_title(f"without it:<br>{title}", domain[0], 1.0)
        | {"yshift": 26, "font": {"size": 12, "color": style.NEURON}}
    )
