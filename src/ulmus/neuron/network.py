"""Layers of ELM neurons on top of each other."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence
from torch.utils import _pytree as pytree

from ulmus import kernels
from ulmus.arguments import check_shares, check_sizes, plain
from ulmus.errors import ShapeError
from ulmus.kernels import Events, Weights
from ulmus.neuron import called_layers, stretches
from ulmus.neuron.checks import checked_input
from ulmus.neuron.elm import ELM, State
from ulmus.neuron.lengths import check_no_lengths, masked, run_packed
from ulmus.neuron.precision import without_autocast

_OF_INPUT = (
    "branches",
    "synapses_per_branch",
    "routing",
    "synaptic_weight",
    "learn_synapses",
    "input_dropout",
)


_STRETCH = 6 << 20
"""Inner signals of the largest layer that are computed at once, 24 MiB: so many that what is done once for a stretch hardly
shows, and less than the 32 MiB that glibc does not keep for the next one."""


class _Values(NamedTuple):
    """All numbers that a network computes with."""

    layers: list[Weights]
    norms: list[tuple[Tensor, Tensor] | None]
    memory_sizes: Tensor | None
    readout: tuple[Tensor, Tensor] | None


class ELMNetwork(nn.Module):
    """Stacked ELM neurons, each of which reads the memory of the one below, and a linear readout.

    ::

        h_1 = drop(ELM_1(x) / s)
        h_l = h_{l-1} + drop(ELM_l(norm(h_{l-1})) / s)    (without ``residual``: only the second term)
        y   = W_y norm(h_last) + bias

    One layer and no options make an `ELM`. A layer whose neuron has ``outputs=width`` gives a linear map of its memory;
    without ``width`` it gives the memory itself. ``s`` is 1; with ``scale_memory`` and without ``width`` it is what
    `ELM.memory_sizes` are at the start, and stays that.

    Example:
        >>> network = ulmus.ELMNetwork(16, 2, layers=3, memory=50, norm=True, dropout=0.1)
        >>> y, states = network(torch.zeros(8, 64, 16))
        >>> len(states)
        3

    Args:
        inputs: Number of input channels.
        outputs: Size of the linear readout; without it the last layer is the output.
        layers: Layers.
        width: What a layer gives to the next; its memory by default.
        norm: Normalise (`nn.LayerNorm`) what layers after the first and the readout see.
        dropout: Share of the values of a layer's output that is left out in training, new at every step.
        residual: Add to the output of a layer what it has seen, from the second on.
        dt_ms: Duration of one time step.
        device: Where parameters and buffers are; ``"meta"`` for a network without values until `reset_parameters`.
        dtype: Type of the parameters; PyTorch's default type if not given.
        **neuron: Further arguments of every `ELM`. Those of synapses and inputs (``branches``, ``synapses_per_branch``,
            ``routing``, ``synaptic_weight``, ``learn_synapses``, ``input_dropout``) are those of the first layer: later ones
            have a branch for each value that they see.

    Raises:
        ConfigError: a value that cannot be used.
    """

    _memory_sizes: Tensor | None

    def __init__(
        self,
        inputs: int,
        outputs: int | None = None,
        *,
        layers: int = 2,
        width: int | None = None,
        norm: bool = False,
        dropout: float = 0.0,
        residual: bool = True,
        dt_ms: float = 1.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **neuron: Any,
    ) -> None:
        super().__init__()
        check_sizes(layers=layers, **({} if outputs is None else {"outputs": outputs}))
        check_shares(dropout=dropout)
        place: dict[str, Any] = {"device": device, "dtype": dtype}
        first = ELM(inputs, width, dt_ms=dt_ms, **place, **neuron)
        self.bidirectional = first.bidirectional
        seen = first.memory * (2 if self.bidirectional else 1) if width is None else width
        inner = {name: value for name, value in neuron.items() if name not in _OF_INPUT}
        later = [ELM(seen, width, dt_ms=dt_ms, **place, **inner) for _ in range(layers - 1)]
        own = {"layers": layers, "width": width, "norm": norm, "dropout": dropout, "residual": residual}
        own |= {"inputs": inputs, "outputs": outputs}
        self.config: dict[str, Any] = {**first.config, **{name: plain(value) for name, value in own.items()}}
        self.inputs, self.outputs, self.dt_ms, self.residual = inputs, outputs, float(dt_ms), residual
        self.layers = nn.ModuleList([first, *later])
        # One in front of every layer after the first, and one in front of the readout.
        self.norms = nn.ModuleList(
            nn.LayerNorm(seen, **place) if norm else nn.Identity() for _ in range(layers)
        )
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("_memory_sizes", self._sizes_at_start())
        self.readout = nn.Identity() if outputs is None else nn.Linear(seen, outputs, **place)

    def _sizes_at_start(self) -> Tensor | None:
        first = self._layers()[0]
        if not first.config["scale_memory"] or self.config["width"] is not None:
            return None
        return first.memory_sizes().repeat(2 if self.bidirectional else 1)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw all values anew, as the constructor does; also of a network made on ``meta``, after ``to_empty``."""
        for module in (*self.layers, *self.norms, self.readout):
            if not isinstance(module, nn.Identity):
                cast(Any, module).reset_parameters()
        if self._memory_sizes is not None:
            self._memory_sizes.copy_(cast(Tensor, self._sizes_at_start()))

    def forward(
        self,
        inputs: Float[Tensor, "batch time inputs"] | Events | PackedSequence,
        state: tuple[State, ...] | None = None,
        *,
        lengths: Int64[Tensor, "batch"] | Sequence[int] | None = None,
        shares: Float[Tensor, "batch time"] | None = None,
    ) -> tuple[Any, tuple[Any, ...]]:
        """Outputs of every time step, and the state of every layer to go on from; arguments as those of an `ELM`.

        Of a long sequence so many steps at a time go through all layers as fit the cache, and backward computes them again:
        the memory that training takes does not grow with the sequence, but for input, outputs and a state for each stretch.

        Args:
            inputs: As of an `ELM`.
            state: Of every layer.
            lengths: As of an `ELM`.
            shares: Constants, of sum one: the share of every step in a mean over time. Gives ``W_y (sum over t of shares_t
                norm(h_t)) + bias``, ``[batch, outputs]``, for which the readout is computed once.

        Raises:
            ShapeError: input, state or lengths of another shape than this network's.
        """
        if isinstance(inputs, PackedSequence):
            check_no_lengths(lengths)
            return run_packed(self, inputs, state)
        before: Any = [None] * len(self.layers) if state is None else state
        if not isinstance(before, tuple | list) or len(before) != len(self.layers):
            found = f"{len(before)} layers" if isinstance(before, tuple | list) else type(before).__name__
            raise ShapeError(
                f"the state is one of {found}; expected {len(self.layers)}. Pass the state that this network "
                "returned, or none to start at rest."
            )
        if lengths is None and kernels.fuses(self._layers()[0].tau_memory.raw):
            x = checked_input(inputs, self.inputs, self._layers()[0]._dtype)
            batch, time = (x.batch, x.time) if isinstance(x, Events) else x.shape[:2]
            signals = max(sum(linear.out_features for linear in layer._layers()) for layer in self._layers())
            # Equally long ones, which fit where the one before was. Nothing but sizes decides, as results do to the last bit.
            count = math.ceil(batch * time * signals / _STRETCH)
            steps = math.ceil(time / max(1, count))
            if count > 1 and time > steps and self._is_plain(x):
                states = [layer._state(x, one) for layer, one in zip(self._layers(), before, strict=True)]
                return self._in_stretches(x, states, shares, steps)
        run = [partial(layer, lengths=lengths) for layer in self._layers()]
        hidden, after = self._through(inputs, before, run, list(self.norms), self._memory_sizes)
        weights = self._layers()[0].tau_memory.raw
        with without_autocast(weights):
            outputs = self.readout(_mean(hidden, shares).to(weights.dtype))
        return masked(outputs, lengths) if shares is None else outputs, tuple(after)

    def _through(
        self,
        inputs: Tensor | Events,
        before: Sequence[Any],
        layers: Sequence[Callable[..., Any]],
        norms: Sequence[Callable[[Tensor], Tensor]],
        memory_sizes: Tensor | None,
    ) -> tuple[Tensor, list[Any]]:
        """What the readout sees, and the states of all layers."""
        seen: Any = inputs
        hidden: Tensor | None = None
        states = []
        for layer, norm, state in zip(layers, norms, before, strict=True):
            added, after = layer(seen, state)
            added = self.dropout(added if memory_sizes is None else added / memory_sizes)
            hidden = added if hidden is None or not self.residual else hidden + added
            seen = norm(hidden)
            states.append(after)
        return seen, states

    def _in_stretches(
        self, x: Tensor | Events, states: Sequence[State], shares: Tensor | None, steps: int
    ) -> tuple[Tensor, tuple[State, ...]]:
        """As `forward`, for layers of which weights say all."""
        norms: list[Any] = list(self.norms)
        readout = cast(Any, self.readout)
        values = _Values(
            [layer.weights() for layer in self._layers()],
            [None if isinstance(norm, nn.Identity) else (norm.weight, norm.bias) for norm in norms],
            self._memory_sizes,
            None
            if shares is not None or isinstance(readout, nn.Identity)
            else (readout.weight, readout.bias),
        )
        flat_states, of_states = pytree.tree_flatten(states)
        flat_values, of_values = pytree.tree_flatten(values)
        activation = self._layers()[0].activation

        def compute(part: Any, before: Any, flat_values: Any, shares: Any) -> tuple[Tensor, list[Tensor]]:
            own: _Values = pytree.tree_unflatten(flat_values, of_values)
            run = [partial(kernels.run, weights=weights, activation=activation) for weights in own.layers]
            normalise = [
                nn.Identity() if pair is None else partial(_normalised, weights=pair, eps=norm.eps)
                for pair, norm in zip(own.norms, norms, strict=True)
            ]
            states = pytree.tree_unflatten(before, of_states)
            hidden, after = self._through(part, states, run, normalise, own.memory_sizes)
            hidden = _mean(hidden, shares)
            outputs = hidden if own.readout is None else functional.linear(hidden, *own.readout)
            return outputs, pytree.tree_leaves(after)

        random = self.training and self.dropout.p > 0
        outputs, after = stretches.run(compute, x, flat_states, flat_values, shares, steps, random)
        outputs = outputs if shares is None else self.readout(outputs)
        return outputs, tuple(pytree.tree_unflatten(after, of_states))

    def _is_plain(self, inputs: Tensor | Events) -> bool:
        """Whether numbers alone say what the layers do."""
        layers, norms, readout = self._layers(), list(self.norms), self.readout
        linear = [
            part
            for layer in layers
            for part in (*layer.mlp, *([] if layer.readout is None else [layer.readout]))
        ]
        return (
            not torch.is_autocast_enabled("cpu")
            and not (isinstance(inputs, Events) and inputs.values.requires_grad)
            and not self.bidirectional
            and not layers[0].hidden_readout
            and called_layers.are_plain([*linear, *([] if isinstance(readout, nn.Identity) else [readout])])
            and not any(called_layers.hooked(module) for module in (*layers, *norms, readout))
            and all(type(norm) in (nn.LayerNorm, nn.Identity) for norm in norms)
        )

    def initial_state(self, batch: int) -> tuple[State, ...]:
        """Every layer at rest."""
        return tuple(layer.initial_state(batch) for layer in self._layers())

    def trainable_parameters(self) -> int:
        """Number of trained values."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)

    def _layers(self) -> list[ELM]:
        return cast(list[ELM], list(self.layers))


def _normalised(x: Tensor, weights: tuple[Tensor, Tensor], eps: float) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:], *weights, eps)


def _mean(x: Float[Tensor, "batch time width"], shares: Float[Tensor, "batch time"] | None) -> Tensor:
    return x if shares is None else torch.bmm(shares.to(x.dtype).unsqueeze(1), x).squeeze(1)
