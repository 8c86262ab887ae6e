"""Peak memory of one training step, each measured in a process of its own."""

import json
import subprocess
import sys
from typing import NamedTuple

_CODE = """
import json, resource, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from ulmus.bench.plain import plain_loop
from ulmus.bench.workloads import WORKLOADS
from ulmus.kernels import use_backend
name, time, budget = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
work = WORKLOADS["D"]
neuron = work.neuron()
loop = plain_loop(neuron) if name == "plain loop" else None
if budget >= 0:
    from ulmus.kernels import memory_budget
    memory_budget(budget)
use_backend("reference" if name == "reference" else "numba")
def step(x):
    outputs = loop(x) if loop is not None else neuron(x)[0]
    outputs.square().mean().backward()
def peak():
    status = Path("/proc/self/status")  # getrusage on Linux also counts the process that started this one
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
step(work.input(32))
x = work.input(time)
before = peak()
step(x)
print(json.dumps((peak() - before) / 1024))
"""


class MemoryRow(NamedTuple):
    """Peak memory of forward and backward beyond what the process held before."""

    workload: str
    implementation: str
    mebibytes: float
    ratio_to_plain_loop: float


def bench_memory(time: int = 16384) -> list[MemoryRow]:
    """Memory of a training step of workload D with `time` steps."""
    cases = {"fused": ("fused", -1.0), "fused, all kept": ("fused", 1e6), "reference": ("reference", -1.0)}
    cases["plain loop"] = ("plain loop", -1.0)
    found = {}
    for label, (name, budget) in cases.items():
        command = [sys.executable, "-c", _CODE, name, str(time), str(budget)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[label] = float(json.loads(done.stdout))
    return [
        MemoryRow(f"D, T={time}", name, value, value / found["plain loop"]) for name, value in found.items()
    ]
