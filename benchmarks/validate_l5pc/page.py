"""The page of a validation: required and reached values, and the voltage of both simulators overlaid."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import plotly.graph_objects as go

from benchmarks.validate_l5pc.comparison import (
    Agreement,
    Comparison,
    Requirement,
    agreement,
    requirements,
    requirements_of_driven,
)
from ulmus.report import style
from ulmus.report.page import Panel, render_page, write_page


def write_validation_page(
    runs: list[Comparison],
    dt_ms: float,
    simulator: str,
    path: Path,
    *,
    other_steps: Mapping[float, list[Comparison]] | None = None,
    recorded: list[Comparison] | None = None,
) -> Path:
    """Write the page of a validation; an existing file is replaced only once the new one is whole.

    Args:
        runs: Every simulation beside NEURON's.
        dt_ms: Integration step of the simulation.
        simulator: Name and version of the simulator.
        path: File to write.
        other_steps: The driven trials at other steps (ms).
        recorded: Trials that were simulated elsewhere, repeated.

    Raises:
        ConfigError: the path cannot be written.
    """
    driven = [run for run in runs if run.driven]
    steps = {
        dt_ms: agreement(driven),
        **{step: agreement(found) for step, found in (other_steps or {}).items()},
    }
    steps = dict(sorted(steps.items(), reverse=True))
    groups = {"steps": [run for run in runs if not run.driven], "driven": driven}
    panels = {
        name: Panel(name, tuple((run.name, overlay_figure(run)) for run in members))
        for name, members in groups.items()
    }
    elsewhere = at_other_steps(other_steps or {})
    page = render_page(
        "validation.html",
        panels,
        Path(__file__).parent,
        asked=requirements(runs),
        elsewhere=elsewhere,
        finer_meets=lambda name: any(row.met and step < dt_ms for step, row in elsewhere.get(name, [])),
        runs=runs,
        dt_ms=dt_ms,
        steps=steps,
        converges=converges(list(steps.values())),
        recorded=agreement(recorded) if recorded else None,
        recorded_trials=len(recorded or []),
        simulator=simulator,
    )
    write_page(page, path)
    return path


def at_other_steps(
    other_steps: Mapping[float, list[Comparison]],
) -> dict[str, list[tuple[float, Requirement]]]:
    """What every requirement reached at other steps (ms), by its name; steps of current run at one step alone."""
    found: dict[str, list[tuple[float, Requirement]]] = {}
    for step, runs in sorted(other_steps.items(), reverse=True):
        for row in requirements_of_driven(runs):
            found.setdefault(row.name, []).append((step, row))
    return found


def converges(steps: list[Agreement]) -> bool:
    """Whether each smaller step explains more of the variance and matches no fewer spikes."""
    return all(
        fine.explained_variance > coarse.explained_variance and fine.matched >= coarse.matched
        for coarse, fine in pairwise(steps)
    )


def overlay_figure(run: Comparison) -> go.Figure:
    """Somatic voltage of both simulators at every ms, and above it a mark for every spike."""
    plot = style.figure(360, hovermode="x unified", showlegend=True)
    lanes = (
        ("NEURON", run.neuron_mv, run.neuron_spike_ms, style.NEURON, 62.0, 3.5),
        ("Arbor", run.voltage_mv, run.spike_ms, style.EXCITATION, 54.0, 1.2),
    )
    for name, voltage, spikes, colour, height, width in lanes:
        plot.add_scatter(y=voltage.round(2), mode="lines", name=name, line={"color": colour, "width": width})
        plot.add_scatter(
            x=spikes.round(3),
            y=[height] * len(spikes),
            mode="markers",
            marker={"symbol": "line-ns-open", "size": 8, "color": colour},
            showlegend=False,
            hovertemplate=f"{name}: spike at %{{x}} ms<extra></extra>",
        )
    plot.update_layout(
        xaxis=style.axis("time (ms)"),
        yaxis=style.axis("soma (mV)"),
        legend={"orientation": "h", "x": 0, "y": 1.12},
    )
    return plot
