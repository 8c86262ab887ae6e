import h5py
import numpy as np
import pytest
from trial_examples import write_recording

from ulmus.errors import DataError
from ulmus.trials.recorded import Recorded, trials_in


def test_trials_are_what_the_file_says(tmp_path):
    path = write_recording(tmp_path / "a.h5")
    recorded = Recorded(path)
    assert (len(recorded), trials_in(path)) == (4, 4)
    assert recorded.header.dt_ms == 1.0
    assert recorded.header.input_sign.tolist() == [1] * 639 + [-1] * 639
    assert recorded.header.settings["solver_step_ms"] == 0.025
    with h5py.File(path) as file:
        counts, inputs = file["event_count"][:], file["event_input"][:]
        trial = recorded.trial(2)
        first = counts[:2].sum()
        np.testing.assert_array_equal(np.bincount(trial.event_step, minlength=40), counts[2])
        np.testing.assert_array_equal(trial.event_input, inputs[first : first + counts[2].sum()])
        np.testing.assert_array_equal(trial.voltage_mv[:, 0], file["voltage_mv"][2])
        np.testing.assert_array_equal(trial.spike_time_ms, file["spike_time_ms"][2:3])
        assert trial.attributes["rate_hold_and_sigma_ms"] == file["rate_hold_and_sigma_ms"][2].tolist()
    assert trial.attributes["seed"] == 0


@pytest.mark.golden
def test_reference_recording(reference_data):
    path = reference_data / "data" / "l5pc" / "test_published_seed3003.h5"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    recorded = Recorded(path)
    with h5py.File(path) as file:
        counts, inputs = file["event_count"][:], file["event_input"][:]
        spikes, spike_count = file["spike_time_ms"][:], file["spike_count"][:]
        voltage = file["voltage_mv"][:]
    assert len(recorded) == 64
    counts = counts.astype(np.int64)
    ends, spike_ends = np.cumsum(counts.sum(1)), np.cumsum(spike_count)
    for index in (0, 17, 63):
        trial = recorded.trial(index)
        np.testing.assert_array_equal(np.bincount(trial.event_step, minlength=6000), counts[index])
        np.testing.assert_array_equal(
            trial.event_input, inputs[ends[index] - counts[index].sum() : ends[index]]
        )
        np.testing.assert_array_equal(trial.voltage_mv[:, 0], voltage[index])
        expected = spikes[spike_ends[index] - spike_count[index] : spike_ends[index]]
        np.testing.assert_array_equal(trial.spike_time_ms, expected)


@pytest.mark.parametrize(
    ("changes", "key", "message"),
    [
        ({"event_count": None}, "event_count", "is missing"),
        ({"voltage_mv": None}, "voltage_mv", "is missing"),
        ({"spike_time_ms": None}, "spike_time_ms", "is missing"),
        ({"event_count": np.zeros(4, np.uint16)}, "event_count", r"shape \(4,\)"),
        ({"event_count": np.zeros((0, 40), np.uint16)}, "event_count", r"shape \(0, 40\)"),
        ({"event_count": np.zeros((4, 40))}, "event_count", "float64"),
        ({"event_input": np.zeros(7, np.uint16)}, "event_input", "has 7 entries"),
        ({"event_input": np.zeros((7, 7), np.uint16)}, "event_input", r"shape \(7, 7\)"),
        ({"voltage_mv": np.zeros((4, 39), np.float16)}, "voltage_mv", r"shape \(4, 39\)"),
        ({"voltage_mv": np.full((4, 40), np.nan, np.float16)}, "voltage_mv", "nan at step 0"),
        ({"spike_count": np.array([9, 0, 0, 0])}, "spike_time_ms", "has 6 entries"),
        ({"spike_count": np.array([-1, 3, 2, 2])}, "spike_count", "holds -1"),
        ({"spike_count": np.zeros(3, int)}, "spike_count", r"shape \(3,\)"),
        ({"spike_time_ms": np.array([1, 99, 1, 1, 2, 3.0])}, "spike_time_ms", "holds 99.0"),
        ({"spike_time_ms": np.array([3, 2, 1, 1, 2, 3.0])}, "spike_time_ms", "falls from 3.0 to 2.0"),
        ({"attr_complete": False}, "complete", "interrupted"),
        ({"attr_duration_ms": None}, "duration_ms", "None"),
        ({"attr_duration_ms": "long"}, "duration_ms", "long"),
    ],
)
def test_damaged_recordings_are_refused_by_file_and_key(tmp_path, changes, key, message):
    path = write_recording(tmp_path / "bad.h5", **changes)
    with pytest.raises(DataError, match=message) as caught:
        Recorded(path)
    assert str(path) in str(caught.value)
    assert key in str(caught.value)


def test_input_out_of_range(tmp_path):
    path = write_recording(tmp_path / "bad.h5")
    with h5py.File(path, "r+") as file:
        file["event_input"][5] = 1278
    with pytest.raises(DataError, match=r"bad\.h5: event_input holds 1278; expected inputs 0 to 1277"):
        Recorded(path)


def test_truncated_absent_and_foreign_files(tmp_path):
    path = write_recording(tmp_path / "a.h5", steps=4000)
    content = path.read_bytes()
    for size in (0, 10, 2000, len(content) // 2, len(content) - 100):
        path.write_bytes(content[:size])
        with pytest.raises(DataError, match=r"a\.h5 cannot be read"):
            Recorded(path)
        with pytest.raises(DataError, match=r"a\.h5"):
            trials_in(path)
    with pytest.raises(DataError, match="does not exist"):
        Recorded(tmp_path / "b.h5")
