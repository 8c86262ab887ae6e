"""Images drawn as published, beside counts of what the public generator lays and draws."""

import json

import numpy as np
import pytest

from ulmus.sequences.lra.pathfinder.files import Pathfinder
from ulmus.sequences.lra.pathfinder.images import draw_scene, render
from ulmus.sequences.lra.pathfinder.settings import PathfinderSettings, published_settings
from ulmus.sequences.lra.pathfinder.strokes import strokes
from ulmus.sequences.lra.pathfinder.writer import make_pathfinder

# Of the public generator (snakes2 of drewlinsley/pathfinder) with the settings of Long Range Arena, hard contours: mean and
# standard error over images of distractors laid, of the share of pixels from gray level 32 on, of the distance between the
# discs, and of rows and columns of both discs.
COUNTS = {
    # 4,906 images
    32: [
        (1.129, 0.013),
        (0.1447, 0.0002),
        (13.05, 0.074),
        (15.15, 0.052),
        (15.31, 0.051),
        (16.62, 0.125),
        (17.09, 0.126),
    ],
    # 60 images
    128: [(7.817, 0.05), (0.05515, 0.00024), (79.37, 1.9), (69.45, 2), (70.8, 2), (37.93, 4.7), (33.72, 5.1)],
}
DIRECTIONS = {32: [30], 64: [95], 128: [354, 360], 256: [360]}


def counted(settings, images):
    rows = []
    for index in range(images):
        scene = draw_scene(settings, 5, index)
        first, second = scene.discs
        laid = (scene.contours[2:, 0, 2] >= 0).sum()
        lit = (render(settings, scene) >= 32).mean()
        rows.append([laid, lit, np.hypot(*(first - second)), *first, *second])
    return np.array(rows, dtype=float)


@pytest.mark.parametrize("size", COUNTS)
def test_ink_distractors_and_places_are_those_of_the_public_generator(size):
    found = counted(published_settings(size, as_published=True), 400 if size == 32 else 100)
    mean, error = found.mean(axis=0), found.std(axis=0) / np.sqrt(len(found))
    expected, expected_error = np.array(COUNTS[size]).T
    assert (np.abs(mean - expected) < 4 * np.hypot(error, expected_error)).all()


def test_images_of_our_own_hold_more_distractors_and_ink_at_32():
    laid, lit = counted(published_settings(32), 100).mean(axis=0)[:2]
    assert laid > COUNTS[32][0][0] + 2
    assert lit > COUNTS[32][1][0] + 0.04


@pytest.mark.parametrize("size", [32, 64, 128, 256])
def test_contours_begin_in_the_directions_in_which_the_public_generator_finds_room(size):
    settings = published_settings(size, as_published=True)
    found = [int(strokes(settings, margin).finds_room.sum()) for margin in settings.paddle_margins]
    assert found == DIRECTIONS[size]
    assert all(
        strokes(published_settings(size), margin).finds_room.all() for margin in settings.paddle_margins
    )


def test_sets_say_how_they_were_drawn(tmp_path):
    settings = published_settings(32, as_published=True)
    folder = make_pathfinder(tmp_path, settings, images=20, workers=1)
    data = Pathfinder(tmp_path, 32)
    assert data.name == "Pathfinder-32, generated as published"
    assert (data.generated["as_published"], data.generated["balanced"]) == (True, False)
    assert PathfinderSettings.from_json(json.loads((folder / "generated.json").read_text())) == settings
    assert all(
        data.hints(index).shape == (1024,) for index in range(3)
    )  # which compares the images with what is drawn
    assert "as_published" not in published_settings(32).to_json()  # so that sets begun earlier go on
