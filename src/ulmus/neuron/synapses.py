"""Synaptic weights, routed from inputs to branches."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ulmus.neuron.routing import Routing


class Synapses(nn.Module):
    """Synaptic weights w_s >= 0 of every branch.

    Weights are stored raw and rectified where they are used, ``w_s = max(0, raw)``; the sign of an input (inhibition
    is -1) is kept that way (paper, section 2). Without ``rectified`` they may have either sign. They have no values until
    `reset`.
    """

    indices: Tensor
    connected: Tensor

    def __init__(
        self,
        inputs: int,
        shape: tuple[int, int],
        initial: float,
        learn: bool,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
        rectified: bool = True,
    ) -> None:
        super().__init__()
        self.inputs, self.initial, self.rectified = inputs, initial, rectified
        self.register_buffer("indices", torch.empty(shape, dtype=torch.long, device=device))
        self.register_buffer("connected", torch.empty(shape, dtype=torch.bool, device=device))
        self.raw = nn.Parameter(torch.empty(shape, dtype=dtype, device=device), requires_grad=learn)
        self._one_each = False

    @torch.no_grad()
    def reset(self, routing: Routing) -> None:
        """Connect synapses anew, all with the initial weight."""
        self.indices.copy_(routing.indices)
        self.connected.copy_(routing.connected)
        self.raw.fill_(self.initial)
        self._note(*routing)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        if self.indices.is_meta:
            return
        if ((self.indices < 0) | (self.indices >= self.inputs)).any():
            args[-1].append(f"synapses lead from inputs beyond the {self.inputs} that there are")
        self._note(self.indices, self.connected)

    def _note(self, indices: Tensor, connected: Tensor) -> None:
        """Whether every input is its own branch."""
        own = torch.arange(self.inputs, device=indices.device).unsqueeze(1)
        self._one_each = torch.equal(indices, own) and bool(connected.all())

    def weights(self) -> Float[Tensor, "branches synapses"]:
        """Weight of every synapse; zero where a synapse has no input."""
        return (torch.relu(self.raw) if self.rectified else self.raw) * self.connected

    def forward(self) -> Tensor:
        """Weights summed per branch and input, ``[branches, inputs]``; ``[inputs]`` when every input is its own branch."""
        weights = self.weights()
        if self._one_each:
            return weights.squeeze(1)
        empty = weights.new_zeros(weights.shape[0], self.inputs)
        return empty.scatter_add(1, self.indices, weights)
