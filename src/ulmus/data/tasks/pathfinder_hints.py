"""What a teacher who knows the contours of a Pathfinder image says at every pixel."""

import numpy as np
from jaxtyping import UInt8

from ulmus.data.tasks.pathfinder_images import Scene, render
from ulmus.data.tasks.pathfinder_settings import PathfinderSettings
from ulmus.data.tasks.pathfinder_snakes import TARGETS, lay, paint
from ulmus.data.tasks.pathfinder_strokes import strokes

HINTS = ("no disc", "one disc", "both discs")
"""What a hint says, from 1 on."""
_INK = 32  # gray level; fainter pixels are edges of a stroke and belong to nothing


def hints(settings: PathfinderSettings, scene: Scene) -> UInt8[np.ndarray, "size size"]:
    """How many discs of the contour of a pixel lie before it, in reading order.

    0 where there is no ink, else 1, 2, 3 for no, one, both discs: a disc counts from its middle on, and distractors have none.
    An image is connected exactly if some pixel has 3. Whether the way from a disc to the pixel lies before it too is not
    asked: where a contour turns back, a reader has to guess.
    """
    drawn = strokes(settings, scene.margin)
    shape = (settings.size, settings.size)
    owned = np.zeros((TARGETS + 1, *shape), np.uint8)  # two contours with their discs, all distractors
    discs = np.zeros((TARGETS + 1, *shape), np.uint8)
    for own, contours in zip(
        owned, (scene.contours[:1], scene.contours[1:2], scene.contours[2:]), strict=True
    ):
        paint(own, drawn.line, contours)
    position = np.arange(settings.size**2).reshape(shape)
    owners = (scene.first, scene.first if scene.label else 1 - scene.first)
    for owner, (row, column) in zip(owners, scene.discs, strict=True):
        lay(owned[owner], drawn.disc, row, column)
        discs[owner] += position >= row * settings.size + column
    passed = np.take_along_axis(discs, owned.argmax(axis=0)[None], axis=0)[0]
    return np.where(render(settings, scene) >= _INK, 1 + passed, 0).astype(np.uint8)
