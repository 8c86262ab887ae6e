"""Many neurons of one shape, each with weights of its own, run side by side: one sequence for each neuron, no gradients."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ulmus.errors import BackendError, ConfigError, ShapeError
from ulmus.kernels.events import Events
from ulmus.kernels.weights import ELMState, Weights

_PER_NEURON = (
    "w",
    "bias",
    "synapses",
    "branch_decay",
    "projection",
    "memory_decay",
    "gain",
    "readout",
    "readout_bias",
)


class Population:
    """Neurons with their weights arranged once for the fused kernels, to be run as often as wanted.

    Example:
        >>> population = Population([neuron.weights() for neuron in neurons], "relu")  # doctest: +SKIP
        >>> outputs, state = population.run(inputs)  # doctest: +SKIP

    Args:
        weights: Weights of every neuron; all of the same shapes.
        activation: Name of the MLP's activation.

    Raises:
        BackendError: the fused kernels cannot run with these tensors.
        ConfigError: no neurons, or neurons of different shapes.
    """

    def __init__(self, weights: Sequence[Weights], activation: str) -> None:
        from ulmus.kernels import folding

        if not weights:
            raise ConfigError(
                "a population of 0 neurons has no shape; expected one or more. Pass their weights."
            )
        like = weights[0].recurrent
        if like.device.type != "cpu" or like.dtype not in (torch.float32, torch.float64):
            raise BackendError(
                f"a population of {like.dtype} weights on {like.device} has no fused form; expected float32 or float64 "
                "on the CPU. Convert the neurons first."
            )
        shapes = [[tuple(tensor.shape) for tensor in _tensors(one)] for one in weights]
        if any(shape != shapes[0] for shape in shapes):
            odd = next(index for index, shape in enumerate(shapes) if shape != shapes[0])
            raise ConfigError(
                f"neuron {odd} of the population has weights of other shapes than neuron 0; expected the same "
                "architecture everywhere. Run neurons of other shapes in a population of their own."
            )
        with torch.no_grad():
            matrix = [
                one._replace(synapses=torch.diag(one.synapses)) if one.synapses.dim() == 1 else one
                for one in weights
            ]
            self._layers = [folding.folded(one, one.branch_decay, False, False)[0] for one in matrix]
        self.neurons, self.activation = len(weights), activation
        self.inputs, self.branches, self.memory = (
            matrix[0].synapses.shape[1], matrix[0].synapses.shape[0], len(matrix[0].memory_decay)
        )  # fmt: skip
        self._arranged: object = None

    def initial_state(self) -> ELMState:
        """Every neuron at rest."""
        new = self._layers[0].bias.new_zeros
        return ELMState(new(self.neurons, self.branches), new(self.neurons, self.memory))

    @torch.no_grad()
    def run(
        self, inputs: Float[Tensor, "neurons time inputs"] | Events, state: ELMState | None = None
    ) -> tuple[Float[Tensor, "neurons time outputs"], ELMState]:
        """Outputs of every neuron and step, and the states after the last one.

        Args:
            inputs: A sequence for each neuron, dense or as events whose batch are the neurons.
            state: States returned by an earlier call; rest by default.

        Raises:
            ShapeError: input of another shape.
        """
        from ulmus.kernels.arrangement import as_kept, compact, flat, keep_shapes, net_of, sizes_of
        from ulmus.kernels.fused import checked
        from ulmus.kernels.numba_call import compressed, worth_compressing
        from ulmus.kernels.numba_layout import DENSE, EVENTS, NOTHING
        from ulmus.kernels.numba_online import forward_each

        first = self._layers[0]
        shape = (
            (inputs.batch, inputs.time, inputs.channels)
            if isinstance(inputs, Events)
            else tuple(inputs.shape)
        )
        if len(shape) != 3 or shape[0] != self.neurons or shape[2] != self.inputs:
            raise ShapeError(
                f"input has shape {list(shape)}; expected [neurons, time, inputs] = [{self.neurons}, time, "
                f"{self.inputs}]. Give every neuron a sequence of its own."
            )
        none = torch.empty(0, dtype=torch.int32)
        dense, parts = first.bias.new_empty(0), (none, none, first.bias.new_empty(0))
        found = None
        if isinstance(inputs, Events):
            found = checked(inputs.to(first.bias.dtype))[:3]
        else:
            inputs = inputs.contiguous()
            found = compressed(inputs, first.bias)[0] if worth_compressing(inputs) else None
        if found is None and isinstance(inputs, Tensor):
            dense = inputs.to(first.bias.dtype)
        sizes = sizes_of(
            1, shape[1], self.inputs, DENSE if found is None else EVENTS, first, self.activation, NOTHING
        )
        if self._arranged is None:
            self._arranged = compact(
                [net_of(sizes, layers, backward=False) for layers in self._layers], _PER_NEURON
            )
        state = self.initial_state() if state is None else state
        new = first.bias.new_zeros
        inner, memory, branches = (new(self.neurons * part[0], *part[1:]) for part in keep_shapes(sizes))
        memory[:, 0, 0, : self.memory], branches[:, 0, 0, : self.branches] = state.memory, state.branches
        outputs = new(self.neurons, shape[1], sizes.outputs)
        row_start, events, values = (flat(part) for part in (found or parts))
        forward_each(
            sizes, self._arranged, flat(dense), row_start, events, values, as_kept(inner, memory, branches),
            outputs.view(-1).numpy(), 0, self.neurons, self.neurons,
        )  # fmt: skip
        after = ELMState(branches[:, -1, 0, : self.branches].clone(), memory[:, -1, 0, : self.memory].clone())
        return outputs, after


def _tensors(weights: Weights) -> list[Tensor]:
    """All tensors of one neuron, in a fixed order."""
    later = [tensor for layer in weights.later for tensor in layer]
    single = [value for value in weights if isinstance(value, Tensor)]
    return single + later + list(weights.readout or ())
