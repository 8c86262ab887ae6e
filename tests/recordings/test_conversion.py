import numpy as np
import pytest
from neuronio_examples import changed, content, write
from trial_examples import assert_same_trial, folder_bytes

from ulmus.errors import ConfigError, DataError
from ulmus.recordings.conversion import convert
from ulmus.trials import Store
from ulmus.trials.neuronio import NeuronIOFile

LABEL = "__1_outSpikes__2_simulationRuns__1_secDuration__randomSeed_{}.p"


@pytest.fixture
def pickles(tmp_path):
    folder = tmp_path / "pickles"
    folder.mkdir()
    for seed in range(3):
        write(folder, content(2), "sim" + LABEL.format(seed))
    return folder


def test_a_folder_of_pickles(pickles, tmp_path):
    seen = []
    store = convert(pickles, tmp_path / "store", nexus=True, on_trial=lambda *n: seen.append(n))
    assert seen == [(n, 6) for n in range(1, 7)]
    assert store.header.sites == ("soma", "nexus")
    for index in range(6):
        file = NeuronIOFile(pickles / ("sim" + LABEL.format(index // 2)), nexus=True)
        assert_same_trial(store.trial(index), file.trial(index % 2))


def test_files_whose_names_do_not_tell_their_size(tmp_path):
    write(tmp_path, content(3), "sim__a.p")
    seen = []
    assert len(convert(tmp_path / "sim__a.p", tmp_path / "store", on_trial=lambda *n: seen.append(n))) == 3
    assert seen == [(1, None), (2, None), (3, None)]


class Killed(BaseException):
    pass


@pytest.mark.parametrize("after", [1, 2, 3, 5])
def test_interrupted_conversion_goes_on(pickles, tmp_path, after, monkeypatch):
    convert(pickles, tmp_path / "whole", shard_trials=4)

    def stop(done, total):
        if done == after:
            raise Killed

    with pytest.raises(Killed):
        convert(pickles, tmp_path / "store", shard_trials=4, on_trial=stop)
    opened = []
    original = NeuronIOFile.trial
    monkeypatch.setattr(
        NeuronIOFile, "trial", lambda file, index: opened.append(index) or original(file, index)
    )
    convert(pickles, tmp_path / "store", shard_trials=4)
    assert len(opened) == 6 - after
    assert folder_bytes(tmp_path / "store") == folder_bytes(tmp_path / "whole")


def test_other_sources_into_the_same_store_are_refused(pickles, tmp_path):
    convert(pickles / ("sim" + LABEL.format(0)), tmp_path / "store")
    with pytest.raises(ConfigError, match=r"settings\.files"):
        convert(pickles / ("sim" + LABEL.format(1)), tmp_path / "store")
    assert len(Store(tmp_path / "store")) == 2


def test_a_bad_file_leaves_no_store_to_mistake_for_a_whole_one(pickles, tmp_path):
    first = ("Results", "listOfSingleSimulationDicts", 0)
    write(pickles, changed(*first, "somaVoltageLowRes", value=np.full(1000, np.nan)), "sim" + LABEL.format(2))
    with pytest.raises(DataError, match=r"randomSeed_2\.p, simulation 0: voltage_mv is nan"):
        convert(pickles, tmp_path / "store")
    with pytest.raises(DataError, match="is not finished"):
        Store(tmp_path / "store")


def test_mistakes(pickles, tmp_path):
    (tmp_path / "a.h5").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    longer = tmp_path / ("longer_sim" + LABEL.format(7))
    write(tmp_path, changed("Params", "totalSimDurationInSec", value=2), longer.name)
    first = str(next(pickles.iterdir()))
    for source, options, message in [
        (tmp_path / "empty", {}, "holds no files"),
        (tmp_path / "a.h5", {}, "a mapping that says what"),
        (f"{first}[9:]", {}, "no trials"),
        ([first, longer], {}, "differs from"),
        (tmp_path / "b.h5", {}, "does not exist"),
    ]:
        with pytest.raises(DataError, match=message):
            convert(source, tmp_path / "store", **options)
