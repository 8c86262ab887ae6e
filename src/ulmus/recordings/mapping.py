"""A mapping: where a user's files hold what a trial needs, and in which units, as a short YAML file."""

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Float
from pydantic import BeforeValidator, Field, model_validator

from ulmus.files.reading import read_yaml
from ulmus.settings import Settings, validated
from ulmus.trials.header import MAX_INPUTS
from ulmus.trials.validation import LARGEST_MV

TimeUnit = Literal["s", "ms", "us"]
VoltageUnit = Literal["V", "mV", "uV"]
MILLISECONDS = {"s": 1000.0, "ms": 1.0, "us": 0.001}
NANOAMPERES = {"A": 1e9, "mA": 1e6, "uA": 1e3, "nA": 1.0, "pA": 1e-3}
MILLIVOLTS = {"V": 1000.0, "mV": 1.0, "uV": 0.001}
_RANGE = re.compile(r"\d{1,9}|\d{0,9}:\d{0,9}")
LARGEST_MS = 1e10
"""No recording is longer (116 days)."""
Milliseconds = Annotated[float, Field(ge=1e-6, le=LARGEST_MS)]


def _selection(value: Any) -> Any:
    named = {"all": (":",), "none": ()}
    if isinstance(value, str) and value in named:
        return named[value]
    parts = tuple(str(part) for part in (value if isinstance(value, list | tuple) else [value]))
    for part in parts:
        if not _RANGE.fullmatch(part):
            raise ValueError(f'{part!r} is no number; give numbers, ranges such as "639:1278", all or none')
    return parts


Selection = Annotated[tuple[str, ...], BeforeValidator(_selection)]
"""Numbers and ranges without their end: ``[400, "600:640"]``, ``"639:1278"``, ``all`` or ``none``."""


def _several(value: Any) -> Any:
    return (value,) if isinstance(value, dict) else value


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class Inputs(Settings):
    """A group of inputs; groups are numbered one after the other."""

    times: str
    """Key of the event times; ``{input}`` in it stands for the number of the input, ``{trial}`` for a trial's name."""
    ids: str | None = None
    """Key of the input of each event; not needed where every input has a list of its own."""
    trial: str | None = None
    """Key of the trial number (from 0) of each event, where one list holds the events of all trials."""
    rows: Selection = (":",)
    """Which of the lists to take, where the key holds one list per input."""
    unit: TimeUnit | None = None
    """Unit of the times, where the file does not say it."""
    first_id: int = Field(default=0, ge=0, le=10**9)
    """Number that the file gives to the first input (1 in files from MATLAB)."""
    count: Annotated[int, Field(ge=1, le=MAX_INPUTS)] | None = None
    """Number of inputs, silent ones included; by default the number of lists, where every input has one."""
    inhibitory: Selection
    """Which inputs inhibit, as the file numbers them; ``none`` where all excite."""

    @model_validator(mode="after")
    def _one_number(self) -> "Inputs":
        if "{input}" in self.times and self.ids:
            raise ValueError("both `ids` and {input} in `times` say the input of an event; give one of them")
        if self.ids and self.count is None:
            raise ValueError("`ids` without `count`; say how many inputs there are, silent ones included")
        return self


class Sampled(Settings):
    """A trace, sampled evenly or at given times."""

    values: str
    """Key of the samples; two dimensions are trials and samples."""
    sampling_hz: Annotated[float, Field(ge=1e-3, le=1e9)] | None = None
    """Samples per second, where they are evenly spaced and the file does not say it."""
    times: str | None = None
    """Key of the sample times, instead of `sampling_hz`."""
    time_unit: TimeUnit | None = None
    """Unit of the sample times, where the file does not say it."""
    start_ms: Annotated[float, Field(ge=-LARGEST_MS, le=LARGEST_MS)] | None = None
    """Time of the first sample, by default what the file says or 0."""
    at: Literal["start", "end", "mean"] = "start"
    """Edge of a time bin that its value is taken at (published files: the start), or the mean over the bin."""

    @model_validator(mode="after")
    def _one_clock(self) -> "Sampled":
        if self.times and (self.sampling_hz or self.start_ms is not None):
            raise ValueError("both sample times and a sampling rate or start; give one of them")
        return self


class Voltage(Sampled):
    """A voltage."""

    unit: VoltageUnit | None = None
    """Unit of the samples, where the file does not say it."""


