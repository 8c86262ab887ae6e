"""Figures of where a fitted neuron fails: spikes and voltage by kind, rates and intervals, the worst moments."""

from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float64

from ulmus.evaluation.failures import BURST_MS, Failures, Measure, TrialGroup
from ulmus.report import style
from ulmus.report.content import Example
from ulmus.report.traces import signs

MISTIMED = "#a5dac9"
MISSED = "#e4e1d9"
SPIKES = {
    "all": "all recorded spikes",
    "isolated": "isolated",
    "burst_first": "first of a burst",
    "burst_later": "later in a burst",
}
TIMES = {"silent": "silent", "between_spikes": "near spikes", "at_spikes": "at spikes", "plateau": "plateau"}
_ROW, _GAP, _TOP, _BOTTOM = 25, 46, 56, 52
_LEFT, _RIGHT, _RIGHT_TITLE = (0.0, 0.47), (0.66, 1.0), 0.51
_DRIVE_BIN_MS = 5.0
_FEW = 20  # spikes that say little
_PERCENT: dict[str, Any] = {
    "tickvals": [0, 0.2, 0.4, 0.6, 0.8, 1],
    "ticktext": ["0", "20 %", "40 %", "60 %", "80 %", "100 %"],
}

Row = tuple[str, Measure | None, Measure | None]
"""Label, share that counts as right, and share that has at least a spike nearby."""


def failure_summary(found: Failures) -> str:
    """What a reader should take away, in numbers: recall by place in a burst, and the error in plateaus."""
    sentences = []
    found_shares = [
        f"{100 * m.value:.0f} % of {words}"
        for kind, words in (
            ("isolated", "isolated spikes"),
            ("burst_first", "first spikes of bursts"),
            ("burst_later", "later spikes of bursts"),
        )
        if (m := found.measures[f"recall_3ms_{kind}"]).value is not None
    ]
    if found_shares and not found.predicted_count.any():
        sentences.append(
            "Its spike probability never exceeds its threshold, so it predicts no spike; --threshold-on chooses another one."
        )
    elif found_shares:
        *others, last = found_shares
        listed = f"{', '.join(others)} and {last}" if others else last
        chance = found.measures["chance_recall_3ms"].value or 0.0
        sentences.append(
            f"Within 3 ms it finds {listed}; were its spikes moved by 100 ms, it would find {100 * chance:.0f} % of all."
        )
    errors = [found.measures[f"rmse_{kind}_mv"].value for kind in ("silent", "plateau")]
    if errors[1] is not None:
        beside = "" if errors[0] is None else f", {errors[0]:.1f} mV where the neuron is silent"
        sentences.append(f"The error of the voltage is {errors[1]:.1f} mV in plateaus{beside}.")
    return " ".join(sentences) or "The neuron fired no spike in these trials and had no plateau."


def interval_summary(found: Failures) -> str:
    """How many of the surrogate's intervals the neuron is too slow for; nothing where none is."""
    if not found.recorded_intervals_ms.size or not found.predicted_intervals_ms.size:
        return ""
    shortest_ms = found.recorded_intervals_ms.min()
    share = float((found.predicted_intervals_ms < shortest_ms).mean())
    if share < 0.005:
        return ""
    return f"{100 * share:.0f} % of the surrogate's intervals are shorter than the neuron's shortest, {shortest_ms:.2g} ms."


