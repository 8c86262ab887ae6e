"""Figures of single trials: spikes, voltage, spike probability and input on one time axis."""

import html
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ulmus.errors import extra
from ulmus.report import style
from ulmus.report.content import AnswerTrace, Example, InputStretch, InputTrace

with extra("report", "a report page"):
    import plotly.graph_objects as go

MAX_TIME_BINS = 1200
MAX_INPUT_ROWS = 40
_HEIGHT = 780
_CELL_MS = 5.0


class InputRaster(NamedTuple):
    """Input events of one sign, counted in cells of time and neighbouring inputs."""

    events: Int[np.ndarray, "rows columns"]
    time_edge_ms: Float[np.ndarray, "columns_plus_one"]
    row_edge: Int[np.ndarray, "rows_plus_one"]
    inputs: Int[np.ndarray, "selected"]
    """Numbers of the inputs of this sign, in order."""


class Place(NamedTuple):
    """Where a panel is drawn: its axes as plotly calls them, and its vertical extent."""

    x: str
    y: str
    domain: tuple[float, float]

    @property
    def y_axis(self) -> str:
        """The vertical axis as the layout calls it."""
        return self.y.replace("y", "yaxis", 1)


def axis_name(letter: str, number: int) -> str:
    """How plotly calls an axis: the first one has no number."""
    return letter if number == 1 else f"{letter}{number}"


def inputs_of_sign(input_sign: Int[np.ndarray, "inputs"], sign: int) -> Int[np.ndarray, "selected"]:
    """Numbers of the excitatory (+1) or inhibitory (-1) inputs, in order."""
    return np.flatnonzero(np.sign(input_sign) == sign)


def stretch_axis(stretches: tuple[InputStretch, ...], inputs: Int[np.ndarray, "selected"]) -> dict[str, Any]:
    """Ticks with each stretch's name at its middle; without stretches, the numbers of the first and last input."""
    if not stretches:
        ends = [0, len(inputs) - 1] if len(inputs) > 1 else [0]
        return {
            "tickvals": [place + 0.5 for place in ends],
            "ticktext": [f"{inputs[place]:,}" for place in ends],
        }
    # plotly reads a little markup in labels, so names are escaped.
    names = [html.escape(stretch.label) for stretch in stretches]
    middles = [(stretch.first + stretch.stop) / 2 for stretch in stretches]
    return {"tickvals": middles, "ticktext": names, "ticks": ""}


def stretch_edges(stretches: tuple[InputStretch, ...], inputs: int) -> set[int]:
    """Where one stretch ends and another begins."""
    return {edge for each in stretches for edge in (each.first, each.stop) if 0 < edge < inputs}


def raster(
    event_time_ms: Float[np.ndarray, "events"],
    event_input: Int[np.ndarray, "events"],
    input_sign: Int[np.ndarray, "inputs"],
    sign: int,
    time_edge_ms: Float[np.ndarray, "columns_plus_one"],
    most_rows: int = MAX_INPUT_ROWS,
) -> InputRaster:
    """Count events of excitatory (+1) or inhibitory (-1) inputs, neighbours together where there are many."""
    inputs = inputs_of_sign(input_sign, sign)
    rank = np.full(len(input_sign), -1)
    rank[inputs] = np.arange(len(inputs))
    of_event = rank[np.asarray(event_input, dtype=np.int64)]
    row_edge = np.round(np.linspace(0, len(inputs), min(most_rows, len(inputs)) + 1)).astype(np.int64)
    mine = of_event >= 0
    count, _, _ = np.histogram2d(of_event[mine], event_time_ms[mine], bins=(row_edge, time_edge_ms))
    return InputRaster(count.astype(np.int64), time_edge_ms, row_edge, inputs)


