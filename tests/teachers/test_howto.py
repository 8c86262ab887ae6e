"""The examples of the how-tos on one's own neuron and on clusters, as they stand there."""

import os
import re
import stat
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY

from ulmus.teachers.custom.script import load_cell
from ulmus.trials import Store

BLOCKS = re.findall(
    r"```python\n(.*?)```", (REPOSITORY / "docs/howto/your-own-neuron.md").read_text(), re.DOTALL
)


def run(code, folder):
    script = folder / "example.py"
    script.write_text(code)
    result = subprocess.run([sys.executable, script], cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_the_cell_of_neuron(tmp_path):
    pytest.importorskip("neuron", reason="NEURON (pip install neuron) is not installed")
    run(BLOCKS[0], tmp_path)
    store = Store(tmp_path / "neuron-trials")
    assert store.header.sites == ("soma", "dend[1](0.9)")
    assert store.info()["output_hz"] > 0


def test_the_cell_of_neuron_from_the_command_line(tmp_path):
    pytest.importorskip("neuron", reason="NEURON (pip install neuron) is not installed")
    (tmp_path / "pyramid.py").write_text(BLOCKS[0])
    command = [sys.executable, "-m", "ulmus", "simulate", "pyramid.py", "--trials", "2", "--seconds", "0.3"]
    command += ["--step-ms", "0.1", "--workers", "2", "--out", "trials"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert len(Store(tmp_path / "trials")) == 2
    assert not (tmp_path / "neuron-trials").exists()  # the simulation of the file itself did not run


def test_the_cell_of_arbor_its_rates_and_its_current(tmp_path):
    run("".join(BLOCKS[1:4]), tmp_path)
    stores = [Store(tmp_path / name) for name in ("arbor-trials", "strong-trials", "current-trials")]
    assert stores.pop().header.event_inputs == 0
    assert all(store.info()["output_hz"] > 0 for store in stores)
    rates = [store.info()["excitatory_events_per_second"] for store in stores]
    assert rates[1] > 2 * rates[0]


def test_a_teacher_of_ones_own(tmp_path):
    run(BLOCKS[4], tmp_path)
    store = Store(tmp_path / "leaky-trials")
    assert store.verify() == []
    assert store.info()["output_hz"] > 0


SCRIPTS = re.findall(r"```bash\n(.*?)```", (REPOSITORY / "docs/howto/cluster.md").read_text(), re.DOTALL)


@pytest.fixture
def slurm(tmp_path):
    """Runs a batch script as SLURM would on one machine: what it prints, with its exit status checked."""
    commands = tmp_path / "bin"
    commands.mkdir()
    modules = {"ulmus": "ulmus", "dask": "dask", "python": ""}
    for name, module in modules.items():
        arguments = f'-m {module} "$@"' if module else '"$@"'
        (commands / name).write_text(f"#!/bin/sh\nexec {sys.executable} {arguments}\n")
    (commands / "srun").write_text('#!/bin/sh\nexec "$@"\n')
    for command in commands.iterdir():
        command.chmod(command.stat().st_mode | stat.S_IXUSR)

    def submit(script, **variables):
        (tmp_path / "job.sh").write_text(script)
        known = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_CPUS_PER_TASK": "2", **variables}
        environment = {**os.environ, **known, "PATH": f"{commands}:{os.environ['PATH']}"}
        done = subprocess.run(
            ["bash", tmp_path / "job.sh"], cwd=tmp_path, env=environment, capture_output=True, text=True,
            timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    return submit


@pytest.mark.slow
def test_the_batch_scripts_make_stores(slurm, tmp_path):
    pytest.importorskip("dask.distributed", reason="Dask (pip install distributed) is not installed")
    short = {"l5pc": "lif", "20000": "6", "500": "3", "--seconds 6": "--seconds 0.5"}
    one, many = SCRIPTS
    for long, brief in short.items():
        one, many = one.replace(long, brief), many.replace(long, brief)
    slurm(one)
    assert len(Store(tmp_path / "trials")) == 6
    (tmp_path / "trials").rename(tmp_path / "of one job")
    for task in ("1", "2"):
        slurm(many, SLURM_ARRAY_TASK_ID=task)
        assert len(Store(tmp_path / "trials" / task)) == 3


def test_the_cell_of_a_package(tmp_path):
    if find_spec("bluepyopt") is None:  # not imported: its own dependencies need not be there
        pytest.skip("BluePyOpt (pip install --no-deps bluepyopt) is not installed")
    text = (REPOSITORY / "docs/howto/cell-from-a-package.md").read_text()
    (tmp_path / "fitted_l5pc.py").write_text(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0])
    cell = load_cell(str(tmp_path / "fitted_l5pc.py"))
    assert [group.label for group in cell.groups] == ["basal", "apical"]
    cell.prepare()
    assert cell.doubts() == []
    none = np.zeros(0, dtype=np.int64)
    current = np.repeat([0.0, 0.8], [100, 150])
    trial = cell.run_trial(none, none, 250, dt_ms=0.1, current_na=current)
    assert -80 < trial.voltage_mv[99, 0] < -65
    assert len(trial.spike_time_ms) >= 2


@pytest.mark.slow
def test_the_interneuron_of_a_package(tmp_path):
    pytest.importorskip("neuron")
    places = [find_spec(name) for name in ("dbbs_models", "dbbs_catalogue")]
    if None in places:
        pytest.skip("pip install --no-deps dbbs-models dbbs-catalogue: one of them is not installed")
    mods = Path(places[1].submodule_search_locations[0]) / "mods" / "neuron"
    subprocess.run(["nrnivmodl", str(mods)], cwd=tmp_path, check=True, capture_output=True)
    text = (REPOSITORY / "docs/howto/cell-from-a-package.md").read_text()
    (tmp_path / "stellate.py").write_text(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[1])
    cell = load_cell(str(tmp_path / "stellate.py"))
    assert cell.doubts() == []
    none = np.zeros(0, dtype=np.int64)
    intervals = np.diff(cell.run_trial(none, none, 400, dt_ms=0.1).spike_time_ms)
    assert 40 < intervals.mean() < 70  # it is a pacemaker
