"""Layers of ELM neurons on top of each other."""

from typing import Any, cast

from jaxtyping import Float
from torch import Tensor, nn

from ulmus.arguments import check_shares, check_sizes
from ulmus.errors import ShapeError
from ulmus.kernels import ELMState, Events
from ulmus.neuron.elm import ELM

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
        **neuron: Any,
    ) -> None:
        super().__init__()
        check_sizes(layers=layers, **({} if outputs is None else {"outputs": outputs}))
        check_shares(dropout=dropout)
        first = ELM(inputs, width, dt_ms=dt_ms, **neuron)
        seen = first.memory if width is None else width
        inner = {name: value for name, value in neuron.items() if name not in _OF_INPUT}
        later = [ELM(seen, width, dt_ms=dt_ms, **inner) for _ in range(layers - 1)]
        own = {"layers": layers, "width": width, "norm": norm, "dropout": dropout, "residual": residual}
        self.config: dict[str, Any] = {**first.config, "inputs": inputs, "outputs": outputs, **own}
        self.inputs, self.outputs, self.dt_ms, self.residual = inputs, outputs, float(dt_ms), residual
        self.layers = nn.ModuleList([first, *later])
        # One in front of every layer after the first, and one in front of the readout.
        self.norms = nn.ModuleList(nn.LayerNorm(seen) if norm else nn.Identity() for _ in range(layers))
        self.dropout = nn.Dropout(dropout)
        sizes = first.memory_sizes() if first.config["scale_memory"] and width is None else None
        self.register_buffer("_memory_sizes", sizes)
        self.readout = nn.Identity() if outputs is None else nn.Linear(seen, outputs)

    def forward(
        self,
        inputs: Float[Tensor, "batch time inputs"] | Events,
        state: tuple[ELMState, ...] | None = None,
    ) -> tuple[Float[Tensor, "batch time outputs"], tuple[ELMState, ...]]:
        """Outputs of every time step, and the state of every layer to go on from.

        Raises:
            ShapeError: input or state of another shape than this network's.
        """
        first, *later = self._layers()
        before: list[ELMState | None] = [None] * len(self.layers) if state is None else [*state]
        if len(before) != len(self.layers):
            raise ShapeError(
                f"the state is one of {len(before)} layers; expected {len(self.layers)}. Pass the state that this network "
                "returned, or none to start at rest."
            )
        hidden, after = first(inputs, before[0])
        hidden, states = self._passed_on(hidden), [after]
        for layer, norm, layer_state in zip(later, self.norms, before[1:], strict=False):
            added, after = layer(norm(hidden), layer_state)
            added = self._passed_on(added)
            hidden = hidden + added if self.residual else added
            states.append(after)
        return self.readout(self.norms[-1](hidden)), tuple(states)

    def _passed_on(self, hidden: Float[Tensor, "batch time width"]) -> Float[Tensor, "batch time width"]:
        dropped: Tensor = self.dropout(hidden if self._memory_sizes is None else hidden / self._memory_sizes)
        return dropped

    def initial_state(self, batch: int) -> tuple[ELMState, ...]:
        """Every layer at rest."""
        return tuple(layer.initial_state(batch) for layer in self._layers())

    def trainable_parameters(self) -> int:
        """Number of trained values."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)

    def _layers(self) -> list[ELM]:
        return cast(list[ELM], list(self.layers))
