"""A fitted neuron in a closed loop: a step at a time, spikes and voltage out, its state inside."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer, Num

from ulmus.arguments import check_sizes
from ulmus.errors import ConfigError, DataError, ShapeError
from ulmus.geometry import Geometry
from ulmus.kernels import Events, Weights
from ulmus.neuron.elm import ELM
from ulmus.neuron.evaluating import evaluating
from ulmus.neuron.sequence_model import SequenceModel
from ulmus.neuron.spikes import input_signs, spike_logit

if TYPE_CHECKING:
    from ulmus.kernels.stepping import Arranged

_NOBODY = np.zeros(0, np.int64)


class Stepped(NamedTuple):
    """What neurons did in one step or several."""

    spikes: Bool[np.ndarray, "batch *time"]
    """Whether a spike is seen in this step: its time is the beginning of the step."""
    voltage_mv: Float[np.ndarray, "batch *time sites"]


class Stepper:
    """Copies of one fitted neuron that are followed step by step; made by `Surrogate.stepper`.

    A spike is the first peak of a stretch in which the spike probability is above the surrogate's threshold. It shows when
    the probability falls, one step after the peak, which is no delay: the outputs of step k are about spikes around
    (k + 1) dt. The detector is part of the state, so single steps, chunks and one call give the same spikes.

    Example:
        >>> surrogate = ulmus.Surrogate(ulmus.ELM(100, 2, memory=5))
        >>> runner = surrogate.stepper()
        >>> spikes, voltage_mv = runner.step([3, 70])  # inputs 3 and 70 have an event in this step
        >>> spikes.shape, voltage_mv.shape
        ((1,), (1, 1))
    """

    continuous: tuple[str, ...]
    """Names and units of the continuous inputs, such as ``current (nA)``."""

    def __init__(
        self,
        neuron: SequenceModel,
        geometry: Geometry | None,
        decode: Callable[[Any], Any],
        spike_threshold: float,
        batch: int,
        refractory_ms: float,
        continuous: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        check_sizes(batch=batch)
        self.batch, self.inputs, self.dt_ms, self._decode = batch, neuron.inputs, float(neuron.dt_ms), decode
        self.continuous = tuple(f"{one['name']} ({one['unit']})" for one in continuous)
        self._scales = np.array([one["scale"] for one in continuous])
        self._signs, self.signs_known = input_signs(neuron, geometry, len(continuous))
        self._arranged = arranged_neurons([neuron], [spike_threshold], batch, refractory_ms)

    def step(
        self,
        inputs: Sequence[int] | Integer[np.ndarray, "events"],
        values: Sequence[float] | Num[np.ndarray, "events"] | None = None,
        neurons: Sequence[int] | Integer[np.ndarray, "events"] | None = None,
        continuous: Float[np.ndarray, "batch channels"] | Sequence[float] | None = None,
    ) -> Stepped:
        """Spikes ``[batch]`` and voltage in mV ``[batch, sites]`` after one more step.

        Args:
            inputs: Number of the input of every event of this step.
            values: What each event carries: +1 for a spike of an excitatory input, -1 for one of an inhibitory input. By
                default what the neuron knows of its inputs.
            neurons: Which of the neurons each event reaches; not needed for one neuron.
            continuous: Value of every continuous input of every neuron in this step, in its unit (nA of a current), where the
                neuron has such inputs: see `Stepper.continuous`.

        Raises:
            ShapeError: an input or a neuron that does not exist, or lists of different lengths.
            DataError: an event of the wrong sign, or of a continuous input; or no values of those.
        """
        given = np.asarray(inputs, np.int64) if len(inputs) else _NOBODY
        amounts = self._amounts(given, values)
        if self.continuous or continuous is not None:
            given, amounts, neurons = self._with_continuous(given, amounts, neurons, continuous)
        if self.batch == 1 and neurons is None:
            row_start = np.array([0, len(given)])
        else:
            row_start, given, amounts = self._by_neuron(given, amounts, neurons)
        spikes, outputs = self._advance(row_start, given, amounts, 1)
        return Stepped(spikes[:, 0], outputs[:, 0])

    def run(self, inputs: Num[np.ndarray, "batch time inputs"] | Events) -> Stepped:
        """Spikes ``[batch, time]`` and voltage in mV ``[batch, time, sites]`` of the next steps, whose input is known.

        As for `Surrogate.predict`, values of continuous inputs are divided by their scale.

        Raises:
            ShapeError: input of another shape.
            DataError: an event of the wrong sign.
        """
        if isinstance(inputs, Events):
            shape = inputs.batch, inputs.time, inputs.channels
            row_start, places, amounts = (np.asarray(part) for part in inputs[:3])
        else:
            dense = np.asarray(inputs)
            shape = dense.shape
        if len(shape) != 3 or shape[0] != self.batch or shape[2] != self.inputs:
            raise ShapeError(
                f"input has shape {list(shape)}; expected [batch, time, inputs] = [{self.batch}, time, {self.inputs}]."
            )
        if not isinstance(inputs, Events):
            *row, places = np.nonzero(dense)
            amounts = dense[dense != 0]
            counts = np.bincount(row[0] * shape[1] + row[1], minlength=shape[0] * shape[1])
            row_start = np.concatenate([[0], counts.cumsum()])
        places = places.astype(np.int64)
        amounts = self._amounts(places, amounts)
        return Stepped(*self._advance(row_start.astype(np.int64), places, amounts, shape[1]))

    @property
    def state(self) -> Num[np.ndarray, "numbers"]:
        """Everything the neurons and their detectors remember, as one array: a copy to save, or one to go on from."""
        return self._arranged.state.copy()

    @state.setter
    def state(self, state: Num[np.ndarray, "numbers"]) -> None:
        if np.shape(state) != self._arranged.state.shape:
            raise ShapeError(
                f"a state of shape {list(np.shape(state))} is not one of these neurons; expected "
                f"{list(self._arranged.state.shape)}. Use the state of a stepper of the same neuron and batch."
            )
        self._arranged.state[:] = state

    @property
    def compiled(self) -> "Arranged":
        """Plan, weights and state for `ulmus.kernels.numba_step.run_steps`, to be called from code that Numba compiles."""
        return self._arranged

    def _advance(self, row_start: Any, inputs: Any, amounts: Any, steps: int) -> tuple[Any, Any]:
        from ulmus.kernels.stepping import advanced

        spikes, outputs = advanced(self._arranged, row_start, inputs, amounts, steps)
        return spikes.view(bool), self._decode(outputs)

    def _amounts(self, inputs: Any, values: Any) -> Any:
        """Values of events, checked."""
        if len(inputs) and not (inputs.min() >= 0 and inputs.max() < self.inputs):
            raise ShapeError(
                f"events name inputs from {inputs.min()} to {inputs.max()}; expected 0 to inputs - 1 = {self.inputs - 1}."
            )
        signs = self._signs[inputs]
        if values is None:
            return signs.astype(self._arranged.state.dtype)
        amounts = np.asarray(values, self._arranged.state.dtype)
        if amounts.shape != inputs.shape:
            raise ShapeError(
                f"{len(inputs)} events have values of shape {list(amounts.shape)}; expected one for each."
            )
        if self.signs_known and (amounts * signs < 0).any():
            wrong = int(inputs[amounts * signs < 0][0])
            kind, expected = (
                ("inhibitory", "negative") if self._signs[wrong] < 0 else ("excitatory", "positive")
            )
            raise DataError(
                f"an event of input {wrong} has the wrong sign; the input is {kind}, so {expected} values are expected. Leave "
                "values out, and every event has the sign of its input."
            )
        return amounts

    def _with_continuous(
        self, inputs: Any, amounts: Any, neurons: Any, continuous: Any
    ) -> tuple[Any, Any, Any]:
        """Events, and one for each value of a continuous input."""
        channels = len(self.continuous)
        if len(inputs) and inputs.max() >= self.inputs - channels:
            raise DataError(
                f"an event of input {inputs.max()}, which is continuous; expected a value of {', '.join(self.continuous)} in "
                "every step, through continuous=."
            )
        values = np.asarray(() if continuous is None else continuous, np.float64)
        if values.size != self.batch * channels or not np.isfinite(values).all():
            raise DataError(
                f"continuous has shape {list(values.shape)} or is not finite; expected [batch, channels] = [{self.batch}, "
                f"{channels}]: {', '.join(self.continuous) or 'the neuron has no continuous inputs'}."
            )
        scaled = (values.reshape(self.batch, channels) / self._scales).astype(amounts.dtype)
        numbers = np.tile(np.arange(self.inputs - channels, self.inputs), self.batch)
        joined = np.concatenate([inputs, numbers]), np.concatenate([amounts, scaled.ravel()])
        if neurons is None and self.batch == 1:
            return *joined, None
        to = np.concatenate(
            [
                np.asarray(() if neurons is None else neurons, np.int64),
                np.repeat(np.arange(self.batch), channels),
            ]
        )
        return *joined, to

    def _by_neuron(self, inputs: Any, amounts: Any, neurons: Any) -> tuple[Any, Any, Any]:
        """Events in the order of the neurons that they reach."""
        to = np.asarray(() if neurons is None else neurons, np.int64)
        if to.shape != inputs.shape or (len(to) and not (to.min() >= 0 and to.max() < self.batch)):
            raise ShapeError(
                f"{len(inputs)} events name neurons {to.tolist()[:5]}; expected one for each event, from 0 to batch - 1 = "
                f"{self.batch - 1}. Pass neurons=."
            )
        order = np.argsort(to, kind="stable")
        row_start = np.searchsorted(to[order], np.arange(self.batch + 1))
        return row_start, inputs[order], amounts[order]


def arranged_neurons(
    neurons: Sequence[SequenceModel], thresholds: Sequence[float], copies: int, refractory_ms: float
) -> "Arranged":
    """Fitted neurons of one shape for `ulmus.kernels.numba_step`, so many copies of each.

    Raises:
        ConfigError: a neuron that is not one ELM with a readout of its memory, or a refractory time that is no time.
    """
    from ulmus.kernels.stepping import arranged

    weights, activation = [], ""
    for neuron in neurons:
        found = _weights(neuron) if isinstance(neuron, ELM) else None
        if not isinstance(neuron, ELM) or found is None or found.readout is None:
            raise ConfigError(
                f"a {type(neuron).__name__} cannot be stepped; expected one ELM whose readout sees the memory alone. Use "
                "predict with the state of the last prediction."
            )
        weights.append(found)
        activation = neuron.activation
    if not (isinstance(refractory_ms, int | float) and 0 <= refractory_ms < 1e6):
        raise ConfigError(f"refractory_ms={refractory_ms!r} is no time; expected 0 or more milliseconds.")
    steps = round(float(refractory_ms) / float(neurons[0].dt_ms))
    return arranged(weights, activation, copies, [spike_logit(threshold) for threshold in thresholds], steps)


def _weights(neuron: ELM) -> Weights:
    with evaluating(neuron), torch.no_grad():
        return neuron.weights()
