"""One Pathfinder image from a seed and its number: two long dashed contours, short ones, and two discs.

Source: Linsley et al. 2018 (NeurIPS, "Learning long-range spatial dependencies with horizontal gated recurrent units");
Kim et al. 2020 (ICLR); settings of Tay et al. 2021 (ICLR, "Long Range Arena").
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from ulmus.errors import ConfigError
from ulmus.sequences.lra.pathfinder.balance import balance, disc_places
from ulmus.sequences.lra.pathfinder.contours import TARGETS, grow_contours, lay, paint
from ulmus.sequences.lra.pathfinder.settings import PathfinderSettings
from ulmus.sequences.lra.pathfinder.strokes import strokes
from ulmus.sequences.making import interrupts_wait


class Scene(NamedTuple):
    """What an image shows.

    Attributes:
        label: 1 if both discs are on one contour.
        first: which of the two long contours begins with a disc; the other disc ends this one or the other one.
        margin: space around paddles.
        contours: row, column and direction of every paddle, the two long contours first; -1 where a distractor has
            none.
    """

    label: int
    first: int
    margin: int
    contours: Int64[np.ndarray, "contours paddles 3"]

    @property
    def discs(self) -> Int64[np.ndarray, "2 2"]:
        """Row and column of both discs."""
        second = self.first if self.label else 1 - self.first
        return np.stack([self.contours[self.first, 0, :2], self.contours[second, -1, :2]])


def draw_scene(settings: PathfinderSettings, seed: int, index: int, balanced: bool = True) -> Scene:
    """Scene number `index`, which depends on the arguments alone.

    If `balanced`, scenes are left out so that the places of the discs are the same for both labels; never as published.
    """
    random = np.random.Generator(np.random.Philox(key=np.array([seed, index], dtype=np.uint64)))
    while True:
        label = int(random.integers(2))
        margin, contours = draw_contours(settings, random, settings.distractors)
        scene = Scene(label, int(random.integers(2)), margin, contours)
        if settings.as_published or not balanced:
            return scene
        first, second = scene.discs[:, None]
        kept = balance(settings).kept(np.array([label]), disc_places(first, second, settings.size))
        if random.random() < kept[0]:
            return scene


def draw_contours(
    settings: PathfinderSettings, random: np.random.Generator, distractors: int
) -> tuple[int, Int64[np.ndarray, "contours paddles 3"]]:
    """Space around the paddles and the contours of an image, with at most so many distractors."""
    margin = settings.paddle_margins[int(random.integers(len(settings.paddle_margins)))]
    drawn = strokes(settings, margin)
    with interrupts_wait():
        contours = grow_contours(
            drawn,
            settings.size,
            settings.padding,
            settings.seed_distance,
            settings.contour_paddles,
            distractors,
            settings.distractor_paddles,
            random,
        )
    if not len(contours):
        raise ConfigError(
            f"{settings}: two contours did not fit in a million trials; expected settings that leave room; enlarge the "
            "image or shorten the contours"
        )
    return margin, contours


def render(settings: PathfinderSettings, scene: Scene) -> UInt8[np.ndarray, "size size"]:
    """The image of a scene, from 0 to 255."""
    drawn = strokes(settings, scene.margin)
    targets, distractors, discs = (np.zeros((settings.size, settings.size), np.uint8) for _ in range(3))
    paint(targets, drawn.line, scene.contours[:TARGETS])
    paint(distractors, drawn.line, scene.contours[TARGETS:])
    for y, x in scene.discs:
        lay(discs, drawn.disc, y, x)
    # The brightest of all layers, darkest to brightest stretched to 0 to 255, as the original wrote it.
    image: Float32[np.ndarray, "size size"] = np.maximum(
        np.maximum(targets * np.float32(settings.target_contrast), discs),
        distractors * np.float32(settings.distractor_contrast),
    )
    low, high = image.min(), image.max()
    stretched = (image - low) * (np.float32(255) / (high - low))
    return np.asarray(stretched + np.float32(0.5), dtype=np.uint8)
