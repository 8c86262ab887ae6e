"""Compare the simulated layer-5 pyramidal cell with the same cell in NEURON.

The reference folder holds the published reconstruction ``cell1.asc`` and what NEURON made of it: the somatic voltage
at steps of current (``neuron_step_currents.npz``), the inputs of driven trials in the published file layout
(``sim__*``), and their voltage and exact spike times (``neuron_driven_trials.npz``).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float64

from ulmus.errors import ConfigError, DataError
from ulmus.teachers.l5pc.cell import L5PC
from ulmus.teachers.morphology_files import load_morphology
from ulmus.teachers.teacher import SPIKE_ABOVE_MV, check_step
from ulmus.trials import TrialSource
from ulmus.trials.neuronio import NeuronIOFile
from ulmus.trials.spike_matching import matched_spikes

CLIP_MV = -55.0
"""Voltage above this does not count as sub-threshold (Beniaguev et al. 2021)."""
FIRST_SPIKES = 5
MORPHOLOGY, STEPS, DRIVEN, INPUTS = (
    "cell1.asc",
    "neuron_step_currents.npz",
    "neuron_driven_trials.npz",
    "sim__*",
)
_STEP_KEY = "soma_mv_at_{}_nA"


class Comparison(NamedTuple):
    """One simulation beside NEURON's: somatic voltage (mV) at every ms, spike times (ms)."""

    name: str
    rest_step: int | None
    """Step before which no current flows; None for driven trials."""
    voltage_mv: Float64[np.ndarray, "time"]
    neuron_mv: Float64[np.ndarray, "time"]
    spike_ms: Float64[np.ndarray, "spikes"]
    neuron_spike_ms: Float64[np.ndarray, "neuron_spikes"]

    @property
    def driven(self) -> bool:
        """Whether synapses drove the cell, and no current."""
        return self.rest_step is None

    @property
    def matched(self) -> int:
        """Spikes of NEURON with a simulated spike within 1 ms, one to one."""
        return len(matched_spikes(self.neuron_spike_ms, self.spike_ms, 1.0))

    @property
    def first_spikes_differ_ms(self) -> float | None:
        """Largest difference among the first five spikes; None without spikes in both."""
        count = min(FIRST_SPIKES, len(self.spike_ms), len(self.neuron_spike_ms))
        return float(np.abs(self.spike_ms[:count] - self.neuron_spike_ms[:count]).max()) if count else None

    @property
    def explained_variance(self) -> float:
        """Share of the variance of NEURON's voltage, cut at -55 mV, that the simulation explains."""
        return _explained([self])

    def unmatched(self) -> list[tuple[float, float | None]]:
        """Spikes of NEURON without a partner within 1 ms, and the signed distance (ms) of the nearest simulated one."""
        found = set(matched_spikes(self.neuron_spike_ms, self.spike_ms, 1.0)[:, 0].tolist())
        lags = [self.spike_ms - time for time in self.neuron_spike_ms]
        return [
            (float(time), float(lag[np.abs(lag).argmin()]) if len(lag) else None)
            for index, (time, lag) in enumerate(zip(self.neuron_spike_ms, lags, strict=True))
            if index not in found
        ]


class Agreement(NamedTuple):
    """How well driven trials agree, all of them together."""

    reference_spikes: int
    spikes: int
    matched: int
    """Spikes of the reference with a simulated one within 1 ms."""
    explained_variance: float

    @property
    def matched_share(self) -> float:
        """Share of the reference's spikes that are matched; 1 where there are none."""
        return self.matched / self.reference_spikes if self.reference_spikes else 1.0


def agreement(runs: list[Comparison]) -> Agreement:
    """Spikes counted over all runs, variance explained of all their voltage."""
    return Agreement(
        sum(len(run.neuron_spike_ms) for run in runs),
        sum(len(run.spike_ms) for run in runs),
        sum(run.matched for run in runs),
        _explained(runs),
    )


class Requirement(NamedTuple):
    """What is asked of the simulation, and what it reached."""

    name: str
    required: str
    reached: str
    met: bool


