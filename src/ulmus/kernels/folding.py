"""Weights with everything multiplied into them that does not depend on time, so that a step has less to do."""

from typing import NamedTuple

import torch
from torch import Tensor

from ulmus.kernels.events import Events
from ulmus.kernels.weights import BOUND, SLOPE, Weights

_WIDE_INPUT = 64  # inputs from which filtering what they send to the MLP is cheaper than filtering them


class Layers(NamedTuple):
    """Weights as the fused kernels multiply with them: decay, slope and bound of the tanh are already folded in.

    ``z_0 = projection b + recurrent m + bias``, ``z_l = W_l act(z_{l-1}) + e_l``, ``m' = memory_decay m + gain tanh(z_last)``.
    Without a projection the filtered currents themselves are what is added to the first layer.
    """

    synapses: Tensor
    branch_decay: Tensor
    projection: Tensor | None
    bias: Tensor
    recurrent: Tensor
    later_weights: list[Tensor]
    later_biases: list[Tensor]
    memory_decay: Tensor
    gain: Tensor
    readout: Tensor | None
    readout_bias: Tensor | None


def projects_first(inputs: Tensor | Events, weights: Weights) -> bool:
    """Whether input goes to the MLP's first layer before it is filtered: possible when all inputs decay alike.

    ``A filter(w x) = filter((A w) x)`` needs one product less, and sparse input stays sparse.
    """
    decay = weights.branch_decay
    if weights.synapses.dim() == 2 or decay.requires_grad or torch.compiler.is_compiling():
        return False
    wide = len(decay) >= _WIDE_INPUT or isinstance(inputs, Events)
    return (
        wide and not (isinstance(inputs, Tensor) and inputs.requires_grad) and bool((decay == decay[0]).all())
    )


def folded(weights: Weights, branches: Tensor, projected: bool, sparse: bool) -> tuple[Layers, Tensor]:
    """Weights with decay, slope and bound multiplied in (see `Layers`), and the trace before the first step."""
    matrices = [weights.recurrent * weights.memory_decay, *(weight for weight, _ in weights.later)]
    biases = [weights.first_bias, *(bias for _, bias in weights.later)]
    synapses, decay = weights.synapses, weights.branch_decay
    projection: Tensor | None = weights.projection
    if len(matrices) == 1:
        projection = weights.projection * SLOPE
    matrices[-1], biases[-1] = matrices[-1] * SLOPE, biases[-1] * SLOPE
    if projected and projection is not None:
        branches = branches @ projection.t()
        synapses, decay, projection = projection * synapses, decay[:1].expand(len(projection)), None
    elif synapses.dim() == 1 and sparse:
        synapses = torch.diag(synapses)
    readout, readout_bias = weights.readout or (None, None)
    layers = Layers(
        synapses, decay, projection, biases[0], matrices[0], matrices[1:], biases[1:],
        weights.memory_decay, weights.memory_gain * BOUND, readout, readout_bias,
    )  # fmt: skip
    return layers, branches


def filtered_inputs(inputs: Tensor | Events, before: Tensor, weights: Weights) -> Tensor:
    """Trace of every input after the last step, where the kernels only followed what they send to the MLP."""
    decay = weights.branch_decay[0]
    batch, time = (inputs.batch, inputs.time) if isinstance(inputs, Events) else inputs.shape[:2]
    # An old infinite input must stay infinite: never let its factor underflow to zero.
    steps_left = torch.arange(time - 1, -1, -1, dtype=decay.dtype, device=decay.device)
    factors = (decay**steps_left).clamp(min=torch.finfo(decay.dtype).tiny)
    if isinstance(inputs, Events):
        ends = inputs.row_start
        first = torch.arange(0, before.numel(), inputs.channels, device=ends.device)
        place = torch.repeat_interleave(first, ends[::time].diff()) + inputs.inputs
        factors = torch.repeat_interleave(factors.repeat(batch), ends.diff())
        summed = before.new_zeros(before.numel()).index_add(0, place, inputs.values * factors)
        summed = summed.view_as(before)
    else:
        summed = torch.matmul(factors, inputs.to(decay.dtype))
    return decay**time * before + weights.synapses * summed
