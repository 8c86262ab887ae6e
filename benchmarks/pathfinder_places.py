"""How much of Pathfinder the places of the two discs give away: trees that see nothing of any contour.

python benchmarks/pathfinder_places.py --size 32 --as-published
"""

from typing import Literal

import numpy as np
from common import start
from jaxtyping import Float64, Int64
from sklearn.ensemble import HistGradientBoostingClassifier

from ulmus.arguments import check_sizes
from ulmus.cli.console import say
from ulmus.sequences.lra.pathfinder.balance import disc_places
from ulmus.sequences.lra.pathfinder.images import draw_scene
from ulmus.sequences.lra.pathfinder.settings import PathfinderSettings, published_settings
from ulmus.sequences.making import check_seed


def places(
    settings: PathfinderSettings, scenes: int, seed: int
) -> tuple[Float64[np.ndarray, "scenes 7"], Int64[np.ndarray, "scenes"]]:
    """Of the discs, the one that is read first before the other, and the labels."""
    drawn = [draw_scene(settings, seed, index) for index in range(scenes)]
    first, second = np.array([sorted(scene.discs.tolist()) for scene in drawn]).swapaxes(0, 1)
    return disc_places(first, second, settings.size), np.array([scene.label for scene in drawn])


def pathfinder_places(
    *,
    size: Literal[32, 64, 128, 256] = 32,
    contour: Literal[6, 9, 14] = 14,
    as_published: bool = False,
    scenes: int = 40_000,
    test_scenes: int = 10_000,
    seed: int = 1000,
) -> None:
    """Fit boosted trees to disc places and labels, and score them on other scenes.

    Args:
        size: Width of the images.
        contour: Paddles in a contour.
        as_published: Scenes as the original program draws them, instead of Ulmus's own kind.
        scenes: To fit to.
        test_scenes: To score on.
        seed: Of the scenes to fit to; those to score on have the next one.
    """
    check_sizes(scenes=scenes, test_scenes=test_scenes)
    for used in (seed, seed + 1):
        check_seed(used)
    settings = published_settings(size, contour, as_published)
    trees = HistGradientBoostingClassifier(max_iter=300, learning_rate=0.05, random_state=0)
    trees.fit(*places(settings, scenes, seed))
    found = trees.score(*places(settings, test_scenes, seed + 1))
    error = np.sqrt(found * (1 - found) / test_scenes)
    kind = "as published" if as_published else "Ulmus's own kind"
    say(
        f"{size} x {size}, {contour} paddles, {kind}: {found:.1%} of {test_scenes:,}, standard error {error:.1%}"
    )


if __name__ == "__main__":
    start(pathfinder_places)
