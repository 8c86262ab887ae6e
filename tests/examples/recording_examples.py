"""One set of three trials in many layouts, and what each should become."""

import csv
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from ulmus.recordings.mapping import Mapping, parse_mapping

TRIALS, INPUTS, STEPS, PER_MS = 3, 5, 200, 8
INHIBITORY = [3, 4]


class Recording(NamedTuple):
    """Events as (time in ms, input), voltage in mV at 8 samples per ms, spikes in ms where the voltage peaks."""

    time_ms: np.ndarray
    input: np.ndarray
    voltage_mv: np.ndarray
    spike_ms: np.ndarray


def recordings() -> list[Recording]:
    found = []
    for seed in range(TRIALS):
        random = np.random.default_rng(seed)
        # Quarters of a ms, also at the edges of bins, in the order of a file: by time.
        time = np.sort(random.integers(0, STEPS * 4, 60)) / 4
        event_input = random.integers(0, INPUTS, 60)
        event_input[:INPUTS] = np.arange(INPUTS)
        voltage = -70 + random.integers(0, 40, STEPS * PER_MS) / 8  # exact in float32
        spikes = np.array([20.0, 20.0 + 10 * seed + 5.125, 199.5])[: seed + 1]
        voltage[(spikes * PER_MS).astype(int)] = 20.0
        found.append(Recording(time, event_input, voltage, spikes))
    return found


