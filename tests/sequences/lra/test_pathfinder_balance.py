import numpy as np
import pytest
from pathfinder_balance import both_labels, compare, write_table
from sklearn.ensemble import HistGradientBoostingClassifier

from ulmus.sequences.lra.pathfinder.balance import balance, disc_places
from ulmus.sequences.lra.pathfinder.settings import SIZES, SUBSETS, published_settings


def test_what_is_kept_is_equally_frequent_for_both_labels():
    """Places of label 1 have the density 2 x in every column, those of label 0 are even: the ratio is known."""
    random = np.random.default_rng(0)
    labels = np.arange(200_000) % 2
    values = random.random((labels.size, 7)) ** (1 / (1 + labels[:, None] * (np.arange(7) < 2)))
    table = compare(values, labels)
    fresh = random.random((2000, 7)) * 0.8 + 0.2
    exact = np.log(4 * fresh[:, 0] * fresh[:, 1])
    assert np.sqrt(np.mean((table.log_odds(fresh) - exact) ** 2)) < 0.2 < exact.std() / 2
    kept = np.concatenate(
        [
            random.random(10_000) < table.kept(labels[first : first + 10_000], values[first : first + 10_000])
            for first in range(0, labels.size, 10_000)
        ]
    )
    edges = np.linspace(0, 1, 5)
    one, other = (
        np.histogram2d(*values[kept & (labels == label), :2].T, [edges, edges])[0] for label in (0, 1)
    )
    assert abs(kept[labels == 1].mean() - kept[labels == 0].mean()) < 0.01
    assert (np.abs(one - other) < 5 * np.sqrt(one + other) + 10).all()


def test_packed_trees_are_those_of_scikit_learn():
    random = np.random.default_rng(0)
    values = random.integers(-8, 8, (20_000, 7)) / 16  # thresholds lie between, also in half precision
    labels = (random.random(20_000) < 0.5 + values[:, 3] * values[:, 5]).astype(int)
    model = HistGradientBoostingClassifier(
        max_iter=300,
        max_depth=5,
        max_leaf_nodes=32,
        min_samples_leaf=100,
        early_stopping=False,
        random_state=0,
    ).fit(values, labels)
    expected = model.decision_function(values) - model._baseline_prediction.item()
    np.testing.assert_allclose(compare(values, labels).log_odds(values), expected, atol=5e-3)


@pytest.mark.parametrize(("size", "length"), [(32, 6), (256, 14)])
def test_tables_are_those_of_the_scenes_that_are_drawn(size, length):
    settings = published_settings(size, length)
    values, labels = both_labels(settings, 5000, seed=1)
    said = balance(settings).log_odds(values)
    for low, high in ((-9, -1), (-1, -0.3), (-0.3, 0.3), (0.3, 1), (1, 9)):  # what it says is how it is
        inside = (said >= low) & (said < high)
        expected = (1 / (1 + np.exp(-said[inside]))).mean()
        assert inside.sum() > 200
        assert abs(labels[inside].mean() - expected) < 4 * np.sqrt(0.25 / inside.sum()) + 0.01


def test_every_published_setting_has_a_table():
    for size in SIZES:
        for length in SUBSETS:
            table = balance(published_settings(size, length))
            assert np.isfinite(table.value).all()
            middle = disc_places(np.array([[3, 4]]), np.array([[3, 9]]), size)
            assert 0 < table.kept(np.array([1]), middle)[0] <= 1


def test_a_table_is_written_beside_the_others(tmp_path):
    settings, file = published_settings(32, 6), tmp_path / "tables.npz"
    table = compare(*both_labels(settings, 300, seed=2**63))
    write_table(settings, table, file)
    write_table(published_settings(64, 6), table, file)
    with np.load(file) as found:
        np.testing.assert_array_equal(found["32-6.value"], table.value)
        assert set(found) == {f"{size}-6.{name}" for size in (32, 64) for name in table._fields}
