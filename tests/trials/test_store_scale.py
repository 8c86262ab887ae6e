"""A store of 100,000 trials opens at once and is read a piece at a time."""

import resource
import time
from pathlib import Path

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


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files cannot be counted")
def test_opening_a_store_again_and_again_opens_its_files_once(tmp_path):
    header = Header(steps=20, dt_ms=1.0, input_sign=np.ones(8, dtype=np.int8))
    writer = StoreWriter(tmp_path / "store", header, trials_total=2, shard_trials=1)
    for index in range(2):
        writer.add(
            index,
            Trial(
                np.zeros(0, np.int32), np.zeros(0, np.uint16), np.zeros((20, 1), np.float32), np.zeros(0), {}
            ),
        )
    writer.finish()

    def read():
        store = Store(writer.path)
        return [store.trial(index) for index in range(2)], len(list(Path("/proc/self/fd").iterdir()))

    _, first = read()
    _, last = [read() for _ in range(5)][-1]
    assert last == first
