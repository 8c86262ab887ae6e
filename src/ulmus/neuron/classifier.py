"""A model that tells classes of sequences apart: its outputs, and how they are read."""

from collections.abc import Sequence
from typing import Any, Literal, overload

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from ulmus.baselines import Transformer
from ulmus.errors import ConfigError, ShapeError
from ulmus.kernels import Events
from ulmus.neuron.network import ELMNetwork
from ulmus.neuron.sequence_model import SequenceModel, inside, pooled, steps_of, without_padding
from ulmus.neuron.state_clipping import outputs_with_clipped_states

READINGS = ["last", "mean"]


class Classifier(nn.Module):
    """Scores of classes for whole sequences.

    ::

        r = y at the last step            (reading "last", as in the ELM paper)
        r = mean of y over the sequence   (reading "mean")
        logits = r                        (one sequence for a class)
        logits = head([r1, r2, r1 - r2, r1 * r2])    (two sequences to compare)

    Example:
        >>> classifier = ulmus.Classifier(ulmus.ELM(700, 20, memory=50), [str(digit) for digit in range(20)])
        >>> classifier(torch.zeros(8, 100, 700)).shape  # batch, classes
        torch.Size([8, 20])

    Args:
        model: What reads the sequences. Its outputs are the classes and then the hints, or with two towers of any number.
        classes: Names of the classes.
        reading: ``last`` or ``mean``.
        towers: Sequences that belong to one class: 1, or 2 to be compared.
        hints: Outputs that say something of every step, which only training asks for.
        card: What a user should know of it: data, protocol, scores (JSON values).

    Raises:
        ConfigError: a model whose outputs are not the classes and hints, or a reading that is not known.
    """

    def __init__(
        self,
        model: SequenceModel,
        classes: Sequence[str],
        *,
        reading: Literal["last", "mean"] = "last",
        towers: int = 1,
        hints: int = 0,
        card: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if reading not in READINGS:
            raise ConfigError(f"reading={reading!r} is not known; expected one of {READINGS}.")
        if towers not in (1, 2):
            raise ConfigError(f"towers={towers}: expected 1, or 2 sequences to compare.")
        if not isinstance(hints, int) or hints < 0 or (hints and towers == 2):
            raise ConfigError(
                f"hints={hints!r} with towers={towers}: expected an integer from 0 on, and 0 if two sequences are compared."
            )
        if model.outputs is None or (towers == 1 and model.outputs != len(classes) + hints):
            and_hints = f" and {hints} hints" if hints else ""
            raise ConfigError(
                f"the model has outputs={model.outputs}, but there are {len(classes)} classes{and_hints}; build it with as many "
                "outputs."
            )
        self.model = model
        self.classes, self.reading, self.towers, self.hints = tuple(classes), reading, towers, hints
        self.card = dict(card or {})
        width = model.outputs
        self.head: nn.Module = nn.Identity()
        if towers == 2:
            self.head = nn.Sequential(
                nn.Linear(4 * width, 2 * width), nn.ReLU(), nn.Linear(2 * width, len(classes))
            )

    @overload
    def forward(
        self,
        inputs: Tensor | Events,
        lengths: Tensor | None = None,
        with_hints: Literal[False] = False,
        clip_state_norm: float | None = None,
    ) -> Tensor: ...

    @overload
    def forward(
        self,
        inputs: Tensor | Events,
        lengths: Tensor | None = None,
        *,
        with_hints: Literal[True],
        clip_state_norm: float | None = None,
    ) -> tuple[Tensor, Tensor]: ...

    def forward(
        self,
        inputs: Float[Tensor, "sequences time channels"] | Events,
        lengths: Int64[Tensor, "sequences"] | None = None,
        with_hints: bool = False,
        clip_state_norm: float | None = None,
    ) -> (
        Float[Tensor, "batch classes"]
        | tuple[Float[Tensor, "batch classes"], Float[Tensor, "sequences time hints"]]
    ):
        """Logits of the classes.

        Args:
            inputs: Sequences from rest; of two towers, the first of all pairs and then the second.
            lengths: Steps of every sequence; the rest does not count.
            with_hints: Give the logits of the hints at every step too.
            clip_state_norm: Length to which gradients are shortened on their way back through time, see
                `ulmus.neuron.state_clipping`.

        Raises:
            ConfigError: gradients of states are to be shortened, and the model has none.
            ShapeError: a length that is no number of steps, or an odd number of sequences for two towers.
        """
        steps = inputs.time if isinstance(inputs, Events) else inputs.shape[1]
        lengths = steps_of(inputs, lengths, next(self.parameters()).device)
        inputs = without_padding(inputs, lengths)
        # What looks at later steps has to be told which are padding.
        sees_later = isinstance(self.model, Transformer) or getattr(self.model, "bidirectional", False)
        padding = {"lengths": lengths} if sees_later else {}
        if clip_state_norm is not None:
            outputs = outputs_with_clipped_states(self.model, inputs, clip_state_norm)
        elif isinstance(self.model, ELMNetwork) and self.reading == "mean" and not (self.hints or with_hints):
            batch = inputs.batch if isinstance(inputs, Events) else len(inputs)
            like = next(self.model.parameters())
            if lengths is None:
                shares = like.new_full((batch, steps), 1 / steps)
            else:
                shares = inside(lengths, steps).to(like.dtype) / lengths.unsqueeze(1)
            return self._logits(self.model(inputs, shares=shares, **padding)[0])
        else:
            outputs = self.model(inputs, **padding)[0]
        told, hints = outputs.tensor_split([outputs.shape[-1] - self.hints], dim=-1)
        logits = self._logits(pooled(told, lengths, self.reading))
        return (logits, hints) if with_hints else logits

    def _logits(self, read: Float[Tensor, "sequences outputs"]) -> Float[Tensor, "batch classes"]:
        if self.towers == 1:
            return read
        if len(read) % 2:
            raise ShapeError(f"{len(read)} sequences cannot be compared in pairs; expected an even number.")
        first, second = read.chunk(2)
        logits: Tensor = self.head(torch.cat([first, second, first - second, first * second], dim=-1))
        return logits

    def trainable_parameters(self) -> int:
        """Number of trained values."""
        return sum(value.numel() for value in self.parameters() if value.requires_grad)
