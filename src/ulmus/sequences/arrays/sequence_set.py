"""Sequences with their targets and what else is known of them, in memory or memory-mapped, checked when they are put together."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from ulmus.errors import DataError

Input = Literal["numbers", "tokens", "characters", "events"]
_LONGEST_LIST = 5
_LARGEST = float(np.finfo(np.float32).max)
UNKNOWN = "\N{REPLACEMENT CHARACTER}"
"""The last entry of a vocabulary of characters: those that training did not meet."""


@dataclass(frozen=True)
class SequenceSet:
    """Sequences that are learnt from or scored on.

    Attributes:
        origin: Where they are from, for messages.
        input: ``numbers``, ``tokens``, ``characters`` or ``events``.
        values: A sequence each: numbers ``[time, channel]``, tokens ``[time]``, a text, or events
            ``[event, (step, channel, amplitude)]``.
        lengths: Steps of every sequence.
        channels: Names of the channels of numbers and events, or of the tokens; empty where they have none.
        targets: For every sequence a class or numbers, or these for every step; None where the input is its own target.
        columns: What else is known of every sequence by name, such as the subject.
        named: Whether somebody named the channels.
        labels: What a sequence is called in its file: its number, or its key in a table.
        longest: Steps that targets of steps may have: of the longest sequence that they were padded with.
    """

    origin: str
    input: Input
    values: Sequence[Any] | np.ndarray
    lengths: Int64[np.ndarray, "sequences"]
    channels: tuple[str, ...] = ()
    targets: Sequence[Any] | np.ndarray | None = None
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    named: bool = True
    longest: int = 0
    labels: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.lengths)

    def called(self, index: int) -> str:
        """A sequence in messages."""
        return f"sequence {self.labels[index] if len(self.labels) else index} of {self.origin}"

    def _labels(self, index: Sequence[int] | Int64[np.ndarray, "chosen"]) -> list[str]:
        return [str(self.labels[k] if len(self.labels) else k) for k in index]

    def sequence(self, index: int) -> Any:
        """Values of one sequence, without what pads it."""
        values = self.values[index]
        return values if self.input == "events" else values[: int(self.lengths[index])]

    def target(self, index: int) -> np.ndarray:
        """Target of one sequence; of every step of it, where there is one for each."""
        if self.targets is None:
            raise DataError(f"{self.origin} has no targets; expected some for this task.")
        return np.asarray(self.targets[index])

    def take(self, chosen: Sequence[int] | Int64[np.ndarray, "chosen"], part: str = "") -> "SequenceSet":
        """Some of the sequences, in this order; `part` names them in messages."""
        index = np.asarray(chosen, dtype=np.int64)
        return replace(
            self,
            origin=f"{self.origin} ({part})" if part else self.origin,
            values=[self.values[k] for k in index],
            lengths=self.lengths[index],
            targets=None if self.targets is None else [self.targets[k] for k in index],
            columns={name: column[index] for name, column in self.columns.items()},
            labels=self._labels(index),
        )

    def stretches(self, bounds: Sequence[tuple[int, int, int]], step_targets: bool) -> "SequenceSet":
        """Pieces of sequences, each given by (sequence, first step, step after the last), with the targets of their steps."""

        def cut(values: Any, index: int, first: int, stop: int) -> Any:
            if self.input != "events":
                return values[index][first:stop]
            events = values[index]
            inside = events[(events[:, 0] >= first) & (events[:, 0] < stop)].copy()
            inside[:, 0] -= first
            return inside

        targets = None
        if self.targets is not None:
            targets = [
                self.target(k)[first:stop] if step_targets else self.targets[k] for k, first, stop in bounds
            ]
        index = np.array([k for k, _, _ in bounds], dtype=np.int64)
        return replace(
            self,
            values=[cut(self.values, *bound) for bound in bounds],
            lengths=np.array([stop - first for _, first, stop in bounds], dtype=np.int64),
            targets=targets,
            columns={name: column[index] for name, column in self.columns.items()},
            labels=self._labels(index),
        )

    def moments(self) -> tuple[Float64[np.ndarray, "channels"], Float64[np.ndarray, "channels"]]:
        """Mean and standard deviation of every channel over all steps, without what is missing; 1 where nothing varies.

        Raises:
            DataError: a channel has no value at all.
        """
        count = total = square = np.zeros(len(self.channels))
        first = np.asarray(self.sequence(0), dtype=np.float64)
        middle = np.nansum(first, axis=0) / np.maximum(np.isfinite(first).sum(axis=0), 1)
        for index in range(len(self)):
            values = (
                np.asarray(self.sequence(index), dtype=np.float64) - middle
            )  # so that squares do not cancel
            count = count + np.isfinite(values).sum(axis=0)
            total, square = total + np.nansum(values, axis=0), square + np.nansum(values**2, axis=0)
        if not count.all():
            raise DataError(
                f"{self.channels[int(np.argmin(count))]} of {self.origin} is missing at every step; expected values to learn "
                "from. Leave this channel out."
            )
        mean = total / count
        deviation = np.sqrt(np.maximum(square / count - mean**2, 0.0))
        return mean + middle, np.where(deviation > 1e-12, deviation, 1.0)

    @cached_property
    def varying(self) -> dict[bytes, int]:
        """The sequences of numbers that vary, by the hash of their values; equal ones are no chance."""
        numbers = range(len(self)) if self.input == "numbers" else ()
        found = ((index, np.ascontiguousarray(self.sequence(index))) for index in numbers)
        return {
            hashlib.sha256(values.tobytes()).digest(): index
            for index, values in found
            if (values != values[:1]).any()
        }

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of values and targets."""
        digest = hashlib.sha256()
        for index in range(len(self)):
            values = self.sequence(index)
            digest.update(
                values.encode() if isinstance(values, str) else np.ascontiguousarray(values).tobytes()
            )
            if self.targets is not None:
                target = self.target(index)
                digest.update(
                    str(target.tolist()).encode() if target.dtype.kind in "UOS" else target.tobytes()
                )
        return digest.hexdigest()


