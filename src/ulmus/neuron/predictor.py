"""A model with what goes into it and what comes out of it: channels and their units, a task, classes or targets."""

import inspect
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from ulmus.arguments import check_choice
from ulmus.baselines import LSTM, TCN, LSTMNetwork, PointNeuron, SpikingNetwork, Transformer
from ulmus.errors import ConfigError, ShapeError
from ulmus.kernels import Events
from ulmus.neuron.elm import ELM
from ulmus.neuron.evaluating import evaluating
from ulmus.neuron.layer import ELMLayer
from ulmus.neuron.network import ELMNetwork
from ulmus.neuron.sequence_model import pooled, steps_of, without_padding

Task = Literal[
    "classification", "step-classification", "regression", "step-regression", "forecasting", "next-token"
]
TASKS: tuple[Task, ...] = (
    "classification",
    "step-classification",
    "regression",
    "step-regression",
    "forecasting",
    "next-token",
)
"""A class or numbers for a whole sequence, a class or numbers at every step, what the channels will be, the next token."""
CLASSIFYING = ("classification", "step-classification", "next-token")
WHOLE = ("classification", "regression")
"""Tasks with one answer a sequence; the others have one at every step."""
LOOKING_AHEAD = ("forecasting", "next-token")
"""Tasks whose answers lie in later input, which a model therefore must not see."""
Input = Literal["numbers", "tokens", "events"]
INPUTS: tuple[Input, ...] = ("numbers", "tokens", "events")
_SPARSE = (ELM, ELMLayer, ELMNetwork, LSTM, LSTMNetwork, TCN, PointNeuron, SpikingNetwork, Transformer)
"""Models that read `Events`; others get one-hot vectors."""


class SequencePrediction(NamedTuple):
    """What a model says of sequences."""

    values: Tensor
    """Place of the most probable class, or the numbers in the units of the targets; ``[batch]`` or ``[batch, time]`` in front."""
    probability: Tensor | None
    """Of every class, on the last axis; None where the answers are numbers."""


