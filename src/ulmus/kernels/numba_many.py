# mypy: ignore-errors
# Numba gives these functions their types when it compiles them; Python's would be wrong.
"""Many sequences through one small neuron, forward: each lane of a vector is a sequence, weights are repeated in all lanes.

Nothing is padded but the batch. A tile is as many sequences as fill two or three vectors; its signals are matrices
``[feature, tile]``, so every layer is `product` with the weights in the place of rows. Its bias is the weight of a signal that is
always one, so that what a step touches stays in the first-level cache. Input and outputs are turned in blocks, a chunk of time at
a time. Every sum runs in the order of `numba_passes`: results are the same to the last bit.
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

VECTORS = (3, 2)
"""Vectors in a tile: as many as the largest block of a product is wide, so that every product runs in its fastest block, or one
less where that leaves fewer lanes empty."""


class Repeated(NamedTuple):
    """Weights as PyTorch has them, ``[out, in]``, with biases before them, and rows of zeros up to whole blocks of rows.

    A block of a single row would add up in another order.
    """

    widths: Any
    columns: Any
    """Per layer: units, and first row in the matrix of all layers' signals, where a row of ones is before each layer."""
    w: Any
    """First layer ``[bias, projection, recurrent]`` (no projection where there is none), later ones ``[bias, weight]``."""
    w_at: Any
    synapses: Any
    branch_decay: Any
    memory_decay: Any
    gain: Any
    readout: Any
    readout_bias: Any
    """Each in all lanes of a tile."""
    zeros: Any
    """As many as a tile has sequences."""


