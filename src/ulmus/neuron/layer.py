"""A layer of many small ELM neurons, sparsely connected with the input and with each other."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from ulmus.arguments import check_choice, check_positive, check_shares, check_sizes, range_of
from ulmus.baselines.baseline import Baseline, dense
from ulmus.baselines.spiking import Spike
from ulmus.kernels import ACTIVATIONS, Events
from ulmus.kernels.reference import leaky_filter, synaptic_currents
from ulmus.kernels.weights import bounded
from ulmus.neuron import lengths as ragged
from ulmus.neuron.checks import bounds, check_layers, checked_input
from ulmus.neuron.precision import computed_in, without_autocast
from ulmus.neuron.routing import Routing
from ulmus.neuron.synapses import Synapses
from ulmus.neuron.timescales import TimeConstants

OUTPUTS = ["identity", "relu", "spike"]


class LayerState(NamedTuple):
    """What a layer of neurons remembers between two calls."""

    inputs: Float[Tensor, "batch inputs"]
    """Leaky sum of every input over the past, as synapses see it; zero without a synaptic time constant."""
    outputs: Float[Tensor, "batch neurons"]
    """The same of the neurons' own outputs; without a synaptic time constant the last outputs."""
    memory: Float[Tensor, "batch neurons memory"]
    """Memory units of every neuron, m_t."""
    average: Float[Tensor, "batch neurons"]
    """Running mean of what is read from the memory, which the high-pass filter subtracts."""


