"""``ulmus sweep``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ulmus.cli.console import console, print_table, progress
from ulmus.cli.train import parse_overrides
from ulmus.studies.sweep import load_search
from ulmus.studies.sweep import sweep as run_sweep

_FLAGS = ("out", "workers", "runs")
_SHOWN = 10


def sweep(
    search: Path,
    *overrides: Annotated[str, Parameter(allow_leading_hyphen=True, show=False)],
    out: Path,
    runs: int | None = None,
    workers: int = 1,
) -> None:
    """Search hyper-parameters of a recipe by validation score. The same command continues an interrupted search.

    Any key of the recipe can be given for all runs: --data.train 'trials[:96]' --training.steps 20000.

    Args:
        search: YAML file: recipe, score, and keys with ranges or choices.
        overrides: Keys of the recipe with their values.
        out: Folder of the sweep.
        runs: Runs in all; those of the file by default. More than before continues a finished search.
        workers: Processes that train at the same time.
    """
    chosen = load_search(search)
    if runs is not None:
        chosen = chosen.model_copy(update={"runs": runs})
    with progress("sweep") as show:

        def report(done: int, total: int, score: float | None) -> None:
            show(done, total, "failed" if score is None else f"{chosen.score} {score:.5f}")

        found = run_sweep(chosen, out, parse_overrides(overrides, _FLAGS), workers, report)
    keys = list(chosen.search)
    rows = [
        (one.run, f"{one.score:.5f}", *(_text(one.values[key]) for key in keys)) for one in found[:_SHOWN]
    ]
    print_table(f"best of {len(found)} runs by validation {chosen.score}", rows, ("run", chosen.score, *keys))
    console.print(f"ulmus train {out / 'best.yaml'} --seed 1", soft_wrap=True)


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