def input_raster(example: Example, sign: int) -> InputRaster:
    """Events of an example in cells of 5 ms (wider where it is longer than 1,200 of them) and a fortieth of the inputs."""
    start, stop, width_ms = float(example.time_ms[0]), float(example.time_ms[-1]), bin_width_ms(example)
    edges = start + width_ms * np.arange(int(np.ceil((stop - start) / width_ms)) + 1)
    return raster(example.event_time_ms, example.event_input, example.input_sign, sign, edges)


def bin_width_ms(example: Example) -> float:
    """Width of a cell of the input raster."""
    duration_ms = float(example.time_ms[-1] - example.time_ms[0])
    return max(_CELL_MS, float(np.ceil(duration_ms / MAX_TIME_BINS)))


def raster_ceiling(example: Example) -> int:
    """Count drawn in the darkest colour: exceeded by about one cell in two hundred."""
    cells = [input_raster(example, sign).events.ravel() for sign in signs(example)]
    return max(1, int(np.quantile(np.concatenate(cells), 0.995))) if cells else 1


def signs(example: Example) -> list[int]:
    """Which of excitation (+1) and inhibition (-1) this neuron has."""
    return [sign for sign in (1, -1) if np.any(np.sign(example.input_sign) == sign)]


def trace_figure(example: Example, stretches: tuple[InputStretch, ...] = ()) -> go.Figure:
    """Spikes, voltage, spike probability and input of one trial, as far as there are; zooming one panel in time zooms all."""
    input_signs, spikes, voltage = (
        signs(example),
        example.spike_times_ms is not None,
        example.voltage_mv is not None,
    )
    shares = [
        *([0.55] if spikes else []),
        *([3.8] if voltage else []),
        *[1.7 for _ in example.answers],
        *([1.3] if spikes else []),
        *[1.0 for _ in example.traces],
        *[1.7 for _ in input_signs],
    ]
    places = [
        Place("x", axis_name("y", number), domain)
        for number, domain in enumerate(_domains(shares, gap=0.052), start=1)
    ]
    left = iter(places)
    plot = style.figure(_HEIGHT, hovermode="x unified", hoversubplots="axis")
    limits = [float(example.time_ms[0]), float(example.time_ms[-1])]
    title = {"text": "%{x:.0f} ms"}
    x = style.axis("time (ms)", anchor=places[-1].y, range=limits, hoverformat=".0f", unifiedhovertitle=title)
    plot.update_layout(xaxis=x | style.CROSSHAIR)
    if spikes:
        _draw_spikes(plot, example, next(left))
    if voltage:
        _draw_whole_voltage(plot, example, next(left))
    for answer in example.answers:
        _draw_answer(plot, example, answer, next(left))
    if spikes:
        place = next(left)
        _draw_probability(plot, example, place)
        heading = "Spike probability per time step (surrogate)"
        plot.add_annotation(style.panel_title(heading, 0, place.domain[1] + 0.004))
    for trace in example.traces:
        place = next(left)
        _draw_trace(plot, example, trace, place)
        plot.add_annotation(
            style.panel_title(f"Input: {html.escape(trace.label)}", 0, place.domain[1] + 0.004)
        )
    if example.unscored_ms > 0:
        _shade_unscored(plot, example)
    ceiling = raster_ceiling(example)
    for place, sign in zip(left, input_signs, strict=True):
        found = input_raster(example, sign)
        draw_raster(plot, place, found, sign, ceiling, stretches)
        for edge in stretch_edges(stretches, len(found.inputs)):
            _level(plot, place, edge, colour=style.NEURON, width=0.6, dash="solid")
    return plot


def _shade_unscored(plot: go.Figure, example: Example) -> None:
    """A shade under the beginning of all panels, in which the surrogate settles from rest."""
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


def _level(
    plot: go.Figure, place: Place, y: float, *, colour: str = style.MUTED, width: float = 1, dash: str = "dot"
) -> None:
    """A horizontal line across a panel."""
    plot.add_shape(
        type="line", xref=f"{place.x} domain", x0=0, x1=1, yref=place.y, y0=y, y1=y,
        line={"color": colour, "width": width, "dash": dash},
    )  # fmt: skip


