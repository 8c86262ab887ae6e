"""Spoken digits of new people over the length of a step: every model with as many tries at every length.

    ulmus data make spoken-digits --from free-spoken-digit-dataset.zip --test-share 0.33 --out digits
    python benchmarks/digit_bins.py --data digits --folder FOLDER --out results.json

Synthetic voices to learn from beside people (espeak-ng), and people alone for as many steps; each in a FOLDER of its own:

    ulmus data make spoken-digits --many-voices --trials 2 --test-share 0.05 --out voices
    M="--bins 10 --models elm --models chrono-lstm"
    python benchmarks/digit_bins.py --data digits --more voices --epochs 28 $M --folder FOLDER-voices --out voices.json
    python benchmarks/digit_bins.py --data digits --epochs 58.7 $M --folder FOLDER-longer --out longer.json

The recipes of `spoken-digits`. Of three learning rates the one with the best validation accuracy of seed 0 (of a person held
out) is taken for the other seeds too; these runs are scored on the test, two other people. Called again, it goes on.
"""

from pathlib import Path
from typing import Any, NamedTuple

from common import start, write

import ulmus
from ulmus.cli.console import say
from ulmus.files.writing import write_json
from ulmus.training.run import Run

MODELS = ("elm", "chrono-lstm", "lstm")
BINS_MS = (100.0, 50.0, 20.0, 10.0, 5.0, 2.0, 1.0)
RATES = (1e-3, 2e-3, 5e-3)


class Cell(NamedTuple):
    """A model at a length of steps."""

    model: str
    bin_ms: float
    parameters: int
    rate: float
    validation: dict[str, float]
    """Best accuracy of seed 0 at every rate."""
    test: list[float]
    """Accuracy of every seed, at the rate that was chosen."""
    cpu_minutes: float
    """Of seed 0 at that rate."""


def trained(keys: dict[str, Any], folder: Path, model: str, bin_ms: float, rate: float, seed: int) -> Run:
    """A finished run; `keys` of its recipe are those of all runs."""
    place = folder / f"{model}-{bin_ms:g}ms-{rate:g}-seed{seed}"
    changes = {"data.bin_ms": bin_ms, "training.learning_rate": rate, "seed": seed}
    recipe = ulmus.load_recipe(f"spoken-digits-{model}", keys | changes)
    # Also where the run is finished: a folder of another study, with other steps or other clips to learn from, is refused.
    return ulmus.fit(recipe, place, resume=Run(place).exists())


def cell(keys: dict[str, Any], folder: Path, model: str, bin_ms: float, seeds: int) -> Cell:
    """Choose the rate, and score it."""
    tries = {rate: trained(keys, folder, model, bin_ms, rate, 0) for rate in RATES}
    of_rate = {rate: ulmus.load(run.folder).card["validation"]["accuracy"] for rate, run in tries.items()}
    best = max(of_rate, key=lambda rate: of_rate[rate])
    runs = [tries[best], *(trained(keys, folder, model, bin_ms, best, seed) for seed in range(1, seeds))]
    scores = [_scores(run) for run in runs]
    return Cell(
        model, bin_ms, scores[0]["parameters"], best, {f"{rate:g}": value for rate, value in of_rate.items()},
        [found["accuracy"] for found in scores], round(tries[best].cpu_seconds() / 60, 1),
    )  # fmt: skip


def _scores(run: Run) -> dict[str, Any]:
    place = run.evaluation_file("test")
    if not place.exists():
        write_json(place, ulmus.evaluate(run.folder))
    return run.evaluation("test")


def table(cells: list[Cell]) -> str:
    """Accuracy in % of every seed, for every length and model."""
    models = list(dict.fromkeys(found.model for found in cells))
    lines = ["| step | " + " | ".join(models) + " |", "|---" * (len(models) + 1) + "|"]
    for bin_ms in sorted({found.bin_ms for found in cells}):
        here = {found.model: found for found in cells if found.bin_ms == bin_ms}
        row = [", ".join(f"{100 * value:.1f}" for value in here[m].test) if m in here else "" for m in models]
        lines.append(f"| {bin_ms:g} ms | " + " | ".join(row) + " |")
    return "\n".join(lines)


def run(
    data: Path,
    folder: Path,
    out: Path | None = None,
    bins: tuple[float, ...] = BINS_MS,
    models: tuple[str, ...] = MODELS,
    seeds: int = 2,
    more: Path | None = None,
    epochs: float = 12,
) -> None:
    """Train, choose and score, from the longest steps on.

    Args:
        data: Folder of the digits.
        folder: Where the runs are, or will be.
        out: File for the results.
        bins: Lengths of a step in ms.
        models: Of the recipe.
        seeds: Runs at the rate that was chosen.
        more: Folder of further clips to learn from.
        epochs: Passes through the clips of training.
    """
    keys = {
        "data.folder": str(data),
        "data.more": [] if more is None else [str(more)],
        "training.epochs": epochs,
    }
    cells = []
    for bin_ms in sorted(bins, reverse=True):
        for model in models:
            cells.append(cell(keys, folder, model, bin_ms, seeds))
            say(f"{model}, {bin_ms:g} ms: {cells[-1]}")
            write(cells, out)
    print(table(cells))


if __name__ == "__main__":
    start(run)
