"""Every kind of data that a recipe can name, each with its recipe: a new kind is one module here and one line below."""

from ulmus.training.kinds.labelled import ClassifierRecipe
from ulmus.training.kinds.trials import SurrogateRecipe
from ulmus.training.recipe import Recipe

KINDS: dict[str, type[Recipe]] = {
    "trials": SurrogateRecipe,
    "digits": ClassifierRecipe,
    "sequences": ClassifierRecipe,
}
"""The recipe that goes with every ``data.kind``."""
