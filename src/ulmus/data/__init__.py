"""Trials and how they are stored, read, converted and cut into batches."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_HOMES = {
    "source": ("TrialSource",),
    "store": ("Store", "StoreWriter"),
    "trial": ("Header", "Trial", "spike_bins", "validate"),
    "windows": ("Batch", "Windows", "events_from_trials", "whole_trials"),
}


def __getattr__(name: str) -> Any:
    # Loaded when first used: processes that simulate or convert need no PyTorch, which takes seconds to load.
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"ulmus.data.{home}"), name)
    raise AttributeError(f"module 'ulmus.data' has no attribute {name!r}")
