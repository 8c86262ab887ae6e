"""How fast the recurrence is on this machine, side by side with other ways to compute it, and whether it is right."""

from ulmus.bench.rows import processor, write_rows
from ulmus.bench.run import Row, bench_kernels, bench_train
from ulmus.bench.verify import Check, verify
from ulmus.bench.workloads import WORKLOADS, Workload

__all__ = [
    "WORKLOADS",
    "Check",
    "Row",
    "Workload",
    "bench_kernels",
    "bench_train",
    "processor",
    "verify",
    "write_rows",
]
