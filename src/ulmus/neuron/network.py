"""Layers of ELM neurons on top of each other."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from ulmus.arguments import check_shares, check_sizes, plain
from ulmus.errors import ShapeError
from ulmus.kernels import Events
from ulmus.neuron.elm import ELM, State
from ulmus.neuron.lengths import masked, run_packed

_OF_INPUT = (
    "branches",
    "synapses_per_branch",
    "routing",
    "synaptic_weight",
    "learn_synapses",
    "input_dropout",
)


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
    ) -> tuple[Any, tuple[Any, ...]]:
        """Outputs of every time step, and the state of every layer to go on from; arguments as those of an `ELM`.

        Raises:
            ShapeError: input, state or lengths of another shape than this network's.
        """
        if isinstance(inputs, PackedSequence):
            return run_packed(self, inputs, state)
        first, *later = self._layers()
        before: list[Any] = [None] * len(self.layers) if state is None else [*state]
        if len(before) != len(self.layers):
            raise ShapeError(
                f"the state is one of {len(before)} layers; expected {len(self.layers)}. Pass the state that this network "
                "returned, or none to start at rest."
            )
        hidden, after = first(inputs, before[0], lengths=lengths)
        hidden, states = self._passed_on(hidden), [after]
        for layer, norm, layer_state in zip(later, self.norms, before[1:], strict=False):
            added, after = layer(norm(hidden), layer_state, lengths=lengths)
            added = self._passed_on(added)
            hidden = hidden + added if self.residual else added
            states.append(after)
        return masked(self.readout(self.norms[-1](hidden)), lengths), tuple(states)

    def _passed_on(self, hidden: Float[Tensor, "batch time width"]) -> Float[Tensor, "batch time width"]:
        dropped: Tensor = self.dropout(hidden if self._memory_sizes is None else hidden / self._memory_sizes)
        return dropped

    def initial_state(self, batch: int) -> tuple[State, ...]:
        """Every layer at rest."""
        return tuple(layer.initial_state(batch) for layer in self._layers())

    def trainable_parameters(self) -> int:
        """Number of trained values."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)

    def _layers(self) -> list[ELM]:
        return cast(list[ELM], list(self.layers))
