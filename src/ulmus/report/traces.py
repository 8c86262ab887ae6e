"""The figure of one trial: spikes, voltage, spike probability and input on one time axis."""

from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float, Int

from ulmus.report import style
from ulmus.report.content import Example, InputGroup
from ulmus.report.groups import group_axis, inputs_of_sign

MAX_TIME_BINS = 1200
MAX_INPUT_ROWS = 40
_HEIGHT = 760


class InputRaster(NamedTuple):
    """Input events of one sign, counted in cells of time and neighbouring inputs."""

    events: Int[np.ndarray, "rows columns"]
    time_edge_ms: Float[np.ndarray, "columns_plus_one"]
    row_edge: Int[np.ndarray, "rows_plus_one"]


def input_raster(example: Example, sign: int) -> InputRaster:
    """Count events of excitatory (+1) or inhibitory (-1) inputs.

    Cells are 5 ms wide (wider where a trial is longer than 1,200 of them) and hold up to a fortieth of the inputs.
    """
    inputs = inputs_of_sign(example.input_sign, sign)
    rank = np.full(len(example.input_sign), -1)
    rank[inputs] = np.arange(len(inputs))
    of_event = rank[np.asarray(example.event_input, dtype=np.int64)]
    start, stop = float(example.time_ms[0]), float(example.time_ms[-1])
    width_ms = bin_width_ms(example)
    time_edge_ms = start + width_ms * np.arange(int(np.ceil((stop - start) / width_ms)) + 1)
    rows = min(MAX_INPUT_ROWS, len(inputs))
    row_edge = np.round(np.linspace(0, len(inputs), rows + 1)).astype(np.int64)
    count, _, _ = np.histogram2d(
        of_event[of_event >= 0], example.event_time_ms[of_event >= 0], bins=(row_edge, time_edge_ms)
    )
    return InputRaster(count.astype(np.int64), time_edge_ms, row_edge)


def bin_width_ms(example: Example) -> float:
    """Width of a cell of the input raster."""
    duration_ms = float(example.time_ms[-1] - example.time_ms[0])
    return max(5.0, float(np.ceil(duration_ms / MAX_TIME_BINS)))


def raster_ceiling(example: Example) -> int:
    """Count drawn in the darkest colour: exceeded by about one cell in two hundred."""
    cells = [input_raster(example, sign).events.ravel() for sign in signs(example)]
    return max(1, int(np.quantile(np.concatenate(cells), 0.995))) if cells else 1


def signs(example: Example) -> list[int]:
    """Which of excitation (+1) and inhibition (-1) this neuron has."""
    return [sign for sign in (1, -1) if np.any(np.sign(example.input_sign) == sign)]


def trace_figure(example: Example, groups: tuple[InputGroup, ...] = ()) -> go.Figure:
    """Spikes, voltage, spike probability and input of one trial.

    All panels share a single time axis, so that zooming one zooms all.
    """
    input_signs = signs(example)
    panels = [("spikes", 0.55), ("voltage", 3.6), ("probability", 1.3), *[(str(s), 1.7) for s in input_signs]]
    domains = _domains([share for _, share in panels], gap=0.052)
    domain = {name: part for (name, _), part in zip(panels, domains, strict=True)}
    plot = style.figure(_HEIGHT, hovermode="x unified", hoversubplots="axis")
    last = f"y{len(panels)}"
    plot.update_layout(
        xaxis=style.axis(
            "time (ms)",
            anchor=last,
            range=[float(example.time_ms[0]), float(example.time_ms[-1])],
            **style.CROSSHAIR,
            hoverformat=".0f",
            unifiedhovertitle={"text": "%{x:.0f} ms"},
        )
    )
    _draw_spikes(plot, example, domain["spikes"])
    _draw_voltage(plot, example, domain["voltage"])
    _draw_probability(plot, example, domain["probability"])
    if example.unscored_ms > 0:
        _shade_unscored(plot, example)
    ceiling = raster_ceiling(example)
    for number, sign in enumerate(input_signs, start=4):
        _draw_input(plot, example, sign, f"y{number}", domain[str(sign)], ceiling, groups)
    return plot


def _shade_unscored(plot: go.Figure, example: Example) -> None:
    """A shade under the beginning of all panels, which shows the surrogate finding its way from rest."""
    start = float(example.time_ms[0])
    plot.add_shape(
        type="rect", xref="x", x0=start, x1=start + example.unscored_ms, yref="paper", y0=0, y1=1,
        fillcolor=style.GRID, opacity=0.7, line={"width": 0}, layer="below", name="not scored",
    )  # fmt: skip


def _domains(shares: list[float], gap: float) -> list[tuple[float, float]]:
    """Vertical extent of every panel, from the top."""
    unit = (1 - gap * (len(shares) - 1)) / sum(shares)
    tops = 1 - np.cumsum([0.0, *[share * unit + gap for share in shares[:-1]]])
    return [
        (max(0.0, float(top - share * unit)), float(top)) for top, share in zip(tops, shares, strict=True)
    ]