@intrinsic
def _turn_block(
    typingctx: Any, source: Any, at: Any, stride: Any, rows: Any, target: Any, to: Any, row: Any, group: Any
) -> Any:
    """Transpose a square of as many numbers as a vector has lanes; where `source` has fewer rows its last one is repeated.

    Rows of `target` are `row` numbers apart in a group, groups of rows `group`.
    """
    lanes = Lanes(source.dtype)
    count, align = lanes.count, lanes.element.bitwidth // 8
    signature = types.void(source, *[types.intp] * 3, target, *[types.intp] * 3)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = ir.VectorType(ir.FloatType() if align == 4 else ir.DoubleType(), count)
        start = element_pointer(context, builder, signature.args[0], args[0], args[1])
        end = element_pointer(context, builder, signature.args[4], args[4], args[5])
        last, square = builder.sub(args[3], args[3].type(1)), []
        for index in range(count):
            number = args[3].type(index)
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
        for index, value in enumerate(square):
            inside, outside = args[6].type(index % GROUP), args[6].type(index // GROUP)
            pointer = builder.gep(
                end, [builder.add(builder.mul(inside, args[6]), builder.mul(outside, args[7]))]
            )
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
            _turn_block(source, start + i, stride, rows, target, i * tile + first, tile, GROUP * tile)
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
            _turn_block(source, i * tile + first, tile, lanes, square, 0, lanes, GROUP * lanes)
            for lane in range(min(lanes, present - first)):
                store(target, at + (first + lane) * stride + i, load(square, lane * lanes))
        for i in range(whole, numbers):
            for lane in range(min(lanes, present - first)):
                target[at + (first + lane) * stride + i] = source[i * tile + first + lane]


@part
def _keep(source, source_at, units, tile, target, at, row, group, present, square):
    """``source[unit, sequence]`` to rows of whole vectors, in groups as tiles of `numba_passes` have them."""
    lanes = lanes_of(source)
    for first in range(0, present, lanes):
        start = at + first // GROUP * group
        for i in range(0, units, lanes):
            rows = min(lanes, units - i)
            if present - first >= lanes:
                _turn_block(source, source_at + i * tile + first, tile, rows, target, start + i, row, group)
            else:
                _turn_block(source, source_at + i * tile + first, tile, rows, square, 0, lanes, GROUP * lanes)
                for lane in range(present - first):
                    place = start + lane // GROUP * group + lane % GROUP * row + i
                    store(target, place, load(square, lane * lanes))


@part
def _layer(
    out, out_at, start, start_at, start_row, weights, weights_at, units, signal, signal_at, inputs, tile
):
    """``out = start + weights signal`` for the sequences of a tile; writes whole blocks of rows."""
    rows = (units + GROUP - 1) // GROUP * GROUP
    product(
        out, out_at, tile, GROUP * tile, start, start_at, start_row, GROUP * start_row,
        weights, weights_at, inputs, GROUP * inputs, 1, rows, signal, signal_at, tile, inputs, tile,
    )  # fmt: skip


@part
def _filter(sizes, net, x, x_at, current, state, branches_at, tile):
    """``b_t = decay b_{t-1} + W_s x_t`` in place."""
    lanes = lanes_of(state)
    if sizes.kind != DIAGONAL:
        _layer(current, 0, net.zeros, 0, 0, net.synapses, 0, sizes.branches, x, x_at, sizes.inputs, tile)
    for branch in range(sizes.branches):
        decay = repeat(state, net.branch_decay[branch])
        for c in range(branch * tile, (branch + 1) * tile, lanes):
            received = load(current, c)
            if sizes.kind == DIAGONAL:
                received = repeat(state, net.synapses[branch]) * load(x, x_at + c)
            store(state, branches_at + c, fma(decay, load(state, branches_at + c), received))


@part
def _remember(sizes, net, z, state, branches_at, memory_at, tile):
    """One step of the memory, in place; equations in `numba_recurrence.remember`.

    `state` holds ones, branches, memory; without a projection branches, ones, memory.
    """
    lanes, later = lanes_of(z), sizes.later
    zero, one = zero_and_one(z)
    if sizes.project:
        inputs = 1 + sizes.branches + sizes.memory
        _layer(z, tile, net.zeros, 0, 0, net.w, 0, net.widths[0], state, 0, inputs, tile)
    else:
        ones_at, inputs = memory_at - tile, 1 + sizes.memory
        _layer(z, tile, state, branches_at, tile, net.w, 0, net.widths[0], state, ones_at, inputs, tile)
    for layer in range(1, later + 1):
        below, units = net.columns[layer - 1] * tile, net.widths[layer - 1]
        for c in range(below, below + units * tile, lanes):
            store(z, c, activate(sizes.activation, z, c, zero, one))
        _layer(
            z, net.columns[layer] * tile, net.zeros, 0, 0, net.w, net.w_at[layer], net.widths[layer],
            z, below - tile, 1 + units, tile,
        )  # fmt: skip
    last = net.columns[later] * tile
    for unit in range(sizes.memory):
        decay, gain = repeat(z, net.memory_decay[unit]), repeat(z, net.gain[unit])
        for c in range(unit * tile, (unit + 1) * tile, lanes):
            change = gain * tanh(load(z, last + c))
            store(state, memory_at + c, fma(decay, load(state, memory_at + c), change))


@kernel
def forward_many(sizes, net, dense, branch_state, memory_state, outputs, kept, chunk, first_tile, tiles):
    """Forward pass of every `tiles`-th tile of sequences; the states, ``[batch, units]``, become the final ones.

    States at the edges of chunks are kept for backward, as by `numba_passes.forward`.
    """
    mode = exchange_float_mode(np.uint32(0))
    exchange_float_mode(mode | FLUSH_DENORMALS)
    lanes = lanes_of(net.w)
    tile, inputs, width, kind = len(net.zeros), sizes.inputs, sizes.outputs, net.w.dtype
    room = GROUP * tile  # a block writes all of its rows
    x, read = np.empty(chunk * inputs * tile, kind), np.empty(chunk * width * tile + room, kind)
    current = np.empty(sizes.branches * tile + room, kind)
    state = np.ones((1 + sizes.branches + sizes.memory) * tile + room, kind)
    z = np.ones((net.columns[sizes.later] + sizes.memory) * tile + room, kind)
    branches_at, memory_at = tile * sizes.project, (1 + sizes.branches) * tile
    branches, memory = state[branches_at : branches_at + sizes.branches * tile], state[memory_at:]
    square = np.empty(lanes * lanes, kind)
    edges = (sizes.time + sizes.chunk - 1) // sizes.chunk + 1
    for begin in range(first_tile * tile, sizes.batch, tiles * tile):
        present = min(tile, sizes.batch - begin)
        rows = min(tile, sizes.tiles * GROUP - begin)
        _enter(branch_state, begin * sizes.branches, sizes.branches, present, sizes.branches, branches, tile)
        _enter(memory_state, begin * sizes.memory, sizes.memory, present, sizes.memory, memory, tile)
        first = 0
        while first < sizes.time:
            steps, row = (
                min(chunk, sizes.chunk - first % sizes.chunk, sizes.time - first),
                begin * sizes.time + first,
            )
            if first % sizes.chunk == 0:
                edge = (begin // GROUP * edges + first // sizes.chunk) * GROUP
                for units, at, pad, target in (
                    (sizes.memory, memory_at, sizes.memory_pad, kept.memory),
                    (sizes.branches, branches_at, sizes.branch_pad, kept.branches),
                ):
                    _keep(state, at, units, tile, target, edge * pad, pad, edges * GROUP * pad, rows, square)
            _enter(dense, row * inputs, sizes.time * inputs, present, steps * inputs, x, tile)
            for t in range(steps):
                _filter(sizes, net, x, t * inputs * tile, current, state, branches_at, tile)
                _remember(sizes, net, z, state, branches_at, memory_at, tile)
                y_at = t * width * tile
                if sizes.readout:
                    _layer(
                        read,
                        y_at,
                        net.readout_bias,
                        0,
                        tile,
                        net.readout,
                        0,
                        width,
                        state,
                        memory_at,
                        sizes.memory,
                        tile,
                    )
                else:
                    copy(memory, 0, read, y_at, width * tile)
            _leave(read, steps * width, tile, outputs, row * width, sizes.time * width, present, square)
            first += steps
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
