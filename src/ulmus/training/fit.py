"""Train a recipe in a run folder, resumable at any time."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from ulmus.errors import CheckpointError, ConfigError, DivergedError
from ulmus.files.lock import only_one
from ulmus.training.callbacks import Callback, Logger, TrainingProgress, named_callbacks, named_loggers
from ulmus.training.devices import launch
from ulmus.training.loop import STATE_FORMAT, Loop
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
        ConfigError: the folder holds a run already, or the recipe does not fit the data.
        CheckpointError: the run in the folder cannot be resumed.
        DataError: data are missing or damaged.
        DivergedError: a loss, gradient or prediction is not finite; the run folder notes it.
    """
    if not isinstance(recipe, Recipe):
        recipe = load_recipe(_named(recipe))
    run = Run(folder)
    _check_folder(run, resume)
    torch.set_num_threads(recipe.training.threads)
    fabric = launch(recipe.training)
    # Of several processes, the one that writes the folder holds it.
    alone = only_one(run.folder, "trained into", "wait for it, or give another folder with --run")
    with alone if fabric.is_global_zero else nullcontext():
        problem = problem or problem_of(recipe)
        if not resume:
            problem.check_new()
        recipe = recipe.resolved(problem.batches_per_epoch, problem.validate_every)
        state = _state_to_resume(run, recipe) if resume else None
        loop = Loop(
            problem,
            recipe,
            run,
            fabric,
            on_progress,
            [*named_callbacks(recipe.training.callbacks), *callbacks],
            [*named_loggers(recipe.training.loggers, run.folder), *loggers] if fabric.is_global_zero else (),
        )
        if fabric.is_global_zero:
            run.begin(recipe, problem.hashes, problem.backend(fabric.device), resume)
        if state is not None:
            loop.restore(state)
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
        raise CheckpointError(f"{run.folder} holds no run to resume; start one without --resume.")
    if run.exists() and not resume:
        raise ConfigError(
            f"{run.folder} holds a run already; resume it with --resume, or choose another folder with --run."
        )


def _state_to_resume(run: Run, recipe: Recipe) -> dict[str, Any] | None:
    if changed := changed_keys(run.recipe(), recipe, PLACE_KEYS):
        raise ConfigError(
            f"the recipe differs from the one {run.folder} was started with: {'; '.join(changed)}. Go on with `ulmus train "
            f"--resume --run {run.folder}` alone, which takes the recipe from the folder, or start a new run in another one."
        )
    state = run.load_state()
    if state is not None and state.get("format") != STATE_FORMAT:
        raise CheckpointError(
            f"{run.state_file} was written by another version of Ulmus; go on with that version, or start the run again in "
            "another folder."
        )
    run.keep_metrics_until(0 if state is None else state["position"]["step"])
    return state
