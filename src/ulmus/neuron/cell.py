"""The Expressive Leaky Memory neuron, one step at a time."""

from jaxtyping import Float
from torch import Tensor

from ulmus.errors import ShapeError
from ulmus.kernels import ELMState
from ulmus.neuron.elm import ELM


class ELMCell(ELM):
    """One time step of an `ELM`, with the same arguments, except that it cannot be bidirectional.

    Example:
        >>> cell = ulmus.ELMCell(inputs=3, outputs=2, memory=10)
        >>> state = None
        >>> for x in torch.zeros(50, 8, 3):  # time, batch, inputs
        ...     y, state = cell(x, state)
        >>> y.shape
        torch.Size([8, 2])
    """

    def forward(  # type: ignore[override]
        self, inputs: Float[Tensor, "batch inputs"], state: ELMState | None = None
    ) -> tuple[Float[Tensor, "batch outputs"], ELMState]:
        """Output of this step, and the state to go on from.

        Raises:
            ShapeError: input or state of another shape than this neuron's.
        """
        if inputs.dim() != 2:
            raise ShapeError(
                f"input has shape {list(inputs.shape)}; one step of a cell expects [batch, {self.inputs}]. "
                "Use ELM for a whole sequence."
            )
        outputs, state = super().forward(inputs.unsqueeze(1), state)
        return outputs.squeeze(1), state
