"""Temporal convolutional network."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ulmus.arguments import check_shares, check_sizes
from ulmus.baselines.baseline import Baseline, dense
from ulmus.errors import ConfigError
from ulmus.kernels import Events

TCNState = tuple[Tensor, ...]
"""The last steps of what every layer reads, ``[batch, channels, steps]``."""


class TCN(Baseline):
    """Layers of causal convolutions over time, each with batch normalisation and ReLU, and a linear readout.

    ::

        h_t = relu(norm(sum over k of W_k x_{t - k dilation})),  y_t = W_y h_t + bias

    Beniaguev, Segev & London, Neuron 2021, fitted seven such layers of 128 channels, without dilation, to a detailed
    neuron. With a first kernel of 54 steps and six of 12 (``kernels=[54, 12, 12, 12, 12, 12, 12]``, the default) they see
    120 steps back and have 10.0 million parameters for 1,278 inputs, the number the ELM paper gives; their code also names
    ``[35] * 7``, which sees 239 steps and has 9.2 million.

    Args:
        inputs: Number of input channels.
        outputs: Size of the linear readout; without it the last layer is the output.
        channels: Channels of every layer.
        kernels: Steps that every layer looks at, one number for each layer.
        dilation: Factor by which the distance between these steps grows from layer to layer.
        dropout: Share of a layer's channels that the next one does not see, new in every sequence.
        dt_ms: Duration of one time step.

    Raises:
        ConfigError: a value that cannot be used.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int | None = None,
        *,
        channels: int = 128,
        kernels: Sequence[int] = (54, 12, 12, 12, 12, 12, 12),
        dilation: int = 1,
        dropout: float = 0.0,
        dt_ms: float = 1.0,
    ) -> None:
        super().__init__(locals())
        check_sizes(
            channels=channels, dilation=dilation, **{f"kernels[{i}]": k for i, k in enumerate(kernels)}
        )
        check_shares(dropout=dropout)
        if not kernels:
            raise ConfigError(
                "kernels is empty; expected the number of steps of every layer, such as [54, 12, 12]."
            )
        self.config["kernels"] = list(kernels)
        widths = [inputs, *[channels] * (len(kernels) - 1)]
        self.convolutions = nn.ModuleList(
            # Normalisation follows, and has a bias of its own.
            nn.Conv1d(width, channels, kernel, dilation=dilation**number, bias=False)
            for number, (width, kernel) in enumerate(zip(widths, kernels, strict=True))
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(channels) for _ in kernels)
        self.dropout = nn.Dropout1d(dropout)
        self.readout = nn.Identity() if outputs is None else nn.Linear(channels, outputs)
        self.reaches = [(kernel - 1) * dilation**number for number, kernel in enumerate(kernels)]

    def forward(
        self, inputs: Float[Tensor, "batch time inputs"] | Events, state: TCNState | None = None
    ) -> tuple[Float[Tensor, "batch time outputs"], TCNState]:
        """Outputs of every time step, and the state to go on from. Before the first step every layer read zero.

        Raises:
            ShapeError: input or state of another shape than this model's.
        """
        x, state = self._check(inputs, state, self._rest)
        signal, after = dense(x).transpose(1, 2), []
        if signal.shape[2] == 0:
            width = self.config["channels"]
            return self.readout(signal.new_zeros(len(signal), 0, width)), state
        for convolution, norm, before, reach in zip(
            self.convolutions, self.norms, state, self.reaches, strict=True
        ):
            read = torch.cat([before, signal], dim=2)
            after.append(read[:, :, read.shape[2] - reach :])
            signal = self.dropout(torch.relu(norm(convolution(read))))
        return self.readout(signal.transpose(1, 2)), tuple(after)

    def _rest(self, batch: int) -> TCNState:
        weights = (convolution.get_parameter("weight") for convolution in self.convolutions)
        return tuple(
            weight.new_zeros(batch, weight.shape[1], reach)
            for weight, reach in zip(weights, self.reaches, strict=True)
        )
