"""One rule for spikes: those that scores count are those of a prediction and of a loop."""

import numpy as np
import pytest
import torch

import ulmus
from ulmus.evaluation.predictions import PROTOCOLS, predict
from ulmus.trials import open_trials, whole_trials

THRESHOLD = 0.4


@pytest.fixture
def batch(integrator_store):
    """All trials."""
    (batch,) = whole_trials(open_trials(integrator_store), 16)
    return batch


@pytest.fixture
def surrogate(batch) -> ulmus.Surrogate:
    """Fast enough to have several peaks in one stretch; in double precision, so that no rounding decides what a peak is."""
    torch.manual_seed(2)
    neuron = ulmus.ELM(12, 2, memory=6, synaptic_weight=1.5, tau_memory_ms=(2.0, 25.0))
    with torch.no_grad():
        neuron.readout.weight[0] *= 25
        neuron.readout.bias[0] -= neuron(batch.events.dense())[0][..., 0].median()
    return ulmus.Surrogate(neuron.double(), spike_threshold=THRESHOLD)


def peaks_that_are_the_highest(
    probability: np.ndarray, threshold: float = THRESHOLD
) -> tuple[list[int], int]:
    """Steps after the first fall in every stretch, found one step at a time; and how many of them follow the highest value."""
    found, highest, stretch, done = [], 0, [], False
    for step, value in enumerate([*probability, 0.0]):
        if stretch and value < stretch[-1] and not done and step < len(probability):
            found.append(step)
            done, first = True, max(stretch)
        if value > threshold:
            stretch.append(value)
        else:
            highest += done and max(stretch) == first
            stretch, done = [], False
    return found, highest


def test_scores_count_the_spikes_of_every_other_way(surrogate, batch, integrator_store):
    scored = predict(surrogate, open_trials(integrator_store), PROTOCOLS["stream"])
    x = batch.events.dense().double().numpy()
    fired = surrogate.stepper(len(x)).run(x).spikes
    predicted = surrogate.predict(torch.from_numpy(x))
    found = [peaks_that_are_the_highest(row) for row in predicted.spike_probability.numpy()]
    wanted = [steps for steps, _ in found]
    count = sum(map(len, wanted))
    assert 50 < sum(highest for _, highest in found) < count  # the rules differ here
    assert [np.flatnonzero(row).tolist() for row in fired] == wanted
    for told in (scored.predicted_times_ms, predicted.spike_times_ms):
        assert [times.tolist() for times in told] == wanted


@pytest.mark.golden
def test_the_first_peak_is_mostly_the_highest(reference_store):
    """What docs/scores.md says of the two."""
    surrogate = ulmus.load("l5pc-branch-20")
    scored = predict(surrogate, reference_store("test_published_seed3003"), PROTOCOLS["stream"])
    found = [peaks_that_are_the_highest(row, surrogate.spike_threshold) for row in scored.probability]
    share = sum(highest for _, highest in found) / sum(len(steps) for steps, _ in found)
    assert share == pytest.approx(0.88, abs=0.01)
