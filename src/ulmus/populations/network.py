"""The arrays of a running population, and the threads that run it."""

from collections.abc import Mapping, Sequence
from threading import Thread
from typing import Any

import numpy as np
import torch


class Wiring:
    """Connections and external input, as they are added."""

    def __init__(self, neurons: int) -> None:
        self.neurons = neurons
        self._connections: list[tuple[Any, ...]] = []
        self._poisson: list[tuple[range, float, Any, Any]] = []

    def connect(self, source: Any, target: Any, inputs: Any, values: Any, steps: Any) -> None:
        """Connections of equal count each."""
        self._connections.append((source, target, inputs, values, steps))

    def poisson(self, cells: range, mean: float, inputs: Any, values: Any) -> None:
        """So many events a step for each of the cells, at inputs drawn from these."""
        self._poisson.append((cells, mean, inputs, values))

    def add_to(self, found: Any) -> None:
        """Take all into a hash."""
        for parts in self._connections:
            for part in parts:
                found.update(np.ascontiguousarray(part).tobytes())
        for cells, mean, inputs, values in self._poisson:
            found.update(repr((cells, mean)).encode())
            found.update(np.ascontiguousarray(inputs).tobytes() + np.ascontiguousarray(values).tobytes())

    def arrays(self, dtype: Any) -> dict[str, Any]:
        """As `numba_network.Network` has them: connections by the neuron that they come from."""
        kinds = (np.int64, np.int32, np.int32, dtype, np.int32)
        joined = [
            np.concatenate([np.asarray(parts[i], kind) for parts in self._connections] or [np.zeros(0, kind)])
            for i, kind in enumerate(kinds)
        ]
        order = np.argsort(joined[0], kind="stable")
        source, target, inputs, values, steps = (part[order] for part in joined)
        ends = np.cumsum([0, *(len(inputs) for _, _, inputs, _ in self._poisson)])
        groups = [
            [cells.start, cells.stop, ends[i], ends[i + 1]] for i, (cells, *_) in enumerate(self._poisson)
        ]
        return {
            "out_start": np.searchsorted(source, np.arange(self.neurons + 1)),
            "out_neuron": target, "out_input": inputs, "out_value": values, "out_delay": steps,
            "poisson_group": np.asarray(groups, np.int64).reshape(-1, 4),
            "poisson_mean": np.asarray([mean for _, mean, _, _ in self._poisson], np.float64),
            "poisson_input": np.concatenate([np.zeros(0, np.int32), *(p[2] for p in self._poisson)]).astype(np.int32),
            "poisson_value": np.concatenate([np.zeros(0), *(p[3] for p in self._poisson)]).astype(dtype),
        }  # fmt: skip


class Running:
    """A network and its activity, between two calls of the compiled loop.

    On a device the state of the neurons is in `groups`, one for each cell type, and what `activity` holds of it counts no more.
    """

    def __init__(self, network: Any, activity: Any, groups: Sequence[Any]) -> None:
        self.network, self.activity, self.groups = network, activity, groups

    @property
    def step(self) -> int:
        """The next step."""
        from ulmus.kernels.numba_network import STEP

        return int(self.activity.control[STEP])

    def arrays(self) -> dict[str, Any]:
        """All that has to be kept to go on, without places in memory: events on their way in the order of their steps."""
        from ulmus.kernels.numba_network import SPIKING, STEP

        now = self.activity
        after = now.queue_next.tolist()
        places: list[int] = []
        counts: list[int] = []
        for head in now.slot_head.tolist():
            before, place = len(places), head
            while place >= 0:
                places.append(place)
                place = after[place]
            counts.append(len(places) - before)
        chosen = np.array(places, np.int64)
        return {
            "step": np.array([now.control[STEP]]),
            "state": np.concatenate(
                [group.state.cpu().numpy().ravel() for group in self.groups] or [now.state]
            ),
            "spiking": now.spiking_neurons[: now.control[SPIKING]].copy(),
            "event_slot": np.repeat(np.arange(len(counts)), counts),
            "event_neuron": now.queue_neuron[chosen],
            "event_input": now.queue_input[chosen],
            "event_value": now.queue_value[chosen],
        }

    def restore(self, arrays: Mapping[str, Any]) -> None:
        """Go on from these.

        Raises:
            ValueError: they are not what a population of this kind keeps.
        """
        from ulmus.kernels.numba_network import FREE, FREE_COUNT, SPIKING, STEP
        from ulmus.kernels.numba_step import P

        now, slots = self.activity, len(self.activity.slot_head)
        neurons = len(now.spiking)
        (step,) = _whole(arrays, "step", 2**53).tolist()
        spiking = _whole(arrays, "spiking", neurons)
        slot, neuron = _whole(arrays, "event_slot", slots), _whole(arrays, "event_neuron", neurons)
        inputs_of = np.repeat(self.network.plans[:, P.inputs], np.diff(self.network.first))
        events = len(slot)
        if len(neuron) != events or (np.diff(slot) < 0).any() or len(spiking) > neurons:
            raise ValueError("its events are not in order, or not complete")
        inputs = _whole(arrays, "event_input", inputs_of[neuron])
        state, value = (np.asarray(arrays[name]) for name in ("state", "event_value"))
        if (
            state.shape != now.state.shape
            or value.shape != (events,)
            or {state.dtype, value.dtype} != {now.state.dtype}
        ):
            raise ValueError("its states or events have another size")
        room = max(len(now.queue_next), 2 * events)
        queue = {name: np.zeros(room, getattr(now, name).dtype) for name in _QUEUE}
        for name, values in zip(_QUEUE, (neuron, inputs, value), strict=True):
            queue[name][:events] = values
        first, end = (np.searchsorted(slot, np.arange(slots), side) for side in ("left", "right"))
        some = end > first
        behind = np.append(np.arange(1, room), -1)
        behind[end[some] - 1] = -1
        control = np.zeros_like(now.control)
        control[STEP], control[SPIKING], control[FREE], control[FREE_COUNT] = (
            step,
            len(spiking),
            events,
            room - events,
        )
        spiking_neurons = np.zeros_like(now.spiking_neurons)
        spiking_neurons[: len(spiking)] = spiking
        self.activity = now._replace(
            control=control, state=state.copy(), slot_head=np.where(some, first, -1), slot_tail=np.where(some, end - 1, -1),
            queue_next=behind, spiking_neurons=spiking_neurons, **queue,
        )  # fmt: skip
        for group, at in zip(self.groups, self.network.plans[:, P.state_at].tolist(), strict=False):
            own = state[at : at + group.state.numel()].reshape(group.state.shape)
            group.state.copy_(torch.from_numpy(own))


