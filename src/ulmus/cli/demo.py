"""``ulmus demo``: from a detailed neuron to a fitted one, with a page to look at."""

import time
from pathlib import Path

from ulmus.cli.console import console, print_table, progress, say, score_rows
from ulmus.cli.evaluate import record
from ulmus.cli.simulate import simulate_into
from ulmus.cli.train import train_in
from ulmus.evaluation.predictions import PROTOCOLS
from ulmus.evaluation.scores import evaluate
from ulmus.neuron import load_surrogate
from ulmus.report.content import ScoreRow
from ulmus.report.page import write_report
from ulmus.report.surrogate_content import surrogate_content, training_cost
from ulmus.teachers.l5pc.cell import L5PC
from ulmus.training.recipe_file import load_recipe
from ulmus.training.run import Run
from ulmus.trials import open_trials

TRAIN, VALIDATION, TEST = 72, 12, 20
"""Trials of six seconds for each purpose."""
SECONDS, SEED, STEP_MS = 6.0, 1, 0.1


def demo(*, folder: Path = Path("ulmus-demo"), workers: int | None = None) -> None:
    """Simulate a layer-5 pyramidal cell, fit a Branch-ELM to it, score it on trials it never saw, write a page.

    An interrupted demo goes on where it was.

    Args:
        folder: Where trials and run are kept.
        workers: Processes for the simulation; all cores by default.
    """
    trials = TRAIN + VALIDATION + TEST
    say(
        f"1 of 3  simulating {trials} trials of {SECONDS:g} s of a layer-5 pyramidal cell (Arbor, {STEP_MS} ms steps)"
    )
    started = time.perf_counter()
    data = folder / "trials"
    cell = L5PC()
    simulate_into(data, cell, cell.regime, trials, SECONDS, SEED, workers, STEP_MS)
    simulated = time.perf_counter() - started

    say("2 of 3  fitting a Branch-ELM to the first of them")
    splits = {"train": f"{data}[:{TRAIN}]", "validation": f"{data}[{TRAIN}:{TRAIN + VALIDATION}]"}
    recipe = load_recipe("demo", {f"data.{name}": spec for name, spec in splits.items()})
    run = Run(folder / "run")
    if not train_in(recipe, run.folder, resume=run.exists()):
        raise KeyboardInterrupt

    say("3 of 3  scoring it on trials it never saw")
    test = f"{data}[{TRAIN + VALIDATION}:]"
    surrogate, unseen = load_surrogate(run.folder), open_trials(test)
    columns = []
    for protocol in PROTOCOLS:
        with progress(f"evaluate ({protocol})") as show:
            scores = evaluate(surrogate, unseen, protocol, show)
        record(run, {**scores, "model": str(run.folder), "data": [test], "data_hash": unseen.content_hash})
        columns.append(score_rows(scores))
    rows = [
        (label, *(column[index][1] for column in columns)) for index, (label, *_) in enumerate(columns[0])
    ]
    print_table(f"{len(unseen)} unseen trials", rows, ("protocol", *PROTOCOLS))
    cost = [("simulated", f"{trials * SECONDS:.0f} s", f"in {simulated:.0f} s")]
    cost.append(("trained", f"{recipe.training.steps:,} steps", f"in {training_cost(run).value} s"))
    print_table("cost", cost)
    simulation = ScoreRow(
        "Simulated", trials * SECONDS, "s", f"Of the detailed neuron, in {simulated:.0f} s by this demo."
    )
    page = write_report(
        surrogate_content(
            surrogate,
            unseen,
            run,
            f"{TEST} trials simulated with the others and used for nothing else.",
            (simulation, training_cost(run)),
        ),
        run.report_file,
    )
    console.print(f"open {page.resolve()}", soft_wrap=True)
