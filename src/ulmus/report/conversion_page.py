"""What a conversion understood of a user's recordings: a table, and a page to look at that opens offline."""

import html
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float64, Int64
from plotly.offline import get_plotlyjs

from ulmus.files.writing import write_text
from ulmus.report import style
from ulmus.report.groups import group_axis, inputs_of_sign
from ulmus.trials.collection import TrialSource
from ulmus.trials.trial import Trial

MAX_ROWS, MAX_COLUMNS = 200, 1000
_HEIGHT = 900
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline'; \
style-src 'unsafe-inline'; img-src data: blob:">
<style>body {{ margin: 2rem auto; max-width: 1100px; padding: 0 1.5rem; font: 15px/1.5 {font}; color: {ink} }}
h1 {{ font-size: 1.5rem; font-weight: 600; overflow-wrap: break-word }}
th {{ text-align: left; font-weight: 400; color: {muted}; padding-right: 2rem }}</style>
<script>{plotly}</script></head>
<body><h1>{title}</h1><table>{rows}</table><div id="figure"></div>
<script>const drawn = {figure}; Plotly.newPlot("figure", drawn.data, drawn.layout, {{responsive: true}});</script>
</body></html>
"""


class Understood(NamedTuple):
    """What trials hold.

    Attributes:
        rows: what, and how much, as text.
        input_hz: events per second of every input.
        trial_hz: output spikes per second of every trial.
    """

    rows: list[tuple[str, str]]
    input_hz: Float64[np.ndarray, "inputs"]
    trial_hz: Float64[np.ndarray, "trials"]


def understood(trials: TrialSource) -> Understood:
    """Read all trials and sum up what they hold.

    Raises:
        DataError: a file of the data is damaged.
    """
    header, seconds = trials.header, trials.header.duration_ms / 1000
    events = np.zeros(header.inputs, dtype=np.int64)
    low, high = np.full(len(header.sites), np.inf), np.full(len(header.sites), -np.inf)
    spikes = np.zeros(len(trials))
    for index in range(len(trials)):
        clip = trials.clip(index, 0, header.steps)
        events += np.bincount(clip.event_input, minlength=header.inputs)
        low, high = np.minimum(low, clip.voltage_mv.min(0)), np.maximum(high, clip.voltage_mv.max(0))
        spikes[index] = clip.spike_time_ms.size
    input_hz = events / (len(trials) * seconds)
    rows = [("trials", f"{len(trials):,} of {header.duration_ms:,g} ms in steps of {header.dt_ms:g} ms")]
    for sign, name in ((1, "excitatory"), (-1, "inhibitory")):
        hz = input_hz[header.input_sign == sign]
        silent = f", {np.sum(hz == 0):,} silent" if (hz == 0).any() else ""
        rate = f", {hz.mean():.3g} Hz each (to {hz.max():.3g} Hz){silent}" if hz.size else ""
        rows.append((f"{name} inputs", f"{hz.size:,}{rate}"))
    for site, least, most in zip(header.sites, low, high, strict=True):
        rows.append((f"voltage, {site}", f"{least:.1f} to {most:.1f} mV"))
    rate = f"{spikes.sum() / (len(trials) * seconds):.3g} Hz, {np.mean(spikes == 0):.0%} of trials silent"
    how = header.settings.get("mapping", {}).get("output_spikes", {})
    origin = f"from {how['times']}" if "times" in how else f"maxima above {how.get('threshold_mv', -25):g} mV"
    rows.append(("output spikes", f"{int(spikes.sum()):,} ({origin}), {rate}"))
    return Understood(rows, input_hz, spikes / seconds)


def write_understood(trials: TrialSource, summary: Understood, title: str, path: Path) -> Path:
    """Write the page; an existing one is replaced once the new one is whole.

    Raises:
        DataError: a file of the data is damaged.
        OSError: the folder cannot be written to.
    """
    figure = understood_figure(trials, summary)
    rows = (f"<tr><th>{html.escape(a)}</th><td>{html.escape(b)}</td></tr>" for a, b in summary.rows)
    page = _PAGE.format(
        title=html.escape(title),
        font=style.FONT,
        ink=style.NEURON,
        muted=style.MUTED,
        plotly=get_plotlyjs(),
        rows="".join(rows),
        # Only "<" can end a script element, and in JSON it can only stand inside a string.
        figure=str(figure.to_json()).replace("<", "\\u003c"),
    )
    write_text(path, page)
    return path


def understood_figure(trials: TrialSource, summary: Understood) -> go.Figure:
    """Input, voltage and output spikes of the first trial; rates of all inputs and trials."""
    header, trial = trials.header, trials.trial(0)
    plot = style.figure(_HEIGHT, hovermode="closest")
    time_axis = style.axis("time (ms)", anchor="y", range=[0, header.duration_ms], **style.CROSSHAIR)
    plot.update_layout(xaxis=time_axis)
    _draw_voltage(plot, trial, header.dt_ms, header.sites)
    signs = [sign for sign in (1, -1) if (header.input_sign == sign).any()]
    for number, sign in enumerate(signs):
        height = 0.34 / len(signs)
        domain = (0.66 + number * height, 0.66 + (number + 1) * height - 0.035)
        _draw_raster(
            plot, trial, inputs_of_sign(header.input_sign, sign), sign, header, f"y{2 + number}", domain
        )
    everything = np.arange(header.inputs)
    for sign in signs:
        mine = everything[header.input_sign == sign]
        _points(plot, mine, summary.input_hz[mine], style.hue(sign), "4", "input %{x}: %{y:.3g} Hz")
    _points(plot, np.arange(len(trials)), summary.trial_hz, style.NEURON, "5", "trial %{x}: %{y:.3g} Hz")
    for axis, x_title, title, domain, size in (
        ("4", "input", "Rate of every input, all trials (Hz)", (0.0, 0.48), header.inputs),
        ("5", "trial", "Output rate of every trial (Hz)", (0.54, 1.0), len(trials)),
    ):
        x = style.axis(
            x_title, domain=list(domain), anchor=f"y{axis}", range=[-0.6, size - 0.4], tickformat=",d"
        )
        y = style.axis(domain=[0, 0.2], anchor=f"x{axis}", rangemode="tozero")
        x["dtick"] = 1 if size <= 10 else None
        plot.update_layout({f"xaxis{axis}": x, f"yaxis{axis}": y})
        plot.add_annotation(style.panel_title(title, domain[0], 0.205))
    return plot


def _points(plot: go.Figure, x: Any, y: Any, colour: str, axis: str, text: str) -> None:
    plot.add_scatter(
        x=x, y=y, mode="markers", marker={"size": 5 if len(x) < 200 else 3, "color": colour}, xaxis=f"x{axis}", yaxis=f"y{axis}",
        hovertemplate=f"{text}<extra></extra>",
    )  # fmt: skip


def _draw_voltage(plot: go.Figure, trial: Trial, dt_ms: float, sites: tuple[str, ...]) -> None:
    time_ms = np.arange(len(trial.voltage_mv)) * dt_ms
    colours = (style.NEURON, style.SURROGATE, style.MUTED)
    for number, site in reversed(list(enumerate(sites))):
        plot.add_scatter(
            x=time_ms, y=trial.voltage_mv[:, number], mode="lines", name=site,
            line={"color": colours[number % len(colours)], "width": 1.2}, hovertemplate=f"{site} %{{y:.1f}} mV<extra></extra>",
        )  # fmt: skip
    low, high = float(trial.voltage_mv.min()), float(trial.voltage_mv.max())
    above = high + 0.06 * max(high - low, 1.0)
    plot.add_scatter(
        x=trial.spike_time_ms, y=np.full(trial.spike_time_ms.size, above), mode="markers",
        marker={"symbol": "triangle-down", "size": 8, "color": style.EXCITATION}, cliponaxis=False,
        hovertemplate="output spike at %{x:.2f} ms<extra></extra>",
    )  # fmt: skip
    plot.update_layout(yaxis=style.axis(domain=[0.31, 0.6]))
    title = f"Voltage of the first trial (mV), {', '.join(sites)}; triangles: {trial.spike_time_ms.size} output spikes"
    plot.add_annotation(style.panel_title(title, 0, 0.605))


def _draw_raster(
    plot: go.Figure,
    trial: Trial,
    inputs: Int64[np.ndarray, "selected"],
    sign: int,
    header: Any,
    axis: str,
    domain: tuple[float, float],
) -> None:
    """Events of one sign, counted in cells of time and neighbouring inputs; up to 200 inputs have a row each."""
    rank = np.full(header.inputs, -1)
    rank[inputs] = np.arange(len(inputs))
    of_event = rank[trial.event_input]
    rows, columns = min(MAX_ROWS, len(inputs)), min(MAX_COLUMNS, header.steps)
    edges = np.linspace(0, len(inputs), rows + 1), np.linspace(0, header.steps, columns + 1)
    counts, _, _ = np.histogram2d(of_event[of_event >= 0], trial.event_step[of_event >= 0], bins=edges)
    plot.add_heatmap(
        z=counts.clip(max=255).astype(np.uint8), x=edges[1] * header.dt_ms, y=edges[0], yaxis=axis, zmin=0,
        zmax=max(1, float(np.quantile(counts, 0.999))), colorscale=style.scale(sign), showscale=False,
        hovertemplate="%{x:.0f} ms: %{z} events<extra></extra>",
    )  # fmt: skip
    name = axis.replace("y", "yaxis")
    plot.update_layout(
        {
            name: style.axis(
                domain=list(domain), range=[0, len(inputs)], grid=False, **group_axis((), len(inputs))
            )
        }
    )
    kind = "Excitatory" if sign > 0 else "Inhibitory"
    title = f"<span style='color:{style.hue(sign)}'>{kind} input</span> of the first trial, {len(inputs):,} inputs"
    plot.add_annotation(style.panel_title(title, 0, domain[1] + 0.004))
