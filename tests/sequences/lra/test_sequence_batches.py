import hashlib
import itertools

import numpy as np
import pytest
import torch

from ulmus.errors import ConfigError, ShapeError
from ulmus.sequences import open_sequences
from ulmus.sequences.lra.batches import SequenceBatches
from ulmus.sequences.lra.encoding import GrayBins, Intensity, LitPixels, OneHot
from ulmus.sequences.lra.listops.writer import make_listops
from ulmus.sequences.lra.pathfinder.settings import published_settings
from ulmus.sequences.lra.pathfinder.writer import make_pathfinder
from ulmus.sequences.lra.sequences import Sequences


class Numbers(Sequences):
    """Item k has k % 7 + 1 steps in each tower, all of them its number."""

    name, tokens, classes = "numbers", 256, ("even", "odd")

    def __init__(self, items, towers=1):
        self.labels, self.towers = np.arange(items) % 2, towers

    def read(self, index, tower=0):
        return np.full(index % 7 + 1, index + 100 * tower, dtype=np.uint8)

    @property
    def rough_length(self):
        return np.arange(len(self)) % 7 * 10

    @property
    def content_hash(self):
        return hashlib.sha256(bytes(len(self))).hexdigest()


def sources(batches, epoch):
    return [batches.batch(epoch, k).source[:, 0].tolist() for k in range(batches.batches_per_epoch)]


@pytest.mark.parametrize("similar", [True, False])
def test_every_item_comes_once_an_epoch_in_an_order_of_its_own(similar):
    batches = SequenceBatches(Numbers(50), OneHot(256), 8, seed=3, similar_lengths=similar)
    first, second = sources(batches, 0), sources(batches, 1)
    for epoch in (first, second):
        assert sorted(itertools.chain(*epoch)) == list(range(50))
        assert [len(batch) for batch in epoch] == [8] * 6 + [2]
    assert first != second
    again = SequenceBatches(Numbers(50), OneHot(256), 8, seed=3, similar_lengths=similar)
    assert sources(again, 1) == second  # without having been asked for epoch 0
    assert sources(SequenceBatches(Numbers(50), OneHot(256), 8, seed=4), 0) != first


def test_without_a_seed_items_come_in_order():
    batches = SequenceBatches(Numbers(11), OneHot(256), 4)
    assert list(itertools.chain(*sources(batches, 0))) == list(range(11))
    assert sources(batches, 5) == sources(batches, 0)


def test_similar_lengths_leave_less_padding_and_other_batches_every_epoch():
    def steps(batches):
        return sum(batches.batch(0, k).inputs.time * 8 for k in range(batches.batches_per_epoch))

    items = Numbers(200)
    mixed = SequenceBatches(items, OneHot(256), 8, seed=1, similar_lengths=False)
    similar = SequenceBatches(items, OneHot(256), 8, seed=1)
    real = sum(k % 7 + 1 for k in range(200))
    assert steps(mixed) > 1.5 * real
    assert steps(similar) < 1.1 * real + 8 * 7
    assert {frozenset(batch) for batch in sources(similar, 0)} != {
        frozenset(batch) for batch in sources(similar, 1)
    }


def test_processes_share_every_batch():
    whole = SequenceBatches(Numbers(30), OneHot(256), 8, seed=1)
    parts = [SequenceBatches(Numbers(30), OneHot(256), 8, seed=1, share=(rank, 3)) for rank in range(3)]
    for k in range(whole.batches_per_epoch):
        together = [part.batch(0, k).source[:, 0].tolist() for part in parts]
        assert sorted(itertools.chain(*together)) == sorted(whole.batch(0, k).source[:, 0].tolist())
        assert min(map(len, together)) > 0
    with pytest.raises(ConfigError, match="for 3 processes"):
        SequenceBatches(Numbers(26), OneHot(256), 8, share=(0, 3))  # two items in the last batch
    with pytest.raises(ConfigError, match="batch=0"):
        SequenceBatches(Numbers(26), OneHot(256), 0)


def test_any_number_of_workers_gives_the_same_batches():
    batches = SequenceBatches(Numbers(20), OneHot(256), 4, seed=1)
    for one, other in zip(batches.loader(3, 7), batches.loader(3, 7, workers=2), strict=True):
        assert torch.equal(one.inputs.inputs, other.inputs.inputs)
        assert torch.equal(one.source, other.source)


def test_the_first_sequences_of_all_items_come_before_the_second():
    batch = SequenceBatches(Numbers(9, towers=2), OneHot(256), 3).batch(0, 1)
    assert batch.lengths.tolist() == [4, 5, 6, 4, 5, 6]
    assert batch.labels.tolist() == [1, 0, 1]
    assert (batch.inputs.batch, batch.inputs.time) == (6, 6)
    expected = [3] * 4 + [4] * 5 + [5] * 6 + [103] * 4 + [104] * 5 + [105] * 6
    assert batch.inputs.inputs.tolist() == expected


def one_hot(tokens, length, channels):
    dense = np.zeros((*tokens.shape, channels), np.float32)
    for row, step in np.ndindex(*tokens.shape):
        if step < length[row] and tokens[row, step] >= 0:
            dense[row, step, tokens[row, step]] = 1
    return dense


