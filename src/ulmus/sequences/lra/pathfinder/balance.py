"""Which scenes to leave out so that the places of the discs say nothing about the label.

As published, two ends of one contour are typically another distance apart than ends of two contours, contours drift up
and to the left (the places where they may go on are rounded down), and easy images can be classified by disc places
alone. A scene is kept with probability min(1, q / p), where p is how frequent its disc places are with its label and q how
frequent they are with the other label: what is left has the same disc places for both. The ratio was measured beforehand
with :func:`measure`, by gradient boosting: the sum of its trees is the logarithm of p / q.
"""

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float16, Float64, Int64, Integer, UInt8

from ulmus.errors import ConfigError
from ulmus.files.writing import write_file
from ulmus.sequences.lra.pathfinder.settings import PathfinderSettings
from ulmus.sequences.lra.pathfinder.trees import tree_sum

TABLES = Path(__file__).with_name("balance.npz")
_TREES = 300
_DEPTH = 5
_INNER = 2**_DEPTH - 1
_FEWEST_IN_LEAF = 100


class Balance(NamedTuple):
    """How much more frequent disc places are with label 1 than with label 0: trees, see :func:`tree_sum`.

    Attributes:
        feature: column of :func:`places` that a node asks for.
        threshold: what it is compared with.
        value: of the leaves; their sum is the logarithm of the ratio.
    """

    feature: UInt8[np.ndarray, "trees inner"]
    threshold: Float16[np.ndarray, "trees inner"]
    value: Float16[np.ndarray, "trees leaves"]

    def log_odds(self, places: Float64[np.ndarray, "n 7"]) -> Float64[np.ndarray, "n"]:
        """Logarithm of how much more frequent these places are with label 1."""
        wide = self.threshold.astype(np.float64), self.value.astype(np.float64)
        return np.asarray(tree_sum(self.feature, *wide, places))

    def kept(
        self, label: Integer[np.ndarray, "n"], places: Float64[np.ndarray, "n 7"]
    ) -> Float64[np.ndarray, "n"]:
        """Probability that a scene with these places (see :func:`places`) is kept."""
        own = np.where(label == 1, 1, -1) * self.log_odds(places)
        return np.asarray(np.exp(-np.maximum(own, 0)))


def places(
    first: Integer[np.ndarray, "n 2"], second: Integer[np.ndarray, "n 2"], size: int
) -> Float64[np.ndarray, "n 7"]:
    """Distance between the discs, of each from the middle, and their coordinates from there, in image widths."""
    one, other = (first - (size - 1) / 2) / size, (second - (size - 1) / 2) / size
    lengths = [np.hypot(*offset.T) for offset in (one - other, one, other)]
    return np.column_stack([*lengths, one, other])


@cache
def balance(settings: PathfinderSettings) -> Balance:
    """The measured ratio for these settings.

    Raises:
        ConfigError: nobody measured these settings.
    """
    with np.load(TABLES) as tables:
        names = [f"{_key(settings)}.{name}" for name in Balance._fields]
        if not all(name in tables for name in names):
            raise ConfigError(
                f"Pathfinder of size {settings.size} with {settings.contour_paddles} paddles: disc places have not been "
                "measured; expected published settings; measure these, or make the images unbalanced"
            )
        return Balance(*(tables[name] for name in names))


def measure(settings: PathfinderSettings, scenes: int, seed: int) -> Balance:
    """Grow this many scenes and compare the disc places of the two labels."""
    return compared(*both_labels(settings, scenes, seed))


def both_labels(
    settings: PathfinderSettings, scenes: int, seed: int
) -> tuple[Float64[np.ndarray, "n 7"], Int64[np.ndarray, "n"]]:
    """Disc places and labels; every scene counts four times, from either beginning to either end."""
    from ulmus.sequences.lra.pathfinder.images import draw_targets

    ends = np.stack([draw_targets(settings, seed, index) for index in range(scenes)])
    values, labels = [], []
    for first in (0, 1):
        for label in (0, 1):
            last = first if label else 1 - first
            values.append(places(ends[:, first, 0], ends[:, last, 1], settings.size))
            labels.append(np.full(scenes, label))
    return np.concatenate(values), np.concatenate(labels)


def compared(values: Float64[np.ndarray, "n 7"], labels: Int64[np.ndarray, "n"]) -> Balance:
    """Fit trees to places and labels, of which there must be as many of both."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(
        max_iter=_TREES,
        max_depth=_DEPTH,
        max_leaf_nodes=_INNER + 1,
        min_samples_leaf=_FEWEST_IN_LEAF,
        early_stopping=False,
        random_state=0,
    ).fit(values, labels)
    trees = [_packed(stage[0].nodes) for stage in model._predictors]  # there is no public way to its trees
    return Balance(*(np.stack(part) for part in zip(*trees, strict=True)))


def _packed(nodes: Any) -> Balance:
    """One tree of scikit-learn as a full one; where it ends early, everything goes left."""
    tree = Balance(
        np.zeros(_INNER, np.uint8), np.full(_INNER, np.inf, np.float16), np.zeros(_INNER + 1, np.float16)
    )
    waiting = [(0, 0)]
    while waiting:
        place, k = waiting.pop()
        node = nodes[k]
        if place >= _INNER:
            tree.value[place - _INNER] = node["value"]
        elif node["is_leaf"]:
            waiting.append((2 * place + 1, k))
        else:
            tree.feature[place], tree.threshold[place] = node["feature_idx"], node["num_threshold"]
            waiting += [(2 * place + 1, node["left"]), (2 * place + 2, node["right"])]
    return tree


def write_tables(tables: dict[PathfinderSettings, Balance], path: Path = TABLES) -> None:
    """Put measured ratios into the file that :func:`balance` reads, beside those already there."""
    known = dict(np.load(path)) if path.exists() else {}
    for settings, table in tables.items():
        known |= {f"{_key(settings)}.{name}": value for name, value in table._asdict().items()}
    write_file(path, lambda made: np.savez_compressed(made, **known))


def _key(settings: PathfinderSettings) -> str:
    return f"{settings.size}-{settings.contour_paddles}"
