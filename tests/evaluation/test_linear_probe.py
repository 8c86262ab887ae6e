import numpy as np
import pytest
import torch

from ulmus.cli import main
from ulmus.errors import ConfigError
from ulmus.evaluation.linear_probe import binned_counts, linear_probe
from ulmus.kernels.events import Events
from ulmus.sequences.labelled_batches import LabelledBatch, LabelledBatches, Splits
from ulmus.training.recipe_file import load_recipe


class Bursts(LabelledBatches):
    """Noise on 10 channels for 30 steps of 2 ms; class 1 has more events on channels 4 to 7 in the second half."""

    classes, channels, step_ms, content_hash = ("none", "burst"), 10, 2.0, ""

    def __init__(self, seed, batches, difference=0.2):
        self.seed, self.batches_per_epoch, self.difference = seed, batches, difference

    def dense(self, k):
        random = np.random.default_rng([self.seed, k])
        labels = random.integers(0, 2, 16)
        rate = np.full((16, 30, 10), 0.1)
        rate[labels == 1, 15:, 4:8] += self.difference
        return random.poisson(rate).astype(np.float32), labels

    def batch(self, epoch, k):
        dense, labels = self.dense(k)
        rows, inputs = np.nonzero(dense.reshape(-1, 10))
        start = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=480))]).astype(np.int32)
        events = Events(
            torch.from_numpy(start),
            torch.from_numpy(inputs.astype(np.int32)),
            torch.from_numpy(dense.reshape(-1, 10)[rows, inputs]),
            16,
            30,
            10,
        )
        return LabelledBatch(events, torch.from_numpy(labels), None, torch.arange(16)[:, None])


def test_counts_are_those_of_the_dense_input():
    batches = Bursts(0, 3)
    counts, labels = binned_counts(batches, bin_ms=14, channels=4)  # 7 steps: the last bin has 2 of them
    for k in range(3):
        dense, expected = batches.dense(k)
        padded = np.zeros((16, 35, 12))
        padded[:, :30, :10] = dense
        blocks = padded.reshape(16, 5, 7, 3, 4).sum(axis=(2, 4)).reshape(16, -1)
        np.testing.assert_array_equal(counts[16 * k : 16 * (k + 1)], blocks)
        np.testing.assert_array_equal(labels[16 * k : 16 * (k + 1)], expected)


def test_the_probe_finds_a_difference_of_rates_and_nothing_where_there_is_none():
    scores = linear_probe(Splits(Bursts(1, 30), Bursts(2, 10), Bursts(3, 20)), bin_ms=20, channels=5)
    assert scores.features == 6
    assert scores.accuracy > 0.9
    none = linear_probe(Splits(*(Bursts(seed, 20, 0) for seed in (1, 2, 3))), bin_ms=20, channels=5)
    assert abs(none.accuracy - 0.5) < 4 * np.sqrt(0.25 / 320)


def test_what_cannot_be_probed_is_refused():
    with pytest.raises(ConfigError, match="channels=0"):
        binned_counts(Bursts(0, 1), bin_ms=14, channels=0)
    with pytest.raises(ConfigError, match=r"at least one step .2.0 ms"):
        binned_counts(Bursts(0, 1), bin_ms=0.5, channels=1)

    class Dense(Bursts):
        def batch(self, epoch, k):
            return super().batch(epoch, k)._replace(inputs=torch.zeros(16, 30, 10))

    with pytest.raises(ConfigError, match="the input is dense"):
        binned_counts(Dense(0, 1), bin_ms=20, channels=5)


def test_the_command_probes_the_data_of_a_recipe(tones, tmp_path, capsys):
    recipe = tmp_path / "tones.yaml"
    recipe.write_text(
        "{name: tones, data: {kind: digits, validation_share: 0.5}, training: {steps: 1, batch: 20}}"
    )
    with pytest.raises(SystemExit) as ended:
        main(["probe", str(recipe), "--data.folder", str(tones), "--data.bin_ms", "10", "--channels", "70"])
    assert ended.value.code == 0
    data = load_recipe(recipe, {"data.folder": str(tones), "data.bin_ms": 10}).data
    found = linear_probe(data.open(20, 0), channels=70)
    cells = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["test", "accuracy", f"{found.accuracy:.4f}"] in cells
    assert found.accuracy > 0.25


def test_trials_have_no_classes_to_probe(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["probe", "l5pc-small", "--data.train", "trials", "--data.validation", "others"])
    assert ended.value.code == 2
    assert "no classes" in capsys.readouterr().err.replace("\n", " ")
