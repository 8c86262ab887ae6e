"""Random neurons and inputs for the tests of the kernels, and the comparison with the double-precision reference."""

from typing import NamedTuple

import torch

from ulmus.kernels import ELMState, Events, Weights, memory_budget, reference, run, use_backend

KINDS = ["events", "sparse", "bytes", "dense", "narrow", "vanilla", "vanilla_events", "vanilla_mixed"]


class Case(NamedTuple):
    """A neuron and its input, in single or double precision."""

    inputs: torch.Tensor | Events
    state: ELMState
    weights: Weights
    activation: str


def as_events(dense):
    batch, time, channels = dense.shape
    flat = dense.reshape(batch * time, channels)
    places = flat.nonzero()
    row_start = torch.zeros(batch * time + 1, dtype=torch.int32)
    row_start[1:] = torch.bincount(places[:, 0], minlength=batch * time).cumsum(0)
    return Events(row_start, places[:, 1].int(), flat[places[:, 0], places[:, 1]], batch, time, channels)


def make(
    kind,
    *,
    batch=3,
    time=20,
    memory=5,
    hidden=(9,),
    outputs=2,
    activation="relu",
    dtype=torch.float32,
    seed=0,
    tau=9.0,
):
    """A case whose numbers are single-precision ones, so that both precisions start from the same values."""
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape, scale=1.0):
        return (scale * torch.randn(*shape, generator=draw)).to(dtype)

    vanilla = kind in ("narrow", "vanilla", "vanilla_events", "vanilla_mixed")
    channels = 3 if kind == "narrow" else 70
    branches = channels if vanilla else 7
    x = torch.randn(batch, time, channels, generator=draw)
    if kind not in ("narrow", "dense", "vanilla_mixed"):
        x = torch.where(torch.rand(x.shape, generator=draw) < 0.06, torch.sign(x), torch.zeros(()))
    x = (
        (x != 0).to(torch.uint8)
        if kind == "bytes"
        else as_events(x.to(dtype))
        if "events" in kind
        else x.to(dtype)
    )
    decay = (
        torch.full((branches,), 0.8)
        if kind in ("vanilla", "vanilla_events")
        else torch.linspace(0.6, 0.9, branches)
    )
    widths = [*hidden, memory]
    memory_decay = torch.exp(-1 / torch.logspace(0.2, torch.tensor(tau).log10().item(), memory))
    synapses = torch.rand(*((channels,) if vanilla else (branches, channels)), generator=draw) * 0.5
    layers = [
        (normal(out, into, scale=into**-0.5), normal(out, scale=0.3))
        for into, out in zip(widths, widths[1:], strict=False)
    ]
    weights = Weights(
        synapses=synapses.to(dtype),
        branch_decay=decay.to(dtype),
        projection=normal(widths[0], branches, scale=branches**-0.5),
        recurrent=normal(widths[0], memory, scale=memory**-0.5),
        first_bias=normal(widths[0], scale=0.3),
        later=tuple(layers),
        memory_decay=memory_decay.to(dtype),
        memory_gain=(2 * (1 - memory_decay)).to(dtype),
        readout=None if outputs is None else (normal(outputs, memory), normal(outputs)),
    )
    return Case(x, ELMState(normal(batch, branches), normal(batch, memory)), weights, activation)


def leaves(case):
    """All tensors that gradients are taken of, by name."""
    w = case.weights
    named = {"state.branches": case.state.branches, "state.memory": case.state.memory}
    named |= {
        name: getattr(w, name) for name in w._fields if name not in ("later", "readout", "branch_decay")
    }
    for level, (weight, bias) in enumerate(w.later):
        named |= {f"later{level}.weight": weight, f"later{level}.bias": bias}
    if w.readout is not None:
        named |= {"readout.weight": w.readout[0], "readout.bias": w.readout[1]}
    return named


def double(case):
    """The same numbers in double precision."""

    def up(value):
        if isinstance(value, tuple) and not hasattr(value, "_fields"):
            return tuple(up(part) for part in value)
        return None if value is None else value.double()

    return Case(
        case.inputs.to(torch.float64),
        ELMState(*map(up, case.state)),
        Weights(*map(up, case.weights)),
        case.activation,
    )


def results(case, compute, last_only=False, extra=()):
    """Outputs, final state and all gradients of a scalar that weighs them at random."""
    named = leaves(case) | dict(extra)
    for tensor in named.values():
        tensor.requires_grad_(True)
    outputs, state = compute(*case)
    draw = torch.Generator().manual_seed(1)
    loss = 0
    for value in (outputs[:, -1:] if last_only else outputs, state.branches, state.memory):
        loss = loss + (value * torch.randn(value.shape, generator=draw).to(value.dtype)).sum()
    gradients = torch.autograd.grad(loss, list(named.values()), materialize_grads=True)
    for tensor in named.values():
        tensor.requires_grad_(False)
    values = {"outputs": outputs, "branches": state.branches, "memory": state.memory}
    return values | {f"d {name}": gradient for name, gradient in zip(named, gradients, strict=True)}


def fused(budget_mebibytes=1000.0):
    """The fused kernels, with a budget that decides whether signals are kept or computed again."""

    def compute(*case):
        with use_backend("numba"), memory_budget(budget_mebibytes):
            return run(*case)

    return compute


def worst_error(found, expected):
    """Largest difference of any result, relative to the largest number in it, and the name of the result."""
    errors = {}
    for name, value in expected.items():
        if value.numel():
            scale = max(float(value.detach().abs().max()), 1e-3)
            errors[name] = float((found[name].double() - value).detach().abs().max()) / scale
    return max(((error, name) for name, error in errors.items()), default=(0.0, "nothing"))


def check(case, tolerance, budget_mebibytes=1000.0, last_only=False):
    """Compare the fused kernels with the reference in double precision.

    Where single precision itself loses more than that, for one because all proposals saturate and 1 - tanh^2 cancels,
    five times the loss of plain PyTorch is allowed.
    """
    found = results(case, fused(budget_mebibytes), last_only)
    expected = results(double(case), reference.run, last_only)
    error, name = worst_error(found, expected)
    if error > tolerance and case.weights.recurrent.dtype == torch.float32:
        plain = case._replace(inputs=case.inputs.to(torch.float32))
        tolerance = max(tolerance, 5 * worst_error(results(plain, reference.run, last_only), expected)[0])
    assert error <= tolerance, f"{name} differs by {error:.3g} of its largest value"
