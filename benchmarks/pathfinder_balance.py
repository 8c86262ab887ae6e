"""Measure how much more often disc places of Pathfinder come with label 1 than with label 0, and write the tables that
`ulmus data make pathfinder` leaves scenes out by.

python benchmarks/pathfinder_balance.py --size 32 --contour 14 --scenes 60000 --seed 0
"""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from common import start
from jaxtyping import Float64, Int64
from sklearn.ensemble import HistGradientBoostingClassifier

from ulmus.cli.console import say
from ulmus.files.writing import write_file
from ulmus.sequences.lra.pathfinder.balance import TABLES, Balance, disc_places, table_name
from ulmus.sequences.lra.pathfinder.images import draw_contours
from ulmus.sequences.lra.pathfinder.settings import PathfinderSettings, published_settings

_TREES = 300
_DEPTH = 5
_INNER = 2**_DEPTH - 1
_FEWEST_IN_LEAF = 100


def both_labels(
    settings: PathfinderSettings, scenes: int, seed: int
) -> tuple[Float64[np.ndarray, "n 7"], Int64[np.ndarray, "n"]]:
    """Disc places and labels; every scene counts four times, from either beginning to either end."""
    ends = np.stack([_ends(settings, seed, index) for index in range(scenes)])
    values, labels = [], []
    for first in (0, 1):
        for label in (0, 1):
            last = first if label else 1 - first
            values.append(disc_places(ends[:, first, 0], ends[:, last, 1], settings.size))
            labels.append(np.full(scenes, label))
    return np.concatenate(values), np.concatenate(labels)


def _ends(settings: PathfinderSettings, seed: int, index: int) -> Int64[np.ndarray, "contours ends 2"]:
    """Where the two long contours of a scene begin and end."""
    random = np.random.Generator(np.random.Philox(key=np.array([seed, index], dtype=np.uint64)))
    return draw_contours(settings, random, 0)[1][:, [0, -1], :2]


def compare(values: Float64[np.ndarray, "n 7"], labels: Int64[np.ndarray, "n"]) -> Balance:
    """Fit trees to places and labels, of which there must be as many of both."""
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


def write_table(settings: PathfinderSettings, table: Balance, path: Path) -> None:
    """Put a measured table into the file, beside those already there."""
    known = dict(np.load(path)) if path.exists() else {}
    known |= {f"{table_name(settings)}.{name}": value for name, value in table._asdict().items()}
    write_file(path, lambda made: np.savez_compressed(made, **known))


def pathfinder_balance(
    *,
    size: Literal[32, 64, 128, 256] = 32,
    contour: Literal[6, 9, 14] = 14,
    scenes: int = 60_000,
    seed: int = 2**63,
    out: Path = TABLES,
) -> None:
    """Grow scenes, compare the disc places of both labels, and write the table; images of a seed change with it.

    Args:
        size: Width of the images.
        contour: Paddles in a contour.
        scenes: How many to grow: 60,000 of 32 x 32 take some minutes.
        seed: Of the scenes; those from 2**63 on are never used for images.
        out: File of the tables; the one that ships by default.
    """
    settings = published_settings(size, contour)
    write_table(settings, compare(*both_labels(settings, scenes, seed)), out)
    say(f"{out}: table {table_name(settings)}, of {scenes} scenes of seed {seed}")


if __name__ == "__main__":
    start(pathfinder_balance)
