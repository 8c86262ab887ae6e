"""Non-negative synaptic weights, routed from inputs to branches."""

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
        self._one_each = routing.indices.shape[1] == 1 and torch.equal(
            routing.indices.flatten(), torch.arange(inputs)
        )

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
