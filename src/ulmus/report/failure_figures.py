"""Figures of where a fitted neuron fails: spikes and voltage by kind, rates and intervals."""

from typing import Any

import numpy as np

from ulmus.errors import extra
from ulmus.evaluation.failures import BURST_MS, Failures, Measure, TrialGroup
from ulmus.report import style
from ulmus.report.traces import axis_name

with extra("report", "a report page"):
    import plotly.graph_objects as go

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
_FEW = 20  # spikes that say little
_PERCENT: dict[str, Any] = {
    "tickvals": [0, 0.2, 0.4, 0.6, 0.8, 1],
    "ticktext": ["0", "20 %", "40 %", "60 %", "80 %", "100 %"],
}

Row = tuple[str, Measure | None, Measure | None]
"""Label, share that counts as right, and share that has at least a spike nearby."""
Block = tuple[str, list[Row], str, list[Row]]
"""Title and rows on the left, and on the right; no rows where there is nothing of the kind."""
_NOTHING = Measure(None, None, 0)


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
        if (m := found.measures.get(f"recall_3ms_{kind}", _NOTHING)).value is not None
    ]
    if found_shares and not found.predicted_count.any():
        sentences.append(
            "Its spike probability never exceeds its threshold, so it predicts no spike; choose another with --threshold-on."
        )
    elif found_shares:
        *others, last = found_shares
        listed = f"{', '.join(others)} and {last}" if others else last
        chance = found.measures["chance_recall_3ms"].value or 0.0
        sentences.append(
            f"Within 3 ms it finds {listed}; by chance (its spikes moved by 100 ms) it would find {100 * chance:.0f} % of all."
        )
    errors = [found.measures.get(f"rmse_{kind}_mv", _NOTHING).value for kind in ("silent", "plateau")]
    if errors[1] is not None:
        beside = "" if errors[0] is None else f", {errors[0]:.1f} mV where the neuron is silent"
        sentences.append(f"The error of the voltage is {errors[1]:.1f} mV in plateaus{beside}.")
    return " ".join(sentences) or (
        "The neuron fired no spike in these trials and had no plateau potential."
        if "recall_3ms_all" in found.measures
        else "The neuron had no plateau potential in these trials."
    )


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
    spikes: list[Row] = []
    if has_spikes := "recall_3ms_all" in m:
        spikes = [
            _spikes(f"{label} ({m[f'recall_3ms_{kind}'].number:,})", m, "recall_3ms", "found_10ms", kind)
            for kind, label in SPIKES.items()
        ]
        label = f"all predicted spikes ({m['precision_3ms_all'].number:,})"
        spikes.append(_spikes(label, m, "precision_3ms", "backed_10ms", "all"))
    steps = max(1, m.get("rmse_all_mv", _NOTHING).number)
    voltage: list[Row] = [
        (f"{label}, {rmse.number / steps * 100:.1f} % of time", rmse, m[f"bias_{kind}_mv"])
        for kind, label in (TIMES if has_spikes else TIMES | {"all": "whole trials"}).items()
        if (rmse := m.get(f"rmse_{kind}_mv"))
    ]
    title = "Error of the voltage (RMSE, mV), by kind of time"
    blocks: list[Block] = [("Spikes, by place in a burst", spikes, title, voltage)]
    for family in dict.fromkeys(group.family for group in found.groups):
        groups = [group for group in found.groups if group.family == family]
        blocks.append(_by_family(family, groups, has_spikes, bool(voltage)))
    return _blocks_figure(blocks, has_spikes)


def _by_family(family: str, groups: list[TrialGroup], has_spikes: bool, has_voltage: bool) -> Block:
    """Spikes and voltage of groups of trials."""
    shares: list[Row] = []
    if has_spikes:
        shares = [_spikes(group.label, group.measures, "recall_3ms", "found_10ms", "all") for group in groups]
    errors: list[Row] = [
        (_trains(group), group.measures.get("rmse_all_mv"), group.measures.get("bias_all_mv"))
        for group in groups
    ]
    left, right = (
        f"Recorded spikes, by {family}",
        "Spikes recorded → predicted, distance of intervals (KS), and RMSE (mV)",
    )
    if not has_voltage:
        right = right.replace(", and RMSE (mV)", "")
    if not has_spikes:
        right = f"Error of the voltage (RMSE, mV), by {family}"
    return left, shares, right, errors


def _trains(group: TrialGroup) -> str:
    """How many spikes there are and were predicted, and how different the intervals are; what the group is, without spikes."""
    if "recall_3ms_all" not in group.measures:
        return group.label
    counts = [group.measures[f"{score}_3ms_all"].number for score in ("recall", "precision")]
    few = min(counts) < _FEW or group.isi_distance is None
    distance = "" if few else f", KS {group.isi_distance:.2f}"
    return f"{counts[0]:,} → {counts[1]:,}{distance}"


def _spikes(label: str, measures: dict[str, Measure], right: str, near: str, kind: str) -> Row:
    return label, measures[f"{right}_{kind}"], measures[f"{near}_{kind}"]


def _blocks_figure(blocks: list[Block], has_spikes: bool) -> go.Figure:
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
        if left:
            _stacked(plot, 2 * number + 1, (bottom, top), left, count, last)
            plot.add_annotation(style.panel_title(title, _LEFT[0], top + 4 / inner, style.NEURON))
        if right:
            _errors(plot, 2 * number + 2, (bottom, top), right, count, last, reach)
            plot.add_annotation(style.panel_title(other_title, _RIGHT_TITLE, top + 4 / inner, style.NEURON))
        top = bottom - _GAP / inner
    if has_spikes:
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
    plot.add_annotation(style.panel_title(text, 0, 1 + 24 / inner))


def _of(number: int) -> dict[str, str]:
    return {"xref": axis_name("x", number), "yref": axis_name("y", number)}


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
            style.note(plot, "no spike", x=0.01, xanchor="left", y=y, **_of(number))
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
            style.note(plot, "none", x=0.01 * reach, xanchor="left", y=y, **_of(number))
            continue
        _whisker(plot, number, error, y, style.SURROGATE, marker=True)
        if abs(bias.value) > 0.5 * error.value:
            low, high = error.interval or (error.value, error.value)
            left = low > 0.35 * reach
            beside = {
                "x": low if left else high,
                "xshift": -8 if left else 8,
                "xanchor": "right" if left else "left",
            }
            style.note(plot, f"bias {bias.value:.1f} mV".replace("-", "−"), y=y, **beside, **_of(number))


def rates_figure(found: Failures) -> go.Figure:
    """Spike counts of all trials, and the distribution of inter-spike intervals."""
    plot = style.figure(390, hovermode="closest")
    pairs, number = np.unique(
        np.stack([found.recorded_count, found.predicted_count], axis=1), axis=0, return_counts=True
    )
    most = float(max(pairs.max(initial=1), 1))
    plot.add_scatter(
        x=[0, most], y=[0, most], mode="lines", line={"color": style.RULE, "width": 1, "dash": "dot"},
        hoverinfo="skip",
    )  # fmt: skip
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
