"""What the models that an ELM is compared with have in common."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from ulmus.arguments import check_positive, check_sizes, plain
from ulmus.errors import ShapeError
from ulmus.kernels import Events


class Baseline(nn.Module):
    """A model of sequences: its sizes, the duration of a step, and the arguments it was made with."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.config = {key: plain(value) for key, value in config.items() if key not in ("self", "__class__")}
        self.inputs: int = config["inputs"]
        self.outputs: int | None = config["outputs"]
        check_sizes(inputs=self.inputs, **({} if self.outputs is None else {"outputs": self.outputs}))
        check_positive(dt_ms=config["dt_ms"])
        self.dt_ms = float(config["dt_ms"])

    def trainable_parameters(self) -> int:
        """Number of trained values."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)

    def extra_repr(self) -> str:
        """Sizes, for `print(model)`."""
        return f"inputs={self.inputs}, outputs={self.outputs}, trainable={self.trainable_parameters()}"

    def _check(
        self, inputs: Tensor | Events, state: Any, expected: Any, dtype: torch.dtype | None = None
    ) -> tuple[Tensor | Events, Any]:
        """Input in a precision, by default that of the weights, and the state or the `expected` one, which is that of rest.

        Raises:
            ShapeError: input or state of another shape.
        """
        if isinstance(inputs, PackedSequence):
            raise ShapeError(
                f"{type(self).__name__} reads no PackedSequence; expected [batch, time, {self.inputs}]. Pad the sequences, "
                "and read each output at its own last step."
            )
        shape = _shape(inputs)
        if len(shape) != 3 or shape[2] != self.inputs:
            raise ShapeError(
                f"input has shape {list(shape)}, but this model has inputs={self.inputs}; expected "
                f"[batch, time, {self.inputs}]. Add a batch axis with x.unsqueeze(0) if it is missing."
            )
        rest = expected(shape[0])
        if state is not None and _shapes(state) != _shapes(rest):
            raise ShapeError(
                f"the state has shapes {_shapes(state)}; expected {_shapes(rest)} for this input. Pass the state that this "
                "model returned for the same batch, or none to start at rest."
            )
        return inputs.to(dtype or next(self.parameters()).dtype), rest if state is None else state


def dense(inputs: Tensor | Events) -> Tensor:
    """Input as a dense array ``[batch, time, inputs]``."""
    return inputs.dense() if isinstance(inputs, Events) else inputs


def dropout_mask(width: int, share: float, like: Tensor) -> Tensor:
    """Factors of a layer's units: zero for the dropped share, 1 / (1 - share) for the rest."""
    return torch.bernoulli(torch.full((width,), 1 - share, dtype=like.dtype, device=like.device)) / (
        1 - share
    )


def _shape(inputs: Tensor | Events) -> tuple[int, ...]:
    if isinstance(inputs, Events):
        return inputs.batch, inputs.time, inputs.channels
    return tuple(inputs.shape)


def _shapes(state: Any) -> Any:
    """Shapes of all tensors of a nested state; of what is none, its type."""
    if isinstance(state, Tensor):
        return list(state.shape)
    return [_shapes(part) for part in state] if isinstance(state, list | tuple) else type(state).__name__
