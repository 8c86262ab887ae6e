"""Small trials for the tests of this folder."""

import os
import sys
from pathlib import Path

import numpy as np

import ulmus
from ulmus.trials import Header, Store, StoreWriter, Trial, TrialSource

SOURCE_FOLDER = Path(ulmus.__file__).resolve().parent.parent


def environment() -> dict[str, str]:
    """For Python subprocesses that import ulmus and this file."""
    folders = [str(SOURCE_FOLDER), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def make_header(
    steps: int = 50, inputs: int = 6, sites: tuple[str, ...] = ("soma",), **settings: object
) -> Header:
    sign = np.where(np.arange(inputs) < (inputs + 1) // 2, 1, -1)
    return Header(steps, 1.0, sign, sites, "test", settings)


HEADER = make_header(purpose="test")


def make_trial(header: Header, seed: int, events: int = 200, spikes: int = 3) -> Trial:
    random = np.random.default_rng(seed)
    return Trial(
        event_step=np.sort(random.integers(header.steps, size=events)).astype(np.int32),
        event_input=random.integers(header.inputs, size=events).astype(np.uint16),
        voltage_mv=random.normal(-70, 5, (header.steps, len(header.sites))).astype(np.float32),
        spike_time_ms=np.sort(random.uniform(0, header.duration_ms, spikes)),
        attributes={"seed": seed, "regime": "test"},
    )


def assert_same_trial(one: Trial, other: Trial) -> None:
    for key in ("event_step", "event_input", "voltage_mv", "spike_time_ms"):
        a, b = getattr(one, key), getattr(other, key)
        assert a.dtype == b.dtype, key
        np.testing.assert_array_equal(a, b, err_msg=key)
    assert one.attributes == other.attributes


def assert_same_trials(one: TrialSource, other: TrialSource) -> None:
    assert len(one) == len(other)
    for index in range(len(one)):
        assert_same_trial(one.trial(index), other.trial(index))


def folder_bytes(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def write_store(path: Path, trials: int = 10, shard_trials: int = 4, header: Header = HEADER) -> Store:
    writer = StoreWriter(path, header, trials, shard_trials)
    for index in range(trials):
        writer.add(index, make_trial(header, index))
    return writer.finish()
