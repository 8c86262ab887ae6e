"""A fitted neuron with units: input spikes in, spike probability and voltage in millivolts out."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn

from ulmus.errors import ConfigError
from ulmus.geometry import Geometry
from ulmus.kernels import Events
from ulmus.neuron.evaluating import evaluating
from ulmus.neuron.sequence_model import SequenceModel
from ulmus.neuron.spikes import first_peaks, input_signs, spike_logit
from ulmus.neuron.stepper import Stepper
from ulmus.neuron.tables import Tables, tables_of

SILENT_LOG_ODDS = -30.0
"""Of a spike, where a surrogate predicts none."""


@dataclass(frozen=True)
class VoltageUnits:
    """How a voltage becomes a training target: ``(min(v, clip_mv) - offset_mv) * scale_per_mv``.

    The defaults are those published with NeuronIO: spikes are cut off at -55 mV, so that the fit spends itself on the
    sub-threshold voltage; the output for spikes is separate.
    """

    clip_mv: float = -55.0
    offset_mv: float = -67.7
    scale_per_mv: float = 0.1

    def encode(self, voltage_mv: Tensor) -> Tensor:
        """Training target of a voltage in mV."""
        return (voltage_mv.clamp(max=self.clip_mv) - self.offset_mv) * self.scale_per_mv

    def decode(self, output: Tensor) -> Tensor:
        """Voltage in mV of a network output."""
        return output / self.scale_per_mv + self.offset_mv


@dataclass(frozen=True)
class SignalUnits:
    """A continuous answer beside the voltage, and how it becomes a training target: ``(value - offset) * scale``.

    Attributes:
        name: what it is, such as ``"calcium"``.
        unit: unit of its values, such as ``"mM"``; `offset` is in it, and `scale` in one over it.
    """

    name: str
    unit: str
    offset: float = 0.0
    scale: float = 1.0

    def encode(self, value: Tensor) -> Tensor:
        """Training target of a value."""
        return (value - self.offset) * self.scale

    def decode(self, output: Tensor) -> Tensor:
        """Value of a network output."""
        return output / self.scale + self.offset


class Prediction(NamedTuple):
    """What a surrogate says about a batch of input."""

    spike_probability: Float[Tensor, "batch time"]
    """Probability of an output spike in every time step."""
    voltage_mv: Float[Tensor, "batch time sites"]
    """Voltage of every recorded site; it was learnt cut off at the clip voltage, so peaks of spikes are missing."""
    spike_times_ms: list[Float64[np.ndarray, "spikes"]]
    """Predicted spike times of every trial in the batch, from the start of this input."""
    state: Any
    """State to go on from."""
    signals: dict[str, Float[Tensor, "batch time"]]
    """Further signals by name, each in its unit (`Surrogate.signals`); empty where there are none."""


class _PredictionState(NamedTuple):
    """What the next prediction goes on from: the neuron's state, and what `first_peaks` was last told and said."""

    neuron: Any
    logit: Float64[np.ndarray, "batch"] | None
    fired: list[bool] | None