_QUEUE = ("queue_neuron", "queue_input", "queue_value")


def _whole(arrays: Mapping[str, Any], name: str, below: Any) -> Any:
    """Whole numbers from 0 on.

    Raises:
        ValueError: they are not.
    """
    values = np.asarray(arrays[name])
    if values.ndim != 1 or values.dtype.kind not in "iu" or np.shape(below) not in ((), values.shape):
        raise ValueError(f"{name} are no whole numbers")
    if (values < 0).any() or (values >= below).any():
        raise ValueError(f"{name} are beyond what the population has")
    return values.astype(np.int64)


def new_running(arranged: Sequence[Any], wiring: Wiring, device: torch.device | None) -> Running:
    """A network at rest, for the compiled loop or on a device."""
    from ulmus.kernels.numba_network import CONTROL, FREE, FREE_COUNT, Activity, Network
    from ulmus.kernels.numba_step import P

    length = max(len(one.plan) for one in arranged)
    plans = np.zeros((len(arranged), length), np.int64)
    for row, one in enumerate(arranged):
        plans[row, : len(one.plan)] = one.plan
        plans[row, P.weights_at] = sum(len(other.weights) for other in arranged[:row])
        plans[row, P.state_at] = sum(len(other.state) for other in arranged[:row])
    state = np.concatenate([one.state for one in arranged])
    kind, neurons = state.dtype, wiring.neurons
    wires = wiring.arrays(kind)
    slots = int(wires["out_delay"].max(initial=1)) + 1
    first = np.concatenate([[0], np.cumsum([one.plan[P.neurons] for one in arranged])]).astype(np.int64)
    none = np.zeros(0, np.int64)
    network = Network(
        plans=plans, first=first, weights=np.concatenate([one.weights for one in arranged]),
        played_start=none, played_neuron=none, played_input=none, played_value=np.zeros(0, kind), **wires,
    )  # fmt: skip
    room = max(1024, 2 * neurons)
    control = np.zeros(CONTROL, np.int64)
    control[FREE], control[FREE_COUNT] = 0, room
    activity = Activity(
        control=control, state=state,
        slot_head=np.full(slots, -1), slot_tail=np.full(slots, -1),
        queue_next=np.append(np.arange(1, room), -1), queue_neuron=np.zeros(room, np.int32),
        queue_input=np.zeros(room, np.int32), queue_value=np.zeros(room, kind),
        spiking=np.zeros(neurons, np.uint8), spiking_neurons=np.zeros(neurons, np.int64),
        event_neuron=np.zeros(room, np.int64), event_input=np.zeros(room, np.int64),
        event_value=np.zeros(room, kind), row_start=np.zeros(neurons + 1, np.int64),
        sorted_input=np.zeros(room, np.int64), sorted_value=np.zeros(room, kind),
        spike_step=np.zeros(room, np.int64), spike_neuron=np.zeros(room, np.int64),
        voltage=np.zeros((0, 0, 0), kind), memory=np.zeros((0, 0, 0), kind), recorded=none,
    )  # fmt: skip
    if device is None:
        return Running(network, activity, [])
    from ulmus.kernels.torch_step import TorchNeurons

    return Running(network, activity, [TorchNeurons(one, device) for one in arranged])


