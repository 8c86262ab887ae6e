"""The hand-derived backward pass in plain PyTorch: what the fused kernels compute, one equation a line.

Symbols as in docs/derivation.md. Slow on purpose: it is there to tell a wrong derivation from a wrong kernel.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ulmus.kernels.folding import Layers

_ACT: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "relu": (torch.relu, lambda z: (z > 0).to(z.dtype)),
    "silu": (lambda z: z * torch.sigmoid(z), lambda z: torch.sigmoid(z) * (1 + z * (1 - torch.sigmoid(z)))),
    "squared_relu": (lambda z: torch.relu(z) ** 2, lambda z: 2 * torch.relu(z)),
}


class Saved(NamedTuple):
    """What the forward pass leaves: ``x``, ``b`` and ``m`` with the initial state first, every z, and d."""

    x: Tensor
    b: Tensor
    m: Tensor
    z: list[Tensor]
    d: Tensor


def forward(
    x: Tensor, branches: Tensor, memory: Tensor, layers: Layers, activation: str
) -> tuple[Tensor, Saved]:
    """Outputs of every step, and what backward needs."""
    act = _ACT[activation][0]
    i = x * layers.synapses if layers.synapses.dim() == 1 else x @ layers.synapses.t()
    b, m = [branches], [memory]
    z: list[list[Tensor]] = [[] for _ in layers.later_weights]
    d = []
    for t in range(x.shape[1]):
        b.append(layers.branch_decay * b[-1] + i[:, t])
        drive = b[-1] if layers.projection is None else b[-1] @ layers.projection.t()
        z_l = drive + m[-1] @ layers.recurrent.t() + layers.bias
        for level, (W, e) in enumerate(zip(layers.later_weights, layers.later_biases, strict=True)):
            z[level].append(z_l)
            z_l = act(z_l) @ W.t() + e
        d.append(torch.tanh(z_l))
        m.append(layers.memory_decay * m[-1] + layers.gain * d[-1])
    states = torch.stack(m, 1)
    y = states[:, 1:]
    if layers.readout is not None and layers.readout_bias is not None:
        y = y @ layers.readout.t() + layers.readout_bias
    return y, Saved(x, torch.stack(b, 1), states, [torch.stack(steps, 1) for steps in z], torch.stack(d, 1))


def backward(
    saved: Saved, dy: Tensor, db_end: Tensor, dm_end: Tensor, layers: Layers, activation: str
) -> dict[str, Tensor | list[Tensor] | None]:
    """Gradients of input, state and weights from those of outputs and final state."""
    act, slope = _ACT[activation]
    x, b, m, z, d = saved
    kappa, gain, W = layers.memory_decay, layers.gain, layers.later_weights
    dm_out = dy if layers.readout is None else dy @ layers.readout
    dz: list[list[Tensor]] = [[] for _ in range(len(W) + 1)]
    dm_all, dm = [], dm_end
    for t in reversed(range(x.shape[1])):
        dm = dm + dm_out[:, t]
        dm_all.append(dm)
        dz_l = dm * gain * (1 - d[:, t] ** 2)
        dz[len(W)].append(dz_l)
        for level in reversed(range(len(W))):
            dz_l = slope(z[level][:, t]) * (dz_l @ W[level])
            dz[level].append(dz_l)
        dm = kappa * dm + dz_l @ layers.recurrent
    dm_t = torch.stack(dm_all[::-1], 1)
    dz_t = [torch.stack(steps[::-1], 1) for steps in dz]

    db_t = dz_t[0] if layers.projection is None else dz_t[0] @ layers.projection
    g, di = db_end, []
    for t in reversed(range(x.shape[1])):
        g = g + db_t[:, t]
        di.append(g)
        g = layers.branch_decay * g
    g_t = torch.stack(di[::-1], 1)

    diagonal = layers.synapses.dim() == 1
    has_readout = layers.readout is not None
    return {
        "dense": g_t * layers.synapses if diagonal else g_t @ layers.synapses,
        "branches": g,
        "memory": dm,
        "synapses": (g_t * x).sum((0, 1)) if diagonal else _outer(g_t, x),
        "branch_decay": (g_t * b[:, :-1]).sum((0, 1)),
        "projection": None if layers.projection is None else _outer(dz_t[0], b[:, 1:]),
        "bias": dz_t[0].sum((0, 1)),
        "recurrent": _outer(dz_t[0], m[:, :-1]),
        "later_weights": [_outer(dz_t[level + 1], act(z[level])) for level in range(len(W))],
        "later_biases": [dz_t[level + 1].sum((0, 1)) for level in range(len(W))],
        "memory_decay": (dm_t * m[:, :-1]).sum((0, 1)),
        "gain": (dm_t * d).sum((0, 1)),
        "readout": _outer(dy, m[:, 1:]) if has_readout else None,
        "readout_bias": dy.sum((0, 1)) if has_readout else None,
    }


def _outer(out: Tensor, into: Tensor) -> Tensor:
    return torch.einsum("bto,bti->oi", out, into)