def test_encodings_are_what_they_say():
    random = np.random.default_rng(0)
    tokens = random.integers(0, 256, (3, 40), dtype=np.uint8)
    length = np.array([40, 7, 1])
    tokens *= np.arange(40) < length[:, None]
    pair = torch.from_numpy(tokens), torch.from_numpy(length)
    np.testing.assert_array_equal(OneHot(256)(*pair).inputs.dense(), one_hot(tokens, length, 256))
    levels = np.digitize(tokens, np.arange(32, 256, 32))
    np.testing.assert_array_equal(GrayBins(8)(*pair).inputs.dense(), one_hot(levels, length, 8))
    silent = GrayBins(8, silent_background=True)(*pair).inputs
    assert silent.channels == 7
    np.testing.assert_array_equal(silent.dense(), one_hot(levels.astype(int) - 1, length, 7))
    np.testing.assert_allclose(Intensity()(*pair).inputs[:, :, 0], tokens / 255, rtol=1e-6)


def by_hand(image, bins):
    """Every pixel outside the darkest bin: its bin, and where it is on 32 columns and 32 rows."""
    width, dark = len(image), int(image.max()) * bins < 256
    middles = (np.arange(32) + 0.5) / 32
    steps = []
    for row, column in np.ndindex(width, width):
        level = int(image[row, column]) * bins // 256
        if level or (dark and row == column == 0):
            gray = [float(level == channel) for channel in range(1, bins)]
            places = [
                np.interp(np.clip((place + 0.5) / width, middles[0], middles[-1]), middles, unit)
                for place in (column, row)
                for unit in np.eye(32)
            ]
            steps.append([*gray, *places])
    return np.array(steps)


@pytest.mark.parametrize("width", [32, 64, 128])
def test_lit_pixels_are_read_one_by_one_with_their_places(width):
    random = np.random.default_rng(0)
    images = random.integers(32, 256, (3, width, width), dtype=np.uint8)
    images[random.random(images.shape) < np.array([0.9, 0.95, 1.0])[:, None, None]] = 31
    tokens = torch.from_numpy(images.reshape(3, -1))
    encoding = LitPixels(width)
    events, steps = encoding(tokens, torch.full((3,), width**2))
    dense = events.dense().numpy()
    assert events.channels == encoding.channels == dense.shape[2] == 7 + 64
    assert (events.values > 0).all()
    for image, found, read in zip(images, dense, steps, strict=True):
        expected = by_hand(image, 8)
        np.testing.assert_allclose(found[: len(expected)], expected, atol=1e-6)
        assert not found[len(expected) :].any()
        assert read.sum() == len(expected)
    with pytest.raises(ConfigError, match="width=31: expected images of 32 x 32 or larger"):
        LitPixels(31)
    with pytest.raises(ShapeError, match=f"have {width} tokens; expected the {width**2} pixels"):
        encoding(tokens[:, :width], torch.full((3,), width))
    assert steps[2].sum() == 1  # an image without light is one step without a gray level
    assert not dense[2, 0, :7].any()


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    root = tmp_path_factory.mktemp("archive")
    make_listops(root, counts=(40, 10, 12), shortest=20, longest=60, workers=1)
    make_pathfinder(root, published_settings(32), images=40, workers=1)
    return root


def test_listops_by_name(archive):
    splits = open_sequences("listops", archive, batch=8, seed=1)
    assert splits.train.classes == tuple("0123456789")
    assert [part.batches_per_epoch for part in splits] == [5, 2, 2]
    batch = splits.train.batch(0, 0)
    assert batch.inputs.channels == splits.train.channels == 17
    assert len(batch.inputs.inputs) == batch.lengths.sum()
    items = splits.train.sequences
    for row, (item,) in enumerate(batch.source.tolist()):
        tokens = items[item][0]
        assert batch.inputs.dense()[row].argmax(dim=1)[: len(tokens)].tolist() == tokens.tolist()
        assert batch.labels[row] == items[item][1]


def test_pathfinder_by_name(archive):
    splits = open_sequences("pathfinder", archive, batch=4, seed=1)
    batch = splits.test.batch(0, 0)
    assert splits.train.name == "Pathfinder-32, generated"
    assert batch.lengths is None
    assert (batch.inputs.batch, batch.inputs.time, batch.inputs.channels) == (4, 1024, 16)
    sparse = open_sequences("pathfinder", archive, batch=4, gray="silent-background", bins=8)
    assert sparse.train.channels == 7
    assert 0 < len(sparse.test.batch(0, 0).inputs.inputs) < 4 * 1024 / 2
    gray = open_sequences("pathfinder", archive, batch=4, gray="intensity").test.batch(0, 0)
    assert gray.inputs.shape == (4, 1024, 1)
    lit = open_sequences("pathfinder", archive, batch=4, gray="lit", hints=True)
    items = lit.train.sequences
    told = lit.train.batch(0, 0)
    assert lit.train.channels == 7 + 64
    for row, (item,) in enumerate(told.source.tolist()):
        read = items[item][0] >= 32
        steps = int(told.lengths[row])
        assert steps == read.sum()
        np.testing.assert_array_equal(told.hints[row, :steps], items.hints(item)[read])
        assert not told.hints[row, steps:].any()
    with pytest.raises(ConfigError, match="'gray' is 'color'"):
        open_sequences("pathfinder", archive, batch=4, gray="color")
    with pytest.raises(ConfigError, match="'task' is 'chess': expected one of listops"):
        open_sequences("chess", archive, batch=4)
