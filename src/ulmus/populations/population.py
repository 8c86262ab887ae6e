"""A population of fitted neurons: built, connected, run, saved and gone on with."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, Integer

from ulmus.arguments import check_sizes, is_whole, whole_numbers
from ulmus.errors import ConfigError, DataError
from ulmus.files.npz import NpzFile
from ulmus.files.reading import explained
from ulmus.files.writing import write_file
from ulmus.neuron.stepper import arranged_neurons, check_alike
from ulmus.neuron.surrogate import Surrogate
from ulmus.populations.connectors import Connector, FromList
from ulmus.populations.network import Running, Wiring, new_running, run_threads

Amount = float | Float[np.ndarray, "connections"] | Callable[[np.random.Generator, int], np.ndarray]
"""One number for all connections, one for each, or a function that draws them: ``draw(generator, how_many)``."""
_MOST_THREADS = 1024
_MOST_DELAY = 10**7
"""Steps: each has a place in the queue."""


@dataclass(frozen=True)
class Cells:
    """Neurons of one type.

    Args:
        surrogate: The fitted neuron that all of them are; or one for each, of the same sizes and settings, for weights, voltage
            units and thresholds of their own.
        count: How many, where all are the same.
        name: What `Population.connect` and others call them.
    """

    surrogate: Surrogate | Sequence[Surrogate]
    count: int = 1
    name: str = "cells"


class Recording(NamedTuple):
    """What a population did in one run."""

    spike_time_ms: Float64[np.ndarray, "spikes"]
    spike_neuron: Int64[np.ndarray, "spikes"]
    """Numbers of neurons, counted through all cell types in their order; see `Population.neurons`."""
    voltage_mv: Float[np.ndarray, "time recorded sites"]
    """Of the recorded neurons, as fitted: cut off at the clip voltage."""
    memory: Float[np.ndarray, "time recorded memory"]


class Population:
    """Fitted neurons, connected by events with delays; the same for any number of threads, and the same again for one seed.

    Example:
        >>> surrogate = ulmus.Surrogate(ulmus.ELM(100, 2, memory=5))
        >>> net = ulmus.Population([ulmus.populations.Cells(surrogate, 50, "cells")], seed=1)
        >>> net.connect("cells", "cells", ulmus.populations.FixedProbability(0.1), delay_ms=2.0)
        >>> net.poisson("cells", rate_hz=5.0)
        >>> net.run(20.0, record=[0]).voltage_mv.shape
        (20, 1, 1)

    Args:
        cells: Cell types; all with the same time step.
        seed: Of connections and random input.
        refractory_ms: Time after a spike of a neuron in which no new one begins.
        device: Where PyTorch computes the neurons, such as ``"cuda"``; by default the compiled loop does. Connections and random
            input stay on the CPU, and are the same.

    Raises:
        ConfigError: no cells, names twice, neurons that cannot be stepped, different time steps, a list of neurons that differ in
            more than weights, units and thresholds, or a device that is not there.
    """

    def __init__(
        self,
        cells: Sequence[Cells],
        *,
        seed: int = 0,
        refractory_ms: float = 0.0,
        device: torch.device | str | None = None,
    ) -> None:
        if not isinstance(cells, list | tuple) or not all(isinstance(group, Cells) for group in cells):
            raise ConfigError(
                f"cells are a {type(cells).__name__}; expected a list of Cells(surrogate, count, name)."
            )
        if not is_whole(seed) or not 0 <= seed < 2**63:
            raise ConfigError(f"seed={seed!r} is no seed; expected a whole number from 0 to 2**63 - 1.")
        names = [group.name for group in cells]
        if not cells or len(set(names)) != len(names):
            raise ConfigError(f"cell types named {names}; expected one or more, each with a name of its own.")
        self._own = {group.name: _surrogates(group) for group in cells}
        self._cells = {name: own[0] for name, own in self._own.items()}
        self._draw, self._seed = np.random.default_rng(seed), int(seed)
        self.dt_ms = float(next(iter(self._cells.values())).neuron.dt_ms)
        if any(one.neuron.dt_ms != self.dt_ms for one in self._cells.values()):
            raise ConfigError("cell types with different time steps; expected the same dt_ms everywhere.")
        arranged = []
        for group in cells:
            own = self._own[group.name]
            check_sizes(count=group.count)
            copies = group.count if isinstance(group.surrogate, Surrogate) else 1
            thresholds = [one.spike_threshold for one in own]
            arranged.append(arranged_neurons([one.neuron for one in own], thresholds, copies, refractory_ms))
            check_alike([_settings(one) for one in own])
        self._arranged = arranged
        counts = [int(one.plan[0]) for one in arranged]
        first = np.concatenate([[0], np.cumsum(counts)])
        self.neurons = {
            name: range(int(a), int(b)) for name, a, b in zip(names, first, first[1:], strict=False)
        }
        """Numbers of the neurons of every cell type."""
        self._wiring, self._device = Wiring(int(first[-1])), None if device is None else _present(device)
        self._running: Running | None = None

    def connect(
        self,
        source: str,
        target: str,
        connector: Connector,
        *,
        inputs: str | Sequence[int] | Integer[np.ndarray, "inputs"] = "excitatory",
        weight: Amount = 1.0,
        delay_ms: Amount = 1.0,
    ) -> None:
        """Connect neurons of one type with inputs of another: a spike reaches one input of each target, drawn once.

        Args:
            source: Name of the cells that spike.
            target: Name of the cells that receive.
            connector: Which pairs are connected: `AllToAll`, `FixedProbability`, `DistanceDependentProbability`, `FromList`.
            inputs: Inputs that connections may reach: ``excitatory`` or ``inhibitory``, where the neuron tells, or numbers. A
                `FromList` with inputs of its own goes before.
            weight: Size of the event; 1 is what the neuron was fitted to. Inhibitory inputs get its negative.
            delay_ms: From the spike to its arrival, a time step or more.

        Raises:
            ConfigError: names that are not known, inputs that do not exist, delays below a time step or of more than ten million.
        """
        self._not_running("connections")
        sources, targets = self._named(source), self._named(target)
        if isinstance(connector, type) or not hasattr(connector, "pairs"):
            raise ConfigError(f"connector={connector!r} chooses no pairs; expected one such as AllToAll().")
        before, after = connector.pairs(len(sources), len(targets), source == target, self._draw)
        count = len(before)
        listed = connector.inputs if isinstance(connector, FromList) else None
        if listed is None:
            reached, signs = self._inputs(target, inputs)
            chosen = self._draw.integers(len(reached), size=count)
        else:
            reached, signs = self._inputs(target, listed) if count else (np.zeros(0, np.int64), np.zeros(0))
            chosen = np.arange(count)
        weights = self._amounts("weight", weight, count)
        delays = self._amounts("delay_ms", delay_ms, count)
        steps = delays / self.dt_ms
        if count and (steps.min() < 1 - 1e-6 or steps.max() > _MOST_DELAY or (weights < 0).any()):
            raise ConfigError(
                f"delay_ms from {delays.min():g} to {delays.max():g} and weights down to {weights.min():g}; expected delays of "
                f"{self.dt_ms:g} ms (one time step) or more, of {_MOST_DELAY} steps at most, and weights of 0 or more: "
                "inhibition is a matter of inputs."
            )
        values = weights * signs[chosen]
        whole = np.rint(steps).astype(np.int64)
        self._wiring.connect(before + sources.start, after + targets.start, reached[chosen], values, whole)

    def poisson(
        self,
        target: str,
        rate_hz: float,
        *,
        inputs: str | Sequence[int] | Integer[np.ndarray, "inputs"] = "excitatory",
        weight: float = 1.0,
    ) -> None:
        """Random input from outside: spikes of a Poisson process at each of the inputs of each of the cells.

        Raises:
            ConfigError: a name or inputs that do not exist, or a rate that is none.
        """
        self._not_running("external input")
        cells, (reached, signs) = self._named(target), self._inputs(target, inputs)
        if not all(isinstance(one, float | Real) and 0 <= float(one) < 1e6 for one in (rate_hz, weight)):
            raise ConfigError(
                f"rate_hz={rate_hz!r}, weight={weight!r}: expected numbers of 0 or more, below a million."
            )
        mean = rate_hz * 1e-3 * self.dt_ms * len(reached)
        self._wiring.poisson(cells, mean, reached, weight * signs)

    def run(
        self,
        duration_ms: float,
        *,
        events: tuple[Any, Any, Any] | None = None,
        continuous: Mapping[str, Float[np.ndarray, "time neurons channels"]] | None = None,
        record: Sequence[int] | Integer[np.ndarray, "recorded"] = (),
        threads: int = 1,
    ) -> Recording:
        """Go on for some time; called again, it goes on from there, as short as one time step for a closed loop.

        Args:
            duration_ms: How long, rounded to time steps.
            events: Recorded input: times in ms from the start of this run, neurons, and inputs of every event.
            continuous: For every cell type with continuous inputs (`Surrogate.continuous`) their values in each step of this run,
                in their units, such as the current into each neuron in nA.
            record: Numbers of neurons whose voltage and memory are recorded; spikes always are, of all.
            threads: Threads of the compiled loop to share the work; the results do not depend on them.

        Raises:
            ConfigError: a duration or a number of threads that cannot be, or neurons that do not exist.
            DataError: events that do not fit.
        """
        fits = isinstance(duration_ms, float | Real) and 0 <= duration_ms < 1e12
        steps = round(float(duration_ms) / self.dt_ms) if fits else -1
        if steps < 0 or not (is_whole(threads) and 1 <= threads <= _MOST_THREADS):
            raise ConfigError(
                f"duration_ms={duration_ms!r}, threads={threads!r}: expected a duration of 0 or more, and 1 to "
                f"{_MOST_THREADS} threads."
            )
        recorded = whole_numbers("record", record).reshape(-1)
        total = self._wiring.neurons
        if len(recorded) and not (recorded.min() >= 0 and recorded.max() < total):
            raise ConfigError(f"record names neurons up to {recorded.max()}; expected 0 to {total - 1}.")
        played = self._played(events, self._series(continuous or {}, steps), steps)
        running = self._started()
        first = running.step
        spikes, outputs, memory = run_threads(
            running, played, first + steps, recorded, int(threads), self._seed
        )
        time_ms = spikes[0] * self.dt_ms
        return Recording(time_ms, spikes[1], self._decoded(outputs, recorded), memory)

    @property
    def time_ms(self) -> float:
        """How long the population has run."""
        return 0.0 if self._running is None else self._running.step * self.dt_ms

    def save(self, path: str | Path) -> None:
        """Write what the population remembers: states, and events on their way. Weights and connections are not in the file."""
        arrays = self._started().arrays()
        arrays["network"] = np.frombuffer(self._fingerprint().encode(), np.uint8)
        target = Path(path)

        def write(place: Path) -> None:
            with place.open("wb") as file:
                np.savez_compressed(file, **arrays)

        write_file(target, write)

    def resume(self, path: str | Path) -> None:
        """Go on from what `save` wrote, in a population that was built and connected by the same calls with the same seed.

        Raises:
            DataError: a file that cannot be read, or one of another population.
        """
        with explained(
            str(path), "what Population.save wrote", "restore it from a copy, or run the population again"
        ):
            file = NpzFile(Path(path))
            arrays = {name: file.read(name) for name in file.entries}
            if np.asarray(arrays["network"]).tobytes().decode("ascii", "replace") != self._fingerprint():
                raise DataError(
                    f"{path} was saved by another population; expected the same cells, connections, input and seed. "
                    "Build it with the same calls first."
                )
            self._started().restore(arrays)

    def _started(self) -> Running:
        if self._running is None:
            self._running = new_running(self._arranged, self._wiring, self._device)
        return self._running

    def _not_running(self, what: str) -> None:
        if self.time_ms > 0:
            raise ConfigError(f"the population has run; {what} can only be added before. Build another one.")
        self._running = None  # at rest: it is built again, with what is added

    def _named(self, name: str) -> range:
        if name not in self.neurons:
            raise ConfigError(f"no cells are named {name!r}; expected one of {list(self.neurons)}.")
        return self.neurons[name]

    def _inputs(self, name: str, inputs: Any) -> tuple[Any, Any]:
        """Numbers of inputs, and their signs."""
        surrogate = self._cells[name]
        signs, _ = surrogate.input_signs
        if isinstance(inputs, str):
            if inputs not in ("excitatory", "inhibitory") or (
                inputs == "inhibitory" and not (signs < 0).any()
            ):
                raise ConfigError(
                    f"inputs={inputs!r} of {name!r} are not known; expected 'excitatory', 'inhibitory' where the neuron has "
                    "such, or numbers of inputs."
                )
            numbers = np.flatnonzero(signs == (1 if inputs == "excitatory" else -1))
        else:
            numbers = whole_numbers("inputs", inputs).reshape(-1)
        last = surrogate.neuron.inputs - len(surrogate.continuous) - 1
        if not len(numbers) or numbers.min() < 0 or numbers.max() > last:
            raise ConfigError(
                f"{len(numbers)} inputs of {name!r} that do not all exist, or are continuous; expected numbers from 0 to {last}."
            )
        return numbers, signs[numbers]

    def _amounts(self, name: str, amount: Amount, count: int) -> Any:
        try:
            values = np.asarray(amount(self._draw, count) if callable(amount) else amount, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"{name}={str(amount)[:60]!r} is no number; expected one, or one for each of {count} connections."
            ) from error
        if values.shape not in ((), (count,)) or not np.isfinite(values).all():
            raise ConfigError(
                f"{name} has shape {list(values.shape)} or is not finite; expected a number, or one for each of "
                f"{count} connections."
            )
        return np.broadcast_to(values, (count,))

    def _series(self, continuous: Mapping[str, Any], steps: int) -> list[tuple[Any, Any, Any, Any]]:
        """Steps, neurons, inputs and values of continuous inputs."""
        for name in continuous:
            self._named(name)
        found = []
        for name, numbers in self.neurons.items():
            surrogate = self._cells[name]
            channels = surrogate.continuous
            values = np.asarray(continuous.get(name, np.zeros((steps, len(numbers), 0))), np.float64)
            if values.shape != (steps, len(numbers), len(channels)) or not np.isfinite(values).all():
                wanted = ", ".join(f"{one['name']} ({one['unit']})" for one in channels) or "none"
                raise DataError(
                    f"continuous input of {name!r} has shape {list(values.shape)} or is not finite; expected [time, neurons, "
                    f"channels] = [{steps}, {len(numbers)}, {len(channels)}], channels: {wanted}."
                )
            step, neuron, channel = np.nonzero(values)
            scales = np.array([[one["scale"] for one in cell.continuous] for cell in self._own[name]])
            scaled = (values / scales)[step, neuron, channel]
            first = surrogate.neuron.inputs - len(channels)
            found.append((step, numbers.start + neuron, first + channel, scaled))
        return found

    def _played(
        self, events: tuple[Any, Any, Any] | None, series: list[tuple[Any, Any, Any, Any]], steps: int
    ) -> tuple[Any, Any, Any, Any] | None:
        """Events and continuous input by step of this run: start of each step, neurons, inputs, values."""
        if events is None:
            if not any(len(one[0]) for one in series):
                return None
            events = (), (), ()
        try:
            parts = [np.asarray(part) for part in events]
        except (TypeError, ValueError):
            parts = []
        fits = len(parts) == 3 and parts[0].ndim == 1 and len({part.shape for part in parts}) == 1
        if not fits or parts[0].dtype.kind not in "iuf":
            raise DataError(
                "events of different lengths, or times that are no numbers; expected a time, a neuron and an input for each "
                "event."
            )
        time_ms = parts[0].astype(np.float64)
        step = whole_numbers("times of events, in steps,", np.floor(time_ms / self.dt_ms + 1e-9), DataError)
        neuron, inputs = (
            whole_numbers(name, part, DataError)
            for name, part in zip(("neurons of events", "inputs of events"), parts[1:], strict=True)
        )
        values = np.zeros(len(step))
        for name, numbers in self.neurons.items():
            here = (neuron >= numbers.start) & (neuron < numbers.stop)
            surrogate = self._cells[name]
            bad = here & ((inputs < 0) | (inputs >= surrogate.neuron.inputs))
            here &= ~bad
            signs, _ = surrogate.input_signs
            values[here] = signs[inputs[here]]
        if len(step) and (step.min() < 0 or step.max() >= steps or (values == 0).any()):
            raise DataError(
                f"events before 0 ms, after {steps * self.dt_ms:g} ms, or of a neuron or an input that does not exist (or is "
                "continuous). Times count from the start of the run."
            )
        step, neuron, inputs, values = (
            np.concatenate(parts) for parts in zip((step, neuron, inputs, values), *series, strict=True)
        )
        order = np.argsort(step, kind="stable")
        starts = np.searchsorted(step[order], np.arange(steps + 1))
        return starts, neuron[order], inputs[order], values[order]

    def _decoded(self, outputs: Any, recorded: Any) -> Any:
        most = max(len(cell.sites) for own in self._own.values() for cell in own)
        voltage = np.full((*outputs.shape[:2], most), np.nan, outputs.dtype)
        for name, numbers in self.neurons.items():
            (places,) = np.nonzero((recorded >= numbers.start) & (recorded < numbers.stop))
            own = self._own[name]
            which = (recorded[places] - numbers.start) % len(own)  # all 0 where they share one
            for number in np.unique(which):
                here, cell = places[which == number], own[number]
                voltage[:, here, : len(cell.sites)] = cell.decode_voltage(outputs[:, here])
        return voltage

    def _fingerprint(self) -> str:
        found = hashlib.sha256(str(self._seed).encode())
        for one in self._arranged:
            found.update(one.plan.tobytes())
            found.update(one.weights.tobytes())
        self._wiring.add_to(found)
        return found.hexdigest()


def _present(device: torch.device | str) -> torch.device:
    try:
        return torch.zeros(1, device=device).cpu().to(device).device
    except (RuntimeError, TypeError, AssertionError) as error:  # PyTorch without CUDA asserts
        raise ConfigError(
            f"device={str(device)!r} cannot be used here ({str(error).splitlines()[0]}); expected one of PyTorch's, such as "
            "'cuda', or None for the compiled loop."
        ) from error


def _surrogates(group: Cells) -> Sequence[Surrogate]:
    """One that all share, or one for each neuron."""
    own = group.surrogate
    if isinstance(own, Surrogate):
        return [own]
    if not isinstance(own, list | tuple) or not own or not all(isinstance(one, Surrogate) for one in own):
        raise ConfigError(f"cells {group.name!r} have no surrogates; expected one, or one for each neuron.")
    return list(own)


def _settings(surrogate: Surrogate) -> dict[str, Any]:
    """What surrogates of one list have in common besides the settings of their neurons."""
    return {
        "inhibitory inputs": np.flatnonzero(surrogate.input_signs[0] < 0).tolist(),
        "continuous inputs": [(one["name"], one["unit"]) for one in surrogate.continuous],
    }