def _curve(
    plot: go.Figure, place: Place, x: Any, y: Any, name: str, colour: str, text: str, *, fill: bool = False
) -> None:
    plot.add_scatter(
        x=np.asarray(x, dtype=np.float32), y=np.asarray(y, dtype=np.float32), mode="lines", name=name,
        line={"color": colour, "width": 1.4}, xaxis=place.x, yaxis=place.y, hovertemplate=text,
        fill="tozeroy" if fill else None, fillcolor="rgba(0,158,115,0.12)" if fill else None,
    )  # fmt: skip


def _spike_marks(plot: go.Figure, place: Place, times_ms: Any, height: float, name: str, colour: str) -> None:
    times_ms = np.zeros(0) if times_ms is None else times_ms
    plot.add_scatter(
        x=np.asarray(times_ms, dtype=np.float32), y=np.full(len(times_ms), height, dtype=np.float32),
        mode="markers", name=f"spikes of the {name}", xaxis=place.x, yaxis=place.y, hoverinfo="skip", cliponaxis=False,
        marker={"symbol": "line-ns", "size": 12, "line": {"width": 1.7, "color": colour}, "color": colour},
    )  # fmt: skip


def _draw_spikes(plot: go.Figure, example: Example, place: Place) -> None:
    _spike_marks(plot, place, example.predicted_spike_times_ms, 0, "surrogate", style.SURROGATE)
    _spike_marks(plot, place, example.spike_times_ms, 1, "neuron", style.NEURON)
    y = style.axis(
        domain=list(place.domain), tickvals=[0, 1], ticktext=["surrogate", "neuron"], range=[-0.6, 1.6],
        fixedrange=True, grid=False, showline=False, ticks="",
    )  # fmt: skip
    plot.update_layout({place.y_axis: y})
    plot.add_annotation(style.panel_title("Output spikes", 0, place.domain[1] + 0.004))


def _draw_trace(plot: go.Figure, example: Example, trace: InputTrace, place: Place) -> None:
    _curve(plot, place, example.time_ms, trace.values, trace.label, style.EXCITATION, "%{y:.3g}")
    y = style.axis(domain=list(place.domain), anchor=place.x, nticks=4)
    plot.update_layout({place.y_axis: y})


def _draw_answer(plot: go.Figure, example: Example, answer: AnswerTrace, place: Place) -> None:
    _curve(plot, place, example.time_ms, answer.values, f"{answer.label}, neuron", style.NEURON, "%{y:.4g}")
    _curve(
        plot,
        place,
        example.time_ms,
        answer.predicted,
        f"{answer.label}, surrogate",
        style.SURROGATE,
        "%{y:.4g}",
    )
    y = style.axis(domain=list(place.domain), anchor=place.x, nticks=4, exponentformat="power")
    plot.update_layout({place.y_axis: y})
    plot.add_annotation(style.panel_title(html.escape(answer.label), 0, place.domain[1] + 0.004))


def _voltages(example: Example) -> tuple[Any, Any]:
    """Of neuron and surrogate; nothing where there is none."""
    nothing = np.zeros(0)
    return tuple(
        nothing if voltage is None else np.asarray(voltage)
        for voltage in (example.voltage_mv, example.predicted_voltage_mv)
    )  # type: ignore[return-value]


def _draw_voltage(plot: go.Figure, example: Example, place: Place, top_mv: float = np.inf) -> None:
    recorded, predicted = _voltages(example)
    _curve(
        plot, place, example.time_ms, np.minimum(recorded, top_mv), "neuron", style.NEURON, "%{y:.1f} mV"
    )  # fmt: skip
    _curve(plot, place, example.time_ms, predicted, "surrogate", style.SURROGATE, "%{y:.1f} mV")


