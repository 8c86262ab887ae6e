# mypy: ignore-errors
# Numba gives these functions their types when it compiles them; Python's would be wrong.
"""How the contours of a Pathfinder image grow, paddle by paddle, without touching each other.

Two images say what is taken, from 0 (free) to 255: `occupied` holds the paddles widened by the margin, `barred` all that is
within another margin of those, where no paddle may end. A paddle joins them one step after it was drawn, so that it does
not bar its own contour's way. Both have rows and columns outside of the image, so that no access needs a check; they never
decide anything, since what reaches out there meets the border of the image first.
"""

import numpy as np
from numba import njit

_TAKEN = 77  # a first paddle may cover pixels up to 0.3 full
_TOUCH = 459  # a later one may be laid where it and the others add up to less than 1.8
_FULL = 255
_DRAWS = 3  # of an end or a place, before a contour is given up
_DISTRACTOR_TRIES = 5
_LEAST_FREE = 0.01  # share of the image below which no distractor is begun
_RANDOM_PLACES = 300
_RESTARTS = 1_000_000
TARGETS = 2


@njit(cache=True)
def _inside(size, y, x):
    return 0 <= y < size and 0 <= x < size


@njit(cache=True)
def _fits_image(size, strokes, degree, y, x):
    """Whether head and pivot of a first paddle are in the image."""
    return _inside(size, y + strokes.seed_head[degree, 0], x + strokes.seed_head[degree, 1]) and _inside(
        size, y + strokes.seed_pivot[degree, 0], x + strokes.seed_pivot[degree, 1]
    )


@njit(cache=True)
def _place(strokes, y, x):
    return (y + strokes.outside) * strokes.stride + x + strokes.outside


@njit(cache=True)
def _free(occupied, solid, first, stop, place):
    for k in range(first, stop):  # noqa: SIM110 - a generator would be slow here
        if occupied[place + solid[k]] >= _TAKEN:
            return False
    return True


@njit(cache=True)
def _free_place(occupied, strokes, size, degree, border, random):
    """A pixel drawn evenly from those where a first paddle has room inside a border; y is -1 if there is none."""
    first, stop = strokes.solid_begin[degree], strokes.solid_begin[degree + 1]
    top = max(0, border - strokes.solid_low[degree, 0])
    left = max(0, border - strokes.solid_low[degree, 1])
    bottom = min(size, size - border - strokes.solid_high[degree, 0])
    right = min(size, size - border - strokes.solid_high[degree, 1])
    if bottom <= top or right <= left:
        return -1, -1
    for _ in range(_RANDOM_PLACES):  # drawing and refusing is as even, and far faster, than listing them all
        y, x = random.integers(top, bottom), random.integers(left, right)
        if _free(occupied, strokes.solid, first, stop, _place(strokes, y, x)):
            return y, x
    places = np.empty(((bottom - top) * (right - left), 2), np.int64)
    count = 0
    for y in range(top, bottom):
        for x in range(left, right):
            if _free(occupied, strokes.solid, first, stop, _place(strokes, y, x)):
                places[count, 0], places[count, 1] = y, x
                count += 1
    if count == 0:
        return -1, -1
    chosen = random.integers(0, count)
    return places[chosen, 0], places[chosen, 1]


@njit(cache=True)
def _first_paddle(occupied, strokes, size, border, random):
    """Place and direction of a first paddle where there is room; y is -1 if there is none."""
    for _ in range(_DRAWS):
        degree = random.integers(0, 360)
        if not strokes.finds_room[degree]:
            break
        y, x = _free_place(occupied, strokes, size, degree, border, random)
        if y < 0:
            break
        if _fits_image(size, strokes, degree, y, x):
            return y, x, degree
    return -1, -1, -1


