"""From tokens to the input of a model: one event per step, or the gray level itself."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float32, Int, Int64, UInt8
from torch import Tensor

from ulmus.errors import ConfigError
from ulmus.kernels.events import Events

GRAY_LEVELS = 256


class Encoding(Protocol):
    """How tokens become input."""

    @property
    def channels(self) -> int:
        """Channels of the input."""

    def __call__(
        self, tokens: Int[Tensor, "sequences time"], length: Int64[Tensor, "sequences"]
    ) -> Events | Float32[Tensor, "sequences time channels"]:
        """Input of sequences of these lengths; nothing behind their ends."""


@dataclass(frozen=True)
class OneHot:
    """Every token has a channel of its own, on which a step of a sequence has one event of amplitude 1.

    Attributes:
        channels: how many tokens there are.
    """

    channels: int

    def __call__(self, tokens: Int[Tensor, "sequences time"], length: Int64[Tensor, "sequences"]) -> Events:
        """One event per step."""
        return _one_per_step(tokens.numpy().astype(np.int32), length.numpy(), self.channels)


@dataclass(frozen=True)
class GrayBins:
    """Gray levels in equal bins, each with a channel, as the paper feeds images (16 bins, 8 for Pathfinder-X).

    Attributes:
        bins: 2 to 256.
        silent_background: the darkest bin has no channel, so that nothing happens where an image is dark.

    Raises:
        ConfigError: another number of bins.
    """

    bins: int = 16
    silent_background: bool = False

    def __post_init__(self) -> None:
        if not 2 <= self.bins <= GRAY_LEVELS:
            raise ConfigError(f"bins={self.bins}: expected 2 to {GRAY_LEVELS}; correct bins")

    @property
    def channels(self) -> int:
        """One for every bin that is not silent."""
        return self.bins - self.silent_background

    @cached_property
    def _channel(self) -> Int[np.ndarray, "levels"]:
        bins = gray_bins(np.arange(GRAY_LEVELS, dtype=np.uint8), self.bins)
        return bins.astype(np.int32) - self.silent_background

    def __call__(self, tokens: UInt8[Tensor, "sequences time"], length: Int64[Tensor, "sequences"]) -> Events:
        """One event per step, or none where the background is silent."""
        return _one_per_step(self._channel[tokens.numpy()], length.numpy(), self.channels)


@dataclass(frozen=True)
class Intensity:
    """The gray level as a number from 0 to 1, on one dense channel."""

    channels: int = 1

    def __call__(
        self, tokens: UInt8[Tensor, "sequences time"], length: Int64[Tensor, "sequences"]
    ) -> Float32[Tensor, "sequences time 1"]:
        """Gray levels; tokens behind the end of a sequence are 0."""
        return (tokens.float() / (GRAY_LEVELS - 1))[:, :, None]


def gray_bins(pixels: UInt8[np.ndarray, "*shape"], bins: int) -> UInt8[np.ndarray, "*shape"]:
    """Gray levels in this many equal bins: ``floor(level * bins / 256)``."""
    return (pixels.astype(np.uint16) * bins // GRAY_LEVELS).astype(np.uint8)


def _one_per_step(
    channel: Int[np.ndarray, "sequences time"], length: Int64[np.ndarray, "sequences"], channels: int
) -> Events:
    """An event of amplitude 1 in every step that is not behind the end and whose channel is not below 0."""
    sequences, time = channel.shape
    present = channel >= 0
    if (length != time).any():
        present &= np.arange(time) < length[:, None]
    row_start = np.zeros(channel.size + 1, dtype=np.int32)
    np.cumsum(present, out=row_start[1:])
    inputs = channel[present]
    return Events(
        torch.from_numpy(row_start),
        torch.from_numpy(inputs),
        torch.ones(len(inputs)),
        sequences,
        time,
        channels,
    )
