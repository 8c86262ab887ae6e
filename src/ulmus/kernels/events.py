"""Sparse input: the events of a batch of sequences, without the dense array."""

from typing import NamedTuple, Self

import numpy as np
import torch
from jaxtyping import Bool, Float, Int32, Integer
from torch import Tensor, nn


class Events(NamedTuple):
    """Input events of a batch, as the rows of a sparse matrix ``[batch * time, channels]``.

    Row ``b * time + t`` holds the events of sequence ``b`` in step ``t``: the inputs
    ``inputs[row_start[row]:row_start[row + 1]]`` with the signed amplitudes ``values[...]``.
    An input may occur more than once in a row; its amplitudes then add up.
    """

    row_start: Int32[Tensor, "rows_plus_one"]
    inputs: Int32[Tensor, "events"]
    values: Float[Tensor, "events"]
    batch: int
    time: int
    channels: int

    @classmethod
    def counted(
        cls,
        counts: Integer[np.ndarray, "batch time"] | Bool[np.ndarray, "batch time"],
        inputs: Integer[np.ndarray, "events"],
        values: Float[np.ndarray, "events"],
        channels: int,
    ) -> Self:
        """Events one after the other, sequence by sequence and step by step, of which every step has so many."""
        row_start = np.zeros(counts.size + 1, dtype=np.int32)
        np.cumsum(counts, out=row_start[1:])
        batch, time = counts.shape
        parts = torch.from_numpy(inputs.astype(np.int32)), torch.from_numpy(values.astype(np.float32))
        return cls(torch.from_numpy(row_start), *parts, batch, time, channels)

    def dense(self) -> Float[Tensor, "batch time channels"]:
        """The same input as a dense array, zero where nothing happened."""
        counts = (self.row_start[1:] - self.row_start[:-1]).long()
        rows = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
        flat = self.values.new_zeros(self.batch * self.time, self.channels)
        flat.index_put_((rows, self.inputs.long()), self.values, accumulate=True)
        return flat.view(self.batch, self.time, self.channels)

    def split(self, steps: int) -> list["Events"]:
        """Stretches of so many time steps; the last may be shorter."""
        counts = (self.row_start[1:] - self.row_start[:-1]).view(self.batch, self.time)
        stretch = (torch.arange(self.time, device=counts.device) // steps).expand(self.batch, -1)
        order = stretch.flatten().repeat_interleave(counts.flatten()).argsort(stable=True)
        parts = torch.split(counts, steps, dim=1)
        sizes = [int(part.sum()) for part in parts]
        found = []
        sorted_parts = (torch.split(part[order], sizes) for part in (self.inputs, self.values))
        for part, inputs, values in zip(parts, *sorted_parts, strict=True):
            row_start = nn.functional.pad(part.flatten().cumsum(0), (1, 0)).to(torch.int32)
            found.append(Events(row_start, inputs, values, self.batch, part.shape[1], self.channels))
        return found

    def to(self, target: torch.device | torch.dtype) -> "Events":
        """The same events with ``values`` in another dtype, or everything on another device."""
        if isinstance(target, torch.dtype):
            return self._replace(values=self.values.to(target))
        row_start, inputs, values = (part.to(target) for part in self[:3])
        return self._replace(row_start=row_start, inputs=inputs, values=values)
