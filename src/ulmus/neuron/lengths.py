"""Sequences of different lengths in one batch: what comes after the end of one has no effect on anything."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from ulmus.errors import ShapeError
from ulmus.kernels import Events, shared_memory_budget

State = TypeVar("State", bound=tuple[Tensor, ...])
"""A named tuple of tensors whose first axis are the sequences."""
Run = Callable[[Tensor | Events, State], tuple[Tensor, State]]
"""Outputs of a stretch of time, and the state after it."""


def run(
    stretch: Run[State], inputs: Tensor | Events, state: State, lengths: Tensor | Sequence[int] | None
) -> tuple[Tensor, State]:
    """Outputs and last states of sequences; of those of different lengths stretch by stretch, from one end to the next.

    So nothing after an end is ever computed: not the work, and no infinity times zero.
    """

    def made_of(parts: Iterable[Tensor]) -> State:
        return cast(State, cast(Any, type(state))(*parts))

    if lengths is None:
        return stretch(inputs, state)
    if isinstance(inputs, Events):
        _check_events(inputs)
    batch, time = _shape(inputs)
    steps = checked_lengths(lengths, batch, time)
    order = sorted(range(batch), key=lambda row: -steps[row])  # the longest first
    device = state[0].device
    rows = torch.tensor(order, dtype=torch.long, device=device)
    now = made_of(part[rows] for part in state)
    ends = sorted({end for end in steps if end > 0})
    outputs, last, start, running = [], [], 0, batch
    with shared_memory_budget(max(1, len(ends))):
        for end in (0, *ends):
            going = sum(length >= end for length in steps)
            last.append(made_of(part[going:running] for part in now))  # ended before this stretch
            now, running = made_of(part[:going] for part in now), going
            if end:
                piece, now = stretch(_stretch(inputs, rows[:going], start, end), now)
                outputs.append(torch.nn.functional.pad(piece, (0, 0, 0, 0, 0, batch - going)))
                start = end
    last.append(now)
    if not outputs:
        outputs = [stretch(_stretch(inputs, rows, 0, 0), now)[0]]
    joined = torch.nn.functional.pad(torch.cat(outputs, dim=1), (0, 0, 0, time - start))
    back = torch.empty_like(rows)
    back[rows] = torch.arange(batch, device=device)
    after = made_of(torch.cat(parts[::-1])[back] for parts in zip(*last, strict=True))
    return joined[back], after


def run_packed(model: Any, packed: PackedSequence, state: Any) -> tuple[PackedSequence, Any]:
    """A model of padded sequences on a packed one; outputs are packed as the input is, states in the order of the batch."""
    padded, lengths = pad_packed_sequence(packed, batch_first=True)
    outputs, after = model(padded, state, lengths=lengths)
    order = packed.sorted_indices
    if order is not None:
        outputs, lengths = outputs[order], lengths[order.to(lengths.device)]
    data = pack_padded_sequence(outputs, lengths, batch_first=True).data
    return PackedSequence(data, packed.batch_sizes, order, packed.unsorted_indices), after


def check_no_lengths(lengths: Any) -> None:
    """Refuse lengths beside a packed sequence, which has its own.

    Raises:
        ShapeError: there are some.
    """
    if lengths is not None:
        raise ShapeError("lengths were given beside a PackedSequence, which holds its own; leave them out.")


def reversed_in_time(sequences: Any, lengths: Tensor | Sequence[int] | None) -> Any:
    """Every sequence from its last step to its first; what comes after it stays where it is."""
    if isinstance(sequences, Events):
        sequences = sequences.dense()
    if lengths is None:
        return sequences.flip(1)
    batch, time = sequences.shape[:2]
    ends = torch.as_tensor(checked_lengths(lengths, batch, time), device=sequences.device).unsqueeze(1)
    step = torch.arange(time, device=sequences.device)
    place = torch.where(step < ends, ends - 1 - step, step)
    return sequences.gather(1, place.unsqueeze(-1).expand_as(sequences))


def masked(outputs: Tensor, lengths: Tensor | Sequence[int] | None) -> Tensor:
    """Outputs with zeros after the end of every sequence."""
    if lengths is None:
        return outputs
    ends = torch.as_tensor(checked_lengths(lengths, *outputs.shape[:2]), device=outputs.device)
    inside = torch.arange(outputs.shape[1], device=outputs.device) < ends.unsqueeze(1)
    return outputs.masked_fill(~inside.unsqueeze(-1), 0)


def checked_lengths(lengths: Tensor | Sequence[int], batch: int, time: int) -> list[int]:
    """Steps of every sequence, as numbers.

    Raises:
        ShapeError: not one whole number from 0 to ``time`` for every sequence.
    """
    try:
        found = torch.as_tensor(lengths)
    except (TypeError, ValueError, RuntimeError):  # texts, None, lists of different lengths
        found = torch.empty(batch + 1)
    whole = found.dtype != torch.bool and not found.is_floating_point() and not found.is_complex()
    if found.shape != (batch,) or (
        batch and not (whole and 0 <= int(found.min()) <= int(found.max()) <= time)
    ):
        raise ShapeError(
            f"lengths={lengths!r} do not fit an input of {batch} sequences of {time} steps; expected a whole number from 0 to "
            f"{time} for each. Count the steps before the padding."
        )
    return [int(length) for length in found.tolist()]


def _shape(inputs: Tensor | Events) -> tuple[int, int]:
    return (inputs.batch, inputs.time) if isinstance(inputs, Events) else (inputs.shape[0], inputs.shape[1])


def _check_events(events: Events) -> None:
    """Numbers of events fit each other, so that stretches can be cut.

    Raises:
        ShapeError: they do not.
    """
    starts, rows, count = events.row_start, events.batch * events.time, len(events.inputs)
    sizes = len(starts) == rows + 1 and len(events.values) == count
    if not sizes or int(starts[0]) != 0 or int(starts[-1]) != count or bool((starts.diff() < 0).any()):
        raise ShapeError(
            f"events have {len(starts)} row starts, {count} inputs and {len(events.values)} values; expected batch * time + 1 = "
            f"{rows + 1} row starts that ascend from 0 to the number of events, and as many values as inputs. Build events with "
            "the functions of ulmus.trials."
        )


def _stretch(inputs: Tensor | Events, rows: Tensor, start: int, end: int) -> Tensor | Events:
    if not isinstance(inputs, Events):
        return inputs[rows, start:end]
    steps = torch.arange(start, end + 1, device=rows.device)
    return inputs.windows(rows.unsqueeze(1) * inputs.time + steps)
