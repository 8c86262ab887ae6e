import numpy as np

from ulmus.data.tasks.pathfinder_balance import balance, compared, measure, places
from ulmus.data.tasks.pathfinder_settings import SIZES, SUBSETS, published_settings


def test_what_is_kept_is_equally_frequent_for_both_labels():
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 400_000)
    values = random.random((labels.size, 7)) ** (1 + 0.4 * labels[:, None])
    table = compared(values, labels, (6, 4, 5))
    kept = random.random(labels.size) < table.kept(labels, values)
    one, other = (
        np.histogramdd(
            values[kept & (labels == label), :3],
            [[-1, *edges[np.isfinite(edges)], 2] for edges in table.edges],
        )[0]
        for label in (0, 1)
    )
    assert abs(kept[labels == 1].mean() - kept[labels == 0].mean()) < 0.01
    assert (np.abs(one - other) < 4 * np.sqrt(one + other) + 10).all()


def test_tables_are_those_of_the_scenes_that_are_drawn():
    settings = published_settings(32, 6)
    known, again = balance(settings), measure(settings, 40_000, seed=1)
    inner = np.isfinite(known.edges)
    assert np.allclose(known.edges[inner], again.edges[inner], atol=0.01)
    assert np.corrcoef(known.log_odds.ravel(), again.log_odds.ravel())[0, 1] > 0.95


def test_every_published_setting_has_a_table():
    for size in SIZES:
        for length in SUBSETS:
            table = balance(published_settings(size, length))
            assert np.isfinite(table.log_odds).all()
            assert 0.7 < table.correction[1] < 1.2
            middle = places(np.array([[3, 4]]), np.array([[3, 9]]), size)
            assert 0 < table.kept(np.array([1]), middle)[0] <= 1
