"""The measurements: that they compare the same computation, and that the check of backends can fail."""

import json

import numpy as np
import pytest
import torch

from ulmus.bench import WORKLOADS, Check, bench_kernels, bench_threads, read_rows, table, verify
from ulmus.bench.passes import _PASSES, _Timed, bench_passes
from ulmus.bench.plain import plain_loop
from ulmus.bench.workloads import as_events
from ulmus.cli import main
from ulmus.errors import ConfigError, DataError
from ulmus.kernels import fused, memory_budget


@pytest.mark.parametrize("name", list(WORKLOADS))
def test_the_plain_loop_computes_the_neuron(name):
    work = WORKLOADS[name]
    neuron, x = work.neuron(), work.input(40)[:3]
    with torch.no_grad():
        torch.testing.assert_close(plain_loop(neuron)(x), neuron(x)[0], rtol=1e-4, atol=1e-5)
        if work.density < 1:
            torch.testing.assert_close(neuron(as_events(x))[0], neuron(x)[0], rtol=1e-4, atol=1e-5)


def test_unknown_workload():
    with pytest.raises(ConfigError, match="'Z' is not known"):
        bench_kernels(["Z"])


def test_rows_of_a_small_workload(monkeypatch):
    small = WORKLOADS["C"]._replace(batch=2, time=5)
    monkeypatch.setitem(WORKLOADS, "C", small)
    rows = bench_kernels(["C"])
    assert {row.direction for row in rows} == {"forward", "forward+backward"}
    assert all(row.cpu_seconds >= 0 for row in rows)
    assert all(row.ratio_to_plain_loop == 1 for row in rows if row.implementation == "plain loop")


@pytest.mark.filterwarnings("ignore")
def test_verify_passes_and_notices_a_wrong_kernel(monkeypatch):
    assert all(check.passed for check in verify())
    right = fused.run

    def wrong(*arguments):
        outputs, state = right(*arguments)
        return outputs * 1.001, state

    monkeypatch.setattr(fused, "run", wrong)
    assert not any(check.passed for check in verify() if check.backend == "numba")


def exit_code(*arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code or 0


@pytest.mark.parametrize(("passed", "code"), [(True, 0), (False, 1)])
def test_doctor_says_by_its_exit_status_whether_a_backend_is_wrong(passed, code, monkeypatch, capsys):
    check = Check("numba", "no branches", "float32", 1e-7, 2e-7, 2e-4, passed, "")
    monkeypatch.setattr("ulmus.bench.verify", lambda: [check])
    assert exit_code("doctor", "--verify") == code
    assert ("WRONG" in capsys.readouterr().out) is not passed


def test_written_rows_become_the_table(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(WORKLOADS, "C", WORKLOADS["C"]._replace(batch=2, time=5))
    file = tmp_path / "rows.json"
    assert exit_code("bench", "train", "C", "--out", file) == 0
    rows = json.loads(file.read_text())
    needed = {
        "workload",
        "implementation",
        "direction",
        "cpu_seconds",
        "ratio_to_plain_loop",
        "fraction_of_peak",
    }
    assert all(needed | {"processor"} <= set(row) for row in rows)
    assert all(isinstance(row["processor"], str) and row["processor"] for row in rows)
    for row in rows:
        row |= {"ratio_to_plain_loop": 4.24, "fraction_of_peak": 0.5}
    other = [row | {"processor": "another", "ratio_to_plain_loop": 21.6} for row in rows]
    file.write_text(json.dumps(rows + other))
    capsys.readouterr()
    assert exit_code("bench", "table", file) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"| | workload | {rows[0]['processor']} | another |"
    assert len(printed) == 3
    assert "events 4.2 (50 %), bytes 4.2 (50 %), dense 4.2 (50 %) | events 22 (50 %)" in printed[2]
    assert table(read_rows([file])) == "\n".join(printed)


@pytest.mark.parametrize("text", ["", "{}", '[{"workload": "A"}]', None])
def test_what_is_no_measurement_is_refused(text, tmp_path):
    file = tmp_path / "rows.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(DataError, match="ulmus bench kernels"):
        read_rows([file])


def test_threads_are_measured_and_put_back(monkeypatch):
    monkeypatch.setitem(WORKLOADS, "D", WORKLOADS["D"]._replace(time=40))
    before = torch.get_num_threads()
    rows = bench_threads(["D"], most=2)
    assert torch.get_num_threads() == before
    assert [(row.workload, row.threads) for row in rows] == [("D", 1), ("D", 2), ("sgemm", 1), ("sgemm", 2)]
    assert [row.ratio_to_one_thread for row in rows if row.threads == 1] == [1, 1]
    assert all(row.wall_seconds > 0 for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("budget", [0.0, 1000.0])
def test_the_timed_passes_are_the_backward_pass(budget):
    work = WORKLOADS["A"]._replace(batch=9, time=70)
    neuron, inputs, found = work.neuron(), as_events(work.input()), []
    for _ in range(2):
        neuron.zero_grad()
        with memory_budget(budget):
            neuron(inputs)[0].square().mean().backward()
        found.append([p.grad.clone() for p in neuron.parameters() if p.grad is not None])
        if len(found) == 1:
            timed = _Timed()
            spent = timed.__enter__()
    timed.__exit__()
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
    assert spent.shape == (len(_PASSES),)
    assert (np.asarray(spent) > 0).all()


@pytest.mark.slow
def test_passes_of_a_small_workload(monkeypatch):
    monkeypatch.setitem(WORKLOADS, "D", WORKLOADS["D"]._replace(time=40))
    rows = bench_passes(["D"])
    parts = {row.part for row in rows}
    assert {"forward", "recurrence", "weight gradients", "around backward"} <= parts
    assert {row.kept for row in rows} == {"default budget", "nothing kept"}
