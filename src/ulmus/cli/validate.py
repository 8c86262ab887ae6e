"""``ulmus validate``."""

from pathlib import Path
from typing import Literal

import arbor

from ulmus.cli.console import console, print_table, progress
from ulmus.errors import ConfigError
from ulmus.report.validation_page import write_validation_page
from ulmus.teachers.validation import Comparison, compare_with_neuron, count_comparisons, requirements


def validate(
    cell: Literal["l5pc"],
    *,
    reference: Path | None = None,
    out: Path = Path("validation.html"),
    step_ms: float = 0.025,
) -> None:
    """Repeat reference simulations of NEURON, and write a page: required and reached values, voltage overlaid.

    Takes about a minute of one core for a reference of half a minute of simulated time.

    Args:
        cell: Which neuron: l5pc, the layer-5 pyramidal cell.
        reference: Folder with the published reconstruction and NEURON's simulations of it; none is shipped.
        out: HTML file to write.
        step_ms: Integration step.
    """
    if reference is None:
        raise ConfigError(
            "no reference folder is given; expected a folder with the published reconstruction (cell1.asc, ModelDB 139653) "
            "and NEURON's simulations of it (neuron_step_currents.npz, neuron_driven_trials.npz, sim__*). It is not "
            "shipped: the reconstruction is not ours to give. Name it with --reference FOLDER."
        )
    runs: list[Comparison] = []
    total = count_comparisons(reference)
    with progress("simulate") as show:
        for run in compare_with_neuron(reference, step_ms):
            runs.append(run)
            show(len(runs), total, run.name)
    write_validation_page(runs, step_ms, f"Arbor {arbor.__version__}", out)
    print_table(
        f"layer-5 pyramidal cell at {step_ms} ms, beside NEURON",
        [(row.name, row.required, row.reached, "met" if row.met else "missed") for row in requirements(runs)],
        ("", "required", "reached", ""),
    )
    console.print(f"open {out.resolve()}", soft_wrap=True)
