"""Sweeps that Neo reads: ABF as another package writes it, and whole blocks with units and clocks of their own."""

import pickle

import numpy as np
import pytest
from abf2_file import write_abf2

from ulmus.cli.app import main
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


STEPS = [(1000, 0.0, 0.0), (2000, -20.0, 50.0), (500, 30.0, 0.0)]
"""Samples, pA, and pA more with each sweep; 100 ms, 200 ms and 50 ms at 10 kHz."""


def commanded(sweep: int, samples: int, holding: float) -> np.ndarray:
    """The current of a sweep: Clampex begins the first epoch after a 64th of the sweep."""
    current, at = np.full(samples, holding), samples // 64
    for length, level, more in STEPS:
        current[at : at + length] = level + more * sweep
        at += length
    return current


def test_the_protocol_of_an_abf_file_is_the_current(tmp_path):
    voltage = np.random.default_rng(0).normal(-60, 3, (3, 5000))  # sweeps of 500 ms
    path = write_abf2(tmp_path / "a.abf", voltage, 10_000, STEPS, holding_pa=5.0)
    file = open_container(path)
    assert [key for key in file.entries if key.startswith("sweep_1")] == [
        "sweep_1/IN 0/data",
        "sweep_1/protocol/Cmd 0/data",
    ]
    assert file.entries["sweep_1/protocol/Cmd 0/data"].unit == "pA"
    mapping = {
        "voltage": {"values": "sweep_{trial}/IN 0"},
        "continuous": {"current": {"values": "sweep_{trial}/protocol/Cmd 0", "scale": 0.1}},
    }
    store = convert(path, tmp_path / "store", mapping=parse_mapping(mapping))
    assert (len(store), store.header.continuous) == (3, (("current", "nA", 0.1),))
    for sweep in range(3):
        trial = store.trial(sweep)
        np.testing.assert_allclose(trial.voltage_mv[:, 0], voltage[sweep, ::10], atol=0.05)
        current = commanded(sweep, 5000, 5.0)
        wanted = np.interp(10.0 * np.arange(500), np.arange(5000), current) / 1000
        np.testing.assert_allclose(trial.continuous[:, 0], wanted, atol=1e-6)
    pyabf = pytest.importorskip("pyabf", reason="pyabf, which reads protocols too, is not installed")
    other = pyabf.ABF(str(path))
    for sweep in range(3):
        other.setSweep(sweep)
        np.testing.assert_allclose(commanded(sweep, 5000, 5.0), other.sweepC, atol=1e-4)


@pytest.mark.parametrize(
    ("how", "why"), [({"epoch_type": 2}, "no steps, such as ramps"), ({"waveform": 0}, "no waveform")]
)
def test_a_protocol_that_would_be_drawn_wrongly_is_refused(tmp_path, how, why, capsys):
    voltage = np.full((2, 5000), -60.0)
    voltage[:, ::2] = -61
    path = write_abf2(tmp_path / "a.abf", voltage, 10_000, STEPS, holding_pa=0.0, **how)
    mapping = {
        "voltage": {"values": "sweep_{trial}/IN 0"},
        "continuous": {"current": {"values": "sweep_{trial}/protocol/Cmd 0"}},
    }
    with pytest.raises(DataError, match=f"{why}.*recorded channel, or a protocol of steps"):
        convert(path, tmp_path / "store", mapping=parse_mapping(mapping))
    with pytest.raises(SystemExit, match="0"):
        main(["data", "inspect", str(path)])
    assert f"no protocol: Cmd 0: has {'epochs' if 'epoch_type' in how else why}" in capsys.readouterr().err


def test_a_recording_is_read_where_its_protocol_cannot_be(tmp_path, monkeypatch):
    path = write_abf2(tmp_path / "a.abf", np.full((2, 5000), -60.0), 10_000, STEPS, holding_pa=0.0)

    def fails(self):
        raise IndexError("strange")

    monkeypatch.setattr(neo.rawio.AxonRawIO, "read_raw_protocol", fails)
    file = open_container(path)
    assert list(file.entries) == ["sweep_0/IN 0/data", "sweep_1/IN 0/data"]
    assert "cannot draw its protocol (IndexError: strange)" in file.without


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
