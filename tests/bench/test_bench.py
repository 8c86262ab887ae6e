"""The measurements: that they compare the same computation, and that the check of backends can fail."""

import itertools
from types import SimpleNamespace

import pytest
import torch

from ulmus.bench import WORKLOADS, Check, bench_kernels, verify
from ulmus.bench.plain import plain_loop
from ulmus.bench.workloads import as_events
from ulmus.cli import main
from ulmus.errors import ConfigError
from ulmus.kernels import fused


@pytest.mark.parametrize("name", list(WORKLOADS))
def test_the_plain_loop_computes_the_neuron(name):
    work = WORKLOADS[name]
    neuron, x = work.neuron(), work._replace(batch=min(work.batch, 3)).input(40)
    with torch.no_grad():
        torch.testing.assert_close(plain_loop(neuron)(x), neuron(x)[0], rtol=1e-4, atol=1e-5)
        if work.density < 1:
            torch.testing.assert_close(neuron(as_events(x))[0], neuron(x)[0], rtol=1e-4, atol=1e-5)


def test_unknown_workload():
    with pytest.raises(ConfigError, match="'Z' is not known"):
        bench_kernels(["Z"])


def test_rows_of_cold_caches_and_of_single_steps(monkeypatch):
    monkeypatch.setitem(WORKLOADS, "A", WORKLOADS["A"]._replace(batch=1, time=5, directions=("forward",)))
    monkeypatch.setitem(WORKLOADS, "G'", WORKLOADS["G'"]._replace(batch=3, time=2))
    rows = {(row.workload, row.implementation): row for row in bench_kernels(["A", "G'"])}
    for name in ("plain loop", "plain loop, cold caches"):
        assert rows["A", name].ratio_to_plain_loop == 1
    assert {"stepper", "stepper, own weights", "fused"} <= {name for work, name in rows if work == "G'"}
    assert ("G'", "stepper, cold caches") not in rows


def test_rows_of_a_small_workload(monkeypatch):
    """Every reading of the clock is a second after the last: all take the same time, and work per time is known."""
    small = WORKLOADS["C"]._replace(batch=2, time=5)
    monkeypatch.setitem(WORKLOADS, "C", small)
    ticks = itertools.count()
    monkeypatch.setattr("ulmus.bench.run.time", SimpleNamespace(process_time=lambda: float(next(ticks))))
    rows = bench_kernels(["C"])
    names = ["fused", "fused, events", "fused, uint8", "reference", "plain loop", "lstm"]
    assert [(row.direction, row.implementation) for row in rows] == [
        (direction, name) for direction in ("forward", "forward+backward") for name in names
    ]
    assert {row.cpu_seconds for row in rows} == {1.0}
    assert {row.ratio_to_plain_loop for row in rows} == {1.0}
    assert {row.peak_gflops for row in rows} == {2 * 1024**3 / 1e9}
    products = (
        2 * 5 * (800 * 200 + 200 * 100)
    )  # batch, time, (memory + branches) x hidden and hidden x memory
    for row in rows:
        passes = {"forward": 1, "forward+backward": 3}[row.direction]
        wanted = float("nan") if row.implementation == "lstm" else 2 * passes * products / 1e9
        assert row.gflops == pytest.approx(wanted, nan_ok=True)


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
