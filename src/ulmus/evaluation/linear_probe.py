"""What a straight line can tell: logistic regression on how many events fall into coarse bins."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int64

from ulmus.errors import ConfigError, extra
from ulmus.kernels.events import Events
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
    with extra("sequences", "a linear probe"):
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

    (train, train_labels), (validation, validation_labels), (test, test_labels) = (
        binned_counts(part, bin_ms=bin_ms, channels=channels) for part in splits
    )
    probes = {
        strength: make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=_ITERATIONS)).fit(
            train, train_labels
        )
        for strength in _STRENGTHS
    }
    right = {
        strength: float(probe.score(validation, validation_labels)) for strength, probe in probes.items()
    }
    best = max(right, key=lambda strength: right[strength])
    accuracy = float(probes[best].score(test, test_labels))
    return ProbeScores(right[best], accuracy, best, train.shape[1])


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
