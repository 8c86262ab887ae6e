# mypy: ignore-errors
# Numba gives these functions their types when it compiles them; Python's would be wrong.
"""From input to branch traces and back: synaptic currents, the leaky filter, and their gradients."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ulmus.kernels.numba_compiling import kernel, part
from ulmus.kernels.numba_lanes import (
    clear,
    copy,
    element_pointer,
    fma,
    lanes_of,
    load,
    repeat,
    store,
    sum_lanes,
)
from ulmus.kernels.numba_layout import DENSE, EVENTS
from ulmus.kernels.numba_products import GROUP, product

BAD_ENDS, FALLING, BAD_INPUT = 1, 2, 3
"""What may be wrong with events: first or last row start, row starts that descend, an input that does not exist."""


@part
def currents(sizes, net, source, tile, first, steps, out, out_at):
    """Weighted input of every branch, ``W_s x_t``, into the rows of `out`."""
    lanes, rows, pad = lanes_of(out), sizes.rows, sizes.branch_pad
    present = min(rows, sizes.batch - tile * rows)
    # The other kinds write every number that is read later; rows without a sequence must still hold finite ones, since the
    # weight gradients multiply them with zeros.
    if sizes.kind == EVENTS or present < rows:
        clear(out, out_at, steps * rows * pad)
    for r in range(present):
        sequence = (tile * rows + r) * sizes.time + first
        if sizes.kind == EVENTS:
            for t in range(steps):
                at = out_at + (t * rows + r) * pad
                for event in range(source.row_start[sequence + t], source.row_start[sequence + t + 1]):
                    value = repeat(out, source.values[event])
                    weight_at = source.inputs[event] * pad
                    for c in range(0, pad, lanes):
                        store(out, at + c, fma(value, load(net.synapses, weight_at + c), load(out, at + c)))
        elif sizes.kind == DENSE:
            product(
                out, out_at + r * pad, rows * pad, GROUP * rows * pad, net.zeros, 0, 0, 0,
                source.dense, sequence * sizes.inputs, sizes.inputs, GROUP * sizes.inputs, 1, steps,
                net.synapses, 0, pad, sizes.inputs, sizes.branches,
            )  # fmt: skip
        else:
            for t in range(steps):
                at, x_at = out_at + (t * rows + r) * pad, (sequence + t) * sizes.inputs
                whole = sizes.inputs - sizes.inputs % lanes
                for c in range(0, whole, lanes):
                    store(out, at + c, load(net.synapses, c) * load(source.dense, x_at + c))
                for c in range(whole, sizes.inputs):
                    out[at + c] = net.synapses[c] * source.dense[x_at + c]


@part
def leaky_filter(sizes, net, traces, at, steps):
    """``b_t = decay b_{t-1} + i_t`` in place; the slot before the currents holds the trace before them."""
    lanes, pad = lanes_of(traces), sizes.branch_pad
    slot = sizes.rows * pad
    for row in range(0, steps * slot, pad):
        for c in range(row, row + pad, lanes):
            trace = fma(load(net.branch_decay, c - row), load(traces, at + c), load(traces, at + slot + c))
            store(traces, at + slot + c, trace)


@part
def leaky_filter_backward(sizes, net, gradient, traces, at, steps, carry, carry_at, decay_sum, sum_at):
    """``g_t = db_t + decay g_{t+1}`` in place, and the sum of ``g_t b_{t-1}`` for the gradient of the decay."""
    lanes, pad = lanes_of(gradient), sizes.branch_pad
    slot = sizes.rows * pad
    for t in range(steps - 1, -1, -1):
        for row in range(0, slot, pad):
            for c in range(0, pad, lanes):
                place = t * slot + row + c
                g = load(gradient, place) + load(carry, carry_at + row + c)
                store(gradient, place, g)
                store(carry, carry_at + row + c, load(net.branch_decay, c) * g)
                store(decay_sum, sum_at + c, fma(g, load(traces, at + place), load(decay_sum, sum_at + c)))


@part
def currents_backward(
    sizes, net, source, tile, first, steps, gradient, synapse_sum, sum_at, dense, values, scratch
):
    """Gradients of synaptic weights, and of the input where wanted, from those of the currents."""
    rows, pad = sizes.rows, sizes.branch_pad
    for r in range(min(rows, sizes.batch - tile * rows)):
        sequence = (tile * rows + r) * sizes.time + first
        if sizes.kind == EVENTS:
            _events_backward(sizes, net, source, sequence, steps, gradient, r, synapse_sum, sum_at, values)
        elif sizes.kind == DENSE:
            product(
                synapse_sum, sum_at, pad, GROUP * pad, synapse_sum, sum_at, pad, GROUP * pad,
                source.dense, sequence * sizes.inputs, 1, GROUP, sizes.inputs, sizes.inputs,
                gradient, r * pad, rows * pad, steps, sizes.branches,
            )  # fmt: skip
            if len(dense) > 0:
                _input_gradient(sizes, net, sequence, steps, gradient, r, dense, scratch)
        else:
            _diagonal_backward(
                sizes, net, source.dense, sequence, steps, gradient, r * pad, synapse_sum, sum_at, dense
            )


@part
def _diagonal_backward(sizes, net, x, sequence, steps, gradient, at, synapse_sum, sum_at, dense):
    """The same where every input has one weight: so many inputs at once as a vector holds, then those that are left."""
    inputs, slot, lanes = sizes.inputs, sizes.rows * sizes.branch_pad, lanes_of(gradient)
    whole, x_at = inputs - inputs % lanes, sequence * inputs
    for c in range(0, whole, lanes):
        total, weight = load(synapse_sum, sum_at + c), load(net.synapses, c)
        for t in range(steps):
            g, place = load(gradient, at + t * slot + c), x_at + t * inputs + c
            total = fma(load(x, place), g, total)
            if len(dense) > 0:
                store(dense, place, weight * g)
        store(synapse_sum, sum_at + c, total)
    for t in range(steps):
        for c in range(whole, inputs):
            g, place = gradient[at + t * slot + c], x_at + t * inputs + c
            synapse_sum[sum_at + c] += x[place] * g
            if len(dense) > 0:
                dense[place] = net.synapses[c] * g


@part
def _events_backward(sizes, net, source, sequence, steps, gradient, r, synapse_sum, sum_at, values):
    """Every event adds its value times the gradient of its step to its input's weights."""
    lanes, rows, pad = lanes_of(gradient), sizes.rows, sizes.branch_pad
    for t in range(steps):
        at = (t * rows + r) * pad
        for event in range(source.row_start[sequence + t], source.row_start[sequence + t + 1]):
            value, weight_at = repeat(gradient, source.values[event]), source.inputs[event] * pad
            for c in range(0, pad, lanes):
                place = sum_at + weight_at + c
                store(synapse_sum, place, fma(value, load(gradient, at + c), load(synapse_sum, place)))
            if len(values) > 0:
                inner = repeat(gradient, gradient.dtype.type(0))
                for c in range(0, pad, lanes):
                    inner = fma(load(net.synapses, weight_at + c), load(gradient, at + c), inner)
                values[event] = sum_lanes(inner)


