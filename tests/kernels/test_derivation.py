"""The hand-derived backward against autograd of the reference."""

import pytest
import torch
from kernel_cases import make

from ulmus.kernels import derivation, reference
from ulmus.kernels.folding import folded


@pytest.mark.parametrize("activation", ["relu", "silu", "squared_relu"])
@pytest.mark.parametrize("hidden", [(), (6,), (6, 4)])
@pytest.mark.parametrize("kind", ["dense", "narrow"])
def test_gradients_of_folded_weights(activation, hidden, kind):
    case = make(kind, time=9, hidden=hidden, activation=activation, dtype=torch.float64)
    layers, branches = folded(case.weights, case.state.branches, False, False)
    inputs = {"dense": case.inputs, "branches": branches, "memory": case.state.memory, **layers._asdict()}
    flat = []
    for value in inputs.values():
        flat += value if isinstance(value, list) else [value]
    for tensor in flat:
        tensor.requires_grad_(True)
    outputs, saved = derivation.forward(case.inputs, branches, case.state.memory, layers, activation)
    draw = torch.Generator().manual_seed(2)
    dy, db, dm = (
        torch.randn(t.shape, generator=draw, dtype=t.dtype) for t in (outputs, saved.b[:, -1], saved.m[:, -1])
    )
    loss = (outputs * dy).sum() + (saved.b[:, -1] * db).sum() + (saved.m[:, -1] * dm).sum()
    wanted = torch.autograd.grad(loss, flat)
    with torch.no_grad():
        found = derivation.backward(saved, dy, db, dm, layers, activation)
    places = iter(wanted)
    for name in inputs:
        for part in found[name] if isinstance(found[name], list) else [found[name]]:
            torch.testing.assert_close(part, next(places), rtol=1e-11, atol=1e-11, msg=name)


@pytest.mark.parametrize("hidden", [(), (6,), (6, 4)])
@pytest.mark.parametrize("kind", ["dense", "narrow", "vanilla"])
def test_folding_changes_nothing(hidden, kind):
    case = make(kind, time=9, hidden=hidden, dtype=torch.float64)
    wanted, end = reference.run(*case)
    layers, branches = folded(case.weights, case.state.branches, kind == "vanilla", False)
    outputs, saved = derivation.forward(case.inputs, branches, case.state.memory, layers, "relu")
    torch.testing.assert_close(outputs, wanted, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(saved.m[:, -1], end.memory, rtol=1e-12, atol=1e-12)