class Surrogate(nn.Module):
    """A model fitted to a detailed neuron: signed input events in, spike probability and voltage in mV out.

    Example:
        >>> surrogate = ulmus.Surrogate(ulmus.ELM(100, 2, memory=5))
        >>> prediction = surrogate.predict(torch.zeros(1, 50, 100))  # batch, time in steps of dt_ms, inputs
        >>> prediction.voltage_mv.shape, len(prediction.spike_times_ms)
        (torch.Size([1, 50, 1]), 1)

    Args:
        neuron: ELM or other `SequenceModel`; its first output is the spike logit, its further outputs are scaled voltages of
            ``sites``, then scaled ``signals``.
        sites: Names of the places whose voltage is predicted; none for a neuron that was fitted to no voltage.
        units: How voltage targets were scaled; several where every site has a scale of its own.
        spike_threshold: Spike probability above which `predict` reports a spike; training chooses it on the
            validation trials so that the surrogate fires as often as the neuron.
        card: What a user should know of this neuron: data, protocol, scores (JSON values).
        geometry: Where the inputs lie on the detailed neuron; None where that is not known.
        spikes: Whether spikes are predicted. False for a neuron that was fitted to a voltage alone: the output of spikes then
            says that there is none.
        signals: Further signals that are predicted, with their units.

    Raises:
        ConfigError: the neuron does not have one output for spikes and one for every site and signal, or not the inputs of
            ``geometry``, or it is bidirectional, or the threshold is no probability.
    """

    def __init__(
        self,
        neuron: SequenceModel,
        *,
        sites: Sequence[str] = ("soma",),
        units: VoltageUnits | Sequence[VoltageUnits] | None = None,
        spike_threshold: float = 0.5,
        card: dict[str, Any] | None = None,
        geometry: Geometry | None = None,
        spikes: bool = True,
        signals: Sequence[SignalUnits] = (),
    ) -> None:
        super().__init__()
        if isinstance(sites, str):
            raise ConfigError(
                f"sites={sites!r} is one text; expected a sequence of names, such as ({sites!r},)."
            )
        wanted = 1 + len(sites) + len(signals)
        if neuron.outputs != wanted:
            further = f" and signals={[signal.name for signal in signals]}" if signals else ""
            raise ConfigError(
                f"the neuron has outputs={neuron.outputs}, but a surrogate with sites={list(sites)}{further} needs {wanted}: one "
                f"for spikes, one voltage for every site{' and one for every signal' if signals else ''}. Build it with "
                f"outputs={wanted}."
            )
        each = (units or VoltageUnits(),) * len(sites) if not isinstance(units, Sequence) else tuple(units)
        if len(each) != len(sites):
            raise ConfigError(
                f"units for {len(each)} sites, but sites={list(sites)}; expected one for each, or one for all. Correct units."
            )
        if getattr(neuron, "bidirectional", False):
            raise ConfigError(
                "the neuron is bidirectional and would see input before it comes; expected one that reads forward. Build it "
                "without bidirectional=True."
            )
        if geometry is not None and len(geometry.input_piece) != neuron.inputs:
            raise ConfigError(
                f"the neuron has inputs={neuron.inputs}, but geometry is that of {len(geometry.input_piece)} inputs; expected "
                "as many. Give the geometry of the detailed neuron it was fitted to."
            )
        if not 0 <= spike_threshold <= 1:
            raise ConfigError(
                f"spike_threshold={spike_threshold} is no probability; expected one from 0 to 1."
            )
        self.neuron = neuron
        self.sites = tuple(sites)
        self.site_units = each
        self.units = each[0] if each else units if isinstance(units, VoltageUnits) else VoltageUnits()
        self.signals = tuple(signals)
        self.spike_threshold = float(spike_threshold)
        self.card = dict(card or {})
        self.geometry = geometry
        self.spikes = spikes
        if not spikes:
            self.silence()

    @torch.no_grad()
    def silence(self) -> None:
        """Let the output of spikes say that there is none, whatever the input.

        Raises:
            ConfigError: the model has no linear readout.
        """
        readout = getattr(self.neuron, "readout", None)
        if not isinstance(readout, nn.Linear):
            raise ConfigError(
                f"a {type(self.neuron).__name__} has no linear readout whose output of spikes could be held; expected one to fit "
                "to a voltage alone. Choose another model.kind."
            )
        readout.weight[0] = 0
        readout.bias[0] = SILENT_LOG_ODDS

    def forward(
        self, inputs: Float[Tensor, "batch time inputs"] | Events
    ) -> Float[Tensor, "batch time outputs"]:
        """Spike logit and scaled voltages and signals of whole trials from rest; `predict` gives units and carries state."""
        return self.neuron(inputs)[0]

    def encode(self, voltage_mv: Tensor, signals: Tensor | None = None) -> Tensor:
        """Training targets ``[..., sites + signals]`` of voltages in mV and signals in their units."""
        if signals is None and len(set(self.site_units)) < 2:
            return self.units.encode(voltage_mv)
        values = voltage_mv if signals is None else torch.cat([voltage_mv, signals], dim=-1)
        changes = [*(units.encode for units in self.site_units), *(signal.encode for signal in self.signals)]
        targets: Tensor = _by_column(values, changes)
        return targets

    def decode_voltage(self, outputs: Any) -> Any:
        """Voltage in mV of every site, from outputs ``[..., 1 + sites + signals]``: a tensor or an array."""
        scaled = outputs[..., 1 : 1 + len(self.sites)]
        if len(set(self.site_units)) < 2:
            return self.units.decode(scaled)
        return _by_column(scaled, [units.decode for units in self.site_units])

    def decode_signals(self, outputs: Any) -> Any:
        """Further signals ``[..., signals]`` in their units, from outputs ``[..., 1 + sites + signals]``."""
        return _by_column(outputs[..., 1 + len(self.sites) :], [signal.decode for signal in self.signals])

    def predict(self, inputs: Float[Tensor, "batch time inputs"] | Events, state: Any = None) -> Prediction:
        """Spike probability, voltage in mV and spike times for signed input (+1 excitatory, -1 inhibitory).

        Long input can be given in pieces: pass the ``state`` of the last prediction on, and results are those of one call. A
        spike is the first peak of a stretch above the threshold, which shows in the step after it: a peak in the very last
        step of a piece is a spike at 0 ms of the next one.

        Warns where a neuron that knows its inhibitory inputs gets positive values alone from them.
        """
        known = state if isinstance(state, _PredictionState) else _PredictionState(state, None, None)
        with evaluating(self), torch.no_grad():
            outputs, after = self.neuron(inputs, known.neuron)
        self._warn_of_signs(inputs)  # of input that the neuron could read
        logit = outputs[..., 0].double().cpu().numpy()
        before = np.full(len(logit), -np.inf) if known.logit is None else known.logit
        fired = [False] * len(logit) if known.fired is None else known.fired
        limit = spike_logit(self.spike_threshold)
        found = [
            first_peaks(row, limit, last, done) for row, last, done in zip(logit, before, fired, strict=True)
        ]
        times = [(np.asarray(steps, dtype=np.float64) + 1) * self.neuron.dt_ms for steps, _ in found]
        last = logit[:, -1] if logit.shape[1] else before
        going_on = _PredictionState(after, last, [done for _, done in found])
        signals = self.decode_signals(outputs).unbind(-1)
        return Prediction(
            torch.sigmoid(outputs[..., 0]),
            self.decode_voltage(outputs),
            times,
            going_on,
            {signal.name: values for signal, values in zip(self.signals, signals, strict=True)},
        )

    def _warn_of_signs(self, inputs: Float[Tensor, "batch time inputs"] | Events) -> None:
        signs, known = self.input_signs
        if not (known and (signs < 0).any()):
            return
        inhibitory = torch.from_numpy(signs < 0)
        if isinstance(inputs, Events):
            values = inputs.values[inhibitory.to(inputs.values.device)[inputs.inputs.long()]]
        else:
            values = inputs[..., inhibitory.to(inputs.device)]
        if values.numel() and values.max() > 0 and values.min() >= 0:
            warnings.warn(
                f"inputs {int(np.argmax(signs < 0))} to {int(np.flatnonzero(signs < 0)[-1])} are inhibitory, but all their "
                "values are positive, so that they excite; expected -1 for an inhibitory spike. Make them negative.",
                stacklevel=3,
            )

    def stepper(self, batch: int = 1, *, refractory_ms: float = 0.0) -> Stepper:
        """Copies of this neuron to be followed step by step, as in a closed loop, from rest; they give no further signals.

        Args:
            batch: Number of copies.
            refractory_ms: Time after a spike in which no new stretch above the threshold counts.

        Raises:
            ConfigError: a model that is not a single ELM, or values that cannot be.
        """
        return Stepper(
            self.neuron,
            self.input_signs,
            self.decode_voltage,
            self.spike_threshold,
            batch,
            refractory_ms,
            self.continuous,
        )

    @property
    def continuous(self) -> list[dict[str, Any]]:
        """Name, unit and scale of the last inputs, where these are continuous ones such as a current (from the card)."""
        return list(self.card.get("continuous", []))

    @property
    def input_signs(self) -> tuple[Int64[np.ndarray, "inputs"], bool]:
        """+1 for excitatory, -1 for inhibitory and 0 for continuous inputs, and whether they are known: else all are +1."""
        return input_signs(self.neuron, self.geometry, len(self.continuous), self.card.get("inhibitory"))

    def tables(self) -> Tables:
        """Time constants, weights of inputs, and what memory units add to spikes and voltage, as tables with names and units.

        Example:
            >>> tables = ulmus.load("l5pc-branch-20").tables()
            >>> tables.memory.dtype.names
            ('unit', 'tau_ms', 'gain', 'spike_logit', 'soma_mv')
            >>> float(tables.branches["tau_ms"][0])
            5.0

        Raises:
            ConfigError: a model that is not a single ELM.
        """
        signs, known = self.input_signs
        columns = {
            f"{site}_mv": units.scale_per_mv for site, units in zip(self.sites, self.site_units, strict=True)
        }
        columns |= {f"{signal.name}_{signal.unit}": signal.scale for signal in self.signals}
        return tables_of(self.neuron, columns, self.geometry, signs * known)

    def trainable_parameters(self) -> int:
        """Number of trained values."""
        return self.neuron.trainable_parameters()


def _by_column(values: Any, changes: Sequence[Callable[[Any], Any]]) -> Any:
    """Columns (the last axis) of a tensor or an array, each changed in its own way."""
    if not changes:
        return values
    columns = [change(values[..., number]) for number, change in enumerate(changes)]
    return torch.stack(columns, dim=-1) if isinstance(values, Tensor) else np.stack(columns, axis=-1)
