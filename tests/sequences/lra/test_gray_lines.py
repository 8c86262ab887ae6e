import numpy as np
import pytest

from ulmus.errors import ConfigError, DataError
from ulmus.sequences.lra.encoding import GrayBins, gray_bins
from ulmus.sequences.lra.gray_lines import gray_line_splits

PATHFINDER = ("Pathfinder-8", ("apart", "connected"), 8)


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    (tmp_path / "input").mkdir()
    (tmp_path / "label").mkdir()
    for split, count in (("train", 5), ("valid", 2), ("test", 3)):
        images = random.integers(0, 256, (count, 64))
        text = "".join(" ".join(map(str, image)) + "\n" for image in images)
        (tmp_path / "input" / f"{split}.src").write_text(text)
        (tmp_path / "label" / f"{split}.label").write_text("".join(f"{k % 2}\n" for k in range(count)))
        np.save(tmp_path / f"{split}.npy", images)
    return tmp_path


def test_pixels_and_labels_are_read_as_given(folder):
    splits = gray_line_splits(folder, *PATHFINDER)
    for part, split in zip(splits, ("train", "valid", "test"), strict=True):
        images = np.load(folder / f"{split}.npy")
        assert len(part) == len(images)
        assert all((part[k][0] == image).all() for k, image in enumerate(images))
        assert part.labels.tolist() == [k % 2 for k in range(len(images))]


@pytest.mark.parametrize("line", [b"1 2 x 3", b"", b"1 256", b"-1 2", b"1.5 2", b"7 " * 63])
def test_damaged_lines_are_named(folder, line):
    file = folder / "input" / "train.src"
    lines = file.read_bytes().split(b"\n")
    file.write_bytes(b"\n".join([lines[0], line, *lines[2:]]))
    data = gray_line_splits(folder, *PATHFINDER).train
    data[0]
    with pytest.raises(DataError, match=r"train.src, line 2: .*gray levels"):
        data[1]


def test_labels_that_do_not_fit_are_named(folder):
    label = folder / "label" / "test.label"
    label.write_text("0\n1\n7\n")
    with pytest.raises(DataError, match=r"test.label, line 3: b'7'"):
        gray_line_splits(folder, *PATHFINDER)
    label.write_text("0\n1\n")
    with pytest.raises(DataError, match="has 2 lines"):
        gray_line_splits(folder, *PATHFINDER)
    label.unlink()
    with pytest.raises(DataError, match="does not exist"):
        gray_line_splits(folder, *PATHFINDER)


def test_gray_bins_are_equal():
    levels = np.arange(256, dtype=np.uint8)
    for bins in (1, 8, 16, 256):
        assert (np.bincount(gray_bins(levels, bins)) == 256 // bins).all()
    with pytest.raises(ConfigError, match="bins=1"):
        GrayBins(1)