class Continuous(Sampled):
    """An input with a value at every time, such as an injected current; one trace may be that of all trials."""

    at: Literal["start", "end", "mean"] = "mean"
    """Mean over a time bin, so that no charge is lost, or the edge of it that the value is taken at."""
    unit: str | None = None
    """Unit of the values, where the file does not say it; A, mA, uA, nA and pA are stored as nA, others as they are."""
    scale: float = Field(default=1.0, gt=0, le=1e12)
    """A usual size of the values (in nA, of a current): a surrogate gets them divided by it."""


class FurtherSignal(Sampled):
    """A continuous answer of the neuron beside its voltage, such as calcium."""

    unit: str | None = None
    """Unit of the values, where the file does not say it; they are stored as they are."""


class OutputSpikes(Settings):
    """Spikes of the neuron: given, or local maxima of the somatic voltage above a threshold."""

    times: str | None = None
    """Key of the spike times; without it, spikes are found in the voltage."""
    trial: str | None = None
    """Key of the trial number (from 0) of each spike, where one list holds the spikes of all trials."""
    row: int | None = Field(default=None, ge=0, le=10**9)
    """Which of the lists to take, where the key holds one list per neuron."""
    unit: TimeUnit | None = None
    """Unit of the times, where the file does not say it."""
    threshold_mv: float = Field(default=-25.0, ge=-LARGEST_MV, le=LARGEST_MV)
    """Voltage that a spike exceeds."""
    refractory_ms: float = Field(default=1.0, ge=0, le=LARGEST_MS)
    """Of maxima that are closer than this, noise on one spike, only the highest counts."""

    @property
    def rows(self) -> Selection:
        """The list to take as a selection; empty where there is one list per trial."""
        return () if self.row is None else (str(self.row),)

    ids: ClassVar[None] = None
    first_id: ClassVar[int] = 0

    @model_validator(mode="after")
    def _given_or_detected(self) -> "OutputSpikes":
        if self.times and {"threshold_mv", "refractory_ms"} & self.model_fields_set:
            raise ValueError("both spike times and settings of a detection; give one of them")
        return self


class Trials(Settings):
    """How one long recording is cut into trials; or, where there is no trace, how long trials are."""

    duration_ms: Milliseconds
    """Length of a trial."""
    starts: str | None = None
    """Key of the times at which trials begin; without, pieces of a trace follow each other."""
    unit: TimeUnit | None = None
    """Unit of these times, where the file does not say it."""
    count: Annotated[int, Field(ge=1, le=10**7)] | None = None
    """Number of trials of a file without a trace, whose events say which trial they are of."""


class Gaps(Settings):
    """Times in which nothing was recorded, beside those in which the voltage is NaN."""

    starts: str
    """Key of the times at which gaps begin, on the clock of the events; ``{trial}`` in it stands for a trial's name."""
    stops: str
    """Key of the times at which they end."""
    trial: str | None = None
    """Key of the trial number (from 0) of each gap; without it, gaps are of all trials of a file or of the whole recording."""
    unit: TimeUnit | None = None
    """Unit of these times, where the file does not say it."""


def _none(value: Any) -> Any:
    return None if value == "none" else value