def _set_y(plot: go.Figure, name: str, domain: tuple[float, float], title: str, **settings: Any) -> None:
    plot.update_layout({name.replace("y", "yaxis", 1): style.axis(domain=list(domain), **settings)})
    if title:
        plot.add_annotation(style.panel_title(title, 0, domain[1] + 0.004))


def _draw_spikes(plot: go.Figure, example: Example, domain: tuple[float, float]) -> None:
    rows = (
        ("surrogate", 0, example.predicted_spike_times_ms, style.SURROGATE),
        ("neuron", 1, example.spike_times_ms, style.NEURON),
    )
    for name, row, times_ms, colour in rows:
        plot.add_scatter(
            x=np.asarray(times_ms, dtype=np.float32),
            y=np.full(len(times_ms), row, dtype=np.float32),
            mode="markers",
            marker={
                "symbol": "line-ns",
                "size": 13,
                "line": {"width": 1.6, "color": colour},
                "color": colour,
            },
            name=f"spikes of the {name}",
            hoverinfo="skip",
            cliponaxis=False,
        )
    settings = {
        "tickvals": [0, 1],
        "ticktext": [name for name, *_ in rows],
        "range": [-0.6, 1.6],
        "fixedrange": True,
    }
    _set_y(plot, "y", domain, "Output spikes", grid=False, **settings)
    plot.update_layout(yaxis={"showline": False, "ticks": ""})


def _draw_voltage(plot: go.Figure, example: Example, domain: tuple[float, float]) -> None:
    curves = (
        ("neuron", example.voltage_mv, style.NEURON, 1.5),
        ("surrogate", example.predicted_voltage_mv, style.SURROGATE, 1.4),
    )
    for name, voltage_mv, colour, width in curves:
        plot.add_scatter(
            x=np.asarray(example.time_ms, dtype=np.float32),
            y=np.asarray(voltage_mv, dtype=np.float32),
            mode="lines",
            line={"color": colour, "width": width},
            name=name,
            yaxis="y2",
            hovertemplate="%{y:.1f} mV",
        )
    both = np.concatenate([example.voltage_mv, example.predicted_voltage_mv])
    top = (
        float(both.max())
        if example.clip_mv is None
        else max(example.clip_mv, float(example.predicted_voltage_mv.max()))
    )
    bottom = float(both.min())
    margin = 0.06 * max(top - bottom, 1.0)
    _set_y(
        plot,
        "y2",
        domain,
        "Membrane voltage (mV)",
        range=[bottom - margin, top + 2 * margin],
        hoverformat=".1f",
    )
    if example.clip_mv is not None:
        plot.add_shape(
            type="line", xref="paper", x0=0, x1=1, yref="y2", y0=example.clip_mv, y1=example.clip_mv,
            line={"color": style.MUTED, "width": 1, "dash": "dot"},
        )  # fmt: skip


def _draw_probability(plot: go.Figure, example: Example, domain: tuple[float, float]) -> None:
    plot.add_scatter(
        x=np.asarray(example.time_ms, dtype=np.float32),
        y=np.asarray(example.spike_probability, dtype=np.float32),
        mode="lines",
        line={"color": style.SURROGATE, "width": 1.2},
        fill="tozeroy",
        fillcolor="rgba(0,158,115,0.12)",
        name="spike probability",
        yaxis="y3",
        hovertemplate="%{y:.3f}",
    )
    top = max(float(np.max(example.spike_probability)), example.spike_threshold or 0.0, 1e-3)
    title = "Spike probability per time step (surrogate)"
    _set_y(plot, "y3", domain, title, range=[0, 1.08 * top], nticks=4, rangemode="tozero")
    if example.spike_threshold is not None:
        level = example.spike_threshold
        plot.add_shape(
            type="line", xref="paper", x0=0, x1=1, yref="y3", y0=level, y1=level,
            line={"color": style.MUTED, "width": 1, "dash": "dot"},
        )  # fmt: skip


def _draw_input(
    plot: go.Figure,
    example: Example,
    sign: int,
    name: str,
    domain: tuple[float, float],
    ceiling: int,
    groups: tuple[InputGroup, ...],
) -> None:
    raster = input_raster(example, sign)
    kind = "excitatory" if sign > 0 else "inhibitory"
    inputs = int(raster.row_edge[-1])
    plot.add_heatmap(
        z=raster.events.clip(max=255).astype(np.uint8),
        x=raster.time_edge_ms.astype(np.float32),
        y=raster.row_edge.astype(np.float32),
        yaxis=name,
        zmin=0,
        zmax=ceiling,
        colorscale=style.scale(sign),
        showscale=False,
        name=f"{kind} events",
        hovertemplate="%{z}",
    )
    title = f"<span style='color:{style.hue(sign)}'>{kind.capitalize()} input</span>, {inputs:,} inputs"
    _set_y(
        plot,
        name,
        domain,
        title,
        grid=False,
        fixedrange=True,
        range=[0, inputs],
        **group_axis(groups, inputs),
    )
    for edge in {group.first for group in groups} | {group.stop for group in groups}:
        if 0 < edge < inputs:
            plot.add_shape(
                type="line", xref="paper", x0=0, x1=1, yref=name, y0=edge, y1=edge,
                line={"color": style.NEURON, "width": 0.6},
            )  # fmt: skip
