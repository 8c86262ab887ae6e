# mypy: disable-error-code="no-untyped-call, untyped-decorator"
"""The fused kernels as operators of torch: the computation, shapes for tracing, the gradient.

An operator of torch takes a flat list of arguments. `Call` names them, in one place: the operators' schemas are written from
its fields, and everything here goes from the flat list to a `Call` and back by those names.
"""

import functools
import sys
from collections.abc import Callable
from typing import Any, NamedTuple, get_type_hints

import torch
from torch import Tensor

from ulmus.kernels import double_backward
from ulmus.kernels.arrangement import keep_shapes, kind_of, sizes_of
from ulmus.kernels.events import Events
from ulmus.kernels.folding import Layers
from ulmus.kernels.numba_call import Triple, compressed, compressed_capacity, run_backward, run_forward
from ulmus.kernels.numba_layout import EVENTS
from ulmus.kernels.tracing import traced


class Call(NamedTuple):
    """What one call of the kernels is given."""

    dense: Tensor | None
    """Input ``[batch, time, inputs]``; else the next three are its events."""
    row_start: Tensor | None
    event_inputs: Tensor | None
    values: Tensor | None
    batch: int
    time: int
    inputs: int
    branches: Tensor
    memory: Tensor
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
    activation: str
    keep: int
    compress: bool
    """Whether a dense input is looked through for zeros, and treated as events where it has many."""

    @property
    def layers(self) -> Layers:
        """The weights among the arguments."""
        return Layers._make(getattr(self, name) for name in Layers._fields)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Sequences, steps, inputs."""
        return self.batch, self.time, self.inputs

    @property
    def events(self) -> Triple | None:
        """The events that are the input, if it is not dense."""
        if self.row_start is None or self.event_inputs is None or self.values is None:
            return None
        return self.row_start, self.event_inputs, self.values


_SCHEMA_TYPES = {
    Tensor: "Tensor", Tensor | None: "Tensor?", list[Tensor]: "Tensor[]", int: "SymInt", str: "str", bool: "bool",
}  # fmt: skip
_ARGUMENTS = ", ".join(f"{_SCHEMA_TYPES[kind]} {name}" for name, kind in get_type_hints(Call).items())
_RESULTS = (
    9  # outputs, final branches and memory; inner signals, memory, branches for backward; the events found
)


# Not `torch.library.custom_op`, whose operators import all of torch._dynamo when they are first called: 1.5 s of a process that
# compiles nothing.
torch.library.define("ulmus::elm", f"({_ARGUMENTS}) -> ({', '.join(['Tensor'] * _RESULTS)})")
torch.library.define(
    "ulmus::elm_backward",
    f"({_ARGUMENTS}, Tensor[] kept, Tensor[] found, Tensor[] given, bool[] wanted) -> Tensor[]",
)


def _untraced(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same, kept out of what torch.compile looks into where that is in use."""

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        if "torch._dynamo" in sys.modules:
            return torch.compiler.disable(function)(*arguments)
        return function(*arguments)

    return call


def _elm(*arguments: Any) -> tuple[Tensor, ...]:
    """Outputs, final branches and memory; then what backward needs: inner signals, states, and the events found."""
    call = Call._make(arguments)
    events, found = call.events, _no_events(call.bias)
    if call.compress and call.dense is not None:
        events, found = compressed(call.dense, call.bias)
    state = call.branches, call.memory
    result = run_forward(call.dense, events, call.shape, state, call.layers, call.activation, call.keep)
    return *result, *found


def _no_events(like: Tensor) -> Triple:
    # Three tensors: results of an operator may not share memory.
    empty = torch.empty(0, dtype=torch.int32, device=like.device)
    return empty, empty.clone(), like.new_empty(0)


@torch.library.register_fake("ulmus::elm")
def _(*arguments: Any) -> tuple[Tensor, ...]:
    call = Call._make(arguments)
    kind = EVENTS if call.dense is None or call.compress else kind_of(call.dense, call.synapses)
    sizes = sizes_of(*call.shape, kind, call.layers, call.activation, call.keep)
    new, found = call.bias.new_empty, _no_events(call.bias)
    if call.compress and call.dense is not None:
        capacity = compressed_capacity(call.dense)
        rows = new(call.batch * call.time + 1, dtype=torch.int32)
        found = rows, new(capacity, dtype=torch.int32), new(capacity)
    kept = [new(part) for part in keep_shapes(sizes)]
    outputs = new(call.batch, call.time, sizes.outputs)
    return outputs, torch.empty_like(call.branches), torch.empty_like(call.memory), *kept, *found


def _elm_backward(*arguments: Any) -> list[Tensor]:
    """Gradients of the arguments of `elm` that can have one, in their order, lists flattened; empty where there is none.

    `kept` and `found` are the last results of `elm`, `given` the gradients of its first three, and `wanted` says whether
    dense input and values of events need a gradient.
    """
    *flat, kept, found, given, wanted = arguments
    call = Call._make(flat)
    events = call.events
    if call.compress and int(found[0][0]) == 0:  # -1 where the dense input was not sparse
        events = found[0], found[1], found[2]
    result = run_backward(
        call.dense, events, call.shape, tuple(kept), tuple(given), call.layers, call.activation, call.keep,
        tuple(wanted),
    )  # fmt: skip
    parts: list[Tensor] = []
    for name in _DIFFERENTIABLE:
        value = result[name]
        parts += value if isinstance(value, list) else [value]
    return parts


