"""The tensors that one neuron's recurrence needs, and the nonlinearities between them."""

from collections.abc import Callable
from typing import Any, NamedTuple, Self

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional
from torch.utils import _pytree as pytree  # where torch.export looks for classes of results


class ELMState(NamedTuple):
    """What an ELM neuron remembers between two calls.

    Example:
        >>> neuron = ulmus.ELM(3, 2, memory=10)
        >>> x = torch.randn(8, 100, 3)
        >>> first, state = neuron(x[:, :60])
        >>> second, state = neuron(x[:, 60:], state)  # goes on where the first call ended
        >>> state.memory.shape
        torch.Size([8, 10])
    """

    branches: Float[Tensor, "batch branches"]
    """Synaptic trace of every branch, b_t."""
    memory: Float[Tensor, "batch memory"]
    """Memory units, m_t."""

    def detach(self) -> Self:
        """The same state without its history, so that no gradient flows into earlier calls."""
        return self._replace(branches=self.branches.detach(), memory=self.memory.detach())

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """The same state on another device or in another type; arguments of `torch.Tensor.to`."""
        return self._replace(
            branches=self.branches.to(*args, **kwargs), memory=self.memory.to(*args, **kwargs)
        )


# So that torch.export.save can name the class that a loaded program takes and returns, and torch.load trusts it.
pytree._register_namedtuple(ELMState, serialized_type_name="ulmus.kernels.weights.ELMState")
torch.serialization.add_safe_globals([ELMState])


class Weights(NamedTuple):
    """Everything the recurrence multiplies with, ready to use (rectified, folded, decays computed).

    Paper symbols: ``synapses`` w_s, ``branch_decay`` kappa_s = exp(-dt / tau_s), ``memory_decay`` kappa_m,
    ``memory_gain`` lambda (1 - kappa_m) or 1 - kappa_lambda; the MLP w_p is ``projection`` (from branches),
    ``recurrent`` (from memory), ``first_bias`` and the ``later`` layers; ``readout`` is w_y.
    """

    synapses: Tensor
    """Folded over the routing: ``[branches, inputs]``; or ``[inputs]`` when each input is its own branch."""
    branch_decay: Float[Tensor, "branches"]
    projection: Float[Tensor, "first branches"]
    recurrent: Float[Tensor, "first memory"]
    first_bias: Float[Tensor, "first"]
    later: tuple[tuple[Tensor, Tensor], ...]
    """Weight and bias of every MLP layer after the first; empty when the MLP is one linear map."""
    memory_decay: Float[Tensor, "memory"]
    memory_gain: Float[Tensor, "memory"]
    readout: tuple[Tensor, Tensor] | None
    """Weight ``[outputs, memory]`` and bias ``[outputs]``; without it the memory itself is the output."""

    def to(self, dtype: torch.dtype) -> "Weights":
        """The same weights in another type."""
        converted: Weights = pytree.tree_map(lambda part: None if part is None else part.to(dtype), self)
        return converted


def squared_relu(values: Tensor) -> Tensor:
    """max(0, x) squared."""
    return torch.relu(values).square()


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "silu": functional.silu,
    "squared_relu": squared_relu,
}
"""Activations of the hidden layers, by the names that models and recipes give them."""

BOUND = 1.7159
SLOPE = 2.0 / 3.0


def bounded(values: Tensor) -> Tensor:
    """LeCun's scaled tanh, ``1.7159 tanh(2 x / 3)``: keeps memory proposals, and so the memory, bounded."""
    return BOUND * torch.tanh(SLOPE * values)
