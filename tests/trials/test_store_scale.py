"""A store of 100,000 trials opens at once and is read a piece at a time."""

import resource
import time

import numpy as np
import pytest

from ulmus.trials import Header, Store, StoreWriter, Trial
from ulmus.trials.shard import write_shard

TRIALS, SHARD = 100_000, 64


@pytest.mark.slow
def test_a_store_of_a_hundred_thousand_trials_opens_in_a_second_and_streams(tmp_path):
    header = Header(steps=20, dt_ms=1.0, input_sign=np.ones(8, dtype=np.int8))
    writer = StoreWriter(tmp_path / "store", header, trials_total=TRIALS)
    trial = Trial(
        np.array([1, 5], dtype=np.int32), np.array([0, 3], dtype=np.uint16), np.zeros((20, 1), dtype=np.float32),
        np.array([3.0]), {},
    )  # fmt: skip
    for first in range(0, TRIALS, SHARD):
        count = min(SHARD, TRIALS - first)
        numbered = [trial._replace(attributes={"trial": first + k}) for k in range(count)]
        write_shard(writer.path / f"trials-{first:07d}-{first + count - 1:07d}.h5", header, first, numbered)
    writer.finish()
    begin = time.process_time()
    store = Store(writer.path)
    opened = time.process_time() - begin
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for index in np.random.default_rng(0).integers(TRIALS, size=300).tolist():
        assert store.attributes(index) == {"trial": index}
        assert store.clip(index, 0, 20).event_input.tolist() == [0, 3]
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert len(store) == TRIALS
    assert opened < 1.0
    assert grown < 100 * 1024
