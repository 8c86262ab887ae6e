# mypy: ignore-errors
# Numba gives these functions their types when it compiles them; Python's would be wrong.
"""One step of neurons at a time: for closed loops, where a call must cost little more than its arithmetic.

Everything lies in three flat arrays, since every array costs a call from Python half a microsecond: whole numbers (`plan`, laid
out by `Plan`), the weights of every set one after the other, and a record for every neuron: what drives its first layer,
memory, outputs, and what the detector of spikes remembers. Neurons that share a set of weights are computed eight at a time.
"""

from typing import NamedTuple

import numpy as np

from ulmus.kernels.numba_compiling import kernel, part
from ulmus.kernels.numba_functions import activate, tanh, zero_and_one
from ulmus.kernels.numba_lanes import exchange_float_mode, fma, lanes_of, load, prefetch, repeat, store
from ulmus.kernels.numba_passes import FLUSH_DENORMALS
from ulmus.kernels.numba_products import GROUP, product

TILE = 8
"""Neurons of one set of weights that are computed together: the rows of the largest block of a product."""
LAYERS_AT = 32
"""Where in the plan the layers after the first begin: width below, padded width, place of weights and of biases."""


class Plan(NamedTuple):
    """Places in the array of whole numbers: sizes, then places in a set of weights, then places in a neuron's record."""

    neurons: int = 0
    set_size: int = 1
    """Neurons that share a set of weights."""
    weights_at: int = 2
    set_stride: int = 3
    state_at: int = 4
    record: int = 5
    inputs: int = 6
    traces: int = 7
    """Branches, or units of the first layer where input is sent to it before it is filtered."""
    trace_pad: int = 8
    project: int = 9
    first_pad: int = 10
    memory: int = 11
    memory_pad: int = 12
    outputs: int = 13
    output_pad: int = 14
    later: int = 15
    activation: int = 16
    width: int = 17
    decay: int = 18
    projection: int = 19
    bias: int = 20
    recurrent: int = 21
    memory_decay: int = 22
    gain: int = 23
    readout: int = 24
    readout_bias: int = 25
    memory_at: int = 26
    outputs_at: int = 27
    detector_at: int = 28
    refractory: int = 29
    """Steps after a spike in which no stretch above threshold counts."""
    threshold: int = 30
    """Place of the spike threshold, as a logit, in the set of weights."""
    synapses_at: int = 31
    """Synapses of all sets, counted from the first set: apart from the rest, which is read whole at every step, one set after the
    other."""


P = Plan()
ARMED, BEFORE, SINCE = 1, 0, 2
"""What the detector remembers: the logit of the step before, whether this stretch may fire, steps since the last spike."""
QUIET, RISING, DONE = 0.0, 1.0, 2.0


@part
def padded_size(plan):
    """Neurons of a set, with those that only fill up the last tile: a block of rows reads and writes all of its rows."""
    size = plan[P.set_size]
    return 1 if size == 1 else (size + TILE - 1) // TILE * TILE


