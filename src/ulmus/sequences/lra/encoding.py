"""From tokens to the input of a model: one event per step, the gray level itself, or only what is lit."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int, Int64, UInt8
from torch import Tensor

from ulmus.errors import ConfigError, ShapeError
from ulmus.kernels.events import Events

GRAY_LEVELS = 256
Gray = Literal["bins", "silent-background", "intensity", "lit"]
"""How images become input."""
PLACES = 32
"""Channels for the columns of an image, and for its rows."""


class Encoded(NamedTuple):
    """Input of sequences side by side.

    Attributes:
        inputs: nothing happens behind the end of a sequence.
        read: which tokens became a step; None if all did.
    """

    inputs: Events | Float32[Tensor, "sequences time channels"]
    read: Bool[Tensor, "sequences tokens"] | None = None


class Encoding(Protocol):
    """How tokens become input."""

    @property
    def channels(self) -> int:
        """Channels of the input."""

    def __call__(self, tokens: Int[Tensor, "sequences time"], length: Int64[Tensor, "sequences"]) -> Encoded:
        """Input of sequences of these lengths."""


@dataclass(frozen=True)
class OneHot:
    """Every token has a channel of its own, on which a step of a sequence has one event of amplitude 1."""

    channels: int

    def __call__(self, tokens: Int[Tensor, "sequences time"], length: Int64[Tensor, "sequences"]) -> Encoded:
        """One event per step."""
        return Encoded(_one_per_step(tokens.numpy().astype(np.int32), length.numpy(), self.channels))


@dataclass(frozen=True)
class GrayBins:
    """Gray levels in equal bins, each with a channel, as the paper feeds images (16 bins, 8 for Pathfinder-X).

    Attributes:
        bins: 2 to 256.
        silent_background: the darkest bin has no channel, so that nothing happens where an image is dark.
    """

    bins: int = 16
    silent_background: bool = False

    def __post_init__(self) -> None:
        _check_bins(self.bins)

    @property
    def channels(self) -> int:
        """One for every bin that is not silent."""
        return self.bins - self.silent_background

    @cached_property
    def _channel(self) -> Int[np.ndarray, "levels"]:
        bins = gray_bins(np.arange(GRAY_LEVELS, dtype=np.uint8), self.bins)
        return bins.astype(np.int32) - self.silent_background

    def __call__(
        self, tokens: UInt8[Tensor, "sequences time"], length: Int64[Tensor, "sequences"]
    ) -> Encoded:
        """One event per step, or none where the background is silent."""
        return Encoded(_one_per_step(self._channel[tokens.numpy()], length.numpy(), self.channels))


@dataclass(frozen=True)
class Intensity:
    """The gray level as a number from 0 to 1, on one dense channel."""

    channels: int = 1

    def __call__(
        self, tokens: UInt8[Tensor, "sequences time"], length: Int64[Tensor, "sequences"]
    ) -> Encoded:
        """Gray levels; tokens behind the end of a sequence are 0."""
        return Encoded((tokens.float() / (GRAY_LEVELS - 1))[:, :, None])


@dataclass(frozen=True)
class LitPixels:
    """Only the pixels that are not in the darkest bin, one a step, each with its gray bin and its place.

    Most of an image of Pathfinder is dark, so that its sequence becomes five to twenty times shorter. The place, which the
    number of the step gave before, is given by channels: 32 for columns and 32 for rows, as many in an image of any size.
    Between the middles of two of them both are active, in proportion; beyond the outermost middles one.

    Attributes:
        width: of the images, which are square; 32 or more.
        bins: gray bins, 2 to 256.
    """

    width: int
    bins: int = 8

    def __post_init__(self) -> None:
        _check_bins(self.bins)
        if self.width < PLACES:
            raise ConfigError(
                f"width={self.width}: expected images of {PLACES} x {PLACES} or larger; choose another gray"
            )

    @property
    def channels(self) -> int:
        """Gray bins but the darkest, columns, rows."""
        return self.bins - 1 + 2 * PLACES

    @cached_property
    def _places(self) -> tuple[Int64[np.ndarray, "width 2"], Float32[np.ndarray, "width 2"]]:
        """Channels of every column, and the share of each."""
        middle = np.clip((np.arange(self.width) + 0.5) * PLACES / self.width - 0.5, 0, PLACES - 1)
        below = np.minimum(middle.astype(np.int64), PLACES - 2)
        above = (middle - below).astype(np.float32)
        return np.stack([below, below + 1], axis=1), np.stack([1 - above, above], axis=1)

    def __call__(
        self, tokens: UInt8[Tensor, "sequences time"], length: Int64[Tensor, "sequences"]
    ) -> Encoded:
        """Up to five events for every pixel with light, or the place of the first pixel of an image without."""
        if tokens.shape[1] != self.width**2:
            raise ShapeError(
                f"sequences have {tokens.shape[1]} tokens; expected the {self.width**2} pixels of an image of "
                f"{self.width} x {self.width}; give the width of these images"
            )
        lit = tokens.numpy() >= -(-GRAY_LEVELS // self.bins)
        lit[:, 0] |= ~lit.any(axis=1)
        counts = lit.sum(axis=1)
        row, column = np.divmod(np.nonzero(lit)[1], self.width)
        # The darkest bin has no channel: only the placeholder of an image without light is in it.
        gray = gray_bins(tokens.numpy()[lit], self.bins).astype(np.int64) - 1
        places, shares = self._places
        channel = np.column_stack(
            [gray, self.bins - 1 + places[column], self.bins - 1 + PLACES + places[row]]
        )
        value = np.column_stack([gray >= 0, shares[column], shares[row]]).astype(np.float32)
        told = value > 0
        events = np.zeros((len(lit), counts.max()), dtype=np.int32)
        events[np.arange(counts.max()) < counts[:, None]] = told.sum(axis=1)
        inputs = Events.counted(events, channel[told], value[told], self.channels)
        return Encoded(inputs, torch.from_numpy(lit))


def gray_encoding(gray: Gray, bins: int | None, width: int) -> Encoding:
    """The encoding of this name for images of this width, with the usual number of bins if none is given."""
    if gray == "intensity":
        return Intensity()
    if bins is None:
        bins = 8 if gray == "lit" or width == 128 else 16  # as in the paper
    return LitPixels(width, bins) if gray == "lit" else GrayBins(bins, gray == "silent-background")


def _check_bins(bins: int) -> None:
    if not 2 <= bins <= GRAY_LEVELS:
        raise ConfigError(f"bins={bins}: expected 2 to {GRAY_LEVELS}; correct bins")


def gray_bins(pixels: UInt8[np.ndarray, "*shape"], bins: int) -> UInt8[np.ndarray, "*shape"]:
    """Gray levels in this many equal bins: ``floor(level * bins / 256)``."""
    return (pixels.astype(np.uint16) * bins // GRAY_LEVELS).astype(np.uint8)


def _one_per_step(
    channel: Int[np.ndarray, "sequences time"], length: Int64[np.ndarray, "sequences"], channels: int
) -> Events:
    """An event of amplitude 1 in every step that is not behind the end and whose channel is not below 0."""
    time = channel.shape[1]
    present = channel >= 0
    if (length != time).any():
        present &= np.arange(time) < length[:, None]
    inputs = channel[present]
    return Events.counted(present, inputs, np.ones(len(inputs)), channels)