def failures_figure(found: Failures) -> go.Figure:
    """Shares of spikes found, mistimed and missed, and the error of the voltage, by kind and by group of trials."""
    m = found.measures
    spikes = [
        _spikes(f"{label} ({m[f'recall_3ms_{kind}'].number:,})", m, "recall_3ms", "found_10ms", kind)
        for kind, label in SPIKES.items()
    ]
    predicted = _spikes(
        f"all predicted spikes ({m['precision_3ms_all'].number:,})", m, "precision_3ms", "backed_10ms", "all"
    )
    steps = max(1, m["rmse_all_mv"].number)
    voltage: list[Row] = [
        (
            f"{label}, {m[f'rmse_{kind}_mv'].number / steps * 100:.1f} % of time",
            m[f"rmse_{kind}_mv"],
            m[f"bias_{kind}_mv"],
        )
        for kind, label in TIMES.items()
    ]
    blocks: list[tuple[str, list[Row], str, list[Row]]] = [
        (
            "Spikes, by place in a burst",
            [*spikes, predicted],
            "Error of the voltage (RMSE, mV), by kind of time",
            voltage,
        )
    ]
    for family in dict.fromkeys(group.family for group in found.groups):
        groups = [group for group in found.groups if group.family == family]
        shares = [_spikes(group.label, group.measures, "recall_3ms", "found_10ms", "all") for group in groups]
        errors: list[Row] = [
            (_trains(group), group.measures["rmse_all_mv"], group.measures["bias_all_mv"]) for group in groups
        ]
        title = "Spikes recorded → predicted, distance of intervals (KS), and RMSE (mV)"
        blocks.append((f"Recorded spikes, by {family}", shares, title, errors))
    return _blocks_figure(blocks)


def _trains(group: TrialGroup) -> str:
    """How many spikes there are and were predicted, and how different the intervals are."""
    counts = [group.measures[f"{score}_3ms_all"].number for score in ("recall", "precision")]
    few = min(counts) < _FEW or group.isi_distance is None
    distance = "" if few else f", KS {group.isi_distance:.2f}"
    return f"{counts[0]:,} → {counts[1]:,}{distance}"


def _spikes(label: str, measures: dict[str, Measure], right: str, near: str, kind: str) -> Row:
    return label, measures[f"{right}_{kind}"], measures[f"{near}_{kind}"]


def _blocks_figure(blocks: list[tuple[str, list[Row], str, list[Row]]]) -> go.Figure:
    rows = [max(len(left), len(right)) for _, left, _, right in blocks]
    inner = sum(rows) * _ROW + _GAP * (len(blocks) - 1)
    plot = style.figure(
        inner + _TOP + _BOTTOM, hovermode="closest", barmode="stack", bargap=0.3,
        margin={"l": 196, "r": 18, "t": _TOP, "b": _BOTTOM},
    )  # fmt: skip
    ends = [row[1].interval[1] for *_, right in blocks for row in right if row[1] and row[1].interval]
    reach = 1.1 * max([*ends, 1e-3])
    top = 1.0
    for number, ((title, left, other_title, right), count) in enumerate(zip(blocks, rows, strict=True)):
        bottom = max(0.0, top - count * _ROW / inner)
        last = number == len(blocks) - 1
        _stacked(plot, 2 * number + 1, (bottom, top), left, count, last)
        _errors(plot, 2 * number + 2, (bottom, top), right, count, last, reach)
        plot.add_annotation(style.panel_title(title, _LEFT[0], top + 4 / inner, style.NEURON))
        plot.add_annotation(style.panel_title(other_title, _RIGHT_TITLE, top + 4 / inner, style.NEURON))
        top = bottom - _GAP / inner
    _key(plot, inner)
    return plot


def _key(plot: go.Figure, inner: float) -> None:
    """What the colours of the bars mean, above them."""
    parts = (
        (style.SURROGATE, "within 3 ms"),
        (MISTIMED, "mistimed: another spike within 10 ms"),
        (MISSED, "missed (or made up)"),
    )
    text = "&nbsp;&nbsp;&nbsp;".join(
        f"<span style='color:{colour}'>■</span> {label}" for colour, label in parts
    )
    plot.add_annotation(
        text=text, xref="paper", yref="paper", x=0, xanchor="left", y=1 + 24 / inner, yanchor="bottom",
        showarrow=False, font={"size": 12, "color": style.MUTED},
    )  # fmt: skip


def _axes(
    plot: go.Figure, number: int, across: tuple[float, float], domain: tuple[float, float], labels: list[str],
    rows: int, **settings: Any,
) -> None:  # fmt: skip
    """A panel with a line for every label, the first one on top."""
    title = settings.pop("title")
    places = [rows - 1 - place for place in range(len(labels))]
    y = style.axis(
        domain=list(domain), anchor=f"x{number}", range=[-0.6, rows - 0.4], tickvals=places, ticktext=labels,
        grid=False, fixedrange=True, ticks="", showline=False,
    )  # fmt: skip
    y |= {"tickfont": {"size": 12, "color": style.NEURON}, "ticksuffix": " "}
    x = style.axis(title, domain=list(across), anchor=f"y{number}", fixedrange=True, **settings)
    plot.update_layout({f"xaxis{number}": x, f"yaxis{number}": y})


