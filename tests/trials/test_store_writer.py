import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from trial_examples import (
    HEADER,
    assert_same_trial,
    environment,
    folder_bytes,
    make_header,
    make_trial,
    python,
    write_store,
)

from ulmus.errors import ConfigError, DataError
from ulmus.trials import Store, StoreWriter


def test_the_same_trials_give_the_same_bytes_in_any_order(tmp_path):
    write_store(tmp_path / "a")
    writer = StoreWriter(tmp_path / "b", HEADER, None, 4)
    for index in reversed(range(10)):
        writer.add(index, make_trial(HEADER, index))
    writer.finish()
    assert folder_bytes(tmp_path / "a") == folder_bytes(tmp_path / "b")


def test_resume_after_each_possible_number_of_trials(tmp_path):
    write_store(tmp_path / "whole")
    expected = folder_bytes(tmp_path / "whole")
    for stop in range(10):
        folder = tmp_path / f"stopped-{stop}"
        writer = StoreWriter(folder, HEADER, 10, 4)
        for index in range(stop):
            writer.add(index, make_trial(HEADER, index))
        again = StoreWriter(folder, HEADER, 10, 4)
        assert again.done() == set(range(stop))
        for index in set(range(10)) - again.done():
            again.add(index, make_trial(HEADER, index))
        again.finish()
        assert folder_bytes(folder) == expected


def test_a_finished_store_can_grow(tmp_path):
    write_store(tmp_path / "store", trials=6)
    writer = StoreWriter(tmp_path / "store", HEADER, 11, 4)
    assert writer.done() == set(range(6))
    for index in range(6, 11):
        writer.add(index, make_trial(HEADER, index))
        assert len(Store(tmp_path / "store")) == 6
    store = writer.finish()
    assert store.verify() == []
    for index in range(11):
        assert_same_trial(store.trial(index), make_trial(HEADER, index))


WRITE_FOREVER = """
import sys
from trial_examples import make_header, make_trial
from ulmus.trials import StoreWriter
header = make_header(steps=2000, purpose="test")
writer = StoreWriter(sys.argv[1], header, {total}, 4)
for index in {order}:
    writer.add(index, make_trial(header, index, events=20000))
    print(index, flush=True)
{end}
"""


@pytest.mark.parametrize("after", [0, 2, 3, 7])
def test_a_killed_writer_loses_only_the_trial_in_flight(tmp_path, after):
    header = make_header(steps=2000, purpose="test")
    code = WRITE_FOREVER.format(total=12, order="range(12)", end="")
    with subprocess.Popen(
        [*python(code), str(tmp_path / "store")], env=environment(), stdout=subprocess.PIPE
    ) as process:
        for line in process.stdout:
            if int(line) == after:
                break
        time.sleep(0.001 * after)  # into the middle of the next one
        os.kill(process.pid, signal.SIGKILL)
        written = [int(line) for line in process.stdout]
    writer = StoreWriter(tmp_path / "store", header, 12, 4)
    assert set(range(after + 1)) | set(written) <= writer.done()
    for index in set(range(12)) - writer.done():
        writer.add(index, make_trial(header, index, events=20000))
    writer.finish()
    whole = StoreWriter(tmp_path / "whole", header, 12, 4)
    for index in range(12):
        whole.add(index, make_trial(header, index, events=20000))
    whole.finish()
    assert folder_bytes(tmp_path / "store") == folder_bytes(tmp_path / "whole")


@pytest.mark.parametrize("step", ["link", "unlink", "fsync"])
def test_stopping_at_any_file_operation_leaves_a_store_to_resume(tmp_path, monkeypatch, step):
    """As a kill just before the n-th call of one kind, for every n until the writing goes through."""
    write_store(tmp_path / "whole", trials=5, shard_trials=2)
    expected = folder_bytes(tmp_path / "whole")
    owner, name = (Path, "unlink") if step == "unlink" else (os, step)
    original = getattr(owner, name)

    class Killed(BaseException):
        pass

    for survivors in range(100):
        calls = iter(range(survivors))

        def stop(*args, calls=calls, **kwargs):
            if next(calls, None) is None:
                raise Killed
            return original(*args, **kwargs)

        folder = tmp_path / f"{step}-{survivors}"
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, stop)
            try:
                write_store(folder, trials=5, shard_trials=2)
            except Killed:
                finished = False
            else:
                finished = True
        write_store(folder, trials=5, shard_trials=2)
        assert folder_bytes(folder) == expected
        if finished:
            break
    assert finished
    assert survivors > 3


def test_two_processes_write_one_store_at_once(tmp_path):
    header = make_header(steps=2000, purpose="test")
    end = "writer.finish()"
    codes = [
        WRITE_FOREVER.format(total=40, order="range(40)", end=end),
        WRITE_FOREVER.format(total=40, order="reversed(range(40))", end=end),
        WRITE_FOREVER.format(total=40, order="range(40)", end=end),
    ]
    processes = [
        subprocess.Popen(
            [*python(code), str(tmp_path / "store")], env=environment(), stdout=subprocess.DEVNULL
        )
        for code in codes
    ]
    assert [process.wait() for process in processes] == [0, 0, 0]
    store = Store(tmp_path / "store")
    assert store.verify() == []
    for index in range(40):
        assert_same_trial(store.trial(index), make_trial(header, index, events=20000))
    files = sorted(p.name for p in (tmp_path / "store").iterdir())
    assert files == ["store.json", *(f"trials-{a:07d}-{a + 3:07d}.h5" for a in range(0, 40, 4))]


