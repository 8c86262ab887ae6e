import io
import lzma
import os
import pickle
import pickletools
import struct
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from neuronio_examples import SEGMENTS, STEPS, changed, content, simulation, write
from trial_examples import SOURCE_FOLDER

from ulmus.errors import DataError, UlmusError
from ulmus.files.restricted_pickle import array, read_pickle
from ulmus.trials.neuronio import NeuronIOFile, published_splits


@pytest.mark.parametrize("name", ["sim__test.p", "sim__test.p.xz", "sim__test.p.gz"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_published_layout(tmp_path, name, protocol):
    path = write(tmp_path, content(), name, protocol)
    file = NeuronIOFile(path, nexus=True)
    assert len(file) == 2
    assert file.header.input_sign.tolist() == [1] * 5 + [-1] * 5
    assert (file.header.steps, file.header.dt_ms) == (STEPS, 1.0)
    for index in range(2):
        trial, given_ = file.trial(index), simulation(index)
        dense = np.zeros((2 * SEGMENTS, STEPS), bool)
        for segment, times in given_["exInputSpikeTimes"].items():
            dense[segment, times] = True
        for segment, times in given_["inhInputSpikeTimes"].items():
            dense[SEGMENTS + segment, times] = True
        ours = np.zeros_like(dense)
        ours[trial.event_input, trial.event_step] = True
        np.testing.assert_array_equal(ours, dense)
        assert trial.event_step.size == dense.sum()
        np.testing.assert_array_equal(trial.voltage_mv[:, 0], given_["somaVoltageLowRes"])
        np.testing.assert_array_equal(trial.voltage_mv[:, 1], given_["nexusVoltageLowRes"])
        np.testing.assert_array_equal(trial.spike_time_ms, given_["outputSpikeTimes"])
        assert trial.attributes["seed"] == 7
    assert NeuronIOFile(path).trial(0).voltage_mv.shape == (STEPS, 1)


@pytest.mark.golden
def test_true_file(reference_data):
    folder = reference_data / "golden" / "l5pc"
    (path,) = folder.glob("sim__*")
    file = NeuronIOFile(path, nexus=True)
    expected = np.load(folder / "neuron_driven_trials.npz")
    with warnings.catch_warnings(), lzma.open(path) as stream:
        warnings.simplefilter("ignore")
        trusted = pickle.load(stream, encoding="latin1")["Results"]["listOfSingleSimulationDicts"]
    spike_ends = np.cumsum(expected["spikes_per_trial"])
    assert len(file) == 2
    for index in range(2):
        trial = file.trial(index)
        np.testing.assert_array_equal(trial.voltage_mv[:, 0], expected["soma_mv"][index])
        np.testing.assert_array_equal(trial.voltage_mv[:, 1], expected["nexus_mv"][index])
        exact = expected["exact_spike_time_ms"][
            spike_ends[index] - expected["spikes_per_trial"][index] : spike_ends[index]
        ]
        np.testing.assert_array_equal(trial.spike_time_ms, exact.astype(np.float16))
        dense = np.zeros((1278, 6000), bool)
        for first, key in ((0, "exInputSpikeTimes"), (639, "inhInputSpikeTimes")):
            for segment, times in trusted[index][key].items():
                dense[first + segment, times] = True
        ours = np.zeros_like(dense)
        ours[trial.event_input, trial.event_step] = True
        np.testing.assert_array_equal(ours, dense)
        assert trial.event_step.size == dense.sum()


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


def touch(folder: Path) -> str:
    return f"open({str(folder / 'executed')!r}, 'w').close()"


HOSTILE = {
    "system": lambda folder: Call(os.system, f"touch {folder}/executed"),
    "eval": lambda folder: Call(eval, touch(folder)),
    "exec in a value": lambda folder: {"Params": {"randomSeed": [1, (Call(exec, touch(folder)),)]}},
    "getattr": lambda folder: Call(getattr, Call(__import__, "os"), "system"),
    "import": lambda folder: Call(__import__, "antigravity"),
    "open": lambda folder: Call(io.open, str(folder / "executed"), "w"),
    "copyreg": lambda folder: (
        b"\x80\x02ccopy_reg\n_reconstructor\ncos\nsystem\nc__builtin__\nobject\nN\x87R."
    ),
    "dotted name": lambda folder: b"\x80\x04\x8c\x05numpy\x8c\x10ndarray.__class__\x93\x8c\x01x\x85R.",
    "numpy load": lambda folder: b"\x80\x02cnumpy\nload\nX\x01\x00\x00\x00x\x85R.",
    "numpy ctypes": lambda folder: (
        b"\x80\x02cnumpy.testing._private.utils\nrunstring\n(X\x01\x00\x00\x00x}tR."
    ),
    "extension": lambda folder: b"\x80\x02\x82\x01.",
    "outside reference": lambda folder: b"Pos.system\n.",
    "codec": lambda folder: b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00xX\x06\x00\x00\x00base64\x86R.",
    "build on a maker": lambda folder: b"\x80\x02cnumpy\ndtype\n}X\x08\x00\x00\x00__call__K\x01sb.",
    "new object": lambda folder: b"\x80\x02cnumpy\nndarray\n)\x81.",
    "call ndarray": lambda folder: b"\x80\x02cnumpy\nndarray\n\x8a\x06\x00\x00\x00\x00\x00\x01\x85\x85R.",
    "bytes bomb": lambda folder: Call(bytes, 10**13),
    "array bomb": lambda folder: Call(np.zeros(1).__reduce__()[0], np.ndarray, (10**13,), "f8"),
    "long text": lambda folder: b"\x80\x04\x8d" + struct.pack("<Q", 2**50) + b"x.",
    "dtype object": lambda folder: {"a": Call(np.dtype, Call(np.dtype, "f8"))},
    "structured": lambda folder: np.zeros(3, dtype=[("a", "f8")]),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("suffix", ["", ".xz"])
def test_hostile_pickles_run_nothing(tmp_path, kind, suffix):
    path = write(tmp_path, HOSTILE[kind](tmp_path), "sim__hostile.p" + suffix)
    with pytest.raises(DataError) as caught:
        NeuronIOFile(path)
    assert str(path) in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_refusal_names_the_function(tmp_path):
    path = write(tmp_path, Call(os.system, "true"))
    with pytest.raises(DataError, match=r"asks to run posix\.system.*nothing was run"):
        read_pickle(path)


def test_a_shape_larger_than_its_content_is_refused(tmp_path):
    data = pickle.dumps(np.zeros(3), 2)
    assert b"K\x03\x85" in data
    path = write(tmp_path, data.replace(b"K\x03\x85", b"K\x04\x85"))
    with pytest.raises(DataError, match="reshape"):
        read_pickle(path)


@pytest.mark.parametrize("name", ["sim__test.p", "sim__test.p.xz", "sim__test.p.gz"])
def test_truncated_files(tmp_path, name):
    path = write(tmp_path, content(), name)
    whole = path.read_bytes()
    for size in np.linspace(0, len(whole) - 1, 30).astype(int):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match="cannot be read .*expected an undamaged pickle"):
            NeuronIOFile(path)
    with pytest.raises(DataError, match="does not exist"):
        NeuronIOFile(tmp_path / "sim__absent.p")


def largest_put(data: bytes) -> int:
    largest = 0
    with suppress(Exception):  # genops fails where the unpickler will
        for opcode, index, _ in pickletools.genops(data):
            if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT"):
                largest = max(largest, index)
    return largest


SMALL = pickle.dumps(content(1), 2)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 1500), st.integers(0, 255)), min_size=1, max_size=4))
def test_changed_bytes_never_give_another_error(tmp_path, changes):
    data = bytearray(SMALL)
    for position, value in changes:
        data[position] = value
    # The standard library's unpickler asks for as many places as a PUT says: not here.
    assume(largest_put(bytes(data)) < 10**6)
    path = write(tmp_path, bytes(data))
    with suppress(UlmusError):
        NeuronIOFile(path).trial(0)


