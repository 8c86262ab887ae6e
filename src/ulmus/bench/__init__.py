"""How fast the recurrence is here, measured side by side with other ways to compute it."""

from ulmus.bench.lengths import LengthRow, bench_lengths
from ulmus.bench.memory import MemoryRow, bench_memory
from ulmus.bench.processor import processor
from ulmus.bench.run import Row, bench_kernels, bench_train
from ulmus.bench.table import read_rows, table
from ulmus.bench.threads import ThreadsRow, bench_threads
from ulmus.bench.verify import Check, verify
from ulmus.bench.workloads import WORKLOADS, Workload

__all__ = [
    "WORKLOADS",
    "Check",
    "LengthRow",
    "MemoryRow",
    "Row",
    "ThreadsRow",
    "Workload",
    "bench_kernels",
    "bench_lengths",
    "bench_memory",
    "bench_threads",
    "bench_train",
    "processor",
    "read_rows",
    "table",
    "verify",
]
