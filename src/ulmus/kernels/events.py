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

    Example:
        >>> counts = np.array([[0, 2, 1]])  # of one sequence, in each of its three steps
        >>> events = ulmus.Events.counted(counts, np.array([4, 0, 4]), np.array([1.0, -1.0, 1.0]), channels=5)
        >>> events.dense()[0, 1]
        tensor([-1.,  0.,  0.,  0.,  1.])
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

    def windows(self, rows: Integer[Tensor, "windows steps_plus_one"]) -> "Events":
        """A batch of equally long windows, each given by the rows that it goes through and the one at which it ends.

        A row given twice in succession is a step of silence.
        """
        row_start = self.row_start.long()
        counts = row_start[rows[:, 1:]] - row_start[rows[:, :-1]]
        offsets = nn.functional.pad(counts.flatten().cumsum(0), (1, 0))
        in_window = counts.sum(dim=1)
        # From the place of an event in its window's part of the result to its place here.
        shift = row_start[rows[:, 0]] - (in_window.cumsum(0) - in_window)
        taken = torch.arange(int(offsets[-1]), device=rows.device) + shift.repeat_interleave(in_window)
        return Events(
            offsets.int(), self.inputs[taken], self.values[taken], len(rows), counts.shape[1], self.channels
        )

    def split(self, steps: int) -> list["Events"]:
        """Stretches of so many time steps; the last may be shorter."""
        sequence = torch.arange(self.batch, device=self.row_start.device).unsqueeze(1) * self.time
        time = torch.arange(self.time + 1, device=self.row_start.device)
        stretches = (time[first : first + steps + 1] for first in range(0, max(1, self.time), steps))
        return [self.windows(sequence + stretch) for stretch in stretches]

    def to(self, target: torch.device | torch.dtype) -> "Events":
        """The same events with ``values`` in another dtype, or everything on another device."""
        if isinstance(target, torch.dtype):
            return self._replace(values=self.values.to(target))
        row_start, inputs, values = (part.to(target) for part in self[:3])
        return self._replace(row_start=row_start, inputs=inputs, values=values)
