# mypy: ignore-errors
# Numba gives these functions their types when it compiles them; Python's would be wrong.
"""The whole neuron over a whole batch, forward and backward, in chunks of time whose scratch fits the cache.

Work is cut into units that do not depend on the number of threads: unit u takes the pairs of tiles u, u + units, ... .
Two threads with a single pair take one tile of it each. Every tile of a pair sums gradients of its own, so results are the
same to the last bit for any number of threads.
"""

import numpy as np

from ulmus.kernels.numba_compiling import kernel, part
from ulmus.kernels.numba_inputs import currents, currents_backward, leaky_filter, leaky_filter_backward
from ulmus.kernels.numba_lanes import clear, copy, exchange_float_mode, lanes_of, load, store
from ulmus.kernels.numba_products import GROUP, product
from ulmus.kernels.numba_recurrence import recall, remember, remember_proposals, restore_layers

# x86: results and operands too small for a normal number count as zero. Gradients that decay through thousands of steps become
# such numbers, and cost a hundred cycles each: 13 times the time of a backward pass. Set inside the kernels only, where every
# way out puts the mode back.
FLUSH_DENORMALS = np.uint32(0x8040)


@part
def _move(source, at, target, to, count):
    """`copy` of whole vectors."""
    for c in range(0, count, lanes_of(source)):
        store(target, to + c, load(source, at + c))


@part
def _trace(sizes, net, source, tile, groups, first, steps, branches):
    """Branch traces of every step of a chunk."""
    slot = sizes.rows * sizes.branch_pad
    for g in range(groups):
        at = g * (sizes.chunk + 1) * slot
        currents(sizes, net, source, tile + g, first, steps, branches, at + slot)
        leaky_filter(sizes, net, branches, at, steps)


@part
def _drive(sizes, net, groups, steps, inner, branches):
    """What branches send to the first layer, with its bias, for every step of a chunk."""
    rows, width, pad, lanes = sizes.rows, sizes.width, sizes.branch_pad, lanes_of(inner)
    for g in range(groups):
        drive_at, trace_at = g * sizes.chunk * rows * width, (g * (sizes.chunk + 1) + 1) * rows * pad
        if sizes.project:
            product(
                inner, drive_at, width, GROUP * width, net.bias, 0, 0, 0,
                branches, trace_at, pad, GROUP * pad, 1, steps * rows,
                net.projection, 0, net.pads[0], sizes.branches, net.widths[0],
            )  # fmt: skip
        else:
            for row in range(steps * rows):
                for c in range(0, net.pads[0], lanes):
                    trace = load(branches, trace_at + row * pad + c)
                    store(inner, drive_at + row * width + c, trace + load(net.bias, c))


@part
def _compute(sizes, net, source, tile, groups, first, steps, inner, memory, branches, now):
    """Everything that happens in a chunk, from the input to the memory of every step."""
    _trace(sizes, net, source, tile, groups, first, steps, branches)
    _drive(sizes, net, groups, steps, inner, branches)
    remember(
        sizes, net, inner, 0, sizes.chunk * sizes.rows * sizes.width,
        memory, 0, (sizes.chunk + 1) * sizes.rows * sizes.memory_pad, groups, steps, now,
    )  # fmt: skip


@part
def _restore(sizes, net, source, kept, tile, groups, first, steps, inner, memory, branches, hidden):
    """The same from what was kept of every step: no product has to wait for the step before, and the last is not needed."""
    rows, width, last = sizes.rows, sizes.width, net.columns[sizes.later]
    _trace(sizes, net, source, tile, groups, first, steps, branches)
    for g in range(groups):
        inner_at, memory_at = g * sizes.chunk * rows * width, g * (sizes.chunk + 1) * rows * sizes.memory_pad
        kept_at = ((tile + g) * sizes.time + first) * rows * sizes.kept
        for row in range(steps * rows):
            _move(
                kept, kept_at + row * sizes.kept, inner, inner_at + (row + 1) * width - sizes.kept, sizes.kept
            )
        remember_proposals(sizes, net, inner, inner_at + last, memory, memory_at, steps)
    if sizes.kept == width:  # the pre-activations of hidden layers were kept too
        return
    _drive(sizes, net, groups, steps, inner, branches)
    for g in range(groups):
        inner_at, memory_at = g * sizes.chunk * rows * width, g * (sizes.chunk + 1) * rows * sizes.memory_pad
        restore_layers(
            sizes, net, inner, inner_at, memory, memory_at, steps * rows, hidden, g * sizes.chunk * rows * last
        )  # fmt: skip