def with_trial(arrays: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate(arrays), np.repeat(np.arange(len(arrays)), [len(a) for a in arrays])


def hdf5_rows(folder: Path) -> tuple[list[Path], Mapping]:
    """Trials along the first axis; one list of all events with the trial of each; seconds and volts."""
    trials = recordings()
    with h5py.File(folder / "rows.h5", "w") as file:
        file["in/t"], file["in/trial"] = with_trial([r.time_ms / 1000 for r in trials])
        file["in/id"] = np.concatenate([r.input for r in trials]) + 1  # as MATLAB counts
        file["v"] = np.stack([r.voltage_mv for r in trials]) / 1000
        file["v"].attrs["unit"] = "volts"
        file["spikes/t"], file["spikes/trial"] = with_trial([r.spike_ms for r in trials])
    inputs = {
        "times": "/in/t",
        "ids": "/in/id",
        "trial": "/in/trial",
        "unit": "s",
        "first_id": 1,
        "count": INPUTS,
    }
    return [folder / "rows.h5"], parse_mapping(
        {
            "inputs": {**inputs, "inhibitory": "4:6"},
            "voltage": {"values": "/v", "sampling_hz": 8000},
            "output_spikes": {"times": "spikes/t", "trial": "spikes/trial", "unit": "ms"},
        }
    )


def hdf5_groups(folder: Path) -> tuple[list[Path], Mapping]:
    """A group per trial, in it a list per input; two groups of inputs; sample times; spikes to be detected."""
    with h5py.File(folder / "groups.hdf5", "w") as file:
        for index, r in enumerate(recordings()):
            for number in range(INPUTS):
                kind = f"inh/{number - 3}" if number in INHIBITORY else f"exc/{number}"
                file[f"run {index + 8}/{kind}"] = r.time_ms[r.input == number] * 1000
            file[f"run {index + 8}/v"] = r.voltage_mv
        file["t"] = np.arange(STEPS * PER_MS) / PER_MS
    groups = [
        {"times": "run {trial}/exc/{input}", "unit": "us", "inhibitory": "none"},
        {"times": "run {trial}/inh/{input}", "unit": "us", "inhibitory": "all"},
    ]
    voltage = {"values": "run {trial}/v", "unit": "mV", "times": "t", "time_unit": "ms"}
    return [folder / "groups.hdf5"], parse_mapping({"inputs": groups, "voltage": voltage})


def hdf5_ragged(folder: Path) -> tuple[list[Path], Mapping]:
    """HDF5's own lists of different lengths, one per trial."""
    with h5py.File(folder / "ragged.h5", "w") as file:
        for key, field, kind in (("t", "time_ms", "f8"), ("id", "input", "u2"), ("out", "spike_ms", "f8")):
            lists = file.create_dataset(key, (TRIALS,), dtype=h5py.vlen_dtype(np.dtype(kind)))
            for index, r in enumerate(recordings()):
                lists[index] = getattr(r, field)
        file["v"] = np.stack([r.voltage_mv for r in recordings()])
    return [folder / "ragged.h5"], parse_mapping(
        {
            "inputs": {"times": "t", "ids": "id", "unit": "ms", "count": INPUTS, "inhibitory": [3, "4:"]},
            "voltage": {"values": "v", "sampling_hz": 8000, "unit": "mV"},
            "output_spikes": {"times": "out", "unit": "ms"},
        }
    )


def npz_cut(folder: Path) -> tuple[list[Path], Mapping]:
    """One long recording, cut into pieces; float32 seconds."""
    trials, start = recordings(), np.arange(TRIALS) * float(STEPS)
    np.savez(
        folder / "cut.npz",
        t=(np.concatenate([s + r.time_ms for s, r in zip(start, trials, strict=True)]) / 1000).astype(
            np.float32
        ),
        id=np.concatenate([r.input for r in trials]).astype(float),
        v=np.concatenate([r.voltage_mv for r in trials]),
        names=np.array([{}], dtype=object),
    )
    inputs = {"times": "t", "ids": "id", "unit": "s", "count": INPUTS, "inhibitory": INHIBITORY}
    voltage = {"values": "v", "unit": "mV", "sampling_hz": 8000}
    return [folder / "cut.npz"], parse_mapping(
        {"inputs": inputs, "voltage": voltage, "trials": {"duration_ms": STEPS}}
    )


def csv_folders(folder: Path) -> tuple[list[Path], Mapping]:
    """A folder of CSV files per trial, as a spreadsheet leaves them."""
    for index, r in enumerate(recordings()):
        place = folder / f"cell {index}"
        place.mkdir()
        tables = {
            "events": (["time (ms)", "input"], zip(r.time_ms, r.input, strict=True)),
            "soma": (["time", "voltage"], zip(np.arange(STEPS * PER_MS) / 8000, r.voltage_mv, strict=True)),
            "spikes": (["time"], ([t] for t in r.spike_ms)),
        }
        for name, (header, rows) in tables.items():
            with (place / f"{name}.csv").open("w", newline="", encoding="utf-8-sig") as file:
                writer = csv.writer(file, delimiter=";" if name == "events" else ",")
                writer.writerows([header, *rows])
    return sorted(folder.glob("cell *")), parse_mapping(
        {
            "inputs": {
                "times": "events/time (ms)",
                "ids": "events/input",
                "count": INPUTS,
                "inhibitory": [3, 4],
            },
            "voltage": {"values": "soma/voltage", "unit": "mV", "times": "soma/time", "time_unit": "s"},
            "output_spikes": {"times": "spikes/time", "unit": "ms"},
        }
    )


def csv_tables(folder: Path) -> tuple[list[Path], Mapping]:
    """A folder of tables with all sweeps below each other, numbered from 7; the events sorted by time."""
    tables: dict[str, list[list[float]]] = {"events": [], "soma": [], "spikes": []}
    for sweep, r in enumerate(recordings(), start=7):
        tables["events"] += [[sweep, t, i] for t, i in zip(r.time_ms, r.input, strict=True)]
        tables["soma"] += [[k / 8000, sweep, v] for k, v in enumerate(r.voltage_mv)]
        tables["spikes"] += [[t, sweep] for t in r.spike_ms]
    tables["events"].sort(key=lambda row: row[1])
    names = {
        "events": ["sweep", "time (ms)", "input"],
        "soma": ["time", "sweep", "v"],
        "spikes": ["time", "sweep"],
    }
    for name, rows in tables.items():
        with (folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([names[name], *rows])
    return [folder], parse_mapping(
        {
            "format": "csv",
            "trial_column": "sweep",
            "inputs": {
                "times": "events/{trial}/time (ms)",
                "ids": "events/{trial}/input",
                "count": INPUTS,
                "inhibitory": [3, 4],
            },
            "voltage": {
                "values": "soma/{trial}/v",
                "unit": "mV",
                "times": "soma/{trial}/time",
                "time_unit": "s",
            },
            "output_spikes": {"times": "spikes/{trial}/time", "unit": "ms"},
        }
    )


def nwb_session(folder: Path) -> tuple[list[Path], Mapping]:
    """A session as NWB lays it out: units, one of them the neuron itself, a trace in mV with conversion, trials."""
    trials, start = recordings(), 1000 + 1000 * np.arange(TRIALS)
    lists = [
        np.concatenate([s + r.time_ms[r.input == n] for s, r in zip(start, trials, strict=True)]) / 1000
        for n in range(INPUTS)
    ]
    lists.append(np.concatenate([s + r.spike_ms for s, r in zip(start, trials, strict=True)]) / 1000)
    trace = np.full(4 * 1000 * PER_MS, -70.0)
    for s, r in zip(start, trials, strict=True):
        trace[(s - 500) * PER_MS :][: STEPS * PER_MS] = r.voltage_mv
    write_nwb(folder / "session.nwb", lists, trace, start / 1000)
    return [folder / "session.nwb"], parse_mapping(NWB_MAPPING)


NWB_MAPPING = {
    "inputs": {"times": "/units/spike_times", "rows": "0:5", "inhibitory": "3:"},
    "voltage": {"values": "/acquisition/soma"},
    "output_spikes": {"times": "/units/spike_times", "row": 5},
    "trials": {"starts": "/intervals/trials/start_time", "duration_ms": STEPS},
}


def write_nwb(path: Path, lists: list[np.ndarray], trace_mv: np.ndarray, starts_s: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        file["units/spike_times"] = np.concatenate(lists)
        file["units/spike_times_index"] = np.cumsum([len(one) for one in lists]).astype(np.uint8)
        file["intervals/trials/start_time"] = starts_s
        data = file.create_dataset("acquisition/soma/data", data=trace_mv)
        data.attrs.update({"conversion": 0.001, "offset": 0.0, "unit": "volts"})
        file["acquisition/soma/starting_time"] = 0.5
        file["acquisition/soma/starting_time"].attrs.update({"rate": 8000.0, "unit": "seconds"})


LAYOUTS = [hdf5_rows, hdf5_groups, hdf5_ragged, npz_cut, csv_folders, csv_tables, nwb_session]
