"""Thousands of fitted neurons, connected: cell types, connections with delays, external input, recordings."""

from ulmus.populations.connectors import (
    AllToAll,
    DistanceDependentProbability,
    FixedProbability,
    FromList,
)
from ulmus.populations.population import Cells, Population, Recording
from ulmus.populations.spike_files import read_spikes, write_spikes

__all__ = [
    "AllToAll",
    "Cells",
    "DistanceDependentProbability",
    "FixedProbability",
    "FromList",
    "Population",
    "Recording",
    "read_spikes",
    "write_spikes",
]
