import hashlib
import pickle
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from ulmus.errors import ConfigError, DataError
from ulmus.sequences.lra.batches import SequenceBatches
from ulmus.sequences.lra.encoding import Intensity
from ulmus.sequences.lra.pathfinder.files import Pathfinder, pathfinder_splits
from ulmus.sequences.lra.pathfinder.images import draw_scene, render
from ulmus.sequences.lra.pathfinder.settings import published_settings
from ulmus.sequences.lra.pathfinder.writer import make_pathfinder

SETTINGS = published_settings(32, 6)
IMAGES = 2300


def digest(folder):
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("made")
    make_pathfinder(root, SETTINGS, images=IMAGES, seed=3, workers=1)
    return root


@pytest.fixture
def copy(made, tmp_path):
    shutil.copytree(made, tmp_path / "copy")
    return tmp_path / "copy"


def test_layout_is_the_published_one(made):
    folder = made / "pathfinder32" / "curv_baseline"
    assert len(list((folder / "imgs").iterdir())) == 3
    lines = [(folder / "metadata" / f"{batch}.npy").read_text().splitlines() for batch in range(3)]
    assert [len(batch) for batch in lines] == [1000, 1000, 300]
    label = draw_scene(SETTINGS, 3, 1005).label
    assert lines[1][5] == f"imgs/1 sample_5.png 5 {label} 1.0 6 2 2 0.5 1 1"
    with Image.open(folder / "imgs" / "1" / "sample_5.png") as image:
        assert image.mode == "L"
        assert (np.asarray(image) == render(SETTINGS, draw_scene(SETTINGS, 3, 1005))).all()


def test_any_number_of_workers_and_interruptions_give_the_same_files(made, copy):
    folder = copy / "pathfinder32" / "curv_baseline"
    (folder / "metadata" / "1.npy").unlink()  # killed before it was published
    (folder / "imgs" / "1" / "sample_9.png").write_bytes(b"half")
    shutil.rmtree(folder / "imgs" / "2")
    (folder / "metadata" / "2.npy").unlink()
    with pytest.raises(DataError, match="1000 of 2300 images"):
        Pathfinder(copy, 32, 6)
    counts = []
    make_pathfinder(
        copy, SETTINGS, images=IMAGES, seed=3, workers=2, on_images=lambda *now: counts.append(now)
    )
    assert counts == [(2000, 2300), (2300, 2300)]
    assert digest(copy) == digest(made)


def test_splits_are_those_of_torch_with_seed_42(made):
    whole, splits = Pathfinder(made, 32, 6), pathfinder_splits(made, 32, 6)
    assert whole.name == "Pathfinder-32, easy, generated"
    expected = torch.utils.data.random_split(
        torch.utils.data.TensorDataset(torch.arange(IMAGES)),
        [1840, 230, 230],
        torch.Generator().manual_seed(42),
    )
    for part, indices in zip(splits, expected, strict=True):
        assert len(part) == len(indices)
        for k in (0, 7, len(part) - 1):
            pixels, label = part[k]
            there = int(indices[k][0])
            assert (pixels == whole.image(there).reshape(-1)).all()
            assert label == draw_scene(SETTINGS, 3, there).label
    sent = pickle.loads(pickle.dumps(splits.validation))
    batch = SequenceBatches(sent, Intensity(), 2).batch(0, 1)
    pixels = (batch.inputs[:, :, 0] * 255).round().to(torch.uint8)
    for row, index in zip(pixels.numpy(), (2, 3), strict=True):
        assert (row == splits.validation[index][0]).all()
    assert batch.labels.tolist() == splits.validation.labels[2:4].tolist()


@pytest.mark.parametrize("nesting", [".", "lra_release", "lra_release/lra_release"])
def test_archive_is_found_where_people_unpack_it(tmp_path, nesting):
    write_published(tmp_path / nesting)
    data = Pathfinder(tmp_path, 32, 14)
    assert data.name == "Pathfinder-32"
    assert data.labels.tolist() == [0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1]
    assert data[11][0][0] == 11  # batch 10 comes after batch 2


