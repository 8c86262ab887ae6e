import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ulmus.errors import ConfigError, UlmusError
from ulmus.teachers.integrate_and_fire import IntegrateAndFire
from ulmus.teachers.l5pc.cell import L5PC
from ulmus.teachers.regimes import REGIMES
from ulmus.teachers.runner import simulate
from ulmus.trials.store import StoreWriter

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


def test_the_rate_of_a_resumed_simulation_is_that_of_the_whole_store(tmp_path):
    seen = []
    options = {"seconds": 2.0, "out": tmp_path / "store", "workers": 1, "on_trial": seen.append}
    for trials in (3, 5):
        store = simulate(IntegrateAndFire(), trials=trials, **options)
        assert seen[-1].output_hz == pytest.approx(store.info()["output_hz"])
        assert store.info()["output_spikes"] > 0
    assert len(seen) == 5


def test_other_settings_do_not_continue_a_store(reference, cell):
    with pytest.raises(ConfigError, match="seed"):
        simulate(cell, REGIMES["default"], out=reference.path, **{**SHORT, "seed": 6})


class Broken(L5PC):
    def run_trial(self, *arguments, **options):
        raise ZeroDivisionError("no such luck")


def test_a_trial_that_fails_is_named_with_its_seed(cell, tmp_path):
    with pytest.raises(UlmusError, match=r"trial 0 \(seed 5\) failed with ZeroDivisionError: no such luck"):
        simulate(Broken(cell.morphology), out=tmp_path / "store", workers=1, **SHORT)


@pytest.mark.parametrize("wrong", [{"trials": 0}, {"seconds": 0.0}, {"workers": 0}, {"seed": -1}])
def test_arguments_that_make_no_store_are_refused_before_one_is_begun(cell, tmp_path, wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        simulate(cell, REGIMES["default"], out=tmp_path / "store", **{**SHORT, **wrong})
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"stimulus": "strong"}, "stimulus='strong': expected an InputRegime"),
        ({"trials": 1.5}, "trials=1.5: expected a whole number"),
        ({"workers": 0}, "workers=0: expected a whole number, at least 1"),
        ({"sites": "dend[1](0.9)"}, "expected a list of places"),
        ({"sites": [100, "100"]}, "sites name '100' twice"),
    ],
)
def test_arguments_of_the_wrong_kind_are_named(tmp_path, wrong, message):
    with pytest.raises(ConfigError, match=message):
        simulate(IntegrateAndFire(), out=tmp_path / "store", **{**SHORT, **wrong})
    assert not (tmp_path / "store").exists()


SCRIPT = """
import sys
from ulmus.teachers.l5pc.cell import L5PC
from ulmus.teachers.runner import simulate
from ulmus.teachers.regimes import REGIMES

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


class Deadly(L5PC):
    """A cell that kills the process which simulates it, as the system does when memory runs out."""

    def run_trial(self, *arguments, **options):
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds worker processes through /proc")
def test_a_killed_worker_costs_no_trial(reference, cell, tmp_path):
    killed, seen = [], []

    def kill(progress):
        seen.append(progress.trial)
        if not killed:
            killed.append(max(_children()))
            os.kill(killed[0], signal.SIGKILL)

    store = simulate(
        cell, REGIMES["default"], out=tmp_path / "store", workers=2, on_trial=kill, **{**SHORT, "trials": 12}
    )
    assert killed
    assert sorted(seen) == list(range(12))
    assert store.verify() == []
    for index in range(4):
        assert np.array_equal(store.clip(index, 0, 150).voltage_mv, reference.clip(index, 0, 150).voltage_mv)


def _children():
    """Workers of this process, without loky's tracker of resources, which it starts first."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return [pid for pid in map(int, children) if b"popen_loky" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_workers_that_are_killed_again_and_again_end_the_simulation(cell, tmp_path):
    with pytest.raises(
        UlmusError, match=r"killed 3 times in a row.*trials \[0, 1, 2, 3\].*Run the same command"
    ):
        simulate(Deadly(cell.morphology), out=tmp_path / "store", workers=2, **SHORT)


def test_a_second_simulation_into_a_store_is_refused_while_the_first_runs(cell, reference, tmp_path):
    folder, met = tmp_path / "store", []

    def meanwhile(progress):
        if not met:
            with pytest.raises(ConfigError, match="simulated into by process") as refused:
                simulate(cell, REGIMES["default"], out=folder, workers=1, **SHORT)
            met.append(refused)

    store = simulate(cell, REGIMES["default"], out=folder, workers=1, on_trial=meanwhile, **SHORT)
    assert met
    _same(store, reference)
    costs = (folder / "cost.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["trial"] for line in costs) == [0, 1, 2, 3]


def test_a_name_is_no_teacher(tmp_path):
    with pytest.raises(ConfigError, match="teacher='lif': expected a detailed neuron"):
        simulate("lif", trials=1, seconds=1.0, out=tmp_path / "store")
