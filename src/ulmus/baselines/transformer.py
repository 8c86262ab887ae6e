"""Transformer encoder of whole sequences."""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from ulmus.arguments import check_shares, check_sizes
from ulmus.baselines.baseline import Baseline
from ulmus.errors import ConfigError, ShapeError
from ulmus.kernels import Events
from ulmus.kernels.reference import synaptic_currents

_LONGEST_WAVE = 10_000.0


class Block(nn.Module):
    """Self-attention, then a feed-forward network; each on its normalised input, added to it.

    Written out because `nn.TransformerEncoderLayer` drops attention weights too, for which they have to be kept: memory
    then grows with the square of time. Nothing is dropped from the attention weights here.
    """

    def __init__(self, width: int, heads: int, hidden: int, dropout: float, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.attention_norm, self.hidden_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.projection, self.merge = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.expand, self.contract = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "batch time width"], visible: Tensor | None
    ) -> Float[Tensor, "batch time width"]:
        """The sequence, a layer on; `visible` says which steps may be looked at."""
        split = self.projection(self.attention_norm(x)).unflatten(2, (3, self.heads, -1))
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        seen = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=visible, is_causal=self.causal
        )
        x = x + self.dropout(self.merge(seen.transpose(1, 2).flatten(2)))
        hidden = self.dropout(torch.relu(self.expand(self.hidden_norm(x))))
        contracted: Tensor = self.dropout(self.contract(hidden))
        return x + contracted


class Transformer(Baseline):
    """Transformer encoder with sinusoidal positions, normalisation before every sub-layer, and a linear readout.

    Vaswani et al., NeurIPS 2017. It reads whole sequences: an output looks at every step, also at later ones, unless
    ``causal``; and it keeps no state (None is returned), so a sequence cannot be given in pieces.

    The default is of the size that the ELM paper lists for the Transformer of Long Range Arena, about 600,000 parameters:
    three layers of the usual proportions, a feed-forward network four times as wide as the sequence and heads of width 32,
    make 594,816; input and readout of Pathfinder bring it to 597,506.

    Args:
        inputs: Number of input channels.
        outputs: Size of the linear readout; without it the last layer is the output.
        width: Width of the sequence inside.
        layers: Layers.
        heads: Attention heads of every layer.
        hidden: Width of the feed-forward networks.
        dropout: Share of embeddings, hidden units and outputs of a layer that is left out.
        causal: Whether a step sees only earlier ones.
        dt_ms: Duration of one time step.

    Raises:
        ConfigError: a value that cannot be used.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int | None = None,
        *,
        width: int = 128,
        layers: int = 3,
        heads: int = 4,
        hidden: int = 512,
        dropout: float = 0.1,
        causal: bool = False,
        dt_ms: float = 1.0,
    ) -> None:
        super().__init__(locals())
        check_sizes(width=width, layers=layers, heads=heads, hidden=hidden)
        check_shares(dropout=dropout)
        if width % (2 * heads):
            raise ConfigError(
                f"width={width} cannot be split over heads={heads} and pairs of sine and cosine; expected a multiple of "
                f"{2 * heads}."
            )
        self.width = width
        self.embedding = nn.Linear(inputs, width)
        # A one-hot token then weighs as much as its position.
        nn.init.normal_(self.embedding.weight)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(width, heads, hidden, dropout, causal) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.readout = nn.Identity() if outputs is None else nn.Linear(width, outputs)

    def forward(
        self,
        inputs: Float[Tensor, "batch time inputs"] | Events,
        state: None = None,
        lengths: Int64[Tensor, "batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch time outputs"], None]:
        """Outputs of every time step, and None.

        Args:
            inputs: Whole sequences.
            state: None; there is no state.
            lengths: Steps of every sequence; later ones are not looked at.

        Raises:
            ShapeError: input of another shape than this model's, or a state.
        """
        if state is not None:
            raise ShapeError(
                "a Transformer has no state to go on from; give it whole sequences, without a state."
            )
        x, _ = self._check(inputs, None, lambda batch: None)
        embedded = synaptic_currents(x, self.embedding.weight) + self.embedding.bias
        time = embedded.shape[1]
        signal = self.dropout(embedded + positions(time, self.width).to(embedded))
        visible = None
        if (
            lengths is not None and not self.config["causal"]
        ):  # else no step sees what comes after its sequence
            visible = (
                torch.arange(time, device=signal.device) < lengths.to(signal.device)[:, None, None, None]
            )
        for block in self.blocks:
            signal = block(signal, visible)
        return self.readout(self.norm(signal)), None


def positions(time: int, width: int) -> Float[Tensor, "time width"]:
    """Sines, then cosines, of wavelengths from 2 pi to 10,000 times 2 pi steps in equal ratios."""
    angular = torch.exp(torch.arange(0, width, 2, dtype=torch.float64) * (-math.log(_LONGEST_WAVE) / width))
    phase = torch.arange(time).unsqueeze(1) * angular
    return torch.cat([phase.sin(), phase.cos()], dim=1)
