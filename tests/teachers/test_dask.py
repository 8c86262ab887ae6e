"""Simulation on a Dask cluster: the same store, also when a worker is killed meanwhile."""

import os
import signal

import pytest

from ulmus.errors import ConfigError, UlmusError
from ulmus.teachers.integrate_and_fire import IntegrateAndFire
from ulmus.teachers.runner import simulate

distributed = pytest.importorskip(
    "dask.distributed", reason="Dask (pip install distributed) is not installed"
)
TRIALS = {"trials": 40, "seconds": 4.0, "seed": 3, "dt_ms": 0.05}


def test_a_killed_worker_costs_no_trial(tmp_path):
    killed, seen = [], []

    def kill(progress):
        seen.append(progress.trial)
        if not killed:
            workers = client.run(os.getpid)
            killed.append(min(workers.values()))
            os.kill(killed[0], signal.SIGKILL)

    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        store = simulate(
            IntegrateAndFire(), out=tmp_path / "dask", dask=cluster.scheduler_address, on_trial=kill, **TRIALS
        )
        assert killed
        assert killed[0] not in client.run(os.getpid).values()
    assert sorted(seen) == list(range(40))
    assert store.verify() == []
    local = simulate(IntegrateAndFire(), out=tmp_path / "local", workers=1, **TRIALS)
    assert store.content_hash == local.content_hash


def test_an_address_where_nobody_answers_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("ulmus.teachers.cluster.CONNECT_SECONDS", 1)
    with pytest.raises(ConfigError, match="no scheduler answers"):
        simulate(IntegrateAndFire(), out=tmp_path / "store", dask="tcp://127.0.0.1:1", **TRIALS)
    assert not (tmp_path / "store").exists()


def test_a_scheduler_without_workers_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("ulmus.teachers.cluster.CONNECT_SECONDS", 1)
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address=None) as cluster,
        pytest.raises(ConfigError, match="has no workers"),
    ):
        simulate(IntegrateAndFire(), out=tmp_path / "store", dask=cluster.scheduler_address, **TRIALS)


class Deadly(IntegrateAndFire):
    """A neuron that kills the process which simulates it."""

    def run_trial(self, *arguments, **options):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_trial_that_kills_every_worker_ends_the_simulation(tmp_path):
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster,
        pytest.raises(UlmusError, match="killed again and again.*Run the same command"),
    ):
        simulate(Deadly(), out=tmp_path / "store", dask=cluster.scheduler_address, **{**TRIALS, "trials": 1})
