"""The Expressive Leaky Memory neuron as a layer."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence

from ulmus import kernels
from ulmus.arguments import check_choice, check_positive, check_shares, check_sizes, plain, range_of
from ulmus.errors import BackendError, ConfigError, ShapeError
from ulmus.kernels import ACTIVATIONS, ELMState, Events, Traces, Weights
from ulmus.neuron import called_layers
from ulmus.neuron import lengths as ragged
from ulmus.neuron.checks import (
    bounds,
    check_directions,
    check_dtype,
    check_layers,
    check_synaptic_weight,
    checked_input,
    checked_state,
)
from ulmus.neuron.dropout import dropped
from ulmus.neuron.precision import computed_in, without_autocast
from ulmus.neuron.routing import route
from ulmus.neuron.synapses import Synapses
from ulmus.neuron.timescales import TimeConstants

UPDATES = ["published", "bounded"]
_SHORTEST_TAU_MS = 1e-6

State = ELMState | tuple[ELMState, ELMState]
"""Of a neuron; of a bidirectional one, of the forward and the reverse one."""


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

    With parameters in half precision, and under autocast, time constants, state and recurrence are float32: inputs and
    parameters are what they are rounded to, and outputs are rounded to the type of the parameters.

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
        bidirectional: Read the sequence backwards too, by a neuron of the same arguments (`reverse`): the readout sees the
            memory of both; without readout the output is both, that of the forward neuron first.
        dt_ms: Duration of one time step.
        device: Where parameters and buffers are; ``"meta"`` for a neuron without values until `reset_parameters`.
        dtype: Type of the parameters; PyTorch's default type if not given.

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
        bidirectional: bool = False,
        dt_ms: float = 1.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        given = {key: value for key, value in locals().items() if key not in ("self", "__class__")}
        # Asked of an empty tensor, so that torch.device("meta") as a context counts.
        device = torch.empty(0, device=given.pop("device")).device
        place: dict[str, Any] = {"device": device, "dtype": given.pop("dtype") or torch.get_default_dtype()}
        check_dtype(place["dtype"])
        self.config: dict[str, Any] = {key: plain(value) for key, value in given.items()}
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
        check_layers(outputs, hidden_layers, hidden_readout, hidden_dropout)
        check_directions(type(self).__name__, bidirectional, hidden_readout, memory_dropout)
        check_synaptic_weight(synaptic_weight)
        self.inputs, self.outputs, self.branches, self.memory = inputs, outputs, branches, memory
        self.activation, self.update, self.gain, self.dt_ms = activation, update, float(gain), float(dt_ms)
        self.synapses = Synapses(
            inputs, (branches, synapses_per_branch), synaptic_weight, learn_synapses, **place
        )
        tau_synapse = _tau_synapse(self.config["tau_synapse_ms"], branches)
        self.register_buffer("tau_synapse_ms", tau_synapse.to(**place))
        tau_memory_ms = range_of("tau_memory_ms", tau_memory_ms)
        limits = bounds(tau_memory_bounds_ms, tau_memory_ms)
        self.tau_memory = TimeConstants(memory, tau_memory_ms, limits, tau_spacing, learn_tau_memory, **place)
        widths = [branches + memory, *[hidden] * hidden_layers, memory]
        self.mlp = nn.ModuleList(_linear(*pair, **place) for pair in zip(widths, widths[1:], strict=False))
        seen = (memory + hidden if hidden_readout else memory) * (2 if bidirectional else 1)
        self.readout = None if outputs is None else _linear(seen, outputs, **place)
        self.hidden_readout, self.dropout = hidden_readout, (input_dropout, memory_dropout, hidden_dropout)
        self.bidirectional = bidirectional
        self._reset()
        same = {**given, "outputs": None, "bidirectional": False}
        self.reverse = ELM(**same, **place) if bidirectional else None

    def reset_parameters(self) -> None:
        """Draw all values anew, as the constructor does; also of a neuron made on ``meta``, after ``to_empty``."""
        self._reset()
        if self.reverse is not None:
            self.reverse.reset_parameters()

    @torch.no_grad()
    def _reset(self) -> None:
        config = self.config
        shape = self.branches, config["synapses_per_branch"]
        self.synapses.reset(route(config["routing"], self.inputs, *shape))
        self.tau_synapse_ms.copy_(_tau_synapse(config["tau_synapse_ms"], self.branches))
        self.tau_memory.reset_parameters()
        for layer in (*self._layers(), *([] if self.readout is None else [self.readout])):
            layer.reset_parameters()
        if config["scale_memory"]:
            self._scale_memory()

    def forward(
        self,
        inputs: Float[Tensor, "batch time inputs"] | Events | PackedSequence,
        state: State | None = None,
        *,
        lengths: Int64[Tensor, "batch"] | Sequence[int] | None = None,
    ) -> tuple[Any, Any]:
        """Outputs of every time step, and the state to go on from.

        Args:
            inputs: Dense input ``[batch, time, inputs]`` of any real type, sparse `Events`, or a ``PackedSequence``, for which
                the outputs are packed too.
            state: State returned by an earlier call; rest by default.
            lengths: Steps of every sequence. What comes after them has no effect on anything; outputs there are zero, and the
                state is that after the last step of each sequence.

        Raises:
            BackendError: recorded by ``torch.jit.trace``.
            ShapeError: input, state or lengths of another shape than this neuron's.
        """
        if isinstance(inputs, PackedSequence):
            ragged.check_no_lengths(lengths)
            return ragged.run_packed(self, inputs, state)
        if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            raise BackendError(
                "torch.jit.trace cannot record a neuron: its loop over time would have the length of the example. Use "
                "torch.export or ulmus.export instead."
            )
        x = checked_input(inputs, self.inputs, self._dtype)
        with without_autocast(self.tau_memory.raw):
            after: State
            if self.reverse is None:
                outputs, after = ragged.run(self._runner(), x, self._state(x, state), lengths)
            else:
                outputs, after = self._both_ways(x, state, lengths)
        return outputs.to(self.tau_memory.raw.dtype), after

    def _runner(self, readout: bool = True) -> ragged.Run[ELMState]:
        """What computes a stretch of time; the weights are computed once for all stretches."""
        called = not called_layers.are_plain(self.mlp)
        plain_readout = called_layers.are_plain([self.readout])
        weights = self._weights(called, plain_readout)
        if not called and not self.hidden_readout and (plain_readout or not readout):
            weights = weights if readout else weights._replace(readout=None)
            return lambda x, state: kernels.run(x, state, weights, self.activation)

        def run(x: Tensor | Events, state: ELMState) -> tuple[Tensor, ELMState]:
            if called:
                inner = called_layers.traces(x, state, weights, self.mlp, self.activation)
                memory, hidden = inner.memory, inner.hidden
                after = ELMState(inner.branches[:, -1], memory[:, -1]) if memory.shape[1] else state
            else:
                memory, after = kernels.run(x, state, weights._replace(readout=None), self.activation)
                hidden = memory.new_zeros(0)
                if self.hidden_readout:
                    hidden = kernels.traces(x, state, weights, self.activation, memory).hidden
            if not readout or self.readout is None:
                return memory, after
            seen = torch.cat([memory, hidden], dim=-1) if self.hidden_readout else memory
            if plain_readout and weights.readout is not None:
                return functional.linear(seen.to(weights.readout[0].dtype), *weights.readout), after
            return self.readout(seen.to(self.tau_memory.raw.dtype)), after

        return run

    def _both_ways(
        self, x: Tensor | Events, state: Any, lengths: Tensor | Sequence[int] | None
    ) -> tuple[Tensor, tuple[ELMState, ELMState]]:
        reverse = cast(ELM, self.reverse)
        if state is not None and not (isinstance(state, tuple | list) and len(state) == 2):
            raise ShapeError(
                f"the state of a bidirectional neuron is {type(state).__name__}; expected a pair, of both directions. Pass the "
                "state that this neuron returned, or none to start at rest."
            )
        onward, back = (None, None) if state is None else state
        memory, after = ragged.run(self._runner(readout=False), x, self._state(x, onward), lengths)
        turned = ragged.reversed_in_time(x, lengths)
        other, before = ragged.run(reverse._runner(), turned, reverse._state(x, back), lengths)
        memory = torch.cat([memory, ragged.reversed_in_time(other, lengths)], dim=-1)
        if self.readout is not None:
            memory = self.readout(memory.to(self.tau_memory.raw.dtype))
        return ragged.masked(memory, lengths), (after, before)

    def traces(
        self,
        inputs: Float[Tensor, "batch time inputs"] | Events,
        state: ELMState | None = None,
    ) -> Traces:
        """Branches, memory, hidden layer and memory proposals of every time step."""
        x = checked_input(inputs, self.inputs, self._dtype)
        state = self._state(x, state)
        with without_autocast(self.tau_memory.raw):
            called = not called_layers.are_plain(self.mlp)
            weights = self._weights(called, plain_readout=False)
            if called:
                return called_layers.traces(x, state, weights, self.mlp, self.activation)
            memory, _ = kernels.run(x, state, weights, self.activation)
            return kernels.traces(x, state, weights, self.activation, memory)

    def initial_state(self, batch: int) -> State:
        """The neuron at rest: no synaptic trace, no memory."""
        return self._rest(batch) if self.reverse is None else (self._rest(batch), self._rest(batch))

    def _rest(self, batch: int) -> ELMState:
        new, dtype = self.tau_memory.raw.new_zeros, self._dtype
        return ELMState(new(batch, self.branches, dtype=dtype), new(batch, self.memory, dtype=dtype))

    def weights(self) -> Weights:
        """Tensors the recurrence works with, computed from the parameters (differentiable).

        In training with dropout they are other ones at every call. A readout that sees the hidden layer or a reverse neuron too
        is no part of the recurrence, and left out.

        Raises:
            ConfigError: layers of the MLP or the readout were replaced or have hooks, so that weights do not say what they do.
        """
        if not called_layers.are_plain([*self.mlp, self.readout]):
            raise ConfigError(
                "layers of this neuron were replaced or have hooks, so that weights alone do not say what they compute; "
                "expected plain nn.Linear. Make changes permanent first, for example with prune.remove."
            )
        return self._weights(called=False, plain_readout=not self.hidden_readout)

    @property
    def _dtype(self) -> torch.dtype:
        """What state and time constants are computed in."""
        return computed_in(self.tau_memory.raw.dtype)

    def _memory_decay_and_gain(
        self, tau_memory: Float[Tensor, "memory"]
    ) -> tuple[Float[Tensor, "memory"], Float[Tensor, "memory"]]:
        tau_memory = tau_memory.clamp(min=_SHORTEST_TAU_MS)
        decay = torch.exp(-self.dt_ms / tau_memory)
        bounded_gain = 1 - torch.exp(-self.dt_ms * self.gain / tau_memory)
        return decay, self.gain * (1 - decay) if self.update == "published" else bounded_gain

    def _weights(self, called: bool, plain_readout: bool) -> Weights:
        """As `weights`, without a readout that is no part of the recurrence; empty matrices where layers have to be called."""
        decay, gain = self._memory_decay_and_gain(self.tau_memory())
        readout, of_readout, dropout = self.readout, None, self.dropout
        pairs: list[tuple[Tensor, Tensor]] = [(decay.new_zeros(0, 0), decay.new_zeros(0))]
        if called:
            dropout = (self.dropout[0], 0.0, 0.0)
        else:
            pairs = [(layer.weight, layer.bias) for layer in self._layers()]
            self._check_widths([weight for weight, _ in pairs])
        (first, first_bias), *later = pairs
        if readout is not None and not self.bidirectional and plain_readout:
            of_readout = readout.weight, readout.bias
        weights = Weights(
            synapses=self.synapses(),
            branch_decay=torch.exp(-self.dt_ms / self.tau_synapse_ms.to(self._dtype)),
            projection=first[:, : self.branches],
            recurrent=first[:, self.branches :],
            first_bias=first_bias,
            later=tuple(later),
            memory_decay=decay,
            memory_gain=gain,
            readout=of_readout,
        )
        return dropped(weights, *dropout) if self.training and any(dropout) else weights

    def _check_widths(self, layers: Sequence[Tensor]) -> None:
        """Kernels go by the sizes of the first layer: one that does not fit the next would be read beyond its end."""
        widths = [self.branches + self.memory, *[layer.shape[0] for layer in layers]]
        reads = [*[layer.shape[1] for layer in layers], self.memory]
        wrong = next(
            (place for place, pair in enumerate(zip(widths, reads, strict=True)) if pair[0] != pair[1]), None
        )
        if wrong is not None:
            reader = f"mlp[{wrong}] reads" if wrong < len(layers) else "the memory has"
            raise ShapeError(
                f"{reader} {reads[wrong]} values, but it is given {widths[wrong]}; expected as many. Replace layers of the MLP "
                "by ones that fit their neighbours."
            )

    @torch.no_grad()
    def memory_sizes(self) -> Float[Tensor, "memory"]:
        """Standard deviation of memory units whose proposals are unrelated and have variance one.

        ::

            size = gain_t / sqrt(1 - exp(-2 dt / tau_memory))
        """
        # In double precision: 1 - decay**2 of long ones is a small difference.
        decay, gain = self._memory_decay_and_gain(self.tau_memory().double())
        return (gain / (1 - decay**2).sqrt()).to(self.tau_memory.raw.dtype)

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
            for seen in range(2 if self.bidirectional else 1):
                self.readout.weight[:, seen * self.memory : (seen + 1) * self.memory] /= sizes

    def _layers(self) -> list[nn.Linear]:
        return cast(list[nn.Linear], list(self.mlp))

    def _state(self, x: Tensor | Events, state: Any) -> ELMState:
        batch = x.batch if isinstance(x, Events) else x.shape[0]
        if state is None:
            return self._rest(batch)
        return checked_state(state, batch, (self.branches, self.memory), self._dtype)


def _linear(inputs: int, outputs: int, device: torch.device, dtype: torch.dtype) -> nn.Linear:
    """A layer without values, which are drawn once, by `ELM.reset_parameters`."""
    return nn.Linear(inputs, outputs, device="meta", dtype=dtype).to_empty(device=device)


def _tau_synapse(tau_ms: float | Sequence[float], branches: int) -> Float[Tensor, "branches"]:
    try:
        tau = torch.as_tensor(tau_ms, dtype=torch.get_default_dtype(), device="cpu")
    except (TypeError, ValueError, RuntimeError):  # a text, or lists in lists
        tau = torch.zeros(())
    if tau.dim() > 1 or (tau.dim() == 1 and len(tau) != branches) or not bool((tau > 0).all()):
        raise ConfigError(
            f"tau_synapse_ms={tau_ms!r} does not fit; expected one positive time constant in ms, or one for each of "
            f"the {branches} branches."
        )
    return tau.expand(branches).clone()