def _draw_whole_voltage(plot: go.Figure, example: Example, place: Place) -> None:
    """The voltage with its spikes; where the surrogate learned it cut off, a button shows only what it learned."""
    _draw_voltage(plot, example, place)
    both = np.concatenate(_voltages(example))
    both = both[np.isfinite(both)]
    whole = _range(float(both.min()), float(both.max()))
    y = style.axis(domain=list(place.domain), range=whole, hoverformat=".1f")
    plot.update_layout({place.y_axis: y})
    plot.add_annotation(style.panel_title("Membrane voltage (mV)", 0, place.domain[1] + 0.004))
    if example.clip_mv is None:
        return
    _level(plot, place, example.clip_mv)
    if example.spike_times_ms is None:
        return
    below = _range(float(both.min()), max(example.clip_mv, float(_voltages(example)[1].max())))
    buttons = [
        {"label": label, "method": "relayout", "args": [{f"{place.y_axis}.range": limits}]}
        for label, limits in (("with spikes", whole), ("below spikes", below))
    ]
    plot.update_layout(
        updatemenus=[
            {
                "type": "buttons", "direction": "left", "buttons": buttons, "active": 0, "showactive": True,
                "x": 1, "xanchor": "right", "y": place.domain[1] + 0.006, "yanchor": "bottom", "bordercolor": style.RULE,
                "font": {"size": 11, "color": style.MUTED}, "pad": {"t": 0, "b": 0, "l": 0, "r": 0},
            }
        ]
    )  # fmt: skip


def _range(low: float, high: float) -> list[float]:
    margin = 0.06 * max(high - low, 1.0)
    return [low - margin, high + margin]


def _draw_probability(plot: go.Figure, example: Example, place: Place) -> None:
    probability, level = np.asarray(example.spike_probability), example.spike_threshold
    _curve(
        plot, place, example.time_ms, probability, "spike probability", style.SURROGATE, "%{y:.3f}", fill=True
    )
    if level is not None:
        _level(plot, place, level)
    top = 1.08 * max(float(probability.max()), 1.3 * (level or 0.0), 1e-3)
    y = style.axis(domain=list(place.domain), anchor=place.x, range=[0, top], nticks=4, rangemode="tozero")
    plot.update_layout({place.y_axis: y})


def draw_raster(
    plot: go.Figure,
    place: Place,
    found: InputRaster,
    sign: int,
    ceiling: float,
    stretches: tuple[InputStretch, ...] = (),
    more: str = "",
) -> None:
    """A map of input events, with a heading; the lowest row is the first input."""
    kind, inputs = "Excitatory" if sign > 0 else "Inhibitory", len(found.inputs)
    plot.add_heatmap(
        z=found.events.clip(max=255).astype(np.uint8), x=found.time_edge_ms.astype(np.float32),
        y=found.row_edge.astype(np.float32), xaxis=place.x, yaxis=place.y, zmin=0, zmax=ceiling,
        colorscale=style.scale(sign), showscale=False, name=f"{kind.lower()} events", hovertemplate="%{z}",
    )  # fmt: skip
    y = style.axis(domain=list(place.domain), grid=False, fixedrange=True, range=[0, inputs])
    plot.update_layout({place.y_axis: y | stretch_axis(stretches, found.inputs)})
    title = f"<span style='color:{style.hue(sign)}'>{kind} input</span>{more}, {inputs:,} inputs"
    plot.add_annotation(style.panel_title(title, 0, place.domain[1] + 0.004))


