"""The dendrites seen flat, coloured by what the surrogate learned of the inputs on them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ulmus.errors import extra
from ulmus.geometry import Geometry
from ulmus.report import style
from ulmus.report.content import Learned

with extra("report", "a report page"):
    import plotly.graph_objects as go
    from plotly.colors import sample_colorscale

COLOURS = 32
LINE_PX = (1.4, 2.2, 3.2, 4.6)
WIDER_THAN_TALL = 1.5
TALL_PX, ROW_PX = 720, 150
SCALE_BARS_UM = (10, 20, 50, 100, 200, 500)
BRANCH_SCALE = [
    [0.0, "#08519c"], [0.2, "#56b4e9"], [0.4, "#009e73"], [0.6, "#e3b505"], [0.8, "#d55e00"], [1.0, "#8e3b76"],
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class _View:
    """One drawing of the cell: a value for each piece (NaN for none), and how it is coloured."""

    title: str
    value: Float[np.ndarray, "pieces"]
    low: float
    high: float
    scale: list[list[Any]]
    ticks: tuple[str, str]


def morphology_figure(learned: Learned, geometry: Geometry) -> go.Figure:
    """The cell once for each sign of its inputs, coloured by summed synaptic weight, and once by branch of the ELM."""
    flat = seen_flat(geometry)
    weights = piece_weights(learned, geometry)
    views = _views(learned, geometry, weights)
    span = np.ptp(flat.reshape(-1, 2), axis=0)
    wide = span[0] > WIDER_THAN_TALL * span[1]
    plot = style.figure(ROW_PX * len(views) + 40 if wide else TALL_PX, hovermode="closest")
    plot.update_layout(margin={"l": 12, "r": 12, "t": 40, "b": 16})
    hover = _hover(learned, geometry, weights)
    for number, view in enumerate(views, start=1):
        domain = _lay_out(plot, number, len(views), flat, wide)
        _draw(plot, number, geometry, flat, view)
        plot.add_scatter(
            x=flat.mean(axis=1)[:, 0], y=flat.mean(axis=1)[:, 1], mode="markers",
            marker={"size": 9, "opacity": 0}, text=hover, hovertemplate="%{text}<extra></extra>",
            xaxis=f"x{number}", yaxis=f"y{number}",
        )  # fmt: skip
        _label(plot, view, domain, wide)
    _scale_bar(plot, flat)
    return plot


def seen_flat(geometry: Geometry) -> Float[np.ndarray, "pieces ends 2"]:
    """Both ends of every piece in the plane of the two axes along which the cell extends most; y stays upright."""
    ends = np.stack([geometry.proximal_um, geometry.distal_um], axis=1) - geometry.soma_centre_um
    span = np.ptp(ends.reshape(-1, 3), axis=0)
    kept = [0, 1] if span[2] <= span[:2].min() else sorted({0, 1, 2} - {int(np.argmin(span))}, key=_upright)
    return np.asarray(ends[..., kept])


def _upright(axis: int) -> int:
    return (0, 2, 1)[axis]  # x across, y up, z in the place of the one that is missing


def piece_weights(learned: Learned, geometry: Geometry) -> Float[np.ndarray, "branches signs pieces"]:
    """Summed synaptic weight of the inputs on each piece, excitatory and inhibitory, for every branch."""
    branches, pieces = learned.synaptic_weights.shape[0], len(geometry.diameter_um)
    piece = geometry.input_piece[learned.input_index]
    sign = (np.sign(learned.input_sign)[learned.input_index] < 0).astype(np.int64)
    branch = np.broadcast_to(np.arange(branches)[:, None], piece.shape)
    here = learned.connected & (piece >= 0)
    total = np.zeros((branches, 2, pieces))
    np.add.at(total, (branch[here], sign[here], piece[here]), learned.synaptic_weights[here])
    return total


def strongest_branch(weights: Float[np.ndarray, "branches signs pieces"]) -> Float[np.ndarray, "pieces"]:
    """Branch with the largest weight on each piece, counted from 1; NaN where no branch has any."""
    total = weights.sum(axis=1)
    return np.where(total.max(axis=0) > 0, 1.0 + np.argmax(total, axis=0), np.nan)


def _views(
    learned: Learned, geometry: Geometry, weights: Float[np.ndarray, "branches signs pieces"]
) -> list[_View]:
    views = []
    for index, (sign, name) in enumerate(((1, "Excitatory"), (-1, "Inhibitory"))):
        inputs = geometry.input_piece[(np.sign(learned.input_sign) == sign) & (geometry.input_piece >= 0)]
        if not inputs.size:
            continue
        value = np.full(len(geometry.diameter_um), np.nan)
        value[inputs] = weights[:, index].sum(axis=0)[inputs]
        ceiling = float(np.nanquantile(value, 0.99)) or 1.0
        # White would be lost on the page.
        scale = [[k / 8, sample_colorscale(style.scale(sign), 0.12 + 0.88 * k / 8)[0]] for k in range(9)]
        title = f"<span style='color:{style.hue(sign)}'>{name}</span> weight"
        views.append(_View(title, value, 0.0, ceiling, scale, ("0", f"{ceiling:.2g} or more")))
    branches = weights.shape[0]
    if branches > 1 and learned.synaptic_weights.shape[1] > 1:
        title, ticks = "Branch of the ELM with the largest weight", ("1", f"{branches}")
        views.append(_View(title, strongest_branch(weights), 1.0, float(branches), BRANCH_SCALE, ticks))
    return views


def _hover(
    learned: Learned, geometry: Geometry, weights: Float[np.ndarray, "branches signs pieces"]
) -> list[str]:
    """What is said of each piece at the pointer."""
    branch, total = strongest_branch(weights), weights.sum(axis=0)
    inhibited = bool((np.asarray(learned.input_sign) < 0).any())
    texts = []
    for index in range(len(geometry.diameter_um)):
        inputs = np.flatnonzero(geometry.input_piece == index)
        if not inputs.size:
            texts.append("no input")
            continue
        shown = ", ".join(map(str, inputs[:6])) + (" ..." if len(inputs) > 6 else "")
        lines = [f"input{'s' if len(inputs) > 1 else ''} {shown}", f"excitatory weight {total[0, index]:.3f}"]
        lines += [f"inhibitory weight {total[1, index]:.3f}"] if inhibited else []
        lines += [] if np.isnan(branch[index]) else [f"most on branch {branch[index]:.0f}"]
        texts.append("<br>".join(lines))
    return texts


def _lay_out(
    plot: go.Figure, number: int, views: int, flat: Float[np.ndarray, "pieces ends 2"], wide: bool
) -> tuple[float, float, float, float]:
    """Axes of one drawing, which move and zoom with those of the first; returns left, right, bottom, top."""
    low, high = flat.min(axis=(0, 1)), flat.max(axis=(0, 1))
    margin = 0.04 * float((high - low).max())
    place = (number - 1) / views, number / views
    along = (0.0, 0.97, 1 - place[1], 1 - place[0] - 0.2 / views) if wide else (*place, 0.07, 1.0)
    hidden: dict[str, Any] = {"visible": False, "showgrid": False, "zeroline": False}
    first: dict[str, Any] = {} if number == 1 else {"matches": "x"}
    x = {
        **hidden, **first, "domain": along[:2], "anchor": f"y{number}", "range": [low[0] - margin, high[0] + margin],
    }  # fmt: skip
    first = {"scaleanchor": "x", "scaleratio": 1} if number == 1 else {"matches": "y"}
    y = {
        **hidden, **first, "domain": along[2:], "anchor": f"x{number}", "range": [low[1] - margin, high[1] + margin],
    }  # fmt: skip
    plot.update_layout({f"xaxis{number}": x, f"yaxis{number}": y})
    return along


def _draw(
    plot: go.Figure, number: int, geometry: Geometry, flat: Float[np.ndarray, "pieces ends 2"], view: _View
) -> None:
    """Every piece as a line; pieces of one colour and width share a trace."""
    share = np.clip((view.value - view.low) / max(view.high - view.low, 1e-12), 0, 1)
    colour = np.where(np.isnan(share), -1, np.round(np.nan_to_num(share) * (COLOURS - 1))).astype(np.int64)
    width = _width_class(geometry.diameter_um)
    order = np.lexsort((width, colour))  # strong ones on top
    kinds, starts = np.unique(np.stack([colour, width])[:, order], axis=1, return_index=True)
    for (shade, thickness), members in zip(kinds.T, np.split(order, starts[1:]), strict=True):
        ends = np.concatenate([flat[members], np.full((len(members), 1, 2), np.nan)], axis=1).reshape(-1, 2)
        ink = style.RULE if shade < 0 else sample_colorscale(view.scale, float(shade) / (COLOURS - 1))[0]
        plot.add_scatter(
            x=np.round(ends[:, 0], 1), y=np.round(ends[:, 1], 1), mode="lines", hoverinfo="skip",
            line={"color": ink, "width": LINE_PX[thickness], "simplify": False}, xaxis=f"x{number}", yaxis=f"y{number}",
        )  # fmt: skip
    radius = max(geometry.soma_diameter_um / 2, 0.008 * float(np.ptp(flat.reshape(-1, 2), axis=0).max()))
    plot.add_shape(
        type="circle", xref=f"x{number}", yref=f"y{number}", x0=-radius, x1=radius, y0=-radius, y1=radius,
        fillcolor=style.NEURON, line={"width": 0},
    )  # fmt: skip


def _width_class(diameter_um: Float[np.ndarray, "pieces"]) -> Int[np.ndarray, "pieces"]:
    """How thick a piece is drawn: thin dendrites would be finer than a pixel, so widths are only in order."""
    return np.asarray(np.digitize(diameter_um, (0.8, 1.6, 3.2)))


def _label(plot: go.Figure, view: _View, domain: tuple[float, float, float, float], wide: bool) -> None:
    """A heading, and the scale of colours below the drawing, or at its right where drawings stand below each other."""
    left, right, bottom, top = domain
    place: dict[str, Any] = {"x": left, "xanchor": "left", "y": bottom, "yanchor": "top"}
    if wide:
        place = {"x": right, "xanchor": "right", "y": top, "yanchor": "middle"}
    plot.add_annotation(style.panel_title(view.title, left, top + 0.004))
    plot.add_scatter(
        x=[None], y=[None], mode="markers", hoverinfo="skip",
        marker={
            "color": [view.low], "cmin": view.low, "cmax": view.high, "colorscale": view.scale, "showscale": True,
            "colorbar": {
                **place, "orientation": "h", "xpad": 0, "ypad": 4, "len": 0.16, "thickness": 7, "outlinewidth": 0,
                "tickvals": [view.low, view.high], "ticktext": view.ticks, "tickfont": {"size": 11, "color": style.MUTED},
            },
        },
    )  # fmt: skip


def _scale_bar(plot: go.Figure, flat: Float[np.ndarray, "pieces ends 2"]) -> None:
    """A bar of a round length below the cell's right end, in the first drawing."""
    low, high = flat.min(axis=(0, 1)), flat.max(axis=(0, 1))
    length = max(bar for bar in SCALE_BARS_UM if bar <= max(10, 0.2 * float((high - low).max())))
    x, y = float(high[0]), float(low[1]) - 0.03 * float((high - low).max())
    plot.add_scatter(
        x=[x - length, x], y=[y, y], mode="lines", line={"color": style.NEURON, "width": 2}, hoverinfo="skip",
        xaxis="x1", yaxis="y1",
    )  # fmt: skip
    style.note(plot, f"{length} µm", x=x - length / 2, y=y, xref="x", yref="y", yanchor="bottom")
