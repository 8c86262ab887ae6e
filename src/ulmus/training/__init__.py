"""Fit models: recipes, run folders, one loop for all problems, and the scores of what came of it."""

from typing import TYPE_CHECKING

from ulmus.lazy import lazy

if TYPE_CHECKING:
    from ulmus.training.callbacks import Callback, TrainingProgress
    from ulmus.training.distillation import label
    from ulmus.training.recipe import Recipe
    from ulmus.training.recipe_file import automatic_recipe, load_recipe, recipes
    from ulmus.training.run import Run
    from ulmus.training.scoring import evaluate
    from ulmus.training.sequence_fit import SequenceRun, fit

__all__ = [
    "Callback",
    "Recipe",
    "Run",
    "SequenceRun",
    "TrainingProgress",
    "automatic_recipe",
    "evaluate",
    "fit",
    "label",
    "load_recipe",
    "recipes",
]

__getattr__, __dir__ = lazy(__name__)
