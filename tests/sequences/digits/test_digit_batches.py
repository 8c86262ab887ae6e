import numpy as np
import pytest
import torch
from digits_examples import write_digits
from hypothesis import given, settings
from hypothesis import strategies as st

from ulmus.errors import ConfigError
from ulmus.sequences.digits.augmentation import ClipAugmentation
from ulmus.sequences.digits.batches import AddedDigits, Binning, Digits
from ulmus.sequences.digits.clips import Clips
from ulmus.sequences.digits.shd import SpikeFile

PUBLISHED_STEPS = {1: 1000, 2: 500, 4: 250, 6: 167, 8: 125, 10: 100, 20: 50, 50: 20, 100: 10}


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    path = write_digits(tmp_path_factory.mktemp("digits") / "shd_train.h5", clips=23)
    return Clips.all_of(SpikeFile(path))


def dense_clip(clips, index, bin_ms):
    """The histogram as the authors describe it, on the half-precision times themselves."""
    times, units = clips.spikes(index)
    edges = np.arange(0, 1 + bin_ms / 1000, bin_ms / 1000)
    dense = np.zeros((len(edges), 700), np.float32)
    np.add.at(dense, (np.digitize(times.astype(np.float16), edges) - 1, units), 1)
    return dense[:-1]


@pytest.mark.parametrize("bin_ms", PUBLISHED_STEPS)
def test_bins_are_those_of_the_authors(clips, bin_ms):
    assert Binning(bin_ms).steps == PUBLISHED_STEPS[bin_ms]
    batch = Digits(clips, len(clips), Binning(bin_ms)).batch(0, 0)
    expected = np.stack([dense_clip(clips, index, bin_ms) for index in range(len(clips))])
    assert expected.max() > 1 or bin_ms < 20  # several spikes in a bin add up
    np.testing.assert_array_equal(batch.inputs.dense(), expected)
    np.testing.assert_array_equal(batch.labels, clips.labels)


def test_spikes_on_an_edge_belong_to_the_bin_that_begins_there():
    rows, counts = Binning(100).count(
        np.array([0.0, 0.5, 0.5, 0.9995, 1.0, 1.2]), np.array([3, 0, 0, 1, 2, 2])
    )
    assert rows.tolist() == [3, 5 * 700, 9 * 700 + 1]
    assert counts.tolist() == [1, 2, 1]


def test_other_windows_are_binned_alike(clips):
    batch = Digits(clips, 4, Binning(4, window_s=0.4)).batch(0, 0)
    expected = np.stack([dense_clip(clips, index, 4)[:100] for index in range(4)])
    np.testing.assert_array_equal(batch.inputs.dense(), expected)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 30), st.integers(0, 2**64 - 1), st.integers(0, 1000))
def test_an_epoch_holds_every_clip_once(clips, size, seed, epoch):
    digits = Digits(clips, size, Binning(50), seed)
    plans = [digits.plan(epoch, k) for k in range(digits.batches_per_epoch)]
    assert sorted(np.concatenate(plans)[:, 0].tolist()) == list(range(len(clips)))
    assert all(len(plan) == size for plan in plans[:-1])
    assert 1 <= len(plans[-1]) <= size
    np.testing.assert_array_equal(Digits(clips, size, Binning(50), seed).plan(epoch, 0), plans[0])


def test_order_changes_from_epoch_to_epoch_and_with_the_seed(clips):
    digits = Digits(clips, 23, Binning(50), 1)
    assert not np.array_equal(digits.plan(0, 0), digits.plan(1, 0))
    assert not np.array_equal(digits.plan(0, 0), Digits(clips, 23, Binning(50), 2).plan(0, 0))
    assert Digits(clips, 23, Binning(50)).plan(5, 0)[:, 0].tolist() == list(range(23))


def test_batches_hold_the_clips_of_the_plan(clips):
    digits = Digits(clips, 5, Binning(10), 8)
    for number in (0, 4, 7):
        batch, plan = digits[number], digits.plan(*divmod(number, 5))
        np.testing.assert_array_equal(batch.source, plan)
        np.testing.assert_array_equal(batch.labels, clips.labels[plan[:, 0]])
        expected = np.stack([dense_clip(clips, index, 10) for index in plan[:, 0]])
        np.testing.assert_array_equal(batch.inputs.dense(), expected)
    assert len(digits[4].labels) == 3


