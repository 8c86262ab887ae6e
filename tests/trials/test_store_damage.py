import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from trial_examples import (
    HEADER,
    assert_same_trial,
    make_trial,
    write_store,
)

from ulmus.errors import DataError
from ulmus.trials import Store, validate


def shard_of(folder: Path) -> Path:
    return folder / "trials-0000004-0000007.h5"


def change(key: str, value):
    def apply(file: Path) -> None:
        with h5py.File(file, "r+") as shard:
            shard[key][...] = value(shard[key][...])

    return apply


def resize(key: str, shape: tuple[int, ...], dtype: str):
    def apply(file: Path) -> None:
        with h5py.File(file, "r+") as shard:
            del shard[key]
            shard[key] = np.zeros(shape, dtype)

    return apply


def remove(key: str):
    def apply(file: Path) -> None:
        with h5py.File(file, "r+") as shard:
            del shard[key]

    return apply


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:3000]), "cannot be read|shorter"),
        (lambda file: file.write_bytes(b""), "cannot be read"),
        (lambda file: file.write_bytes(b"not HDF5" * 100), "cannot be read"),
        (lambda file: file.unlink(), "does not exist"),
        (remove("event_input"), "no dataset 'event_input'"),
        (resize("voltage_mv", (4, 49, 1), "<f4"), "voltage_mv of shape"),
        (resize("voltage_mv", (4, 50, 1), "<f8"), "voltage_mv as float64"),
        (resize("event_base", (4,), "<i8"), "event_base of shape"),
        (resize("event_base", (5,), "<i8"), "event_base that does not fit event_input"),
        (resize("spike_base", (5,), "<i8"), "spike_base that does not fit spike_time_ms"),
    ],
)
def test_a_damaged_shard_is_named(tmp_path, damage, message):
    store = write_store(tmp_path / "store")
    damage(shard_of(store.path))
    problems = store.verify()
    assert len(problems) == 1
    with pytest.raises(DataError, match=message) as caught:
        Store(store.path).trial(5)
    assert str(shard_of(store.path)) in str(caught.value)
    assert_same_trial(Store(store.path).trial(0), make_trial(HEADER, 0))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            change("voltage_mv", lambda v: np.where(v == v[1, 3, 0], np.nan, v)),
            "trial 5: voltage_mv is nan at step 3",
        ),
        (change("spike_time_ms", lambda v: v + 1000), "trial 4: spike_time_ms holds 1"),
        (change("event_input", lambda v: v + 1), "trial 4: event_input holds 6"),
        (change("step_offset", lambda v: v[:, ::-1]), "trial 4: "),
        (change("attributes", lambda v: np.full_like(v, b"{")), "trial 4: "),
    ],
)
def test_verify_finds_wrong_values(tmp_path, damage, message):
    store = write_store(tmp_path / "store")
    damage(shard_of(store.path))
    problems = store.verify()
    assert "SHA-256" in problems[0]
    assert any(message in problem and str(shard_of(store.path)) in problem for problem in problems[1:])


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda index: index.pop("header"), "missing or wrong entry"),
        (lambda index: index["header"].pop("dt_ms"), "missing or wrong entry"),
        (lambda index: index["header"].update(steps=-4), "missing or wrong entry"),
        (lambda index: index["shards"][1].update(first=5), "missing or wrong entry"),
        (lambda index: index["shards"][0].update(file="../x.h5"), "missing or wrong entry"),
        (
            lambda index: index["shards"][1].update(trials=0, file="trials-0000004-0000003.h5"),
            "of no trials",
        ),
        (lambda index: index["shards"].pop(1), "do not follow"),
        (lambda index: index.update(schema=99), "schema 99"),
        (lambda index: index.update(format="?"), "is not the index"),
    ],
)
def test_a_damaged_index_is_named(tmp_path, edit, message):
    file = write_store(tmp_path / "store").path / "store.json"
    index = json.loads(file.read_text())
    edit(index)
    file.write_text(json.dumps(index))
    with pytest.raises(DataError, match=message) as caught:
        Store(tmp_path / "store")
    assert str(file) in str(caught.value)


def test_no_store_there(tmp_path):
    write_store(tmp_path / "simulated")
    with pytest.raises(DataError, match="Did you mean 'simulated'"):
        Store(tmp_path / "simulatd")
    (tmp_path / "simulated" / "store.json").write_text("{")
    with pytest.raises(DataError, match="is not JSON"):
        Store(tmp_path / "simulated")


def test_a_shard_that_is_cut_while_it_is_read_is_an_error_and_not_the_end_of_the_process(tmp_path):
    store = write_store(tmp_path / "store")
    assert_same_trial(store.trial(5), make_trial(HEADER, 5))
    with shard_of(store.path).open("r+b") as file:
        file.truncate(3000)
    with pytest.raises(DataError, match="was cut while it was read"):
        store.trial(5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"voltage_mv": np.full((50, 1), 1e30, np.float32)}, "voltage_mv reaches 1e\\+30 at site 'soma'"),
        ({"voltage_mv": np.full((50, 1), 301, np.float32)}, "at most 300 mV at the soma"),
        ({"spike_time_ms": np.array([1e30])}, "spike_time_ms holds 1e\\+30"),
        ({"spike_time_ms": np.array([1e300])}, "spike_time_ms holds 1e\\+300"),
    ],
)
def test_values_beyond_any_trial_are_refused(change, message):
    with pytest.raises(DataError, match=message):
        validate(make_trial(HEADER, 0)._replace(**change), HEADER, "here")
