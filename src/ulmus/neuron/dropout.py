"""Dropout that costs nothing in the recurrence: what is left out is left out for a whole call, in the weights."""

import torch

from ulmus.baselines.baseline import dropout_mask
from ulmus.kernels import Weights


def dropped(weights: Weights, inputs: float, memory: float, hidden: float) -> Weights:
    """Weights of a neuron that does not see a share of its inputs, memory units and hidden units.

    What is kept weighs ``1 / (1 - share)`` as much. The masks are drawn from PyTorch's generator and hold for all
    sequences and steps (variational dropout: Gal & Ghahramani, NeurIPS 2016). A memory unit that is left out goes on by
    itself, unseen by the MLP and the readout.

    Args:
        weights: All of them; the readout may see the last hidden layer beside the memory.
        inputs: Share of inputs.
        memory: Share of memory units.
        hidden: Share of the units of every hidden layer.
    """
    if inputs:
        synapses = weights.synapses
        weights = weights._replace(synapses=synapses * dropout_mask(synapses.shape[-1], inputs, synapses))
    width = weights.recurrent.shape[1]
    seen = dropout_mask(width, memory, weights.recurrent) if memory else weights.recurrent.new_ones(width)
    last = seen.new_zeros(0)
    if memory:
        weights = weights._replace(recurrent=weights.recurrent * seen)
    later = []
    for weight, bias in weights.later:
        last = dropout_mask(weight.shape[1], hidden, weight) if hidden else weight.new_ones(weight.shape[1])
        later.append((weight * last if hidden else weight, bias))
    weights = weights._replace(later=tuple(later))
    if weights.readout is not None and (memory or hidden):
        weight, bias = weights.readout
        mask = torch.cat([seen, last])[: weight.shape[1]]
        weights = weights._replace(readout=(weight * mask, bias))
    return weights
