"""Layers inside a neuron that a user has replaced, pruned or hooked: they are called at every step, and do what they do."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from ulmus.kernels import ACTIVATIONS, ELMState, Events, Traces, Weights
from ulmus.kernels.reference import leaky_filter, synaptic_currents
from ulmus.kernels.warning import warn_once
from ulmus.kernels.weights import bounded


def are_plain(layers: Iterable[nn.Module | None]) -> bool:
    """Whether weight and bias say all that these layers do; one that is not there does nothing.

    They do for `nn.Linear`, also parametrized. They do not for another module in its place (LoRA, quantized), or with hooks,
    by which pruning and the old `torch.nn.utils.weight_norm` set the weight when the layer is called.
    """
    return all(
        # Most are what they were made as, and are not asked whether they are parametrized: a microsecond each, at every call.
        layer is None
        or (
            (type(layer) is nn.Linear or type_before_parametrizations(layer) is nn.Linear)
            and layer.bias is not None
            and not hooked(layer)
        )
        for layer in layers
    )


def hooked(module: nn.Module) -> bool:
    """Whether something happens when this module is called that its class does not say."""
    hooks = (
        module._forward_hooks,
        module._forward_pre_hooks,
        module._backward_hooks,
        module._backward_pre_hooks,
    )
    return any(hooks) or "forward" in module.__dict__


def traces(
    inputs: Tensor | Events, state: ELMState, weights: Weights, mlp: Iterable[nn.Module], activation: str
) -> Traces:
    """All inner signals, by calling the layers step by step.

    Args:
        inputs: Of the whole stretch.
        state: Before its first step.
        weights: Of synapses and time constants; those of the MLP do not count.
        mlp: Layers of the MLP, from the first, which sees branches and decayed memory, to the last.
        activation: Between them.
    """
    warn_once(
        "form of changed layers",
        "layers of this neuron were replaced or have hooks, and are called at every step",
    )
    activate, (first, *later) = ACTIVATIONS[activation], mlp
    branches = leaky_filter(synaptic_currents(inputs, weights.synapses), weights.branch_decay, state.branches)
    memory, signals = state.memory, []
    dtype = next((value.dtype for value in first.parameters() if value.is_floating_point()), memory.dtype)
    for branches_t in branches.unbind(1):
        decayed = weights.memory_decay * memory
        layer, hidden = (
            first(torch.cat([branches_t, decayed], dim=-1).to(dtype)),
            decayed.new_zeros(len(decayed), 0),
        )
        for module in later:
            hidden = activate(layer)
            layer = module(hidden)
        proposal = bounded(layer.to(memory.dtype))
        memory = decayed + weights.memory_gain * proposal
        signals.append((memory, hidden, proposal))
    if not signals:
        nothing = memory.new_zeros(len(memory), 0, memory.shape[1])
        return Traces(branches, nothing, nothing[..., :0], nothing)
    return Traces(branches, *(torch.stack(parts, dim=1) for parts in zip(*signals, strict=True)))
