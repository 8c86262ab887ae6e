"""What a conversion read out of a user's recordings: a table, and a page that opens offline."""

import html
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float64

from ulmus.errors import extra
from ulmus.report import style
from ulmus.report.page import Panel, render_page, write_page
from ulmus.report.traces import Place, draw_raster, raster
from ulmus.trials import TrialSource
from ulmus.trials.header import Header
from ulmus.trials.trial import Trial
from ulmus.trials.validation import USUAL_MV
from ulmus.trials.voltage_range import share_above, site_voltage, voltage_range

with extra("report", "a report page"):
    import plotly.graph_objects as go

MAX_ROWS, MAX_COLUMNS = 200, 1000
_HEIGHT = 900

FAR_FROM_USUAL = 50.0
"""An input of so many times its usual size, or so small a part of it, is none that a neuron learns well from."""
_ROUNDING = 1e-9


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
    header, count = trials.header, len(trials)
    events, seconds, spikes = np.zeros(header.inputs, dtype=np.int64), np.zeros(count), np.zeros(count)
    longest, apart_ms = np.zeros(count), np.zeros(count)
    voltage, drive, other = (_Ranges(len(part)) for part in (header.sites, header.continuous, header.signals))
    for index in range(count):
        clip = trials.clip(index, 0, header.steps)
        events += np.bincount(clip.event_input, minlength=header.inputs)
        known = np.ones(header.steps, dtype=bool) if clip.recorded is None else clip.recorded
        steps = int(np.flatnonzero(known)[-1]) + 1
        voltage.add(clip.voltage_mv)
        drive.add(None if clip.continuous is None else clip.continuous[:steps])
        other.add(clip.signals)
        apart_ms[index] = trials.attributes(index).get("samples_apart_ms", 0.0)
        longest[index] = steps * header.dt_ms
        seconds[index] = known.sum() * header.dt_ms / 1000
        spikes[index] = clip.spike_time_ms.size
    input_hz = events / max(longest.sum() / 1000, 1e-9)
    shortest = "" if longest.min() == longest.max() else f"{longest.min():,g} to "
    rows = [("trials", f"{count:,} of {shortest}{longest.max():,g} ms in steps of {header.dt_ms:g} ms")]
    lost = 1 - 1000 * seconds.sum() / longest.sum()
    if lost > _ROUNDING:
        rows.append(("gaps", f"{100 * lost:.3g} % of the time was not recorded"))
    rows += [*_input_rows(header, input_hz), *_range_rows(trials, voltage, drive)]
    for signal, least, most in zip(header.signals, other.low, other.high, strict=True):
        rows.append((signal.name, f"{least:.4g} to {most:.4g} {signal.unit}"))
    if header.spikes:
        rate = f"{spikes.sum() / seconds.sum():.3g} Hz, {np.mean(spikes == 0):.0%} of trials silent"
        how = header.settings.get("mapping", {}).get("output_spikes", {})
        origin = (
            f"from {how['times']}" if "times" in how else f"maxima above {how.get('threshold_mv', -25):g} mV"
        )
        rows.append(("output spikes", f"{int(spikes.sum()):,} ({origin}), {rate}"))
    rows += [("note", doubt) for doubt in _doubts(header, int(spikes.sum()), count, drive, voltage)]
    if apart_ms.any():
        rows.append(
            (
                "note",
                f"in {np.count_nonzero(apart_ms)} trials samples of the voltage are up to {apart_ms.max():,.4g} ms apart, more "
                "than ten times as far as most, and what lies between is interpolated; if rows were left out there, write NaN, "
                "or give `gaps`",
            )
        )
    return ConversionSummary(rows, input_hz, spikes / seconds)


