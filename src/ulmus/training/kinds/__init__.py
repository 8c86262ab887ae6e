"""Every kind of data that a recipe can name, each with its recipe: a new kind is one module here and one line below;
one of sequences with a class each is one in `ulmus.sequences.kinds`.
"""

from ulmus.sequences.kinds import LABELLED_KINDS
from ulmus.training.kinds.arrays import ArraysRecipe
from ulmus.training.kinds.labelled import ClassifierRecipe
from ulmus.training.kinds.trials import SurrogateRecipe
from ulmus.training.recipe import Recipe

KINDS: dict[str, type[Recipe]] = {
    "trials": SurrogateRecipe,
    "arrays": ArraysRecipe,
    **dict.fromkeys(LABELLED_KINDS, ClassifierRecipe),
}
"""The recipe that goes with every ``data.kind``."""
