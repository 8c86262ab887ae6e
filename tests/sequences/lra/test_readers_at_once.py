"""Threads, and processes that fork from one that has opened the data, read what they ask for, not where another is reading."""

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