@njit(cache=True)
def _neighbour(strokes, size, y, x, distance, random):
    """Place and direction of the first paddle of the second contour, `distance` away from (y, x)."""
    for _ in range(_DRAWS):
        degree = random.integers(0, 360)
        angle = np.deg2rad(random.integers(0, 360))
        row = np.int64(np.rint(y + distance * np.sin(angle)))
        column = np.int64(np.rint(x + distance * np.cos(angle)))
        if _fits_image(size, strokes, degree, row, column):
            return row, column, degree
    return -1, -1, -1


@njit(cache=True)
def _touches(occupied, covered, value, first, stop, place):
    for k in range(first, stop):
        if value[k] < _TOUCH - _FULL:
            return False  # the fullest come first
        if np.int64(occupied[place + covered[k]]) + value[k] >= _TOUCH:
            return True
    return False


@njit(cache=True)
def _mark(image, offset, value, first, stop, place):
    for k in range(first, stop):
        image[place + offset[k]] = max(image[place + offset[k]], value[k])


@njit(cache=True)
def _occupy(occupied, barred, strokes, place, direction):
    first, stop = strokes.covered_begin[direction], strokes.covered_begin[direction + 1]
    _mark(occupied, strokes.covered, strokes.covered_value, first, stop, place)
    first, stop = strokes.barred_begin[direction], strokes.barred_begin[direction + 1]
    _mark(barred, strokes.barred, strokes.barred_value, first, stop, place)


@njit(cache=True)
def _next_paddle(occupied, barred, strokes, pivot, direction, chance, random):
    """Where a contour goes on: the number of the end drawn, -1 if there is none; `chance` is scratch."""
    begin, total = strokes.end_begin[direction], 0.0
    count = strokes.end_begin[direction + 1] - begin
    for k in range(count):
        total += strokes.end_weight[begin + k] * np.float64(_FULL - barred[pivot + strokes.end[begin + k]])
        chance[k] = total
    if total < 1e-4 * _FULL:
        return -1
    for _ in range(_DRAWS):
        drawn = random.random() * total
        k = 0
        while chance[k] <= drawn:
            k += 1
        k += begin
        to = strokes.end_direction[k]
        first, stop = strokes.covered_begin[to], strokes.covered_begin[to + 1]
        if not _touches(
            occupied, strokes.covered, strokes.covered_value, first, stop, pivot + strokes.end[k]
        ):
            return k
    return -1


@njit(cache=True)
def _grow(occupied, barred, strokes, snakes, contours, paddles, chance, random):
    """Grow contours in step from their first paddles; whether all reached their length.

    ``snakes[s, p]`` holds place and direction of paddle p of contour s; ``snakes[s, 0]`` is given.
    """
    pivot = np.empty(contours, np.int64)
    for s in range(contours):
        degree = snakes[s, 0, 1]
        pivot[s] = (
            snakes[s, 0, 0] + strokes.seed_pivot[degree, 0] * strokes.stride + strokes.seed_pivot[degree, 1]
        )
    for p in range(1, paddles):
        for s in range(contours):
            place, direction = snakes[s, p - 1, 0], snakes[s, p - 1, 1]
            pivot[s] += strokes.step[direction]
            k = _next_paddle(occupied, barred, strokes, pivot[s], direction, chance, random)
            if k < 0:
                return False
            _occupy(occupied, barred, strokes, place, direction)
            snakes[s, p, 0], snakes[s, p, 1] = pivot[s] + strokes.end[k], strokes.end_direction[k]
    # The end of the last contour alone, as in the original.
    _occupy(
        occupied, barred, strokes, snakes[contours - 1, paddles - 1, 0], snakes[contours - 1, paddles - 1, 1]
    )
    return True


@njit(cache=True)
def _clear(image, strokes, size, border):
    image[:] = _FULL
    for y in range(border, size - border):
        begin = _place(strokes, y, border)
        image[begin : begin + size - 2 * border] = 0


