"""What a Pathfinder image is made with: the published settings by image size and contour length."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from ulmus.errors import ConfigError

_MOST, _THICKEST = 1024, 32  # pixels, paddles, and pixels of a paddle: beyond any image that is made
SUBSETS = {6: "curv_baseline", 9: "curv_contour_length_9", 14: "curv_contour_length_14"}
"""Folder of the images by the number of paddles in a contour: easy, intermediate, hard."""


@dataclass(frozen=True)
class PathfinderSettings:
    """How contours grow and are drawn; lengths in pixels.

    Attributes:
        size: width and height of the image.
        contour_paddles: paddles (dashes) in each of the two long contours.
        padding: border that contours keep out of.
        seed_distance: between the beginnings of the two contours; the first is twice as far from the border.
        marker_radius: radius of the discs.
        paddle_length: length of a paddle.
        paddle_thickness: its thickness.
        paddle_margins: space around a paddle, drawn from these for every image.
        continuity: how straight contours are.
        target_contrast: brightness of the long contours.
        distractor_contrast: brightness of the distractors.
        distractors: how many are tried.
        distractor_paddles: paddles in each.
        as_published: look for room as the original program does, see :func:`published_settings`.
    """

    size: int
    contour_paddles: int
    padding: int
    seed_distance: int
    marker_radius: float
    paddle_length: int
    paddle_thickness: float
    paddle_margins: tuple[int, ...]
    continuity: float
    target_contrast: float
    distractor_contrast: float
    distractors: int
    distractor_paddles: int
    as_published: bool = False

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            most = _THICKEST if name.startswith(("paddle_", "marker_")) else _MOST
            for number in value if isinstance(value, tuple) else (value,):
                if not 0 <= number <= most:
                    raise ConfigError(f"{name}={value!r}: expected numbers from 0 to {most}; correct {name}")

    @property
    def subset(self) -> str:
        """Folder of the images, as ``curv_contour_length_14``."""
        return SUBSETS[self.contour_paddles]

    def to_json(self) -> dict[str, Any]:
        """All values, for the record beside the images."""
        values = {**asdict(self), "paddle_margins": list(self.paddle_margins)}
        if not self.as_published:  # the record of sets that were begun before there was a choice
            del values["as_published"]
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """The settings in a record, which may hold more."""
        values = {"as_published": False, **values}
        own = {field.name: values[field.name] for field in fields(cls)}
        return cls(**{**own, "paddle_margins": tuple(own["paddle_margins"])})


# size: padding, seed distance, disc radius, paddle length, thickness, margins, continuity, contrast of the contours
# and of the distractors, paddles in all distractors. At 32 the two contrasts differ: the generator multiplies the
# contour's (2) with the paddle's (0.75) for the long contours alone.
_PUBLISHED = {
    32: (1, 7, 1.5, 2, 0.5, (1,), 1.0, 1.5, 2.0, 20),
    64: (1, 12, 2.5, 5, 1.0, (1,), 1.8, 0.8, 0.8, 22),
    128: (1, 20, 3.0, 5, 1.5, (2, 3), 1.8, 0.9, 0.9, 35),
    256: (22, 27, 5.0, 5, 2.0, (3,), 1.8, 1.0, 1.0, 30),
}
SIZES = tuple(_PUBLISHED)
_FIELDS = [field.name for field in fields(PathfinderSettings)]


def check_published(size: int, contour_paddles: int) -> None:
    """Refuse a size or difficulty that does not exist."""
    if size not in SIZES or contour_paddles not in SUBSETS:
        raise ConfigError(
            f"Pathfinder of size {size} with contours of {contour_paddles} paddles: expected size {list(SIZES)} "
            f"and length {list(SUBSETS)}; choose from these"
        )


def published_settings(
    size: int, contour_paddles: int = 14, as_published: bool = False
) -> PathfinderSettings:
    """The settings of Long Range Arena for a size and difficulty (14 paddles hard, 9 intermediate, 6 easy).

    Source: Long Range Arena (Tay et al. 2021) for values that differ from the defaults of the generator of
    Linsley et al. 2018 and Kim et al. 2020. Distractors have a third of a contour's paddles.

    The original program finds no room for a contour whose first paddle has one of many directions: 329 of 360 at a size of
    32, 265 at 64, few or none at 128 and 256. So its images of 32 hold 1.2 of 5 distractors, and contours begin in few
    directions. With `as_published` images are like that, and disc places are not balanced; otherwise there is room.

    Raises:
        ConfigError: a size or length that was not published.
    """
    check_published(size, contour_paddles)
    *drawing, distractor_paddles_in_all = _PUBLISHED[size]
    length = contour_paddles // 3
    values = (size, contour_paddles, *drawing, distractor_paddles_in_all // length, length)
    return PathfinderSettings(**dict(zip(_FIELDS, (*values, as_published), strict=True)))  # type: ignore[arg-type]