_DIFFERENTIABLE = ("dense", "values", "branches", "memory", *Layers._fields)


@torch.library.register_fake("ulmus::elm_backward")
def _(*arguments: Any) -> list[Tensor]:
    *flat, _, _, _, wanted = arguments
    call = Call._make(flat)
    call = call._replace(dense=call.dense if wanted[0] else None, values=call.values if wanted[1] else None)
    parts: list[Tensor | None] = []
    for name in _DIFFERENTIABLE:
        value = getattr(call, name)
        parts += value if isinstance(value, list) else [value]
    return [
        call.bias.new_empty(0) if tensor is None else torch.empty_like(tensor).contiguous()
        for tensor in parts
    ]


def _remember_for_backward(ctx: Any, inputs: Any, output: Any) -> None:
    """Keep the arguments: tensors where autograd watches over them, the rest, with holes for tensors, as it is."""
    call = Call._make(inputs)
    single = [value if isinstance(value, Tensor) else None for value in call]
    ctx.save_for_backward(*single, *output[3:], *call.later_weights, *call.later_biases)
    ctx.rest = Call._make(None if isinstance(value, (Tensor, list)) else value for value in call)
    ctx.mark_non_differentiable(*output[3:])
    ctx.set_materialize_grads(False)


def _remembered(ctx: Any) -> tuple[Call, list[Tensor]]:
    """The call of `elm` and its last six results."""
    saved, count = ctx.saved_tensors, len(Call._fields)  # once: a checkpoint unpacks them a single time
    last = count + _RESULTS - 3
    single, results, later = saved[:count], saved[count:last], saved[last:]
    call = Call._make(
        rest if tensor is None else tensor for tensor, rest in zip(single, ctx.rest, strict=True)
    )
    layers = len(later) // 2
    call = call._replace(later_weights=list(later[:layers]), later_biases=list(later[layers:]))
    return call, list(results)


def _gradients(ctx: Any, *flowing: Any) -> tuple[Any, ...]:
    return _gradients_by(elm_backward, ctx, flowing)


def _gradients_by(backward: Callable[..., Any], ctx: Any, flowing: tuple[Any, ...]) -> tuple[Any, ...]:
    call, results = _remembered(ctx)
    outputs, branches, memory = flowing[:3]
    if outputs is None:
        width = call.memory_decay.shape[0] if call.readout is None else call.readout.shape[0]
        outputs = call.bias.new_zeros(call.batch, call.time, width)
    given = [
        outputs,
        torch.zeros_like(call.branches) if branches is None else branches,
        torch.zeros_like(call.memory) if memory is None else memory,
    ]
    needed = Call._make(ctx.needs_input_grad[: len(Call._fields)])
    wanted = [bool(needed.dense), bool(needed.values)]
    if double_backward.wanted():
        events = None if call.events is None else Events(*call.events, *call.shape)
        state = call.branches, call.memory
        parts = iter(
            double_backward.gradients(call.dense, events, state, call.layers, call.activation, given)
        )
    else:
        parts = iter(backward(*call, results[:3], results[3:], given, wanted))
    found: dict[str, Any] = {}
    for name in _DIFFERENTIABLE:
        value = getattr(call, name)
        found[name] = [next(parts) for _ in value] if isinstance(value, list) else next(parts)
        if value is None:
            found[name] = None
    if not wanted[0]:
        found["dense"] = None
    if not wanted[1]:
        found["values"] = None
    return tuple(found.get(name) for name in Call._fields)


torch.library.register_autograd("ulmus::elm", _gradients, setup_context=_remember_for_backward)


class _Direct(torch.autograd.Function):
    """The operator without the way through the library, which takes half a millisecond, more than the steps of a small neuron."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, ...]:
        """Arguments of a `Call`, nothing for its lists, then what is in them."""
        count = len(Call._fields)
        last = (count + len(arguments)) // 2
        call = Call._make(arguments[:count])._replace(
            later_weights=list(arguments[count:last]), later_biases=list(arguments[last:])
        )
        results = _elm(*call)
        _remember_for_backward(ctx, call, results)
        return results

    @staticmethod
    def backward(ctx: Any, *flowing: Any) -> tuple[Any, ...]:
        """Gradients of the arguments, in the same order."""
        # Nothing flows back where all gradients are undefined; that is no reason to trace.
        backward = (
            elm_backward if any(traced(part) for part in flowing if part is not None) else _elm_backward
        )
        return _opened(Call._make(_gradients_by(backward, ctx, flowing)))


def _opened(call: Call) -> tuple[Any, ...]:
    """What `_Direct` is given: autograd does not look into lists."""
    single: list[Any] = [None if isinstance(value, list) else value for value in call]
    return (*single, *(call.later_weights or ()), *(call.later_biases or ()))


def run_direct(call: Call) -> tuple[Tensor, ...]:
    """What the operator `elm` returns, with the same gradients."""
    results: tuple[Tensor, ...] = _Direct.apply(*_opened(call))
    return results


for _name, _function in (("elm", _elm), ("elm_backward", _elm_backward)):
    torch.library.impl(f"ulmus::{_name}", "cpu", _untraced(_function))
elm, elm_backward = torch.ops.ulmus.elm.default, torch.ops.ulmus.elm_backward.default