@njit(cache=True)
def _grow_targets(occupied, barred, strokes, snakes, size, paddles, padding, seed_distance, chance, random):
    for _ in range(_RESTARTS):
        _clear(occupied, strokes, size, padding)
        _clear(barred, strokes, size, padding + strokes.margin)
        y, x, degree = _first_paddle(occupied, strokes, size, 2 * seed_distance, random)
        if y < 0:
            continue
        snakes[0, 0, 0], snakes[0, 0, 1] = _place(strokes, y, x), degree
        y, x, degree = _neighbour(strokes, size, y, x, seed_distance, random)
        if y < 0:
            continue
        snakes[1, 0, 0], snakes[1, 0, 1] = _place(strokes, y, x), degree
        if _grow(occupied, barred, strokes, snakes, TARGETS, paddles, chance, random):
            return True
    return False


@njit(cache=True)
def _free_share(occupied, strokes, size):
    free = 0
    for y in range(size):
        begin = _place(strokes, y, 0)
        free += (occupied[begin : begin + size] < _TAKEN).sum()
    return free / (size * size)


@njit(cache=True)
def grow_contours(strokes, size, padding, seed_distance, paddles, distractors, distractor_paddles, random):
    """The contours of an image: (contour, paddle, (row, column, direction)), the two long ones first.

    Distractors that find no room are left out; paddles they do not have hold -1. No contours at all: the long ones did
    not fit in a million trials.
    """
    occupied = np.empty(strokes.stride * strokes.stride, np.uint8)
    barred, chance = np.empty_like(occupied), np.empty(strokes.end.shape[0])
    snakes = np.full((TARGETS + distractors, paddles, 2), -1, np.int64)
    count = 0
    if _grow_targets(
        occupied, barred, strokes, snakes, size, paddles, padding, seed_distance, chance, random
    ):
        count = TARGETS
        for _ in range(distractors):
            if _distractor(
                occupied, barred, strokes, snakes[count:], size, distractor_paddles, chance, random
            ):
                count += 1
            else:
                snakes[count:] = -1
    found = np.full((count, paddles, 3), -1, np.int64)
    for s in range(count):
        for p in range(paddles):
            if snakes[s, p, 1] >= 0:
                found[s, p, 0] = snakes[s, p, 0] // strokes.stride - strokes.outside
                found[s, p, 1] = snakes[s, p, 0] % strokes.stride - strokes.outside
                found[s, p, 2] = snakes[s, p, 1]
    return found


@njit(cache=True)
def _distractor(occupied, barred, strokes, snakes, size, paddles, chance, random):
    """Grow one short contour; whether it found room."""
    if _free_share(occupied, strokes, size) < _LEAST_FREE:
        return False
    occupied_before, barred_before = occupied.copy(), barred.copy()
    for _ in range(_DISTRACTOR_TRIES):
        y, x, degree = _first_paddle(occupied, strokes, size, 1, random)
        if y < 0:
            continue
        snakes[0, 0, 0], snakes[0, 0, 1] = _place(strokes, y, x), degree
        if _grow(occupied, barred, strokes, snakes, 1, paddles, chance, random):
            return True
        occupied[:], barred[:] = occupied_before, barred_before
    return False


@njit(cache=True)
def lay(image, mask, y, x):
    """Lay a small image over a large one, its middle at (y, x), the brighter of both."""
    size, half = image.shape[0], mask.shape[0] // 2
    for row in range(max(0, y - half), min(size, y + half + 1)):
        for column in range(max(0, x - half), min(size, x + half + 1)):
            image[row, column] = max(image[row, column], mask[row - y + half, column - x + half])


@njit(cache=True)
def paint(image, lines, snakes):
    """Lay all paddles of contours over an image."""
    for s in range(snakes.shape[0]):
        for p in range(snakes.shape[1]):
            if snakes[s, p, 2] >= 0:
                lay(image, lines[snakes[s, p, 2]], snakes[s, p, 0], snakes[s, p, 1])