def _stacked(
    plot: go.Figure, number: int, domain: tuple[float, float], rows: list[Row], count: int, last: bool
) -> None:
    labels = [label for label, _, _ in rows]
    _axes(
        plot, number, _LEFT, domain, labels, count,
        title="share of the spikes" if last else "", range=[0, 1], showticklabels=last, **_PERCENT,
    )  # fmt: skip
    for place, (label, right, near) in enumerate(rows):
        y = count - 1 - place
        if right is None or near is None or right.value is None or near.value is None:
            plot.add_annotation(
                text="no spike", x=0.01, xanchor="left", y=y, xref=_axis("x", number), yref=_axis("y", number),
                showarrow=False, font={"size": 11, "color": style.MUTED},
            )  # fmt: skip
            continue
        # A spike that has a partner within 3 ms has one within 10 ms.
        parts = (right.value, near.value - right.value, 1 - near.value)
        names = ("within 3 ms", "mistimed", "missed or made up")
        for share, name, colour in zip(parts, names, (style.SURROGATE, MISTIMED, MISSED), strict=True):
            plot.add_bar(
                x=[share], y=[y], orientation="h", opacity=0.35 if right.number < _FEW else 1,
                marker={"color": colour}, xaxis=f"x{number}", yaxis=f"y{number}",
                hovertemplate=f"{label}<br>{name}: %{{x:.1%}} of {right.number:,}<extra></extra>",
            )  # fmt: skip
        _whisker(plot, number, right, y, style.NEURON, marker=False)


def _whisker(plot: go.Figure, number: int, measure: Measure, y: float, colour: str, *, marker: bool) -> None:
    low, high = measure.interval or (measure.value, measure.value)
    value = measure.value or 0.0
    error = {
        "type": "data", "symmetric": False, "array": [(high or value) - value], "arrayminus": [value - (low or 0.0)],
        "thickness": 1.3, "width": 0, "color": colour,
    }  # fmt: skip
    plot.add_scatter(
        x=[value], y=[y], error_x=error, mode="markers", xaxis=f"x{number}", yaxis=f"y{number}",
        marker={"size": 9 if marker else 0.1, "color": colour},
        hovertemplate=f"%{{x:.3g}} ({low:.3g} to {high:.3g})<extra></extra>" if marker else None,
        hoverinfo=None if marker else "skip",
    )  # fmt: skip


def _errors(
    plot: go.Figure,
    number: int,
    domain: tuple[float, float],
    rows: list[Row],
    count: int,
    last: bool,
    reach: float,
) -> None:
    labels = [label for label, _, _ in rows]
    _axes(
        plot, number, _RIGHT, domain, labels, count,
        title="error of the voltage (mV)" if last else "", range=[0, reach], showticklabels=last, nticks=6,
    )  # fmt: skip
    for place, (_, error, bias) in enumerate(rows):
        y = count - 1 - place
        if error is None or error.value is None or bias is None or bias.value is None:
            plot.add_annotation(
                text="none", x=0.01 * reach, xanchor="left", y=y, xref=_axis("x", number), yref=_axis("y", number),
                showarrow=False, font={"size": 11, "color": style.MUTED},
            )  # fmt: skip
            continue
        _whisker(plot, number, error, y, style.SURROGATE, marker=True)
        if abs(bias.value) > 0.5 * error.value:
            low, high = error.interval or (error.value, error.value)
            left = low > 0.35 * reach
            plot.add_annotation(
                text=f"bias {bias.value:.1f} mV".replace("-", "−"), x=low if left else high, xshift=-8 if left else 8,
                xanchor="right" if left else "left", y=y, xref=_axis("x", number), yref=_axis("y", number),
                showarrow=False, font={"size": 11, "color": style.MUTED},
            )  # fmt: skip