class ELMLayer(Baseline):
    """Many small ELM neurons side by side, each with weights of its own, on fixed random connections.

    A synapse reads an input at this step, or, with the probability ``recurrent``, the output of a neuron at the last one::

        b_t  = exp(-dt / tau_synapse) b_{t-1} + gain_s sum of w_s [x_t, y_{t-1}]_s over the synapses of each branch
        u_t  = exp(-dt / tau_memory) m_{t-1}
        m_t  = u_t + (1 - exp(-gain dt / tau_memory)) 1.7159 tanh(2/3 MLP([b_t, u_t]))
        r_t  = w_y m_t,   a_t = k a_{t-1} + (1 - k) r_t,   k = exp(-dt / tau_output)
        y_t  = f(r_t - a_t + bias)

    Weights w_s have both signs; f is a rectifier, the identity, or 1 above zero (a spike, whose gradient is that of a fast
    sigmoid). Spieler, Martius & Levina, arXiv 2605.12049, with their numbers for added spoken digits as defaults. Recurrence
    makes this a loop over steps in Python, about a millisecond a step of training: many times slower than one `ELM` of as
    many parameters.

    Example:
        >>> layer = ulmus.neuron.ELMLayer(700, 19, neurons=57, memory=9)
        >>> y, state = layer(torch.zeros(8, 50, 700))
        >>> y.shape, layer.trainable_parameters()
        (torch.Size([8, 50, 19]), 76171)

    Args:
        inputs: Number of input channels.
        outputs: Size of a readout, which is a layer of as many linear ELM neurons (``hidden_layers=0``) without high-pass
            filter that read the outputs of this one; without it these are the output.
        neurons: Neurons.
        recurrent: Share of synapses on outputs of neurons of the layer, drawn for each synapse.
        memory: Memory units of a neuron.
        hidden: Width of the hidden layers; twice the memory by default.
        hidden_layers: Hidden layers of the MLP; 0 makes it one linear map.
        activation: ``relu``, ``silu`` or ``squared_relu``.
        branches: Dendritic branches of a neuron.
        synapses_per_branch: Synapses on each branch, their sources drawn with replacement.
        synaptic_gain: Factor of all synaptic weights, which start evenly spread over ``+-1 / sqrt(synapses_per_branch)``.
        tau_memory_ms: Shortest and longest memory time constant at the start.
        tau_memory_bounds_ms: Bounds that learning cannot leave; the same range by default.
        tau_spacing: ``log`` or ``linear`` spacing over the range.
        learn_tau_memory: Whether the memory time constants are trained.
        tau_synapse_ms: Synaptic time constant; None for branches that forget at once.
        gain: How strongly a proposal drives the memory (lambda of the paper).
        tau_output_ms: Time constant of the high-pass filter; None for no filter.
        output_activation: ``relu``, ``identity`` or ``spike``.
        readout_memory: Memory units of a neuron of the readout; None for a plain linear map.
        dt_ms: Duration of one time step.

    Raises:
        ConfigError: a value that cannot be used.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int | None = None,
        *,
        neurons: int = 57,
        recurrent: float = 0.25,
        memory: int = 9,
        hidden: int | None = None,
        hidden_layers: int = 1,
        activation: str = "squared_relu",
        branches: int = 30,
        synapses_per_branch: int = 10,
        synaptic_gain: float = 10.0,
        tau_memory_ms: tuple[float, float] = (1.0, 500.0),
        tau_memory_bounds_ms: tuple[float, float] | None = None,
        tau_spacing: str = "log",
        learn_tau_memory: bool = False,
        tau_synapse_ms: float | None = None,
        gain: float = 5.0,
        tau_output_ms: float | None = 5.0,
        output_activation: str = "relu",
        readout_memory: int | None = 3,
        dt_ms: float = 1.0,
    ) -> None:
        super().__init__(locals())
        hidden = 2 * memory if hidden is None else hidden
        check_sizes(neurons=neurons, memory=memory, hidden=hidden, branches=branches)
        check_sizes(synapses_per_branch=synapses_per_branch)
        check_layers(outputs, hidden_layers, False, 0.0)
        check_shares(recurrent=recurrent)
        filters = {"tau_synapse_ms": tau_synapse_ms, "tau_output_ms": tau_output_ms}
        check_positive(gain=gain, synaptic_gain=synaptic_gain)
        check_positive(**{name: tau for name, tau in filters.items() if tau is not None})
        check_choice("activation", activation, list(ACTIVATIONS))
        check_choice("output_activation", output_activation, OUTPUTS)
        self.neurons, self.memory, self.branches, self.recurrent = neurons, memory, branches, float(recurrent)
        self.tau_synapse_ms, self.tau_output_ms = tau_synapse_ms, tau_output_ms
        self.activation, self.output_activation, self.gain = activation, output_activation, float(gain)
        shape = neurons * branches, synapses_per_branch
        self.synapses = Synapses(inputs + neurons, shape, 0.0, True, rectified=False)
        self.synapses.reset(_connections(inputs, neurons, shape, recurrent))
        nn.init.uniform_(self.synapses.raw, -(shape[1] ** -0.5), shape[1] ** -0.5)
        self.synaptic_gain = float(synaptic_gain)
        tau_memory_ms = range_of("tau_memory_ms", tau_memory_ms)
        limits = bounds(tau_memory_bounds_ms, tau_memory_ms)
        self.tau_memory = TimeConstants(memory, tau_memory_ms, limits, tau_spacing, learn_tau_memory)
        self.tau_memory.raw = nn.Parameter(torch.empty(neurons, memory), learn_tau_memory)
        self.tau_memory.reset_parameters()
        widths = [branches + memory, *[hidden] * hidden_layers, memory]
        self.mlp = nn.ModuleList(_Linears(neurons, *pair) for pair in zip(widths, widths[1:], strict=False))
        self.read = _Linears(neurons, memory, 1)
        nn.init.zeros_(self.read.bias)
        self.readout: nn.Module | None = None
        if outputs is not None and readout_memory is None:
            self.readout = nn.Linear(neurons, outputs)
        elif outputs is not None:
            same = {key: value for key, value in self.config.items() if key not in _OF_READOUT}
            self.readout = ELMLayer(
                neurons, neurons=outputs, recurrent=0.0, memory=cast(int, readout_memory), hidden_layers=0,
                tau_output_ms=None, output_activation="identity", **same,
            )  # fmt: skip

    def forward(
        self,
        inputs: Float[Tensor, "batch time inputs"] | Events | PackedSequence,
        state: tuple[LayerState, ...] | None = None,
        *,
        lengths: Int64[Tensor, "batch"] | Sequence[int] | None = None,
    ) -> tuple[Any, tuple[LayerState, ...]]:
        """Outputs of every time step, and the state to go on from: that of the neurons, and of those of the readout.

        Arguments are those of an `ELM`; in half precision and under autocast, the state is computed in single precision, too.

        Raises:
            ShapeError: input, state or lengths of another shape than this layer's.
        """
        if isinstance(inputs, PackedSequence):
            ragged.check_no_lengths(lengths)
            return ragged.run_packed(self, inputs, state)
        x = checked_input(inputs, self.inputs, self._dtype)
        x, before = self._check(x, state, self.initial_state, self._dtype)
        neurons, *of_readout = (LayerState(*(part.to(self._dtype) for part in one)) for one in before)
        with without_autocast(self.read.weight):
            outputs, after = ragged.run(self._runner(), x, neurons, lengths)
            if isinstance(self.readout, ELMLayer):
                outputs, last = self.readout(outputs, tuple(of_readout), lengths=lengths)
                return outputs, (after, *last)
            outputs = outputs.to(self.read.weight.dtype)
            if self.readout is not None:
                outputs = ragged.masked(self.readout(outputs), lengths)
            return outputs, (after,)

    def initial_state(self, batch: int) -> tuple[LayerState, ...]:
        """All neurons at rest."""
        sizes = (self.inputs,), (self.neurons,), (self.neurons, self.memory), (self.neurons,)
        rest = LayerState(*(self.read.weight.new_zeros(batch, *size, dtype=self._dtype) for size in sizes))
        return (rest, *self.readout.initial_state(batch)) if isinstance(self.readout, ELMLayer) else (rest,)

    @property
    def _dtype(self) -> torch.dtype:
        """What state and time constants are computed in."""
        return computed_in(self.read.weight.dtype)

    def _runner(self) -> ragged.Run[LayerState]:
        """What computes outputs ``[batch, time, neurons]`` of a stretch; the weights are computed once for all stretches."""
        dtype = self._dtype
        linears = cast(list[_Linears], [*self.mlp, self.read])
        (first, bias), *later, read = [(one.weight.to(dtype), one.bias.to(dtype)) for one in linears]
        synapses = self.synaptic_gain * self.synapses().to(dtype).view(self.neurons, self.branches, -1)
        # All branches decay alike: what they send to the MLP is filtered instead of them.
        sent = (first[:, :, : self.branches] @ synapses).flatten(0, 1)
        from_inputs, from_neurons = sent[:, : self.inputs], sent[:, self.inputs :].t()
        scanned = _Scanned(
            from_neurons, first[:, :, self.branches :].transpose(1, 2),
            [(weight.transpose(1, 2), level.unsqueeze(1)) for weight, level in later],
            self.dt_ms / self.tau_memory().unsqueeze(1), *read,
        )  # fmt: skip
        fade = self._fading(self.tau_synapse_ms)

        def run(x: Tensor | Events, state: LayerState) -> tuple[Tensor, LayerState]:
            drive = synaptic_currents(x, from_inputs)
            time = drive.shape[1]
            if time == 0:
                return drive.new_zeros(len(drive), 0, self.neurons), state
            if fade:
                drive = leaky_filter(drive, drive.new_tensor(fade), state.inputs @ from_inputs.t())
                reach = torch.arange(time - 1, -1, -1, device=drive.device)
                now = torch.einsum("btk,t->bk", dense(x), drive.new_tensor(fade) ** reach)
                state = state._replace(inputs=fade**time * state.inputs + now)
            return self._scan(drive + bias.flatten(), scanned, state)

        return run

    def _scan(
        self, drive: Float[Tensor, "batch time first"], weights: "_Scanned", state: LayerState
    ) -> tuple[Tensor, LayerState]:
        """The sequential part, given what the input sends to the MLPs. Inside, neurons come before sequences."""
        decay, strength = torch.exp(-weights.rate), -torch.expm1(-self.gain * weights.rate)
        activate, fade = ACTIVATIONS[self.activation], self._fading(self.tau_synapse_ms)
        keep = self._fading(self.tau_output_ms)
        memory, past, average, found = state.memory.transpose(0, 1), state.outputs, state.average, []
        for drive_t in drive.unbind(1):
            pushed = torch.addmm(drive_t, past, weights.from_neurons) if self.recurrent else drive_t
            decayed = decay * memory
            layer = pushed.view(len(drive), self.neurons, weights.from_memory.shape[2]).transpose(0, 1)
            layer = torch.baddbmm(layer, decayed, weights.from_memory)
            for weight, bias in weights.later:
                layer = torch.baddbmm(bias, activate(layer), weight)
            memory = torch.addcmul(decayed, strength, bounded(layer))
            outputs = torch.bmm(memory, weights.read.transpose(1, 2)).squeeze(2).t()
            if keep:
                average = torch.lerp(outputs, average, keep)
                outputs = outputs - average
            outputs = self._fired(outputs + weights.read_bias.squeeze(1))
            past = fade * past + outputs
            found.append(outputs)
        return torch.stack(found, dim=1), LayerState(state.inputs, past, memory.transpose(0, 1), average)

    def _fired(self, distance: Float[Tensor, "batch neurons"]) -> Float[Tensor, "batch neurons"]:
        if self.output_activation == "spike":
            return cast(Tensor, Spike.apply(distance))  # type: ignore[no-untyped-call]
        return distance.relu() if self.output_activation == "relu" else distance

    def _fading(self, tau_ms: float | None) -> float:
        """What is left after a step; nothing where there is no time constant."""
        return 0.0 if tau_ms is None else math.exp(-self.dt_ms / tau_ms)


_OF_READOUT = (
    "inputs", "outputs", "neurons", "recurrent", "memory", "hidden", "hidden_layers", "tau_output_ms",
    "output_activation", "readout_memory",
)  # fmt: skip
"""Arguments that the readout does not share with the layer."""


class _Scanned(NamedTuple):
    """What the loop over steps multiplies with."""

    from_neurons: Float[Tensor, "neurons first"]
    from_memory: Float[Tensor, "neurons memory hidden"]
    later: list[tuple[Tensor, Tensor]]
    rate: Float[Tensor, "neurons 1 memory"]
    read: Float[Tensor, "neurons 1 memory"]
    read_bias: Float[Tensor, "neurons 1"]


class _Linears(nn.Module):
    """A linear map for each neuron, with values drawn as those of `nn.Linear`."""

    def __init__(self, neurons: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = inputs**-0.5
        self.weight = nn.Parameter(nn.init.uniform_(torch.empty(neurons, outputs, inputs), -bound, bound))
        self.bias = nn.Parameter(nn.init.uniform_(torch.empty(neurons, outputs), -bound, bound))


def _connections(inputs: int, neurons: int, shape: tuple[int, int], recurrent: float) -> Routing:
    """A source for every synapse: an input, or after these a neuron."""
    among = torch.rand(shape, device="cpu") < recurrent
    other = inputs + torch.randint(neurons, shape, device="cpu")
    return Routing(
        torch.where(among, other, torch.randint(inputs, shape, device="cpu")), torch.ones_like(among)
    )
