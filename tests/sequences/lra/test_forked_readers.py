"""Processes that fork from one that has opened the data read what they ask for, not where another one is reading."""

import sys

import numpy as np
import pytest
from torch.utils.data import DataLoader, Dataset

from ulmus.sequences.lra.lines import Lines
from ulmus.sequences.lra.pathfinder.pixel_cache import PixelCache

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="nothing forks on Windows")
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


def test_lines(tmp_path):
    file = tmp_path / "lines"
    file.write_text("".join(f"{number:04}\n" for number in range(997)))
    found = by_two_processes(Lines(file).__getitem__, 997)
    assert len(found) == READS
    assert all(line == f"{index:04}".encode() for index, line in found)


def test_kept_pixels(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (997, 16), dtype=np.uint8)
    kept = PixelCache(tmp_path, "a", 997, 16)
    found = by_two_processes(lambda index: kept.get(index, lambda: images[index]), 997)
    assert len(found) == READS
    assert all((pixels == images[index]).all() for index, pixels in found)
    for index in range(997):  # what the two have written
        assert (kept.get(index, lambda: np.zeros(16, np.uint8)) == images[index]).all()