def rates_figure(found: Failures) -> go.Figure:
    """Spike counts of all trials, and the distribution of inter-spike intervals."""
    plot = style.figure(390, hovermode="closest")
    pairs, number = np.unique(
        np.stack([found.recorded_count, found.predicted_count], axis=1), axis=0, return_counts=True
    )
    most = float(max(pairs.max(initial=1), 1))
    plot.add_scatter(
        x=[0, most],
        y=[0, most],
        mode="lines",
        line={"color": style.RULE, "width": 1, "dash": "dot"},
        hoverinfo="skip",
    )
    plot.add_scatter(
        x=pairs[:, 0], y=pairs[:, 1], customdata=number, mode="markers",
        marker={"size": 5 + 3 * np.sqrt(number), "color": style.SURROGATE, "opacity": 0.55, "line": {"width": 0}},
        cliponaxis=False,
        hovertemplate="recorded %{x}, predicted %{y}: %{customdata} trials<extra></extra>",
    )  # fmt: skip
    for values, name, colour in (
        (found.recorded_intervals_ms, "neuron", style.NEURON),
        (found.predicted_intervals_ms, "surrogate", style.SURROGATE),
    ):
        x = np.sort(values)
        plot.add_scatter(
            x=np.repeat(x, 2), y=np.repeat(np.arange(len(x) + 1) / max(1, len(x)), 2)[1:-1], mode="lines",
            line={"color": colour, "width": 1.8}, name=name, xaxis="x2", yaxis="y2",
            hovertemplate=f"{name}: %{{y:.0%}} up to %{{x:.3g}} ms<extra></extra>",
        )  # fmt: skip
    both = np.concatenate([found.recorded_intervals_ms, found.predicted_intervals_ms, [BURST_MS, 1000.0]])
    margin = 0.04 * most
    plot.update_layout(
        xaxis=style.axis("recorded spikes of a trial", domain=[0, 0.43], range=[-margin, most + margin]),
        yaxis=style.axis("predicted spikes", range=[-margin, most + margin]),
        xaxis2=style.logarithmic_axis(
            "inter-spike interval (ms, logarithmic)", 0.9 * float(both.min()), float(both.max()),
            domain=[0.55, 1], anchor="y2",
        ),
        yaxis2=style.axis(anchor="x2", range=[0, 1.02], **_PERCENT),
    )  # fmt: skip
    plot.add_annotation(style.panel_title("Spikes of every trial", 0, 1.02))
    plot.add_annotation(style.panel_title("Intervals up to this long", 0.55, 1.02))
    plot.add_vline(x=BURST_MS, line={"color": style.MUTED, "width": 1, "dash": "dot"}, xref="x2")
    return plot


def moments_figure(moments: tuple[Example, ...]) -> go.Figure:
    """Voltage, spike probability and input of short stretches of trials, side by side and on the same scales."""
    plot = style.figure(480, hovermode="x unified", margin={"l": 62, "r": 18, "t": 44, "b": 48})
    width, gap = (1 - 0.07 * (len(moments) - 1)) / max(1, len(moments)), 0.07
    for column, example in enumerate(moments):
        left, first, x = column * (width + gap), 3 * column + 1, _axis("x", column + 1)
        place: dict[str, Any] = {
            "domain": [left, left + width],
            "anchor": f"y{first + 2}",
            "nticks": 5,
            "hoverformat": ".0f",
        }
        limits = [float(example.time_ms[0]), float(example.time_ms[-1])]
        plot.update_layout({f"xaxis{column + 1}": style.axis("time (ms)", range=limits, **place)})
        _moment_voltage(plot, example, x, first, _voltage_range(moments))
        _moment_probability(plot, example, x, first + 1)
        _moment_input(plot, example, x, first + 2)
        plot.add_annotation(style.panel_title(example.label, left, 1.015, style.NEURON))
    if moments:
        plot.add_annotation(style.panel_title("Spike probability per time step", 0, 0.425))
        plot.add_annotation(style.panel_title("Input events per ms", 0, 0.205))
        inputs = [f"yaxis{3 * column + 3}" for column in range(len(moments))]
        plot.update_layout({name: {"matches": "y3"} for name in inputs[1:]})
    return plot


def _axis(letter: str, number: int) -> str:
    """How plotly calls an axis: the first one has no number."""
    return letter if number == 1 else f"{letter}{number}"


