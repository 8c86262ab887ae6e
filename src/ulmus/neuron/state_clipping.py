"""Gradients that do not explode on their way back through a long sequence."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils import _pytree as pytree  # as torch.func takes states apart

from ulmus.errors import ConfigError
from ulmus.kernels import Events
from ulmus.neuron.sequence_model import SequenceModel

STEPS = 50
"""Steps between two states whose gradients are shortened: few enough that a gradient cannot grow by much, and enough that
calling the model so often costs little."""


def outputs_with_clipped_states(
    model: SequenceModel, inputs: Float[Tensor, "sequences time channels"] | Events, norm: float
) -> Float[Tensor, "sequences time outputs"]:
    """Outputs of a model for whole sequences from rest, whose gradients are shortened where they pass every 50th state.

    The outputs are those of ``model(inputs)``. On the way back, with g the gradient of the loss with respect to the state of
    one sequence (of all layers together)::

        g <- g min(1, norm / (sequences |g|))

    and zero where g is not finite. A loss that is the mean over the sequences has 1 / sequences of each, hence the factor.
    After Graves, "Generating sequences with recurrent neural networks", 2013, section 2.1, who clips every derivative.

    Raises:
        ConfigError: a model without a state.
    """
    state: Any = None
    found = []
    for part in inputs.split(STEPS) if isinstance(inputs, Events) else torch.split(inputs, STEPS, dim=1):
        outputs, state = model(part, state)
        if state is None:
            raise ConfigError(
                f"gradients of states cannot be clipped in a {type(model).__name__}, which has no state; leave "
                "classifier.clip_state_norm out"
            )
        found.append(outputs)
        values, structure = pytree.tree_flatten(state)
        state = pytree.tree_unflatten(_Clip.apply(norm / len(outputs), *values), structure)  # type: ignore[no-untyped-call]
    return torch.cat(found, dim=1)


class _Clip(torch.autograd.Function):
    """The values themselves; backward, the gradients of one sequence shortened together."""

    @staticmethod
    def forward(ctx: Any, norm: float, *values: Tensor) -> tuple[Tensor, ...]:
        ctx.norm = norm
        return tuple(value.view_as(value) for value in values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        flat = torch.cat([gradient.flatten(1) for gradient in gradients], dim=1)
        # Of the scaled values, since squares of an exploding gradient may not fit.
        largest = flat.abs().amax(dim=1).clamp(min=torch.finfo(flat.dtype).tiny)
        length = largest * (flat / largest[:, None]).norm(dim=1)
        factor = torch.where(length.isfinite(), (ctx.norm / length).clamp(max=1), 0)
        shortened = (
            (gradient * factor.view(-1, *[1] * (gradient.dim() - 1))).nan_to_num(0, 0, 0)
            for gradient in gradients
        )
        return None, *shortened