def _doubts(header: Header, spikes: int, trials: int, drive: "_Ranges", voltage: "_Ranges") -> Iterator[str]:
    """What looks like a mistake of the mapping without being one for certain."""
    if header.spikes and not spikes:
        yield (
            f"not one output spike in {trials} trials, so a neuron learns none; lower output_spikes.threshold_mv, or write "
            "output_spikes: none"
        )
    for site, low, high in zip(header.sites, voltage.low, voltage.high, strict=True):
        if low < USUAL_MV[0] or high > USUAL_MV[1]:
            yield (
                f"the voltage of {site} runs from {low:.4g} to {high:.4g} mV; a neuron's stays within {USUAL_MV[0]:g} and "
                f"{USUAL_MV[1]:g}: look for artefacts, and at its unit"
            )
    for channel, largest in zip(header.continuous, np.maximum(-drive.low, drive.high), strict=True):
        if not 1 / FAR_FROM_USUAL <= largest / channel.scale <= FAR_FROM_USUAL:
            yield (
                f"{channel.name} reaches {largest:.3g} {channel.unit}, {largest / channel.scale:.3g} times its usual size; check "
                "its unit (pA instead of nA?), and give a usual size as its scale"
            )
    yield from header.settings.get("left_out", [])
    sampling_hz = header.settings.get("mapping", {}).get("voltage", {}).get("sampling_hz")
    if sampling_hz and 1000 / sampling_hz > 2 * header.dt_ms:
        yield (
            f"sampling_hz: {sampling_hz:g} is one sample every {1000 / sampling_hz:,g} ms for time bins of {header.dt_ms:g} ms; "
            f"if kHz were meant, write {1000 * sampling_hz:g}"
        )


class _Ranges:
    """Lowest and highest value, and number of missing ones, of some columns."""

    def __init__(self, columns: int) -> None:
        self.low, self.high = np.full(columns, np.inf), np.full(columns, -np.inf)
        self.missing, self.steps = np.zeros(columns), 0

    def add(self, values: Float[np.ndarray, "time columns"] | None) -> None:
        if values is None:
            return
        self.low, self.high = np.fmin(self.low, values.min(0)), np.fmax(self.high, values.max(0))
        there = np.isfinite(values)
        if not there.all():
            self.low = np.fmin(self.low, np.min(values, axis=0, where=there, initial=np.inf))
            self.high = np.fmax(self.high, np.max(values, axis=0, where=there, initial=-np.inf))
        self.missing += (~there).sum(axis=0)
        self.steps += len(values)


def _input_rows(header: Header, input_hz: Float64[np.ndarray, "inputs"]) -> Iterator[tuple[str, str]]:
    for sign, name in ((1, "excitatory"), (-1, "inhibitory")):
        hz = input_hz[: header.event_inputs][header.input_sign[: header.event_inputs] == sign]
        silent = f", {np.sum(hz == 0):,} silent" if (hz == 0).any() else ""
        rate = f", {hz.mean():.3g} Hz each (to {hz.max():.3g} Hz){silent}" if hz.size else ""
        yield f"{name} inputs", f"{hz.size:,}{rate}"


