"""``ulmus probe``."""

from typing import Annotated

from cyclopts import Parameter

from ulmus.cli.console import print_table, say
from ulmus.cli.train import parse_overrides
from ulmus.errors import ConfigError
from ulmus.evaluation.linear_probe import linear_probe
from ulmus.training.kinds.labelled import ClassifierRecipe
from ulmus.training.recipe_file import load_recipe


def probe(
    recipe: str,
    *overrides: Annotated[str, Parameter(allow_leading_hyphen=True, show=False)],
    bin_ms: float = 50.0,
    channels: int = 20,
) -> None:
    """Say how well a straight line tells the classes of a recipe apart: logistic regression on binned counts of events.

    What a model scores above this comes from time and from interactions. Its penalty is chosen on the validation
    sequences. Any key of the recipe can be given: --data.folder DIR.

    Args:
        recipe: Recipe file, or the name of a shipped one, for sequences of events: spoken-digits, shd.
        overrides: Keys of the recipe with their values.
        bin_ms: Width of a bin.
        channels: Neighbouring channels that are counted together.
    """
    chosen = load_recipe(recipe, parse_overrides(overrides, ("bin-ms", "channels")))
    if not isinstance(chosen, ClassifierRecipe):
        raise ConfigError(
            f"recipe {recipe} fits trials of a neuron, which have no classes; expected one such as shd."
        )
    say("reading the sequences")
    found = linear_probe(
        chosen.data.open(chosen.training.batch, chosen.seed), bin_ms=bin_ms, channels=channels
    )
    rows = [
        ("test accuracy", f"{found.accuracy:.4f}"),
        ("validation accuracy", f"{found.validation_accuracy:.4f}"),
        ("features", f"{found.features:,}"),
        ("inverse penalty, chosen on validation", f"{found.regularisation:g}"),
    ]
    print_table(f"linear probe of {chosen.name}", rows)
