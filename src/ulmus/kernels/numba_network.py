# mypy: ignore-errors
# Numba gives these functions their types when it compiles them; Python's would be wrong.
"""Connected neurons, many steps in one call, on any number of threads with equal results.

In every step the first thread puts the spikes of the step before into the queue and takes out what arrives now, sorted by
neuron; then each thread advances tiles of its own. Threads meet at two barriers a step. What one neuron receives is added up in
an order that depends on nothing but the network: the step of a spike, its neuron, its connection; then played and random input.

Arrays that turn out too small are no error: the loop stops before anything is changed, and goes on when they have been grown.
"""

import os
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import intrinsic

from ulmus.kernels.numba_compiling import kernel, part
from ulmus.kernels.numba_lanes import element_pointer, exchange_float_mode
from ulmus.kernels.numba_passes import FLUSH_DENORMALS
from ulmus.kernels.numba_step import TILE, P, advance, detect, record_of, tile_count

DONE, GROW_QUEUE, GROW_EVENTS, GROW_SPIKES = 0, 1, 2, 3
STATUS, STEP, FREE, FREE_COUNT, SPIKING, SPIKES, ARRIVED, LEFT = 0, 1, 2, 3, 4, 5, 8, 16
"""Places in `control`: why the loop stopped, the next step, first free event of the queue and how many there are, neurons that
spiked in the last step, spikes recorded; then, on cache lines of their own, threads at the barrier, and barriers passed."""
CONTROL = 24


class Network(NamedTuple):
    """What stays the same."""

    plans: Any
    """A row of `numba_step.Plan` for every cell type."""
    first: Any
    """Number of the first neuron of every cell type, then of all neurons."""
    weights: Any
    out_start: Any
    """Connections of a neuron: ``out_start[n]`` to ``out_start[n + 1]``."""
    out_neuron: Any
    out_input: Any
    out_value: Any
    out_delay: Any
    """In steps, one or more."""
    played_start: Any
    """Played events of a step: ``played_start[step - first_step]`` and on."""
    played_neuron: Any
    played_input: Any
    played_value: Any
    poisson_group: Any
    """Of every Poisson source: first neuron, end, first place in `poisson_input`, end."""
    poisson_mean: Any
    """Events of one neuron in one step."""
    poisson_input: Any
    poisson_value: Any


class Activity(NamedTuple):
    """What changes."""

    control: Any
    state: Any
    slot_head: Any
    """First event of the queue for each of the next steps, -1 where there is none."""
    slot_tail: Any
    queue_next: Any
    queue_neuron: Any
    queue_input: Any
    queue_value: Any
    spiking: Any
    """Whether each neuron spikes in this step."""
    spiking_neurons: Any
    event_neuron: Any
    """Events of this step as they come, then sorted by neuron."""
    event_input: Any
    event_value: Any
    row_start: Any
    sorted_input: Any
    sorted_value: Any
    spike_step: Any
    spike_neuron: Any
    voltage: Any
    """Outputs of recorded neurons, ``[steps, recorded, outputs]``, or empty."""
    memory: Any
    recorded: Any
    """Numbers of the neurons whose outputs and memory are recorded."""


