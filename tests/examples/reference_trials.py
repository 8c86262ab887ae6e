"""Reference trials of the layer-5 pyramidal cell, in a layout of their own, as a store."""

from pathlib import Path

import h5py
import numpy as np

from ulmus.trials import Header, Store, StoreWriter, Trial

SEGMENTS = 639
"""One excitatory and one inhibitory input each; the first 262 are on the basal tree."""


def write_reference_store(file: Path, folder: Path) -> Store:
    """A store of the trials in ``file``: events counted by ms, all inputs behind each other, voltage, spikes."""
    with h5py.File(file) as source:
        counts, inputs = source["event_count"][:].astype(np.int64), source["event_input"][:].astype(np.uint16)
        voltage, spikes = source["voltage_mv"][:].astype(np.float32), source["spike_time_ms"][:]
        events = np.split(inputs, counts.sum(axis=1).cumsum()[:-1])
        times = np.split(spikes.astype(np.float64), source["spike_count"][:].cumsum()[:-1])
        settings = {key: np.asarray(value).tolist() for key, value in source.attrs.items()}
    trials, steps = counts.shape
    trees = [
        {"label": "basal", "first": 0, "stop": 262},
        {"label": "apical", "first": 262, "stop": SEGMENTS},
    ]
    sign = np.repeat(np.array([1, -1], dtype=np.int8), SEGMENTS)
    header = Header(
        steps,
        settings["duration_ms"] / steps,
        sign,
        ("soma",),
        "reference",
        {**settings, "input_groups": trees},
    )
    writer = StoreWriter(folder, header, trials)
    for index in range(trials):
        step = np.repeat(np.arange(steps, dtype=np.int32), counts[index])
        trial = Trial(step, events[index], voltage[index, :, None], times[index], {"trial": index})
        writer.add(index, trial)
    return writer.finish()
