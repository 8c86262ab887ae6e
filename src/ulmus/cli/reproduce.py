"""``ulmus reproduce``."""

import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from ulmus.cli.console import console, print_table, say
from ulmus.cli.train import parse_overrides, stopping_on_signals, training_progress
from ulmus.errors import BudgetError, ConfigError, DataError
from ulmus.evaluation.predictions import PROTOCOLS
from ulmus.files.reading import read_json
from ulmus.files.writing import write_json, write_text
from ulmus.report.study_page import write_study_page
from ulmus.studies.comparison import Compared, score_compared
from ulmus.studies.running import RUNS, MemberResult, Outcome, TestTrials, collect_results, run_member
from ulmus.studies.study import MOST_SEEDS, Member, Study, load_study, members
from ulmus.studies.tables import Quality, grid_rows, quality, remarks, study_markdown, table
from ulmus.training.budget import FULL, parse_budget
from ulmus.training.kinds.trials import SurrogateRecipe
from ulmus.training.recipe import Recipe
from ulmus.training.run import Run
from ulmus.trials import open_trials

_FLAGS = ("out", "budget", "seeds", "only", "test", "compare", "dry-run")


def reproduce(
    study: str,
    *overrides: Annotated[str, Parameter(allow_leading_hyphen=True, show=False)],
    out: Path,
    budget: str = FULL,
    seeds: int | None = None,
    only: list[str] | None = None,
    test: list[str] | None = None,
    compare: list[Path] | None = None,
    dry_run: bool = False,
) -> None:
    """Run or resume an experiment of the paper, and write its tables and figures next to the published numbers.

    Any key of the recipes can be given for all runs: --data.folder DIR. Finished runs are not run
    again, nor those that diverged: delete a run's folder to train it anew.

    Args:
        study: Study file, or the name of a shipped one (shd).
        overrides: Keys of the recipes with their values.
        out: Folder of the study.
        budget: A time such as 4h for the whole study, shared by its runs; or paper, for all steps of the recipes.
        seeds: Seeds of every run; those of the study by default.
        only: Some of its grids. May be given several times.
        test: Trials to score fitted neurons on; classifiers are scored on their test split. With other trials than
            before, the scores are renewed.
        compare: Fitted neuron to score on the same trials: a run folder, saved surrogate, shipped neuron, or authors'
            checkpoint folder. May be given several times.
        dry_run: List the runs and stop.
    """
    chosen = load_study(study)
    if seeds is not None and not 1 <= seeds <= MOST_SEEDS:
        raise ConfigError(f"--seeds {seeds}: expected 1 to {MOST_SEEDS:,}. Correct it.")
    seconds = parse_budget(budget)
    runs = list(members(chosen, budget, seeds or chosen.seeds, tuple(only or ())))
    changes = parse_overrides(overrides, _FLAGS)
    unique, recipes = _one_of_each(runs, changes)
    if compare and (not test or not all(isinstance(recipe, SurrogateRecipe) for recipe in recipes)):
        raise ConfigError(
            "--compare scores fitted neurons on the trials of --test; expected --test, and a study of fitted neurons."
        )
    if dry_run:
        for run in unique:
            console.print(run.folder)
        return
    unseen = TestTrials(tuple(test), open_trials(test)) if test else None
    _check_budget(out, budget)
    compared = score_compared(compare, out, unseen) if compare and unseen else []
    share = None if seconds is None else seconds / len(unique)
    for _ in _outcomes(unique, out, changes, share, unseen):
        _write(chosen, collect_results(runs, out, unseen), compared, out, budget)
    console.print(f"open {(out / 'study.html').resolve()}", soft_wrap=True)


def _outcomes(
    runs: list[Member], out: Path, changes: dict[str, Any], seconds: float | None, test: TestTrials | None
) -> Iterator[Outcome]:
    """Run or resume one after the other."""
    with stopping_on_signals() as stopped:
        for number, run in enumerate(runs, 1):
            say(f"{number} of {len(runs)}  {run.folder}")
            try:
                with training_progress() as report:
                    outcome = run_member(run, out, changes, seconds, test, report, lambda: bool(stopped))
            except (BudgetError, DataError) as error:
                if number == len(runs) and not (out / "results.json").exists():
                    raise
                say(f"left out, the others continue: {error}")
                continue
            if outcome is Outcome.STOPPED:
                say("interrupted; run the same command again to continue")
                sys.exit(130)
            if outcome is Outcome.DIVERGED:
                say(f"it diverged: {Run(out / RUNS / run.folder).diverged()} The others continue.")
            yield outcome


def _one_of_each(runs: list[Member], changes: dict[str, Any]) -> tuple[list[Member], list[Recipe]]:
    """The runs without those that are in several grids, and what they train."""
    first: dict[str, tuple[Member, Recipe]] = {}
    for run in runs:
        recipe = run.recipe(changes)
        known, trained = first.setdefault(run.folder, (run, recipe))
        if trained != recipe:
            raise ConfigError(
                f"with {', '.join(changes)} changed, {run.folder} would be another run in grid {run.grid} than in grid "
                f"{known.grid}; expected the same. Choose one of them with --only, or change the study's file."
            )
    return [run for run, _ in first.values()], [recipe for _, recipe in first.values()]


def _check_budget(out: Path, budget: str) -> None:
    """Runs of a folder have the steps of its first budget, so that its tables tell the truth only for that."""
    file = out / "results.json"
    begun = read_json(file).get("budget") if file.exists() else budget
    if begun != budget:
        raise ConfigError(
            f"{out} was begun with --budget {begun}, and this is --budget {budget}; expected the same, since its runs keep their "
            "steps. Choose another folder for --out."
        )


def _write(
    study: Study, results: list[MemberResult], compared: list[Compared], out: Path, budget: str
) -> None:
    """Tables, figures and raw results of all runs that are finished so far."""
    scored = {name for result in results for name in result.scores}
    if not scored and any(result.diverged for result in results):
        scored = {"test"}  # a table that says so
    of_grid = {name: [result for result in results if result.grid == name] for name in study.grids}
    tables = {
        (name, protocol): table(grid, of_grid[name], protocol, budget)
        for name, grid in study.grids.items()
        for protocol in (*PROTOCOLS, "test")
        if of_grid[name] and protocol in scored
    }
    notes = {(name, protocol): remarks(of_grid[name], protocol) for name, protocol in tables}
    raw = {"study": study.name, "budget": budget, "written": f"{datetime.now():%Y-%m-%d %H:%M}"}
    write_json(out / "results.json", raw | {"runs": [r._asdict() for r in results]})
    qualities = _qualities(results, compared)
    write_text(out / "tables.md", study_markdown(study, tables, notes, qualities, budget))
    write_study_page(study, tables, notes, qualities, budget, out / "study.html")
    for (name, protocol), cells in tables.items():
        heads, rows = grid_rows(cells, study.grids[name].row_name)
        print_table(f"{study.grids[name].title} ({study.grids[name].score}, {protocol})", rows, heads)
        for note in notes[name, protocol]:
            say(f"- {note}")


def _qualities(results: list[MemberResult], compared: list[Compared]) -> dict[str, list[Quality]]:
    """Size, cost and scores of all fitted neurons by protocol; none where they were scored on different trials."""
    found = {name: lines for name in PROTOCOLS if (lines := quality(results, compared, name))}
    hashes = {
        result.scores[name].get("data_hash") for result in results for name in found if name in result.scores
    }
    if len(hashes) > 1:
        say(
            "the runs were scored on different trials and are not compared; give --test to score all on the same ones"
        )
        return {}
    return found
