"""Trials and how they are stored, read, converted and cut into batches."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ulmus.trials.paths import open_trials
    from ulmus.trials.store import Store, StoreWriter
    from ulmus.trials.trial import Header, Trial, spike_bins, validate
    from ulmus.trials.trial_source import JoinedTrials, TrialSource
    from ulmus.trials.windows import Batch, Windows, events_from_trials, whole_trials

__all__ = [
    "Batch",
    "Header",
    "JoinedTrials",
    "Store",
    "StoreWriter",
    "Trial",
    "TrialSource",
    "Windows",
    "events_from_trials",
    "open_trials",
    "spike_bins",
    "validate",
    "whole_trials",
]

_HOMES = {
    "paths": ("open_trials",),
    "store": ("Store", "StoreWriter"),
    "trial": ("Header", "Trial", "spike_bins", "validate"),
    "trial_source": ("JoinedTrials", "TrialSource"),
    "windows": ("Batch", "Windows", "events_from_trials", "whole_trials"),
}


def __getattr__(name: str) -> Any:
    # Loaded when first used: processes that simulate or convert need no PyTorch, which takes seconds to load.
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"ulmus.trials.{home}"), name)
    raise AttributeError(f"module 'ulmus.trials' has no attribute {name!r}")
