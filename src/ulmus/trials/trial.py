"""What a trial is: input events, membrane voltage and output spikes of one simulated stretch of time."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int, Int8, Int32, UInt16

from ulmus.errors import ConfigError, DataError
from ulmus.files.reading import sha256_of_json
from ulmus.geometry import Geometry

MAX_INPUTS = 2**16  # input indices are stored as uint16
LARGEST_CONTINUOUS = 1e4  # times the usual size: what is larger has another unit
LARGEST_MV = 300.0
"""No membrane voltage is further from 0; what is, has another unit or was not integrated well."""
USUAL_MV = (-130.0, 90.0)
"""What lies beyond is said, but not refused."""
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
        sign = np.asarray(self.input_sign)
        if not 1 <= self.steps < 2**31 or not 0 < self.dt_ms < 1e9:
            raise ConfigError(
                f"header with steps={self.steps}, dt_ms={self.dt_ms}: expected 1 to {2**31 - 1:,} steps of a "
                "positive length. Correct these values."
            )
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


class Trial(NamedTuple):
    """One trial, or a window of one.

    Attributes:
        event_step: time bin of each input event, ascending.
        event_input: which input it came from.
        voltage_mv: membrane voltage in mV at the beginning of each time bin, as in the published files; NaN where it is
            missing.
        spike_time_ms: output spikes in ms from the beginning, ascending.
        attributes: what is known of this trial alone (seed, regime, ...), as JSON can hold it.
        continuous: value of every continuous input in every time bin, in its unit; None where there is none.
        recorded: whether each step was recorded: not in gaps, nor beyond the end of a trial shorter than others. What was
            not has neither spikes nor voltage, and does not count. None where all were.
        signals: value of every further signal at the beginning of each time bin, in its unit, NaN where it is missing; None
            where there is none.
    """

    event_step: Int32[np.ndarray, "events"]
    event_input: UInt16[np.ndarray, "events"]
    voltage_mv: Float32[np.ndarray, "time sites"]
    spike_time_ms: Float64[np.ndarray, "spikes"]
    attributes: dict[str, Any]
    continuous: Float32[np.ndarray, "time channels"] | None = None
    recorded: Bool[np.ndarray, "time"] | None = None
    signals: Float32[np.ndarray, "time signals"] | None = None


def label_bins(spike_time_ms: Float64[np.ndarray, "spikes"], dt_ms: float) -> Int[np.ndarray, "spikes"]:
    """Bin of every spike, ``int(t / dt - 0.5)`` truncated towards zero (the published labels of NeuronIO)."""
    return np.trunc(spike_time_ms / dt_ms - 0.5).astype(np.int64)


def spike_bins(
    spike_time_ms: Float64[np.ndarray, "spikes"], dt_ms: float, steps: int
) -> Int[np.ndarray, "bins"]:
    """Bins that hold a spike, ascending, each once: bin ``int(t / dt - 0.5)``, truncated.

    Raises:
        DataError: a spike outside of the `steps` bins.
    """
    bins = np.unique(label_bins(np.asarray(spike_time_ms, dtype=np.float64), dt_ms))
    if bins.size and not (bins[0] >= 0 and bins[-1] < steps):
        raise DataError(
            f"spike_time_ms from {np.min(spike_time_ms)} to {np.max(spike_time_ms)} ms: expected times within "
            f"0 and {steps * dt_ms} ms; correct or cut the spike times"
        )
    return bins


def step_offsets(event_step: Int32[np.ndarray, "events"], steps: int) -> Int[np.ndarray, "time_plus_one"]:
    """Index of the first event of every step, and the number of events at the end."""
    offsets = np.zeros(steps + 1, dtype=np.int64)
    np.cumsum(np.bincount(event_step, minlength=steps), out=offsets[1:])
    return offsets


def validate(trial: Trial, header: Header, where: str) -> None:
    """Check that a trial is what `header` says.

    Args:
        trial: the trial.
        header: what it should fit.
        where: file and trial, for the message.

    Raises:
        DataError: names `where`, the key and the value that is wrong.
    """
    expected = {
        "event_step": (np.int32, 1),
        "event_input": (np.uint16, 1),
        "voltage_mv": (np.float32, 2),
        "spike_time_ms": (np.float64, 1),
    }
    for key, (dtype, dimensions) in expected.items():
        array = getattr(trial, key)
        if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != dimensions:
            found = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
            raise _bad(where, key, f"is {found}", f"a {np.dtype(dtype)} array of {dimensions} dimension(s)")
    if trial.event_step.size != trial.event_input.size:
        found = f"has {trial.event_input.size} entries, event_step {trial.event_step.size}"
        raise _bad(where, "event_input", found, "one input for each event")
    _validate_events(trial, header, where)
    _validate_continuous(trial, header, where)
    _validate_recorded(trial, header, where)
    _validate_voltage(trial, header, where)
    _validate_signals(trial, header, where)
    _validate_spikes(trial, header, where)
    try:
        json.dumps(trial.attributes, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise _bad(
            where, "attributes", f"cannot be written as JSON ({error})", "numbers, strings, lists"
        ) from error


def _validate_events(trial: Trial, header: Header, where: str) -> None:
    step = trial.event_step
    if not step.size:
        return
    descents = np.flatnonzero(step[1:] < step[:-1])
    if descents.size:
        at = int(descents[0])
        raise _bad(
            where,
            "event_step",
            f"falls from {step[at]} to {step[at + 1]} at event {at + 1}",
            "ascending steps",
        )
    if step[0] < 0 or step[-1] >= header.steps:
        raise _bad(
            where,
            "event_step",
            f"runs from {step[0]} to {step[-1]}",
            f"steps within 0 and {header.steps - 1}",
        )
    if int(trial.event_input.max()) >= header.event_inputs:
        raise _bad(
            where, "event_input", f"holds {trial.event_input.max()}", f"inputs 0 to {header.event_inputs - 1}"
        )


def _validate_continuous(trial: Trial, header: Header, where: str) -> None:
    if not header.continuous:
        if trial.continuous is not None:
            raise _bad(where, "continuous", "is given", "none, as the header names no continuous input")
        return
    values, shape = trial.continuous, (header.steps, len(header.continuous))
    if values is None or values.dtype != np.float32 or values.shape != shape:
        found = "is missing" if values is None else f"is {values.dtype} {values.shape}"
        raise _bad(where, "continuous", found, f"a float32 array of shape {shape} (steps, channels)")
    far = ~(np.abs(values) <= LARGEST_CONTINUOUS * np.array([channel.scale for channel in header.continuous]))
    if far.any():
        step, channel = np.argwhere(far)[0]
        name, unit, scale = header.continuous[channel]
        found = f"is {values[step, channel]} {unit} at step {step}, channel {name!r}"
        raise _bad(where, "continuous", found, f"finite values of a usual size of {scale:g} {unit}")


def _validate_recorded(trial: Trial, header: Header, where: str) -> None:
    found = trial.recorded
    if not header.gaps:
        if found is not None:
            raise _bad(where, "recorded", "is given", "none, as the header names no gaps")
        return
    if found is None or found.dtype != bool or found.shape != (header.steps,):
        told = "is missing" if found is None else f"is {found.dtype} {found.shape}"
        raise _bad(where, "recorded", told, f"a bool array of {header.steps} steps")
    if not found.any():
        raise _bad(where, "recorded", "is false throughout", "some step that was recorded")


def _validate_voltage(trial: Trial, header: Header, where: str) -> None:
    shape = (header.steps, len(header.sites))
    if trial.voltage_mv.shape != shape:
        raise _bad(where, "voltage_mv", f"has shape {trial.voltage_mv.shape}", f"{shape} (steps, sites)")
    _validate_present(
        trial.voltage_mv, trial, "voltage_mv", [f"site {site!r}" for site in header.sites], where
    )
    largest = np.abs(trial.voltage_mv).max(axis=0, where=np.isfinite(trial.voltage_mv), initial=0.0)
    beyond = np.flatnonzero(largest > np.where(np.arange(largest.size) == 0, LARGEST_MV, 10 * LARGEST_MV))
    if beyond.size:
        found = f"reaches {largest[beyond[0]]:g} at site {header.sites[beyond[0]]!r}"
        raise _bad(
            where, "voltage_mv", found, f"at most {LARGEST_MV:g} mV at the soma, ten times that elsewhere"
        )


def _validate_signals(trial: Trial, header: Header, where: str) -> None:
    values, shape = trial.signals, (header.steps, len(header.signals))
    if not header.signals:
        if values is not None:
            raise _bad(where, "signals", "is given", "none, as the header names no signal")
        return
    if values is None or values.dtype != np.float32 or values.shape != shape:
        found = "is missing" if values is None else f"is {values.dtype} {values.shape}"
        raise _bad(where, "signals", found, f"a float32 array of shape {shape} (steps, signals)")
    _validate_present(
        values, trial, "signals", [f"signal {signal.name!r}" for signal in header.signals], where
    )


def _validate_present(
    values: Float32[np.ndarray, "time columns"], trial: Trial, key: str, names: list[str], where: str
) -> None:
    """Values are finite; where trials have gaps, what is missing is NaN, and what was not recorded is missing."""
    finite = np.isfinite(values)
    wrong = ~finite
    if trial.recorded is not None:
        wrong = np.isinf(values) | (finite & ~trial.recorded[:, None])
    if wrong.any():
        at = np.argwhere(wrong)[0]
        found = f"is {values[tuple(at)]} at step {at[0]}, {names[at[1]]}"
        raise _bad(where, key, found, "finite numbers" if trial.recorded is None else "NaN in gaps")


def _validate_spikes(trial: Trial, header: Header, where: str) -> None:
    times = trial.spike_time_ms
    if not times.size:
        return
    if not header.spikes:
        raise _bad(where, "spike_time_ms", "holds spikes", "none, as the header says that they are not known")
    if not np.isfinite(times).all() or times.min() < 0:
        bad = times[~(np.isfinite(times) & (times >= 0))][0]
        raise _bad(where, "spike_time_ms", f"holds {bad}", "finite times from 0 on")
    if (np.diff(times) < 0).any():
        at = int(np.flatnonzero(np.diff(times) < 0)[0])
        raise _bad(where, "spike_time_ms", f"falls from {times[at]} to {times[at + 1]}", "ascending times")
    # The last label bin ends half a step after the last voltage sample.
    if (
        times[-1] > 2 * header.duration_ms + header.dt_ms
        or label_bins(times[-1:], header.dt_ms)[0] >= header.steps
    ):
        raise _bad(
            where,
            "spike_time_ms",
            f"holds {times[-1]}",
            f"times within the {header.duration_ms} ms of the trial",
        )
    if trial.recorded is not None and not (known := trial.recorded[label_bins(times, header.dt_ms)]).all():
        raise _bad(
            where,
            "spike_time_ms",
            f"holds {times[~known][0]}, in a gap",
            "no spike where nothing was recorded",
        )


def _bad(where: str, key: str, found: str, wanted: str) -> DataError:
    return DataError(f"{where}: {key} {found}; expected {wanted}; correct the data or leave this trial out")
