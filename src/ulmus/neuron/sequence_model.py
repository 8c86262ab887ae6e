"""What every model of sequences offers, whoever wrote it."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ulmus.errors import ShapeError
from ulmus.kernels import Events
from ulmus.neuron.lengths import checked_lengths


class SequenceModel(Protocol):
    """An `nn.Module` that reads sequences: an `ELM`, an `ELMNetwork`, or a model of `ulmus.baselines`.

    Attributes:
        inputs: Number of input channels.
        outputs: Outputs of every time step; None where the inner state is the output.
        dt_ms: Duration of one time step.
        config: Arguments of the constructor, as JSON values.
    """

    inputs: int
    outputs: int | None
    dt_ms: float
    config: dict[str, Any]

    def __call__(
        self, inputs: Float[Tensor, "batch time inputs"] | Events, state: Any = None
    ) -> tuple[Float[Tensor, "batch time outputs"], Any]:
        """Outputs of every time step, and the state to go on from; None starts at rest."""
        ...

    def trainable_parameters(self) -> int:
        """Number of trained values."""
        ...


def pooled(
    outputs: Float[Tensor, "sequences time outputs"],
    lengths: Int64[Tensor, "sequences"] | None,
    reading: str,
) -> Float[Tensor, "sequences outputs"]:
    """Outputs at the last step of every sequence (``last``), or their mean over its steps (``mean``)."""
    if lengths is None:
        return outputs[:, -1] if reading == "last" else outputs.mean(dim=1)
    if reading == "last":
        return outputs[torch.arange(len(outputs), device=outputs.device), lengths - 1]
    counts = inside(lengths, outputs.shape[1])
    return (outputs * counts.unsqueeze(-1)).sum(dim=1) / lengths.unsqueeze(1)


def steps_of(
    inputs: Tensor | Events, lengths: Tensor | Sequence[int] | None, device: torch.device
) -> Int64[Tensor, "sequences"] | None:
    """Steps of every sequence of which one answer is read.

    Raises:
        ShapeError: no steps at all, or not a whole number of them, from 1 on, for every sequence.
    """
    batch, time = (inputs.batch, inputs.time) if isinstance(inputs, Events) else inputs.shape[:2]
    if lengths is None:
        if batch and not time:
            raise ShapeError(
                f"{batch} sequences of 0 steps have nothing to read; expected at least one step."
            )
        return None
    steps = checked_lengths(lengths, batch, time)
    if 0 in steps:
        raise ShapeError(
            f"lengths of {batch} sequences hold 0 at place {steps.index(0)}; expected 1 to {time}. Leave empty sequences out."
        )
    return torch.tensor(steps, dtype=torch.long, device=device)


def without_padding(inputs: Any, lengths: Int64[Tensor, "sequences"] | None) -> Any:
    """Dense input with zeros after the end of every sequence, where anything may stand: NaN times zero is NaN."""
    if lengths is None or isinstance(inputs, Events):
        return inputs
    return inputs.masked_fill(~inside(lengths, inputs.shape[1]).unsqueeze(-1), 0)


def inside(lengths: Int64[Tensor, "sequences"], steps: int) -> Bool[Tensor, "sequences time"]:
    """Which of so many steps are before the end of each sequence."""
    return torch.arange(steps, device=lengths.device) < lengths.unsqueeze(1)
