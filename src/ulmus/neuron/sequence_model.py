"""What every model of sequences offers, whoever wrote it."""

from typing import Any, Protocol

from jaxtyping import Float
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
