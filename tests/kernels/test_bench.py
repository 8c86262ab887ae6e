"""The measurements: that they compare the same computation, and that the check of backends can fail."""

import pytest
import torch

from ulmus.bench import WORKLOADS, bench_kernels, verify
from ulmus.bench.plain import plain_loop
from ulmus.bench.workloads import as_events
from ulmus.errors import ConfigError
from ulmus.kernels import fused


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
