import numpy as np
import pytest
from PIL import Image, ImageDraw

from ulmus.errors import ConfigError
from ulmus.sequences.lra.pathfinder.images import draw_scene, render
from ulmus.sequences.lra.pathfinder.settings import published_settings
from ulmus.sequences.lra.pathfinder.strokes import strokes

ALL = [(size, length) for size in (32, 64, 128, 256) for length in (6, 9, 14)]


@pytest.mark.parametrize(("size", "length"), ALL)
def test_an_image_depends_on_seed_and_number_alone(size, length):
    settings = published_settings(size, length)
    one, again, next_ = (draw_scene(settings, 4, index) for index in (2, 2, 3))
    assert (render(settings, one) == render(settings, again)).all()
    assert (render(settings, one) != render(settings, next_)).any()
    image = render(settings, one)
    assert (image.shape, image.dtype, image.min(), image.max()) == ((size, size), np.uint8, 0, 255)


@pytest.mark.parametrize("size", [32, 256])
def test_the_label_moves_the_second_disc_and_nothing_else(size):
    settings = published_settings(size)
    for index in range(20):
        scene = draw_scene(settings, 0, index)
        other = scene._replace(label=1 - scene.label)
        assert (scene.discs[0] == other.discs[0]).all()
        changed = np.argwhere(render(settings, scene) != render(settings, other))
        ends = np.stack([scene.discs[1], other.discs[1]])
        nearest = np.abs(changed[:, None] - ends).max(axis=2).min(axis=1)
        assert len(changed)
        assert nearest.max() <= settings.marker_radius + 4


def test_label_says_whether_one_contour_joins_the_discs():
    settings = published_settings(32)
    for index in range(50):
        scene = draw_scene(settings, 1, index)
        beginnings, ends = scene.contours[:2, 0, :2], scene.contours[:2, -1, :2]
        from_, to = scene.discs
        assert (beginnings[scene.first] == from_).all()
        reached = scene.first if scene.label else 1 - scene.first
        assert (ends[reached] == to).all()


@pytest.mark.parametrize(("size", "length"), ALL)
def test_contours_have_their_paddles_and_keep_their_distance(size, length):
    settings = published_settings(size, length)
    scene = draw_scene(settings, 7, 0)
    targets, distractors = scene.contours[:2], scene.contours[2:]
    assert (targets[..., 2] >= 0).all()
    assert len(distractors) <= settings.distractors
    assert ((distractors[..., 2] >= 0).sum(axis=1) == settings.distractor_paddles).all()
    apart = np.hypot(*(targets[0, 0, :2] - targets[1, 0, :2]))
    assert abs(apart - settings.seed_distance) <= 1
    reach = settings.paddle_length + scene.margin
    joints = targets[:, 1:, :2] - targets[:, :-1, :2]
    assert np.hypot(*np.moveaxis(joints, -1, 0)).max() <= 2 * reach + 3
    assert targets[..., :2].min() >= 0
    assert targets[..., :2].max() < size


def test_contours_turn_as_their_continuity_says():
    """Without anything in the way, the turn between paddles follows cos^2(continuity * turn)."""
    table = strokes(published_settings(128), 2)
    for direction in (0, 90, 233):
        part = slice(table.end_begin[direction], table.end_begin[direction + 1])
        ahead = np.deg2rad(direction - 180)
        offset = table.end[part] + table.outside * table.stride + table.outside
        y, x = offset // table.stride - table.outside, offset % table.stride - table.outside
        turn = np.abs((np.arctan2(y, x) - ahead + np.pi) % (2 * np.pi) - np.pi)
        assert np.allclose(table.end_weight[part], np.cos(1.8 * turn) ** 2)
        assert turn.max() < np.pi / 2 / 1.8


def test_a_paddle_looks_as_when_drawn_directly():
    settings = published_settings(128)
    table, half = strokes(settings, 2), 5 + 2 + 2
    fine = Image.new("L", (4 * half + 1, 4 * half + 1))
    ImageDraw.Draw(fine).line([(2 * half, 2 * half), (2 * half + 10, 2 * half)], fill=255, width=3)
    coarse = np.asarray(fine.resize((2 * half + 1, 2 * half + 1), Image.Resampling.LANCZOS))
    assert (table.line[180] == coarse).all()  # 0 degrees: to the right


def test_one_scene_in_many_has_every_margin():
    settings = published_settings(128, 6)
    assert {draw_scene(settings, 0, index).margin for index in range(30)} == {2, 3}


def test_unpublished_settings_are_refused():
    with pytest.raises(ConfigError, match=r"size 48.*choose"):
        published_settings(48)
    with pytest.raises(ConfigError, match="10 paddles"):
        published_settings(32, 10)
