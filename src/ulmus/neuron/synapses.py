"""Non-negative synaptic weights, routed from inputs to branches."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ulmus.neuron.routing import Routing


class Synapses(nn.Module):
    """Synaptic weights w_s >= 0 of every branch.

    Weights are stored raw and rectified where they are used, ``w_s = max(0, raw)``; the sign of an input (inhibition
    is -1) is kept that way (paper, section 2).
    """

    indices: Tensor
    connected: Tensor

    def __init__(self, inputs: int, routing: Routing, initial: float, learn: bool) -> None:
        super().__init__()
        self.inputs = inputs
        self.register_buffer("indices", routing.indices)
        self.register_buffer("connected", routing.connected)
        self.raw = nn.Parameter(torch.full(tuple(routing.indices.shape), initial), requires_grad=learn)
        self._note_routing()

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._note_routing()

    def _note_routing(self) -> None:
        """Whether every input is its own branch; asked again when another routing was loaded."""
        own = torch.arange(self.inputs, device=self.indices.device).unsqueeze(1)
        self._one_each = torch.equal(self.indices, own) and bool(self.connected.all())

    def weights(self) -> Float[Tensor, "branches synapses"]:
        """Rectified weight of every synapse; zero where a synapse has no input."""
        return torch.relu(self.raw) * self.connected

    def folded(self) -> Tensor:
        """Weights summed per branch and input, ``[branches, inputs]``; ``[inputs]`` when every input is its own branch."""
        weights = self.weights()
        if self._one_each:
            return weights.squeeze(1)
        empty = weights.new_zeros(weights.shape[0], self.inputs)
        return empty.scatter_add(1, self.indices, weights)
