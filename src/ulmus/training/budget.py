"""As many steps as fit into a given time, measured before training begins."""

import copy
import re
import time
from collections.abc import Iterator
from itertools import islice, pairwise
from typing import Any

import torch

from ulmus.errors import BudgetError, ConfigError, DivergedError
from ulmus.kernels import memory_budget
from ulmus.training.devices import launch
from ulmus.training.fit import problem_of
from ulmus.training.loop import Loop
from ulmus.training.problem import Problem
from ulmus.training.recipe import Recipe
from ulmus.training.run import Run

FULL = "paper"
"""The budget that leaves a recipe as it is."""
VALIDATIONS = 20
"""Validations in a run that a budget cuts short."""
_WARM_UP, _SHARE_FOR_PROBING, _SHARE_FOR_VALIDATION = 3, 0.03, 0.15
_UNITS = {"s": 1, "min": 60, "h": 3600}


def parse_budget(text: str) -> float | None:
    """Seconds of ``90s``, ``30min`` or ``4h``; None for ``paper``, which leaves the recipe as it is.

    Raises:
        ConfigError: another text.
    """
    if text == FULL:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?) *(s|min|h)", text)
    if not found or float(found[1]) == 0:
        raise ConfigError(f"budget {text!r}: expected a time such as 90s, 30min or 4h, or 'paper'.")
    return float(found[1]) * _UNITS[found[2]]


def within_budget(recipe: Recipe, seconds: float, problem: Problem | None = None) -> Recipe:
    """The recipe with as many steps as this machine does in this time, but no more than it asks for.

    A few steps and a validation are timed; a recipe that diverges in them is not shortened. The steps found are written
    into the run's recipe, so that the run itself can be repeated anywhere; only finding them depends on the machine.
    Validations are spaced to take at most a sixth of it.

    Args:
        recipe: What is to be trained.
        seconds: Time for all of it.
        problem: Its model and data, where they have been opened already; they are left as they were.

    Raises:
        BudgetError: not even ten steps fit.
        ConfigError: several processes are asked for, whose speed one of them cannot know.
        DataError: data are missing or damaged.
    """
    if recipe.training.devices * recipe.training.nodes > 1:
        raise ConfigError(
            f"a budget is timed in one process, but training.devices={recipe.training.devices} and "
            f"nodes={recipe.training.nodes}; give training.steps instead of --budget."
        )
    torch.set_num_threads(recipe.training.threads)
    problem = problem or problem_of(recipe)
    recipe = recipe.resolved(problem.batches_per_epoch, problem.validate_every)
    untrained = copy.deepcopy(problem.model)
    loop = Loop(problem, recipe, Run("."), launch(recipe.training))
    try:
        with memory_budget(recipe.training.memory_budget_mib):
            per_step = _time_of_all_steps(loop, recipe.steps, _SHARE_FOR_PROBING * seconds) / recipe.steps
        per_validation = _time_of_a_validation(problem)
    except DivergedError:
        # Training meets it at the same place, and notes it in its run folder.
        return recipe.with_training(validate_every=max(1, loop.position.step))
    finally:
        problem.model = untrained
    return _shortened(recipe, seconds, per_step, per_validation)


def _shortened(recipe: Recipe, seconds: float, per_step: float, per_validation: float) -> Recipe:
    validations = max(1, min(VALIDATIONS, int(_SHARE_FOR_VALIDATION * seconds / per_validation)))
    steps = min(recipe.steps, int((seconds - validations * per_validation) / per_step))
    if steps < min(10, recipe.steps):
        raise BudgetError(
            f"in {seconds:g} s only {max(steps, 0)} steps of {per_step:.2f} s fit with a validation of {per_validation:.1f} s; "
            "expected at least 10. Give a longer budget, or use a smaller batch or model."
        )
    return recipe.with_training(
        steps=steps,
        validate_every=-(-steps // validations),
        warmup_steps=min(recipe.training.warmup_steps, steps // 20),
    )


def _time_of_all_steps(loop: Loop, steps: int, seconds: float) -> float:
    """Seconds of a whole training, from some steps of every stretch."""
    stretches = [
        (begin, end) for begin, end in pairwise([*loop.problem.stretches(steps), steps]) if begin < end
    ]
    total = 0.0
    for begin, end in stretches:
        batches = islice(loop.problem.batches(begin, steps, (0, 1)), end - begin)
        total += (end - begin) * _time_of_a_step(loop, batches, seconds / len(stretches))
        # Later lessons are timed without learning: a model that has not had the earlier ones could diverge in them.
        loop.training = loop.training.model_copy(update={"learning_rate": 0.0})
    return total


def _time_of_a_step(loop: Loop, batches: Iterator[Any], seconds: float) -> float:
    """Seconds of a step, measured over this time after a few that warm up."""
    for _, batch in zip(range(_WARM_UP), batches, strict=False):
        loop.step(batch)
    started, done = time.perf_counter(), 0
    for batch in batches:
        loop.step(batch)
        done += 1
        if time.perf_counter() - started > seconds:
            break
    return (time.perf_counter() - started) / max(done, 1)


def _time_of_a_validation(problem: Problem) -> float:
    started = time.perf_counter()
    problem.model.eval()
    with torch.no_grad():
        problem.validate(problem.model)
    return time.perf_counter() - started