FIRST = ("Results", "listOfSingleSimulationDicts", 0)
NESTED: list = [1]
for _ in range(60):
    NESTED = [NESTED, NESTED]


@pytest.mark.parametrize(
    ("value", "key", "message"),
    [
        ([1], "the file", "list"),
        (changed("Params"), "Params", "missing"),
        (changed("Results"), "Results", "missing"),
        (changed("Results", value=[]), "Results", "list"),
        (changed("Results", "listOfSingleSimulationDicts", value=[]), "listOf", "no simulation"),
        (changed("Results", "listOfSingleSimulationDicts", value=[3]), "simulation 0", "int"),
        (changed("Params", "allSegmentsType"), "allSegmentsType", "missing"),
        (changed("Params", "allSegmentsType", value=[]), "allSegmentsType", "0 entries"),
        (changed("Params", "totalSimDurationInSec", value=-1), "totalSim", "-1"),
        (changed("Params", "totalSimDurationInSec", value="6"), "totalSim", "str"),
        (changed("Params", "totalSimDurationInSec", value=NESTED), "totalSim", "list"),
        (changed(*FIRST, "somaVoltageLowRes"), "somaVoltageLowRes", "missing"),
        (changed(*FIRST, "somaVoltageLowRes", value=np.zeros(7)), "voltage_mv", r"\(7, 1\)"),
        (changed(*FIRST, "somaVoltageLowRes", value=np.full(STEPS, np.nan)), "voltage_mv", "nan"),
        (changed(*FIRST, "somaVoltageLowRes", value="volt"), "somaVoltageLowRes", "str"),
        (changed(*FIRST, "outputSpikeTimes", value=np.array([2000.0])), "spike_time_ms", "2000"),
        (changed(*FIRST, "exInputSpikeTimes"), "exInputSpikeTimes", "missing"),
        (changed(*FIRST, "exInputSpikeTimes", value={5: [1]}), "exInputSpikeTimes", "segment 5"),
        (changed(*FIRST, "exInputSpikeTimes", value={"a": [1]}), "exInputSpikeTimes", "segment 'a'"),
        (changed(*FIRST, "exInputSpikeTimes", value={1: [STEPS]}), "exInputSpikeTimes", "1000 ms"),
        (changed(*FIRST, "inhInputSpikeTimes", value={1: [-1]}), "inhInputSpikeTimes", "-1"),
        (changed(*FIRST, "inhInputSpikeTimes", value={1: [0.5]}), "inhInputSpikeTimes", "float"),
    ],
)
def test_a_wrong_layout_is_named(tmp_path, value, key, message):
    path = write(tmp_path, value)
    with pytest.raises(DataError, match=message) as caught:
        NeuronIOFile(path).trial(0)
    assert str(path) in str(caught.value)
    assert key in str(caught.value)