@part
def _read_out(sizes, net, tile, first, steps, memory, memory_at, scratch, outputs):
    """Outputs of one tile for a chunk whose memory starts, one slot late, at `memory_at`."""
    rows, pad = sizes.rows, sizes.memory_pad
    present = min(rows, sizes.batch - tile * rows)
    from_array, from_at, from_pad = memory, memory_at + rows * pad, pad
    if sizes.readout:
        product(
            scratch, 0, sizes.output_pad, GROUP * sizes.output_pad, net.readout_bias, 0, 0, 0,
            memory, from_at, pad, GROUP * pad, 1, steps * rows,
            net.readout, 0, sizes.output_pad, sizes.memory, sizes.outputs,
        )  # fmt: skip
        from_array, from_at, from_pad = scratch, 0, sizes.output_pad
    for r in range(present):
        to = ((tile * rows + r) * sizes.time + first) * sizes.outputs
        for t in range(steps):
            copy(
                from_array,
                from_at + (t * rows + r) * from_pad,
                outputs,
                to + t * sizes.outputs,
                sizes.outputs,
            )


@part
def _chunks(sizes):
    return (sizes.time + sizes.chunk - 1) // sizes.chunk


@kernel
def forward(sizes, net, source, kept, outputs, unit, units, parity, together):
    """Forward pass of one unit of work: outputs, and `kept`, where the last slot of both states is the final state."""
    mode = exchange_float_mode(np.uint32(0))
    exchange_float_mode(mode | FLUSH_DENORMALS)
    rows, width, chunk = sizes.rows, sizes.width, sizes.chunk
    memory_slot, branch_slot = rows * sizes.memory_pad, rows * sizes.branch_pad
    # Room for two tiles side by side: a step of one is a chain of products and tanh that each wait for the one before, and the
    # other's fill the gaps. Three would not fit the registers of a block.
    now = np.zeros(2 * rows * sizes.hidden_pad, net.w.dtype)
    scratch = np.empty(chunk * rows * sizes.output_pad, net.w.dtype)
    inner = np.empty(2 * chunk * rows * width, net.w.dtype)
    memory = np.empty(2 * (chunk + 1) * memory_slot, net.w.dtype)
    branches = np.empty(2 * (chunk + 1) * branch_slot, net.w.dtype)
    tile = 2 * unit + parity
    while tile < sizes.tiles:
        groups = min(together, sizes.tiles - tile)
        for number in range(_chunks(sizes)):
            first = number * chunk
            steps = min(chunk, sizes.time - first)
            _enter(sizes, kept, tile, groups, number, memory, branches)
            _compute(sizes, net, source, tile, groups, first, steps, inner, memory, branches, now)
            for g in range(groups):
                edge = (tile + g) * (_chunks(sizes) + 1) + number + 1
                last = g * (chunk + 1) + steps
                copy(memory, last * memory_slot, kept.memory, edge * memory_slot, memory_slot)
                copy(branches, last * branch_slot, kept.branches, edge * branch_slot, branch_slot)
                _keep(sizes, kept.inner, tile + g, first, steps, inner, g * chunk * rows * width)
                at = g * (chunk + 1) * memory_slot
                _read_out(sizes, net, tile + g, first, steps, memory, at, scratch, outputs)
        tile += 2 * units
    exchange_float_mode(mode)


@part
def _keep(sizes, kept, tile, first, steps, inner, inner_at):
    """Keep the last columns of `inner` for backward."""
    at = (tile * sizes.time + first) * sizes.rows * sizes.kept
    for row in range(steps * sizes.rows):
        place = inner_at + (row + 1) * sizes.width - sizes.kept
        _move(inner, place, kept, at + row * sizes.kept, sizes.kept)


