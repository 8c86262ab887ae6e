"""The comparison of integration steps, on trials whose differences are known."""

import numpy as np
import pytest
from integration_step import compare
from trial_examples import make_header, make_trial

from ulmus.errors import DataError
from ulmus.trials import StoreWriter

HEADER = make_header(steps=1000)


def stored(folder, trials):
    writer = StoreWriter(folder, HEADER, len(trials))
    for index, trial in enumerate(trials):
        writer.add(index, trial)
    return writer.finish()


def test_what_later_spikes_and_a_shifted_voltage_are(tmp_path):
    spikes = np.array([100.0, 600.0, 700.0, 800.0, 900.0])  # the first is not scored
    trial = make_trial(HEADER, 0)._replace(spike_time_ms=spikes)
    below = np.full_like(trial.voltage_mv, -70)
    trial = trial._replace(voltage_mv=below)
    later = np.add(spikes, [300.0, 0.5, 0.5, 1.0, 5.0])
    above = below + 3
    above[700:750] = 20  # a spike counts as -55 mV
    other = trial._replace(spike_time_ms=later, voltage_mv=above)
    reference = stored(tmp_path / "fine", [trial, trial])
    row = compare(stored(tmp_path / "coarse", [other, trial]), reference)
    assert (row.store, row.trials, row.reference_spikes, row.spikes) == ("coarse", 2, 8, 8)
    assert row.matched_share == 7 / 8
    assert row.median_lag_ms == 0.25  # of 0, 0, 0, 0, 0.5, 0.5, 1 and 5
    assert row.voltage_rmse_mv == pytest.approx(np.sqrt((450 * 9 + 50 * 225) / 1000))
    assert compare(reference, reference)[-3:] == (1.0, 0.0, 0.0)


def test_other_trials_are_refused(tmp_path):
    reference = stored(tmp_path / "fine", [make_trial(HEADER, 0)])
    with pytest.raises(DataError, match="other input"):
        compare(stored(tmp_path / "other", [make_trial(HEADER, 1)]), reference)
    with pytest.raises(DataError, match="holds 2 trials"):
        compare(stored(tmp_path / "more", [make_trial(HEADER, 0), make_trial(HEADER, 1)]), reference)