def _range_rows(trials: TrialSource, voltage: _Ranges, drive: _Ranges) -> Iterator[tuple[str, str]]:
    header = trials.header
    for channel, least, most in zip(header.continuous, drive.low, drive.high, strict=True):
        unit = channel.unit
        yield channel.name, f"{least:.4g} to {most:.4g} {unit}, usual size {channel.scale:g} {unit}"
    for site, least, most in zip(header.sites, voltage.low, voltage.high, strict=True):
        yield f"voltage, {site}", f"{least:.1f} to {most:.1f} mV"
    if not header.sites:
        yield "voltage", "not recorded"
    elif header.spikes:
        soma = site_voltage(trials)
        clip_mv = voltage_range(soma).clip_mv
        cut = 100 * share_above(soma, clip_mv)
        yield (
            "spikes in the voltage",
            f"above {clip_mv:g} mV, {cut:.2g} % of the time (surrogate.clip_mv: auto cuts there)",
        )
    if not header.spikes:
        yield "output spikes", "not known"


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
    _draw_answers(plot, trial, header)
    _draw_inputs(plot, trial, header)
    panels = []
    if header.event_inputs:  # traces without axes of their own would hide the others
        event_sign = header.input_sign[: header.event_inputs]
        for sign in (1, -1):
            mine = np.flatnonzero(event_sign == sign)
            _points(plot, mine, summary.input_hz[mine], style.hue(sign), "4", "input %{x}: %{y:.3g} Hz")
        title = "Rate of every input, all trials (Hz)"
        panels.append(("4", "input", title, (0.0, 0.48), header.event_inputs))
    if header.spikes:
        _points(plot, np.arange(len(trials)), summary.trial_hz, style.NEURON, "5", "trial %{x}: %{y:.3g} Hz")
        panels.append(("5", "trial", "Output rate of every trial (Hz)", (0.54, 1.0), len(trials)))
    for axis, x_title, title, domain, size in panels:
        x = style.axis(
            x_title, domain=list(domain), anchor=f"y{axis}", range=[-0.6, size - 0.4], tickformat=",d"
        )
        y = style.axis(domain=[0, 0.2], anchor=f"x{axis}", rangemode="tozero")
        x["dtick"] = 1 if size <= 10 else None
        plot.update_layout({f"xaxis{axis}": x, f"yaxis{axis}": y})
        plot.add_annotation(style.panel_title(title, domain[0], 0.205))
    return plot


def _draw_inputs(plot: go.Figure, trial: Trial, header: Header) -> None:
    """Events of either sign, and inputs with a value at every time, above the voltage."""
    event_sign = header.input_sign[: header.event_inputs]
    signs = [sign for sign in (1, -1) if (event_sign == sign).any()]
    edges = np.linspace(0, header.duration_ms, min(MAX_COLUMNS, header.steps) + 1)
    panels = len(signs) + len(header.continuous)
    places = (
        Place("x", f"y{2 + number if number < 2 else 4 + number}", (bottom, bottom + 0.34 / panels - 0.035))
        for number in range(panels)
        for bottom in [0.66 + number * 0.34 / panels]
    )
    for sign, place in zip(signs, places, strict=False):
        # Half a step on, so that no rounding moves an event into the cell before.
        time_ms = (trial.event_step + 0.5) * header.dt_ms
        found = raster(time_ms, trial.event_input, event_sign, sign, edges, MAX_ROWS)
        ceiling = max(1, float(np.quantile(found.events, 0.999)))
        draw_raster(plot, place, found, sign, ceiling, more=" of the first trial")
    if trial.continuous is None:
        return
    for channel, values in zip(header.continuous, trial.continuous.T, strict=True):
        place = next(places)
        plot.add_scatter(
            x=np.arange(header.steps) * header.dt_ms, y=values, mode="lines", yaxis=place.y, name=channel.name,
            line={"color": style.EXCITATION, "width": 1.2}, hovertemplate=f"%{{y:.4g}} {channel.unit}<extra></extra>",
        )  # fmt: skip
        plot.update_layout({place.y_axis: style.axis(domain=list(place.domain))})
        title = f"{channel.name} of the first trial ({channel.unit})"
        plot.add_annotation(style.panel_title(html.escape(title), 0, place.domain[1] + 0.004))


def _draw_answers(plot: go.Figure, trial: Trial, header: Header) -> None:
    """Voltage or output spikes, and further signals below."""
    main = bool(header.sites or header.spikes)
    height = 0.29 / (main + len(header.signals))
    if header.sites:
        _draw_voltage(plot, trial, header, 0.6 - height)
    elif header.spikes:
        _draw_spikes(plot, trial, 0.6 - height)
    if trial.signals is None:
        return
    for number, (signal, values) in enumerate(zip(header.signals, trial.signals.T, strict=True)):
        top = 0.6 - (main + number) * height - (0.02 if main + number else 0.0)
        place = Place("x", "y" if not main + number else f"y{50 + number}", (top - height + 0.02, top))
        plot.add_scatter(
            x=np.arange(header.steps) * header.dt_ms, y=values, mode="lines", yaxis=place.y, name=signal.name,
            line={"color": style.NEURON, "width": 1.2}, hovertemplate=f"%{{y:.4g}} {signal.unit}<extra></extra>",
        )  # fmt: skip
        plot.update_layout({place.y_axis: style.axis(domain=list(place.domain))})
        title = html.escape(f"{signal.name} of the first trial ({signal.unit})")
        plot.add_annotation(style.panel_title(title, 0, place.domain[1] + 0.004))