@part
def _enter(sizes, kept, tile, groups, number, memory, branches):
    """Copy the state at the start of a chunk into the first slot of the scratch."""
    memory_slot, branch_slot = sizes.rows * sizes.memory_pad, sizes.rows * sizes.branch_pad
    for g in range(groups):
        edge, start = (tile + g) * (_chunks(sizes) + 1) + number, g * (sizes.chunk + 1)
        copy(kept.memory, edge * memory_slot, memory, start * memory_slot, memory_slot)
        copy(kept.branches, edge * branch_slot, branches, start * branch_slot, branch_slot)


@part
def _read_out_backward(
    sizes, net, tile, first, steps, memory, memory_at, scratch, given, sums, slot, outer, outer_at
):
    """Gradient of the memory from that of the outputs (`given`), and of the readout."""
    rows, pad, output_pad = sizes.rows, sizes.memory_pad, sizes.output_pad
    present = min(rows, sizes.batch - tile * rows)
    to_array, to_at, to_pad = outer, outer_at, pad
    if sizes.readout:
        to_array, to_at, to_pad = scratch, 0, output_pad
    clear(to_array, to_at, steps * rows * to_pad)
    for r in range(present):
        at = ((tile * rows + r) * sizes.time + first) * sizes.outputs
        for t in range(steps):
            copy(given, at + t * sizes.outputs, to_array, to_at + (t * rows + r) * to_pad, sizes.outputs)
    if sizes.readout:
        product(
            outer, outer_at, pad, GROUP * pad, net.zeros, 0, 0, 0,
            scratch, 0, output_pad, GROUP * output_pad, 1, steps * rows,
            net.readout_back, 0, pad, sizes.outputs, sizes.memory,
        )  # fmt: skip
        at = slot * sizes.outputs * pad
        product(
            sums.readout, at, pad, GROUP * pad, sums.readout, at, pad, GROUP * pad,
            scratch, 0, 1, GROUP, output_pad, sizes.outputs, memory, memory_at + rows * pad, pad, steps * rows, sizes.memory,
        )  # fmt: skip
        _sum_rows(scratch, 0, output_pad, steps * rows, output_pad, sums.readout_bias, slot * output_pad)


@part
def _sum_rows(matrix, at, stride, rows, columns, sums, sums_at):
    lanes = lanes_of(matrix)
    for c in range(0, columns, lanes):
        total = load(sums, sums_at + c)
        for row in range(rows):
            total = total + load(matrix, at + row * stride + c)
        store(sums, sums_at + c, total)


@part
def _weight_gradients(sizes, net, steps, inner, inner_at, memory, memory_at, hidden, hidden_at, sums, slot):
    """Products of what went into each layer with the gradient of what came out, over all steps of the chunk."""
    rows, width, last = sizes.rows, sizes.width, net.columns[sizes.later]
    for layer in range(sizes.later + 1):
        pad, column = net.pads[layer], net.columns[layer]
        at = slot * len(net.w) + net.w_at[layer]
        if layer == 0:
            product(
                sums.w, at, pad, GROUP * pad, sums.w, at, pad, GROUP * pad,
                memory, memory_at, 1, GROUP, sizes.memory_pad, sizes.memory,
                inner, inner_at + column, width, steps * rows, net.widths[layer],
            )  # fmt: skip
        else:
            product(
                sums.w, at, pad, GROUP * pad, sums.w, at, pad, GROUP * pad,
                hidden, hidden_at + net.columns[layer - 1], 1, GROUP, last, net.widths[layer - 1],
                inner, inner_at + column, width, steps * rows, net.widths[layer],
            )  # fmt: skip
    _sum_rows(inner, inner_at, width, steps * rows, width, sums.bias, slot * width)


