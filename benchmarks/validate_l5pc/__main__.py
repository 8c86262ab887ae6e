"""Repeat NEURON's simulations of the layer-5 pyramidal cell: ``python -m benchmarks.validate_l5pc --reference FOLDER``."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import arbor
from cyclopts import App, Parameter

from benchmarks.validate_l5pc.comparison import (
    Comparison,
    agreement,
    compare_driven,
    compare_with_neuron,
    compare_with_trials,
    count_comparisons,
    published_cell,
    requirements,
)
from benchmarks.validate_l5pc.page import write_validation_page
from ulmus.cli.console import console, print_table, progress
from ulmus.errors import UlmusError
from ulmus.teachers.teacher import check_step
from ulmus.trials import open_trials


def validate(
    *,
    reference: Path,
    out: Path = Path("validation.html"),
    step_ms: float = 0.025,
    other_steps_ms: Annotated[tuple[float, ...], Parameter(consume_multiple=True)] = (
        0.05,
        0.0125,
    ),
    recorded: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
) -> None:
    """Repeat NEURON's simulations of the layer-5 pyramidal cell, and write a page with required and reached values.

    Takes about two minutes of one core for a reference of half a minute of simulated time.

    Args:
        reference: Folder with the published reconstruction (cell1.asc, ModelDB 139653) and NEURON's simulations of it
            (neuron_step_currents.npz, neuron_driven_trials.npz, sim__*). It is not shipped: the reconstruction is not ours
            to give.
        out: HTML file to write.
        step_ms: Integration step.
        other_steps_ms: Steps at which the driven trials are repeated, to tell an error of the step from one of the cell.
        recorded: Stores of trials of the published cell to repeat too: 'trials[:3]'.
    """
    for step in (step_ms, *other_steps_ms):
        check_step(step)
    trials = open_trials(recorded) if recorded else None
    runs = _shown("simulate", compare_with_neuron(reference, step_ms), count_comparisons(reference))
    driven = sum(run.driven for run in runs)
    others = {
        step: _shown(f"step {step} ms", compare_driven(reference, step), driven)
        for step in other_steps_ms
        if step != step_ms
    }
    repeated = (
        _shown("recorded", compare_with_trials(published_cell(reference), trials, step_ms), len(trials))
        if trials
        else []
    )
    simulator = f"Arbor {arbor.__version__}"
    write_validation_page(runs, step_ms, simulator, out, other_steps=others, recorded=repeated)
    print_table(
        f"layer-5 pyramidal cell at {step_ms} ms, beside NEURON",
        [(row.name, row.required, row.reached, "met" if row.met else "missed") for row in requirements(runs)],
        ("", "required", "reached", ""),
    )
    more = {f"driven, {step} ms": found for step, found in others.items()}
    _print_agreements(more | ({f"recorded, {step_ms} ms": repeated} if repeated else {}))
    console.print(f"open {out.resolve()}", soft_wrap=True)


def _print_agreements(runs: dict[str, list[Comparison]]) -> None:
    """A row for the driven trials at each other step, and for recorded ones."""
    rows = [
        (
            name,
            str(found.reference_spikes),
            str(found.spikes),
            f"{100 * found.matched_share:.1f} %",
            f"{100 * found.explained_variance:.2f} %",
        )
        for name, found in ((name, agreement(found)) for name, found in runs.items())
    ]
    if rows:
        print_table(
            "other steps and trials", rows, ("", "spikes", "simulated", "within 1 ms", "variance explained")
        )


def _shown(what: str, runs: Iterator[Comparison], total: int) -> list[Comparison]:
    """All runs, one after another with a progress bar."""
    found: list[Comparison] = []
    with progress(what) as show:
        for run in runs:
            found.append(run)
            show(len(found), total, run.name)
    return found


if __name__ == "__main__":
    try:
        App(name="validate_l5pc", default_command=validate)()
    except UlmusError as error:
        sys.exit(f"error: {error}")