def sequence_set(
    values: Any,
    targets: Any = None,
    lengths: Any = None,
    *,
    mask: Any = None,
    input: Input | None = None,
    channels: Sequence[str] | None = None,
    columns: Mapping[str, Any] | None = None,
    missing: Literal["refuse", "mask"] = "refuse",
    origin: str = "the data",
    labels: Sequence[str] = (),
) -> SequenceSet:
    """Sequences from arrays, tensors or lists.

    Args:
        values: Numbers ``[sequence, time, channel]`` or ``[sequence, time]``, tokens ``[sequence, time]``, or a list with an
            array or a text for every sequence; or all sequences behind each other, ``[steps, channel]``, with `lengths`.
        targets: A class (text or whole number) or numbers for every sequence, or for every step of it.
        lengths: Steps of every sequence.
        mask: False where a value is missing, in the shape of `values`; NaN says the same.
        input: ``numbers``, ``tokens`` or ``characters``; by default as the values are, which whole numbers
            ``[sequence, time]`` do not say.
        channels: Names of the channels.
        columns: What else is known of every sequence, by name.
        missing: ``refuse`` missing values, or let a model know which those are (``mask``).
        origin: What messages call the data.
        labels: What they call every sequence; its number by default.

    Raises:
        DataError: values are missing, not finite or of different channels, or lengths or targets do not fit.
    """
    values, targets = _plain(values), _plain(targets)
    for name, part in {"values": values, "targets": targets, "lengths": lengths, "mask": mask}.items():
        if part is not None and np.ndim(part if hasattr(part, "shape") else [0]) == 0:
            raise DataError(f"{origin}: {name} is one number; expected an array.")
    if isinstance(values, np.ndarray) and values.dtype.kind == "U" and values.ndim == 1:
        values = values.tolist()
    if len(values) == 0:
        raise DataError(f"{origin} holds no sequence; expected at least one.")
    if isinstance(values[0], str):
        kind: Input = input or "characters"
        lengths = np.array([len(text) for text in values], dtype=np.int64)
        names: tuple[str, ...] = ()
    else:
        values, targets, lengths = _separate(values, targets, lengths, origin)
        kind = input or _kind(values, origin)
        values, names = _checked(values, lengths, kind, channels, origin)
        if kind == "numbers":
            values = _with_missing(values, mask, lengths, missing, names, origin, labels)
    if mask is not None and kind != "numbers":
        raise DataError(
            f"{origin}: a mask says which numbers are missing, but values are {kind}; leave it out."
        )
    _check_each(values, targets, lengths, origin)
    found = {name: np.asarray(_plain(column)) for name, column in (columns or {}).items()}
    for name, column in found.items():
        if column.shape != (len(lengths),):
            raise DataError(
                f"{name!r} of {origin} has shape {list(column.shape)}; expected an entry for each of {len(lengths)} sequences."
            )
    named, longest = channels is not None, int(lengths.max())
    return SequenceSet(origin, kind, values, lengths, names, targets, found, named, longest, labels)


