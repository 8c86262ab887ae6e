"""The recurrence of the ELM neuron in plain PyTorch: the definition that every faster kernel is tested against.

Spieler et al., ICLR 2024, figure 1c, with synapses summed into branches (Branch-ELM)::

    b_t  = kappa_s b_{t-1} + W_s x_t                 synaptic traces, linear
    u_t  = kappa_m m_{t-1}                           decayed memory
    dm_t = bounded(MLP([b_t, u_t]))                  memory proposal
    m_t  = u_t + gain dm_t
    y_t  = W_y m_t + bias

Only u, dm and m depend on their own past in a nonlinear way. Everything else is computed for all time steps at once.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from ulmus.kernels.events import Events
from ulmus.kernels.weights import ACTIVATIONS, ELMState, Weights, bounded


class Traces(NamedTuple):
    """What happens inside the neuron, step by step."""

    branches: Float[Tensor, "batch time branches"]
    memory: Float[Tensor, "batch time memory"]
    hidden: Float[Tensor, "batch time hidden"]
    """Last hidden layer of the MLP after its activation; of width zero when the MLP is one linear map."""
    proposals: Float[Tensor, "batch time memory"]


def synaptic_currents(inputs: Tensor | Events, synapses: Tensor) -> Float[Tensor, "batch time branches"]:
    """Weighted input summed over each branch, ``W_s x_t``."""
    if isinstance(inputs, Events) and inputs.values.requires_grad:
        inputs = inputs.dense()  # the other way has no second derivative
    if isinstance(inputs, Events):
        by_input = torch.diag(synapses) if synapses.dim() == 1 else synapses.t()
        summed = functional.embedding_bag(
            inputs.inputs,
            by_input,
            inputs.row_start,
            mode="sum",
            per_sample_weights=inputs.values,
            include_last_offset=True,
        )
        return summed.view(inputs.batch, inputs.time, by_input.shape[1])
    inputs = inputs.to(synapses.dtype)  # counts and spikes may come as bytes
    return inputs * synapses if synapses.dim() == 1 else inputs @ synapses.t()


def leaky_filter(
    currents: Float[Tensor, "batch time branches"],
    decay: Float[Tensor, "branches"],
    initial: Float[Tensor, "batch branches"],
) -> Float[Tensor, "batch time branches"]:
    """``b_t = decay b_{t-1} + i_t`` for all steps, by doubling the reach of the sum log2(time) times.

    After k rounds every step holds the sum over the last 2^k steps. Each round only looks back, so an
    infinite or NaN input never reaches an earlier step.
    """
    time = currents.shape[1]
    if torch.compiler.is_exporting() and type(time) is not int:
        # For any length: the rounds would be those of the example.
        found: Tensor = _recorded_filter(currents, decay, initial)
        return found
    if time == 0:
        return currents
    first = currents[:, :1] + (decay * initial).unsqueeze(1)
    traces = torch.cat([first, currents[:, 1:]], dim=1)
    reach, decay_over_reach = 1, decay
    while reach < time:
        earlier = functional.pad(traces[:, :-reach], (0, 0, reach, 0))
        traces = traces + decay_over_reach * earlier
        reach, decay_over_reach = 2 * reach, decay_over_reach * decay_over_reach
    return traces


@torch.library.custom_op("ulmus::leaky_filter", mutates_args=())
def _recorded_filter(currents: Tensor, decay: Tensor, initial: Tensor) -> Tensor:
    return leaky_filter(currents, decay, initial).clone()  # an operator may not return what it was given


@_recorded_filter.register_fake
def _(currents: Tensor, decay: Tensor, initial: Tensor) -> Tensor:
    return currents.new_empty(currents.shape)


def _gradients(ctx: Any, flowing: Tensor) -> tuple[Tensor | None, ...]:
    with torch.enable_grad():
        given = [part.detach().requires_grad_() for part in ctx.saved_tensors]
        return torch.autograd.grad(leaky_filter(*given), given, flowing, allow_unused=True)


_recorded_filter.register_autograd(
    _gradients, setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs)
)


def memory_scan(
    drive: Float[Tensor, "batch time first"],
    initial: Float[Tensor, "batch memory"],
    weights: Weights,
    activation: str,
) -> Float[Tensor, "batch time memory"]:
    """The sequential part: memory of every step, given what the branches send to the MLP's first layer."""
    if drive.shape[1] == 0:
        return drive.new_zeros(drive.shape[0], 0, initial.shape[1])
    activate = ACTIVATIONS[activation]
    recurrent = weights.recurrent.t()
    memory, steps = initial, []
    for drive_t in drive.unbind(
        1
    ):  # unbind, not drive[:, t]: the backward of a slice costs a full-size array a step
        decayed = weights.memory_decay * memory
        layer = torch.addmm(drive_t, decayed, recurrent)
        for weight, bias in weights.later:
            layer = functional.linear(activate(layer), weight, bias)
        memory = decayed + weights.memory_gain * bounded(layer)
        steps.append(memory)
    return torch.stack(steps, dim=1)


def run(
    inputs: Tensor | Events, state: ELMState, weights: Weights, activation: str
) -> tuple[Tensor, ELMState]:
    """Outputs of every step (the memory where there is no readout) and the state after the last one."""
    branches = leaky_filter(synaptic_currents(inputs, weights.synapses), weights.branch_decay, state.branches)
    drive = functional.linear(branches, weights.projection, weights.first_bias)
    memory = memory_scan(drive, state.memory, weights, activation)
    outputs = memory if weights.readout is None else functional.linear(memory, *weights.readout)
    if outputs.shape[1] == 0:
        return outputs, state
    return outputs, ELMState(branches[:, -1], memory[:, -1])


def traces(
    inputs: Tensor | Events,
    state: ELMState,
    weights: Weights,
    activation: str,
    memory: Float[Tensor, "batch time memory"],
) -> Traces:
    """All inner signals, computed for all steps at once from the memory that `run` returned."""
    branches = leaky_filter(synaptic_currents(inputs, weights.synapses), weights.branch_decay, state.branches)
    before = torch.cat([state.memory.unsqueeze(1), memory], dim=1)[:, : memory.shape[1]]
    layer = functional.linear(branches, weights.projection, weights.first_bias)
    layer = layer + functional.linear(weights.memory_decay * before, weights.recurrent)
    hidden = layer.new_zeros(*layer.shape[:2], 0)
    for weight, bias in weights.later:
        hidden = ACTIVATIONS[activation](layer)
        layer = functional.linear(hidden, weight, bias)
    return Traces(branches, memory, hidden, bounded(layer))
