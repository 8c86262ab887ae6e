"""The Expressive Leaky Memory neuron as a layer (`ELM`) and as one step (`ELMCell`)."""

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from ulmus import kernels
from ulmus.arguments import check_choice, check_positive, check_shares, check_sizes
from ulmus.errors import ConfigError, ShapeError
from ulmus.kernels import ACTIVATIONS, ELMState, Events, Traces, Weights
from ulmus.neuron.dropout import dropped
from ulmus.neuron.routing import route
from ulmus.neuron.synapses import Synapses
from ulmus.neuron.timescales import TimeConstants

UPDATES = ["published", "bounded"]
_SHORTEST_TAU_MS = 1e-6


class ELM(nn.Module):
    """Expressive Leaky Memory neuron: a recurrent layer, batch first, with its state passed in and out.

    ::

        b_t  = exp(-dt / tau_synapse) b_{t-1} + sum of w_s x_t over the synapses of each branch
        u_t  = exp(-dt / tau_memory) m_{t-1}
        m_t  = u_t + gain_t * 1.7159 tanh(2/3 MLP([b_t, u_t]))
        y_t  = W_y m_t + bias

    with ``gain_t = gain (1 - exp(-dt / tau_memory))`` for ``update="published"`` and
    ``gain_t = 1 - exp(-gain dt / tau_memory)``, never above one, for ``update="bounded"``.
    Spieler et al., ICLR 2024, figure 1c and appendix A.

    Example:
        >>> neuron = ulmus.ELM(inputs=700, outputs=20, memory=100)
        >>> y, state = neuron(torch.zeros(8, 50, 700))
        >>> y.shape
        torch.Size([8, 50, 20])

    Args:
        inputs: Number of input channels. Inhibitory input is negative.
        outputs: Size of the linear readout; without it the memory itself is the output.
        memory: Memory units, the main measure of size.
        hidden: Width of the hidden layers; twice the memory by default.
        hidden_layers: Hidden layers of the MLP; 0 makes it one linear map.
        activation: ``relu``, ``silu`` or ``squared_relu``.
        branches: Dendritic branches; by default one per input (the ELM without branches).
        synapses_per_branch: Synapses on each branch.
        routing: ``dense``, ``random`` or ``windows``: see `ulmus.neuron.routing.route`.
        tau_memory_ms: Shortest and longest memory time constant at the start.
        tau_memory_bounds_ms: Bounds that learning cannot leave; the same range by default.
        tau_spacing: ``log`` or ``linear`` spacing over the range.
        learn_tau_memory: Whether the memory time constants are trained.
        tau_synapse_ms: Synaptic time constant, one for all or one per branch; not trained.
        gain: How strongly a proposal drives the memory (lambda of the paper).
        update: ``published`` or ``bounded``, see above.
        synaptic_weight: Initial weight of every synapse.
        learn_synapses: Whether synaptic weights are trained (in the paper only those of branches are).
        scale_memory: Begin with larger weights on slow memory units, which move by little in a step: weights on memory, of the
            MLP and the readout, are divided by `memory_sizes`. The neuron then feeds back on itself more strongly, and gradients
            of long sequences grow: see `ulmus.neuron.state_clipping`.
        hidden_readout: Let the readout see the MLP's last hidden layer beside the memory.
        input_dropout: Share of inputs left out in training, the same for all steps and sequences of a call.
        memory_dropout: The same of memory units, unseen by the MLP and the readout; see `ulmus.neuron.dropout`.
        hidden_dropout: The same of the MLP's hidden units.
        dt_ms: Duration of one time step.

    Raises:
        ConfigError: a value that cannot be used, or values that do not fit each other.
    """

    tau_synapse_ms: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int | None = None,
        *,
        memory: int = 100,
        hidden: int | None = None,
        hidden_layers: int = 1,
        activation: str = "relu",
        branches: int | None = None,
        synapses_per_branch: int = 1,
        routing: str = "dense",
        tau_memory_ms: tuple[float, float] = (1.0, 1000.0),
        tau_memory_bounds_ms: tuple[float, float] | None = None,
        tau_spacing: str = "log",
        learn_tau_memory: bool = False,
        tau_synapse_ms: float | Sequence[float] = 5.0,
        gain: float = 5.0,
        update: str = "published",
        synaptic_weight: float = 0.5,
        learn_synapses: bool = True,
        scale_memory: bool = False,
        hidden_readout: bool = False,
        input_dropout: float = 0.0,
        memory_dropout: float = 0.0,
        hidden_dropout: float = 0.0,
        dt_ms: float = 1.0,
    ) -> None:
        super().__init__()
        tau_synapse_ms = torch.as_tensor(tau_synapse_ms).tolist()
        self.config: dict[str, Any] = {
            key: value for key, value in locals().items() if key not in ("self", "__class__")
        }
        branches = inputs if branches is None else branches
        hidden = 2 * memory if hidden is None else hidden
        check_sizes(inputs=inputs, memory=memory, branches=branches, synapses_per_branch=synapses_per_branch)
        check_sizes(hidden=hidden, **({} if outputs is None else {"outputs": outputs}))
        check_positive(dt_ms=dt_ms, gain=gain)
        check_shares(
            input_dropout=input_dropout, memory_dropout=memory_dropout, hidden_dropout=hidden_dropout
        )
        check_choice("activation", activation, list(ACTIVATIONS))
        check_choice("update", update, UPDATES)
        _check_layers(outputs, hidden_layers, hidden_readout, hidden_dropout)
        _check_synaptic_weight(synaptic_weight)
        self.inputs, self.outputs, self.branches, self.memory = inputs, outputs, branches, memory
        self.activation, self.update, self.gain, self.dt_ms = activation, update, float(gain), float(dt_ms)
        self.synapses = Synapses(
            inputs, route(routing, inputs, branches, synapses_per_branch), synaptic_weight, learn_synapses
        )
        self.register_buffer("tau_synapse_ms", _tau_synapse(tau_synapse_ms, branches))
        bounds_ms = _bounds(tau_memory_bounds_ms, tau_memory_ms)
        self.tau_memory = TimeConstants(
            memory, _ordered(tau_memory_ms), bounds_ms, tau_spacing, learn_tau_memory
        )
        widths = [branches + memory, *[hidden] * hidden_layers, memory]
        self.mlp = nn.ModuleList(nn.Linear(*pair) for pair in zip(widths, widths[1:], strict=False))
        seen = memory + hidden if hidden_readout else memory
        self.readout = None if outputs is None else nn.Linear(seen, outputs)
        self.hidden_readout, self.dropout = hidden_readout, (input_dropout, memory_dropout, hidden_dropout)
        if scale_memory:
            self._scale_memory()

    def forward(
        self,
        inputs: Float[Tensor, "batch time inputs"] | Events,
        state: ELMState | None = None,
    ) -> tuple[Float[Tensor, "batch time outputs"], ELMState]:
        """Outputs of every time step, and the state to go on from.

        Args:
            inputs: Dense input ``[batch, time, inputs]`` of any number type, or sparse `Events`.
            state: State returned by an earlier call; rest by default.

        Raises:
            ShapeError: input or state of another shape than this neuron's.
        """
        x, state = self._check(inputs, state)
        weights = self._weights()
        if not self.hidden_readout or weights.readout is None:
            return kernels.run(x, state, weights, self.activation)
        memory, after = kernels.run(x, state, weights._replace(readout=None), self.activation)
        inner = kernels.traces(x, state, weights, self.activation, memory)
        return functional.linear(torch.cat([memory, inner.hidden], dim=-1), *weights.readout), after

    def traces(
        self,
        inputs: Float[Tensor, "batch time inputs"] | Events,
        state: ELMState | None = None,
    ) -> Traces:
        """Branches, memory, hidden layer and memory proposals of every time step."""
        x, state = self._check(inputs, state)
        weights = self.weights()
        memory, _ = kernels.run(x, state, weights._replace(readout=None), self.activation)
        return kernels.traces(x, state, weights, self.activation, memory)

    def initial_state(self, batch: int) -> ELMState:
        """The neuron at rest: no synaptic trace, no memory."""
        like = self._layers()[0].weight
        return ELMState(like.new_zeros(batch, self.branches), like.new_zeros(batch, self.memory))

    def weights(self) -> Weights:
        """Tensors the recurrence works with, computed from the parameters (differentiable).

        In training with dropout they are other ones at every call. A readout that sees the hidden layer too is no part of
        the recurrence, and left out.
        """
        weights = self._weights()
        return weights._replace(readout=None) if self.hidden_readout else weights

    def _memory_decay_and_gain(
        self, tau_memory: Float[Tensor, "memory"]
    ) -> tuple[Float[Tensor, "memory"], Float[Tensor, "memory"]]:
        tau_memory = tau_memory.clamp(min=_SHORTEST_TAU_MS)
        decay = torch.exp(-self.dt_ms / tau_memory)
        bounded_gain = 1 - torch.exp(-self.dt_ms * self.gain / tau_memory)
        return decay, self.gain * (1 - decay) if self.update == "published" else bounded_gain

    def _weights(self) -> Weights:
        decay, gain = self._memory_decay_and_gain(self.tau_memory())
        first, *later = self._layers()
        weights = Weights(
            synapses=self.synapses.folded(),
            branch_decay=torch.exp(-self.dt_ms / self.tau_synapse_ms),
            projection=first.weight[:, : self.branches],
            recurrent=first.weight[:, self.branches :],
            first_bias=first.bias,
            later=tuple((layer.weight, layer.bias) for layer in later),
            memory_decay=decay,
            memory_gain=gain,
            readout=None if self.readout is None else (self.readout.weight, self.readout.bias),
        )
        return dropped(weights, *self.dropout) if self.training and any(self.dropout) else weights

    @torch.no_grad()
    def memory_sizes(self) -> Float[Tensor, "memory"]:
        """Standard deviation of memory units whose proposals are unrelated and have variance one.

        ::

            size = gain_t / sqrt(1 - exp(-2 dt / tau_memory))
        """
        tau_memory = self.tau_memory()
        decay, gain = self._memory_decay_and_gain(
            tau_memory.double()
        )  # 1 - decay**2 of long ones is a small difference
        return (gain / (1 - decay**2).sqrt()).to(tau_memory.dtype)

    def trainable_parameters(self) -> int:
        """Number of trained values."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)

    def extra_repr(self) -> str:
        """Sizes, for `print(neuron)`."""
        return (
            f"inputs={self.inputs}, outputs={self.outputs}, memory={self.memory}, branches={self.branches}, "
            f"update={self.update!r}, dt_ms={self.dt_ms}, trainable={self.trainable_parameters()}"
        )

    @torch.no_grad()
    def _scale_memory(self) -> None:
        sizes = self.memory_sizes()
        self._layers()[0].weight[:, self.branches :] /= sizes
        if self.readout is not None:
            self.readout.weight[:, : self.memory] /= sizes

    def _layers(self) -> list[nn.Linear]:
        return cast(list[nn.Linear], list(self.mlp))

    def _check(self, inputs: Tensor | Events, state: ELMState | None) -> tuple[Tensor | Events, ELMState]:
        dtype = self._layers()[0].weight.dtype
        shape = (
            (inputs.batch, inputs.time, inputs.channels)
            if isinstance(inputs, Events)
            else tuple(inputs.shape)
        )
        if len(shape) != 3 or shape[2] != self.inputs:
            raise ShapeError(
                f"input has shape {list(shape)}, but this neuron has inputs={self.inputs}; expected "
                f"[batch, time, {self.inputs}]. Add a batch axis with x.unsqueeze(0) if it is missing."
            )
        if state is None:
            state = self.initial_state(shape[0])
        for name, value, width in zip(state._fields, state, (self.branches, self.memory), strict=True):
            if value.shape != (shape[0], width):
                raise ShapeError(
                    f"state.{name} has shape {list(value.shape)}; expected [{shape[0]}, {width}] for this input. "
                    f"Pass the state that this neuron returned for the same batch, or none to start at rest."
                )
        if isinstance(inputs, Tensor) and inputs.dtype in (torch.uint8, torch.bool):
            return inputs, state  # a backend that takes counts as they are reads a quarter of the memory
        return inputs.to(dtype), state


class ELMCell(ELM):
    """One time step of an `ELM`, with the same arguments.

    Example:
        >>> cell = ulmus.ELMCell(inputs=3, outputs=2, memory=10)
        >>> state = None
        >>> for x in torch.zeros(50, 8, 3):  # time, batch, inputs
        ...     y, state = cell(x, state)
        >>> y.shape
        torch.Size([8, 2])
    """

    def forward(  # type: ignore[override]
        self, inputs: Float[Tensor, "batch inputs"], state: ELMState | None = None
    ) -> tuple[Float[Tensor, "batch outputs"], ELMState]:
        """Output of this step, and the state to go on from.

        Raises:
            ShapeError: input or state of another shape than this neuron's.
        """
        if inputs.dim() != 2:
            raise ShapeError(
                f"input has shape {list(inputs.shape)}; one step of a cell expects [batch, {self.inputs}]. "
                "Use ELM for a whole sequence."
            )
        outputs, state = super().forward(inputs.unsqueeze(1), state)
        return outputs.squeeze(1), state


def _check_layers(
    outputs: int | None, hidden_layers: int, hidden_readout: bool, hidden_dropout: float
) -> None:
    if not isinstance(hidden_layers, int) or hidden_layers < 0:
        raise ConfigError(
            f"hidden_layers={hidden_layers!r} cannot be; expected a whole number: 0 (one linear map), 1, 2, ..."
        )
    if hidden_readout and (outputs is None or hidden_layers == 0):
        raise ConfigError(
            f"hidden_readout=True needs a readout and a hidden layer, got outputs={outputs} and "
            f"hidden_layers={hidden_layers}. Set outputs and hidden_layers to 1 or more, or leave hidden_readout off."
        )
    if hidden_dropout and hidden_layers == 0:
        raise ConfigError(
            f"hidden_dropout={hidden_dropout} needs a hidden layer, got hidden_layers=0. Set it to 0, or use memory_dropout."
        )


def _check_synaptic_weight(synaptic_weight: float) -> None:
    if not 0 <= synaptic_weight < math.inf:
        raise ConfigError(
            f"synaptic_weight={synaptic_weight} is negative or not finite, but synaptic weights are rectified; "
            "expected 0 or more. Make the input negative for inhibition."
        )


def _ordered(range_ms: Sequence[float]) -> tuple[float, float]:
    shortest, longest = (float(end) for end in range_ms)
    return shortest, longest


def _bounds(bounds_ms: Sequence[float] | None, range_ms: Sequence[float]) -> tuple[float, float]:
    low, high = (float(end) for end in (range_ms if bounds_ms is None else bounds_ms))
    if not 0 <= low <= range_ms[0] <= range_ms[1] <= high:
        raise ConfigError(
            f"tau_memory_bounds_ms={(low, high)} does not contain tau_memory_ms={tuple(range_ms)}; expected "
            "0 <= lower bound <= shortest <= longest <= upper bound, in ms."
        )
    # Bounds of no width (a single fixed time constant) would divide by zero in the inverse of the sigmoid.
    return low, max(high, low + 3e-6)


def _tau_synapse(tau_ms: float | Sequence[float], branches: int) -> Float[Tensor, "branches"]:
    tau = torch.as_tensor(tau_ms, dtype=torch.get_default_dtype())
    if tau.dim() > 1 or (tau.dim() == 1 and len(tau) != branches) or not bool((tau > 0).all()):
        raise ConfigError(
            f"tau_synapse_ms={tau_ms} does not fit; expected one positive time constant in ms, or one for each of "
            f"the {branches} branches."
        )
    return tau.expand(branches).clone()