@part
def _branch_gradients(sizes, net, source, tile, first, steps, inner, inner_at, branches, branches_at, gradient, sums,
                      slot, scratch):  # fmt: skip
    """From the gradient of the first layer back through projection, filter and synapses of one tile."""
    rows, width, pad = sizes.rows, sizes.width, sizes.branch_pad
    if sizes.project:
        at = slot * sizes.branches * net.pads[0]
        product(
            sums.projection, at, net.pads[0], GROUP * net.pads[0], sums.projection, at, net.pads[0], GROUP * net.pads[0],
            branches, branches_at + rows * pad, 1, GROUP, pad, sizes.branches,
            inner, inner_at, width, steps * rows, net.widths[0],
        )  # fmt: skip
        product(
            gradient, 0, pad, GROUP * pad, net.zeros, 0, 0, 0, inner, inner_at, width, GROUP * width, 1, steps * rows,
            net.projection_back, 0, pad, net.widths[0], sizes.branches,
        )  # fmt: skip
    else:
        for row in range(steps * rows):
            copy(inner, inner_at + row * width, gradient, row * pad, pad)
    leaky_filter_backward(
        sizes, net, gradient, branches, branches_at, steps, sums.initial_branches, tile * rows * pad,
        sums.branch_decay, slot * pad,
    )  # fmt: skip
    currents_backward(
        sizes, net, source, tile, first, steps, gradient, sums.synapses, slot * len(net.synapses),
        sums.dense, sums.values, scratch,
    )  # fmt: skip


@kernel
def backward(sizes, net, source, kept, given, sums, unit, units, parity, together):
    """Backward pass of one unit of work, from the gradient of the outputs (`given`) to the sums of all gradients."""
    mode = exchange_float_mode(np.uint32(0))
    exchange_float_mode(mode | FLUSH_DENORMALS)
    rows, width, chunk, kind = sizes.rows, sizes.width, sizes.chunk, net.w.dtype
    memory_slot, branch_slot, last = (
        rows * sizes.memory_pad,
        rows * sizes.branch_pad,
        net.columns[sizes.later],
    )
    inner = np.empty(2 * chunk * rows * width, kind)
    memory = np.empty(2 * (chunk + 1) * memory_slot, kind)
    branches = np.empty(2 * (chunk + 1) * branch_slot, kind)
    hidden = np.empty(2 * chunk * rows * last, kind)
    now = np.zeros(2 * rows * sizes.hidden_pad, kind)
    outer = np.empty(2 * chunk * memory_slot, kind)
    carry = np.empty(2 * memory_slot, kind)
    gradient = np.empty(chunk * branch_slot, kind)
    read = np.empty(chunk * rows * sizes.output_pad, kind)
    scratch = np.empty(chunk * sizes.input_pad if len(sums.dense) > 0 else 0, kind)
    z_group, m_group, b_group = chunk * rows * width, (chunk + 1) * memory_slot, (chunk + 1) * branch_slot
    slot = 2 * unit + parity
    tile = slot
    while tile < sizes.tiles:
        groups = min(together, sizes.tiles - tile)
        copy(sums.initial_memory, tile * memory_slot, carry, 0, groups * memory_slot)
        # Backward through the chunks, but forward through each first: its inner signals are computed again, or read, while
        # they are in the cache, and nothing else of the whole length is ever needed at once.
        for number in range(_chunks(sizes) - 1, -1, -1):
            first = number * chunk
            steps = min(chunk, sizes.time - first)
            _enter(sizes, kept, tile, groups, number, memory, branches)
            if sizes.kept == 0:
                _compute(sizes, net, source, tile, groups, first, steps, inner, memory, branches, now)
            else:
                _restore(
                    sizes, net, source, kept.inner, tile, groups, first, steps, inner, memory, branches, hidden
                )  # fmt: skip
            for g in range(groups):
                _read_out_backward(
                    sizes, net, tile + g, first, steps, memory, g * m_group, read, given, sums, slot + g,
                    outer, g * chunk * memory_slot,
                )  # fmt: skip
            recall(
                sizes, net, inner, 0, z_group, memory, 0, m_group, groups, steps, hidden, chunk * rows * last,
                outer, chunk * memory_slot, carry, now,
                sums.memory_decay[slot * sizes.memory_pad :], sums.gain[slot * sizes.memory_pad :], sizes.memory_pad,
            )  # fmt: skip
            for g in range(groups):
                _weight_gradients(
                    sizes, net, steps, inner, g * z_group, memory, g * m_group, hidden, g * chunk * rows * last,
                    sums, slot + g,
                )  # fmt: skip
                _branch_gradients(
                    sizes, net, source, tile + g, first, steps, inner, g * z_group, branches, g * b_group,
                    gradient, sums, slot + g, scratch,
                )  # fmt: skip
        copy(carry, 0, sums.initial_memory, tile * memory_slot, groups * memory_slot)
        tile += 2 * units
    exchange_float_mode(mode)