@part
def _input_gradient(sizes, net, sequence, steps, gradient, r, dense, scratch):
    """``W_s^T g_t`` for every step of one sequence."""
    rows, pad, input_pad = sizes.rows, sizes.branch_pad, sizes.input_pad
    product(
        scratch, 0, input_pad, GROUP * input_pad, net.zeros, 0, 0, 0,
        gradient, r * pad, rows * pad, GROUP * rows * pad, 1, steps,
        net.synapses_back, 0, input_pad, sizes.branches, sizes.inputs,
    )  # fmt: skip
    for t in range(steps):
        to, start = (sequence + t) * sizes.inputs, t * input_pad
        copy(scratch, start, dense, to, sizes.inputs)


@intrinsic
def _occupied(typingctx: Any, array: Any, at: Any) -> Any:
    """Bit i is set where element ``at + i`` is not zero, for 64 elements; NaN is not zero."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = element_pointer(context, builder, signature.args[0], *args)
        vector = ir.VectorType(pointer.type.pointee, 64)
        numbers = builder.load(builder.bitcast(pointer, vector.as_pointer()), align=1)
        nothing = ir.Constant(vector, None)
        if isinstance(pointer.type.pointee, ir.IntType):
            bits = builder.icmp_unsigned("!=", numbers, nothing)
        else:
            bits = builder.fcmp_unordered("!=", numbers, nothing)
        return builder.bitcast(bits, ir.IntType(64))

    return types.uint64(array, types.intp), generate


@intrinsic
def _lowest(typingctx: Any, bits: Any) -> Any:
    """Position of the lowest bit that is set."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.IntType(1)(1))

    return types.int64(types.uint64), generate


@kernel
def compress(dense, width, row_start, inputs, values):
    """Events of a dense array, row by row; stops and returns False when there are more than fit."""
    count, capacity = 0, len(inputs)
    for row in range(len(row_start) - 1):
        row_start[row] = count
        # Counted only when a full row would not fit, so that the usual row is read once.
        if count + width > capacity and count + _count(dense, row * width, width) > capacity:
            return False
        at = row * width
        for c in range(0, width - 63, 64):
            bits = _occupied(dense, at + c)
            while bits != 0:
                place = c + _lowest(bits)
                inputs[count], values[count] = place, dense[at + place]
                count += 1
                bits &= bits - types.uint64(1)
        done = width - width % 64
        if done < width and width >= 64:  # the last 64 once more, without those that were seen
            bits = _occupied(dense, at + width - 64) >> types.uint64(64 - width % 64)
            while bits != 0:
                place = done + _lowest(bits)
                inputs[count], values[count] = place, dense[at + place]
                count += 1
                bits &= bits - types.uint64(1)
        elif done < width:
            for place in range(done, width):
                if dense[at + place] != 0:
                    inputs[count], values[count] = place, dense[at + place]
                    count += 1
    row_start[len(row_start) - 1] = count
    return True


@part
def _count(dense, at, width):
    occupied = 0
    for place in range(at, at + width):
        occupied += dense[place] != 0
    return occupied


@kernel
def find_fault(row_start, inputs, channels):
    """What is wrong with events, 0 where nothing is."""
    if row_start[0] != 0 or row_start[len(row_start) - 1] != len(inputs):
        return BAD_ENDS
    falls, outside = 0, 0
    for row in range(len(row_start) - 1):
        falls += row_start[row + 1] < row_start[row]
    for event in range(len(inputs)):
        outside += (inputs[event] < 0) | (inputs[event] >= channels)
    if falls > 0:
        return FALLING
    return BAD_INPUT if outside > 0 else 0
