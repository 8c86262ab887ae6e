"""Sweeps that Neo reads: ABF as another package writes it, and whole blocks with units and clocks of their own."""

import pickle

import numpy as np
import pytest

from ulmus.errors import DataError
from ulmus.files.containers import open_container
from ulmus.recordings.conversion import convert
from ulmus.recordings.mapping import parse_mapping

neo = pytest.importorskip("neo", reason="neo, which reads ABF, is not installed")


def test_an_abf_file_as_pyabf_writes_it(tmp_path):
    writer = pytest.importorskip("pyabf.abfWriter", reason="pyabf, which writes ABF, is not installed")
    voltage = np.random.default_rng(0).normal(-60, 3, (3, 4000))  # 3 sweeps of 200 ms
    writer.writeABF1(voltage, str(tmp_path / "a.abf"), 20000, units="mV")
    file = open_container(tmp_path / "a.abf")
    (key,) = file.entries
    assert file.entries[key].unit == "mV"
    # Such files hold their sweeps end to end, and the same signal stands for a current here.
    series = key.removesuffix("/data")
    mapping = {
        "voltage": {"values": series, "unit": "mV"},
        "continuous": {"current": {"values": series, "unit": "pA", "scale": 0.1}},
        "trials": {"duration_ms": 200},
    }
    store = convert(tmp_path / "a.abf", tmp_path / "store", mapping=parse_mapping(mapping))
    assert len(store) == 3
    for index, sweep in enumerate(voltage):
        trial = store.trial(index)
        np.testing.assert_allclose(trial.voltage_mv[:, 0], sweep[::20], atol=0.02)  # 16 bits
        np.testing.assert_allclose(trial.continuous[:, 0], sweep[::20] / 1000, atol=2e-5)


def test_every_sweep_and_channel_has_unit_and_clock_from_its_beginning(tmp_path, monkeypatch):
    import quantities as q

    block = neo.Block()
    for number in range(2):
        segment = neo.Segment()
        begin = 5.0 * number * q.s
        for name, unit, scale in (("Vm", "V", 1e-3), ("Im/1", "pA", 50.0)):
            values = (number - 60 + np.sin(np.arange(4000) / 50)) * scale
            segment.analogsignals.append(
                neo.AnalogSignal(
                    values[:, None], units=unit, sampling_rate=10 * q.kHz, t_start=begin, name=name
                )
            )
        spikes = ([20.0, 310.0] * q.ms + begin).rescale("s")
        segment.spiketrains.append(neo.SpikeTrain(spikes, t_start=begin, t_stop=begin + 0.4 * q.s))
        block.segments.append(segment)

    class Reader:
        def read(self):
            return [block]

    monkeypatch.setattr(neo.io, "get_io", lambda path: Reader())
    (tmp_path / "a.xyz").write_bytes(b"")
    mapping = {
        "format": "neo",
        "voltage": {"values": "sweep_{trial}/Vm"},
        "continuous": {"current": {"values": "sweep_{trial}/Im_1"}},
        "output_spikes": {"times": "sweep_{trial}/spikes_0"},
    }
    store = convert(tmp_path / "a.xyz", tmp_path / "store", mapping=parse_mapping(mapping))
    assert (len(store), store.header.steps) == (2, 400)
    for number in range(2):
        trial = store.trial(number)
        wanted = number - 60 + np.sin(np.arange(0, 4000, 10) / 50)
        np.testing.assert_allclose(trial.voltage_mv[:, 0], wanted, atol=1e-4)
        np.testing.assert_allclose(trial.continuous[:, 0], 0.05 * wanted, atol=1e-6)
        np.testing.assert_allclose(trial.spike_time_ms, [20.0, 310.0], atol=1e-6)


def test_pickles_and_what_is_no_recording_are_refused(tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({}))
    with pytest.raises(DataError, match="pickle, which may run code"):
        open_container(tmp_path / "a.pkl", "neo")
    (tmp_path / "a.abf").write_bytes(b"nothing of that kind")
    with pytest.raises(DataError, match="cannot be read .*a file that Neo reads"):
        open_container(tmp_path / "a.abf")
