"""Networks of spiking units, and a single one to fit to a detailed neuron."""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ulmus.arguments import check_positive, check_shares, check_sizes, range_of
from ulmus.baselines.baseline import Baseline, dropout_mask
from ulmus.kernels import Events
from ulmus.kernels.reference import leaky_filter, synaptic_currents

SHARPNESS = 10.0


class UnitState(NamedTuple):
    """State of a layer of spiking units after a step."""

    membrane: Float[Tensor, "batch units"]
    """Before the reset; threshold is 1, rest 0."""
    adaptation: Float[Tensor, "batch units"]
    spikes: Float[Tensor, "batch units"]


class SpikingState(NamedTuple):
    """What a spiking network remembers between two calls."""

    layers: tuple[UnitState, ...]
    readout: Float[Tensor, "batch outputs"]


class Spike(torch.autograd.Function):
    """One above the threshold, else zero; its gradient is that of a fast sigmoid, ``1 / (1 + 10 |distance|)^2``.

    Zenke & Ganguli, Neural Computation 2018.
    """

    @staticmethod
    def forward(ctx: Any, distance: Tensor) -> Tensor:
        """Spikes."""
        ctx.save_for_backward(distance)
        return (distance > 0).to(distance.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Gradient of the distance to the threshold."""
        (distance,) = ctx.saved_tensors
        return cast(Tensor, gradients[0] / (1 + SHARPNESS * distance.abs()).square())


class Decay(nn.Module):
    """Decay over a step, ``exp(-dt / tau)``, of trained time constants, at first spread evenly in ratio over a range."""

    def __init__(self, range_ms: Sequence[float], units: int, dt_ms: float) -> None:
        super().__init__()
        low, high = torch.tensor(range_ms, dtype=torch.float64).log().tolist()
        spread = torch.linspace(low, high, units, dtype=torch.float64)
        self.log_tau_ms = nn.Parameter(spread.to(torch.get_default_dtype()))
        self.dt_ms = dt_ms

    def forward(self) -> Float[Tensor, "units"]:
        """Decay of every unit."""
        return torch.exp(-self.dt_ms / self.log_tau_ms.exp())


class SpikingLayer(nn.Module):
    """Leaky integrate-and-fire units that drive each other.

    ::

        w_t = rho w_{t-1} + (1 - rho) a v_{t-1} + b s_{t-1}                  (adaptive units only)
        v_t = alpha (v_{t-1} - s_{t-1}) + (1 - alpha) (norm(W x_t) + V s_{t-1} - w_t)
        s_t = 1 where v_t > 1

    with decays alpha and rho and strengths a, b >= 0 trained for every unit. Bittar & Garner, Frontiers in Neuroscience
    2022, with the subthreshold adaptation scaled by 1 - rho, so that it does not depend on the step.
    """

    def __init__(
        self,
        inputs: int,
        units: int,
        tau_membrane_ms: tuple[float, float],
        tau_adaptation_ms: tuple[float, float] | None,
        dt_ms: float,
    ) -> None:
        super().__init__()
        self.units = units
        self.forward_weight = nn.Parameter(nn.Linear(inputs, units).weight.detach())
        self.recurrent_weight = nn.Parameter(nn.init.orthogonal_(torch.empty(units, units)))
        self.membrane_decay = Decay(tau_membrane_ms, units, dt_ms)
        self.norm = nn.BatchNorm1d(units)
        with (
            torch.no_grad()
        ):  # white input then brings the membrane to the threshold at two standard deviations
            decay = self.membrane_decay()
            self.norm.weight.copy_(0.5 * ((1 + decay) / (1 - decay)).sqrt())
        self.adaptation_decay = None
        if tau_adaptation_ms is not None:
            self.adaptation_decay = Decay(tau_adaptation_ms, units, dt_ms)
            self.subthreshold = nn.Parameter(torch.full((units,), 0.5))
            self.spike_triggered = nn.Parameter(torch.full((units,), 0.1))

    def rest(self, batch: int) -> UnitState:
        """No voltage, no spike."""
        zero = self.forward_weight.new_zeros(batch, self.units)
        return UnitState(zero, zero, zero)

    def forward(
        self, inputs: Float[Tensor, "batch time inputs"] | Events, state: UnitState, mask: Tensor | None
    ) -> tuple[Float[Tensor, "batch time units"], UnitState]:
        """Spikes of every step, and the state after the last; inputs times `mask`, if there is one."""
        weight = self.forward_weight if mask is None else self.forward_weight * mask
        currents = synaptic_currents(inputs, weight)
        if currents.shape[1] == 0:
            return currents, state
        alpha = self.membrane_decay()
        drive = (1 - alpha) * self.norm(currents.flatten(0, 1)).view_as(currents)
        # What a spike does to the membranes one step later, its own reset among it.
        recurrent = (self.recurrent_weight * (1 - alpha).unsqueeze(1) - torch.diag(alpha)).t()
        membrane, adaptation, spikes = state
        adapts = self.adaptation_decay is not None
        if self.adaptation_decay is not None:
            rho, by_adaptation = self.adaptation_decay(), alpha - 1
            by_voltage, by_spike = (1 - rho) * self.subthreshold.relu(), self.spike_triggered.relu()
        fired = []
        for drive_t in drive.unbind(1):
            pushed = torch.addmm(drive_t, spikes, recurrent)
            if adapts:
                adaptation = torch.addcmul(
                    torch.addcmul(rho * adaptation, by_voltage, membrane), by_spike, spikes
                )
                pushed = torch.addcmul(pushed, by_adaptation, adaptation)
            membrane = torch.addcmul(pushed, alpha, membrane)
            spikes = cast(Tensor, Spike.apply(membrane - 1))  # type: ignore[no-untyped-call]
            fired.append(spikes)
        return torch.stack(fired, dim=1), UnitState(membrane, adaptation, spikes)


class SpikingNetwork(Baseline):
    """Layers of recurrent leaky integrate-and-fire units, read by leaky integrators.

    ::

        y_t = kappa y_{t-1} + (1 - kappa) (W_y s_t + bias)

    See `SpikingLayer` for the units. All time constants are trained.

    Args:
        inputs: Number of input channels.
        outputs: Leaky integrators of the readout; without it the spikes of the last layer are the output.
        units: Spiking units of every layer.
        layers: Layers.
        adaptive: Whether units have an adaptation current.
        tau_membrane_ms: Shortest and longest membrane time constant at the start.
        tau_adaptation_ms: The same for the adaptation.
        tau_readout_ms: Time constant of the readout at the start.
        dropout: Share of spikes that the next layer or the readout does not see.
        input_dropout: Share of inputs that is left out, the same for all steps of a batch.
        dt_ms: Duration of one time step.

    Raises:
        ConfigError: a value that cannot be used.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int | None = None,
        *,
        units: int = 256,
        layers: int = 1,
        adaptive: bool = True,
        tau_membrane_ms: Sequence[float] = (5.0, 25.0),
        tau_adaptation_ms: Sequence[float] = (30.0, 120.0),
        tau_readout_ms: float = 20.0,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        dt_ms: float = 1.0,
    ) -> None:
        super().__init__(locals())
        check_sizes(units=units, layers=layers)
        check_positive(tau_readout_ms=tau_readout_ms)
        check_shares(dropout=dropout, input_dropout=input_dropout)
        membrane = range_of("tau_membrane_ms", tau_membrane_ms)
        adaptation = range_of("tau_adaptation_ms", tau_adaptation_ms)
        widths = [inputs, *[units] * (layers - 1)]
        self.layers = nn.ModuleList(
            SpikingLayer(width, units, membrane, adaptation if adaptive else None, self.dt_ms)
            for width in widths
        )
        self.dropout, self.input_dropout = nn.Dropout(dropout), input_dropout
        self.readout = None
        if outputs is not None:
            self.readout = nn.Linear(units, outputs)
            self.readout_decay = Decay((tau_readout_ms, tau_readout_ms), outputs, self.dt_ms)

    def forward(
        self, inputs: Float[Tensor, "batch time inputs"] | Events, state: SpikingState | None = None
    ) -> tuple[Float[Tensor, "batch time outputs"], SpikingState]:
        """Outputs of every time step, and the state to go on from.

        Raises:
            ShapeError: input or state of another shape than this model's.
        """
        x, state = self._check(inputs, state, self._rest)
        mask: Tensor | None = None
        if self.training and self.input_dropout:
            mask = dropout_mask(self.inputs, self.input_dropout, self._layers()[0].forward_weight)
        after = []
        for layer, before in zip(self._layers(), state.layers, strict=True):
            spikes, unit_state = layer(x, before, mask)
            spikes, mask = self.dropout(spikes), None
            x = spikes
            after.append(unit_state)
        units = tuple(after)
        if self.readout is None:
            return spikes, SpikingState(units, state.readout)
        if spikes.shape[1] == 0:
            return spikes.new_zeros(len(spikes), 0, self.readout.out_features), state
        decay = self.readout_decay()
        outputs = leaky_filter((1 - decay) * self.readout(spikes), decay, state.readout)
        return outputs, SpikingState(units, outputs[:, -1])

    def _layers(self) -> list[SpikingLayer]:
        return cast(list[SpikingLayer], list(self.layers))

    def _rest(self, batch: int) -> SpikingState:
        rest = tuple(layer.rest(batch) for layer in self._layers())
        return SpikingState(rest, rest[0].membrane.new_zeros(batch, self.outputs or 0))


