import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trial_examples import make_header, make_trial

from ulmus.errors import ConfigError, DataError
from ulmus.trials import Header, spike_bins, validate

HEADER = make_header()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("event_step", np.array([1, 0], np.int32), "falls from 1 to 0"),
        ("event_step", np.array([-1, 0], np.int32), "from -1 to 0"),
        ("event_step", np.array([0, 50], np.int32), "0 and 49"),
        ("event_step", np.array([0, 1], np.int64), "int64"),
        ("event_step", [0, 1], "list"),
        ("event_input", np.array([0, 6], np.uint16), "holds 6"),
        ("event_input", np.array([0], np.uint16), "1 entries"),
        ("voltage_mv", np.full((50, 1), np.nan, np.float32), "nan at step 0, site 'soma'"),
        ("voltage_mv", np.zeros((49, 1), np.float32), r"\(49, 1\)"),
        ("voltage_mv", np.zeros(50, np.float32), r"float32 \(50,\)"),
        ("spike_time_ms", np.array([2.0, 1.0]), "falls from 2.0 to 1.0"),
        ("spike_time_ms", np.array([-1.0, 1.0]), "holds -1.0"),
        ("spike_time_ms", np.array([1.0, np.nan]), "holds nan"),
        ("spike_time_ms", np.array([1.0, 50.5]), "holds 50.5"),
        ("attributes", {"a": np.zeros(2)}, "JSON"),
        ("attributes", {"a": float("nan")}, "JSON"),
    ],
)
def test_a_wrong_trial_is_refused_by_place_and_key(key, value, message):
    good = make_trial(HEADER, 1)._replace(
        event_step=np.array([0, 1], np.int32), event_input=np.array([0, 5], np.uint16)
    )
    validate(good, HEADER, "here, trial 7")
    with pytest.raises(DataError, match=f"here, trial 7: {key} .*{message}"):
        validate(good._replace(**{key: value}), HEADER, "here, trial 7")


def test_spike_labels_are_the_published_ones():
    times = [0.0, 0.4, 1.49, 1.5, 2.4, 2.5, 49.0, 50.4]
    assert spike_bins(np.array(times), 1.0, 50).tolist() == sorted({int(t - 0.5) for t in times})
    assert spike_bins(np.array([]), 1.0, 50).size == 0
    with pytest.raises(DataError, match=r"50\.5"):
        spike_bins(np.array([50.5]), 1.0, 50)


@given(st.lists(st.floats(0, 50.4), max_size=20), st.sampled_from([1.0, 0.5, 0.25]))
def test_spike_labels_are_distinct_and_truncated(times, dt_ms):
    bins = spike_bins(np.array(times), dt_ms, round(51 / dt_ms))
    assert bins.tolist() == sorted({int(t / dt_ms - 0.5) for t in times})


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 0},
        {"dt_ms": 0.0},
        {"dt_ms": float("nan")},
        {"input_sign": [1, 0]},
        {"input_sign": []},
        {"sites": (), "spikes": False},
        {"sites": ("nexus", "soma")},
        {"sites": ("soma", "soma")},
        {"settings": {"a": np.zeros(2)}},
    ],
)
def test_headers_that_no_data_can_have(change):
    with pytest.raises(ConfigError):
        Header(**{"steps": 5, "dt_ms": 1.0, "input_sign": np.ones(3, np.int8), **change})


def test_header_survives_json_and_tells_differences():
    header = make_header(sites=("soma", "nexus"), cell={"dt_ms": 0.025, "name": "l5pc"}, ranges=(0, 800))
    assert Header.from_json(header.to_json()).differences(header) == []
    other = make_header(sites=("soma", "nexus"), cell={"dt_ms": 0.05, "name": "l5pc"}, ranges=(0, 800))
    assert header.differences(other) == ["settings.cell.dt_ms: 0.025 != 0.05"]
    assert header.differences(other, layout_only=True) == []
