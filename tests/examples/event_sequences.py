"""Input for the models: spikes of either sign, dense and as events."""

import torch
from torch import Tensor

from ulmus import Events


def spikes(batch: int, time: int, channels: int, density: float = 0.3) -> Tensor:
    """Zeros, ones and minus ones."""
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(batch, time, channels, generator=draw)
    return torch.where(torch.rand(x.shape, generator=draw) < density, x.sign(), 0.0)


def events_of(dense: Tensor) -> Events:
    """The same as events, the first of which is said in two halves."""
    batch, time, channels = dense.shape
    places = dense.reshape(batch * time, channels).nonzero()
    places = torch.cat([places[:1], places])
    values = dense.reshape(batch * time, channels)[places[:, 0], places[:, 1]]
    values[:2] /= 2
    row_start = torch.searchsorted(places[:, 0].contiguous(), torch.arange(batch * time + 1)).int()
    return Events(row_start, places[:, 1].int(), values, batch, time, channels)
