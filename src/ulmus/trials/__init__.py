"""Trials and how they are stored, read, converted and cut into batches."""

from typing import TYPE_CHECKING

from ulmus.lazy import lazy

if TYPE_CHECKING:
    from ulmus.trials.header import Channel, Header, Signal
    from ulmus.trials.paths import open_trials
    from ulmus.trials.store import Store, StoreWriter
    from ulmus.trials.trial import Trial, spike_bins
    from ulmus.trials.trial_source import JoinedTrials, TrialSource
    from ulmus.trials.validation import validate
    from ulmus.trials.windows import Batch, Windows, events_from_trials, whole_trials

__all__ = [
    "Batch",
    "Channel",
    "Header",
    "JoinedTrials",
    "Signal",
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

# Processes that simulate or convert need no PyTorch, which takes seconds to load.
__getattr__, __dir__ = lazy(__name__)
