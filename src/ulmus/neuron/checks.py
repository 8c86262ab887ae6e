"""Checks of what a neuron is made of, and of what it is given."""

import math
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from ulmus.arguments import pair_of
from ulmus.errors import ConfigError, ShapeError
from ulmus.kernels import ELMState, Events


def check_layers(
    outputs: int | None, hidden_layers: Any, hidden_readout: bool, hidden_dropout: float
) -> None:
    """Hidden layers are a number, and there are some where something is to see them.

    Raises:
        ConfigError: they are not.
    """
    if isinstance(hidden_layers, bool) or not isinstance(hidden_layers, Integral) or hidden_layers < 0:
        raise ConfigError(
            f"hidden_layers={hidden_layers!r} cannot be; expected a whole number: 0 (one linear map), 1, 2, ..."
        )
    if hidden_readout and (outputs is None or hidden_layers == 0):
        raise ConfigError(
            f"hidden_readout=True needs a readout and a hidden layer, got outputs={outputs} and "
            f"hidden_layers={hidden_layers}. Set outputs and hidden_layers to 1 or more, or leave hidden_readout off."
        )
    if hidden_dropout and hidden_layers == 0:
        raise ConfigError(
            f"hidden_dropout={hidden_dropout} needs a hidden layer, got hidden_layers=0. Set it to 0, or use memory_dropout."
        )


def check_directions(kind: str, bidirectional: bool, hidden_readout: bool, memory_dropout: float) -> None:
    """A neuron of two directions is a layer, whose readout sees nothing but the memory.

    Raises:
        ConfigError: it is a cell, or its readout would see something else.
    """
    if bidirectional and kind == "ELMCell":
        raise ConfigError("a cell takes one step and cannot be bidirectional; expected an ELM. Use that.")
    if bidirectional and (hidden_readout or memory_dropout):
        raise ConfigError(
            f"bidirectional=True with hidden_readout={hidden_readout} and memory_dropout={memory_dropout}: expected neither, "
            "since one readout sees all memory of both directions. Leave them out."
        )


def check_dtype(dtype: Any) -> None:
    """Weights are real numbers with a fraction.

    Raises:
        ConfigError: they are not.
    """
    if not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise ConfigError(
            f"dtype={dtype!r} is none for weights; expected a floating one, such as torch.float32."
        )


def check_synaptic_weight(synaptic_weight: float) -> None:
    """The initial weight of synapses is zero or positive.

    Raises:
        ConfigError: it is not.
    """
    if not 0 <= synaptic_weight < math.inf:
        raise ConfigError(
            f"synaptic_weight={synaptic_weight} is negative or not finite, but synaptic weights are rectified; "
            "expected 0 or more. Make the input negative for inhibition."
        )


def bounds(bounds_ms: Sequence[float] | None, range_ms: tuple[float, float]) -> tuple[float, float]:
    """Bounds of time constants; the range itself by default.

    Raises:
        ConfigError: they do not contain the range.
    """
    low, high = range_ms if bounds_ms is None else pair_of("tau_memory_bounds_ms", bounds_ms)
    if not 0 <= low <= range_ms[0] <= range_ms[1] <= high:
        raise ConfigError(
            f"tau_memory_bounds_ms={(low, high)} does not contain tau_memory_ms={range_ms}; expected "
            "0 <= lower bound <= shortest <= longest <= upper bound, in ms."
        )
    # Bounds of no width (a single fixed time constant) would divide by zero in the inverse of the sigmoid.
    return low, max(high, low + 3e-6)


def checked_input(inputs: Any, channels: int, dtype: torch.dtype) -> Tensor | Events:
    """Input that fits a neuron, in the type it computes in; counts and spikes may stay bytes, of which there is less to read.

    Raises:
        ShapeError: it does not fit; the message says what to pass instead.
    """
    if isinstance(inputs, Events):
        shape: tuple[int, ...] = (inputs.batch, inputs.time, inputs.channels)
    elif not isinstance(inputs, Tensor):
        raise ShapeError(
            f"input is a {type(inputs).__name__}; expected a tensor [batch, time, {channels}] or ulmus.Events. Convert it with "
            "torch.as_tensor."
        )
    elif inputs.is_nested:
        raise ShapeError(
            "input is a nested (jagged) tensor; expected a padded one and the number of steps of every sequence. Pass "
            "torch.nested.to_padded_tensor(x, 0.0) and lengths=."
        )
    elif inputs.layout != torch.strided:
        raise ShapeError(
            f"input has the layout {inputs.layout}; expected a dense tensor or ulmus.Events. Pass x.to_dense(), or events."
        )
    elif inputs.is_complex():
        raise ShapeError("input is complex; expected real numbers. Pass real and imaginary part as channels.")
    else:
        shape = tuple(inputs.shape)
    if len(shape) != 3 or shape[2] != channels:
        raise ShapeError(
            f"input has shape {list(shape)}, but this neuron has inputs={channels}; expected "
            f"[batch, time, {channels}]. Add a batch axis with x.unsqueeze(0) if it is missing."
        )
    found: Tensor | Events = inputs
    as_it_is = isinstance(found, Tensor) and found.dtype in (torch.uint8, torch.bool)
    return found if as_it_is else found.to(dtype)


def checked_state(state: Any, batch: int, widths: tuple[int, int], dtype: torch.dtype) -> ELMState:
    """A state that fits neuron and input, in the type it is computed in; a plain pair will do.

    Raises:
        ShapeError: it does not fit.
    """
    if (
        not isinstance(state, (tuple, list))
        or len(state) != 2
        or not all(isinstance(part, Tensor) for part in state)
    ):
        raise ShapeError(
            f"the state is a {type(state).__name__}; expected branches and memory, two tensors. Pass the state that this "
            "neuron returned, or none to start at rest."
        )
    for name, value, width in zip(ELMState._fields, state, widths, strict=True):
        if value.shape != (batch, width):
            raise ShapeError(
                f"state.{name} has shape {list(value.shape)}; expected [{batch}, {width}] for this input. "
                f"Pass the state that this neuron returned for the same batch, or none to start at rest."
            )
    return ELMState(state[0].to(dtype), state[1].to(dtype))
