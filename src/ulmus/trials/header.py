"""What all trials of one data set have in common."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int8

from ulmus.errors import ConfigError
from ulmus.files.reading import sha256_of_json
from ulmus.geometry import Geometry

MAX_INPUTS = 2**16  # input indices are stored as uint16
LOGIT_SITE = "spike logit"
"""Where trials that a fitted neuron answered keep the log odds of a spike in every step, beside the voltages."""


class Channel(NamedTuple):
    """A continuous input, such as a current into the soma, with a value in every time bin.

    Attributes:
        name: what it is, such as ``"current"``.
        unit: unit of its values, such as ``"nA"``.
        scale: a usual size of them; a surrogate gets values divided by it, and another fitted to the same cell needs the same.
    """

    name: str
    unit: str
    scale: float = 1.0


class Signal(NamedTuple):
    """A continuous answer of the neuron beside its voltage, such as the calcium in its soma.

    Attributes:
        name: what it is, such as ``"calcium"``.
        unit: unit of its values, such as ``"mM"``.
    """

    name: str
    unit: str


@dataclass(frozen=True, eq=False)
class Header:
    """What all trials of one data set have in common; equal to another one that says the same.

    Attributes:
        steps: time bins per trial, of the longest where they differ.
        dt_ms: width of a time bin in ms.
        input_sign: +1 for an excitatory, -1 for an inhibitory input; +1 for a continuous one.
        sites: where the voltage was recorded; the first is ``"soma"``. None where there is no voltage.
        source: what made the data.
        settings: how it was made (anything JSON can hold).
        geometry: where the inputs lie, to draw the neuron; None where that is not known.
        continuous: the last inputs, where these have a value in every time bin instead of events.
        spikes: whether output spikes are known; False where there is only a voltage.
        gaps: whether some steps were not recorded: trials then say which (`Trial.recorded`), and voltage may be missing.
        signals: further continuous answers of the neuron, each with its unit.

    Raises:
        ConfigError: a value that no data set can have.
    """

    steps: int
    dt_ms: float
    input_sign: Int8[np.ndarray, "inputs"]
    sites: tuple[str, ...] = ("soma",)
    source: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    geometry: Geometry | None = None
    continuous: tuple[Channel, ...] = ()
    spikes: bool = True
    gaps: bool = False
    signals: tuple[Signal, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.steps < 2**31 or not 0 < self.dt_ms < 1e9:
            raise ConfigError(
                f"header with steps={self.steps}, dt_ms={self.dt_ms}: expected 1 to {2**31 - 1:,} steps of a "
                "positive length. Correct these values."
            )
        sign = np.asarray(self.input_sign)
        self._check_inputs(sign)
        self._check_continuous(sign)
        self._check_answers()
        try:
            settings = json.loads(json.dumps(self.settings, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"header with settings that JSON cannot hold ({error}): expected numbers, strings, lists and "
                "dictionaries; convert arrays with .tolist()"
            ) from error
        sign = sign.astype(np.int8)
        sign.flags.writeable = False
        for name, value in (
            ("steps", int(self.steps)),
            ("dt_ms", float(self.dt_ms)),
            ("input_sign", sign),
            ("sites", tuple(self.sites)),
            ("signals", tuple(Signal(*signal) for signal in self.signals)),
            ("settings", settings),
        ):
            object.__setattr__(self, name, value)

    def _check_inputs(self, sign: np.ndarray[Any, np.dtype[Any]]) -> None:
        if sign.ndim != 1 or not 1 <= sign.size <= MAX_INPUTS or not np.isin(sign, (-1, 1)).all():
            raise ConfigError(
                f"header with input_sign of shape {sign.shape} and values {np.unique(sign)[:5].tolist()}: expected "
                f"one dimension of 1 to {MAX_INPUTS} entries +1 (excitatory) or -1 (inhibitory)"
            )
        if self.geometry is not None and len(self.geometry.input_piece) != sign.size:
            raise ConfigError(
                f"header with {sign.size} inputs and the geometry of {len(self.geometry.input_piece)}: expected as many; "
                "give the geometry of this neuron"
            )

    def _check_continuous(self, sign: np.ndarray[Any, np.dtype[Any]]) -> None:
        names = {channel.name for channel in self.continuous}
        last = sign[sign.size - len(self.continuous) :]
        if len(names) != len(self.continuous) or len(last) != len(names) or (last != 1).any():
            raise ConfigError(
                f"header with {sign.size} inputs and the continuous ones {sorted(names)}: expected distinct names, and an "
                "input_sign of +1 for each at its end; correct these values"
            )
        for channel in self.continuous:
            if not (np.isfinite(channel.scale) and channel.scale > 0):
                raise ConfigError(
                    f"header with continuous input {channel.name!r} of scale={channel.scale}: expected a positive number, a "
                    f"usual size of its values in {channel.unit}; correct it"
                )

    def _check_answers(self) -> None:
        if self.sites[:1] not in ((), ("soma",)) or len(set(self.sites)) != len(self.sites):
            raise ConfigError(
                f"header with sites={self.sites}: expected distinct names, the first 'soma'; reorder or rename them"
            )
        answers = [*self.sites, *(signal.name for signal in self.signals)]
        if len(set(answers)) != len(answers) or not all(answers):
            raise ConfigError(
                f"header with the answers {answers}: expected distinct names of sites and signals; rename one"
            )
        if not answers and not self.spikes:
            raise ConfigError(
                "header without sites, signals and spikes: expected an answer of the neuron; give the sites of its voltage, a "
                "signal, or spikes"
            )

    @cached_property
    def _digest(self) -> str:
        return sha256_of_json(self.to_json())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Header) and self._digest == other._digest

    def __hash__(self) -> int:
        return hash(self._digest)

    @property
    def inputs(self) -> int:
        """Number of input channels."""
        return int(self.input_sign.size)

    @property
    def event_inputs(self) -> int:
        """Number of inputs that events come from: all but the continuous ones."""
        return self.inputs - len(self.continuous)

    @property
    def duration_ms(self) -> float:
        """Length of a trial in ms."""
        return self.steps * self.dt_ms

    def to_json(self) -> dict[str, Any]:
        """The header as a dictionary for JSON."""
        values = {
            "steps": self.steps,
            "dt_ms": self.dt_ms,
            "input_sign": self.input_sign.tolist(),
            "sites": list(self.sites),
            "source": self.source,
            "settings": self.settings,
        }
        if self.continuous:
            values["continuous"] = [channel._asdict() for channel in self.continuous]
        # Said only where it is unusual, so that stores written before have the hashes they had.
        values |= {} if self.spikes else {"spikes": False}
        values |= {"gaps": True} if self.gaps else {}
        values |= {"signals": [signal._asdict() for signal in self.signals]} if self.signals else {}
        return values if self.geometry is None else {**values, "geometry": self.geometry.to_json()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Header":
        """The header that :meth:`to_json` wrote."""
        return cls(
            steps=values["steps"],
            dt_ms=values["dt_ms"],
            input_sign=np.array(values["input_sign"], dtype=np.int8),
            sites=tuple(values["sites"]),
            source=values["source"],
            settings=values["settings"],
            geometry=Geometry.from_json(values["geometry"]) if "geometry" in values else None,
            continuous=tuple(Channel(**channel) for channel in values.get("continuous", ())),
            spikes=values.get("spikes", True),
            gaps=values.get("gaps", False),
            signals=tuple(Signal(**signal) for signal in values.get("signals", ())),
        )

    def differences(self, other: "Header", *, layout_only: bool = False) -> list[str]:
        """Where two headers differ, one line ``key: this != that`` each; with `layout_only`, in the shape alone."""
        ours, theirs = self.to_json(), other.to_json()
        if layout_only:
            ours, theirs = (
                {k: v for k, v in d.items() if k not in ("source", "settings", "geometry", "gaps")}
                for d in (ours, theirs)
            )
        return _differences("", ours, theirs)


def _differences(prefix: str, ours: Any, theirs: Any) -> list[str]:
    if ours == theirs:
        return []
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        pairs = zip(ours, theirs, strict=True)
        return [line for k, (a, b) in enumerate(pairs) for line in _differences(f"{prefix}[{k}]", a, b)]
    if isinstance(ours, dict) and isinstance(theirs, dict):
        absent = "(absent)"
        return [
            line
            for key in [*ours, *(k for k in theirs if k not in ours)]
            for line in _differences(
                f"{prefix}.{key}" if prefix else str(key), ours.get(key, absent), theirs.get(key, absent)
            )
        ]
    return [f"{prefix}: {_short(ours)} != {_short(theirs)}"]


def _short(value: Any) -> str:
    text = repr(value)
    return (
        text
        if len(text) <= 60
        else f"{text[:40]}... ({len(value) if isinstance(value, list) else len(text)} long)"
    )
