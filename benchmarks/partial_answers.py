"""The same cell fitted from spikes and voltage, from spikes alone and from voltage alone, scored on the same trials.

The trials are those of the Hodgkin-Huxley cell with synapses in benchmarks/current_driven/README.md.

python benchmarks/partial_answers.py axon-spikes --folder answers --out answers.json
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from common import start, write
from rich.table import Table

import ulmus
from ulmus.cli.console import console, say
from ulmus.training.fit import fit
from ulmus.trials import Store, StoreWriter

VALIDATION, TEST = 12, 36
"""Trials behind each other, from the end of the store; those to learn from are the first ones."""


class AnswerRow(NamedTuple):
    """One fit of the recipe ``auto``."""

    learnt: str
    """From ``both``, ``spikes`` or ``voltage``."""
    trials: int
    """Learnt from."""
    seed: int
    parameters: int
    steps: int
    cpu_seconds: float
    spikes: int
    """In the test trials."""
    auc: float | None
    auc_interval: list[float] | None
    rmse_mv: float | None
    rmse_mv_interval: list[float] | None
    f1_2ms: float | None


def reduced(store: Store, answer: str, folder: Path) -> Path:
    """A store of the same trials with one answer alone."""
    if answer == "both":
        return store.path
    header = replace(store.header, **({"sites": ()} if answer == "spikes" else {"spikes": False}))
    if not folder.exists():
        writer = StoreWriter(folder, header, len(store))
        for index in range(len(store)):
            trial = store.trial(index)
            less: dict[str, Any] = {"spike_time_ms": np.empty(0)}
            if answer == "spikes":
                less = {"voltage_mv": trial.voltage_mv[:, :0]}
            writer.add(index, trial._replace(**less))
        writer.finish()
    return folder


def fitted(store: Store, answer: str, trials: int, seed: int, folder: Path) -> AnswerRow:
    """Fit, or go on, and score on the test trials of the whole store."""
    path, count = reduced(store, answer, folder / answer), len(store)
    recipe = ulmus.load_recipe(
        "auto",
        {
            "data.train": f"{path}[:{trials}]",
            "data.validation": f"{path}[{count - TEST - VALIDATION}:{count - TEST}]",
            "seed": seed,
        },
    )
    run = ulmus.training.Run(folder / f"{answer}-{trials}-{seed}")
    if not (run.exists() and run.finished()):
        fit(recipe, run.folder, resume=run.exists())
    surrogate = ulmus.load(run.folder)
    scores = ulmus.evaluate(surrogate, f"{store.path}[{count - TEST}:]")
    sessions = run.provenance()["sessions"]
    ends = scores["intervals"]
    return AnswerRow(
        answer,
        trials,
        seed,
        surrogate.trainable_parameters(),
        sessions[-1]["step"],
        round(sum(session["cpu_seconds"] for session in sessions), 1),
        scores.get("spikes", 0),
        scores.get("auc"),
        ends.get("auc"),
        scores.get("rmse_mv"),
        ends.get("rmse_mv"),
        scores.get("f1_2ms"),
    )


def partial_answers(
    store: Path, *, folder: Path, train: Sequence[int] = (24,), seeds: int = 3, out: Path | None = None
) -> None:
    """Fit a cell from both answers and from each alone.

    Args:
        store: Trials of it.
        folder: Where stores and runs are kept; an interrupted measurement goes on.
        train: Trials to learn from.
        seeds: Of every fit.
        out: File of the results.
    """
    whole, rows = Store(store), []
    table = Table("learnt from", "trials", "AUC", "RMSE, mV", "F1, 2 ms", "steps", "CPU s")
    for trials in train:
        for answer in ("both", "spikes", "voltage"):
            for seed in range(seeds):
                rows.append(row := fitted(whole, answer, trials, seed, folder))
                say(f"{answer}, {trials} trials, seed {seed}: AUC {row.auc}, RMSE {row.rmse_mv} mV")
                numbers = (
                    "" if value is None else f"{value:.3f}" for value in (row.auc, row.rmse_mv, row.f1_2ms)
                )
                table.add_row(answer, str(trials), *numbers, f"{row.steps:,}", str(row.cpu_seconds))
    console.print(table)
    write(rows, out)


if __name__ == "__main__":
    start(partial_answers)
