"""The recurrence by fused CPU kernels: same arguments and results as the reference, differentiable once."""

import torch
from torch import Tensor

from ulmus.errors import ShapeError
from ulmus.kernels import reference
from ulmus.kernels.arrangement import keep_shapes, kind_of, sizes_of
from ulmus.kernels.events import Events
from ulmus.kernels.folding import Layers, filtered_inputs, folded, projects_first
from ulmus.kernels.numba_call import compressed, run_forward, worth_compressing
from ulmus.kernels.numba_inputs import BAD_ENDS, BAD_INPUT, FALLING, find_fault
from ulmus.kernels.numba_layout import EVENTS, NOTHING, PROPOSALS, SIGNALS
from ulmus.kernels.operator import Call, elm, run_direct
from ulmus.kernels.tracing import traced
from ulmus.kernels.weights import ELMState, Weights


def run(
    inputs: Tensor | Events, state: ELMState, weights: Weights, activation: str, budget_mebibytes: float
) -> tuple[Tensor, ELMState]:
    """Outputs of every step and the state after the last one, as `reference.run`.

    Raises:
        ShapeError: events whose numbers do not fit each other.
    """
    shape = (
        (inputs.batch, inputs.time, inputs.channels) if isinstance(inputs, Events) else tuple(inputs.shape)
    )
    if shape[0] == 0 or shape[1] == 0:
        return reference.run(inputs.to(weights.recurrent.dtype), state, weights, activation)
    projected = projects_first(inputs, weights)
    layers, branches = folded(weights, state.branches, projected, isinstance(inputs, Events))
    dense, events = (None, checked(inputs)) if isinstance(inputs, Events) else (inputs.contiguous(), None)
    outputs, after, memory = _computed(
        dense, events, shape, (branches, state.memory), layers, activation, budget_mebibytes
    )
    if projected:
        after = filtered_inputs(inputs, state.branches, weights)
    return outputs, ELMState(after, memory)


def _computed(
    dense: Tensor | None,
    events: Events | None,
    shape: tuple[int, ...],
    state: tuple[Tensor, Tensor],
    layers: Layers,
    activation: str,
    budget_mebibytes: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Through the operator where the computation is traced, else straight to the kernels, with a gradient where one is wanted."""
    batch, time, inputs = shape
    tracing = traced(layers.recurrent)
    compress = (
        dense is not None
        and layers.synapses.dim() == 2
        and not dense.requires_grad
        and worth_compressing(dense)
    )
    parts = None if events is None else events[:3]
    tensors = [dense, *state, *layers[:5], *layers.later_weights, *layers.later_biases, *layers[7:]]
    if parts is not None:
        tensors.append(parts[2])
    differentiable = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
    if not differentiable and not tracing:
        if compress and dense is not None:
            parts, _ = compressed(dense, layers.bias)
        return run_forward(dense, parts, (batch, time, inputs), state, layers, activation, NOTHING)[:3]
    keep = NOTHING
    if differentiable:
        keep = _most_that_fits((batch, time, inputs), dense, layers, activation, budget_mebibytes)
    source = dense, *(parts or (None, None, None)), *shape
    call = Call._make((*source, *state, *layers, activation, keep, compress))
    result = elm(*call) if tracing else run_direct(call)
    return result[0], result[1], result[2]


def _most_that_fits(
    shape: tuple[int, int, int],
    dense: Tensor | None,
    layers: Layers,
    activation: str,
    budget_mebibytes: float,
) -> int:
    """How much of the forward pass can be kept for backward within the budget."""
    kind = EVENTS if dense is None else kind_of(dense, layers.synapses)
    for keep in (SIGNALS, PROPOSALS):
        shapes = keep_shapes(sizes_of(*shape, kind, layers, activation, keep))
        numbers = sum(a * b * c * d for a, b, c, d in shapes)
        if numbers * layers.bias.element_size() <= budget_mebibytes * 2**20:
            return keep
    return NOTHING


def checked(events: Events) -> Events:
    """The same events, safe for code that does not check where it writes."""
    if torch.compiler.is_compiling():
        return events
    rows, count = events.batch * events.time, len(events.inputs)
    starts = events.row_start
    fits = len(starts) == rows + 1 and len(events.values) == count
    fault = find_fault(starts.numpy(), events.inputs.numpy(), events.channels) if fits else BAD_ENDS
    if fault == BAD_ENDS:
        raise ShapeError(
            f"events have {len(starts)} row starts from {int(starts[0])} to {int(starts[-1])}, {count} inputs and "
            f"{len(events.values)} values; expected batch * time + 1 = {rows + 1} row starts from 0 to the number of "
            "events, and as many values as inputs. Build events with the functions of ulmus.trials."
        )
    if fault == FALLING:
        raise ShapeError(
            "the row starts of events fall somewhere; expected them to ascend. Sort the events by row."
        )
    if fault == BAD_INPUT:
        raise ShapeError(
            f"events name inputs from {int(events.inputs.min())} to {int(events.inputs.max())}; expected 0 to "
            f"channels - 1 = {events.channels - 1}. Check the number of channels."
        )
    return events._replace(
        row_start=starts.to(torch.int32).contiguous(),
        inputs=events.inputs.to(torch.int32).contiguous(),
        values=events.values.contiguous(),
    )
