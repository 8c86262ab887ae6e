"""Which scenes to leave out so that the places of the discs say nothing about the label.

As published, two ends of one contour are typically another distance apart than ends of two contours, contours drift up
and to the left (the places where they may go on are rounded down), and easy images can be classified by disc places
alone. A scene is kept with probability min(1, q / p), where p is how frequent its disc places are with its label and q how
frequent they are with the other label: what is left has the same disc places for both. The ratio was measured beforehand
by gradient boosting (``benchmarks/pathfinder_balance.py``): the sum of its trees is the logarithm of p / q.
"""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Integer

from ulmus.errors import ConfigError
from ulmus.sequences.lra.pathfinder.settings import PathfinderSettings

TABLES = Path(__file__).with_name("balance.npz")


class Balance(NamedTuple):
    """How much more frequent disc places are with label 1 than with label 0, as the sum of full decision trees.

    Node ``k`` of a tree goes on to ``2 k + 1``, or to ``2 k + 2`` where the feature is above the threshold; behind the
    inner nodes come the leaves.

    Attributes:
        feature: column of :func:`disc_places` that a node asks for.
        threshold: what it is compared with.
        value: of the leaves; their sum is the logarithm of the ratio.
    """

    feature: Integer[np.ndarray, "trees inner"]
    threshold: Float[np.ndarray, "trees inner"]
    value: Float[np.ndarray, "trees leaves"]

    def log_odds(self, places: Float64[np.ndarray, "n 7"]) -> Float64[np.ndarray, "n"]:
        """Logarithm of how much more frequent these places are with label 1."""
        trees, inner = self.feature.shape
        tree, row = np.arange(trees), np.arange(len(places))[:, None]
        node = np.zeros((len(places), trees), dtype=np.int64)
        for _ in range(inner.bit_length()):
            node = 2 * node + 1 + (places[row, self.feature[tree, node]] > self.threshold[tree, node])
        # Exact in double precision, in whatever order: the summands are halves of few bits.
        return np.asarray(self.value[tree, node - inner].sum(axis=1, dtype=np.float64))

    def kept(
        self, label: Integer[np.ndarray, "n"], places: Float64[np.ndarray, "n 7"]
    ) -> Float64[np.ndarray, "n"]:
        """Probability that a scene with these places (see :func:`disc_places`) is kept."""
        own = np.where(label == 1, 1, -1) * self.log_odds(places)
        return np.asarray(np.exp(-np.maximum(own, 0)))


def disc_places(
    first: Integer[np.ndarray, "n 2"], second: Integer[np.ndarray, "n 2"], size: int
) -> Float64[np.ndarray, "n 7"]:
    """Distance between the discs, of each from the middle, and their coordinates from there, in image widths."""
    one, other = (first - (size - 1) / 2) / size, (second - (size - 1) / 2) / size
    lengths = [np.hypot(*offset.T) for offset in (one - other, one, other)]
    return np.column_stack([*lengths, one, other])


@cache
def balance(settings: PathfinderSettings) -> Balance:
    """The measured ratio for these settings."""
    with np.load(TABLES) as tables:
        names = [f"{table_name(settings)}.{name}" for name in Balance._fields]
        if not all(name in tables for name in names):
            raise ConfigError(
                f"Pathfinder of size {settings.size} with {settings.contour_paddles} paddles: disc places have not been "
                "measured; expected published settings; measure these, or make the images unbalanced"
            )
        feature, *numbers = (tables[name] for name in names)
        # Wide, so that NumPy converts nothing for every scene.
        return Balance(feature.astype(np.intp), *(part.astype(np.float64) for part in numbers))


def table_name(settings: PathfinderSettings) -> str:
    """How the table for these settings is called in the file."""
    return f"{settings.size}-{settings.contour_paddles}"