class Predictor(nn.Module):
    """A model, and how sequences go in and answers come out.

    ::

        z = (x - mean) / scale                  numbers; what is missing (NaN) becomes 0, beside a channel that says so
        y, state = model(z)                     any module of this signature, its outputs of any width
        y = readout(y)                          linear, where the width is not that of the answers
        answer = y at the last step, or its mean over the sequence, or y at every step

    Args:
        model: Called as ``y, state = model(x)`` with ``x [batch, time, channels]``: an `ELM`, a baseline, an `nn.LSTM`, or
            a module of your own.
        task: One of `TASKS`.
        answers: Names of the classes, or of the numbers that are predicted.
        channels: Names of the input channels, or of the tokens.
        input: ``numbers`` ``[batch, time, channel]``, ``tokens`` ``[batch, time]`` from 0 on, or `Events`.
        masked: Numbers may be missing; the model then reads twice as many channels.
        reading: For one answer a sequence: ``last`` step, or ``mean`` over its steps.
        horizon: For forecasting: how many steps ahead.
        dt_ms: Duration of a step.
        card: What a user should know of it: data, scores (JSON values).

    Example:
        >>> predictor = Predictor(ELM(3, memory=8), "classification", answers=("left", "right"), channels=("x", "y", "z"))
        >>> predictor(torch.zeros(5, 40, 3)).shape
        torch.Size([5, 2])

    Raises:
        ConfigError: a task that is not known, a model of another signature, or one that reads another number of channels.
    """

    input_mean: Tensor
    input_scale: Tensor
    answer_mean: Tensor
    answer_scale: Tensor

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        *,
        answers: Sequence[str],
        channels: Sequence[str],
        input: Input = "numbers",
        masked: bool = False,
        reading: Literal["last", "mean"] = "last",
        horizon: int = 1,
        dt_ms: float = 1.0,
        card: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        check_choice("task", task, TASKS)
        check_choice("input", input, INPUTS)
        check_choice("reading", reading, ("last", "mean"))
        self.model, self.task, self.input, self.masked = model, task, input, masked
        self.answers, self.channels = tuple(answers), tuple(channels)
        self.reading, self.horizon, self.dt_ms = reading, horizon, float(dt_ms)
        self.card = dict(card or {})
        width = _width(model, len(self.channels) * (1 + masked), masked)
        same = width == len(self.answers)
        self.readout: nn.Module = nn.Identity() if same else nn.Linear(width, len(self.answers))
        inputs = len(self.channels) if input == "numbers" else 0
        outputs = 0 if task in CLASSIFYING else len(self.answers)
        for name, size in (("input", inputs), ("answer", outputs)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_scale", torch.ones(size))

    def forward(
        self,
        values: Float[Tensor, "batch time channels"] | Int64[Tensor, "batch time"] | Events,
        lengths: Int64[Tensor, "batch"] | None = None,
    ) -> Float[Tensor, "batch answers"] | Float[Tensor, "batch time answers"]:
        """Logits of the classes, or numbers in units of ``answer_scale`` around ``answer_mean``.

        Args:
            values: Sequences from rest, in the units of the data; the end of shorter ones is filled up with anything (tokens
                with -1).
            lengths: Steps of every sequence; without them all are as long as the batch. A module of your own that reads
                backwards too gets them if its ``forward`` has an argument of this name.

        Raises:
            ShapeError: another number of channels, a token that is not known, or a length that is no number of steps.
        """
        inputs = self.encode(values)
        if self.task in WHOLE or lengths is not None:
            lengths = steps_of(inputs, lengths, self.input_mean.device)
        outputs: Tensor = self.readout(self._outputs(without_padding(inputs, lengths), lengths))
        return pooled(outputs, lengths, self.reading) if self.task in WHOLE else outputs

    def _outputs(self, inputs: Tensor | Events, lengths: Int64[Tensor, "batch"] | None) -> Tensor:
        """Outputs of the model; what looks at later steps has to be told which are padding."""
        if lengths is None:
            outputs: Tensor = self.model(inputs)[0]
        elif isinstance(inputs, Tensor) and isinstance(self.model, nn.RNNBase) and self.model.bidirectional:
            packed = pack_padded_sequence(inputs, lengths.cpu(), batch_first=True, enforce_sorted=False)
            outputs = pad_packed_sequence(
                self.model(packed)[0], batch_first=True, total_length=inputs.shape[1]
            )[0]
        elif self._reads_lengths():
            outputs = self.model(inputs, lengths=lengths)[0]
        else:
            outputs = self.model(inputs)[0]
        return outputs

    def _reads_lengths(self) -> bool:
        if isinstance(self.model, _SPARSE):
            return isinstance(self.model, Transformer) or bool(getattr(self.model, "bidirectional", False))
        return "lengths" in inspect.signature(self.model.forward).parameters

    def encode(
        self, values: Float[Tensor, "batch time channels"] | Int64[Tensor, "batch time"] | Events
    ) -> Float[Tensor, "batch time inputs"] | Events:
        """What the model reads.

        Raises:
            ShapeError: another number of channels or a token that is not known.
        """
        if isinstance(values, Events):
            self._check_channels("events", values.channels)
            return values if isinstance(self.model, _SPARSE) else values.dense()
        if self.input == "tokens":
            events = self._one_hot(values)
            return events if isinstance(self.model, _SPARSE) else events.dense()
        if values.dim() != 3:
            raise ShapeError(
                f"input has shape {list(values.shape)}; expected [batch, time, {len(self.channels)}]. Add an axis with "
                "x.unsqueeze(-1) for one channel, or x.unsqueeze(0) for one sequence."
            )
        self._check_channels("input", values.shape[2])
        scaled = (values - self.input_mean) / self.input_scale
        if not self.masked:
            return scaled
        observed = ~scaled.isnan()
        return torch.cat([scaled.nan_to_num(0.0), observed.to(scaled)], dim=2)

    def decode(self, outputs: Float[Tensor, "... answers"]) -> SequencePrediction:
        """Answers from what `forward` returns."""
        if self.task in CLASSIFYING:
            probability = outputs.softmax(dim=-1)
            return SequencePrediction(probability.argmax(dim=-1), probability)
        return SequencePrediction(outputs * self.answer_scale + self.answer_mean, None)

    @torch.no_grad()
    def predict(
        self,
        values: Float[Tensor, "batch time channels"] | Int64[Tensor, "batch time"] | Events,
        lengths: Int64[Tensor, "batch"] | None = None,
    ) -> SequencePrediction:
        """Answers for sequences, see `forward`; nothing is dropped."""
        with evaluating(self):
            return self.decode(self(values, lengths))

    def trainable_parameters(self) -> int:
        """Number of trained values."""
        return sum(value.numel() for value in self.parameters() if value.requires_grad)

    def _check_channels(self, what: str, found: int) -> None:
        if found != len(self.channels):
            names = ", ".join(self.channels[:6]) + (", ..." if len(self.channels) > 6 else "")
            raise ShapeError(
                f"{what} has {found} channels, but the model was trained with {len(self.channels)} ({names}); expected the same "
                "channels in the same order."
            )

    def _one_hot(self, tokens: Int64[Tensor, "batch time"]) -> Events:
        if tokens.dim() != 2 or tokens.is_floating_point():
            raise ShapeError(
                f"tokens have shape {list(tokens.shape)} and type {tokens.dtype}; expected whole numbers [batch, time]."
            )
        there = tokens >= 0
        if tokens.numel() and int(tokens.max()) >= len(self.channels):
            raise ShapeError(
                f"token {int(tokens.max())} is not known; expected 0 to {len(self.channels) - 1}, as in training."
            )
        row_start = nn.functional.pad(there.flatten().cumsum(0), (1, 0)).int()
        inputs = tokens[there].int()
        ones = torch.ones(len(inputs), device=tokens.device)
        return Events(row_start, inputs, ones, tokens.shape[0], tokens.shape[1], len(self.channels))

    @torch.no_grad()
    def looks_ahead(self) -> bool:
        """Whether an answer changes with input that comes after it, found out by trying."""
        width = len(self.channels)
        generator = torch.Generator().manual_seed(0)
        if self.input == "numbers":
            one = (
                torch.randn(1, 8, width, generator=generator) * self.input_scale.cpu() + self.input_mean.cpu()
            )
            other = torch.cat([one[:, :4], one[:, :4] + 2 * self.input_scale.cpu()], dim=1)
        else:
            one = torch.randint(width, (1, 8), generator=generator)
            other = torch.cat([one[:, :4], (one[:, :4] + 1) % max(width, 1)], dim=1)
        device = next(self.parameters()).device
        inputs = [self._one_hot(part) if self.input == "events" else part for part in (one, other)]
        with evaluating(self):
            told = [self.readout(self.model(self.encode(part.to(device)))[0])[:, :4] for part in inputs]
        return not torch.allclose(told[0], told[1], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def _width(model: nn.Module, inputs: int, masked: bool) -> int:
    """Size of a model's output, from two steps of zeros.

    Raises:
        ConfigError: it is not called like a model of sequences, or reads another number of channels.
    """
    reads = getattr(model, "inputs", getattr(model, "input_size", inputs))
    if reads != inputs:
        raise ConfigError(
            f"the {type(model).__name__} reads {reads} channels, but the data have {inputs}"
            + (" (with missing: mask, a second one for each)" if masked else "")
            + "; build it with as many."
        )
    if getattr(model, "batch_first", True) is False:
        raise ConfigError(
            f"the {type(model).__name__} expects time before batch; build it with batch_first=True."
        )
    first = next(model.parameters(), torch.zeros(()))
    try:
        with evaluating(model):
            found = model(torch.zeros(2, 2, inputs, dtype=first.dtype, device=first.device))
    except (TypeError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"the {type(model).__name__} cannot read [batch, time, {inputs}] ({str(error).splitlines()[0]}); expected a module "
            "that is called as y, state = model(x)."
        ) from error
    outputs = cast(Any, found)[0] if isinstance(found, tuple) else None
    if not isinstance(outputs, Tensor) or outputs.dim() != 3 or outputs.shape[:2] != (2, 2):
        shape = list(outputs.shape) if isinstance(outputs, Tensor) else type(found).__name__
        raise ConfigError(
            f"the {type(model).__name__} returned {shape} for [2, 2, {inputs}]; expected a pair y, state with "
            "y [batch, time, outputs]."
        )
    return int(outputs.shape[2])