@part
def record_of(plan, neuron):
    """Where the record of a neuron begins."""
    size = plan[P.set_size]
    return plan[P.state_at] + (neuron // size * padded_size(plan) + neuron % size) * plan[P.record]


@part
def detect(plan, weights, set_at, state, at):
    """Whether the step before was the first peak of a stretch above threshold; takes in the logit of this step.

    A peak shows one step later. No time is lost: outputs of step k are about spikes around (k + 1) dt.
    """
    logit, place = state[at + plan[P.outputs_at]], at + plan[P.detector_at]
    before, phase, since = state[place], state[place + ARMED], state[place + SINCE] + 1
    spike = phase == RISING and logit < before
    if spike:
        phase, since = DONE, 1.0
    if not logit > weights[set_at + plan[P.threshold]]:
        phase = QUIET
    elif phase == QUIET:
        phase = RISING if since > plan[P.refractory] else DONE
    state[place], state[place + ARMED], state[place + SINCE] = logit, phase, min(since, 1e6)
    return spike


@part
def receive(plan, weights, set_at, synapses_at, state, at, row_start, inputs, values, row):
    """``b = decay b + W_s x`` of one neuron."""
    lanes, pad, decay = lanes_of(state), plan[P.trace_pad], set_at + plan[P.decay]
    for c in range(0, pad, lanes):
        store(state, at + c, load(weights, decay + c) * load(state, at + c))
    for event in range(row_start[row], row_start[row + 1]):
        value, weight_at = repeat(state, values[event]), synapses_at + inputs[event] * pad
        for c in range(0, pad, lanes):
            store(state, at + c, fma(value, load(weights, weight_at + c), load(state, at + c)))


@part
def compute(plan, weights, set_at, state, at, rows, z, h):
    """Memory and outputs of `rows` neurons whose records follow one another; equations in `numba_recurrence.remember`."""
    lanes, record, width, first = lanes_of(state), plan[P.record], plan[P.width], plan[P.first_pad]
    pad, memory_at, bias = plan[P.memory_pad], at + plan[P.memory_at], set_at + plan[P.bias]
    # Read from the plan once: after every store to the state the compiler has to believe that the plan may be another.
    activation, later = plan[P.activation], plan[P.later]
    zero, one = zero_and_one(state)
    if plan[P.project]:
        product(
            z, 0, width, GROUP * width, weights, bias, 0, 0, state, at, record, GROUP * record, 1, rows,
            weights, set_at + plan[P.projection], first, plan[P.traces], first,
        )  # fmt: skip
    else:
        for r in range(rows):
            for c in range(0, first, lanes):
                store(z, r * width + c, load(state, at + r * record + c) + load(weights, bias + c))
    product(
        z, 0, width, GROUP * width, z, 0, width, GROUP * width, state, memory_at, record, GROUP * record, 1, rows,
        weights, set_at + plan[P.recurrent], first, plan[P.memory], first,
    )  # fmt: skip
    below, below_pad = 0, first
    for layer in range(later):
        entry = LAYERS_AT + 4 * layer
        column, layer_pad = below + below_pad, plan[entry + 1]
        for r in range(rows):
            for c in range(0, below_pad, lanes):
                store(h, r * width + c, activate(activation, z, r * width + below + c, zero, one))
        product(
            z, column, width, GROUP * width, weights, set_at + plan[entry + 3], 0, 0, h, 0, width, GROUP * width, 1,
            rows, weights, set_at + plan[entry + 2], layer_pad, plan[entry], layer_pad,
        )  # fmt: skip
        below, below_pad = column, layer_pad
    decay, gain = set_at + plan[P.memory_decay], set_at + plan[P.gain]
    for r in range(rows):
        for c in range(0, pad, lanes):
            place = memory_at + r * record + c
            change = load(weights, gain + c) * tanh(load(z, r * width + below + c))
            store(state, place, fma(load(weights, decay + c), load(state, place), change))
    product(
        state, at + plan[P.outputs_at], record, GROUP * record, weights, set_at + plan[P.readout_bias], 0, 0,
        state, memory_at, record, GROUP * record, 1, rows,
        weights, set_at + plan[P.readout], plan[P.output_pad], plan[P.memory], plan[P.output_pad],
    )  # fmt: skip


@part
def advance(plan, weights, state, row_start, inputs, values, first_row, row_stride, tile, z, h):
    """One step of one tile of neurons; neuron n finds its events in row ``first_row + n * row_stride``."""
    size, padded = plan[P.set_size], padded_size(plan)
    rows = min(TILE, padded)
    tiles_of_set = padded // rows
    number, first = tile // tiles_of_set, tile % tiles_of_set * rows
    set_at = plan[P.weights_at] + number * plan[P.set_stride]
    at = plan[P.state_at] + (number * padded + first) * plan[P.record]
    synapses_at = plan[P.weights_at] + plan[P.synapses_at] + number * plan[P.inputs] * plan[P.trace_pad]
    record = plan[P.record]
    if (
        size == 1 and number + 1 < plan[P.neurons]
    ):  # the next neuron's synapses are in no cache, and in no order
        row, following = (
            first_row + (number + 1) * row_stride,
            synapses_at + plan[P.inputs] * plan[P.trace_pad],
        )
        for event in range(row_start[row], row_start[row + 1]):
            for c in range(0, plan[P.trace_pad], lanes_of(state)):
                prefetch(weights, following + inputs[event] * plan[P.trace_pad] + c)
    for r in range(min(rows, size - first)):
        row = first_row + (number * size + first + r) * row_stride
        receive(plan, weights, set_at, synapses_at, state, at + r * record, row_start, inputs, values, row)
    compute(plan, weights, set_at, state, at, rows, z, h)


@part
def tile_count(plan):
    """Tiles of a plan."""
    padded = padded_size(plan)
    return plan[P.neurons] // plan[P.set_size] * (padded // min(TILE, padded))


@kernel
def run_steps(plan, weights, state, row_start, inputs, values, steps, spikes, outputs):
    """So many steps of all neurons of a plan.

    Row ``neuron * steps + step`` of the events is what that neuron receives in that step. `spikes`, ``[neurons, steps]``, and
    `outputs`, ``[neurons, steps, outputs]``, are written.
    """
    mode = exchange_float_mode(np.uint32(0))
    exchange_float_mode(mode | FLUSH_DENORMALS)
    z, h = np.zeros(TILE * plan[P.width], state.dtype), np.zeros(TILE * plan[P.width], state.dtype)
    count = plan[P.outputs]
    for step in range(steps):
        for tile in range(tile_count(plan)):
            advance(plan, weights, state, row_start, inputs, values, step, steps, tile, z, h)
        for neuron in range(plan[P.neurons]):
            at = record_of(plan, neuron)
            set_at = plan[P.weights_at] + neuron // plan[P.set_size] * plan[P.set_stride]
            spikes[neuron * steps + step] = detect(plan, weights, set_at, state, at)
            for i in range(count):
                outputs[(neuron * steps + step) * count + i] = state[at + plan[P.outputs_at] + i]
    exchange_float_mode(mode)
