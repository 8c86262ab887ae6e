"""``ulmus demo``: from a detailed neuron to a fitted one, with a page to look at."""

import os
import sys
import time
import webbrowser
from pathlib import Path

from ulmus.cli.console import console, print_table, progress, say, score_rows
from ulmus.cli.evaluate import record
from ulmus.cli.simulate import simulate_into
from ulmus.cli.train import train_in
from ulmus.evaluation.predictions import PROTOCOLS
from ulmus.evaluation.scores import evaluate
from ulmus.export import write_explorer
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
QUICK_NEURON = "l5pc-demo"
"""What this demo fitted, shipped with Ulmus."""
QUICK_TRIALS, QUICK_SECONDS, QUICK_SEED = 8, 3.0, 2
"""Another seed than `SEED`: the shipped neuron was fitted to trials of that one."""


def demo(*, folder: Path = Path("ulmus-demo"), workers: int | None = None, quick: bool = False) -> None:
    """Simulate a layer-5 pyramidal cell, fit a Branch-ELM, score it on unseen trials, write a report and a page to play with.

    The same command continues an interrupted demo.

    Args:
        folder: Where trials and run are kept.
        workers: Processes for the simulation; all cores by default.
        quick: In under a minute: fit nothing, but show a neuron that comes with Ulmus beside a few freshly simulated trials.
    """
    (_quick if quick else _whole)(folder, workers)


def _quick(folder: Path, workers: int | None) -> None:
    say(f"1 of 2  simulating {QUICK_TRIALS} trials of {QUICK_SECONDS:g} s of a layer-5 pyramidal cell")
    data = folder / "quick-trials"
    cell = L5PC()
    simulate_into(data, cell, cell.regime, QUICK_TRIALS, QUICK_SECONDS, QUICK_SEED, workers, STEP_MS)
    say(f"2 of 2  drawing what {QUICK_NEURON}, which comes with Ulmus, predicts for them")
    shown = (
        f"{QUICK_TRIALS} trials simulated just now, too few to judge a neuron by: ulmus demo fits this one and scores it on "
        f"{TEST} longer trials."
    )
    content = surrogate_content(load_surrogate(QUICK_NEURON), open_trials(str(data)), None, shown)
    page = write_report(content, folder / "quick.html").resolve()
    console.print(f"open {page}", soft_wrap=True)
    if sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        webbrowser.open(page.as_uri())


def _whole(folder: Path, workers: int | None) -> None:
    trials = TRAIN + VALIDATION + TEST
    say(
        f"1 of 3  simulating {trials} trials of {SECONDS:g} s of a layer-5 pyramidal cell (Arbor, {STEP_MS} ms steps)"
    )
    data = folder / "trials"
    begun_before, started = data.exists(), time.perf_counter()
    cell = L5PC()
    simulate_into(data, cell, cell.regime, trials, SECONDS, SEED, workers, STEP_MS)
    simulated = time.perf_counter() - started
    # What an interrupted demo had simulated before is not in the time of this one.
    cores = workers or os.cpu_count() or 1
    simulated_cpu = None if begun_before else round(simulated * cores / (trials * SECONDS), 2)

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
    shown = f"{TEST} trials simulated with the others and used for nothing else."
    content = surrogate_content(surrogate, unseen, run, shown, (simulation, training_cost(run)))
    page = write_report(content, run.report_file)
    explorer = write_explorer(
        surrogate,
        folder / "explorer.html",
        title="The neuron of the demo",
        trials=unseen,
        detailed_cpu_seconds=simulated_cpu,
        detailed_source="simulated by this demo",
    )
    console.print(f"open {page.resolve()}", soft_wrap=True)
    console.print(f"and, to play with the neuron, {explorer.resolve()}", soft_wrap=True)