def grown(activity: Any, status: int) -> Any:
    """The same with twice the room for what the loop had too little of; what was given stays as it is."""
    from ulmus.kernels.numba_network import FREE, FREE_COUNT, GROW_EVENTS, GROW_QUEUE

    def twice(name: str) -> Any:
        array = getattr(activity, name)
        return np.concatenate([array, np.zeros_like(array)])

    if status == GROW_QUEUE:
        room = len(activity.queue_next)
        new = {name: twice(name) for name in ("queue_neuron", "queue_input", "queue_value")}
        # The new places come before those that are still free.
        behind = np.append(
            np.arange(room + 1, 2 * room), activity.control[FREE] if activity.control[FREE_COUNT] else -1
        )
        new["queue_next"] = np.concatenate([activity.queue_next, behind])
        new["control"] = activity.control.copy()
        new["control"][FREE] = room
        new["control"][FREE_COUNT] += room
        return activity._replace(**new)
    names = (
        ("event_neuron", "event_input", "event_value", "sorted_input", "sorted_value")
        if status == GROW_EVENTS
        else ("spike_step", "spike_neuron")
    )
    return activity._replace(**{name: twice(name) for name in names})


def run_threads(
    running: Running, played: tuple[Any, ...] | None, last_step: int, recorded: Any, threads: int, seed: int
) -> tuple[tuple[Any, Any], Any, Any]:
    """Run to the last step; returns steps and neurons of spikes, outputs and memory of recorded neurons."""
    from ulmus.kernels.numba_network import ARRIVED, DONE, LEFT, SPIKES, STATUS, simulate
    from ulmus.kernels.numba_step import P

    network, first_step, kind = running.network, running.step, running.activity.state.dtype
    if played is not None:
        starts, neurons, inputs, values = played
        network = network._replace(
            played_start=starts.astype(np.int64), played_neuron=neurons, played_input=inputs,
            played_value=values.astype(kind),
        )  # fmt: skip
    steps = last_step - first_step if len(recorded) else 0
    shape = steps, len(recorded)
    outputs, units = int(network.plans[:, P.outputs].max()), int(network.plans[:, P.memory].max())
    voltage, memory = np.full((*shape, outputs), np.nan, kind), np.full((*shape, units), np.nan, kind)
    activity = running.activity._replace(voltage=voltage, memory=memory, recorded=recorded)
    activity.control[SPIKES] = 0
    while running.step < last_step:
        control = activity.control
        if running.groups:
            _step_on_device(running.groups, network, activity, first_step, seed)
        else:
            control[ARRIVED] = control[LEFT] = 0
            share = (network, activity, first_step, last_step)
            others = [
                Thread(target=simulate, args=(*share, thread, threads, seed)) for thread in range(1, threads)
            ]
            for other in others:
                other.start()
            simulate(*share, 0, threads, seed)
            for other in others:
                other.join()
        if control[STATUS] != DONE:
            # Kept at once: an interruption between two pieces leaves arrays that fit each other.
            running.activity = activity = grown(activity, int(control[STATUS]))
    count = int(activity.control[SPIKES])
    spikes = activity.spike_step[:count].copy(), activity.spike_neuron[:count].copy()
    return spikes, voltage, memory


def _step_on_device(groups: Sequence[Any], network: Any, activity: Any, first_step: int, seed: int) -> None:
    """One step: events are sent and sorted here, neurons advance there; nothing is done where arrays have to grow."""
    from ulmus.kernels.numba_network import DONE, STATUS, note, prepare
    from ulmus.kernels.numba_step import P

    prepare(network, activity, first_step, seed)
    if activity.control[STATUS] != DONE:
        return
    for group, first, at in zip(groups, network.first, network.plans[:, P.state_at], strict=False):
        starts = activity.row_start[first : first + group.count + 1]
        own = slice(starts[0], starts[-1])
        spikes = group.step(starts - starts[0], activity.sorted_input[own], activity.sorted_value[own])
        activity.spiking[first : first + group.count] = spikes
        here = activity.recorded[(activity.recorded >= first) & (activity.recorded < first + group.count)]
        if len(here):  # `note` reads what is recorded from the state on this side
            rows, records = group.records(here - first)
            activity.state[at : at + group.state.numel()].reshape(group.state.shape)[rows] = records
    note(network, activity, first_step)
