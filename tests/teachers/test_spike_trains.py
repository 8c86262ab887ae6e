"""Given spike trains reach the cell as they are; wrong ones are named."""

import numpy as np
import pytest

from ulmus.errors import ConfigError, DataError
from ulmus.teachers.integrate_and_fire import IntegrateAndFire
from ulmus.teachers.runner import simulate
from ulmus.teachers.spike_trains import SpikeTrains

NEURON = IntegrateAndFire(excitatory=4, inhibitory=2, weight_mv=30.0)
TRAINS = [{0: np.array([3.2, 50.9]), 5: np.array([7.0])}, {}, {2: np.array([80.0])}]


def test_they_arrive_where_and_when_they_say(tmp_path):
    store = simulate(NEURON, SpikeTrains(TRAINS), trials=3, seconds=0.1, out=tmp_path / "a", workers=2)
    first = store.trial(0)
    assert first.event_step.tolist() == [3, 7, 50]
    assert first.event_input.tolist() == [0, 5, 0]
    assert store.trial(1).event_step.size == 0
    assert store.attributes(2) == {"regime": "given", "seed": 0, "trial": 2}


def test_a_table_and_a_store_give_them_again(tmp_path):
    table = tmp_path / "spikes.csv"
    table.write_text("trial,input,time_ms\n0,0,3.2\n0,0,50.9\n2,2,80\n0,5,7\n")
    options = {"trials": 3, "seconds": 0.1, "workers": 1}
    one = simulate(NEURON, SpikeTrains.load(table), out=tmp_path / "one", **options)
    again = simulate(NEURON, SpikeTrains.load(tmp_path / "one"), out=tmp_path / "two", **options)
    given = simulate(NEURON, SpikeTrains(TRAINS), out=tmp_path / "three", **options)
    for index in range(3):
        for store in (again, given):
            assert np.array_equal(one.trial(index).event_step, store.trial(index).event_step)
            assert np.array_equal(one.trial(index).voltage_mv, store.trial(index).voltage_mv)


def test_a_store_says_which_trains_it_was_given_wherever_they_lay(tmp_path):
    options = {"trials": 3, "seconds": 0.1, "workers": 1}
    source = simulate(NEURON, SpikeTrains(TRAINS), out=tmp_path / "source", **options)
    one = simulate(NEURON, SpikeTrains.load(source.path), out=tmp_path / "one", **options)
    source.path.parent.joinpath("elsewhere").mkdir()
    moved = source.path.rename(tmp_path / "elsewhere" / "source")
    two = simulate(NEURON, SpikeTrains.load(moved), out=tmp_path / "two", **options)
    assert one.content_hash == two.content_hash
    regime = {"name": "source", "trials": 3, "spikes": 4, "source_hash": source.content_hash}
    assert one.header.settings["regime"] == regime
    assert one.attributes(1)["regime"] == "source"
    assert one.attributes(1)["source_hash"] == source.content_hash
    others = [{**TRAINS[0], 1: np.array([20.0])}, *TRAINS[1:]]
    simulate(NEURON, SpikeTrains(others), out=tmp_path / "others" / "source", **options)
    with pytest.raises(ConfigError, match="begun with other settings.*source_hash"):
        simulate(NEURON, SpikeTrains.load(tmp_path / "others" / "source"), out=one.path, **options)


def test_trains_that_are_not_there_are_said(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.csv do not exist"):
        SpikeTrains.load(tmp_path / "nowhere.csv")


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([-1.0], "trial 0, input 3: spike time -1.0"),
        ([np.nan], "spike time nan"),
        ([5.0, 4.0], "fall from 5.0 to 4.0"),
    ],
)
def test_times_that_cannot_be_are_named(times, message):
    with pytest.raises(DataError, match=message):
        SpikeTrains([{3: np.array(times)}])


@pytest.mark.parametrize(
    ("trains", "trials", "message"),
    [
        ({6: np.array([1.0])}, 1, "has input 6; expected 0 to 5"),
        ({0: np.array([100.0])}, 1, "spike at 100.0 ms"),
        ({0: np.array([1.0])}, 2, "hold 1; expected at most"),
    ],
)
def test_trains_that_do_not_fit_begin_no_store(trains, trials, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        simulate(NEURON, SpikeTrains([trains]), trials=trials, seconds=0.1, out=tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_a_table_without_its_columns_or_spikes_is_refused(tmp_path):
    (tmp_path / "empty.csv").write_text("trial,input,time_ms\n")
    with pytest.raises(DataError, match="holds no spike"):
        SpikeTrains.load(tmp_path / "empty.csv")
    (tmp_path / "t.csv").write_text("input,time\n0,1\n")
    with pytest.raises(DataError, match="no 'time_ms'"):
        SpikeTrains.load(tmp_path / "t.csv")
