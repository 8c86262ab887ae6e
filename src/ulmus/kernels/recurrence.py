"""The recurrence as one operator, for torch.export: sequences of any number and length, by any backend where it is run."""

from typing import Any

import torch
from torch import Tensor

from ulmus.kernels import dispatch
from ulmus.kernels.events import Events
from ulmus.kernels.weights import ELMState, Weights


@torch.library.custom_op("ulmus::recurrence", mutates_args=())
def recurrence(
    inputs: Tensor,
    branches: Tensor,
    memory: Tensor,
    synapses: Tensor,
    branch_decay: Tensor,
    projection: Tensor,
    recurrent: Tensor,
    first_bias: Tensor,
    later: list[Tensor],
    memory_decay: Tensor,
    memory_gain: Tensor,
    readout: list[Tensor],
    activation: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs, final branches and final memory; ``later`` and ``readout`` hold weight, bias, weight, bias, ..."""
    weights = Weights(
        synapses, branch_decay, projection, recurrent, first_bias, _pairs(later), memory_decay, memory_gain,
        (readout[0], readout[1]) if readout else None,
    )  # fmt: skip
    outputs, after = dispatch.run(inputs, ELMState(branches, memory), weights, activation)
    # Copies: an operator may not return views, nor what it was given.
    return outputs.clone(), after.branches.clone(), after.memory.clone()


def _pairs(flat: list[Tensor]) -> tuple[tuple[Tensor, Tensor], ...]:
    return tuple(zip(flat[::2], flat[1::2], strict=True))


@recurrence.register_fake
def _(inputs: Tensor, branches: Tensor, memory: Tensor, *args: Any) -> tuple[Tensor, Tensor, Tensor]:
    readout = args[-2]
    width = readout[0].shape[0] if readout else memory.shape[1]
    outputs = memory.new_empty(inputs.shape[0], inputs.shape[1], width)
    return outputs, torch.empty_like(branches), torch.empty_like(memory)


def _keep(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.later, ctx.readout, ctx.activation = len(inputs[8]), len(inputs[11]), inputs[12]
    ctx.save_for_backward(*inputs[:8], *inputs[8], *inputs[9:11], *inputs[11])


def _gradients(ctx: Any, *flowing: Tensor | None) -> tuple[Any, ...]:
    """Of what is computed once more, by a backend that has gradients."""
    with torch.enable_grad():
        saved = [part.detach().requires_grad_(part.is_floating_point()) for part in ctx.saved_tensors]
        first, rest = saved[:8], saved[8:]
        later, rest = rest[: ctx.later], rest[ctx.later :]
        readout = rest[2 : 2 + ctx.readout]
        results = recurrence._init_fn(*first, later, *rest[:2], readout, ctx.activation)
        known = [number for number, given in enumerate(flowing) if given is not None]
        leaves = [part for part in saved if part.requires_grad]
        found = iter(
            torch.autograd.grad(
                [results[number] for number in known],
                leaves,
                [flowing[number] for number in known],
                allow_unused=True,
            )
        )
    parts = [next(found) if part.requires_grad else None for part in saved]
    end = 8 + ctx.later
    return (*parts[:8], parts[8:end], *parts[end : end + 2], parts[end + 2 :], None)


recurrence.register_autograd(_gradients, setup_context=_keep)


def run(
    inputs: Tensor | Events, state: ELMState, weights: Weights, activation: str
) -> tuple[Tensor, ELMState]:
    """Outputs of every step (the memory where there is no readout) and the state after the last one.

    Args:
        inputs: Dense ``[batch, time, inputs]`` (float, integer or bool), or events.
        state: Branch traces and memory before the first step.
        weights: What the recurrence multiplies with.
        activation: Name of the MLP's activation.

    Raises:
        BackendError: the backend that the user named cannot compute this.
        ShapeError: events whose numbers do not fit each other.
    """
    if isinstance(inputs, Events) or not torch.compiler.is_exporting():
        return dispatch.run(inputs, state, weights, activation)
    later = [part for pair in weights.later for part in pair]
    outputs, *after = recurrence(
        inputs, *state, weights.synapses, weights.branch_decay, weights.projection, weights.recurrent,
        weights.first_bias, later, weights.memory_decay, weights.memory_gain, list(weights.readout or ()), activation,
    )  # fmt: skip
    return outputs, ELMState(*after)
