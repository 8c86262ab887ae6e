# mypy: ignore-errors
# Numba gives these functions their types when it compiles them; Python's would be wrong.
"""Many sequences through one small neuron, forward only: each lane of a vector is a sequence, weights are repeated in all lanes.

Nothing is padded but the batch. A tile is as many sequences as fill three vectors; its signals are matrices ``[feature, tile]``,
so every layer is `product` with the weights in the place of rows. Its bias is the weight of a signal that is always one, so
that what a step touches stays in the first-level cache. Input and outputs are turned in blocks, a chunk of time at a time.
"""

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ulmus.kernels.numba_compiling import kernel, part
from ulmus.kernels.numba_functions import activate, tanh, zero_and_one
from ulmus.kernels.numba_lanes import (
    Lanes,
    copy,
    element_pointer,
    exchange_float_mode,
    fma,
    lanes_of,
    load,
    repeat,
    store,
)
from ulmus.kernels.numba_layout import DIAGONAL
from ulmus.kernels.numba_passes import FLUSH_DENORMALS
from ulmus.kernels.numba_products import GROUP, product

VECTORS = 3
"""Vectors in a tile: as many as the largest block of a product is wide, so that every product runs in its fastest block."""


class Repeated(NamedTuple):
    """Weights as PyTorch has them, ``[out, in]``, with biases among them."""

    widths: Any
    columns: Any
    """Per layer: units, and first row in the matrix of all layers' signals, where a row of ones follows each hidden layer."""
    w: Any
    """First layer ``[projection, bias, recurrent]`` (no projection where there is none), later ones ``[weight, bias]``."""
    w_at: Any
    synapses: Any
    branch_decay: Any
    memory_decay: Any
    gain: Any
    readout: Any
    """``[bias, weight]``"""
    zeros: Any