def compare_with_neuron(reference: str | Path, dt_ms: float = 0.025) -> Iterator[Comparison]:
    """Repeat every simulation of a reference folder, one after another.

    Args:
        reference: Folder with the published cell and NEURON's simulations of it.
        dt_ms: Integration step.

    Raises:
        ConfigError: A step that cannot be used, or a folder without these files.
        DataError: A damaged file.
    """
    check_step(dt_ms)
    folder = Path(reference)
    inputs = reference_inputs(folder)
    cell = published_cell(folder)
    steps, driven = _arrays(folder / STEPS), _arrays(folder / DRIVEN)
    try:
        yield from _steps(cell, steps, dt_ms)
        yield from _driven(cell, driven, NeuronIOFile(inputs), dt_ms)
    except KeyError as error:
        raise DataError(f"{folder}: {error.args[0]}; expected the arrays of a reference folder.") from error


def compare_driven(reference: str | Path, dt_ms: float) -> Iterator[Comparison]:
    """Repeat the driven trials of a reference folder alone, to see what another step changes; errors as above."""
    check_step(dt_ms)
    folder = Path(reference)
    inputs = NeuronIOFile(reference_inputs(folder))
    yield from _driven(published_cell(folder), _arrays(folder / DRIVEN), inputs, dt_ms)


def published_cell(reference: str | Path) -> L5PC:
    """The cell whose reconstruction lies in a reference folder."""
    return L5PC(load_morphology(Path(reference) / MORPHOLOGY))


def compare_with_trials(cell: L5PC, trials: TrialSource, dt_ms: float = 0.025) -> Iterator[Comparison]:
    """Repeat trials of a cell that somebody else simulated, one after another.

    Args:
        cell: The cell, such as `published_cell`.
        trials: The trials, with its inputs.
        dt_ms: Integration step.

    Raises:
        ConfigError: A step that cannot be used, or trials of another cell.
    """
    check_step(dt_ms)
    if trials.header.inputs != len(cell.input_sign) or trials.header.dt_ms != 1.0:
        raise ConfigError(
            f"{trials!r}: {trials.header.inputs} inputs, steps of {trials.header.dt_ms} ms; expected the "
            f"{len(cell.input_sign)} inputs of the cell {cell.morphology.name} and 1 ms. Name trials of that cell."
        )
    for index in range(len(trials)):
        given = trials.trial(index)
        ours = cell.run_trial(given.event_step, given.event_input, trials.header.steps, dt_ms=dt_ms)
        voltage, theirs = (trial.voltage_mv[:, 0].astype(np.float64) for trial in (ours, given))
        yield Comparison(f"trial {index}", None, voltage, theirs, ours.spike_time_ms, given.spike_time_ms)


def reference_inputs(folder: Path) -> Path:
    """The file with the inputs of the driven trials, once every file of a reference folder is there.

    Raises:
        ConfigError: Files are missing.
    """
    inputs = sorted(folder.glob(INPUTS))
    missing = [name for name in (MORPHOLOGY, STEPS, DRIVEN) if not (folder / name).is_file()]
    if missing or not inputs:
        raise ConfigError(
            f"{folder} lacks {', '.join([*missing, *([] if inputs else [INPUTS])])}; expected a folder with the published "
            f"reconstruction (cell1.asc, ModelDB 139653) and NEURON's simulations of it. None is shipped: the "
            f"reconstruction is not ours to give. Name the folder of yours."
        )
    return inputs[0]


def count_comparisons(reference: str | Path) -> int:
    """How many simulations a reference folder asks for."""
    folder = Path(reference)
    reference_inputs(folder)
    return len(_currents(_arrays(folder / STEPS))) + len(_arrays(folder / DRIVEN)["soma_mv"])


def requirements(runs: list[Comparison]) -> list[Requirement]:
    """What is asked of the simulation, and what these runs reached."""
    steps, driven = [run for run in runs if not run.driven], [run for run in runs if run.driven]
    rest = max(abs(float(run.voltage_mv[at] - run.neuron_mv[at])) for run in steps for at in _rest(run))
    equal = sum(len(run.spike_ms) == len(run.neuron_spike_ms) for run in steps)
    first = max((run.first_spikes_differ_ms or 0.0 for run in steps), default=0.0)
    return [
        Requirement("Rest potential", "within 0.01 mV of NEURON", f"{rest:.4f} mV apart", rest <= 0.01),
        Requirement(
            "Spike count at steps of current",
            "equal at every step",
            f"equal at {equal} of {len(steps)}",
            equal == len(steps),
        ),
        Requirement(
            f"First {FIRST_SPIKES} spikes at steps of current",
            "within 0.5 ms",
            f"at most {first:.2f} ms apart",
            first <= 0.5,
        ),
        *requirements_of_driven(driven),
    ]