def _draw_spikes(plot: go.Figure, trial: Trial, bottom: float) -> None:
    """Output spikes alone."""
    plot.add_scatter(
        x=trial.spike_time_ms, y=np.ones(trial.spike_time_ms.size), mode="markers",
        marker={"symbol": "line-ns", "size": 14, "line": {"width": 1.7, "color": style.NEURON}},
        hovertemplate="output spike at %{x:.2f} ms<extra></extra>",
    )  # fmt: skip
    plot.update_layout(yaxis=style.axis(domain=[bottom, 0.6], showticklabels=False, range=[0, 2]))
    title = f"Output spikes of the first trial: {trial.spike_time_ms.size}"
    plot.add_annotation(style.panel_title(title, 0, 0.605))


def _points(plot: go.Figure, x: Any, y: Any, colour: str, axis: str, text: str) -> None:
    plot.add_scatter(
        x=x, y=y, mode="markers", marker={"size": 5 if len(x) < 200 else 3, "color": colour}, xaxis=f"x{axis}", yaxis=f"y{axis}",
        hovertemplate=f"{text}<extra></extra>",
    )  # fmt: skip


def _draw_voltage(plot: go.Figure, trial: Trial, header: Header, bottom: float) -> None:
    dt_ms, sites = header.dt_ms, header.sites
    time_ms = np.arange(len(trial.voltage_mv)) * dt_ms
    colours = (style.NEURON, style.SURROGATE, style.MUTED)
    for number, site in reversed(list(enumerate(sites))):
        plot.add_scatter(
            x=time_ms, y=trial.voltage_mv[:, number], mode="lines", name=site,
            line={"color": colours[number % len(colours)], "width": 1.2}, hovertemplate=f"{site} %{{y:.1f}} mV<extra></extra>",
        )  # fmt: skip
    # Each triangle stands on the peak that is seen, so that a spike without one, or a peak without a spike, is noticed.
    margin = 0.03 * max(float(np.nanmax(trial.voltage_mv) - np.nanmin(trial.voltage_mv)), 1.0)
    plot.add_scatter(
        x=trial.spike_time_ms, y=_peaks_mv(trial, dt_ms) + margin, mode="markers",
        marker={"symbol": "triangle-down", "size": 8, "color": style.EXCITATION}, cliponaxis=False,
        hovertemplate="output spike at %{x:.2f} ms<extra></extra>",
    )  # fmt: skip
    plot.update_layout(yaxis=style.axis(domain=[bottom, 0.6]))
    spikes = f"; triangles: {trial.spike_time_ms.size} output spikes" if header.spikes else ""
    title = f"Voltage of the first trial (mV), {', '.join(sites)}{spikes}"
    plot.add_annotation(style.panel_title(title, 0, 0.605))


def _peaks_mv(trial: Trial, dt_ms: float) -> Float64[np.ndarray, "spikes"]:
    """Highest voltage of the first site within 1 ms of each output spike, or in the steps beside it if those are longer."""
    voltage, reach = trial.voltage_mv[:, 0], max(1, round(1 / dt_ms))
    steps = np.rint(trial.spike_time_ms / dt_ms).astype(np.int64)[:, None] + np.arange(-reach, reach + 1)
    peaks: Float64[np.ndarray, "spikes"] = voltage[steps.clip(0, len(voltage) - 1)].max(axis=1).astype(float)
    return peaks
