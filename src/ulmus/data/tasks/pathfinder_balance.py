"""Which scenes to leave out so that the places of the discs say nothing about the label.

As published, two ends of one contour are typically another distance apart than ends of two contours, and easy images can
be classified by that alone. A scene is kept with probability min(1, q / p), where p is how frequent its disc places are
with its label and q how frequent they are with the other label: what is left has the same disc places for both. The ratio
was measured beforehand with :func:`measure`: in cells of the distance between the discs and of the distance of either
from the middle of the image, and by a quadratic function of the four coordinates on top, since contours drift up and to
the left (the places where they may go on are rounded down).
"""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64, Integer

from ulmus.data.tasks.pathfinder_settings import PathfinderSettings
from ulmus.errors import ConfigError

TABLES = Path(__file__).with_name("pathfinder_balance.npz")
_CELLS = {6: (48, 2, 3), 9: (24, 3, 4), 14: (12, 4, 6)}  # short contours are straighter: fine in the distance
_SMOOTHING = 5  # added to every count
_TERMS = 16


class Balance(NamedTuple):
    """How much more frequent disc places are with label 1 than with label 0.

    Attributes:
        edges: inner borders of the cells in distance between the discs, and of the first and second from the middle,
            one row each, in image widths; unused ones are infinite.
        log_odds: logarithm of the ratio, by cell.
        correction: factors of 1, of the cell's log-odds, of the four coordinates and of their ten products, whose sum
            is the logarithm of the ratio.
    """

    edges: Float64[np.ndarray, "3 most"]
    log_odds: Float64[np.ndarray, "distance first second"]
    correction: Float64[np.ndarray, "16"]

    def terms(self, places: Float64[np.ndarray, "n 7"]) -> Float64[np.ndarray, "n 16"]:
        """What `correction` is multiplied with."""
        axes = zip(self.edges, places.T[:3], strict=True)
        cell = tuple(np.searchsorted(edges, column) for edges, column in axes)
        coordinates = places[:, 3:]
        one, other = np.triu_indices(coordinates.shape[1])
        products = coordinates[:, one] * coordinates[:, other]
        return np.column_stack([np.ones(len(places)), self.log_odds[cell], coordinates, products])

    def kept(
        self, label: Integer[np.ndarray, "n"], places: Float64[np.ndarray, "n 7"]
    ) -> Float64[np.ndarray, "n"]:
        """Probability that a scene with these places (see :func:`places`) is kept."""
        own = np.where(label == 1, 1, -1) * (self.terms(places) @ self.correction)
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
        return Balance(*(tables[name].astype(np.float64) for name in names))


def measure(settings: PathfinderSettings, scenes: int, seed: int) -> Balance:
    """Grow this many scenes and compare the disc places of the two labels."""
    values, labels = both_labels(settings, scenes, seed)
    return corrected(compared(values, labels, _CELLS[settings.contour_paddles]), values, labels)


def both_labels(
    settings: PathfinderSettings, scenes: int, seed: int
) -> tuple[Float64[np.ndarray, "n 7"], Int64[np.ndarray, "n"]]:
    """Disc places and labels; every scene counts four times, from either beginning to either end."""
    from ulmus.data.tasks.pathfinder_images import draw_targets

    ends = np.stack([draw_targets(settings, seed, index) for index in range(scenes)])
    values, labels = [], []
    for first in (0, 1):
        for label in (0, 1):
            last = first if label else 1 - first
            values.append(places(ends[:, first, 0], ends[:, last, 1], settings.size))
            labels.append(np.full(scenes, label))
    return np.concatenate(values), np.concatenate(labels)


def compared(
    values: Float64[np.ndarray, "n 7"], labels: Int64[np.ndarray, "n"], cells: tuple[int, ...]
) -> Balance:
    """Cut the three distances into parts of equal frequency, and compare the labels in each cell."""
    edges = np.full((3, max(cells) - 1), np.inf)
    for row, column, parts in zip(edges, values.T[:3], cells, strict=True):
        row[: parts - 1] = np.quantile(column, np.arange(1, parts) / parts)
    # As they will be read again, so that a value on an edge falls on the same side.
    edges = edges.astype(np.float32).astype(np.float64)
    inside = [np.searchsorted(row, column) for row, column in zip(edges, values.T[:3], strict=True)]
    cell = np.ravel_multi_index(inside, cells)
    counts = np.stack([np.bincount(cell[labels == label], minlength=np.prod(cells)) for label in (0, 1)])
    odds = np.log((counts[1] + _SMOOTHING) / (counts[0] + _SMOOTHING))
    return Balance(edges, odds.reshape(cells), np.eye(_TERMS)[1])


def corrected(table: Balance, values: Float64[np.ndarray, "n 7"], labels: Int64[np.ndarray, "n"]) -> Balance:
    """The table with a correction fitted to all places and their mirror images along the diagonal."""
    from sklearn.linear_model import LogisticRegression

    mirrored = values[:, [0, 1, 2, 4, 3, 6, 5]]
    terms = table.terms(np.concatenate([values, mirrored]))
    model = LogisticRegression(C=np.inf, fit_intercept=False, max_iter=1000)
    return table._replace(correction=model.fit(terms, np.concatenate([labels, labels])).coef_[0])


def write_tables(tables: dict[PathfinderSettings, Balance], path: Path = TABLES) -> None:
    """Put measured ratios into the file that :func:`balance` reads, beside those already there."""
    known = dict(np.load(path)) if path.exists() else {}
    for settings, table in tables.items():
        values = table._asdict().items()
        known |= {f"{_key(settings)}.{name}": value.astype(np.float32) for name, value in values}
    beside = path.with_name(f".{path.name}.partial.npz")
    np.savez_compressed(beside, **known)
    beside.replace(path)


def _key(settings: PathfinderSettings) -> str:
    return f"{settings.size}-{settings.contour_paddles}"
