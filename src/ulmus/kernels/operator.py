"""The fused kernels as operators of torch: the computation, shapes for tracing, the gradient."""

from typing import Any

import torch
from torch import Tensor

from ulmus.kernels.arrangement import keep_shapes, kind_of, sizes_of
from ulmus.kernels.folding import Layers
from ulmus.kernels.numba_call import Triple, compressed, compressed_capacity, run_backward, run_forward
from ulmus.kernels.numba_layout import EVENTS

_LAYERS = slice(9, 20)  # where the fields of `Layers` are among the arguments


@torch.library.custom_op("ulmus::elm", mutates_args=(), device_types="cpu")
def elm(
    dense: Tensor | None,
    row_start: Tensor | None,
    event_inputs: Tensor | None,
    event_values: Tensor | None,
    batch: int,
    time: int,
    inputs: int,
    branches: Tensor,
    memory: Tensor,
    synapses: Tensor,
    branch_decay: Tensor,
    projection: Tensor | None,
    bias: Tensor,
    recurrent: Tensor,
    later_weights: list[Tensor],
    later_biases: list[Tensor],
    memory_decay: Tensor,
    gain: Tensor,
    readout: Tensor | None,
    readout_bias: Tensor | None,
    activation: str,
    keep: int,
    compress: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Outputs, final branches and memory; then what backward needs: inner signals, states, and the events found."""
    layers = Layers(
        synapses, branch_decay, projection, bias, recurrent, later_weights, later_biases, memory_decay, gain,
        readout, readout_bias,
    )  # fmt: skip
    events, found = _given(row_start, event_inputs, event_values), _no_events(bias)
    if compress and dense is not None:
        events, found = compressed(dense, bias)
    result = run_forward(dense, events, (batch, time, inputs), (branches, memory), layers, activation, keep)
    return *result, *found


def _given(*parts: Tensor | None) -> Triple | None:
    row_start, inputs, values = parts
    return None if row_start is None or inputs is None or values is None else (row_start, inputs, values)


def _no_events(like: Tensor) -> Triple:
    empty = torch.empty(0, dtype=torch.int32, device=like.device)
    return empty, empty.clone(), like.new_empty(0)


@elm.register_fake
def _(*args: Any) -> tuple[Tensor, ...]:
    dense, shape, branches, memory = args[0], args[4:7], args[7], args[8]
    layers, activation, keep, compress = Layers(*args[_LAYERS]), *args[20:]
    kind = EVENTS if dense is None or compress else kind_of(dense, layers.synapses)
    sizes = sizes_of(shape[0], shape[1], shape[2], kind, layers, activation, keep)
    new = layers.bias.new_empty
    found = _no_events(layers.bias)
    if compress and dense is not None:
        capacity = compressed_capacity(dense)
        found = (
            new(shape[0] * shape[1] + 1, dtype=torch.int32),
            new(capacity, dtype=torch.int32),
            new(capacity),
        )
    kept = [new(part) for part in keep_shapes(sizes)]
    return new(*shape[:2], sizes.outputs), torch.empty_like(branches), torch.empty_like(memory), *kept, *found


@torch.library.custom_op("ulmus::elm_backward", mutates_args=(), device_types="cpu")
def elm_backward(
    dense: Tensor | None,
    row_start: Tensor | None,
    event_inputs: Tensor | None,
    event_values: Tensor | None,
    batch: int,
    time: int,
    inputs: int,
    branches: Tensor,
    memory: Tensor,
    synapses: Tensor,
    branch_decay: Tensor,
    projection: Tensor | None,
    bias: Tensor,
    recurrent: Tensor,
    later_weights: list[Tensor],
    later_biases: list[Tensor],
    memory_decay: Tensor,
    gain: Tensor,
    readout: Tensor | None,
    readout_bias: Tensor | None,
    activation: str,
    keep: int,
    compress: bool,
    kept: list[Tensor],
    found: list[Tensor],
    given: list[Tensor],
    wanted: list[bool],
) -> list[Tensor]:
    """Gradients of all tensors among the first twenty arguments, lists flattened; empty where there is no tensor."""
    layers = Layers(
        synapses, branch_decay, projection, bias, recurrent, later_weights, later_biases, memory_decay, gain,
        readout, readout_bias,
    )  # fmt: skip
    events = _given(row_start, event_inputs, event_values)
    if compress and int(found[0][0]) == 0:
        events = found[0], found[1], found[2]
    result = run_backward(
        dense, events, (batch, time, inputs), (kept[0], kept[1], kept[2]), (given[0], given[1], given[2]), layers,
        activation, keep, (wanted[0], wanted[1]),
    )  # fmt: skip
    return [part for value in result.values() for part in (value if isinstance(value, list) else [value])]


@elm_backward.register_fake
def _(*args: Any) -> list[Tensor]:
    dense, values, wanted = args[0], args[3], args[26]
    layers = Layers(*args[_LAYERS])
    nothing = layers.bias.new_empty(0)
    tensors = [
        dense if wanted[0] else None, values if wanted[1] else None, args[7], args[8],
        *layers[:5], *layers.later_weights, *layers.later_biases, *layers[7:],
    ]  # fmt: skip
    return [
        nothing.clone() if tensor is None else torch.empty_like(tensor).contiguous() for tensor in tensors
    ]


def _remember_for_backward(ctx: Any, inputs: Any, output: Any) -> None:
    tensors = [*inputs[:4], *inputs[7:14], *inputs[16:20], *output[3:]]
    ctx.save_for_backward(*tensors, *inputs[14], *inputs[15])
    ctx.mark_non_differentiable(*output[3:])
    ctx.set_materialize_grads(False)
    ctx.later, ctx.shape, ctx.how = len(inputs[14]), inputs[4:7], inputs[20:]


def _gradients(ctx: Any, *flowing: Any) -> tuple[Any, ...]:
    saved = ctx.saved_tensors
    later = ctx.later
    weights, biases = list(saved[21 : 21 + later]), list(saved[21 + later :])
    outputs, branches, memory = flowing[:3]
    if outputs is None:
        width = saved[12].shape[0] if saved[13] is None else saved[13].shape[0]
        outputs = saved[7].new_zeros(*ctx.shape[:2], width)
    given = [
        outputs,
        torch.zeros_like(saved[4]) if branches is None else branches,
        torch.zeros_like(saved[5]) if memory is None else memory,
    ]
    wanted = [ctx.needs_input_grad[0], ctx.needs_input_grad[3]]
    parts = elm_backward(
        *saved[:4], *ctx.shape, *saved[4:11], weights, biases, *saved[11:15], *ctx.how,
        list(saved[15:18]), list(saved[18:21]), given, wanted,
    )  # fmt: skip
    after = 9 + 2 * later
    projection, readout = saved[8], saved[13]
    return (
        parts[0] if wanted[0] else None, None, None, parts[1] if wanted[1] else None, None, None, None,
        parts[2], parts[3], parts[4], parts[5], None if projection is None else parts[6], parts[7], parts[8],
        list(parts[9 : 9 + later]), list(parts[9 + later : after]), parts[after], parts[after + 1],
        None if readout is None else parts[after + 2], None if readout is None else parts[after + 3],
        None, None, None,
    )  # fmt: skip


elm.register_autograd(_gradients, setup_context=_remember_for_backward)
