"""The linear probe: logistic regression on what happens in coarse bins of time."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int64

from ulmus.errors import ConfigError, extra
from ulmus.kernels.events import Events
from ulmus.sequences.arrays.sequence_set import SequenceSet
from ulmus.sequences.labelled_batches import LabelledBatch, LabelledBatches, Splits

_STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
_ITERATIONS = 5000


class ProbeScores(NamedTuple):
    """How often the probe is right.

    Attributes:
        validation_accuracy: on the sequences that chose the regularisation.
        accuracy: on the test sequences.
        regularisation: inverse strength of the L2 penalty that was chosen.
        features: bins.
    """

    validation_accuracy: float
    accuracy: float
    regularisation: float
    features: int


def linear_probe(splits: Splits[LabelledBatches], *, bin_ms: float = 50.0, channels: int = 20) -> ProbeScores:
    """Fit logistic regression to binned counts of the training sequences (epoch 0), and score the test ones once.

    Counts are standardised; the penalty is the one of six (1e-4 to 10 in steps of ten) that is best on the validation
    sequences.

    Args:
        splits: sequences of one length, as events, one to a class.
        bin_ms: width of a bin; rounded to whole steps.
        channels: neighbouring channels that are counted together.

    Raises:
        ConfigError: bins that are narrower than a step or a channel, or sequences that are not of this kind.
        DataError: a file of the data is damaged.
    """
    return fit_probe(*(binned_counts(part, bin_ms=bin_ms, channels=channels) for part in splits))


Labelled = tuple[Float32[np.ndarray, "sequences features"], Int64[np.ndarray, "sequences"]]
"""Features and classes."""


def fit_probe(train: Labelled, validation: Labelled, test: Labelled) -> ProbeScores:
    """Logistic regression on standardised features: its penalty is chosen on the validation part, its score is of the "
    "test part.
    """
    with extra("sequences", "a linear probe"):
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

    probes = {
        strength: make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=_ITERATIONS)).fit(
            *train
        )
        for strength in _STRENGTHS
    }
    right = {strength: float(probe.score(*validation)) for strength, probe in probes.items()}
    best = max(right, key=lambda strength: right[strength])
    return ProbeScores(right[best], float(probes[best].score(*test)), best, train[0].shape[1])


def part_means(
    sequences: SequenceSet, parts: int, channels: int
) -> Float32[np.ndarray, "sequences features"]:
    """Every sequence cut into equal parts, of each the mean of every channel; of tokens and events how often each occurs.

    Args:
        sequences: numbers, tokens or events, of any lengths; missing values do not count.
        parts: how many.
        channels: channels or known tokens.

    Raises:
        ConfigError: no part.
    """
    if parts < 1:
        raise ConfigError(f"parts={parts}: expected at least one.")
    means = np.zeros((len(sequences), parts, channels), dtype=np.float32)
    for index, length in enumerate(sequences.lengths.tolist()):
        values, edges = sequences.sequence(index), np.linspace(0, length, parts + 1)
        if sequences.input == "numbers":
            part = np.minimum(np.searchsorted(edges, np.arange(length), side="right") - 1, parts - 1)
            there = ~np.isnan(values)
            total, count = np.zeros((parts, channels)), np.zeros((parts, channels))
            np.add.at(total, part, np.nan_to_num(values))
            np.add.at(count, part, there)
            means[index] = total / np.maximum(count, 1)
            continue
        step, channel, amount = (
            (np.arange(length), values, np.ones(length)) if sequences.input == "tokens" else values.T
        )
        part = np.minimum(np.searchsorted(edges, step, side="right") - 1, parts - 1)
        np.add.at(means[index], (part, channel.astype(np.int64)), amount * parts / length)
    return means.reshape(len(sequences), -1)


def binned_counts(
    batches: LabelledBatches, *, bin_ms: float, channels: int
) -> tuple[Float32[np.ndarray, "sequences features"], Int64[np.ndarray, "sequences"]]:
    """Summed amplitudes of the events of epoch 0 in bins of time and channels, and the classes.

    Raises:
        ConfigError: as :func:`linear_probe`.
        DataError: a file of the data is damaged.
    """
    steps = round(bin_ms / batches.step_ms)
    if steps < 1 or channels < 1:
        raise ConfigError(
            f"bin_ms={bin_ms}, channels={channels}: expected at least one step ({batches.step_ms} ms) and one channel; "
            "widen the bins"
        )
    counts, labels = [], []
    for batch in batches.loader(0, batches.batches_per_epoch):
        counts.append(_counts(batch, steps, channels))
        labels.append(batch.labels.numpy())
    if len({part.shape[1] for part in counts}) != 1:
        raise ConfigError("the batches differ in length; expected sequences of one length; probe other data")
    return np.concatenate(counts), np.concatenate(labels)


def _counts(batch: LabelledBatch, steps: int, channels: int) -> Float32[np.ndarray, "sequences features"]:
    events = batch.inputs
    if not isinstance(events, Events) or events.batch != len(batch.labels):
        raise ConfigError(
            "the input is dense, or has several sequences to a class; expected events, one sequence to a class; probe "
            "other data"
        )
    bins, groups = -(-events.time // steps), -(-events.channels // channels)
    rows = np.repeat(np.arange(events.batch * events.time), np.diff(events.row_start.numpy()))
    sequence, step = np.divmod(rows, events.time)
    place = (sequence * bins + step // steps) * groups + events.inputs.numpy() // channels
    total = np.bincount(place, weights=events.values.numpy(), minlength=events.batch * bins * groups)
    return total.reshape(events.batch, -1).astype(np.float32)
