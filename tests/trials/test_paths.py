import pickle

import pytest
from trial_examples import assert_same_trial, assert_same_trials, make_header, make_trial, write_store

from ulmus.errors import ConfigError, DataError
from ulmus.trials import Header, Store, StoreWriter, open_trials


@pytest.fixture
def folder(tmp_path):
    for seed in (1, 2):
        write_store(tmp_path / f"trials_{seed}", 4, header=make_header(40, 12, seed=seed))
    header = make_header(40, 12)
    writer = StoreWriter(tmp_path / "store", header, 5)
    for index in range(5):
        writer.add(index, make_trial(header, index))
    writer.finish()
    return tmp_path


def test_stores_behind_each_other(folder):
    one, two = Store(folder / "trials_1"), Store(folder / "trials_2")
    trials = open_trials(f"{folder}/trials_*[:3]")
    assert len(trials) == 6
    for index, (source, local) in enumerate([(one, 0), (one, 1), (one, 2), (two, 0), (two, 1), (two, 2)]):
        assert_same_trial(trials.trial(index), source.trial(local))
        assert_same_trial(trials.window(index, 5, 9), source.window(local, 5, 9))
    entries = [(e["path"], e["first"], e["stop"], e["content_hash"]) for e in trials.description]
    assert entries == [(str(s.path), 0, 3, s.content_hash) for s in (one, two)]
    assert_same_trials(pickle.loads(pickle.dumps(trials)), trials)


def test_lists_slices_and_stores(folder):
    store = Store(folder / "store")
    trials = open_trials([folder / "trials_1", f"{folder / 'store'}[-2:]"])
    assert len(trials) == 6
    assert_same_trial(trials.trial(5), store.trial(4))
    assert len(open_trials(f"{folder / 'store'}[1:3]")) == 2
    assert_same_trials(open_trials(folder / "store"), store)


def test_a_share_is_the_first_trials_of_every_source(folder):
    spec = [f"{folder}/store", f"{folder}/store[2:]"]
    shared = open_trials(spec, share=0.5)
    whole = [range(entry["first"], entry["stop"]) for entry in open_trials(spec).description]
    half = [range(entry["first"], entry["stop"]) for entry in shared.description]
    assert half == [some[: round(len(some) / 2)] for some in whole]
    assert len(open_trials(spec, share=1e-6)) == 2


def test_hash_depends_on_content_and_slice_but_not_on_place(folder, tmp_path):
    whole, part = open_trials(folder / "store"), open_trials(f"{folder / 'store'}[:4]")
    assert whole.content_hash != part.content_hash
    (folder / "store").rename(folder / "moved")
    assert open_trials(folder / "moved").content_hash == whole.content_hash
    assert open_trials(folder / "trials_1").content_hash != open_trials(folder / "trials_2").content_hash


def test_mistakes_are_explained(folder):
    for spec, message in [
        (folder / "trials_3", "Did you mean 'trials_"),
        (folder / "absent" / "deeper" / "x.h5", "does not exist"),
        (f"{folder}/*.hdf", "matches no file"),
        (f"{folder / 'store'}[7:]", "no trials"),
        (folder / "store" / "trials-0000000-0000004.h5", "a part of the store"),
        (folder, r"store\.json does not exist"),
    ]:
        with pytest.raises(DataError, match=message):
            open_trials(spec)
    with pytest.raises(ConfigError, match="no data"):
        open_trials([])
    with pytest.raises(DataError, match="trials 0 to 4 of 40 steps"):
        open_trials(folder / "store").trial(5)
    (folder / "a.npz").touch()
    with pytest.raises(DataError, match=r"ulmus data convert .*a.npz --mapping"):
        open_trials(folder / "a.npz")
    (folder / "sim__a.p").touch()
    for spec in (folder / "sim__a.p", folder):
        with pytest.raises(DataError, match="ulmus data convert"):
            open_trials(spec)


def test_trials_that_do_not_fit_together(folder):
    write_store(folder / "longer", header=make_header(41, 12))
    with pytest.raises(DataError, match="steps: 40 != 41"):
        open_trials([folder / "trials_1", folder / "longer"])
    write_store(folder / "coarser", header=Header(40, 2.0, make_header(40, 12).input_sign, source="test"))
    with pytest.raises(DataError, match=r"dt_ms: 1\.0 != 2\.0"):
        open_trials([folder / "trials_1", folder / "coarser"])