class Mapping(Settings):
    """Where to find inputs, voltage and output spikes.

    Trials are, by what is there: those that ``{trial}`` in the key of the voltage finds, the rows of a voltage of two
    dimensions, the pieces that `trials` cuts, or one per file. Without a voltage, a further signal stands in its place, or a
    continuous input or, without one, the output spikes do.
    """

    format: Literal["hdf5", "npz", "csv", "parquet", "nwb", "neo"] | None = None
    """Format of the files; by default as their names end. ``neo``: any that the package Neo reads."""
    dt_ms: Milliseconds = 1.0
    """Width of a time bin of the trials to be made."""
    trial_column: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    """Column that names the trial of every row of a table, or several that do so together: ``v`` beside it then has the key
    ``{trial}/v``, in a folder of CSV files ``soma/{trial}/v``."""
    trial_start: Literal["zero", "first_sample"] = "zero"
    """Where on its clock a trial begins: at 0, so that what is sampled before is left out, or at the first sample."""
    inputs: Annotated[tuple[Inputs, ...], BeforeValidator(_several)] = ()
    """One or more groups of inputs that have events."""
    voltage: Voltage | None = None
    """Voltage at the soma; left out where only spikes were recorded."""
    sites: dict[str, Voltage] = Field(default_factory=dict)
    """Voltage at further sites, by name."""
    signals: dict[str, FurtherSignal] = Field(default_factory=dict)
    """Further continuous answers of the neuron, by name, such as calcium; beside the voltage or in its place."""
    continuous: dict[str, Continuous] = Field(default_factory=dict)
    """Inputs with a value at every time, by name; they are numbered after the others."""
    output_spikes: Annotated[OutputSpikes | None, BeforeValidator(_none)] = OutputSpikes()
    """Spikes of the neuron; found in the voltage by default. ``none`` for a fit of the voltage alone."""
    trials: Trials | None = None
    """How one long recording is cut into trials."""
    gaps: Gaps | None = None
    """Times in which nothing was recorded, beside those in which the voltage is NaN."""

    @model_validator(mode="after")
    def _fits_together(self) -> "Mapping":
        if not self.inputs and not self.continuous:
            raise ValueError(
                "no input: give `inputs` with the times of events, `continuous` with currents, or both"
            )
        spikes = self.known_spikes
        if self.voltage is None and spikes is None and not self.signals:
            raise ValueError(
                "no answer of the neuron: give `voltage`, `output_spikes` with the `times` of its spikes, or `signals`"
            )
        if spikes is None and self.output_spikes and "output_spikes" in self.model_fields_set:
            raise ValueError("spikes are found in a voltage: give `voltage`, or the `times` of spikes")
        if self.voltage is None and self.sites:
            raise ValueError("`sites` are beside the soma: give its `voltage` too")
        if self.voltage is None and not self.signals and not self.continuous and self.trials is None:
            raise ValueError("no trace that says how long a trial is: give `trials` with its `duration_ms`")
        lists = (*self.inputs, spikes, self.gaps)
        if self.trial_column and any(group.trial for group in lists if group is not None):
            raise ValueError(
                "both `trial_column`, which names trials as the file does, and `trial`, which counts them from 0; give "
                "`trial_column`, and {trial} in the keys of every table"
            )
        if self.trial_start == "first_sample" and (
            self.trials is not None or not (self.voltage or self.signals or self.continuous)
        ):
            raise ValueError(
                "`trial_start: first_sample` is of trials with traces of their own; leave it out, or `trials`"
            )
        if self.trials is None:
            return self
        bins = self.trials.duration_ms / self.dt_ms
        if bins < 1 or abs(bins - round(bins)) > 1e-6:
            raise ValueError(f"trials of {self.trials.duration_ms} ms are not whole bins of {self.dt_ms} ms")
        marked = any(group.trial for group in self.inputs) or (spikes is not None and spikes.trial)
        if marked and not self.trials.count:
            raise ValueError(
                "both `trials`, which cuts one recording, and `trial` numbers of events; drop one, or give the `count` of "
                "trials where there is no trace"
            )
        return self

    @property
    def known_spikes(self) -> OutputSpikes | None:
        """How output spikes are known: they are found in the voltage, or have times of their own; None where neither is so."""
        spikes = self.output_spikes
        return None if spikes and not spikes.times and self.voltage is None else spikes


def load_mapping(path: str | Path) -> Mapping:
    """Read a mapping from a YAML file.

    Raises:
        ConfigError: no such file, not YAML, an unknown key (with the nearest known one) or a value out of range.
    """
    return parse_mapping(read_yaml(Path(path), "'inputs' and 'voltage'"), str(path))


def parse_mapping(values: dict[str, Any], origin: str = "mapping") -> Mapping:
    """A mapping from nested dictionaries.

    Raises:
        ConfigError: an unknown key (with the nearest known one), a missing one, or a value out of range.
    """
    return validated(Mapping, values, origin, "add it to the mapping")


def selected(selection: Selection, size: int, first: int = 0) -> Bool[np.ndarray, "size"]:
    """Which of `size` things, numbered from `first`, a selection names.

    Raises:
        ValueError: the selection goes beyond them.
    """
    mask = np.zeros(size, dtype=bool)
    for part in selection:
        start, colon, stop = part.partition(":")
        low = int(start) - first if start else 0
        high = (int(stop) - first if stop else size) if colon else low + 1
        if not (0 <= low <= high <= size):
            raise ValueError(f"{part!r} reaches beyond {first} to {first + size - 1}")
        mask[low:high] = True
    return mask


def event_bins(
    times_ms: Float[np.ndarray, "events"], dt_ms: float, rounding_ms: float
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Time bin of every event, ``floor(t / dt)``.

    A time that was stored a rounding error before the edge of a bin belongs to the bin after it.
    """
    slack = 1e-6 + min(rounding_ms / dt_ms, 1e-3)
    bins: np.ndarray[Any, np.dtype[np.int64]] = np.floor(times_ms / dt_ms + slack).astype(np.int64)
    return bins
