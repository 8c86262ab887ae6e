"""Hints: how many discs a pixel is linked to by what lies before it, and to whom this is told."""

import json
import shutil

import numpy as np
import pytest

from ulmus.errors import DataError
from ulmus.sequences import open_sequences
from ulmus.sequences.lra.pathfinder.files import Pathfinder
from ulmus.sequences.lra.pathfinder.hints import hints
from ulmus.sequences.lra.pathfinder.images import Scene, draw_scene, render
from ulmus.sequences.lra.pathfinder.settings import PathfinderSettings, published_settings
from ulmus.sequences.lra.pathfinder.writer import make_pathfinder


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    out = tmp_path_factory.mktemp("lra")
    for contour in (6, 14):
        make_pathfinder(out, published_settings(32, contour), images=40, seed=3, workers=1)
    return out


@pytest.mark.parametrize("connected", [True, False])
def test_a_contour_is_followed_from_disc_to_disc(connected):
    paddles = [
        [(6 + 3 * k, at, 90) for k in range(6)] for at in (6, 20)
    ]  # straight down, both discs at rows 6 and 21
    scene = Scene(label=int(connected), first=0, margin=1, contours=np.array(paddles))
    found = hints(published_settings(32, 6), scene)
    assert set(found[8:18, 6]) == {2}  # behind the first disc
    assert set(found[6:18, 20]) == {1}  # no disc on this one yet
    assert found[22, 6 if connected else 20] == (3 if connected else 2)
    assert (found[:, :13] if connected else found[:, 13:]).max() == found.max()


def test_a_link_that_lies_ahead_is_not_told():
    up, right = 90, 180
    bowl = [(row, 6, up) for row in range(6, 21, 3)] + [(21, column, right) for column in (9, 12, 15)]
    bowl += [(row, 21, up) for row in range(21, 5, -3)]  # both discs at row 6, joined at row 21
    aside = [(28, 28, up)] * len(bowl)
    found = hints(published_settings(32), Scene(1, 0, 1, np.array([bowl, aside])))
    assert set(found[8:18, 6]) == set(found[8:18, 21]) == {2}
    assert found[:18].max() == 2
    assert found.max() == 3


@pytest.mark.parametrize(("size", "length"), [(32, 6), (32, 14), (64, 9), (128, 14)])
def test_only_connected_images_ever_have_both_discs(size, length):
    settings = published_settings(size, length)
    for index in range(40):
        scene = draw_scene(settings, 5, index)
        found, image = hints(settings, scene), render(settings, scene)
        assert found.shape == image.shape
        assert ((found > 0) == (image >= 32)).all()
        assert (found.max() == 3) == bool(scene.label)


@pytest.mark.parametrize("length", [6, 14])
def test_nothing_is_told_before_a_disc_was_seen(length):
    settings = published_settings(32, length)
    for index in range(40):
        scene = draw_scene(settings, 6, index)
        found = hints(settings, scene).reshape(-1)
        middles = sorted(int(row) * 32 + int(column) for row, column in scene.discs)
        assert found[: middles[0]].max(initial=0) <= 1
        assert found[: middles[1]].max(initial=0) <= 2
        assert (found == 2).any()


def test_made_images_have_hints_and_keep_them(images):
    data = Pathfinder(images, 32)
    settings = PathfinderSettings.from_json(json.loads((data.path / "generated.json").read_text()))
    assert settings == published_settings(32)
    first = data.hints(7)
    np.testing.assert_array_equal(first.reshape(32, 32), hints(settings, draw_scene(settings, 3, 7)))
    np.testing.assert_array_equal(Pathfinder(images, 32).hints(7), first)


def test_training_batches_alone_tell_them(images):
    splits = open_sequences("pathfinder", images, batch=8, hints=True)
    batch = splits.train.batch(0, 1)
    assert batch.hints.shape == (8, 1024)
    source = Pathfinder(images, 32)
    for item, told, label in zip(splits.train.plan(0, 1), batch.hints, batch.labels, strict=True):
        np.testing.assert_array_equal(told, splits.train.sequences.hints(int(item)))
        assert (int(told.max()) == 3) == bool(label)
    assert splits.train.hint_classes == source.hint_classes == ("no disc", "one disc", "both discs")
    assert splits.validation.batch(0, 0).hints is None
    assert open_sequences("pathfinder", images, batch=8).train.batch(0, 0).hints is None


def test_published_images_have_none(images, tmp_path):
    folder = tmp_path / "pathfinder32" / "curv_contour_length_14"
    folder.parent.mkdir()
    folder.symlink_to(tmp_path / "copied")
    shutil.copytree(images / "pathfinder32" / "curv_contour_length_14", tmp_path / "copied")
    (folder / "generated.json").unlink()
    with pytest.raises(DataError, match="has no hints; expected images made by"):
        open_sequences("pathfinder", tmp_path, batch=8, hints=True)


def test_images_that_their_record_does_not_describe_are_refused(images, tmp_path):
    shutil.copytree(images, tmp_path / "lra")
    record = tmp_path / "lra" / "pathfinder32" / "curv_contour_length_14" / "generated.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"seed": 4}))
    with pytest.raises(DataError, match=r"sample_0.png is not the image that .*generated.json describes"):
        Pathfinder(tmp_path / "lra", 32).hints(0)


@pytest.mark.parametrize("damage", [{"seed": None}, {"seed": "x"}, {"paddle_margins": 1}, {"size": "32"}])
def test_a_damaged_record_is_named(images, tmp_path, damage):
    shutil.copytree(images, tmp_path / "lra")
    record = tmp_path / "lra" / "pathfinder32" / "curv_contour_length_14" / "generated.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | damage))
    with pytest.raises(DataError, match=r"generated.json does not say how the images were made"):
        Pathfinder(tmp_path / "lra", 32).hints(0)


def test_another_label_than_that_of_the_scene_is_refused(images, tmp_path):
    shutil.copytree(images, tmp_path / "lra")
    metadata = tmp_path / "lra" / "pathfinder32" / "curv_contour_length_14" / "metadata" / "0.npy"
    rows = [line.split() for line in metadata.read_text().splitlines()]
    flipped = [[*row[:3], str(1 - int(row[3])), *row[4:]] for row in rows]
    metadata.write_text("".join(" ".join(row) + "\n" for row in flipped))
    with pytest.raises(DataError, match="is not the image"):
        Pathfinder(tmp_path / "lra", 32).hints(0)


def test_what_is_wrong_with_an_image_is_said_as_briefly_by_another_process(images, tmp_path):
    shutil.copytree(images, tmp_path / "lra")
    train = open_sequences("pathfinder", tmp_path / "lra", batch=4).train
    for kept in [*train.sequences.path.rglob("*.png"), *train.sequences.path.glob("*.u8")]:
        kept.unlink()
    messages = []
    for workers in (0, 1):
        with pytest.raises(DataError, match="sample_") as raised:
            next(train.loader(0, 1, workers))
        messages.append(str(raised.value))
    assert messages[0] == messages[1]
