"""The artificial cell of NEURON, compiled and run there, beside the surrogate and in a network with a detailed cell."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from export_cases import events, input_of, predicted, saturated, showing, surrogate

import ulmus
from ulmus.export import export

pytestmark = pytest.mark.skipif(find_spec("neuron") is None, reason="NEURON is not installed")

RUN = """
import json, sys
from neuron import h
h.load_file("stdrun.hoc")
rows, kind, sites = json.load(sys.stdin), *sys.argv[1:]
cell, idle = getattr(h, kind)(), getattr(h, kind)()
connections = {}
def connection(channel, value):
    if (channel, value) not in connections:
        made = connections[channel, value] = h.NetCon(None, cell)
        made.delay, made.weight[0], made.weight[1] = 0, value, channel
    return connections[channel, value]
for row in rows:
    for channel, value in row:
        connection(channel, value)
spikes, told = h.Vector(), []
h.NetCon(cell, None).record(spikes)
h.dt = 0.025
for repeat in range(2):  # the second run starts at rest again
    h.finitialize(-65)
    told = []
    for step, row in enumerate(rows):
        for number, (channel, value) in enumerate(row):
            connection(channel, value).event(step + (0.0, 0.3, 0.95)[number % 3])  # some exactly between two steps
    for step in range(len(rows)):
        while h.t < step + 1 + 0.01:
            h.fadvance()
        told.append([cell.spike_probability, *(getattr(cell, name) for name in sites.split(","))])
print(json.dumps([told, spikes.to_python(), idle.spike_probability, [cell.memory_unit(0), idle.memory_unit(0)]]))
"""

RECORD = """
import json
fired, detailed = h.Vector(), h.Vector()
listeners = [h.NetCon(cell, None), h.NetCon(soma(0.5)._ref_v, None, sec=soma)]
listeners[0].record(fired)
listeners[1].record(detailed)
back = h.NetCon(soma(0.5)._ref_v, cell, sec=soma)  # an inhibitory input of the surrogate
back.weight[0], back.weight[1] = -1, 700
h.finitialize(-65)
h.continuerun(520)
print(json.dumps([fired.to_python(), detailed.to_python()]))
"""


PARALLEL = """
import json
from neuron import h
h.load_file("stdrun.hoc")
pc, spikes, kept = h.ParallelContext(), {}, {}
with open("rows.json") as file:  # a launcher of processes gives standard input to the first alone
    rows = json.load(file)
for gid in range(int(pc.id()), 2, int(pc.nhost())):
    cell, made = h.l5pc_branch_20(), {}
    pc.set_gid2node(gid, pc.id())
    pc.cell(gid, h.NetCon(cell, None))
    spikes[gid] = h.Vector()
    pc.spike_record(gid, spikes[gid], h.Vector())
    for row in rows[gid]:
        for channel, value in row:
            if (channel, value) not in made:
                made[channel, value] = h.NetCon(None, cell)
                made[channel, value].delay, made[channel, value].weight[0] = 0.25, value
                made[channel, value].weight[1] = channel
    kept[gid] = cell, made
if 1 in kept:
    cross = pc.gid_connect(0, kept[1][0])
    cross.weight[0], cross.weight[1], cross.delay = -1, 900, 2
def send():
    for gid, (cell, made) in kept.items():
        for step, row in enumerate(rows[gid]):
            for event in row:
                made[tuple(event)].event(step + 0.3)
handler = h.FInitializeHandler(send)
if pc.nhost() == 1:
    pc.nthread(2)
pc.set_maxstep(10)
h.finitialize(-65)
pc.psolve(len(rows[0]))
told = pc.py_gather({gid: vector.to_python() for gid, vector in spikes.items()}, 0)
if pc.id() == 0:
    both = {gid: times for one in told for gid, times in one.items()}
    print(json.dumps([len(told), both[0], both[1]]), flush=True)
