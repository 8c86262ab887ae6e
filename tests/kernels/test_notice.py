"""Compiling is said once, and only when something is compiled."""

import os
import subprocess
import sys

CODE = """
import numpy as np, numba
from ulmus.kernels.fused import find_fault
numba.njit(lambda x: x + 1)(1)
print("mine")
for rows in (np.array([0, 1], dtype=np.int32), np.array([0, 1], dtype=np.int64)):
    find_fault(rows, np.array([0], dtype=np.int32), 1)
"""


def test_it_is_said_once_where_kernels_are_not_on_disk_yet(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    told = []
    for _ in range(2):
        result = subprocess.run(
            [sys.executable, "-uc", CODE],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True,
        )  # fmt: skip
        told.append(result.stdout.splitlines())
    assert len(told[0]) == 2
    assert told[0][1].startswith("compiling kernels for this machine")
    assert told[1] == ["mine"]
