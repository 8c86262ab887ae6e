"""Gradients that do not explode on their way back through a long sequence."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils import _pytree as pytree  # as torch.func takes states apart

from ulmus.errors import ConfigError
from ulmus.kernels import Events, shared_memory_budget
from ulmus.neuron.sequence_model import SequenceModel

STEPS = 50
"""Steps between two states whose gradients are shortened: few, so that a gradient seldom grows by much in between, and enough
that calling the model so often costs little."""


def outputs_with_clipped_states(
    model: SequenceModel, inputs: Float[Tensor, "sequences time channels"] | Events, norm: float
) -> Float[Tensor, "sequences time outputs"]:
    """Outputs of a model for whole sequences from rest, whose gradients are shortened where they pass every 50th state.

    The outputs are those of ``model(inputs)``, except that dropout masks meant for all steps hold for 50. On the way back, with
    g what later steps add to the gradient of the loss with respect to the state of one sequence (of all layers together)::

        g <- g min(1, norm / (sequences |g|))

    and zero where g is not finite. A loss that is the mean over the sequences has 1 / sequences of each, hence the factor (of
    two sequences to compare, each counts). After Graves, "Generating sequences with recurrent neural networks", 2013, section
    2.1, who clips every derivative.

    Raises:
        ConfigError: a model without a state, or a bidirectional one.
    """
    if getattr(model, "bidirectional", False):
        raise ConfigError(
            "gradients of states cannot be clipped in a bidirectional model, which reads whole sequences; leave clip_state_norm "
            "out"
        )
    parts = inputs.split(STEPS) if isinstance(inputs, Events) else torch.split(inputs, STEPS, dim=1)
    state: Any = None
    found = []
    with shared_memory_budget(max(1, len(parts))):
        for part in parts:
            outputs, state = model(part, state)
            if state is None:
                raise ConfigError(
                    f"gradients of states cannot be clipped in a {type(model).__name__}, which has no state; leave "
                    "clip_state_norm out"
                )
            found.append(outputs)
            values, structure = pytree.tree_flatten(state)
            clipped = _Clip.apply(norm / max(1, len(outputs)), *values)  # type: ignore[no-untyped-call]
            state = pytree.tree_unflatten(clipped, structure)
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
        # Divided by the largest first: squares of an exploding gradient may not fit.
        largest = flat.abs().amax(dim=1).clamp(min=torch.finfo(flat.dtype).tiny)
        factor = (ctx.norm / largest / (flat / largest[:, None]).norm(dim=1)).clamp(max=1)
        factor = torch.where(largest.isfinite(), factor.nan_to_num(1), 0)  # a gradient of zero stays zero
        shortened = (
            (gradient * factor.view(-1, *[1] * (gradient.dim() - 1))).nan_to_num(0, 0, 0)
            for gradient in gradients
        )
        return None, *shortened
