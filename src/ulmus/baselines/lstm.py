"""Long short-term memory, also with the chrono initialisation."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from ulmus.arguments import check_shares, check_sizes, range_of
from ulmus.baselines.baseline import Baseline, dense, dropout_mask
from ulmus.kernels import Events


class LSTMState(NamedTuple):
    """What an LSTM remembers between two calls."""

    hidden: Float[Tensor, "batch memory"]
    cell: Float[Tensor, "batch memory"]


class LSTM(Baseline):
    """PyTorch's LSTM with a linear readout.

    ::

        i, f, o = sigmoid(W [x_t, h_{t-1}] + b),  g = tanh(W [x_t, h_{t-1}] + b)
        c_t = f c_{t-1} + i g,  h_t = o tanh(c_t),  y_t = W_y h_t + bias

    Hochreiter & Schmidhuber, Neural Computation 1997. PyTorch adds two biases to every gate, of which only the sum
    matters; the second stays zero and is not trained, so that parameters count as in the ELM paper.

    Args:
        inputs: Number of input channels.
        outputs: Size of the linear readout; without it the hidden state is the output.
        memory: Cells.
        chrono_ms: Draw the forgetting times of the cells evenly from this range: ``b_f = log(T / dt)``, ``b_i = -b_f``
            (Tallec & Ollivier, ICLR 2018). None keeps PyTorch's initialisation.
        input_dropout: Share of inputs that is left out, the same for all steps of a batch.
        recurrent_dropout: Share of the hidden state that the gates do not see, the same for all steps of a batch.
        dt_ms: Duration of one time step.

    Raises:
        ConfigError: a value that cannot be used.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int | None = None,
        *,
        memory: int = 100,
        chrono_ms: Sequence[float] | None = None,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        dt_ms: float = 1.0,
    ) -> None:
        super().__init__(locals())
        check_sizes(memory=memory)
        check_shares(input_dropout=input_dropout, recurrent_dropout=recurrent_dropout)
        self.memory = memory
        self.dropped = {"weight_ih_l0": input_dropout, "weight_hh_l0": recurrent_dropout}
        self.recurrent = nn.LSTM(
            int(inputs), int(memory), batch_first=True
        )  # which takes no numbers of NumPy
        self.readout = nn.Identity() if outputs is None else nn.Linear(memory, outputs)
        first, second = (self.recurrent.get_parameter(name) for name in ("bias_ih_l0", "bias_hh_l0"))
        with torch.no_grad():
            second.zero_()
            if chrono_ms is not None:
                shortest, longest = range_of("chrono_ms", chrono_ms)
                times = torch.empty(memory).uniform_(shortest, longest) / dt_ms
                first[: 2 * memory] = torch.cat([-times.log(), times.log()])
        second.requires_grad_(False)

    def forward(
        self, inputs: Float[Tensor, "batch time inputs"] | Events, state: LSTMState | None = None
    ) -> tuple[Float[Tensor, "batch time outputs"], LSTMState]:
        """Outputs of every time step, and the state to go on from.

        Raises:
            ShapeError: input or state of another shape than this model's.
        """
        x, state = self._check(inputs, state, self._rest)
        x = dense(x)
        if x.shape[1] == 0:  # PyTorch refuses it
            return self.readout(x.new_zeros(x.shape[0], 0, self.memory)), state
        before = tuple(part.unsqueeze(0) for part in state)
        hidden, after = functional_call(self.recurrent, self._dropped_weights(), (x, before))
        return self.readout(hidden), LSTMState(*(part.squeeze(0) for part in after))

    def _rest(self, batch: int) -> LSTMState:
        zero = self.recurrent.get_parameter("weight_hh_l0").new_zeros(batch, self.memory)
        return LSTMState(zero, zero)

    def _dropped_weights(self) -> dict[str, Tensor]:
        """Weights with dropped columns in training: dropping what a column multiplies is the same."""
        found = {}
        for name, share in self.dropped.items():
            if self.training and share:
                weight = self.recurrent.get_parameter(name)
                found[name] = weight * dropout_mask(weight.shape[1], share, weight)
        return found
