"""Files appear complete or not at all, whatever ends their writer."""

import multiprocessing
import os
import signal
import time

import pytest

from ulmus.errors import DataError
from ulmus.files.reading import json_lines, read_json, read_text, sha256_of_file
from ulmus.files.writing import (
    PARTIAL,
    append_json,
    new_folder,
    remove_leftovers,
    write_file,
    write_json,
    write_text,
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_that_cannot_be_finished_leaves_what_was_there(tmp_path):
    file = tmp_path / "a.txt"
    write_text(file, "first")

    def half(made):
        made.write_text("sec")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_file(file, half)
    assert file.read_text() == "first"
    assert names(tmp_path) == ["a.txt"]


def test_a_file_that_is_there_is_kept_when_asked(tmp_path):
    file = tmp_path / "deep" / "a.txt"
    write_text(file, "first")
    write_text(file, "second", replace=False)
    assert file.read_text() == "first"
    write_text(file, "third")
    assert file.read_text() == "third"


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    with new_folder(tmp_path / "images") as made:
        (made / "0.png").write_bytes(b"0")

    def half():
        with new_folder(tmp_path / "images") as made:
            (made / "1.png").write_bytes(b"1")
            raise KeyError

    with pytest.raises(KeyError):
        half()
    assert names(tmp_path) == ["images"]
    assert names(tmp_path / "images") == ["0.png"]


def _write_forever(file):
    def write(made):
        made.write_bytes(b"half")
        time.sleep(60)

    write_file(file, write)


@pytest.fixture
def writer(tmp_path):
    """A process that has written half of a file."""
    process = multiprocessing.get_context("spawn").Process(
        target=_write_forever, args=(tmp_path / "a.bin",), daemon=True
    )
    process.start()
    deadline = time.monotonic() + 60
    while not any((folder / "a.bin").exists() for folder in tmp_path.glob(f".*{PARTIAL}")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield process
    process.kill()


def test_leftovers_of_killed_writers_are_removed_and_those_of_live_ones_kept(tmp_path, writer):
    resumable = tmp_path / f".data.h5.zip{PARTIAL}"
    resumable.write_bytes(b"half of a download")
    remove_leftovers(tmp_path)
    assert len(list(tmp_path.glob(f".a.bin.*{PARTIAL}"))) == 1
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    remove_leftovers(tmp_path, "b.bin")
    assert len(list(tmp_path.glob(f".a.bin.*{PARTIAL}"))) == 1
    remove_leftovers(tmp_path, "a.bin")
    assert names(tmp_path) == [resumable.name]


def test_json_is_read_as_it_was_written(tmp_path):
    write_json(tmp_path / "a.json", {"name": "Purkyně", "scores": [0.5, None]})
    assert read_json(tmp_path / "a.json") == {"name": "Purkyně", "scores": [0.5, None]}
    for step in (1, 2):
        append_json(tmp_path / "a.jsonl", {"step": step})
    with (tmp_path / "a.jsonl").open("a") as file:
        file.write('{"step": 3')
    assert list(json_lines(read_text(tmp_path / "a.jsonl"))) == [{"step": 1}, {"step": 2}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[1]", "holds a JSON list; expected an object"),
        (b"{", "is not JSON"),
        (b"\xff", "is not UTF-8"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "is not JSON"),
    ],
    ids=["list", "cut", "bytes", "deep", "digits"],
)
def test_what_is_wrong_with_json_is_said_with_the_file(tmp_path, content, message):
    file = tmp_path / "a.json"
    file.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_json(file, remedy="make it again")
    assert str(file) in str(caught.value)
    assert len(str(caught.value)) < 500
    assert str(caught.value).endswith("make it again")


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataError, match=r"absent\.json does not exist"):
        read_json(tmp_path / "absent.json")
    with pytest.raises(DataError, match="cannot be read"):
        sha256_of_file(tmp_path)