def _check_each(values: Any, targets: Any, lengths: Int64[np.ndarray, "sequences"], origin: str) -> None:
    """Every sequence has steps and a target; where targets are of different lengths, every step has one.

    Raises:
        DataError: some sequence has none, or some other number.
    """
    if not lengths.all():
        raise DataError(
            f"sequence {int(np.argmin(lengths))} of {origin} has no step; expected one or more. Leave it out."
        )
    if targets is not None and len(targets) != len(lengths):
        raise DataError(
            f"{origin} has {len(lengths)} sequences and {len(targets)} targets; expected one for each, or for each of its steps. "
            "Of sequences behind each other, give the number of steps of each as 'lengths'."
        )
    sizes = [len(one) if np.ndim(one) else 0 for one in targets] if isinstance(targets, list) else []
    for index, size in enumerate(sizes if len(set(sizes)) > 1 else ()):
        if size not in (lengths[index], len(values[index])):
            raise DataError(
                f"sequence {index} of {origin} has {lengths[index]} steps and {size} targets; expected one for each step, or "
                "as many for every sequence."
            )


def joined(parts: Sequence[SequenceSet], origin: str) -> SequenceSet:
    """Sequences of several sources as one set.

    Raises:
        DataError: they have different channels, or only some have targets.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    if all(part.input == "events" and not part.named for part in parts):
        # How many channels there are, only events say.
        widest = max((part.channels for part in parts), key=len)
        parts = [replace(part, channels=widest) for part in parts]
        first = parts[0]
    for part in parts[1:]:
        if (part.input, part.channels) != (first.input, first.channels):
            raise DataError(
                f"{part.origin} holds {part.input} with channels {list(part.channels)[:_LONGEST_LIST]}, but {first.origin} "
                f"{first.input} with {list(first.channels)[:_LONGEST_LIST]}; expected the same in all files."
            )
        if (part.targets is None) != (first.targets is None):
            raise DataError(
                f"{part.origin} and {first.origin}: only one of them has targets; expected all or none."
            )
    shared = set.intersection(*(set(part.columns) for part in parts))
    return SequenceSet(
        origin,
        first.input,
        [values for part in parts for values in part.values],
        np.concatenate([part.lengths for part in parts]),
        first.channels,
        None
        if first.targets is None
        else [part.targets[k] for part in parts if part.targets is not None for k in range(len(part))],
        {name: np.concatenate([part.columns[name] for part in parts]) for name in sorted(shared)},
        all(part.named for part in parts),
        max(part.longest for part in parts),
        [f"{label} of {part.origin}" for part in parts for label in part._labels(range(len(part)))],
    )


def vocabulary(texts: Sequence[str]) -> tuple[str, ...]:
    """All characters of some texts, and one that stands for others."""
    return (*sorted(set().union(*texts) - {UNKNOWN}), UNKNOWN)


def spelt(sequences: SequenceSet, characters: tuple[str, ...]) -> SequenceSet:
    """Texts as tokens: the place of every character in a vocabulary."""
    place = {character: number for number, character in enumerate(characters)}
    unknown = len(characters) - 1
    tokens = [
        np.array([place.get(character, unknown) for character in text], dtype=np.int64)
        for text in sequences.values
    ]
    return replace(sequences, input="tokens", values=tokens, channels=characters)


def _plain(values: Any) -> Any:
    """Tensors as arrays, bytes as texts, and lists of one shape as they are."""
    if isinstance(values, Tensor):
        if values.is_nested:
            return [_plain(value) for value in values.unbind()]
        dense = values.detach().cpu().to_dense()
        return (dense.float() if dense.dtype == torch.bfloat16 else dense).numpy()
    if hasattr(values, "to_numpy"):  # a data frame or series
        return _plain(values.to_numpy())
    if isinstance(values, list | tuple) or (isinstance(values, np.ndarray) and values.dtype.kind == "O"):
        return [_plain(value) for value in values]
    if isinstance(values, np.ndarray) and values.dtype.kind == "S":
        return np.char.decode(values, "utf-8", "replace")
    return values


def _separate(
    values: Any, targets: Any, lengths: Any, origin: str
) -> tuple[Any, Any, Int64[np.ndarray, "sequences"]]:
    """A sequence for every entry of values and targets, and the length of each."""
    if isinstance(values, list):
        values = [_array(value, index, origin) for index, value in enumerate(values)]
        found = np.array([len(value) for value in values], dtype=np.int64)
        if lengths is None:
            return values, targets, found
        found = _lengths(lengths, len(values), int(found.max()), origin)
        return values, targets, found
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiub" or values.ndim == 0:
        raise DataError(
            f"{origin}: values are {type(values).__name__} of {getattr(values, 'dtype', 'objects')}; expected numbers "
            "[sequence, time, channel], a list with an array for every sequence, or texts."
        )
    if lengths is None:
        if values.ndim == 1:
            raise DataError(
                f"{origin}: values have shape {list(values.shape)}; expected [sequence, time, channel]. Use "
                "values[None, :, None] "
                "for one sequence of one channel, or give 'lengths' of sequences behind each other."
            )
        return values, targets, np.full(len(values), values.shape[1], dtype=np.int64)
    behind = values.ndim <= 2 and len(lengths) != len(values)
    if not behind:
        return values, targets, _lengths(lengths, len(values), values.shape[1], origin)
    steps = _lengths(lengths, len(lengths), len(values), origin)
    if int(steps.sum()) != len(values):
        raise DataError(
            f"{origin}: {len(steps)} lengths add up to {int(steps.sum())} steps, but there are {len(values)} values; expected "
            "a length for every sequence, or lengths that add up to all steps."
        )
    edges = np.cumsum(steps)[:-1]
    if targets is not None and len(targets) == len(values):
        targets = np.split(np.asarray(targets), edges)
    return np.split(values, edges), targets, steps


def _array(value: Any, index: int, origin: str) -> np.ndarray:
    """One sequence of a list."""
    try:
        found = np.asarray(value)
    except ValueError:  # lists of unequal lengths inside
        found = np.asarray(None)
    if found.ndim == 0 or found.dtype.kind not in "fiub":
        raise DataError(
            f"sequence {index} of {origin} is {str(value)[:60]}; expected an array of numbers [time, channel]."
        )
    return found


def _lengths(lengths: Any, sequences: int, longest: int, origin: str) -> Int64[np.ndarray, "sequences"]:
    found = np.asarray(_plain(lengths))
    if found.shape != (sequences,) or found.dtype.kind not in "iu":
        raise DataError(
            f"{origin}: lengths have shape {list(found.shape)} and type {found.dtype}; expected {sequences} whole numbers, one "
            "for every sequence."
        )
    wrong = np.flatnonzero((found < 1) | (found > longest))
    if wrong.size:
        raise DataError(
            f"{origin}: the length of sequence {wrong[0]} is {found[wrong[0]]}; expected 1 to {longest}, the steps it has."
        )
    return found.astype(np.int64)


def _kind(values: Any, origin: str) -> Input:
    first = np.asarray(values[0])
    if first.ndim == 1 and first.dtype.kind in "iu":
        raise DataError(
            f"{origin} holds whole numbers [sequence, time], which may be tokens or one channel of numbers; say which with "
            "input: tokens or input: numbers."
        )
    return "numbers"


def _checked(
    values: Any,
    lengths: Int64[np.ndarray, "sequences"],
    kind: Input,
    names: Sequence[str] | None,
    origin: str,
) -> tuple[Any, tuple[str, ...]]:
    """Values in the shape of their kind, and names of the channels."""
    if kind == "tokens":
        for index, length in enumerate(lengths):
            tokens = np.asarray(values[index])[:length]
            if tokens.ndim != 1 or tokens.dtype.kind not in "iu" or tokens.min(initial=0) < 0:
                raise DataError(
                    f"sequence {index} of {origin} is no sequence of tokens (shape {list(tokens.shape)}, type {tokens.dtype}, "
                    f"lowest {tokens.min(initial=0)}); expected whole numbers from 0 on, [time]."
                )
        return values, tuple(names or ())
    if kind == "characters":
        raise DataError(f"{origin} holds numbers, not texts; expected input: numbers or tokens.")
    if np.asarray(values[0]).ndim == 1:  # one channel
        values = values[..., None] if isinstance(values, np.ndarray) else [value[:, None] for value in values]
    width = np.asarray(values[0]).shape[-1]
    for index in range(len(values)):
        if values[index].ndim != 2 or values[index].shape[1] != width:
            raise DataError(
                f"sequence {index} of {origin} has shape {list(values[index].shape)}; expected [time, {width}] like the first."
            )
    named = (
        tuple(map(str, names)) if names is not None else tuple(f"channel {number}" for number in range(width))
    )
    if len(set(named)) != width or len(named) != width:
        raise DataError(
            f"{origin} has {width} channels and {len(set(named))} names of channels; expected a name of its own for each."
        )
    return values, named


def _with_missing(
    values: Any,
    mask: Any,
    lengths: Int64[np.ndarray, "sequences"],
    missing: str,
    names: tuple[str, ...],
    origin: str,
    labels: Sequence[str],
) -> Any:
    """Values with NaN where they are missing.

    Raises:
        DataError: a value is missing and may not be, or is infinite.
    """
    if mask is not None:
        mask = _plain(mask)
        if isinstance(mask, np.ndarray) and len(mask) == lengths.sum() and len(values) != len(mask):
            mask = np.split(mask, np.cumsum(lengths)[:-1])  # behind each other, as the values were
        if len(mask) != len(values):
            raise DataError(
                f"{origin} has {len(values)} sequences, but a mask of {len(mask)}; expected it in the shape of the values."
            )
        masked = []
        for index in range(len(values)):
            there: Bool[np.ndarray, "time channels"] = np.asarray(mask[index]).astype(bool)
            there = there[:, None] if there.ndim == 1 else there
            if there.shape[0] != values[index].shape[0] or there.shape[1] not in (1, values[index].shape[1]):
                raise DataError(
                    f"mask of sequence {index} of {origin} has shape {list(there.shape)}; expected that of its values, "
                    f"{list(values[index].shape)}."
                )
            masked.append(np.where(there, np.asarray(values[index], dtype=np.float32), np.float32(np.nan)))
        values = masked
    for index, length in enumerate(lengths):
        part = np.asarray(values[index])[:length]
        if (
            part.dtype.kind == "f"
            and not (known := np.abs(part.astype(np.float64, copy=False)) <= _LARGEST).all()
        ):
            if missing == "mask":
                known |= np.isnan(part)
            if known.all():
                continue
            step, channel = np.argwhere(~known)[0]
            padded = np.isnan(part[step:]).all()
            advice = (
                "give the number of its steps as 'lengths', or leave rows behind its end out"
                if padded
                else "repair it, or set missing: mask"
            )
            raise DataError(
                f"{names[channel]} of sequence {labels[index] if labels else index} in {origin} is {part[step, channel]} at step "
                f"{step}; expected a finite number that single precision holds; {advice}."
            )
    return values
