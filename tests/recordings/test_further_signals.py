"""Calcium and other signals beside the voltage, or in its place, in files of several kinds."""

import h5py
import numpy as np
import pytest
from recording_examples import PER_MS, STEPS, TRIALS, recordings

from ulmus.errors import ConfigError, DataError
from ulmus.recordings.conversion import convert
from ulmus.recordings.mapping import parse_mapping
from ulmus.report.conversion_page import conversion_figure, summarise

SLOW_HZ, EVENTS = (
    500.0,
    {"times": "t", "ids": "id", "trial": "trial", "unit": "ms", "count": 5, "inhibitory": [3, 4]},
)


def calcium(index: int) -> np.ndarray:
    """Sampled at 500 Hz, coarser than a bin."""
    return 100 + 10 * index + np.arange(STEPS // 2 + 1) % 7


def wanted(index: int) -> np.ndarray:
    return np.interp(np.arange(STEPS), 2.0 * np.arange(STEPS // 2 + 1), calcium(index))


def write(path):
    trials = recordings()
    with h5py.File(path, "w") as file:
        file["t"] = np.concatenate([r.time_ms for r in trials])
        file["id"] = np.concatenate([r.input for r in trials])
        file["trial"] = np.repeat(np.arange(TRIALS), [len(r.time_ms) for r in trials])
        file["v"] = np.stack([r.voltage_mv for r in trials])
        file["ca"] = np.stack([calcium(k) for k in range(TRIALS)])
        file["ca"].attrs["unit"] = "nM"
    return path


@pytest.mark.parametrize("beside", [True, False])
def test_hdf5(tmp_path, beside):
    mapping = {"inputs": EVENTS, "signals": {"calcium": {"values": "ca", "sampling_hz": SLOW_HZ}}}
    mapping |= {"voltage": {"values": "v", "unit": "mV", "sampling_hz": 8000}} if beside else {}
    store = convert(write(tmp_path / "a.h5"), tmp_path / "store", mapping=parse_mapping(mapping))
    header = store.header
    assert (header.signals, header.spikes, header.sites) == (
        (("calcium", "nM"),),
        beside,
        ("soma",) if beside else (),
    )
    assert store.verify() == []
    for index in range(TRIALS):
        np.testing.assert_allclose(store.trial(index).signals[:STEPS, 0], wanted(index), rtol=1e-6)
        assert store.trial(index).event_step.size == 60
    summary = summarise(store)
    assert dict(summary.rows)["calcium"] == "100 to 126 nM"
    figure = conversion_figure(store, summary)
    drawn = {trace.yaxis or "y" for trace in figure.data}
    assert {f"yaxis{axis[1:]}" for axis in drawn} <= set(figure.to_dict()["layout"])
    assert "calcium" in {trace.name for trace in figure.data}


def test_csv(tmp_path):
    for index, r in enumerate(recordings()):
        rows = [f"{t},{i}" for t, i in zip(r.time_ms, r.input, strict=True)]
        place = tmp_path / f"cell {index}"
        place.mkdir()
        (place / "events.csv").write_text("\n".join(["time (ms),input", *rows]))
        samples = [f"{2 * k},{value}" for k, value in enumerate(calcium(index))]
        (place / "imaging.csv").write_text("\n".join(["time (ms),dF", *samples]))
    mapping = {
        "inputs": {"times": "events/time (ms)", "ids": "events/input", "count": 5, "inhibitory": [3, 4]},
        "signals": {"fluorescence": {"values": "imaging/dF", "times": "imaging/time (ms)", "unit": "dF/F"}},
    }
    folders = [str(tmp_path / f"cell {index}") for index in range(TRIALS)]
    store = convert(folders, tmp_path / "store", mapping=parse_mapping(mapping))
    assert store.header.signals == (("fluorescence", "dF/F"),)
    for index in range(TRIALS):
        np.testing.assert_allclose(store.trial(index).signals[:STEPS, 0], wanted(index), rtol=1e-6)


def test_nwb_brings_unit_rate_and_conversion(tmp_path):
    with h5py.File(tmp_path / "a.nwb", "w") as file:
        for index, r in enumerate(recordings()):
            for name, values, unit, conversion, hz in (
                (f"acquisition/sweep_{index}", r.voltage_mv, "volts", 1e-3, 1000.0 * PER_MS),
                (f"processing/ophys/ca_{index}", calcium(index), "molar", 1e-9, SLOW_HZ),
                (f"stimulus/presentation/sweep_{index}", r.voltage_mv, "amperes", 1e-12, 1000.0 * PER_MS),
            ):
                data = file.create_dataset(f"{name}/data", data=values)
                data.attrs["unit"], data.attrs["conversion"] = unit, conversion
                file[f"{name}/starting_time"] = 0.0
                file[f"{name}/starting_time"].attrs["rate"] = hz
    mapping = {
        "continuous": {"current": {"values": "/stimulus/presentation/sweep_{trial}", "scale": 0.1}},
        "voltage": {"values": "/acquisition/sweep_{trial}"},
        "signals": {"calcium": {"values": "/processing/ophys/ca_{trial}"}},
    }
    store = convert(tmp_path / "a.nwb", tmp_path / "store", mapping=parse_mapping(mapping))
    assert store.header.signals == (("calcium", "M"),)
    for index in range(TRIALS):
        np.testing.assert_allclose(store.trial(index).signals[:STEPS, 0], 1e-9 * wanted(index), rtol=1e-6)


def test_what_a_signal_lacks_is_said(tmp_path):
    path = write(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        file["few"] = np.zeros((TRIALS + 1, 101))
        file["bare"] = file["ca"][()]
    voltage = {"values": "v", "unit": "mV", "sampling_hz": 8000}

    def converted(key, **more):
        signals = {"calcium": {"values": key, "sampling_hz": SLOW_HZ}}
        mapping = parse_mapping({"inputs": EVENTS, "voltage": voltage, "signals": signals, **more})
        return convert(path, tmp_path / "store", mapping=mapping)

    with pytest.raises(ConfigError, match="unit of the signal 'calcium' in bare.*add `unit`"):
        converted("bare")
    with h5py.File(path, "r+") as file:
        file["few"].attrs["unit"] = "nM"
    with pytest.raises(DataError, match="signal 'calcium' has other trials than the voltage"):
        converted("few")
    with pytest.raises(ConfigError, match="spikes are found in a voltage"):
        parse_mapping(
            {"inputs": EVENTS, "signals": {"c": {"values": "ca"}}, "output_spikes": {"threshold_mv": -20}}
        )
    with pytest.raises(ConfigError, match="no answer of the neuron.*`signals`"):
        parse_mapping({"inputs": EVENTS})
