"""Run or resume the members of a study, score each once, and collect what their run folders say."""

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

from ulmus.errors import BudgetError, CheckpointError, ConfigError, DivergedError
from ulmus.evaluation.predictions import PROTOCOLS
from ulmus.evaluation.scores import evaluate
from ulmus.files.reading import read_json
from ulmus.files.writing import write_json
from ulmus.neuron import Surrogate, load
from ulmus.studies.study import Member
from ulmus.training.budget import within_budget
from ulmus.training.callbacks import TrainingProgress
from ulmus.training.fit import fit, problem_of
from ulmus.training.recipe import PLACE_KEYS, Recipe, changed_keys
from ulmus.training.run import Run
from ulmus.trials import TrialSource

RUNS = "runs"


class TestTrials(NamedTuple):
    """Trials to score surrogates on."""

    specs: tuple[str, ...]
    """As the user named them."""
    trials: TrialSource


class Outcome(Enum):
    """What became of a member."""

    FINISHED = "finished"
    STOPPED = "stopped"
    DIVERGED = "diverged"


class MemberResult(NamedTuple):
    """What became of one member."""

    grid: str
    row: Any
    model: str
    seed: int
    run: str
    steps: int
    cpu_seconds: float
    scores: dict[str, Any]
    """By protocol for trials, by split for sequences."""
    diverged: str | None = None
    """Where it diverged, if it did; then there are no scores."""


def run_member(
    member: Member,
    folder: Path,
    overrides: Mapping[str, Any],
    seconds: float | None,
    test: TestTrials | None,
    on_progress: Callable[[TrainingProgress], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Train a member as far as it is not trained yet, then score it; one that diverged is left as it is.

    Args:
        member: Which.
        folder: Of the study.
        overrides: Keys that hold for all members, such as where the data lie.
        seconds: Budget of the member; None for all steps of its recipe.
        test: Trials to score surrogates on; others have a test split. Scores made on other trials are renewed.
        on_progress: See `ulmus.training.fit.fit`.
        stop: See there.
    """
    run = Run(folder / RUNS / member.folder)
    wanted = recipe = member.recipe(overrides)
    if run.exists():
        _check_same(run, wanted, in_full=seconds is None)
        recipe = run.recipe().model_copy(update={"data": wanted.data})  # the same, perhaps in another place
        if run.diverged() or run.finished():  # `fit` looks at the data of all others
            _check_moved(run, recipe)
        if run.diverged():
            return Outcome.DIVERGED
    if not (run.exists() and run.finished()):
        try:
            _train(run, member, recipe, seconds, on_progress, stop)
        except DivergedError:
            return Outcome.DIVERGED
        if not run.finished():
            return Outcome.STOPPED
    for name, (data_hash, score) in _scorings(run, recipe, test).items():
        if _scores(run).get(name, {}).get("data_hash") != data_hash:
            scores = score() | {"data_hash": data_hash}
            write_json(run.evaluation_file(name), scores)
    return Outcome.FINISHED


def _train(
    run: Run,
    member: Member,
    recipe: Recipe,
    seconds: float | None,
    on_progress: Callable[[TrainingProgress], None] | None,
    stop: Callable[[], bool],
) -> None:
    resume, problem, wanted = run.exists(), None, recipe.training.steps
    if not resume and seconds is not None:
        problem = problem_of(recipe)
        recipe = within_budget(recipe, seconds, problem)
        if "training.steps" in member.changes and recipe.steps < (wanted or 0):
            raise BudgetError(
                f"only {recipe.steps} of {wanted} steps fit into {seconds:.0f} s; the number of steps is what grid "
                f"{member.grid} varies. Give a longer budget."
            )
    fit(recipe, run.folder, problem=problem, resume=resume, on_progress=on_progress, stop=stop)


def _check_same(run: Run, wanted: Recipe, in_full: bool) -> None:
    """Refuse a folder with another run than the one that is wanted, up to the steps that a budget gave it."""
    may_differ = {"validate_every", "warmup_steps"}  # a budget sets them, as it does the steps
    if not in_full or wanted.training.steps is None:
        may_differ |= {"steps", "epochs"}
    if changed := changed_keys(run.recipe(), wanted, PLACE_KEYS | {f"training.{key}" for key in may_differ}):
        raise ConfigError(
            f"{run.folder} holds a run of other settings than are asked for now: {'; '.join(changed)}. Give the same keys and "
            "budget as before, or another --out."
        )


def _check_moved(run: Run, recipe: Recipe) -> None:
    """Refuse other data, which the recipe has in another place than the run."""
    moved = changed_keys(run.recipe(), recipe, {"data.workers"})
    if moved and problem_of(recipe).hashes != run.provenance()["data"]:
        raise CheckpointError(
            f"{run.folder} was trained with other data than are asked for now: {'; '.join(moved)}. Give the data it was begun "
            "with, or another --out."
        )


def _scorings(
    run: Run, recipe: Recipe, test: TestTrials | None
) -> dict[str, tuple[str, Callable[[], dict[str, Any]]]]:
    """For every score of a run, by protocol or split: the hash of its data, and how to get it."""
    model = load(run.folder)
    if not isinstance(model, Surrogate):
        held_out = recipe.held_out("test")
        learnt = run.provenance()["data"]
        if held_out.training_hashes["validation"] != learnt.get("validation"):
            raise CheckpointError(
                f"{run.folder} was trained with other data than are in {held_out.place} now; restore them, or give "
                "another --out."
            )
        return {"test": (held_out.content_hash, lambda: held_out.scores(model))}
    if test is None:
        return {}

    def scoring(protocol: str) -> Callable[[], dict[str, Any]]:
        return lambda: evaluate(model, test.trials, protocol) | {"data": list(test.specs)}

    return {protocol: (test.trials.content_hash, scoring(protocol)) for protocol in PROTOCOLS}


def _scores(run: Run) -> dict[str, dict[str, Any]]:
    """What is recorded in a run folder, by protocol or split."""
    files = sorted((run.folder / "evaluation").glob("*.json"))
    return {file.stem: read_json(file, CheckpointError) for file in files}


def collect_results(members: Iterable[Member], folder: Path, test: TestTrials | None) -> list[MemberResult]:
    """Results of all members that are finished or diverged; of surrogates without scores on other trials than these."""
    results = []
    wanted = None if test is None else test.trials.content_hash
    for member in members:
        run = Run(folder / RUNS / member.folder)
        diverged = run.diverged() if run.exists() else None
        if not (run.exists() and (run.finished() or diverged)):
            continue
        scores = {
            name: found
            for name, found in _scores(run).items()
            if name not in PROTOCOLS or wanted in (None, found.get("data_hash"))
        }
        asked = (member.grid, member.row, member.model, member.seed)
        steps = run.recipe().steps
        results.append(MemberResult(*asked, run.folder.name, steps, run.cpu_seconds(), scores, diverged))
    return results
