"""Gradients of gradients: a backward pass in plain PyTorch, which can itself be differentiated."""

import torch
from torch import Tensor

from ulmus.kernels import derivation
from ulmus.kernels.events import Events
from ulmus.kernels.folding import Layers
from ulmus.kernels.warning import warn_once

_ORDER = ("dense", "values", "branches", "memory", *Layers._fields)


def wanted() -> bool:
    """Whether the backward pass that runs now is to be differentiated, as with ``create_graph=True``."""
    return torch.is_grad_enabled() and not torch.compiler.is_compiling()


def gradients(
    dense: Tensor | None,
    events: Events | None,
    state: tuple[Tensor, Tensor],
    layers: Layers,
    activation: str,
    given: list[Tensor],
) -> list[Tensor]:
    """What the fused backward pass returns, in the same order, as functions of everything that it depends on.

    Args:
        dense: Input, or else ``events``.
        events: Sparse input.
        state: Branches and memory before the first step.
        layers: Folded weights.
        activation: Name of the MLP's activation.
        given: Gradients of outputs, final branches and final memory.
    """
    warn_once("second derivative", "gradients of gradients are wanted")
    x = (dense if events is None else events.dense()).to(layers.bias.dtype)  # type: ignore[union-attr]
    _, saved = derivation.forward(x, *state, layers, activation)
    found = derivation.backward(saved, given[0], given[1], given[2], layers, activation)
    if events is not None:
        counts = (events.row_start[1:] - events.row_start[:-1]).long()
        rows = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
        found["values"] = found["dense"].flatten(0, 1)[rows, events.inputs.long()]  # type: ignore[union-attr]
    parts = []
    for name in _ORDER:
        value = found.get(name)
        parts += value if isinstance(value, list) else [layers.bias.new_empty(0) if value is None else value]
    return parts