pc.barrier()
h.quit()
"""


@pytest.fixture(scope="module")
def mechanisms(tmp_path_factory) -> Path:
    """A folder with compiled neurons, which NEURON loads by itself when it is started there."""
    compile_ = Path(sys.executable).with_name("nrnivmodl")
    if not compile_.exists() or shutil.which("g++") is None:
        pytest.skip("nrnivmodl or a compiler is missing")
    folder = tmp_path_factory.mktemp("mechanisms")
    export(surrogate("published, windows"), folder / "l5pc_branch_20.mod")
    export(surrogate("readout of the hidden layer"), folder / "hidden.mod")
    alone = ulmus.Surrogate(ulmus.ELM(4, 1, memory=3), sites=())
    alone.card["recipe"] = 'my "great\\ cell" é, ENDCOMMENT'
    export(alone, folder / "alone.mod")
    export(saturated(), folder / "saturated.mod")
    done = subprocess.run([compile_, "."], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def nrn(folder: Path, script: str, *arguments: str, told: str = "", processes: int = 1) -> list:
    setting, launcher = {"NEURON_MODULE_OPTIONS": "-nogui"}, []
    if processes > 1:
        launcher = ["mpiexec", "-n", str(processes)]
        setting |= {"NEURON_INIT_MPI": "1"}
    done = subprocess.run(
        [*launcher, sys.executable, "-c", script, *arguments], cwd=folder, input=told, capture_output=True, text=True,
        check=False, env=os.environ | setting,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("kind", "case"), [("l5pc_branch_20", "published, windows"), ("hidden", "readout of the hidden layer")]
)
def test_the_artificial_cell_computes_the_surrogate(kind, case, mechanisms):
    model = surrogate(case)
    x = input_of(model, 1500)
    told, spikes, idle, memory = nrn(mechanisms, RUN, kind, "soma_mV", told=json.dumps(events(x)))
    wanted = predicted(model, x).numpy()
    np.testing.assert_allclose(told, wanted, rtol=1e-9, atol=1e-10)
    assert spikes == [step + 1.0 for step in showing(wanted[:, 0].tolist(), model.spike_threshold)]
    # What Surrogate.predict and its stepper say, sent a step later.
    fired = (
        np.flatnonzero(model.stepper().run(x[None].numpy()).spikes[0])
        if case.startswith("published")
        else None
    )
    assert model.predict(x[None]).spike_times_ms[0].tolist() == [time - 1.0 for time in spikes]
    assert fired is None or (fired + 1.0).tolist() == spikes  # the other's readout cannot be stepped
    assert len(spikes) >= 2
    assert idle < wanted[:, 0].max()  # cells do not share their state
    assert memory[0] != memory[1]


def test_spikes_are_peaks_of_the_logit_where_the_probability_is_1(mechanisms):
    model = saturated()
    x = input_of(model, 500)
    _, spikes, *_ = nrn(mechanisms, RUN, "saturated", "soma_mV", told=json.dumps(events(x)))
    wanted = model.predict(x[None])
    assert [time - 1.0 for time in spikes] == wanted.spike_times_ms[0].tolist()
    assert showing(wanted.spike_probability[0].tolist(), 0.5) != wanted.spike_times_ms[0].tolist()


def test_a_neuron_without_voltage_and_with_any_title_runs(mechanisms):
    script = "import json; from neuron import h; cell = h.alone(); h.finitialize(); [h.fadvance() for _ in range(100)]"
    assert 0 < nrn(mechanisms, f"{script}; print(json.dumps(cell.spike_probability))") < 1


def test_the_mechanism_says_that_its_state_is_not_saved(mechanisms):
    assert "SaveState and BBSaveState of NEURON do not keep" in (mechanisms / "hidden.mod").read_text()


def test_a_weight_that_is_not_finite_is_an_error_of_neuron(mechanisms):
    script = """
import json
from neuron import h
cell = h.hidden(); made = h.NetCon(None, cell); made.weight[0] = float("nan")
h.finitialize(); made.event(1)
try:
    [h.fadvance() for _ in range(100)]
except RuntimeError as error:
    print(json.dumps(["error", str(error)]))
"""
    assert "weight[0] of a NetCon is not finite" in nrn(mechanisms, script)[1]


@pytest.mark.parametrize("processes", [1, 2])
def test_cells_with_numbers_run_in_threads_or_processes_and_hear_each_other(processes, mechanisms):
    """NEURON's own parallel machinery: global numbers, two threads or processes, an inhibitory connection between two cells."""
    if processes > 1 and shutil.which("mpiexec") is None:
        pytest.skip("mpiexec is missing: NEURON's processes exchange spikes by MPI")
    model = surrogate("published, windows")
    xs = [input_of(model, 600, seed) for seed in (1, 2)]
    (mechanisms / "rows.json").write_text(json.dumps([events(x) for x in xs]))
    hosts, first, second = nrn(mechanisms, PARALLEL, processes=processes)
    assert hosts == processes
    assert first == [
        step + 1.0 for step in showing(predicted(model, xs[0])[:, 0].tolist(), model.spike_threshold)
    ]
    assert len(first) >= 2
    for at in first:  # 2 ms later, between two steps of 1 ms: in the next one
        if at + 2 < 600:
            xs[1][int(at) + 2, 900] -= 1
    assert second == [
        step + 1.0 for step in showing(predicted(model, xs[1])[:, 0].tolist(), model.spike_threshold)
    ]


def test_the_page_connects_it_with_a_detailed_cell(mechanisms):
    page = Path(__file__).parents[2] / "docs" / "howto" / "other-programs.md"
    script = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)[0]
    fired, detailed = nrn(mechanisms, script + RECORD)
    assert fired
    assert detailed
    assert all(any(0 < at - spike < 15 for spike in fired) for at in detailed)


def test_an_input_that_does_not_exist_is_an_error_of_neuron(mechanisms):
    script = """
import json
from neuron import h
cell = h.hidden(); made = h.NetCon(None, cell); made.weight[1] = 4
h.finitialize(); made.event(1)
try:
    h.fadvance(); [h.fadvance() for _ in range(100)]
except RuntimeError as error:
    print(json.dumps(["error", str(error)]))
"""
    assert "is not the number of an input, 0 to 3" in nrn(mechanisms, script)[1]
