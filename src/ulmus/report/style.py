"""How figures look: one palette, one type face, hairline axes."""

from typing import Any

import numpy as np

from ulmus.errors import extra

with extra("report", "a report page"):
    import plotly.graph_objects as go

# Okabe and Ito's colours, which all common kinds of colour vision tell apart.
NEURON = "#23272e"
SURROGATE = "#009e73"
EXCITATION = "#c8511b"
INHIBITION = "#0068a8"
MUTED = "#6b727c"
GRID = "#eceae4"
RULE = "#c9c6bd"
PAPER = "#ffffff"
FONT = "Inter, 'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', sans-serif"

EXCITATION_SCALE = [[0.0, "#ffffff"], [0.25, "#fbd9c4"], [0.6, "#e98a53"], [1.0, "#8f3206"]]
INHIBITION_SCALE = [[0.0, "#ffffff"], [0.25, "#cbe1f0"], [0.6, "#5aa0cd"], [1.0, "#013f69"]]


def hue(sign: int) -> str:
    """Colour of excitation (+1) or inhibition (-1)."""
    return EXCITATION if sign > 0 else INHIBITION


def pale(sign: int) -> str:
    """Light tint of excitation (+1) or inhibition (-1), for areas."""
    return "#efc3ad" if sign > 0 else "#a9cce4"


def scale(sign: int) -> list[list[Any]]:
    """Colour scale of excitation (+1) or inhibition (-1), from white to dark."""
    return EXCITATION_SCALE if sign > 0 else INHIBITION_SCALE


def figure(height: int, **layout: Any) -> go.Figure:
    """An empty figure in the house style."""
    base: dict[str, Any] = {
        "height": height,
        "autosize": True,
        "template": "none",
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": PAPER,
        "font": {"family": FONT, "size": 12, "color": NEURON},
        "margin": {"l": 62, "r": 18, "t": 36, "b": 48},
        "hoverlabel": {"bgcolor": "#ffffff", "bordercolor": RULE, "font": {"family": FONT, "size": 12}},
        # The buttons stand in the top margin, which every figure leaves free on the right.
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": RULE, "activecolor": NEURON},
        "dragmode": "zoom",
        "showlegend": False,
    }
    return go.Figure(layout={**base, **layout})


def axis(title: str = "", *, grid: bool = True, **settings: Any) -> dict[str, Any]:
    """An axis with a hairline, outside ticks and a faint grid."""
    base: dict[str, Any] = {
        "title": {"text": title, "font": {"size": 12, "color": MUTED}, "standoff": 8}, "showline": True,
        "linecolor": RULE, "linewidth": 1, "ticks": "outside", "ticklen": 4, "tickcolor": RULE,
        "tickfont": {"size": 11, "color": MUTED}, "showgrid": grid, "gridcolor": GRID, "zeroline": False,
    }  # fmt: skip
    return {**base, **settings}


def logarithmic_axis(title: str, low: float, high: float, **settings: Any) -> dict[str, Any]:
    """A logarithmic axis from ``low`` to ``high`` with plain numbers: 1, 2, 5, 10 ... or, over a wide range, decades."""
    # A margin may have left the numbers.
    low, high = np.clip([low, high], np.finfo(float).tiny, np.finfo(float).max)
    steps = (1, 2, 5) if high / 3000 < low else (1,)
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    values = [step * 10.0**decade for decade in decades for step in steps]
    shown = [value for value in values if low * 0.999 <= value <= high * 1.001]
    limits = [float(np.log10(low)), float(np.log10(high))]
    labels = [f"{value:g}" for value in shown]
    return axis(title, type="log", range=limits, tickvals=shown, ticktext=labels, **settings)


CROSSHAIR: dict[str, Any] = {
    "showspikes": True, "spikemode": "across", "spikethickness": 1, "spikedash": "solid", "spikecolor": RULE,
}  # fmt: skip
"""Settings of a time axis: a line through all panels at the pointer."""


def panel_title(text: str, x: float, y: float, colour: str = MUTED) -> dict[str, Any]:
    """A heading above the upper left corner of a panel, at paper coordinates x, y."""
    return {
        "text": text, "xref": "paper", "yref": "paper", "x": x, "y": y, "xanchor": "left", "yanchor": "bottom",
        "showarrow": False, "font": {"size": 12, "color": colour}, "align": "left",
    }  # fmt: skip


def note(plot: go.Figure, text: str, **place: Any) -> None:
    """Small words in a figure at x, y of the axes ``xref`` and ``yref``."""
    plot.add_annotation(text=text, showarrow=False, **({"font": {"size": 11, "color": MUTED}} | place))