def moments_figure(moments: tuple[Example, ...]) -> go.Figure:
    """Voltage, spike probability and input of short stretches of trials, side by side and on the same scales."""
    plot = style.figure(480, hovermode="x unified", margin={"l": 62, "r": 18, "t": 44, "b": 48})
    gap = 0.07
    width = (1 - gap * (len(moments) - 1)) / max(1, len(moments))
    has_voltage, has_spikes = (
        any(value is not None for value in values)
        for values in zip(*((each.voltage_mv, each.spike_times_ms) for each in moments), strict=True)
    )
    upper = {(True, True): ((0.47, 1.0), (0.27, 0.42))}.get(
        (has_voltage, has_spikes), ((0.27, 1.0), (0.27, 1.0))
    )
    for column, example in enumerate(moments):
        left, x = column * (width + gap), axis_name("x", column + 1)
        voltage, probability, events = (
            Place(x, axis_name("y", 3 * column + row), domain)
            for row, domain in enumerate((*upper, (0.0, 0.2)), 1)
        )
        limits = [float(example.time_ms[0]), float(example.time_ms[-1])]
        across = style.axis(
            "time (ms)", range=limits, domain=[left, left + width], anchor=events.y, nticks=5, hoverformat=".0f"
        )  # fmt: skip
        plot.update_layout({f"xaxis{column + 1}": across})
        if has_voltage:
            _draw_moment_voltage(plot, example, voltage, _voltage_range(moments))
        if has_spikes:
            _draw_probability(plot, example, probability)
        if has_spikes and not has_voltage:
            _spike_marks(plot, probability, example.spike_times_ms, 1.0, "neuron", style.NEURON)
        _draw_rates(plot, example, events)
        plot.add_annotation(style.panel_title(example.label, left, 1.015, style.NEURON))
    if moments:
        if has_voltage and has_spikes:
            plot.add_annotation(style.panel_title("Spike probability per time step", 0, 0.425))
        drive = (
            "Input events per ms"
            if signs(moments[0])
            else f"Input: {html.escape(moments[0].traces[0].label)}"
        )
        plot.add_annotation(style.panel_title(drive, 0, 0.205))
        inputs = [f"yaxis{3 * column + 3}" for column in range(len(moments))]
        plot.update_layout({name: {"matches": "y3"} for name in inputs[1:]})
    return plot


def _voltage_range(moments: tuple[Example, ...]) -> tuple[float, float]:
    """Lowest voltage of all moments, and the highest up to where spikes are cut off."""
    shown = np.concatenate([voltage for each in moments for voltage in _voltages(each)])
    clip_mv = moments[0].clip_mv
    return float(np.nanmin(shown)), float(np.nanmax(shown)) if clip_mv is None else clip_mv


def _draw_moment_voltage(
    plot: go.Figure, example: Example, place: Place, limits: tuple[float, float]
) -> None:
    """The voltage below its spikes, which stand as marks above it: what is missed is seen, and by how many mV."""
    bottom, top = limits
    span = max(top - bottom, 1.0)
    _draw_voltage(plot, example, place, top)
    if example.spike_times_ms is not None:
        _spike_marks(plot, place, example.spike_times_ms, top + 0.26 * span, "neuron", style.NEURON)
        _spike_marks(
            plot, place, example.predicted_spike_times_ms, top + 0.13 * span, "surrogate", style.SURROGATE
        )
    y = style.axis(
        "voltage (mV)" if place.y == "y" else "", domain=list(place.domain), anchor=place.x,
        range=[bottom - 0.05 * span, top + 0.36 * span], tickvals=np.arange(np.ceil(bottom / 5) * 5, top + 0.1, 5),
    )  # fmt: skip
    plot.update_layout({place.y_axis: y})


def _draw_rates(plot: go.Figure, example: Example, place: Place) -> None:
    edges = np.arange(float(example.time_ms[0]), float(example.time_ms[-1]) + _CELL_MS, _CELL_MS)
    for sign in signs(example):
        times_ms = example.event_time_ms[example.input_sign[example.event_input] == sign]
        per_ms = np.histogram(times_ms, edges)[0] / _CELL_MS
        name = "excitation" if sign > 0 else "inhibition"
        _curve(plot, place, edges[:-1] + _CELL_MS / 2, per_ms, name, style.hue(sign), "%{y:.1f}")
    for trace in example.traces[: 0 if signs(example) else 1]:
        _curve(plot, place, example.time_ms, trace.values, trace.label, style.EXCITATION, "%{y:.3g}")
    y = style.axis(domain=list(place.domain), anchor=place.x, rangemode="tozero", nticks=4)
    plot.update_layout({place.y_axis: y})
