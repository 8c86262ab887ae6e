import numpy as np
import pytest
import torch
from passes import _PASSES, _Timed, bench_passes

from ulmus.bench import WORKLOADS
from ulmus.bench.workloads import as_events
from ulmus.kernels import memory_budget


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
