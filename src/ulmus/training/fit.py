"""Train a recipe in a run folder, resumable at any time."""

import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import torch

from ulmus.errors import CheckpointError, ConfigError, DivergedError
from ulmus.files.lock import only_one
from ulmus.training.callbacks import Callback, Logger, TrainingProgress, named_callbacks, named_loggers
from ulmus.training.devices import Processes, launch
from ulmus.training.loop import Loop
from ulmus.training.problem import Problem
from ulmus.training.recipe import PLACE_KEYS, Recipe, changed_keys
from ulmus.training.recipe_file import load_recipe
from ulmus.training.run import Run


def problem_of(recipe: Recipe) -> Problem:
    """The model and the data of a recipe, with the weights that training begins with.

    Raises:
        CheckpointError: the weights to start from cannot be loaded, or are of another shape.
        ConfigError: the recipe does not fit the data.
        DataError: data are missing or damaged.
    """
    problem = recipe.problem()
    problem.begin_with(recipe.start_from)
    return problem


def fit(
    recipe: Recipe | str | Path,
    folder: str | Path,
    *,
    problem: Problem | None = None,
    resume: bool = False,
    on_progress: Callable[[TrainingProgress], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Logger] = (),
) -> Run:
    """Train the recipe in a run folder; an interrupted run resumes and ends as if it had never stopped.

    Warns when it begins again, or from the state before the last one, because the last one is missing or damaged.

    Args:
        recipe: What to do: a recipe, its file, or the name of a shipped one; see `ulmus.load_recipe` to change its keys.
        folder: Run folder, new or (with ``resume``) the one to go on in.
        problem: The model and the data of the recipe, where they have been opened already.
        resume: Go on from the last checkpoint in the folder; the recipe must be the one it was started with, but its data
            may lie elsewhere.
        on_progress: Called after every logged step and every validation.
        stop: Asked after every step; when it says yes, the state is saved and `fit` returns early.
        callbacks: Called in the course of training, after those that the recipe names.
        loggers: Receive metrics in addition to the run folder; Lightning's loggers fit.

    Returns:
        The run: `ulmus.load` reads its best checkpoint from ``run.folder``, `ulmus.evaluate` and `ulmus.report` take the
        folder too.

    Raises:
        ConfigError: the folder holds a run already, another process trains in it, or the recipe does not fit the data.
        CheckpointError: the run in the folder cannot be resumed.
        DataError: data are missing or damaged.
        DivergedError: a loss, gradient or prediction is not finite; the run folder notes it.
    """
    if not isinstance(recipe, Recipe):
        recipe = load_recipe(_named(recipe))
    run = Run(folder)
    torch.set_num_threads(recipe.training.threads)
    fabric = launch(recipe.training)
    # Of several processes, the one that writes the folder holds it.
    alone = only_one(run.folder, "trained into", "wait for it, or give another folder")
    try:
        with alone if fabric.is_global_zero else nullcontext():
            return _fit(run, recipe, problem, fabric, resume, on_progress, stop, callbacks, loggers)
    finally:
        run.remove_if_empty()


def _fit(
    run: Run,
    recipe: Recipe,
    problem: Problem | None,
    fabric: Processes,
    resume: bool,
    on_progress: Callable[[TrainingProgress], None] | None,
    stop: Callable[[], bool],
    callbacks: Sequence[Callback],
    loggers: Sequence[Logger],
) -> Run:
    _check_folder(run, resume)
    problem = problem or problem_of(recipe)
    if not resume:
        problem.check_new()
    recipe = recipe.resolved(problem.batches_per_epoch, problem.validate_every)
    loop = Loop(
        problem,
        recipe,
        run,
        fabric,
        on_progress,
        [*named_callbacks(recipe.training.callbacks), *callbacks],
        [*named_loggers(recipe.training.loggers, run.folder), *loggers] if fabric.is_global_zero else (),
    )
    note = _restore(run, recipe, loop) if resume else ""
    if note and fabric.is_global_zero:
        warnings.warn(note, stacklevel=3)
    if fabric.is_global_zero:
        run.begin(recipe, problem.hashes, problem.backend(fabric.device), resume)
    try:
        loop.train(stop)
    except DivergedError as error:
        if fabric.is_global_zero:
            loop.note_cost(diverged=str(error))
        raise
    return run


def _named(recipe: str | Path) -> str | Path:
    if not isinstance(recipe, (str, Path)):
        raise ConfigError(
            f"fit was given a {type(recipe).__name__}; expected a recipe: the name of one of ulmus.recipes(), a file, or what "
            "ulmus.load_recipe returns."
        )
    return recipe


def _check_folder(run: Run, resume: bool) -> None:
    if resume and not run.exists():
        raise CheckpointError(
            f"{run.folder} holds no run to resume; start one without --resume (in Python, resume=False)."
        )
    if run.exists() and not resume:
        raise ConfigError(
            f"{run.folder} holds a run already; go on with it by --resume (in Python, resume=True), or choose another folder."
        )


def _restore(run: Run, recipe: Recipe, loop: Loop) -> str:
    """Go on where the run stopped; what a user must know of it."""
    if changed := changed_keys(run.recipe(), recipe, PLACE_KEYS):
        raise ConfigError(
            f"the recipe differs from the one {run.folder} was started with: {'; '.join(changed)}. Go on with `ulmus train "
            f"--resume --run {run.folder}` alone, which takes the recipe from the folder, or start a new run in another one."
        )
    found = run.resumable(loop.restore)
    run.keep_metrics_until(loop.position.step)
    return found.note