class PointState(NamedTuple):
    """What a point neuron remembers between two calls."""

    synapse: Float[Tensor, "batch 1"]
    membrane: Float[Tensor, "batch 1"]
    """Before the reset; threshold is 1, rest 0."""
    adaptation: Float[Tensor, "batch 1"]
    """By how much the threshold is raised."""
    spikes: Float[Tensor, "batch 1"]


class PointNeuron(Baseline):
    """One leaky integrate-and-fire neuron, with an adaptive threshold or without, to fit to a detailed neuron.

    ::

        i_t = gamma i_{t-1} + sum of w x_t                          w >= 0; inhibitory input is negative
        v_t = alpha v_{t-1} (1 - s_{t-1}) + (1 - alpha) i_t
        a_t = rho a_{t-1} + b s_{t-1},  s_t = 1 where v_t > 1 + a_t

    The first output, a spike logit, is ``slope (v_t - 1 - a_t)``; the others, scaled voltages, are ``scale v_t + offset``.
    Trained are w, the three time constants, b, slope, scale and offset: 1,278 weights and 5 values for NeuronIO (7 with
    adaptation); the paper's table S4 counts 2 (3) beside the weights, and does not say which.

    Args:
        inputs: Number of input channels.
        outputs: 1, and one for every voltage.
        adaptive: Whether spikes raise the threshold for a while.
        tau_membrane_ms: Membrane time constant at the start.
        tau_synapse_ms: Synaptic time constant at the start.
        tau_adaptation_ms: Time constant of the threshold at the start.
        synaptic_weight: Initial weight of every synapse, in units of the threshold.
        dt_ms: Duration of one time step.

    Raises:
        ConfigError: a value that cannot be used.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int = 2,
        *,
        adaptive: bool = False,
        tau_membrane_ms: float = 20.0,
        tau_synapse_ms: float = 5.0,
        tau_adaptation_ms: float = 100.0,
        synaptic_weight: float = 0.1,
        dt_ms: float = 1.0,
    ) -> None:
        super().__init__(locals())
        taus = {"membrane": tau_membrane_ms, "synapse": tau_synapse_ms, "adaptation": tau_adaptation_ms}
        check_positive(
            **{f"tau_{name}_ms": tau for name, tau in taus.items()}, synaptic_weight=synaptic_weight
        )
        if not adaptive:
            taus.pop("adaptation")
        self.weight = nn.Parameter(torch.full((1, inputs), synaptic_weight))
        self.decays = nn.ModuleDict({name: Decay((tau, tau), 1, self.dt_ms) for name, tau in taus.items()})
        self.increment = nn.Parameter(torch.full((1,), 0.1)) if adaptive else None
        self.slope = nn.Parameter(torch.full((1,), 5.0))
        self.scale, self.offset = (
            nn.Parameter(torch.ones(outputs - 1)),
            nn.Parameter(torch.zeros(outputs - 1)),
        )

    def forward(
        self, inputs: Float[Tensor, "batch time inputs"] | Events, state: PointState | None = None
    ) -> tuple[Float[Tensor, "batch time outputs"], PointState]:
        """Outputs of every time step, and the state to go on from.

        Raises:
            ShapeError: input or state of another shape than this model's.
        """
        x, state = self._check(inputs, state, self._rest)
        currents = leaky_filter(
            synaptic_currents(x, self.weight.relu()), self.decays["synapse"](), state.synapse
        )
        if currents.shape[1] == 0:
            return currents.new_zeros(currents.shape[0], 0, 1 + len(self.scale)), state
        alpha = self.decays["membrane"]()
        _, membrane, adaptation, spikes = state
        rho = None if self.increment is None else self.decays["adaptation"]()
        voltages, distances = [], []
        for drive_t in ((1 - alpha) * currents).unbind(1):
            if rho is not None and self.increment is not None:
                adaptation = rho * adaptation + self.increment.relu() * spikes
            membrane = alpha * membrane * (1 - spikes) + drive_t
            distance = membrane - 1 - adaptation
            spikes = cast(Tensor, Spike.apply(distance))  # type: ignore[no-untyped-call]
            voltages.append(membrane)
            distances.append(distance)
        voltage = torch.stack(voltages, dim=1) * self.scale + self.offset
        logit = self.slope * torch.stack(distances, dim=1)
        return torch.cat([logit, voltage], dim=-1), PointState(currents[:, -1], membrane, adaptation, spikes)

    def _rest(self, batch: int) -> PointState:
        return PointState(*[self.weight.new_zeros(batch, 1)] * 4)