def test_added_digits_follow_each_other(clips):
    added = AddedDigits(clips, 6, Binning(6), seed=3, batches_per_epoch=11)
    assert len(added.classes) == 19
    assert added.steps == 334
    batch = added.batch(2, 9)
    assert batch.source.shape == (6, 2)
    dense = batch.inputs.dense().numpy()
    assert dense.shape == (6, 334, 700)
    for row, (first, second), label in zip(dense, batch.source.tolist(), batch.labels.tolist(), strict=True):
        np.testing.assert_array_equal(row[:167], dense_clip(clips, first, 6))
        np.testing.assert_array_equal(row[167:], dense_clip(clips, second, 6))
        assert label == clips.labels[first] % 10 + clips.labels[second] % 10
    again = AddedDigits(clips, 6, Binning(6), seed=3, batches_per_epoch=11)[2 * 11 + 9]
    assert torch.equal(again.inputs.inputs, batch.inputs.inputs)
    assert not torch.equal(added.batch(2, 8).source, batch.source)
    assert not torch.equal(added.batch(1, 9).source, batch.source)


def test_added_digits_are_drawn_evenly(clips):
    added = AddedDigits(clips, 1000, Binning(100), seed=0)
    drawn = np.concatenate([added.plan(0, k).ravel() for k in range(23)])
    counts = np.bincount(drawn, minlength=23)
    assert counts.size == 23
    assert ((counts - 2000) ** 2 / 2000).sum() < 60  # chi-squared with 22 degrees of freedom: 1 in 40,000


def test_events_are_rows_in_order(clips):
    events = AddedDigits(clips, 4, Binning(2)).batch(0, 0).inputs
    assert events.row_start.dtype == events.inputs.dtype == torch.int32
    assert events.values.dtype == torch.float32
    assert events.row_start[-1] == len(events.inputs) == len(events.values)
    assert (events.row_start.diff() >= 0).all()
    assert (events.values >= 1).all()


@pytest.mark.slow
def test_worker_processes_give_the_same_batches(clips):
    digits = Digits(clips, 5, Binning(10), 8)
    alone, together = list(digits.loader(3, 9)), list(digits.loader(3, 9, workers=2))
    assert len(alone) == 6
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(one.inputs.dense(), other.inputs.dense())
        assert torch.equal(one.labels, other.labels)


def test_settings_that_cannot_be_used_are_refused(clips, tmp_path):
    for bin_ms, window_s in ((0, 1), (-1, 1), (2, 0), (2000, 1), (float("nan"), 1)):
        with pytest.raises(ConfigError, match="expected a positive bin"):
            Binning(bin_ms, window_s)
    with pytest.raises(ConfigError, match="batch=0"):
        Digits(clips, 0)
    with pytest.raises(ConfigError, match="batches_per_epoch=0"):
        AddedDigits(clips, 1, batches_per_epoch=0)
    with pytest.raises(ConfigError, match="seed=-1"):
        AddedDigits(clips, 1, seed=-1)
    commands = Clips.all_of(SpikeFile(write_digits(tmp_path / "ssc_train.h5", classes=35)))
    with pytest.raises(ConfigError, match="has 35 classes"):
        AddedDigits(commands, 1)


def test_augmented_clips_keep_their_digit_and_what_no_change_touches(clips):
    times, units = clips.spikes(3)
    random = np.random.default_rng(0)
    same = ClipAugmentation()(times, units, random)
    np.testing.assert_array_equal(same[0], times)
    np.testing.assert_array_equal(same[1], units)
    for _ in range(20):
        changed, moved = ClipAugmentation(stretch=0.2)(times, units, random)
        assert 0.8 <= changed[-1] / times[-1] <= 1.2
        np.testing.assert_allclose(changed / changed[-1], times / times[-1])
        np.testing.assert_array_equal(moved, units)
        _, shifted = ClipAugmentation(shift=9)(times, units, random)
        assert len(shifted) >= len(units) - np.sum((units < 9) | (units > 690))
    steps = np.concatenate(
        [ClipAugmentation(jitter=4.0)(times, units * 0 + 350, random)[1] for _ in range(50)]
    )
    assert steps.std() == pytest.approx(4.0, rel=0.1)
    kept = np.mean([len(ClipAugmentation(drop=0.5)(times, units, random)[0]) for _ in range(200)]) / len(
        times
    )
    assert kept == pytest.approx(0.5, abs=0.05)


def test_augmentation_depends_on_the_batch_alone(clips):
    digits = Digits(clips, 5, Binning(10), 8, augmentation=ClipAugmentation(30, 2.0, 0.1, 0.3))
    plain = Digits(clips, 5, Binning(10), 8)
    assert torch.equal(digits[3].inputs.dense(), digits[3].inputs.dense())
    assert not torch.equal(digits[3].inputs.dense(), plain[3].inputs.dense())
    assert torch.equal(digits[3].labels, plain[3].labels)
    with pytest.raises(ConfigError, match=r"drop=1\.5"):
        ClipAugmentation(drop=1.5)
