"""Two makers that begin one folder at the same moment."""

import os
import signal

import numpy as np
import pytest

from ulmus.errors import ConfigError, DataError
from ulmus.sequences import making


def test_a_folder_that_another_process_begins_meanwhile_is_not_foreign(tmp_path, monkeypatch):
    looked = iter([None])  # what was there at the first look; the other process begins right after it
    read = making.generated_by_us

    def look(folder, record=making.RECORD):
        if next(looked, "again") is None:
            making.write_json(folder / record, {"seed": 0})
            (folder / "data.tsv").write_text("x")
            return None
        return read(folder, record)

    monkeypatch.setattr(making, "generated_by_us", look)
    making.begin(tmp_path, {"seed": 0})
    looked = iter([None])
    (tmp_path / making.RECORD).unlink()
    with pytest.raises(ConfigError, match="begun with other settings"):
        making.begin(tmp_path, {"seed": 1})


def test_foreign_data_are_refused_and_leftovers_are_none(tmp_path):
    (tmp_path / ".data.tsv.0123.partial").mkdir()
    making.begin(tmp_path, {"seed": 0})
    (tmp_path / making.RECORD).unlink()
    (tmp_path / "data.tsv").write_text("x")
    with pytest.raises(DataError, match=r"holds 'data\.tsv' but no"):
        making.begin(tmp_path, {"seed": 0})


def test_whole_numbers_of_numpy_are_whole_numbers_and_others_are_not(tmp_path):
    making.check_counts(images=np.int64(3))
    making.check_seed(np.int64(3))
    making.begin(tmp_path, {"seed": np.int64(3)})
    making.begin(tmp_path, {"seed": 3})
    for wrong in (2.0, True, "2"):
        with pytest.raises(ConfigError, match="images=.*: expected a whole number"):
            making.check_counts(images=wrong)
        with pytest.raises(ConfigError, match="seed=.*: expected a whole number"):
            making.check_seed(wrong)


def test_of_lists_that_differ_only_what_differs_is_said(tmp_path):
    voices = [f"m{number}" for number in range(12)]
    making.begin(tmp_path, {"speakers": voices, "order": [1, 2]})
    with pytest.raises(ConfigError, match=r"speakers: only asked for \[\], only present \['m11'\]; expected"):
        making.begin(tmp_path, {"speakers": voices[:-1], "order": [1, 2]})
    with pytest.raises(ConfigError, match=r"order: asked for \[2, 1\], present \[1, 2\]"):
        making.begin(tmp_path, {"speakers": voices, "order": [2, 1]})


@pytest.fixture
def interruptible():
    """Python's own handler of Ctrl-C: a shell starts what runs in its background with interrupts ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_waits_for_compiled_code_and_then_comes():
    done = []

    def work():
        with making.interrupts_wait():
            os.kill(os.getpid(), signal.SIGINT)
            done.append("compiled code")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done
