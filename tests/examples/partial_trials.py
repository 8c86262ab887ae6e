"""Stores with less than everything, made from a whole one."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from ulmus.trials import Store, StoreWriter, Trial, TrialSource
from ulmus.trials.trial import label_bins


def rewritten(trials: TrialSource, path: Path, change, **header: object) -> Store:
    """A store of the same trials with another header, each changed by ``change(trial, index)``."""
    writer = StoreWriter(path, replace(trials.header, **header), len(trials))
    for index in range(len(trials)):
        writer.add(index, change(trials.trial(index), index))
    return writer.finish()


def spikes_alone(trials: TrialSource, path: Path) -> Store:
    return rewritten(
        trials, path, lambda trial, _: trial._replace(voltage_mv=trial.voltage_mv[:, :0]), sites=()
    )


def voltage_alone(trials: TrialSource, path: Path) -> Store:
    return rewritten(trials, path, lambda trial, _: trial._replace(spike_time_ms=np.empty(0)), spikes=False)


def blanked(trial: Trial, recorded: np.ndarray) -> Trial:
    """The trial with nothing but input where it was not recorded."""
    kept = recorded[label_bins(trial.spike_time_ms, 1.0)]
    voltage = np.where(recorded[:, None], trial.voltage_mv, np.float32(np.nan))
    return trial._replace(voltage_mv=voltage, spike_time_ms=trial.spike_time_ms[kept], recorded=recorded)


def with_gaps(trials: TrialSource, path: Path, masks: np.ndarray) -> Store:
    return rewritten(trials, path, lambda trial, index: blanked(trial, masks[index]), gaps=True)
