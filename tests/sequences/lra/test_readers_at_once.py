"""Threads, and processes that fork from one that has opened the data, read what they ask for, not where another is reading."""

import os
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from torch.utils.data import DataLoader, Dataset

from ulmus.sequences.lra.lines import Lines
from ulmus.sequences.lra.pathfinder.pixel_cache import PixelCache

READS = 20_000


class Asked(Dataset):
    """What is read of item ``index % count``, and that index."""

    def __init__(self, read, count):
        self.read, self.count = read, count

    def __len__(self):
        return READS

    def __getitem__(self, index):
        return index % self.count, self.read(index % self.count)


def by_two_processes(read, count):
    loader = DataLoader(
        Asked(read, count), batch_size=100, num_workers=2, collate_fn=list, multiprocessing_context="fork"
    )
    return [item for batch in loader for item in batch]


def by_four_threads(read, count):
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # so that threads meet often
    try:
        with ThreadPoolExecutor(4) as threads:
            return list(threads.map(Asked(read, count).__getitem__, range(READS)))
    finally:
        sys.setswitchinterval(usual)


several = pytest.mark.parametrize("by", [by_two_processes, by_four_threads])


@several
def test_lines(by, tmp_path):
    file = tmp_path / "lines"
    file.write_text("".join(f"{number:04}\n" for number in range(997)))
    found = by(Lines(file).__getitem__, 997)
    assert len(found) == READS
    assert all(line == f"{index:04}".encode() for index, line in found)


@several
def test_kept_pixels(by, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (997, 16), dtype=np.uint8)
    kept = PixelCache(tmp_path, "a", 997, 16)
    found = by(lambda index: kept.get(index, lambda: images[index]), 997)
    assert len(found) == READS
    assert all((pixels == images[index]).all() for index, pixels in found)
    for index in range(997):  # what the two have written
        assert (kept.get(index, lambda: np.zeros(16, np.uint8)) == images[index]).all()


def test_a_file_that_gives_less_than_was_asked_for_is_read_to_its_end(tmp_path, monkeypatch):
    file = tmp_path / "lines"
    file.write_text("a" * 1000 + "\n" + "b" * 1000 + "\n")
    whole = os.pread
    monkeypatch.setattr(os, "pread", lambda number, size, place: whole(number, min(size, 300), place))
    lines = Lines(file)
    assert [lines[0], lines[1]] == [b"a" * 1000, b"b" * 1000]


def test_a_file_that_another_thread_has_opened_anew_is_still_read(tmp_path):
    file = tmp_path / "lines"
    file.write_text("a\nb\n")
    lines = pickle.loads(pickle.dumps(Lines(file)))

    class Opened:
        """The first opened file; asked for its number, another thread opens a second one in its place."""

        def __init__(self, content):
            self.content = content

        def fileno(self):
            lines.__dict__["_file"] = file.open("rb")
            return self.content.fileno()

    lines.__dict__["_file"] = Opened(file.open("rb"))
    assert lines[0] == b"a"
