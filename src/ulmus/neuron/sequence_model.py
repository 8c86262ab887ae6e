"""What every model of sequences offers, whoever wrote it."""

from typing import Any, Protocol

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ulmus.kernels import Events


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


def inside(lengths: Int64[Tensor, "sequences"], steps: int) -> Bool[Tensor, "sequences time"]:
    """Which of so many steps are before the end of each sequence."""
    return torch.arange(steps, device=lengths.device) < lengths.unsqueeze(1)
