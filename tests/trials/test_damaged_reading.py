"""Who reads a damaged store learns so from the first clip, not from a strange score."""

import h5py
import numpy as np
import pytest
from trial_examples import make_header, make_trial

from ulmus.errors import DataError
from ulmus.trials import StoreWriter, open_trials


def damage(file, key, index, value):
    with h5py.File(file, "r+") as shard:
        shard[key][index] = value


@pytest.mark.parametrize(
    ("key", "index", "value"),
    [
        ("voltage_mv", (1, 7, 0), np.nan),
        ("event_input", 3, 60_000),
        ("spike_time_ms", 0, 1e9),
        ("spike_time_ms", 1, -4.0),
    ],
)
def test_damage_is_met_at_the_first_clip(tmp_path, key, index, value):
    header = make_header()
    writer = StoreWriter(tmp_path / "store", header, 4, 4)
    for number in range(4):
        writer.add(number, make_trial(header, number))
    writer.finish()
    (file,) = (tmp_path / "store").glob("trials-*.h5")
    damage(file, key, index, value)
    with pytest.raises(DataError, match=f"{file.name}.*{key}"):
        open_trials(str(tmp_path / "store")).clip(0, 0, 10)
