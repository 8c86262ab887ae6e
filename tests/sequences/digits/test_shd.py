import pickle
import shutil

import h5py
import numpy as np
import pytest
from digits_examples import make_spikes, write_digits

from ulmus.errors import ConfigError, DataError
from ulmus.sequences.digits.clips import (
    Clips,
    choose_speakers,
    describe,
    further_files,
    hold_out,
    open_digits,
    open_split,
)
from ulmus.sequences.digits.settings import DigitsData
from ulmus.sequences.digits.shd import SpikeFile


def test_clips_come_back_as_written(tmp_path):
    trains = make_spikes(9)
    file = SpikeFile(write_digits(tmp_path / "a_train.h5", trains=trains))
    again = pickle.loads(pickle.dumps(file))
    for one in (file, again):
        assert len(one) == 9
        assert len(one.classes) == 20
        for index, (times, units) in enumerate(trains):
            found_times, found_units = one.spikes(index)
            assert found_times.dtype == np.float64
            np.testing.assert_array_equal(found_times, times.astype(np.float64))
            np.testing.assert_array_equal(found_units, units)
        np.testing.assert_array_equal(one.speakers, np.arange(9) % 4)
    assert file.content_hash == again.content_hash


def test_commands_without_names_and_speakers_load_the_same_way(tmp_path):
    path = write_digits(tmp_path / "ssc_train.h5", classes=35, omit=("extra/keys", "extra/speaker"))
    file = SpikeFile(path)
    assert file.classes == tuple(map(str, range(file.labels.max() + 1)))
    with pytest.raises(DataError, match=r"ssc_train\.h5 has no extra/speaker"):
        _ = Clips.all_of(file).speakers


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"omit": ("labels",)}, "labels is missing"),
        ({"omit": ("spikes/times",)}, "spikes/times is missing"),
        ({"omit": ("spikes/units",)}, "spikes/units is missing"),
        ({"labels": np.zeros(5, np.uint16)}, "spikes/times has 24 entries"),
        ({"labels": np.full(24, 20, np.uint16)}, "labels holds 20 to 20"),
        ({"labels": np.zeros(24, np.float32)}, "labels is"),
        ({"extra__speaker": np.zeros(3, np.uint16)}, "extra/speaker is"),
    ],
)
def test_files_of_another_layout_are_refused(tmp_path, changes, message):
    with pytest.raises(DataError, match=rf"a_train\.h5: {message}"):
        SpikeFile(write_digits(tmp_path / "a_train.h5", **changes))


def test_fixed_length_spikes_are_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["labels"], file["spikes/times"], file["spikes/units"] = [0, 1], [0.1, 0.2], [1, 2]
    with pytest.raises(DataError, match="spikes/times holds float64"):
        SpikeFile(tmp_path / "a.h5")


def test_missing_and_damaged_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        SpikeFile(tmp_path / "a.h5")
    (tmp_path / "b.h5").write_bytes(b"no spikes here")
    with pytest.raises(DataError, match="cannot be read"):
        SpikeFile(tmp_path / "b.h5")


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ((np.float16([0.1, np.nan]), np.uint16([1, 2])), "spikes/times of clip 0 holds"),
        ((np.float16([-0.1]), np.uint16([1])), "spikes/times of clip 0 holds"),
        ((np.float16([0.1]), np.uint16([700])), "spikes/units of clip 0 holds 700"),
        ((np.float16([0.1]), np.uint16([1, 2])), "spikes/units of clip 0 has 2 entries"),
    ],
)
def test_spikes_that_cannot_be_are_refused(tmp_path, train, message):
    path = write_digits(tmp_path / "a.h5", trains=[train, train])
    with pytest.raises(DataError, match=message):
        SpikeFile(path)


@pytest.fixture
def folder(tmp_path):
    write_digits(tmp_path / "shd_train.h5", clips=200, speakers=10)
    write_digits(tmp_path / "shd_test.h5", clips=31, seed=5, speakers=12)
    return tmp_path


def test_validation_holds_out_speakers(folder):
    splits = open_digits(folder)
    train, held = set(splits.train.speakers.tolist()), set(splits.validation.speakers.tolist())
    assert not train & held
    assert train | held == set(range(10))
    assert len(splits.validation) == 40
    assert len(splits.train) == 160
    assert len(splits.test) == 31
    assert set(open_digits(folder).validation.speakers.tolist()) == held
    assert any(set(open_digits(folder, seed=s).validation.speakers.tolist()) != held for s in range(1, 6))


def test_the_random_split_is_the_one_of_the_authors(folder):
    splits = open_digits(folder, validation="random")
    held = np.random.default_rng(0).binomial(1, 0.2, size=200).astype(bool)
    labels = open_split(folder, "train").labels
    np.testing.assert_array_equal(splits.validation.labels, labels[held])
    np.testing.assert_array_equal(splits.train.labels, labels[~held])


def test_the_published_split_is_a_file_of_its_own(folder):
    with pytest.raises(DataError, match=r"holds no file \*_valid\.h5"):
        open_digits(folder, validation="published")
    write_digits(folder / "shd_valid.h5", clips=13, seed=7)
    splits = open_digits(folder, validation="published")
    assert [len(part) for part in splits] == [200, 13, 31]


