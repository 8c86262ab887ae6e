"""What can be known at every pixel of a Pathfinder image by following its contours row by row."""

import numpy as np
from jaxtyping import UInt8

from ulmus.sequences.lra.pathfinder.contours import TARGETS, lay, paint
from ulmus.sequences.lra.pathfinder.images import Scene, render
from ulmus.sequences.lra.pathfinder.settings import PathfinderSettings
from ulmus.sequences.lra.pathfinder.strokes import strokes

HINTS = ("no disc", "one disc", "both discs")
"""Meaning of the hints 1, 2 and 3."""
_INK = 32  # gray level; fainter pixels are edges of a stroke and belong to nothing


def hints(settings: PathfinderSettings, scene: Scene) -> UInt8[np.ndarray, "size size"]:
    """How many discs a pixel is linked to by what lies before it, in reading order.

    0 where there is no ink, else 1, 2, 3 for no, one, both discs. A pixel is linked to a disc if they are of one contour, the
    middle of the disc lies before it, and so does some of every paddle between them; distractors have no discs. An image is
    connected if some pixel has 3; the other way round it may fail where both long contours lie on each other.
    """
    drawn = strokes(settings, scene.margin)
    targets, paddles = scene.contours[:TARGETS], scene.contours.shape[1]
    # Layers of ink: every paddle of the two long contours, then all distractors.
    layers = np.zeros((TARGETS * paddles + 1, settings.size, settings.size), np.uint8)
    for layer, paddle in zip(layers, targets.reshape(-1, 1, 1, 3), strict=False):
        paint(layer, drawn.line, paddle)
    paint(layers[-1], drawn.line, scene.contours[TARGETS:])
    begins = (layers[:-1] >= _INK).reshape(TARGETS, paddles, -1).argmax(axis=2)
    linked = np.full((2, len(layers)), settings.size**2)  # from where on a layer is linked to each disc
    ends = ((scene.first, 0), (scene.first if scene.label else 1 - scene.first, paddles - 1))
    for since, (contour, end), (row, column) in zip(linked, ends, scene.discs, strict=True):
        lay(layers[contour * paddles + end], drawn.disc, row, column)
        way = begins[contour] if end == 0 else begins[contour, ::-1]
        since_way = np.maximum(np.maximum.accumulate(way), row * settings.size + column)
        since[contour * paddles : (contour + 1) * paddles] = since_way if end == 0 else since_way[::-1]
    owner = layers.argmax(axis=0).reshape(-1)
    discs = (
        (np.arange(settings.size**2) >= linked[:, owner]).sum(axis=0).reshape(settings.size, settings.size)
    )
    return np.where(render(settings, scene) >= _INK, 1 + discs, 0).astype(np.uint8)
