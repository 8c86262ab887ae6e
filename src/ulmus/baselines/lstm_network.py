"""LSTM layers on top of each other, put together as an `ulmus.ELMNetwork` is."""

from collections.abc import Sequence
from typing import Any, cast

from jaxtyping import Float
from torch import Tensor, nn

from ulmus.arguments import check_shares, check_sizes
from ulmus.baselines.baseline import Baseline
from ulmus.baselines.lstm import LSTM, LSTMState
from ulmus.kernels import Events


class LSTMNetwork(Baseline):
    """Stacked LSTMs and a linear readout: what a network of ELM neurons is fairly compared with.

    ::

        h_1 = drop(LSTM_1(x))
        h_l = h_{l-1} + drop(LSTM_l(norm(h_{l-1})))    (without ``residual``: only the second term)
        y   = W_y norm(h_last) + bias

    Args:
        inputs: Number of input channels.
        outputs: Size of the linear readout; without it the last layer is the output.
        layers: Layers.
        norm: Normalise (`nn.LayerNorm`) what layers after the first and the readout see.
        dropout: Share of the values of a layer's output that is left out in training, new at every step.
        residual: Add to the output of a layer what it has seen, from the second on.
        memory: Cells of a layer.
        chrono_ms: As of an `LSTM`, for every layer.
        input_dropout: As of an `LSTM`, for the first layer.
        recurrent_dropout: As of an `LSTM`, for every layer.
        dt_ms: Duration of one time step.

    Raises:
        ConfigError: a value that cannot be used.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int | None = None,
        *,
        layers: int = 2,
        norm: bool = False,
        dropout: float = 0.0,
        residual: bool = True,
        memory: int = 100,
        chrono_ms: Sequence[float] | None = None,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        dt_ms: float = 1.0,
    ) -> None:
        super().__init__(locals())
        check_sizes(layers=layers, memory=memory)
        check_shares(dropout=dropout)
        inner: dict[str, Any] = {
            "chrono_ms": chrono_ms,
            "recurrent_dropout": recurrent_dropout,
            "dt_ms": dt_ms,
        }
        first = LSTM(inputs, memory=memory, input_dropout=input_dropout, **inner)
        self.residual = residual
        self.layers = nn.ModuleList(
            [first, *(LSTM(memory, memory=memory, **inner) for _ in range(layers - 1))]
        )
        # One in front of every layer after the first, and one in front of the readout.
        self.norms = nn.ModuleList(nn.LayerNorm(memory) if norm else nn.Identity() for _ in range(layers))
        self.dropout = nn.Dropout(dropout)
        self.readout = nn.Identity() if outputs is None else nn.Linear(memory, outputs)

    def forward(
        self, inputs: Float[Tensor, "batch time inputs"] | Events, state: Sequence[LSTMState] | None = None
    ) -> tuple[Float[Tensor, "batch time outputs"], tuple[LSTMState, ...]]:
        """Outputs of every time step, and the state of every layer to go on from.

        Raises:
            ShapeError: input or state of another shape than this model's.
        """
        seen: Any
        seen, state = self._check(inputs, state, self._rest)
        hidden: Any = None
        after = []
        for layer, norm, before in zip(self.layers, self.norms, state, strict=True):
            added, last = layer(seen, before)
            added = self.dropout(added)
            hidden = added if hidden is None or not self.residual else hidden + added
            seen = norm(hidden)
            after.append(last)
        return self.readout(seen), tuple(after)

    def _rest(self, batch: int) -> tuple[LSTMState, ...]:
        return tuple(cast(LSTM, layer)._rest(batch) for layer in self.layers)
