"""``ulmus train``."""

import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import accumulate
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

from cyclopts import Parameter

from ulmus.cli.console import console, print_table, progress, say, score_rows, site_rows
from ulmus.errors import ConfigError, closest
from ulmus.neuron import Surrogate, load
from ulmus.settings import parse_value
from ulmus.training import automatic
from ulmus.training.budget import FULL, parse_budget, within_budget
from ulmus.training.callbacks import TrainingProgress
from ulmus.training.devices import is_first_process
from ulmus.training.fit import fit, problem_of
from ulmus.training.problem import Problem
from ulmus.training.recipe import Recipe
from ulmus.training.recipe_file import all_keys, automatic_recipe, load_recipe, recipes
from ulmus.training.run import Run

_FLAGS = ("run", "model", "budget", "resume", "dry-run")


def train(
    recipe: str | None = None,
    *overrides: Annotated[str, Parameter(allow_leading_hyphen=True, show=False)],
    run: Path | None = None,
    model: str | None = None,
    budget: str = FULL,
    resume: bool = False,
    dry_run: bool = False,
) -> None:
    """Train a recipe in a run folder; resume an interrupted run.

    Any key of the recipe can be given as a flag: --model.memory 50 --training.steps 1000 --data.train 'STORE[:96]'. To see
    every key with its value: add --dry-run.

    Args:
        recipe: Recipe file, or the name of a shipped one (l5pc-branch-20, shd-lstm). auto chooses sizes, windows, steps and the
            clip of the voltage for the trials of --data.train, and says why.
        overrides: Keys of the recipe with their values.
        run: Run folder; a new one under runs/ by default.
        model: Which model of a recipe for several: elm, lstm.
        budget: A time such as 30min: as many steps as fit, timed before training. By default all that the recipe asks for.
        resume: Continue the run in the folder after an interruption. If its data have moved: with the same recipe and keys
            as before, and the new --data.folder.
        dry_run: Print the resolved recipe, every key with its value, and stop.
    """
    if recipe is None:
        changes = [*overrides, *(["--model"] if model else []), *(["--budget"] if budget != FULL else [])]
        resolved = _recipe_to_resume(run if resume else None, changes)
    elif recipe == automatic.NAME and model is None:
        resolved, reasons = automatic_recipe(parse_overrides(overrides))
        for reason in reasons:
            say(reason)
    else:
        resolved = load_recipe(recipe, parse_overrides(overrides), model)
    folder = run or Path("runs") / f"{datetime.now():%Y-%m-%dT%H-%M-%S}-{resolved.name}-s{resolved.seed}"
    problem, seconds = None, parse_budget(budget)
    if seconds is not None:
        say(f"timing a few steps to see how many fit into {budget}")
        problem = problem_of(resolved)
        resolved = within_budget(resolved, seconds, problem)
        say(f"{resolved.steps:,} steps")
    if dry_run:
        console.print(resolved.to_yaml(), markup=False, highlight=False, end="")
        return
    if not train_in(resolved, folder, resume, problem):
        say(f"interrupted; to continue: ulmus train --resume --run {folder}")
        sys.exit(130)
    if is_first_process():
        trained = load(folder)
        print_table(
            f"best validation, step {trained.card['step']}, {folder}",
            score_rows(trained.card["validation"]) + site_rows(trained.card["validation"]),
        )
        data = " --data TEST_DATA" if isinstance(trained, Surrogate) else ""
        console.print(f"ulmus evaluate {folder}{data}", soft_wrap=True)


def _recipe_to_resume(run: Path | None, changes: list[str]) -> Recipe:
    """The recipe of the run that is to go on, as it was."""
    if changes:
        raise ConfigError(
            f"{changes[0]} changes the recipe, but a run resumes only with the recipe it was started with; leave it out."
        )
    if run is None:
        raise ConfigError(
            f"no recipe was given; expected a recipe file or one of {recipes()}. "
            "To continue an interrupted run: ulmus train --resume --run FOLDER."
        )
    return Run(run).recipe()


def train_in(recipe: Recipe, folder: Path, resume: bool, problem: Problem | None = None) -> bool:
    """Train with a progress bar; False when a signal asked to stop first."""
    say(f"training {recipe.name} (seed {recipe.seed}) in {folder}")
    problem = problem or problem_of(recipe)
    for remark in problem.remarks if is_first_process() else ():
        say(remark)
    with stopping_on_signals() as stopped, training_progress() as report:
        run = fit(
            recipe, folder, problem=problem, resume=resume, on_progress=report, stop=lambda: bool(stopped)
        )
    return run.finished()


@contextmanager
def training_progress() -> Iterator[Callable[[TrainingProgress], None]]:
    """A progress bar for training; call what it gives with every `TrainingProgress`."""
    with progress("train") as show:
        yield lambda now: show(now.step, now.steps, f"loss {now.loss:.4f} {now.note}")


@contextmanager
def stopping_on_signals() -> Iterator[list[int]]:
    """Collect the first interrupt or termination instead of dying of it; a second one interrupts at once."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def parse_overrides(tokens: Iterable[str], flags: Sequence[str] = _FLAGS) -> dict[str, Any]:
    """Dotted keys with their values from ``--key value`` and ``--key=value``; `flags` are the command's own."""
    values: dict[str, Any] = {}
    rest = iter(tokens)
    for token in rest:
        if not token.startswith("--"):
            raise ConfigError(f"unexpected {token!r}; expected --key value pairs after the recipe.")
        key, equals, value = token[2:].partition("=")
        known = [*all_keys(), *flags]
        if key not in known:
            raise ConfigError(
                f"unknown option --{key}; expected a key of the recipe or a flag of the command.{closest(key, known)}"
            )
        if key in values:
            raise ConfigError(
                f"--{key} is given twice; expected it once; where it takes several values, give a list: '[a, b]'."
            )
        given = value if equals else next(rest, None)
        if given is None:
            raise ConfigError(f"--{key} has no value; write --{key} VALUE.")
        values[key] = _value(given)
    return values


def _value(text: str) -> Any:
    """A value in YAML, or what is none but a fine value: a glob such as ``*.h5``, and ``[*.h5[:8], more]``, a list with one."""
    try:
        return parse_value(text)
    except ConfigError:
        depth = list(accumulate((one == "[") - (one == "]") for one in text))
        listed = text.startswith("[") and 0 not in depth[:-1] and depth[-1] == 0
        return [_value(part.strip()) for part in text[1:-1].split(",")] if listed else text
