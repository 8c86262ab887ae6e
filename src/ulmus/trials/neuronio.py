"""NeuronIO as published: pickled simulations of a layer-5 pyramidal cell, in folders that say what they are for.

Each file holds the dictionaries ``Params`` and ``Results``; Beniaguev, Segev & London (2021), Neuron 109:2727.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from ulmus.errors import DataError
from ulmus.files.restricted_pickle import array, read_pickle
from ulmus.trials.header import MAX_INPUTS, Header
from ulmus.trials.trial import Trial
from ulmus.trials.validation import validate

PATTERN = "*sim__*"
VALID_FOLDER, TRAIN_FOLDERS, TEST_FOLDER = (
    "full_ergodic_train_batch_1",
    tuple(f"full_ergodic_train_batch_{i}" for i in range(2, 11)),
    "Data_test",
)
_REGIME = (
    "excitatorySynapseType",
    "inhibitorySynapseType",
    "num_bas_ex_spikes_per_100ms_range",
    "num_bas_ex_inh_spike_diff_per_100ms_range",
    "num_apic_ex_spikes_per_100ms_range",
    "num_apic_ex_inh_spike_diff_per_100ms_range",
)


class NeuronIOFile:
    """The simulations of one published file, read without running anything that it holds.

    Inputs are ordered as published: excitatory synapses of all segments, then inhibitory ones; at most one event per
    input and millisecond. Voltages are the stored ones at every ms (neither clipped nor scaled), output spike times
    the stored half-precision ones.

    Args:
        path: the file, plain or packed as ``.xz`` or ``.gz``.
        nexus: also read the voltage at the nexus of the apical tree, as a second site.

    Raises:
        DataError: the file is damaged, hostile, or not a file of NeuronIO; names file and key.
    """

    def __init__(self, path: str | Path, nexus: bool = False) -> None:
        self.path = Path(path)
        content = _dictionary(self.path, "the file", read_pickle(self.path))
        params = _dictionary(self.path, "Params", _entry(self.path, content, "Params"))
        results = _dictionary(self.path, "Results", _entry(self.path, content, "Results"))
        self._trials = _entry(self.path, results, "listOfSingleSimulationDicts")
        if not isinstance(self._trials, list) or not self._trials:
            raise _bad(self.path, "listOfSingleSimulationDicts", "holds no simulation")
        expected = trials_by_name(self.path)
        if expected is not None and expected != len(self._trials):
            raise _bad(
                self.path,
                "listOfSingleSimulationDicts",
                f"holds {len(self._trials)}, its name says {expected}",
            )
        self._segments = _array(self.path, params, "allSegmentsType", kinds="SU").size
        if not 1 <= self._segments <= MAX_INPUTS // 2:
            raise _bad(self.path, "allSegmentsType", f"has {self._segments} entries")
        seconds = _array(self.path, params, "totalSimDurationInSec")
        if seconds.size != 1 or not 0.001 <= seconds.item() < 1e6:
            raise _bad(self.path, "totalSimDurationInSec", f"is {seconds}")
        self._common = {
            "seed": _plain(params.get("randomSeed")),
            **{key: _plain(params[key]) for key in _REGIME if key in params},
        }
        self.header = Header(
            steps=round(seconds.item() * 1000),
            dt_ms=1.0,
            input_sign=np.repeat(np.array([1, -1], dtype=np.int8), self._segments),
            sites=("soma", "nexus") if nexus else ("soma",),
            source="NeuronIO",
            settings={"file": self.path.name},
        )

    def __len__(self) -> int:
        return len(self._trials)

    def trial(self, index: int) -> Trial:
        """Simulation `index`, checked.

        Raises:
            DataError: names file, simulation and key.
        """
        where = f"{self.path}, simulation {index}"
        simulation = _dictionary(where, "simulation", self._trials[index])
        excitatory = self._flat_events(where, simulation, "exInputSpikeTimes", 0)
        inhibitory = self._flat_events(where, simulation, "inhInputSpikeTimes", self._segments)
        events = np.unique(np.concatenate([excitatory, inhibitory]))  # by step, then input; each once
        step, source = np.divmod(events, self.header.inputs)
        voltages = [_array(where, simulation, f"{site}VoltageLowRes") for site in self.header.sites]
        if len({voltage.shape for voltage in voltages}) > 1:
            raise _bad(
                where, "nexusVoltageLowRes", f"has shape {voltages[1].shape}, the soma {voltages[0].shape}"
            )
        trial = Trial(
            event_step=step.astype(np.int32),
            event_input=source.astype(np.uint16),
            voltage_mv=np.stack(voltages, axis=-1).astype(np.float32),
            spike_time_ms=_array(where, simulation, "outputSpikeTimes").astype(np.float64).reshape(-1),
            attributes={"file": self.path.name, "trial": index, **self._common},
        )
        validate(trial, self.header, where)
        return trial

    def _flat_events(
        self, where: str, simulation: Mapping[Any, Any], key: str, first: int
    ) -> Shaped[np.ndarray, "events"]:
        """``step * inputs + input`` of all events of one kind; segments that were silent are absent."""
        by_segment = _dictionary(where, key, _entry(where, simulation, key))
        parts = [np.empty(0, dtype=np.int64)]
        for segment, times in by_segment.items():
            if not isinstance(segment, int) or not 0 <= segment < self._segments:
                raise _bad(where, key, f"holds segment {segment!r} of {self._segments}")
            try:
                steps = array(times, kinds="iu")
            except ValueError as error:
                raise _bad(where, key, f"of segment {segment} is {error}") from error
            if steps.size and not (steps.min() >= 0 and steps.max() < self.header.steps):
                found = f"of segment {segment} runs from {steps.min()} to {steps.max()} ms of {self.header.steps} ms"
                raise _bad(where, key, found)
            parts.append(steps.reshape(-1).astype(np.int64) * self.header.inputs + first + segment)
        return np.concatenate(parts)


def trials_by_name(path: Path) -> int | None:
    """How many simulations a published file name promises, None when it does not say."""
    match = re.search(r"__(\d+)_simulationRuns", path.name)
    return int(match[1]) if match else None


def published_splits(root: str | Path) -> dict[str, list[Path]]:
    """The files for training (batches 2-10), validation (batch 1) and testing in the published folders under `root`.

    Raises:
        DataError: none of the published folders is there.
    """
    folders = {"train": TRAIN_FOLDERS, "valid": (VALID_FOLDER,), "test": (TEST_FOLDER,)}
    splits = {
        split: [file for name in names for file in pickles_in(Path(root) / name)]
        for split, names in folders.items()
    }
    found = {split: files for split, files in splits.items() if files}
    if not found:
        raise DataError(
            f"{root} holds no files {PATTERN} in {VALID_FOLDER}, ..., {TEST_FOLDER}; expected the published folders; "
            "give the folder that holds them"
        )
    return found


def pickles_in(folder: Path) -> list[Path]:
    """The published files in a folder, in order."""
    return sorted(file for file in folder.glob(PATTERN) if file.is_file())


def _entry(where: str | Path, values: Mapping[Any, Any], key: str) -> Any:
    if key not in values:
        raise _bad(where, key, "is missing")
    return values[key]


def _dictionary(where: str | Path, key: str, value: Any) -> Mapping[Any, Any]:
    if not isinstance(value, dict):
        raise _bad(where, key, f"is a {type(value).__name__}, not a dictionary")
    return value


def _array(
    where: str | Path, values: Mapping[Any, Any], key: str, kinds: str = "biuf"
) -> Shaped[np.ndarray, "..."]:
    value = _entry(where, values, key)
    try:
        return array(value, kinds)
    except ValueError as error:
        raise _bad(where, key, f"is {error}") from error


def _plain(value: Any) -> Any:
    """A parameter as JSON can hold it."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    try:
        return array(value).tolist()
    except ValueError:
        return None


def _bad(where: str | Path, key: str, found: str) -> DataError:
    return DataError(
        f"{where}: {key} {found}; expected the layout of a published NeuronIO file; download the file again"
    )