def test_splits_that_cannot_be_made_are_refused(folder):
    with pytest.raises(ConfigError, match="validation='none'"):
        open_digits(folder, validation="none")
    for kind in ("random", "speaker"):
        with pytest.raises(ConfigError, match="share=1.5"):
            open_digits(folder, validation=kind, share=1.5)
    with pytest.raises(DataError, match="ulmus data fetch shd"):
        open_digits(folder / "elsewhere")
    shutil.copy(folder / "shd_train.h5", folder / "other_train.h5")
    with pytest.raises(DataError, match=r"holds other_train\.h5, shd_train\.h5"):
        open_digits(folder)
    with pytest.raises(DataError, match="all 3 clips are of speaker a"):
        choose_speakers(["a", "a", "a"], 0.2)


def test_clips_of_several_files_lie_behind_each_other(folder):
    train, test = open_split(folder, "train"), open_split(folder, "test")
    both = Clips.all_of(train, test)
    assert len(both) == 231
    np.testing.assert_array_equal(both.spikes(205)[0], test.spikes(5)[0])
    rest, held = hold_out(both, [0, 11])
    assert set(held.speakers.tolist()) == {0, 11}
    assert len(rest) + len(held) == 231
    known = np.nonzero(np.isin(both.speakers, [0, 11]))[0]
    for position in (0, len(held) - 1):
        np.testing.assert_array_equal(held.spikes(position)[0], both.spikes(known[position])[0])
    np.testing.assert_array_equal(held.labels, both.labels[known])
    with pytest.raises(ConfigError, match="speaker 77"):
        hold_out(both, [77])
    with pytest.raises(DataError, match="no clips"):
        hold_out(both, list(range(12)))
    other = SpikeFile(write_digits(folder / "ten.h5", classes=10))
    with pytest.raises(DataError, match="expected the same"):
        Clips.all_of(train, other)


def test_hashes_tell_selections_apart(folder):
    splits = open_digits(folder)
    assert splits.train.content_hash != splits.validation.content_hash
    assert splits.train.content_hash == open_digits(folder).train.content_hash


def test_a_folder_is_described(folder):
    described = describe(folder)
    assert list(described) == ["train", "test"]
    assert described["train"]["clips"] == 200
    assert described["train"]["speakers"] == 10
    trains = make_spikes(200)
    assert described["train"]["mean_spikes"] == pytest.approx(np.mean([len(times) for times, _ in trains]))
    with pytest.raises(DataError, match="holds no file"):
        describe(folder / "elsewhere")


def test_further_clips_are_learnt_from_and_nothing_else(tmp_path):
    for folder, seed, clips in (("own", 0, 24), ("voices", 5, 10), ("others", 6, 7)):
        (tmp_path / folder).mkdir()
        for split in ("train", "test"):
            write_digits(tmp_path / folder / f"a_{split}.h5", clips, seed)
    data = {"kind": "digits", "folder": f"{tmp_path / 'own'}", "validation_share": 0.3}
    alone = DigitsData(**data).open(4, 0)
    together = DigitsData(**data, more=[f"{tmp_path / 'voices'}", f"{tmp_path / 'others'}"]).open(4, 0)
    for one, other in zip(together, alone, strict=True):
        assert one.content_hash == other.content_hash
    assert list(together.train.further) == ["data.more[0]", "data.more[1]"]
    assert not alone.train.further
    first, clips = len(alone.train.clips), together.train.clips
    assert len(clips) == first + 17
    voices = Clips.all_of(open_split(tmp_path / "voices", "train"))
    for index in range(10):
        for one, other in zip(clips.spikes(first + index), voices.spikes(index), strict=True):
            np.testing.assert_array_equal(one, other)
        assert clips.labels[first + index] == voices.labels[index]


def test_recordings_that_may_be_held_out_are_no_further_clips(tmp_path):
    for folder, seed in (("own", 0), ("again", 5)):
        (tmp_path / folder).mkdir()
        for split, first in (("train", 0), ("test", 24)):
            names = np.array([f"{folder}/{number}.wav".encode() for number in range(first, first + 24)])
            write_digits(tmp_path / folder / f"a_{split}.h5", seed=seed, extra__clip=names[::-1])
    with pytest.raises(DataError, match=r"24 names of recordings in common, such as 0\.wav"):
        further_files([tmp_path / "again"], tmp_path / "own")
    with pytest.raises(DataError, match="names of recordings in common"):
        further_files([tmp_path / "own"], tmp_path / "own")
    for folder in ("published", "copy"):  # whose clips have no names, and one no spikes
        (tmp_path / folder).mkdir()
        for number, split in enumerate(("train", "test")):
            write_digits(tmp_path / folder / f"a_{split}.h5", seed=7 + number)
    telling = sum(len(times) >= 10 for times, _ in make_spikes(24, 7))
    with pytest.raises(
        DataError, match=f"data.more have {telling} clips with the same spikes in common; expected each once"
    ):
        further_files([tmp_path / "copy", tmp_path / "published"], tmp_path / "own")
    with pytest.raises(DataError, match=f"{telling} clips with the same spikes in common"):
        further_files([tmp_path / "copy"], tmp_path / "published")
    few = make_spikes(24, 9, spikes=10)  # may be the same by chance
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        write_digits(tmp_path / folder / "a_train.h5", trains=few)
    write_digits(tmp_path / "one" / "a_valid.h5", seed=20)
    write_digits(tmp_path / "one" / "b_valid.h5", seed=21)  # one file more than is read
    assert len(further_files([tmp_path / "other"], tmp_path / "one")) == 1
    assert further_files([], tmp_path / "nowhere") == []
    write_digits(tmp_path / "again" / "a_train.h5", seed=5, classes=10)
    with pytest.raises(DataError, match=r"has the classes zero, one, .*, nine, .* expected the same; leave"):
        DigitsData(kind="digits", folder=f"{tmp_path / 'own'}", more=f"{tmp_path / 'again'}").open(4, 0)
