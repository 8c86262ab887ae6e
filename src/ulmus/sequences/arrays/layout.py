"""What the parts of a file of sequences are called."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from ulmus.sequences.arrays.sequence_set import Input


@dataclass(frozen=True)
class Layout:
    """What the parts of a file are called.

    Attributes:
        values: The array of values; or the columns of a table that hold them, by default all others.
        targets: The array of targets; or the columns of a table. None where the input is its own target.
        sequence: Column of a long table that says to which sequence a row belongs; a table without it is wide.
        time: Column of a long table with the time of every row in ms.
        columns: What else is read of every sequence, such as the subject.
        optional: Whether these columns may be missing.
        input: ``numbers``, ``tokens``, ``characters`` or ``events``, where values do not say it.
        missing: Whether missing values are refused.
        step_targets: Whether every step has a target, else every sequence.
        dt_ms: Duration of a step; 1 by default, or as the times of a table are apart.
    """

    values: tuple[str, ...] = ()
    targets: tuple[str, ...] | None = ("targets",)
    sequence: str = "sequence"
    time: str | None = None
    columns: tuple[str, ...] = ()
    optional: bool = False
    input: Input | None = None
    missing: Literal["refuse", "mask"] = "refuse"
    step_targets: bool = False
    dt_ms: float | None = None

    def columns_in(self, parts: Collection[str]) -> list[str]:
        """What else is read of a file with these parts; what it must hold though it does not, too."""
        return [name for name in self.columns if name in parts or not self.optional]
