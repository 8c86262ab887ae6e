"""``ulmus probe``."""

from typing import Annotated

from cyclopts import Parameter

from ulmus.cli.console import print_table, say
from ulmus.cli.train import parse_overrides
from ulmus.errors import ConfigError
from ulmus.evaluation.linear_probe import linear_probe
from ulmus.training.kinds.arrays import ArraysRecipe
from ulmus.training.kinds.labelled import ClassifierRecipe
from ulmus.training.recipe_file import load_recipe


def probe(
    recipe: str,
    *overrides: Annotated[str, Parameter(allow_leading_hyphen=True, show=False)],
    bin_ms: float = 50.0,
    channels: int = 20,
    parts: int = 8,
) -> None:
    """Score a linear probe on the task of a recipe: logistic regression on what happens in coarse bins of time.

    What a model scores above this comes from finer time and from interactions. The penalty is chosen on the validation
    sequences. Any key of the recipe can be given: --data.folder DIR.

    Args:
        recipe: Recipe file, or the name of a shipped one: spoken-digits, shd, or one of your own sequences with classes.
        overrides: Keys of the recipe with their values.
        bin_ms: Width of a bin, for sequences of events of one length.
        channels: Neighbouring channels that are counted together, for these.
        parts: Equal parts into which each of your own sequences is cut; channels are averaged over every part.
    """
    chosen = load_recipe(recipe, parse_overrides(overrides, ("bin-ms", "channels", "parts")))
    say("reading the sequences")
    if isinstance(chosen, ArraysRecipe):
        found = chosen.problem().probe(parts)
    elif isinstance(chosen, ClassifierRecipe):
        found = linear_probe(
            chosen.data.open(chosen.training.batch, chosen.seed), bin_ms=bin_ms, channels=channels
        )
    else:
        raise ConfigError(
            f"recipe {recipe} fits trials of a neuron, which have no classes; expected one such as shd."
        )
    rows = [
        ("test accuracy", f"{found.accuracy:.4f}"),
        ("validation accuracy", f"{found.validation_accuracy:.4f}"),
        ("features", f"{found.features:,}"),
        ("inverse penalty, chosen on validation", f"{found.regularisation:g}"),
    ]
    print_table(f"linear probe of {chosen.name}", rows)
