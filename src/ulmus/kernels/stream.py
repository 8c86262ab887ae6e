"""One neuron followed online, a step or a stretch at a time, with as little between the steps as possible."""

from jaxtyping import Float
from torch import Tensor

from ulmus.errors import ShapeError
from ulmus.kernels.events import Events
from ulmus.kernels.population import Population
from ulmus.kernels.weights import ELMState, Weights


class Stream:
    """A neuron that remembers its state between calls; no gradients.

    Example:
        >>> stream = Stream(neuron.weights(), neuron.activation)  # doctest: +SKIP
        >>> y = stream.step(x)  # doctest: +SKIP

    Args:
        weights: What the recurrence multiplies with; copied, so later training does not reach the stream.
        activation: Name of the MLP's activation.
        state: State of one sequence to start from; rest by default.
    """

    def __init__(self, weights: Weights, activation: str, state: ELMState | None = None) -> None:
        self._neuron = Population([weights], activation)
        self.state = self._neuron.initial_state() if state is None else state

    def run(self, inputs: Float[Tensor, "1 time inputs"] | Events) -> Float[Tensor, "1 time outputs"]:
        """Outputs of the next steps."""
        outputs, self.state = self._neuron.run(inputs, self.state)
        return outputs

    def step(self, inputs: Float[Tensor, "inputs"]) -> Float[Tensor, "outputs"]:
        """Output of the next step.

        Raises:
            ShapeError: input of another shape.
        """
        if inputs.shape != (self._neuron.inputs,):
            raise ShapeError(
                f"input of one step has shape {list(inputs.shape)}; expected [{self._neuron.inputs}], one number per "
                "input. Use run for several steps."
            )
        return self.run(inputs.view(1, 1, -1))[0, 0]