@intrinsic
def _turn_block(
    typingctx: Any, source: Any, at: Any, stride: Any, rows: Any, target: Any, to: Any, target_stride: Any
) -> Any:
    """Transpose a square of as many numbers as a vector has lanes; where `source` has fewer rows its last one is repeated."""
    lanes = Lanes(source.dtype)
    count, align = lanes.count, lanes.element.bitwidth // 8
    signature = types.void(source, *[types.intp] * 3, target, *[types.intp] * 2)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = ir.VectorType(ir.FloatType() if align == 4 else ir.DoubleType(), count)
        start = element_pointer(context, builder, signature.args[0], args[0], args[1])
        end = element_pointer(context, builder, signature.args[4], args[4], args[5])
        last, square = builder.sub(args[3], args[3].type(1)), []
        for row in range(count):
            number = args[3].type(row)
            number = builder.select(builder.icmp_signed("<", number, last), number, last)
            pointer = builder.gep(start, [builder.mul(number, args[2])])
            square.append(builder.load(builder.bitcast(pointer, vector.as_pointer()), align=align))
        # A perfect shuffle of the rows with each other, as often as the numbers of lanes is a power of two.
        for _ in range(count.bit_length() - 1):
            shuffled = []
            for first, second in zip(square[: count // 2], square[count // 2 :], strict=True):
                for half in (0, count // 2):
                    places = [half + i // 2 + (i % 2) * count for i in range(count)]
                    mask = ir.Constant(ir.VectorType(ir.IntType(32), count), places)
                    shuffled.append(builder.shuffle_vector(first, second, mask))
            square = shuffled
        for row, value in enumerate(square):
            pointer = builder.gep(end, [builder.mul(args[6].type(row), args[6])])
            builder.store(value, builder.bitcast(pointer, vector.as_pointer()), align=align)
        return cgutils.get_null_value(ir.IntType(8).as_pointer())

    return signature, generate


@part
def _enter(source, at, stride, present, numbers, target, tile):
    """``source[sequence, number]`` to ``target[number, sequence]``."""
    lanes = lanes_of(target)
    whole = numbers - numbers % lanes
    for first in range(0, tile, lanes):
        start = at + min(first, present - 1) * stride
        rows = max(1, min(lanes, present - first))
        for i in range(0, whole, lanes):
            _turn_block(source, start + i, stride, rows, target, i * tile + first, tile)
        for i in range(whole, numbers):
            for lane in range(lanes):
                target[i * tile + first + lane] = source[start + min(lane, rows - 1) * stride + i]


@part
def _leave(source, numbers, tile, target, at, stride, present, square):
    """``source[number, sequence]`` to ``target[sequence, number]``."""
    lanes = lanes_of(source)
    whole = numbers - numbers % lanes
    for first in range(0, present, lanes):
        for i in range(0, whole, lanes):
            _turn_block(source, i * tile + first, tile, lanes, square, 0, lanes)
            for lane in range(min(lanes, present - first)):
                store(target, at + (first + lane) * stride + i, load(square, lane * lanes))
        for i in range(whole, numbers):
            for lane in range(min(lanes, present - first)):
                target[at + (first + lane) * stride + i] = source[i * tile + first + lane]


@part
def _layer(out, out_at, start, start_row, weights, weights_at, units, signal, signal_at, inputs, tile):
    """``out = start + weights signal`` for the sequences of a tile."""
    product(
        out, out_at, tile, GROUP * tile, start, 0, start_row, GROUP * start_row,
        weights, weights_at, inputs, GROUP * inputs, 1, units, signal, signal_at, tile, inputs, tile,
    )  # fmt: skip


@part
def _filter(sizes, net, x, x_at, current, state, tile):
    """``b_t = decay b_{t-1} + W_s x_t`` in place."""
    lanes = lanes_of(state)
    if sizes.kind != DIAGONAL:
        _layer(current, 0, net.zeros, 0, net.synapses, 0, sizes.branches, x, x_at, sizes.inputs, tile)
    for branch in range(sizes.branches):
        decay = repeat(state, net.branch_decay[branch])
        for c in range(branch * tile, (branch + 1) * tile, lanes):
            trace = decay * load(state, c)
            if sizes.kind == DIAGONAL:
                store(state, c, fma(repeat(state, net.synapses[branch]), load(x, x_at + c), trace))
            else:
                store(state, c, trace + load(current, c))


@part
def _remember(sizes, net, z, state, tile):
    """One step of the memory, in place; equations in `numba_recurrence.remember`. `state` holds branches, ones, memory."""
    lanes, later, branches = lanes_of(z), sizes.later, sizes.branches
    zero, one = zero_and_one(z)
    if sizes.project:
        _layer(z, 0, net.zeros, 0, net.w, 0, net.widths[0], state, 0, branches + 1 + sizes.memory, tile)
    else:
        _layer(z, 0, state, tile, net.w, 0, net.widths[0], state, branches * tile, 1 + sizes.memory, tile)
    for layer in range(1, later + 1):
        below, units = net.columns[layer - 1] * tile, net.widths[layer - 1]
        for c in range(below, below + units * tile, lanes):
            store(z, c, activate(sizes.activation, z, c, zero, one))
        _layer(
            z,
            net.columns[layer] * tile,
            net.zeros,
            0,
            net.w,
            net.w_at[layer],
            net.widths[layer],
            z,
            below,
            units + 1,
            tile,
        )
    last, memory_at = net.columns[later] * tile, (branches + 1) * tile
    for unit in range(sizes.memory):
        decay, gain = repeat(z, net.memory_decay[unit]), repeat(z, net.gain[unit])
        for c in range(unit * tile, (unit + 1) * tile, lanes):
            store(
                state, memory_at + c, fma(decay, load(state, memory_at + c), gain * tanh(load(z, last + c)))
            )


@kernel
def forward_many(sizes, net, dense, branch_state, memory_state, outputs, chunk, first_tile, tiles):
    """Forward pass of every `tiles`-th tile of sequences; the states, ``[batch, units]``, become the final ones."""
    mode = exchange_float_mode(np.uint32(0))
    exchange_float_mode(mode | FLUSH_DENORMALS)
    lanes = lanes_of(net.w)
    tile, inputs, width, kind = VECTORS * lanes, sizes.inputs, sizes.outputs, net.w.dtype
    x, read = np.empty(chunk * inputs * tile, kind), np.empty(chunk * width * tile, kind)
    current = np.empty(sizes.branches * tile if sizes.kind != DIAGONAL else 0, kind)
    state, z = np.ones((sizes.branches + 1 + sizes.memory) * tile, kind), np.ones(sizes.width * tile, kind)
    branches, memory = state[: sizes.branches * tile], state[(sizes.branches + 1) * tile :]
    square = np.empty(lanes * lanes, kind)
    for begin in range(first_tile * tile, sizes.batch, tiles * tile):
        present = min(tile, sizes.batch - begin)
        _enter(branch_state, begin * sizes.branches, sizes.branches, present, sizes.branches, branches, tile)
        _enter(memory_state, begin * sizes.memory, sizes.memory, present, sizes.memory, memory, tile)
        for first in range(0, sizes.time, chunk):
            steps, row = min(chunk, sizes.time - first), begin * sizes.time + first
            _enter(dense, row * inputs, sizes.time * inputs, present, steps * inputs, x, tile)
            for t in range(steps):
                _filter(sizes, net, x, t * inputs * tile, current, state, tile)
                _remember(sizes, net, z, state, tile)
                y_at = t * width * tile
                if sizes.readout:
                    ones_at = sizes.branches * tile
                    _layer(
                        read,
                        y_at,
                        net.zeros,
                        0,
                        net.readout,
                        0,
                        width,
                        state,
                        ones_at,
                        1 + sizes.memory,
                        tile,
                    )
                else:
                    copy(memory, 0, read, y_at, width * tile)
            _leave(read, steps * width, tile, outputs, row * width, sizes.time * width, present, square)
        _leave(
            branches,
            sizes.branches,
            tile,
            branch_state,
            begin * sizes.branches,
            sizes.branches,
            present,
            square,
        )
        _leave(memory, sizes.memory, tile, memory_state, begin * sizes.memory, sizes.memory, present, square)
    exchange_float_mode(mode)
