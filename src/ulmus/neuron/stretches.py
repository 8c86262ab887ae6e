"""Long sequences through several layers, a stretch of time after the other, so that memory does not grow with their length."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ulmus.kernels import Events

Compute = Callable[[Any, Sequence[Any], Sequence[Any], Tensor | None], tuple[Tensor, list[Tensor]]]
"""Outputs of a stretch and the states after it, of its input, the states before it, weights, and shares of its steps."""


def run(
    compute: Compute,
    inputs: Tensor | Events,
    states: Sequence[Tensor],
    weights: Sequence[Tensor | None],
    shares: Tensor | None,
    steps: int,
    random: bool,
) -> tuple[Tensor, list[Tensor]]:
    """What ``compute(inputs, states, weights, shares)`` returns, computed in stretches of so many steps.

    Nothing but the states between them is kept of all stretches but the last. Backward computes each again, from the last to
    the first. Outputs are put together along time, or added up where steps have shares.

    Args:
        compute: A function of its arguments alone.
        inputs: Of all steps.
        states: Before the first step.
        weights: Tensors, or None.
        shares: Of the steps in the outputs of a sequence, ``[batch, time]``: constants.
        steps: In a stretch.
        random: Whether it draws random numbers, so that the same ones have to be drawn again.
    """
    dense = inputs if isinstance(inputs, Tensor) else None
    call = _Call(compute, None if dense is not None else inputs, shares, steps, len(states), random)
    if not torch.is_grad_enabled():
        # Nothing is recorded, nor could it be of tensors of torch.inference_mode().
        found = []
        for part, of_part in zip(*_stretches(call, dense), strict=True):
            outputs, states = compute(part, states, weights, of_part)
            found.append(outputs)
        return _whole(call, found), list(states)
    outputs, *after = _Stretches.apply(call, dense, *states, *weights)  # type: ignore[no-untyped-call]
    return outputs, after


class _Call(NamedTuple):
    compute: Compute
    events: Any
    shares: Tensor | None
    steps: int
    states: int
    random: bool


class _Recorded(NamedTuple):
    """A stretch with what is needed to go back through it."""

    given: list[Any]
    """Input, states, weights, cut off from what they were computed of."""
    results: list[Tensor]
    """Outputs and states."""


class _Stretches(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: _Call, dense: Tensor | None, *tensors: Any) -> tuple[Tensor, ...]:
        states, weights = list(tensors[: call.states]), tensors[call.states :]
        parts, shares = _stretches(call, dense)
        edges, generators, outputs = [], [], []
        ctx.last = None
        for number, part in enumerate(parts):
            edges += states
            generators.append(torch.get_rng_state() if call.random else None)
            if number == len(parts) - 1 and any(ctx.needs_input_grad):
                # It is the first that backward asks for, and takes no more room than any that is computed again.
                ctx.last = _recorded(call, part, states, weights, shares[number], ctx.needs_input_grad)
                found, *states = (result.detach() for result in ctx.last.results)
            else:
                found, states = call.compute(part, states, weights, shares[number])
            outputs.append(found)
        ctx.call, ctx.generators = call, generators
        ctx.save_for_backward(dense, *weights, *edges)
        ctx.set_materialize_grads(False)
        return _whole(call, outputs), *states

    @staticmethod
    def backward(ctx: Any, *flowing: Any) -> tuple[Any, ...]:
        call, needed = ctx.call, ctx.needs_input_grad
        count = len(needed) - 2 - call.states
        dense, *saved = ctx.saved_tensors
        weights, edges = saved[:count], saved[count:]
        if torch.is_grad_enabled():  # gradients of gradients
            return None, *_differentiable(call, dense, edges[: call.states], weights, flowing, needed)
        parts, shares = _stretches(call, dense)
        given, *after = flowing
        whole = given is None or call.shares is not None
        givens = [given] * len(parts) if whole else torch.split(given, call.steps, dim=1)
        of_dense = torch.zeros_like(dense) if needed[1] else None
        sums: list[Tensor | None] = [None] * count
        for number in range(len(parts) - 1, -1, -1):
            recorded, ctx.last = ctx.last, None
            if recorded is None:
                states = edges[number * call.states : (number + 1) * call.states]
                with torch.random.fork_rng(devices=[], enabled=call.random):
                    if call.random:
                        torch.set_rng_state(ctx.generators[number])
                    recorded = _recorded(call, parts[number], states, weights, shares[number], needed)
            of_input, *rest = _back(recorded, [givens[number], *after])
            if of_dense is not None and of_input is not None:
                first = number * call.steps
                of_dense[:, first : first + of_input.shape[1]] = of_input
            after, sums = (
                rest[: call.states],
                [_sum(*pair) for pair in zip(sums, rest[call.states :], strict=True)],
            )
        return None, of_dense, *after, *sums


def _stretches(call: _Call, dense: Tensor | None) -> tuple[Sequence[Any], Sequence[Any]]:
    """Inputs and shares of every stretch."""
    parts = call.events.split(call.steps) if dense is None else torch.split(dense, call.steps, dim=1)
    if call.shares is None:
        return parts, [None] * len(parts)
    return parts, torch.split(call.shares, call.steps, dim=1)


def _whole(call: _Call, outputs: list[Tensor]) -> Tensor:
    return torch.cat(outputs, dim=1) if call.shares is None else torch.stack(outputs).sum(0)


def _recorded(
    call: _Call, part: Any, states: Sequence[Any], weights: Sequence[Any], shares: Any, needed: Sequence[bool]
) -> _Recorded:
    of_input, of_weights = needed[1], needed[2 + call.states :]
    with torch.enable_grad():
        x = part.detach().requires_grad_(of_input) if isinstance(part, Tensor) else part
        before = [state.detach().requires_grad_() for state in states]
        own = [
            weight if weight is None else weight.detach().requires_grad_(wanted)
            for weight, wanted in zip(weights, of_weights, strict=True)
        ]
        outputs, after = call.compute(x, before, own, shares)
    return _Recorded([x, *before, *own], [outputs, *after])


def _back(recorded: _Recorded, flowing: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Gradients of what the stretch was given."""
    wanted = [isinstance(part, Tensor) and part.requires_grad for part in recorded.given]
    ends = [
        (result, flow)
        for result, flow in zip(recorded.results, flowing, strict=True)
        if flow is not None and result.requires_grad
    ]
    if not ends:
        return [None] * len(wanted)
    leaves = [part for part, want in zip(recorded.given, wanted, strict=True) if want]
    found = iter(
        torch.autograd.grad([end for end, _ in ends], leaves, [flow for _, flow in ends], allow_unused=True)
    )
    return [next(found) if want else None for want in wanted]


def _sum(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    return other if one is None else one if other is None else one + other


def _differentiable(
    call: _Call,
    dense: Any,
    states: Sequence[Any],
    weights: Sequence[Any],
    flowing: Sequence[Any],
    needed: Sequence[bool],
) -> list[Tensor | None]:
    """Gradients that can be differentiated, for which everything is kept."""
    outputs, after = call.compute(call.events if dense is None else dense, states, weights, call.shares)
    ends = [
        (result, flow) for result, flow in zip([outputs, *after], flowing, strict=True) if flow is not None
    ]
    parts = [
        part if want else None for part, want in zip([dense, *states, *weights], needed[1:], strict=True)
    ]
    found = iter(
        torch.autograd.grad(
            [end for end, _ in ends], [part for part in parts if part is not None], [flow for _, flow in ends],
            create_graph=True, allow_unused=True,
        )
    )  # fmt: skip
    return [None if part is None else next(found) for part in parts]
