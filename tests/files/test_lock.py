"""One process at a time, and a crash frees the lock."""

import multiprocessing
import os
import signal
import time

import pytest

from ulmus.errors import ConfigError
from ulmus.files.lock import LOCK_FILE, only_one


def _hold(folder):
    with only_one(folder, "trained"):
        time.sleep(60)


def _started(folder):
    process = multiprocessing.get_context("spawn").Process(target=_hold, args=(folder,), daemon=True)
    process.start()
    deadline = time.monotonic() + 60
    while not (folder / LOCK_FILE).exists() or not (folder / LOCK_FILE).read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


def test_a_second_process_hears_who_holds_the_lock_and_a_crash_frees_it(tmp_path):
    folder = tmp_path / "run"
    holder = _started(folder)
    with (
        pytest.raises(
            ConfigError, match=rf"run is being trained by process {holder.pid} on .* since \d{{4}}-"
        ) as caught,
        only_one(folder, "trained", remedy="give another folder"),
    ):
        pass
    assert str(caught.value).endswith("give another folder")
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    with only_one(folder, "trained"):
        assert f'"process": {os.getpid()}' in (folder / LOCK_FILE).read_text()
    assert not (folder / LOCK_FILE).exists()


def test_one_process_locks_a_folder_once(tmp_path):
    with (
        only_one(tmp_path, "filled"),
        pytest.raises(ConfigError, match=f"by process {os.getpid()} "),
        only_one(tmp_path, "filled"),
    ):
        pass
    with only_one(tmp_path, "filled"):
        pass


def test_a_folder_that_cannot_be_written_is_no_error_of_the_lock(tmp_path):
    (tmp_path / "file").write_text("")
    with only_one(tmp_path / "file", "trained"):
        assert (tmp_path / "file").is_file()
