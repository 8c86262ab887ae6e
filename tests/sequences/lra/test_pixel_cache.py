"""Kept pixels are those of the files, whatever happened to the files that keep them."""

import pickle

import numpy as np
import pytest

from ulmus.sequences.lra.pathfinder.pixel_cache import PixelCache


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (5, 16), dtype=np.uint8)


def reader(images, index, calls):
    def read():
        calls.append(index)
        return images[index]

    return read


def test_each_image_is_read_once_also_by_another_process(images, tmp_path):
    calls = []
    kept = PixelCache(tmp_path, "a", 5, 16)
    for index in (3, 1, 3, 1):
        np.testing.assert_array_equal(kept.get(index, reader(images, index, calls)), images[index])
    assert calls == [3, 1]
    again = pickle.loads(pickle.dumps(kept))
    np.testing.assert_array_equal(again.get(3, reader(images, 3, calls)), images[3])
    assert calls == [3, 1]


def test_damaged_pixels_are_read_anew(images, tmp_path):
    calls = []
    PixelCache(tmp_path, "a", 5, 16).get(2, reader(images, 2, calls))
    file = tmp_path / "a.u8"
    file.write_bytes(b"x" * file.stat().st_size)
    np.testing.assert_array_equal(
        PixelCache(tmp_path, "a", 5, 16).get(2, reader(images, 2, calls)), images[2]
    )
    assert calls == [2, 2]
    file.write_bytes(b"cut")
    np.testing.assert_array_equal(
        PixelCache(tmp_path, "a", 5, 16).get(2, reader(images, 2, calls)), images[2]
    )


def test_a_black_image_is_kept_too(tmp_path):
    calls, black = [], np.zeros((1, 16), dtype=np.uint8)
    kept = PixelCache(tmp_path, "a", 1, 16)
    for _ in range(2):
        kept.get(0, reader(black, 0, calls))
    assert calls == [0]


def test_without_a_folder_to_write_to_everything_is_read(images, tmp_path):
    calls = []
    kept = PixelCache(tmp_path / "missing", "a", 5, 16)
    for _ in range(2):
        np.testing.assert_array_equal(kept.get(0, reader(images, 0, calls)), images[0])
    assert calls == [0, 0]
