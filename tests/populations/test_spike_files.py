"""Spikes in SONATA and NWB files: the layout of their specifications, there and back."""

import h5py
import numpy as np
import pytest

from ulmus.errors import ConfigError, DataError
from ulmus.populations import Recording, read_spikes, write_spikes

NEURONS = {"a": range(3), "b": range(3, 5)}
RECORDING = Recording(
    np.array([1.0, 1.0, 2.5, 7.0]), np.array([0, 4, 2, 3]), np.zeros((0, 0, 1)), np.zeros((0, 0, 1))
)


def test_the_layout_is_that_of_the_specification(tmp_path):
    write_spikes(tmp_path / "spikes.h5", RECORDING, NEURONS)
    with h5py.File(tmp_path / "spikes.h5") as file:
        assert (file.attrs["magic"], list(file.attrs["version"])) == (0x0A7A, [0, 1])
        group = file["spikes/b"]
        assert group["timestamps"][:].tolist() == [1.0, 7.0]
        assert group["timestamps"].attrs["units"] == "milliseconds"
        assert group["node_ids"][:].tolist() == [1, 0]
        assert group["node_ids"].dtype == np.uint64
        kinds = h5py.check_enum_dtype(group.attrs.get_id("sorting").dtype)
        assert kinds["by_time"] == group.attrs["sorting"]
    time_ms, neuron = read_spikes(tmp_path / "spikes.h5", "a")
    assert (time_ms.tolist(), neuron.tolist()) == ([1.0, 2.5], [0, 2])


def test_files_of_others_are_sorted_by_time_or_refused(tmp_path):
    with h5py.File(tmp_path / "one.h5", "w") as file:
        file["spikes/thalamus/timestamps"], file["spikes/thalamus/node_ids"] = (
            [3.0, 1.0],
            np.array([7, 8], np.uint64),
        )
    time_ms, neuron = read_spikes(tmp_path / "one.h5")
    assert (time_ms.tolist(), neuron.tolist()) == ([1.0, 3.0], [8, 7])
    write_spikes(tmp_path / "two.h5", RECORDING, NEURONS)
    with h5py.File(tmp_path / "odd.h5", "w") as file:
        file["spikes/a/timestamps"], file["spikes/a/node_ids"] = [3.0, 1.0], [7]
    for name, population, words in [
        ("two.h5", None, r"\['a', 'b'\]; expected one, or its name"),
        ("two.h5", "c", "expected one named c"),
        ("odd.h5", None, "not two lists of one length"),
    ]:
        with pytest.raises(DataError, match=words):
            read_spikes(tmp_path / name, population)
    (tmp_path / "bad.h5").write_bytes(b"nothing")
    with pytest.raises(DataError, match="bad.h5"):
        read_spikes(tmp_path / "bad.h5")


@pytest.mark.parametrize(("units", "factor"), [("seconds", 1000), (b"ms", 1), (["us"], 0.001)])
def test_times_are_read_in_their_units(tmp_path, units, factor):
    write_spikes(tmp_path / "spikes.h5", RECORDING, NEURONS)
    with h5py.File(tmp_path / "spikes.h5", "a") as file:
        file["spikes/a/timestamps"].attrs["units"] = units
    np.testing.assert_allclose(read_spikes(tmp_path / "spikes.h5", "a")[0], [factor, 2.5 * factor])


@pytest.mark.parametrize(
    ("units", "nodes", "words"),
    [
        ("steps", [1, 2], r"units=\['steps'\]; expected seconds"),
        ("mV", [1, 2], "expected seconds"),
        ("ms", [1.5, 2.0], "node_ids = .* whole numbers"),
        ("ms", np.array([1, 2**63 + 1], np.uint64), "node_ids = .* whole numbers"),
        ("ms", [1, -2], "node id -2"),
    ],
)
def test_units_and_node_ids_that_cannot_be_are_refused(tmp_path, units, nodes, words):
    with h5py.File(tmp_path / "one.h5", "w") as file:
        file["spikes/a/timestamps"], file["spikes/a/node_ids"] = [3.0, 1.0], nodes
        file["spikes/a/timestamps"].attrs["units"] = units
    with pytest.raises(DataError, match=words):
        read_spikes(tmp_path / "one.h5")


def test_the_layout_without_populations_is_refused(tmp_path):
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file["spikes/timestamps"], file["spikes/gids"] = [3.0, 1.0], [7, 8]
    with pytest.raises(DataError, match="directly under spikes, an older layout"):
        read_spikes(tmp_path / "old.h5")


@pytest.mark.parametrize("name", ["", 5, "/a", "a//b", ".", "a\0b"])
def test_names_that_could_not_be_read_back_are_not_written(tmp_path, name):
    with pytest.raises(ConfigError, match="cannot be a population of SONATA"):
        write_spikes(tmp_path / "spikes.h5", RECORDING, {name: range(5)})
    assert not list(tmp_path.iterdir())
    for usable in ("5", "a/b", ".."):
        write_spikes(tmp_path / "spikes.h5", RECORDING, {usable: range(5)})
        assert len(read_spikes(tmp_path / "spikes.h5", usable)[0]) == 4


def test_neurons_are_those_of_a_population(tmp_path):
    with pytest.raises(ConfigError, match=r"neurons=\[0, 1\].*Population.neurons"):
        write_spikes(tmp_path / "spikes.h5", RECORDING, [0, 1])


def test_nwb_as_pynwb_sees_it(tmp_path):
    pynwb = pytest.importorskip("pynwb", reason="pynwb, which writes NWB files, is not installed")
    write_spikes(tmp_path / "spikes.nwb", RECORDING, NEURONS)
    assert pynwb.validate(path=str(tmp_path / "spikes.nwb")) == []
    with pynwb.NWBHDF5IO(tmp_path / "spikes.nwb", "r") as io:
        units = io.read().units
        assert units.id[:].tolist() == [0, 1, 2, 3, 4]
        assert units["cell_type"][:].tolist() == ["a", "a", "a", "b", "b"]
        assert [units["spike_times"][row].tolist() for row in range(5)] == [
            [0.001],
            [],
            [0.0025],
            [0.007],
            [0.001],
        ]
    time_ms, neuron = read_spikes(tmp_path / "spikes.nwb", "b")
    assert (time_ms.tolist(), neuron.tolist()) == ([1.0, 7.0], [1, 0])
    silent = Recording(np.zeros(0), np.zeros(0, np.int64), *RECORDING[2:])
    write_spikes(tmp_path / "silent.nwb", silent, {"a": range(3)})
    assert [part.tolist() for part in read_spikes(tmp_path / "silent.nwb")] == [[], []]


def test_nwb_of_others_has_units_without_cell_types(tmp_path):
    with h5py.File(tmp_path / "session.nwb", "w") as file:
        file["units/spike_times"], file["units/spike_times_index"] = [0.5, 0.002, 0.003], [1, 1, 3]
    time_ms, neuron = read_spikes(tmp_path / "session.nwb")
    assert (time_ms.tolist(), neuron.tolist()) == ([2.0, 3.0, 500.0], [2, 2, 0])
    with h5py.File(tmp_path / "session.nwb", "a") as file:
        file["units/cell_type"] = ["x", "y"]
    with pytest.raises(DataError, match="session.nwb"):
        read_spikes(tmp_path / "session.nwb", "x")
    with h5py.File(tmp_path / "session.nwb", "a") as file:
        del file["units/spike_times_index"]
    with pytest.raises(DataError, match="says where each unit ends"):
        read_spikes(tmp_path / "session.nwb", "x")