def requirements_of_driven(driven: list[Comparison]) -> list[Requirement]:
    """The part that driven trials alone decide."""
    spikes, ours, found, explained = reached = agreement(driven)
    return [
        Requirement("Spike count of driven trials", f"equal: {spikes} in NEURON", f"{ours}", ours == spikes),
        Requirement(
            "Driven spikes matched within 1 ms",
            "at least 95 %",
            f"{100 * reached.matched_share:.1f} % ({found} of {spikes})",
            reached.matched_share >= 0.95,
        ),
        Requirement(
            "Sub-threshold variance explained, driven",
            "at least 99 %",
            f"{100 * explained:.2f} %",
            explained >= 0.99,
        ),
    ]


def _rest(run: Comparison) -> list[int]:
    return [run.rest_step - 1] if run.rest_step else []


def _steps(cell: L5PC, arrays: dict[str, Any], dt_ms: float) -> Iterator[Comparison]:
    every = float(arrays["sample_every_ms"])
    start, duration = float(arrays["stimulus_delay_ms"]), float(arrays["stimulus_duration_ms"])
    per_ms = round(1 / every)
    none = np.zeros(0, dtype=np.int64)
    for name in _currents(arrays):
        trace = arrays[_STEP_KEY.format(name)].astype(np.float64)
        time_ms = np.arange(len(trace) // per_ms)
        current = np.where((time_ms >= start) & (time_ms < start + duration), float(name), 0.0)
        trial = cell.run_trial(none, none, len(time_ms), dt_ms=dt_ms, current_na=current)
        inside = trace[1:-1]
        peak = (inside > trace[:-2]) & (inside > trace[2:]) & (inside > SPIKE_ABOVE_MV)
        times = (np.flatnonzero(peak) + 1) * every
        ours = trial.voltage_mv[:, 0].astype(np.float64)
        yield Comparison(
            f"{name} nA",
            int(start),
            ours,
            trace[::per_ms][: len(ours)],
            np.asarray(trial.spike_time_ms, dtype=np.float64),
            times,
        )


def _driven(cell: L5PC, arrays: dict[str, Any], inputs: NeuronIOFile, dt_ms: float) -> Iterator[Comparison]:
    ends = np.cumsum(arrays["spikes_per_trial"])
    if len(inputs) != len(ends):
        raise DataError(
            f"{inputs.path} holds {len(inputs)} trials, {DRIVEN} {len(ends)}; expected the same trials."
        )
    trains = np.split(arrays["exact_spike_time_ms"].astype(np.float64), ends[:-1])
    for index, (times, trace) in enumerate(zip(trains, arrays["soma_mv"], strict=True)):
        events = inputs.trial(index)
        trial = cell.run_trial(events.event_step, events.event_input, len(trace), dt_ms=dt_ms)
        ours = trial.voltage_mv[:, 0].astype(np.float64)
        spikes = np.asarray(trial.spike_time_ms, dtype=np.float64)
        yield Comparison(f"driven trial {index}", None, ours, trace.astype(np.float64), spikes, times)


def _currents(arrays: dict[str, Any]) -> list[str]:
    """Currents (nA) of the steps, as written in the keys, ascending."""
    before, after = _STEP_KEY.split("{}")
    names = [
        key[len(before) : -len(after)] for key in arrays if key.startswith(before) and key.endswith(after)
    ]
    return sorted(names, key=float)


def _explained(runs: list[Comparison]) -> float:
    ours = np.concatenate([np.minimum(run.voltage_mv, CLIP_MV) for run in runs])
    theirs = np.concatenate([np.minimum(run.neuron_mv, CLIP_MV) for run in runs])
    return float(1 - (ours - theirs).var() / theirs.var())


def _arrays(path: Path) -> dict[str, Any]:
    try:
        with np.load(path) as file:
            return {key: file[key] for key in file}
    except (OSError, EOFError, ValueError, BadZipFile) as error:
        raise DataError(f"{path} cannot be read ({error}); expected a NumPy archive.") from error
