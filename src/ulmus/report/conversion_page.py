"""What a conversion read out of a user's recordings: a table, and a page that opens offline."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64

from ulmus.errors import extra
from ulmus.report import style
from ulmus.report.page import Panel, render_page, write_page
from ulmus.report.traces import Place, draw_raster, raster
from ulmus.trials import TrialSource
from ulmus.trials.trial import Trial

with extra("report", "a report page"):
    import plotly.graph_objects as go

MAX_ROWS, MAX_COLUMNS = 200, 1000
_HEIGHT = 900


class ConversionSummary(NamedTuple):
    """What trials hold.

    Attributes:
        rows: what, and how much, as text.
        input_hz: events per second of every input.
        trial_hz: output spikes per second of every trial.
    """

    rows: list[tuple[str, str]]
    input_hz: Float64[np.ndarray, "inputs"]
    trial_hz: Float64[np.ndarray, "trials"]


def summarise(trials: TrialSource) -> ConversionSummary:
    """Read all trials and sum up what they hold.

    Raises:
        DataError: a file of the data is damaged.
    """
    header, seconds = trials.header, trials.header.duration_ms / 1000
    events = np.zeros(header.inputs, dtype=np.int64)
    low, high = np.full(len(header.sites), np.inf), np.full(len(header.sites), -np.inf)
    ranges = np.array([[np.inf, -np.inf]] * len(header.continuous)).reshape(-1, 2)
    spikes = np.zeros(len(trials))
    for index in range(len(trials)):
        clip = trials.clip(index, 0, header.steps)
        events += np.bincount(clip.event_input, minlength=header.inputs)
        low, high = np.minimum(low, clip.voltage_mv.min(0)), np.maximum(high, clip.voltage_mv.max(0))
        if clip.continuous is not None:
            ranges[:, 0] = np.minimum(ranges[:, 0], clip.continuous.min(0))
            ranges[:, 1] = np.maximum(ranges[:, 1], clip.continuous.max(0))
        spikes[index] = clip.spike_time_ms.size
    input_hz = events / (len(trials) * seconds)
    rows = [("trials", f"{len(trials):,} of {header.duration_ms:,g} ms in steps of {header.dt_ms:g} ms")]
    for sign, name in ((1, "excitatory"), (-1, "inhibitory")):
        hz = input_hz[: header.event_inputs][header.input_sign[: header.event_inputs] == sign]
        silent = f", {np.sum(hz == 0):,} silent" if (hz == 0).any() else ""
        rate = f", {hz.mean():.3g} Hz each (to {hz.max():.3g} Hz){silent}" if hz.size else ""
        rows.append((f"{name} inputs", f"{hz.size:,}{rate}"))
    for channel, (least, most) in zip(header.continuous, ranges, strict=True):
        rows.append(
            (
                channel.name,
                f"{least:.4g} to {most:.4g} {channel.unit}, usual size {channel.scale:g} {channel.unit}",
            )
        )
    for site, least, most in zip(header.sites, low, high, strict=True):
        rows.append((f"voltage, {site}", f"{least:.1f} to {most:.1f} mV"))
    rate = f"{spikes.sum() / (len(trials) * seconds):.3g} Hz, {np.mean(spikes == 0):.0%} of trials silent"
    how = header.settings.get("mapping", {}).get("output_spikes", {})
    origin = f"from {how['times']}" if "times" in how else f"maxima above {how.get('threshold_mv', -25):g} mV"
    rows.append(("output spikes", f"{int(spikes.sum()):,} ({origin}), {rate}"))
    return ConversionSummary(rows, input_hz, spikes / seconds)


def write_conversion_page(trials: TrialSource, summary: ConversionSummary, title: str, path: Path) -> Path:
    """Write the page; an existing one is replaced once the new one is whole.

    Raises:
        DataError: a file of the data is damaged.
        ConfigError: the path cannot be written.
    """
    panels = {"conversion": Panel("conversion", (("first trial", conversion_figure(trials, summary)),))}
    write_page(render_page("conversion.html", panels, title=title, rows=summary.rows), path)
    return path


def conversion_figure(trials: TrialSource, summary: ConversionSummary) -> go.Figure:
    """Input, voltage and output spikes of the first trial; rates of all inputs and trials."""
    header, trial = trials.header, trials.trial(0)
    plot = style.figure(_HEIGHT, hovermode="closest")
    time_axis = style.axis("time (ms)", anchor="y", range=[0, header.duration_ms], **style.CROSSHAIR)
    plot.update_layout(xaxis=time_axis)
    _draw_voltage(plot, trial, header.dt_ms, header.sites)
    signs = [sign for sign in (1, -1) if (header.input_sign == sign).any()]
    edges = np.linspace(0, header.duration_ms, min(MAX_COLUMNS, header.steps) + 1)
    for number, sign in enumerate(signs):
        height = 0.34 / len(signs)
        place = Place("x", f"y{2 + number}", (0.66 + number * height, 0.66 + (number + 1) * height - 0.035))
        # Half a step on, so that no rounding moves an event into the cell before.
        time_ms = (trial.event_step + 0.5) * header.dt_ms
        found = raster(time_ms, trial.event_input, header.input_sign, sign, edges, MAX_ROWS)
        ceiling = max(1, float(np.quantile(found.events, 0.999)))
        draw_raster(plot, place, found, sign, ceiling, more=" of the first trial")
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
    # Each triangle stands on the peak that is seen, so that a spike without one, or a peak without a spike, is noticed.
    margin = 0.03 * max(float(np.ptp(trial.voltage_mv)), 1.0)
    plot.add_scatter(
        x=trial.spike_time_ms, y=_peaks_mv(trial, dt_ms) + margin, mode="markers",
        marker={"symbol": "triangle-down", "size": 8, "color": style.EXCITATION}, cliponaxis=False,
        hovertemplate="output spike at %{x:.2f} ms<extra></extra>",
    )  # fmt: skip
    plot.update_layout(yaxis=style.axis(domain=[0.31, 0.6]))
    title = f"Voltage of the first trial (mV), {', '.join(sites)}; triangles: {trial.spike_time_ms.size} output spikes"
    plot.add_annotation(style.panel_title(title, 0, 0.605))


def _peaks_mv(trial: Trial, dt_ms: float) -> Float64[np.ndarray, "spikes"]:
    """Highest voltage of the first site within 1 ms of each output spike, or in the steps beside it if those are longer."""
    voltage, reach = trial.voltage_mv[:, 0], max(1, round(1 / dt_ms))
    steps = np.rint(trial.spike_time_ms / dt_ms).astype(np.int64)[:, None] + np.arange(-reach, reach + 1)
    peaks: Float64[np.ndarray, "spikes"] = voltage[steps.clip(0, len(voltage) - 1)].max(axis=1).astype(float)
    return peaks
