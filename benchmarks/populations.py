r"""Cost of a population of fitted neurons over their number and over the events that they receive, and the memory it takes.

    python benchmarks/populations.py --out benchmarks/results/populations-PROCESSOR.json \
        --figure docs/images/population-cost.png

One thread, CPU time, the best of three rounds of about a million neuron-steps; every measurement in a process of its own. Each
neuron has 100 outgoing connections with delays of 1 to 20 ms, and random input from outside; few of them fire.
"""

import json
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go
from common import in_own_process, peak_mebibytes, start, write, write_figure
from rich.table import Table

import ulmus
from ulmus.cli.console import console, say
from ulmus.populations import Cells, FromList
from ulmus.report import style

NEURONS = (100, 300, 1000, 3000, 10000, 30000)
EVENTS = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Of a neuron in a ms, for 1,000 neurons; the first curve has one."""
CONNECTIONS, NEURON_STEPS, ROUNDS = 100, 1_000_000, 3


class PopulationRow(NamedTuple):
    """One population."""

    neuron: str
    neurons: int
    connections: int
    events_per_ms: float
    """That reach one neuron, from outside and from each other, as measured."""
    rate_hz: float
    microseconds_per_neuron_step: float
    mebibytes: float
    """Most memory that the process held, PyTorch and all."""


def measure(name: str, neurons: int, events_per_ms: float) -> None:
    """Measure in this process and print the row as JSON."""
    surrogate, draw = ulmus.load(name), np.random.default_rng(0)
    net = ulmus.Population([Cells(surrogate, neurons)], seed=1)
    pairs = np.stack(
        [np.repeat(np.arange(neurons), CONNECTIONS), draw.integers(neurons, size=neurons * CONNECTIONS)], 1
    )
    net.connect("cells", "cells", FromList(pairs), delay_ms=lambda draw, count: draw.uniform(1, 20, count))
    half = surrogate.neuron.inputs // 2
    for kind, share in (("excitatory", 0.6), ("inhibitory", 0.4)):
        net.poisson("cells", 1000 * share * events_per_ms / half, inputs=kind)
    ms = max(20, NEURON_STEPS // neurons)
    net.run(ms)  # compiles, grows its arrays
    seconds, spikes = [], 0
    for _ in range(ROUNDS):
        begin = time.process_time()
        spikes = len(net.run(ms).spike_time_ms)
        seconds.append(time.process_time() - begin)
    rate = spikes / neurons / ms * 1000
    events = events_per_ms + rate * CONNECTIONS / 1000
    cost = 1e6 * min(seconds) / (neurons * ms)
    row = PopulationRow(name, neurons, len(pairs), events, rate, cost, peak_mebibytes())
    print(json.dumps(row._asdict()))


def populations_figure(rows: list[PopulationRow]) -> go.Figure:
    """Two panels: CPU time of a second over the number of neurons, and of a neuron-step over events."""
    plot = style.figure(380, grid={"rows": 1, "columns": 2, "xgap": 0.16})
    over_events = [row for row in rows if row.neurons == 1000]
    over_neurons = [row for row in rows if abs(row.events_per_ms - 1.0) < 0.5]
    panels = (
        ("", [(row.neurons, row.microseconds_per_neuron_step * row.neurons * 1e-3) for row in over_neurons]),
        ("2", [(row.events_per_ms, row.microseconds_per_neuron_step) for row in over_events]),
    )
    for panel, points in panels:
        x, y = zip(*sorted(points), strict=True)
        line = {"color": style.SURROGATE, "width": 2}
        plot.add_scatter(
            x=x,
            y=y,
            xaxis=f"x{panel}",
            yaxis=f"y{panel}",
            mode="lines+markers",
            line=line,
            marker={"size": 7},
        )
    least = min(panels[0][1])
    x = [row.neurons for row in over_neurons]
    plot.add_scatter(
        x=x,
        y=[least[1] * one / least[0] for one in x],
        mode="lines",
        line={"color": style.MUTED, "dash": "dot"},
    )
    plot.update_layout(
        xaxis=style.logarithmic_axis("neurons, 1 event/ms each", 80, 40000),
        yaxis=style.axis("CPU time of a second (s); dotted: proportional", type="log", dtick=1),
        xaxis2={
            **style.axis("events a neuron receives in a ms (1,000 neurons)"),
            "anchor": "y2",
            "rangemode": "tozero",
        },
        yaxis2=style.axis("CPU time of a neuron-step (µs)", anchor="x2", rangemode="tozero"),
    )
    return plot


def populations(
    neuron: str = "l5pc-branch-20", *, out: Path | None = None, figure: Path | None = None
) -> None:
    """Measure populations of one fitted neuron.

    Args:
        neuron: Fitted neuron.
        out: JSON file to write.
        figure: Page (.html) or picture (.png) to write.
    """
    asked = [(count, 1.0) for count in NEURONS] + [(1000, events) for events in EVENTS if events != 1.0]
    shown = Table("neurons", "events/ms", "Hz", "µs a neuron-step", "million neuron-steps/s", "MiB")
    rows = []
    for count, events in asked:
        row = PopulationRow(**in_own_process(__file__, neuron, count, events))
        rows.append(row)
        numbers = row.events_per_ms, row.rate_hz, row.microseconds_per_neuron_step
        speed = 1 / row.microseconds_per_neuron_step
        shown.add_row(
            f"{count:,}", *(f"{one:.2f}" for one in numbers), f"{speed:.2f}", f"{row.mebibytes:.0f}"
        )
        say(f"{count} neurons, {events:g} events a ms: measured")
    console.print(shown)
    write(rows, out)
    if figure is not None:
        write_figure(populations_figure(rows), figure)


if __name__ == "__main__":
    start(populations, measure)
