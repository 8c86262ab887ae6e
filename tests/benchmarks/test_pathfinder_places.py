import re

import numpy as np
import pytest
from pathfinder_places import pathfinder_places, places

from ulmus.sequences.lra.pathfinder.images import draw_scene, render
from ulmus.sequences.lra.pathfinder.settings import published_settings


@pytest.mark.parametrize(("as_published", "least", "most"), [(True, 0.59, 0.7), (False, 0.46, 0.54)])
def test_places_give_labels_away_as_published_and_not_in_images_of_our_own(as_published, least, most, capsys):
    pathfinder_places(as_published=as_published, scenes=5000, test_scenes=2000)
    said = capsys.readouterr()
    found = float(re.search(r"([\d.]+)% of 2,000", said.out + said.err)[1]) / 100
    assert least < found < most


def test_places_are_those_of_the_brightest_spots_and_in_reading_order():
    settings = published_settings(32, as_published=True)
    values, labels = places(settings, 20, 7)
    corners = np.round(values[:, 3:].reshape(-1, 2, 2) * 32 + 31 / 2).astype(int)
    for index, (first, second) in enumerate(corners):
        scene = draw_scene(settings, 7, index)
        assert labels[index] == scene.label
        assert tuple(first) < tuple(second)
        image = render(settings, scene)
        assert min(image[tuple(first)], image[tuple(second)]) > 220