@intrinsic
def _atomic_add(typingctx: Any, array: Any, at: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = element_pointer(context, builder, signature.args[0], *args[:2])
        return builder.atomic_rmw("add", pointer, args[2], "seq_cst")

    return types.int64(array, types.intp, types.int64), generate


@intrinsic
def _atomic_load(typingctx: Any, array: Any, at: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = element_pointer(context, builder, signature.args[0], *args)
        return builder.load_atomic(pointer, "seq_cst", 8)

    return types.int64(array, types.intp), generate


_yield_core = types.ExternalFunction("sched_yield", types.int32()) if os.name == "posix" else None


if _yield_core is None:

    @part
    def _wait_a_little(turns):
        return turns + 1

else:

    @part
    def _wait_a_little(turns):
        if turns > 200:  # threads may be more than cores: let the one that is waited for run
            _yield_core()
        return turns + 1


@part
def _meet(control, threads, passed):
    """Wait for all threads; returns how many times they have met."""
    if threads == 1:
        return passed
    if _atomic_add(control, ARRIVED, 1) == threads - 1:
        _atomic_add(control, ARRIVED, -threads)
        _atomic_add(control, LEFT, 1)
    turns = 0
    while _atomic_load(control, LEFT) == passed:
        turns = _wait_a_little(turns)
    return passed + 1


@part
def _scrambled(x):
    """The finaliser of splitmix64."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@part
def _uniform(key, number):
    """A random number in [0, 1) that depends on nothing but key and number: nothing has to be saved to go on."""
    x = _scrambled(key + np.uint64(number) * np.uint64(0x9E3779B97F4A7C15))
    return (x >> np.uint64(11)) * 1.1102230246251565e-16


@part
def _send(network, activity):
    """Put the spikes of the step before into the queue."""
    control, step = activity.control, activity.control[STEP]
    needed = 0
    for i in range(control[SPIKING]):
        neuron = activity.spiking_neurons[i]
        needed += network.out_start[neuron + 1] - network.out_start[neuron]
    if needed > control[FREE_COUNT]:
        control[STATUS] = GROW_QUEUE
        return
    slots = len(activity.slot_head)
    for i in range(control[SPIKING]):
        neuron = activity.spiking_neurons[i]
        for c in range(network.out_start[neuron], network.out_start[neuron + 1]):
            place = control[FREE]
            control[FREE] = activity.queue_next[place]
            activity.queue_neuron[place], activity.queue_input[place] = (
                network.out_neuron[c],
                network.out_input[c],
            )
            activity.queue_value[place], activity.queue_next[place] = network.out_value[c], -1
            slot = (step - 1 + network.out_delay[c]) % slots
            if activity.slot_head[slot] < 0:
                activity.slot_head[slot] = place
            else:
                activity.queue_next[activity.slot_tail[slot]] = place
            activity.slot_tail[slot] = place
    control[FREE_COUNT] -= needed
    control[SPIKING] = 0


@part
def _collect(network, activity, first_step, seed):
    """Events of this step, in a fixed order; returns how many, or -1 where they do not fit."""
    step, count, room = activity.control[STEP], 0, len(activity.event_neuron)
    place = activity.slot_head[step % len(activity.slot_head)]
    while place >= 0:
        if count == room:
            return -1
        activity.event_neuron[count], activity.event_input[count] = (
            activity.queue_neuron[place],
            activity.queue_input[place],
        )
        activity.event_value[count] = activity.queue_value[place]
        count, place = count + 1, activity.queue_next[place]
    if len(network.played_start) > 0:
        for i in range(network.played_start[step - first_step], network.played_start[step - first_step + 1]):
            if count == room:
                return -1
            activity.event_neuron[count], activity.event_input[count] = (
                network.played_neuron[i],
                network.played_input[i],
            )
            activity.event_value[count] = network.played_value[i]
            count += 1
    for source in range(len(network.poisson_mean)):
        start, end, low, high = network.poisson_group[source]
        mean = network.poisson_mean[source]
        for neuron in range(start, end):
            stream = _scrambled(np.uint64(neuron) + (np.uint64(source) << np.uint64(40)))
            key = _scrambled(np.uint64(seed) ^ _scrambled(np.uint64(step) ^ stream))
            number, left = 0, mean
            while (
                left > 0
            ):  # Knuth's product of uniform numbers, in parts whose exponential does not underflow
                limit, product = np.exp(-min(left, 30.0)), _uniform(key, number)
                left, number = left - 30.0, number + 1
                while product > limit:
                    if count == room:
                        return -1
                    chosen = low + int(_uniform(key, number) * (high - low))
                    product *= _uniform(key, number + 1)
                    number += 2
                    activity.event_neuron[count], activity.event_input[count] = (
                        neuron,
                        network.poisson_input[chosen],
                    )
                    activity.event_value[count] = network.poisson_value[chosen]
                    count += 1
    return count


@part
def _sort(activity, count, neurons):
    """Events by neuron, those of one neuron in the order that they had; and the queue's places free again."""
    control, start = activity.control, activity.row_start
    for neuron in range(neurons + 1):
        start[neuron] = 0
    for i in range(count):
        start[activity.event_neuron[i] + 1] += 1
    for neuron in range(neurons):
        start[neuron + 1] += start[neuron]
    for i in range(count):
        neuron = activity.event_neuron[i]
        place = start[neuron]
        activity.sorted_input[place], activity.sorted_value[place] = (
            activity.event_input[i],
            activity.event_value[i],
        )
        start[neuron] = place + 1
    for neuron in range(neurons, 0, -1):  # every start has moved to its end: move them back by one
        start[neuron] = start[neuron - 1]
    start[0] = 0
    slot = control[STEP] % len(activity.slot_head)
    place = activity.slot_head[slot]
    while place >= 0:
        after = activity.queue_next[place]
        activity.queue_next[place] = control[FREE]
        control[FREE] = place
        control[FREE_COUNT] += 1
        place = after
    activity.slot_head[slot] = -1


@part
def _prepare(network, activity, first_step, neurons, seed):
    """All that one thread does before a step."""
    control = activity.control
    control[STATUS] = DONE
    if len(activity.spike_step) - control[SPIKES] < neurons:
        control[STATUS] = GROW_SPIKES
        return
    _send(network, activity)
    if control[STATUS] != DONE:
        return
    count = _collect(network, activity, first_step, seed)
    if count < 0:
        control[STATUS] = GROW_EVENTS
        return
    _sort(activity, count, neurons)


@part
def _note(network, activity, first_step, neurons):
    """All that one thread does after a step: spikes in the order of neurons, and recordings."""
    control = activity.control
    step = control[STEP]
    for neuron in range(neurons):
        if activity.spiking[neuron]:
            activity.spiking_neurons[control[SPIKING]] = neuron
            control[SPIKING] += 1
            activity.spike_step[control[SPIKES]], activity.spike_neuron[control[SPIKES]] = step, neuron
            control[SPIKES] += 1
    if len(activity.recorded) > 0:
        outputs, units = activity.voltage.shape[2], activity.memory.shape[2]
        group = 0
        for i in range(len(activity.recorded)):
            neuron = activity.recorded[i]
            group = 0
            while neuron >= network.first[group + 1]:
                group += 1
            plan = network.plans[group]
            at = record_of(plan, neuron - network.first[group])
            for c in range(min(outputs, plan[P.outputs])):
                activity.voltage[step - first_step, i, c] = activity.state[at + plan[P.outputs_at] + c]
            for c in range(min(units, plan[P.memory])):
                activity.memory[step - first_step, i, c] = activity.state[at + plan[P.memory_at] + c]
    control[STEP] = step + 1


@kernel
def prepare(network, activity, first_step, seed):
    """What comes before a step that is computed elsewhere: events by neuron; sets `STATUS`."""
    _prepare(network, activity, first_step, network.first[-1], seed)


@kernel
def note(network, activity, first_step):
    """What comes after such a step: spikes and recordings."""
    _note(network, activity, first_step, network.first[-1])


@kernel
def simulate(network, activity, first_step, last_step, thread, threads, seed):
    """Steps up to `last_step`, or until something has to grow, by one of the threads; `first_step` is where recordings begin."""
    mode = exchange_float_mode(np.uint32(0))
    exchange_float_mode(mode | FLUSH_DENORMALS)
    groups, control, width = len(network.plans), activity.control, 0
    for group in range(groups):
        width = max(width, network.plans[group][P.width])
    neurons = network.first[groups]
    z, h = np.zeros(TILE * width, activity.state.dtype), np.zeros(TILE * width, activity.state.dtype)
    passed = 0
    step = control[STEP]
    while step < last_step:
        if thread == 0:
            _prepare(network, activity, first_step, neurons, seed)
        passed = _meet(control, threads, passed)
        if control[STATUS] != DONE:
            break
        for group in range(groups):
            plan, first = network.plans[group], network.first[group]
            tiles = tile_count(plan)
            for tile in range(tiles * thread // threads, tiles * (thread + 1) // threads):
                advance(
                    plan, network.weights, activity.state, activity.row_start, activity.sorted_input,
                    activity.sorted_value, first, 1, tile, z, h,
                )  # fmt: skip
            count = plan[P.neurons]
            passed = _meet(control, threads, passed)  # a neuron's tile may be another thread's
            for neuron in range(count * thread // threads, count * (thread + 1) // threads):
                set_at = plan[P.weights_at] + neuron // plan[P.set_size] * plan[P.set_stride]
                spike = detect(plan, network.weights, set_at, activity.state, record_of(plan, neuron))
                activity.spiking[first + neuron] = spike
        passed = _meet(control, threads, passed)
        step += 1
        if thread == 0:
            _note(network, activity, first_step, neurons)
    exchange_float_mode(mode)