def test_two_writers_with_half_of_the_trials_each(tmp_path):
    one, two = (StoreWriter(tmp_path / "store", HEADER, 9, 4) for _ in range(2))
    for index in range(9):
        (one, two)[index % 2].add(index, make_trial(HEADER, index))
    with pytest.raises(ConfigError):
        one.add(9, make_trial(HEADER, 9))
    assert two.finish().content_hash == one.finish().content_hash
    write_store(tmp_path / "alone", 9)
    assert folder_bytes(tmp_path / "store") == folder_bytes(tmp_path / "alone")


def test_without_hard_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "no hard links here")

    write_store(tmp_path / "a")
    monkeypatch.setattr(os, "link", refuse)
    write_store(tmp_path / "b")
    assert folder_bytes(tmp_path / "a") == folder_bytes(tmp_path / "b")


def test_other_settings_are_refused_by_key(tmp_path):
    write_store(tmp_path / "store")
    with pytest.raises(ConfigError, match=r"settings\.purpose: 'other' != 'test'"):
        StoreWriter(tmp_path / "store", make_header(purpose="other"))
    with pytest.raises(ConfigError, match="steps: 51 != 50"):
        StoreWriter(tmp_path / "store", make_header(51, purpose="test"), shard_trials=4)
    with pytest.raises(ConfigError, match="shard_trials: 8 != 4"):
        StoreWriter(tmp_path / "store", HEADER, shard_trials=8)


def test_foreign_folders_are_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"no store\.json"):
        StoreWriter(tmp_path, HEADER)
    with pytest.raises(DataError, match="is a file"):
        StoreWriter(tmp_path / "notes.txt", HEADER)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_a_bad_trial_writes_nothing(tmp_path):
    writer = StoreWriter(tmp_path / "store", HEADER, 2)
    bad = make_trial(HEADER, 0)
    bad.voltage_mv[3] = np.nan
    before = folder_bytes(tmp_path)
    with pytest.raises(DataError, match="trial 1: voltage_mv is nan at step 3"):
        writer.add(1, bad)
    assert folder_bytes(tmp_path) == before
    with pytest.raises(DataError, match="lacks 2 of 2 trials"):
        writer.finish()
    with pytest.raises(DataError, match="is not finished"):
        Store(tmp_path / "store")


def test_damage_is_met_before_anything_is_added(tmp_path):
    folder = tmp_path / "store"
    write_store(folder, trials=6)
    shard = folder / "trials-0000000-0000003.h5"
    whole = shard.read_bytes()
    flipped = bytearray(whole)
    flipped[-5] ^= 1
    for content, message in ((bytes(flipped), "SHA-256"), (whole[:-900], "trials-0000000-0000003.h5")):
        shard.write_bytes(content)
        with pytest.raises(DataError, match=message):
            StoreWriter(folder, HEADER, 11, 4)
    shard.unlink()
    writer = StoreWriter(folder, HEADER, 6, 4)
    assert writer.done() == {4, 5}
    for index in range(4):
        writer.add(index, make_trial(HEADER, index))
    assert writer.finish().verify() == []
    assert shard.read_bytes() == whole


def test_a_damaged_trial_of_an_unfinished_shard_is_met_too(tmp_path):
    writer = StoreWriter(tmp_path / "store", HEADER, 10, 4)
    writer.add(2, make_trial(HEADER, 2))
    pending = next((tmp_path / "store" / "pending").glob("trial-*.h5"))
    pending.write_bytes(pending.read_bytes()[:500])
    with pytest.raises(DataError, match="trial-0000002.h5.*delete this file"):
        StoreWriter(tmp_path / "store", HEADER, 10, 4)


def test_adding_a_trial_lists_no_shards_however_many_there_are(tmp_path, monkeypatch):
    header = make_header(20, 4)
    writer = StoreWriter(tmp_path / "store", header, 12, shard_trials=4)

    def listed(_):
        raise AssertionError("the folder was listed")

    with monkeypatch.context() as patch:
        patch.setattr(StoreWriter, "_ranges", listed)
        for index in range(8):
            writer.add(index, make_trial(header, index))
            writer.add(0, make_trial(header, 0))  # there already
    other = StoreWriter(tmp_path / "store", header, 12, shard_trials=4)
    for index in (8, 9, 10, 11):
        other.add(index, make_trial(header, index))
    writer.add(9, make_trial(header, 9))  # in a shard that the other writer has made meanwhile
    assert not list((tmp_path / "store" / "pending").glob("trial-*"))
    assert len(writer.finish()) == 12