def write_published(root, size=32, subset="curv_contour_length_14", as_array=False):
    folder = root / f"pathfinder{size}" / subset
    (folder / "metadata").mkdir(parents=True)
    for batch, count in ((0, 4), (10, 4), (2, 4)):
        (folder / "imgs" / str(batch)).mkdir(parents=True)
        rows = []
        for k in range(count):
            value = {0: 0, 2: 4, 10: 8}[batch] + k
            Image.fromarray(np.full((size, size), value, np.uint8)).save(
                folder / f"imgs/{batch}/sample_{k}.png"
            )
            rows.append(
                [
                    f"imgs/{batch}",
                    f"sample_{k}.png",
                    str(k),
                    str(value % 2),
                    "1.0",
                    "14",
                    "4",
                    "2",
                    "0.5",
                    "1",
                    "1",
                ]
            )
        file = folder / "metadata" / f"{batch}.npy"
        if as_array:
            np.save(file, np.array(rows))
        else:
            file.write_text("".join(" ".join(row) + "\n" for row in rows))
    return folder


def test_metadata_that_really_are_arrays_are_read(tmp_path):
    write_published(tmp_path, as_array=True)
    assert Pathfinder(tmp_path, 32).labels.tolist() == [0, 1] * 6


def test_the_empty_image_of_the_archive_is_left_out(tmp_path):
    folder = write_published(tmp_path, subset="curv_baseline")
    metadata = folder / "metadata" / "0.npy"
    metadata.write_text(metadata.read_text() + "imgs/0 sample_172.png 172 1 1.0 6 2 2 0.5 1 1\n")
    (folder / "imgs/0/sample_172.png").touch()
    assert len(Pathfinder(tmp_path, 32, 6)) == 12
    (folder / "imgs/0/sample_1.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"sample_1.png is empty"):
        Pathfinder(tmp_path, 32, 6)[1]


def test_damaged_files_are_named(tmp_path):
    folder = write_published(tmp_path)
    data = Pathfinder(tmp_path, 32)
    (folder / "imgs/0/sample_0.png").write_bytes((folder / "imgs/0/sample_0.png").read_bytes()[:40])
    (folder / "imgs/0/sample_1.png").unlink()
    Image.new("L", (64, 64)).save(folder / "imgs/0/sample_2.png")
    for index, message in enumerate(
        ["cannot be read", "does not exist", "64 x 64.; expected a PNG of 32 x 32"]
    ):
        with pytest.raises(DataError, match=f"sample_{index}.png.*{message}"):
            data[index]
    with pytest.raises(DataError, match="sequence 12 .* 0 to 11"):
        data[12]


@pytest.mark.parametrize(
    "content", [b"imgs/0 sample_0.png 0\n", b"imgs/0 s.png 0 2 1\n", b"../x s.png 0 1 1\n", b"\xff\xfe"]
)
def test_damaged_metadata_are_named(tmp_path, content):
    folder = write_published(tmp_path)
    (folder / "metadata" / "2.npy").write_bytes(content)
    with pytest.raises(DataError, match=r"metadata/2\.npy"):
        Pathfinder(tmp_path, 32)


def test_missing_folders_are_named(tmp_path):
    with pytest.raises(DataError, match="no folder 'pathfinder64'"):
        Pathfinder(tmp_path, 64)
    folder = write_published(tmp_path)
    with pytest.raises(DataError, match="curv_contour_length_9 does not exist"):
        Pathfinder(tmp_path, 32, 9)
    shutil.rmtree(folder / "metadata")
    with pytest.raises(DataError, match="metadata holds no .npy"):
        Pathfinder(tmp_path, 32)
    with pytest.raises(ConfigError, match="size 31"):
        Pathfinder(tmp_path, 31)


def test_other_settings_and_the_published_archive_are_refused(copy, tmp_path):
    with pytest.raises(ConfigError, match="seed: asked for 4, present 3"):
        make_pathfinder(copy, SETTINGS, images=IMAGES, seed=4, workers=1)
    write_published(tmp_path / "archive")
    with pytest.raises(DataError, match="may be from elsewhere"):
        make_pathfinder(tmp_path / "archive", published_settings(32), images=10, workers=1)
    for wrong in ({"images": 0}, {"workers": 0}, {"seed": -1}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            make_pathfinder(tmp_path / "new", SETTINGS, **wrong)


def test_a_damaged_generated_image_is_made_again_as_the_message_says(tmp_path):
    settings = published_settings(32, 14)
    folder = make_pathfinder(tmp_path, settings, images=3, workers=1)
    image = folder / "imgs/0/sample_1.png"
    whole = image.read_bytes()
    image.write_bytes(b"")
    with pytest.raises(
        DataError,
        match=r"is empty \(the disk was full\); .*; delete metadata/0.npy of this set and run `ulmus data make",
    ):
        Pathfinder(tmp_path, 32).image(1)
    (folder / "metadata/0.npy").unlink()
    make_pathfinder(tmp_path, settings, images=3, workers=1)
    assert image.read_bytes() == whole
