"""The label must not show in anything but the contours: linear probes on what is easy to see stay at chance."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from ulmus.sequences.lra.pathfinder.images import draw_scene, render
from ulmus.sequences.lra.pathfinder.settings import published_settings

Z_99_9 = 3.29  # of a probe at chance, one in a thousand is farther off


def appearance(settings, scene):
    """Ink, saturated pixels, brightness of what is not empty, its spread, distance and places of the discs."""
    image = render(settings, scene).astype(float)
    lit = image[image > 0]
    apart = np.hypot(*(scene.discs[0] - scene.discs[1]))
    looks = [image.sum(), (image == 255).sum(), lit.mean(), lit.std(), lit.size]
    return [*looks, apart, *scene.discs.ravel()]


def probe(features, labels, degree=1):
    """Cross-validated accuracy above chance, in standard errors of guessing."""
    model = make_pipeline(StandardScaler(), PolynomialFeatures(degree), LogisticRegression(max_iter=500))
    correct = cross_val_predict(model, features, labels, cv=5) == labels
    return (correct.mean() - 0.5) * 2 * np.sqrt(len(labels))


def sample(settings, images, balanced=True):
    scenes = [draw_scene(settings, 11, index, balanced) for index in range(images)]
    labels = np.array([scene.label for scene in scenes])
    return np.array([appearance(settings, scene) for scene in scenes]), labels


@pytest.mark.parametrize(
    ("size", "length", "images"), [(32, 14, 4000), (256, 14, 1500), (32, 6, 3000), (128, 6, 1500)]
)
def test_probes_stay_at_chance(size, length, images):
    features, labels = sample(published_settings(size, length), images)
    assert abs(labels.mean() - 0.5) * 2 * np.sqrt(len(labels)) < Z_99_9
    for columns in (range(5), [5], range(6, 10), range(10)):
        assert probe(features[:, list(columns)], labels) < Z_99_9
    assert probe(features[:, [5]], labels, degree=4) < Z_99_9
    assert probe(features[:, 5:10], labels, degree=3) < Z_99_9


def test_the_probe_finds_what_the_original_gives_away():
    features, labels = sample(published_settings(256, 6), 1500, balanced=False)
    assert probe(features[:, [5]], labels, degree=4) > 10
    assert probe(features[:, 5:10], labels, degree=3) > 10
