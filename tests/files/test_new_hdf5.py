"""HDF5 that is written at once: the file that h5py would write, and a full disk that is an error and nothing more."""

import subprocess
import sys

import h5py
import numpy as np
import pytest

from ulmus.files.hdf5 import new_hdf5


def fill(file):
    file["numbers"] = np.arange(1000.0)
    file.attrs["name"] = "x"
    lists = file.create_dataset("lists", (2,), h5py.vlen_dtype(np.uint16))
    lists[0] = np.arange(5, dtype=np.uint16)


def test_it_is_what_h5py_writes(tmp_path):
    with new_hdf5(tmp_path / "ours.h5") as file:
        fill(file)
    with h5py.File(tmp_path / "theirs.h5", "w") as file:
        fill(file)
    with h5py.File(tmp_path / "ours.h5") as ours, h5py.File(tmp_path / "theirs.h5") as theirs:
        assert list(ours) == list(theirs)
        np.testing.assert_array_equal(ours["numbers"][:], theirs["numbers"][:])
        np.testing.assert_array_equal(ours["lists"][0], theirs["lists"][0])
        assert dict(ours.attrs) == dict(theirs.attrs)


def test_a_full_disk_prints_nothing_and_ends_nothing(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system cannot be mounted here")
    program = f"""
import gc, numpy as np
from pathlib import Path
from ulmus.files.hdf5 import new_hdf5
try:
    with new_hdf5(Path({str(small / "full.h5")!r})) as file:
        file["much"] = np.zeros(100_000)
except OSError as error:
    print(error.errno)
gc.collect()
"""
    try:
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    finally:
        subprocess.run(["umount", small], check=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "28\n", "")