def _voltage_range(moments: tuple[Example, ...]) -> tuple[float, float]:
    """Lowest voltage of all moments, and the highest up to where spikes are cut off."""
    shown = np.concatenate([np.append(each.voltage_mv, each.predicted_voltage_mv) for each in moments])
    clip_mv = moments[0].clip_mv
    return float(shown.min()), float(shown.max()) if clip_mv is None else clip_mv


def _moment_voltage(
    plot: go.Figure, example: Example, x: str, number: int, limits: tuple[float, float]
) -> None:
    bottom, top = limits
    span = max(top - bottom, 1.0)
    for values, name, colour in (
        (np.minimum(example.voltage_mv, top), "neuron", style.NEURON),
        (example.predicted_voltage_mv, "surrogate", style.SURROGATE),
    ):
        _line(plot, example.time_ms, values, x, number, name, colour, "%{y:.1f} mV")
    for times, height, colour in (
        (example.spike_times_ms, 0.26, style.NEURON),
        (example.predicted_spike_times_ms, 0.13, style.SURROGATE),
    ):
        plot.add_scatter(
            x=np.asarray(times, dtype=np.float32), y=np.full(len(times), top + height * span, dtype=np.float32),
            mode="markers", xaxis=x, yaxis=f"y{number}", hoverinfo="skip",
            marker={"symbol": "line-ns", "size": 11, "line": {"width": 2, "color": colour}, "color": colour},
        )  # fmt: skip
    y = style.axis(
        "voltage (mV)" if number == 1 else "", domain=[0.47, 1.0], anchor=x,
        range=[bottom - 0.05 * span, top + 0.36 * span], tickvals=np.arange(np.ceil(bottom / 5) * 5, top + 0.1, 5),
    )  # fmt: skip
    plot.update_layout({f"yaxis{number}": y})


def _moment_probability(plot: go.Figure, example: Example, x: str, number: int) -> None:
    probability = np.asarray(example.spike_probability)
    _line(
        plot, example.time_ms, probability, x, number, "probability", style.SURROGATE, "%{y:.3f}", fill=True
    )
    level = example.spike_threshold
    top = max(float(probability.max()), 1.5 * (level or 0.0), 1e-3)
    if level is not None:
        plot.add_shape(
            type="line", xref=f"{x} domain", x0=0, x1=1, yref=f"y{number}", y0=level, y1=level,
            line={"color": style.MUTED, "width": 1, "dash": "dot"},
        )  # fmt: skip
    y = style.axis(domain=[0.27, 0.42], anchor=x, range=[0, 1.1 * top], nticks=3)
    plot.update_layout({f"yaxis{number}": y})


def _moment_input(plot: go.Figure, example: Example, x: str, number: int) -> None:
    start, stop = float(example.time_ms[0]), float(example.time_ms[-1])
    edges = np.arange(start, stop + _DRIVE_BIN_MS, _DRIVE_BIN_MS)
    for sign in signs(example):
        mine = example.input_sign[example.event_input] == sign
        count: Float64[np.ndarray, "bins"] = (
            np.histogram(example.event_time_ms[mine], edges)[0] / _DRIVE_BIN_MS
        )
        name = "excitation" if sign > 0 else "inhibition"
        _line(plot, edges[:-1] + _DRIVE_BIN_MS / 2, count, x, number, name, style.hue(sign), "%{y:.1f}")
    y = style.axis(domain=[0.0, 0.2], anchor=x, rangemode="tozero", nticks=4)
    plot.update_layout({f"yaxis{number}": y})


def _line(
    plot: go.Figure, time_ms: Any, values: Any, x: str, number: int, name: str, colour: str, text: str,
    *, fill: bool = False,
) -> None:  # fmt: skip
    plot.add_scatter(
        x=np.asarray(time_ms, dtype=np.float32), y=np.asarray(values, dtype=np.float32), mode="lines", name=name,
        line={"color": colour, "width": 1.4}, xaxis=x, yaxis=f"y{number}", hovertemplate=text,
        fill="tozeroy" if fill else None, fillcolor="rgba(0,158,115,0.12)" if fill else None,
    )  # fmt: skip
