"""A fitted neuron in a closed loop: a step at a time, spikes and voltage out, its state inside."""

from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, Integer, Num

from ulmus.arguments import check_sizes
from ulmus.errors import ConfigError, DataError, ShapeError
from ulmus.kernels import Events, Weights
from ulmus.neuron.elm import ELM
from ulmus.neuron.evaluating import evaluating
from ulmus.neuron.sequence_model import SequenceModel
from ulmus.neuron.spikes import spike_logit

if TYPE_CHECKING:
    from ulmus.kernels.stepping import Arranged

_KINDS = {
    "iu": "a whole number for each event, such as [3, 70]. Pass np.flatnonzero(...) of a dense vector or a mask",
    "biuf": "numbers",
}


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
        signs: tuple[Int64[np.ndarray, "inputs"], bool],
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
        self._signs, self.signs_known = signs
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
            DataError: no numbers of inputs, such as a dense vector or a mask; an event of the wrong sign or without a finite
                value, or of a continuous input; or no values of those.
        """
        given = _numbers("inputs", inputs)
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
            ShapeError: input of another shape, or events whose numbers do not fit each other.
            DataError: an event of the wrong sign, or without a finite value.
        """
        if isinstance(inputs, Events):
            shape: tuple[int, ...] = (inputs.batch, inputs.time, inputs.channels)
        else:
            dense = _array("input", inputs, "biuf")
            shape = dense.shape
        if len(shape) != 3 or shape[0] != self.batch or shape[2] != self.inputs:
            raise ShapeError(
                f"input has shape {list(shape)}; expected [batch, time, inputs] = [{self.batch}, time, {self.inputs}]."
            )
        if isinstance(inputs, Events):
            from ulmus.kernels.fused import checked

            row_start, places, amounts = (
                part.detach().numpy() for part in checked(inputs.to(torch.device("cpu")))[:3]
            )
        else:
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
        amounts = _array("values", values, "biuf").astype(self._arranged.state.dtype, copy=False)
        if amounts.shape != inputs.shape:
            raise ShapeError(
                f"{len(inputs)} events have values of shape {list(amounts.shape)}; expected one for each."
            )
        finite = np.isfinite(amounts)
        if not finite.all():
            place = int(np.argmin(finite))
            raise DataError(
                f"an event of input {inputs[place]} has the value {amounts[place]}; expected finite values. Correct or leave "
                "out this event."
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
        values = _array("continuous", () if continuous is None else continuous, "biuf").astype(np.float64)
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
                _numbers("neurons", () if neurons is None else neurons),
                np.repeat(np.arange(self.batch), channels),
            ]
        )
        return *joined, to

    def _by_neuron(self, inputs: Any, amounts: Any, neurons: Any) -> tuple[Any, Any, Any]:
        """Events in the order of the neurons that they reach."""
        to = _numbers("neurons", () if neurons is None else neurons)
        if to.shape != inputs.shape or (len(to) and not (to.min() >= 0 and to.max() < self.batch)):
            raise ShapeError(
                f"{len(inputs)} events name neurons {to.tolist()[:5]}; expected one for each event, from 0 to batch - 1 = "
                f"{self.batch - 1}. Pass neurons=."
            )
        order = np.argsort(to, kind="stable")
        row_start = np.searchsorted(to[order], np.arange(self.batch + 1))
        return row_start, inputs[order], amounts[order]


def _array(name: str, given: Any, kinds: str) -> Any:
    """An array of numbers of these kinds of NumPy; also from a tensor with a gradient or on a device.

    Raises:
        DataError: it is none.
    """
    try:
        found = np.asarray(given.detach().cpu() if isinstance(given, torch.Tensor) else given)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} = {str(given)[:60]} are no array; expected numbers.") from error
    if found.size and found.dtype.kind not in kinds:
        raise DataError(f"{name} = {str(given)[:60]} are of type {found.dtype}; expected {_KINDS[kinds]}.")
    return found


def _numbers(name: str, given: Any) -> Any:
    """A list of whole numbers: of inputs or neurons.

    Raises:
        DataError: it is none.
    """
    found = _array(name, given, "iu")
    if found.ndim != 1:
        raise DataError(
            f"{name} have shape {list(found.shape)}; expected one list: a number for each event, such as [3, 70]."
        )
    return found.astype(np.int64, copy=False)


def arranged_neurons(
    neurons: Sequence[SequenceModel], thresholds: Sequence[float], copies: int, refractory_ms: float
) -> "Arranged":
    """Fitted neurons of one shape for `ulmus.kernels.numba_step`, so many copies of each.

    Raises:
        ConfigError: a neuron that is not one ELM with a readout of its memory, neurons that differ in more than their weights,
            or a refractory time that is no time.
    """
    from ulmus.kernels.stepping import arranged

    weights: list[Weights] = []
    settings: list[dict[str, Any]] = []
    for neuron in neurons:
        found = _weights(neuron) if isinstance(neuron, ELM) else None
        if not isinstance(neuron, ELM) or found is None or found.readout is None:
            raise ConfigError(
                f"a {type(neuron).__name__} cannot be stepped; expected one ELM whose readout sees the memory alone. Use "
                "predict with the state of the last prediction."
            )
        weights.append(found)
        settings.append(_settings(neuron, found))
    check_alike(settings)
    if not (isinstance(refractory_ms, float | Real) and 0 <= float(refractory_ms) < 1e6):
        raise ConfigError(f"refractory_ms={refractory_ms!r} is no time; expected 0 or more milliseconds.")
    steps = round(float(refractory_ms) / float(neurons[0].dt_ms))
    logits = [spike_logit(threshold) for threshold in thresholds]
    return arranged(weights, settings[0]["activation"], copies, logits, steps)


def _settings(neuron: ELM, weights: Weights) -> dict[str, Any]:
    """What neurons that are stepped together have in common."""
    return {
        "inputs": neuron.inputs,
        "outputs": neuron.outputs,
        "memory": len(weights.memory_decay),
        "hidden_layers": len(weights.later),
        "hidden": len(weights.first_bias),
        "activation": neuron.activation,
        "dt_ms": float(neuron.dt_ms),
        "dtype": weights.recurrent.dtype,
    }


def check_alike(settings: Sequence[Mapping[str, Any]]) -> None:
    """All of several neurons have the settings of the first.

    Raises:
        ConfigError: one has not; the message names it and the setting.
    """
    for number, one in enumerate(settings):
        for name, value in one.items():
            if value != settings[0][name]:
                raise ConfigError(
                    f"neuron {number} has {name}={str(value)[:60]}, neuron 0 has {str(settings[0][name])[:60]}; expected neurons "
                    f"that differ in weights, units and threshold alone. Make a separate Cells of those of another {name}."
                )


def _weights(neuron: ELM) -> Weights:
    with evaluating(neuron), torch.no_grad():
        return neuron.weights()
