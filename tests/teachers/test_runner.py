import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import ulmus.teachers.runner as runner
from ulmus.cli.app import main
from ulmus.data.store import Store, StoreWriter
from ulmus.errors import ConfigError, UlmusError
from ulmus.teachers.l5pc import L5PC
from ulmus.teachers.runner import simulate
from ulmus.teachers.stimulus import REGIMES

SHORT = {"trials": 4, "seconds": 0.15, "seed": 5, "dt_ms": 0.1}


@pytest.fixture(scope="module")
def cell():
    return L5PC()


@pytest.fixture(scope="module")
def reference(cell, tmp_path_factory):
    """A store written by one process."""
    folder = tmp_path_factory.mktemp("one") / "store"
    return simulate(cell, REGIMES["default"], out=folder, workers=1, **SHORT)


def _same(store, other):
    assert store.content_hash == other.content_hash
    for index in range(len(store)):
        for a, b in zip(store.clip(index, 0, 150)[:3], other.clip(index, 0, 150)[:3], strict=True):
            assert np.array_equal(a, b)


def test_a_store_has_the_trials_and_says_where_they_come_from(reference, cell):
    assert len(reference) == 4
    assert reference.verify() == []
    assert reference.header.steps == 150
    assert reference.header.inputs == 2 * cell.morphology.segments
    settings = reference.header.settings
    assert settings["cell"]["morphology"] == "C060114A7"
    assert (settings["regime"]["name"], settings["seed"], settings["integration_step_ms"]) == (
        "default",
        5,
        0.1,
    )
    for index in range(4):
        attributes = reference.attributes(index)
        assert (attributes["regime"], attributes["seed"], attributes["trial"]) == ("default", 5, index)
        assert attributes["rate_hold_ms"] > 0
    costs = [json.loads(line) for line in (reference.path / "cost.jsonl").read_text().splitlines()]
    assert sorted(cost["trial"] for cost in costs) == [0, 1, 2, 3]
    assert all(cost["cpu_seconds"] > 0 for cost in costs)


def test_two_workers_write_the_same_store_bit_for_bit(reference, cell, tmp_path):
    seen = []
    store = simulate(cell, REGIMES["default"], out=tmp_path / "two", workers=2, on_trial=seen.append, **SHORT)
    _same(store, reference)
    assert sorted(progress.trial for progress in seen) == [0, 1, 2, 3]
    assert [progress.done for progress in seen] == [1, 2, 3, 4]
    assert {progress.total for progress in seen} == {4}


def test_an_interrupted_simulation_goes_on_and_ends_in_the_same_store(reference, cell, tmp_path):
    def stop(progress):
        if progress.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(cell, REGIMES["default"], out=tmp_path / "store", workers=1, on_trial=stop, **SHORT)
    done = []
    store = simulate(
        cell, REGIMES["default"], out=tmp_path / "store", workers=1, on_trial=done.append, **SHORT
    )
    assert len(done) == 2
    _same(store, reference)
    assert len(simulate(cell, REGIMES["default"], out=tmp_path / "store", on_trial=done.append, **SHORT)) == 4
    assert len(done) == 2  # nothing was left to do


def test_other_settings_do_not_continue_a_store(reference, cell):
    with pytest.raises(ConfigError, match="seed"):
        simulate(cell, REGIMES["default"], out=reference.path, **{**SHORT, "seed": 6})


def test_a_trial_that_fails_is_named_with_its_seed(cell, tmp_path, monkeypatch):
    def broken(*arguments, **options):
        raise ZeroDivisionError("no such luck")

    monkeypatch.setattr(runner, "run_trial", broken)
    with pytest.raises(UlmusError, match=r"trial 0 \(seed 5\) failed with ZeroDivisionError: no such luck"):
        simulate(cell, REGIMES["default"], out=tmp_path / "store", workers=1, **SHORT)


@pytest.mark.parametrize(
    "wrong", [{"trials": 0}, {"seconds": 0.0}, {"workers": 0}, {"seed": -1}, {"sites": (5000,)}]
)
def test_arguments_that_make_no_store_are_refused_before_one_is_begun(cell, tmp_path, wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        simulate(cell, REGIMES["default"], out=tmp_path / "store", **{**SHORT, **wrong})
    assert not (tmp_path / "store").exists()


def test_the_command_line_records_dendritic_sites(tmp_path):
    folder = tmp_path / "store"
    options = ["--trials=1", "--seconds=0.05", "--step-ms=0.1", "--workers=1", "--sites=3", "--sites=500"]
    with pytest.raises(SystemExit) as ended:
        main(["simulate", "l5pc", *options, f"--out={folder}"])
    assert ended.value.code in (0, None)
    store = Store(folder)
    assert store.header.sites == ("soma", "segment 3", "segment 500")
    voltage = store.trial(0).voltage_mv
    assert voltage.shape == (50, 3)
    assert np.ptp(voltage[10:], axis=1).min() > 0  # three places, three voltages


SCRIPT = """
import sys
from ulmus.teachers.l5pc import L5PC
from ulmus.teachers.runner import simulate
from ulmus.teachers.stimulus import REGIMES

if __name__ == "__main__":
    simulate(L5PC(), REGIMES["default"], trials=8, seconds=0.15, seed=5, dt_ms=0.1, workers=2, out=sys.argv[1],
             on_trial=lambda progress: print(progress.done, flush=True))
"""


def _alive(workers):
    return [worker for worker in workers if Path(f"/proc/{worker}").exists()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds worker processes through /proc")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_simulation_leaves_no_workers_and_no_broken_store(reference, cell, tmp_path, how):
    script, folder, log = tmp_path / "script.py", tmp_path / "store", tmp_path / "log"
    script.write_text(SCRIPT)
    with log.open("w") as output:
        process = subprocess.Popen([sys.executable, str(script), str(folder)], stdout=output, stderr=output)
        until = time.monotonic() + 60
        while "1" not in log.read_text() and time.monotonic() < until:
            time.sleep(0.05)
        workers = [
            int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        ]
        process.send_signal(how)
        assert process.wait(timeout=30) != 0
    assert len(workers) >= 2
    until = time.monotonic() + 15
    while _alive(workers) and time.monotonic() < until:
        time.sleep(0.1)
    assert not _alive(workers)
    kept = StoreWriter(folder, reference.header, trials_total=8).done()
    assert 1 <= len(kept) < 8
    seen = []
    store = simulate(
        cell, REGIMES["default"], out=folder, on_trial=seen.append, workers=1, **{**SHORT, "trials": 8}
    )
    assert {progress.trial for progress in seen} == set(range(8)) - kept
    assert store.verify() == []
    for index in range(4):
        assert np.array_equal(store.clip(index, 0, 150).voltage_mv, reference.clip(index, 0, 150).voltage_mv)
