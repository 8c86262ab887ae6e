"""Trials and how they are stored, read, converted and cut into batches."""

from ulmus.data.source import TrialSource
from ulmus.data.store import Store, StoreWriter
from ulmus.data.trial import Header, Trial, spike_bins, validate
from ulmus.data.windows import Batch, Windows, events_from_trials, whole_trials

__all__ = [
    "Batch",
    "Header",
    "Store",
    "StoreWriter",
    "Trial",
    "TrialSource",
    "Windows",
    "events_from_trials",
    "spike_bins",
    "validate",
    "whole_trials",
]
