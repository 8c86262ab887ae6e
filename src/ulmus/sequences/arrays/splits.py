"""Which sequences are learnt from, which choose, and which are held out for the end."""

import warnings
from collections.abc import Mapping
from itertools import combinations
from typing import Any, Literal

import numpy as np
from jaxtyping import Int64

from ulmus.errors import ConfigError, DataError
from ulmus.sequences.arrays.sequence_set import SequenceSet


def split(
    sequences: SequenceSet,
    shares: Mapping[str, float],
    *,
    how: Literal["random", "time"] = "random",
    by: str | None = None,
    seed: int = 0,
    step_targets: bool = False,
) -> dict[str, SequenceSet]:
    """Parts of the sequences: ``train``, and one for each of `shares`.

    Args:
        sequences: All of them.
        shares: Part by name, each a share of the sequences.
        how: ``random`` sequences, classes in equal shares; or, in ``time``, the end of every sequence.
        by: Column whose values, such as subjects, are each in one part alone.
        seed: Decides which sequences go where.
        step_targets: Whether every step has a target.

    Raises:
        ConfigError: shares that leave nothing for a part.
        DataError: there is no such column.
    """
    if sum(shares.values()) >= 1:
        raise ConfigError(
            f"{' and '.join(f'{name} {share:g}' for name, share in shares.items())} of the sequences leave nothing to "
            "learn from; "
            "expected shares below 1 in all."
        )
    if how == "time":
        return _in_time(sequences, shares, step_targets)
    labels = column(sequences, by) if by else np.arange(len(sequences))
    groups, member = np.unique(labels, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(groups))
    if by is None and not step_targets and sequences.targets is not None:
        order = _stratified(order, sequences)
    parts, first = {}, 0
    for name, share in shares.items():
        count = round(share * len(groups))
        parts[name] = order[first : first + count]
        first += count
    parts = {"train": order[first:], **parts}
    for name, chosen in parts.items():
        if not len(chosen):
            what = f"values of {by!r}" if by else "sequences"
            raise ConfigError(
                f"{sequences.origin} has {len(groups)} {what}, of which none is left for {name}; expected at least one. "
                "Give more, "
                "another share, or data.split: time, which cuts every sequence."
            )
    return {
        name: sequences.take(np.flatnonzero(np.isin(member, chosen)), name) for name, chosen in parts.items()
    }


def column(sequences: SequenceSet, name: str) -> np.ndarray:
    """A column that is known of every sequence.

    Raises:
        DataError: there is none.
    """
    if name not in sequences.columns:
        raise DataError(
            f"{sequences.origin} has no {name!r} for every sequence; expected one of {sorted(sequences.columns)}. Leave "
            "split_by out, or add it: {'values': ..., 'targets': ..., '" + name + "': ...}."
        )
    found = sequences.columns[name]
    missing = np.flatnonzero(np.isnan(found) if found.dtype.kind == "f" else found == "")
    if missing.size:
        raise DataError(
            f"{sequences.called(int(missing[0]))} has no {name!r}; expected to whom or what it belongs. Fill it in, or "
            "leave the sequence out."
        )
    return found


def check_apart(parts: Mapping[str, SequenceSet], by: str | None) -> None:
    """Refuse sequences of the same subject, or whatever `by` names, and the same data, in two parts; warn of single sequences.

    Raises:
        DataError: two parts share one.
    """
    owner: dict[str, str] = {}
    for part, sequences in parts.items():
        labels = [f"{by} {_plainly(value)}" for value in np.unique(column(sequences, by))] if by else []
        for label in [*labels, sequences.content_hash]:
            if label in owner:
                what = "what has the same content" if label == sequences.content_hash else label
                raise DataError(
                    f"{what} is in {owner[label]} and in {part} ({sequences.origin}), so that scores would say nothing of new "
                    "sequences; expected it in one of them. Move or remove it."
                )
            owner[label] = part
    for (part, sequences), (other, others) in combinations(parts.items(), 2):
        if shared := sorted(others.varying[key] for key in sequences.varying.keys() & others.varying):
            warnings.warn(
                f"{len(shared)} of {len(others)} sequences of {other} are in {part} too, such as {others.called(shared[0])}; "
                "scores on them say nothing of new sequences. Leave them out of one of the two.",
                stacklevel=2,
            )


def _plainly(value: Any) -> str:
    """A label as text, 1.0 as 1: one file may have it as a number with a point."""
    return np.format_float_positional(value, trim="-") if isinstance(value, np.floating) else str(value)


def _stratified(
    order: Int64[np.ndarray, "sequences"], sequences: SequenceSet
) -> Int64[np.ndarray, "sequences"]:
    """The same order, with the members of every class spread evenly over it."""
    targets = np.array([str(sequences.target(index).tolist()) for index in order])
    classes, member, count = np.unique(targets, return_inverse=True, return_counts=True)
    if len(classes) > len(order) / 2:  # numbers, not classes
        return order
    rank = np.zeros(len(order))
    for number in range(len(classes)):
        mine = np.flatnonzero(member == number)
        rank[mine] = (np.arange(len(mine)) + 0.5) / count[number]
    return order[np.argsort(rank, kind="stable")]


def _in_time(
    sequences: SequenceSet, shares: Mapping[str, float], step_targets: bool
) -> dict[str, SequenceSet]:
    edges = np.cumsum([0.0, 1 - sum(shares.values()), *shares.values()])
    parts = {}
    for name, begin, end in zip(("train", *shares), edges, edges[1:], strict=False):
        bounds = [
            (index, round(begin * length), round(end * length))
            for index, length in enumerate(sequences.lengths)
        ]
        if any(first >= stop for _, first, stop in bounds):
            raise ConfigError(
                f"a sequence of {sequences.origin} is too short to be cut for {name}; expected longer ones or data.split: random."
            )
        parts[name] = sequences.stretches(bounds, step_targets)
    return parts