def test_number_of_simulations_must_be_that_of_the_name(tmp_path):
    path = write(tmp_path, content(2), "sim__3_outSpikes__3_simulationRuns__1_secDuration.p")
    with pytest.raises(DataError, match="holds 2, its name says 3"):
        NeuronIOFile(path)


@pytest.mark.parametrize("dtype", ["<f2", ">f4", "<f8", ">i8", "<u2", "|b1", ">f2"])
def test_arrays_and_scalars_of_every_kind(tmp_path, dtype):
    values = np.array([[1, 0, 3], [4, 5, 6]], dtype)
    for protocol in (2, 4):
        read = read_pickle(write(tmp_path, [values, values.T, values[0, 0], values[:0]], protocol=protocol))
        for ours, theirs in zip(read, [values, values.T, values[0, 0], values[:0]], strict=True):
            np.testing.assert_array_equal(array(ours), theirs)
            assert array(ours).shape == theirs.shape


def test_published_folders(tmp_path):
    for name in (
        "full_ergodic_train_batch_1",
        "full_ergodic_train_batch_2",
        "full_ergodic_train_batch_10",
        "Data_test",
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "sim__a.p").touch()
        (tmp_path / name / "notes.txt").touch()
    splits = published_splits(tmp_path)
    assert {split: [f.parent.name for f in files] for split, files in splits.items()} == {
        "train": ["full_ergodic_train_batch_2", "full_ergodic_train_batch_10"],
        "valid": ["full_ergodic_train_batch_1"],
        "test": ["Data_test"],
    }
    with pytest.raises(DataError, match="expected the published folders"):
        published_splits(SOURCE_FOLDER)
