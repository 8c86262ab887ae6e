"""Every paddle and disc that a Pathfinder image can hold, drawn once: contours then grow by looking them up.

Contours begin at whole pixels in whole degrees and end at whole pixels around a whole pixel, so there are a few hundred
different paddles. Each is drawn twice as large and reduced with a Lanczos filter, as the original does for every paddle
of every image.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8

from ulmus.sequences.lra.pathfinder.settings import PathfinderSettings

ANTIALIAS = 2
DEGREES = 360
_FULL = 255
_GUARD = 1e-9


class Strokes(NamedTuple):
    """Paddles by direction: 360 for the first of a contour, the others for each place that the next may end at.

    A place is one number, counted row by row through an image with a margin around it that all paddles stay in. So an
    offset is one number too. Lists of all directions lie behind each other; those of direction d are at
    ``begin[d]`` to ``begin[d + 1]``.

    Attributes:
        line: how each paddle looks from its reference point (tail of a first one, head of the others); 255 is full.
        disc: the marker around its pixel.
        outside: rows and columns around the image.
        stride: from one row to the next.
        margin: space around a paddle.
        covered: offsets of the pixels of the paddle widened by the margin, which keep others away.
        covered_value: how much, up to 255; the fullest first in each direction.
        covered_begin: the list of each direction.
        barred: the same of all pixels within the margin of those: where no paddle may end.
        barred_value: how much.
        barred_begin: the list of each direction.
        solid: offsets that a first paddle needs free.
        solid_begin: the list of each direction.
        solid_low: the first row and column of those.
        solid_high: the last ones.
        finds_room: whether room is looked for in this direction of a first paddle.
        seed_head: rows and columns from the tail of a first paddle to its head.
        seed_pivot: from there to the pivot before it.
        step: offset from a pivot to the next one, along the last paddle's direction.
        end: offsets from a pivot to where the next paddle may end.
        end_direction: the direction it then has.
        end_weight: how likely that is if the place is free.
        end_begin: the list for each direction of the paddle before.
    """

    line: UInt8[np.ndarray, "directions side side"]
    disc: UInt8[np.ndarray, "disc_side disc_side"]
    outside: int
    stride: int
    margin: int
    covered: Int64[np.ndarray, "pixels"]
    covered_value: UInt8[np.ndarray, "pixels"]
    covered_begin: Int64[np.ndarray, "directions_plus_one"]
    barred: Int64[np.ndarray, "pixels"]
    barred_value: UInt8[np.ndarray, "pixels"]
    barred_begin: Int64[np.ndarray, "directions_plus_one"]
    solid: Int64[np.ndarray, "pixels"]
    solid_begin: Int64[np.ndarray, "degrees_plus_one"]
    solid_low: Int64[np.ndarray, "degrees 2"]
    solid_high: Int64[np.ndarray, "degrees 2"]
    finds_room: Bool[np.ndarray, "degrees"]
    seed_head: Int64[np.ndarray, "degrees 2"]
    seed_pivot: Int64[np.ndarray, "degrees 2"]
    step: Int64[np.ndarray, "directions"]
    end: Int64[np.ndarray, "ends"]
    end_direction: Int64[np.ndarray, "ends"]
    end_weight: Float64[np.ndarray, "ends"]
    end_begin: Int64[np.ndarray, "directions_plus_one"]


@lru_cache(maxsize=16)
def strokes(settings: PathfinderSettings, margin: int) -> Strokes:
    """All paddles for these settings and margin."""
    length = settings.paddle_length
    half = length + int(np.ceil(settings.paddle_thickness)) + margin
    outside = half + 2 * margin + 2
    stride = settings.size + 2 * outside
    by_row = np.array([stride, 1])
    degrees = np.deg2rad(np.arange(-DEGREES // 2, DEGREES // 2))
    ends = _circle(length + margin)
    end_directions = np.arctan2(ends[:, 0], ends[:, 1])
    directions = np.concatenate([degrees, end_directions])
    line, occupied = _drawn(np.concatenate([degrees, _opposite(end_directions)]), half, margin, settings)
    covered = [_lit(mask) for mask in occupied]
    around = np.pad(occupied, ((0, 0), (margin, margin), (margin, margin)))
    barred = [_lit(mask) for mask in _widened(around, margin)]
    solid = [_solid(pixels, length + margin) for pixels in covered[:DEGREES]]
    seed_head = _displacement(degrees, length)
    weight = _continuation(directions, end_directions, settings.continuity)
    possible = [np.flatnonzero(row) for row in weight]
    return Strokes(
        line=line,
        disc=_disc(settings.marker_radius),
        outside=outside,
        stride=stride,
        margin=margin,
        covered=np.concatenate(covered)[:, :2] @ by_row,
        covered_value=np.concatenate(covered)[:, 2].astype(np.uint8),
        covered_begin=_begins(covered),
        barred=np.concatenate(barred)[:, :2] @ by_row,
        barred_value=np.concatenate(barred)[:, 2].astype(np.uint8),
        barred_begin=_begins(barred),
        solid=np.concatenate(solid) @ by_row,
        solid_begin=_begins(solid),
        solid_low=np.stack([pixels.min(axis=0) for pixels in solid]),
        solid_high=np.stack([pixels.max(axis=0) for pixels in solid]),
        finds_room=np.array([not settings.as_published or _reaches_all_corners(pixels) for pixels in solid]),
        seed_head=seed_head,
        seed_pivot=seed_head + _displacement(_opposite(degrees), length + margin),
        step=_displacement(directions, length + 2 * margin) @ by_row,
        end=np.concatenate([ends[k] for k in possible]) @ by_row,
        end_direction=DEGREES + np.concatenate(possible),
        end_weight=np.concatenate([row[k] for row, k in zip(weight, possible, strict=True)]),
        end_begin=_begins(possible),
    )


def _opposite(directions: Float64[np.ndarray, "n"]) -> Float64[np.ndarray, "n"]:
    return np.where(directions < 0, directions + np.pi, directions - np.pi)


def _continuation(
    before: Float64[np.ndarray, "directions"], after: Float64[np.ndarray, "ends"], continuity: float
) -> Float64[np.ndarray, "directions ends"]:
    """cos^2 of the turn times the continuity, 0 from 90 degrees on."""
    turn = np.abs(after - before[:, None])
    turn = np.minimum(turn, 2 * np.pi - turn) * continuity
    return np.where(turn < np.pi / 2, np.cos(turn) ** 2, 0.0)


def _drawn(
    directions: Float64[np.ndarray, "directions"], half: int, margin: int, settings: PathfinderSettings
) -> tuple[UInt8[np.ndarray, "directions side side"], UInt8[np.ndarray, "directions side side"]]:
    """Paddles and what they occupy."""
    fine = np.stack([_fine_line(direction, half, settings) for direction in directions])
    wide = _widened(fine, margin * ANTIALIAS)
    line, occupied = (np.stack([_reduced(image, 2 * half + 1) for image in each]) for each in (fine, wide))
    return line, occupied


def _displacement(
    directions: Float64[np.ndarray, "n"], distance: float, start: int = 0, guard: float = _GUARD
) -> Int64[np.ndarray, "n 2"]:
    """(y, x) from a start, rounded up; the guard keeps exact multiples from being lifted by the error of sin and cos."""
    exact = start + distance * np.stack([np.sin(directions), np.cos(directions)], axis=1)
    return np.ceil(exact - guard).astype(np.int64) - start


def _circle(radius: int) -> Int64[np.ndarray, "ends 2"]:
    """The pixels on a circle around a pixel, rounded down, once each."""
    angles = np.arange(0, 2 * np.pi, 1 / radius)  # one pixel of arc apart
    exact = radius * np.stack([np.sin(angles), np.cos(angles)], axis=1)
    return np.unique(np.floor(exact + 1e-9).astype(np.int64), axis=0)


def _fine_line(direction: float, half: int, settings: PathfinderSettings) -> UInt8[np.ndarray, "fine fine"]:
    """A paddle from the middle of an image `ANTIALIAS` times as large."""
    from PIL import Image, ImageDraw

    middle = half * ANTIALIAS
    # The original adds before it rounds up, without a guard: at 120 degrees, half a paddle is rounded to a pixel more.
    guard = 0.0 if settings.as_published else _GUARD
    offset = _displacement(np.array([direction]), settings.paddle_length * ANTIALIAS, middle, guard)[0]
    image = Image.new("L", (2 * middle + 1, 2 * middle + 1))
    head = (middle + int(offset[1]), middle + int(offset[0]))
    width = round(settings.paddle_thickness * ANTIALIAS)
    ImageDraw.Draw(image).line([(middle, middle), head], fill=_FULL, width=width)
    return np.asarray(image)


def _widened(images: UInt8[np.ndarray, "n side side"], radius: int) -> UInt8[np.ndarray, "n side side"]:
    """Every lit pixel spread to a disc."""
    from scipy.ndimage import maximum_filter

    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return np.asarray(maximum_filter(images, footprint=[y**2 + x**2 <= radius**2], mode="constant"))


def _reduced(image: UInt8[np.ndarray, "fine fine"], side: int) -> UInt8[np.ndarray, "side side"]:
    from PIL import Image

    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.LANCZOS))


def _lit(mask: UInt8[np.ndarray, "side side"]) -> Int64[np.ndarray, "pixels 3"]:
    """The pixels that are not empty, from the middle, and their values, the fullest first."""
    pixels = np.argwhere(mask)
    values = mask[tuple(pixels.T)].astype(np.int64)
    order = np.argsort(-values, kind="stable")
    return np.concatenate([pixels - len(mask) // 2, values[:, None]], axis=1)[order]


def _solid(covered: Int64[np.ndarray, "pixels 3"], reach: int) -> Int64[np.ndarray, "solid 2"]:
    """The full pixels of a first paddle, one pixel down and right of its place: there the original looks for room."""
    pixels = covered[covered[:, 2] == _FULL, :2] + 1
    return np.asarray(pixels[(np.abs(pixels) <= reach).all(axis=1)])


def _reaches_all_corners(solid: Int64[np.ndarray, "solid 2"]) -> bool:
    """Whether a paddle placed at any pixel of an image covers some pixel of it.

    The original dilates the image by the paddle to find room. At a pixel from which the whole paddle lies outside,
    OpenCV's dilation is the least number that there is, which the original takes as an error: no room in this direction,
    anywhere. The corners are where that happens.
    """
    return all(((solid * corner) >= 0).all(axis=1).any() for corner in ((1, 1), (1, -1), (-1, 1), (-1, -1)))


def _begins(parts: list[Int64[np.ndarray, "n k"]]) -> Int64[np.ndarray, "parts_plus_one"]:
    return np.cumsum([0, *(len(part) for part in parts)])


def _disc(radius: float) -> UInt8[np.ndarray, "side side"]:
    half = int(np.ceil(radius)) + 4  # the filter reaches three pixels
    y, x = np.mgrid[: (2 * half + 1) * ANTIALIAS, : (2 * half + 1) * ANTIALIAS] - half * ANTIALIAS
    fine = np.where(y**2 + x**2 <= (radius * ANTIALIAS) ** 2, _FULL, 0).astype(np.uint8)
    return _reduced(fine, 2 * half + 1)
