"""Every reader meets damaged files, and a reader that fails is told."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fuzz import damage, try_one
from fuzz_readers import READERS

from ulmus.errors import DataError

FUZZ = Path(__file__).resolve().parents[2] / "benchmarks" / "fuzz.py"


def test_every_reader_refuses_or_reads_what_is_damaged():
    command = [sys.executable, str(FUZZ), "--minutes", "60", "--count", "8"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {line.split()[0]: int(line.split()[1]) for line in done.stdout.splitlines()[1:]}
    assert set(READERS) <= rows.keys()
    assert rows["all"] == 8 * len(READERS)


def test_damage_changes_the_file_and_can_be_repeated():
    for content in (b"name: 3\nrate: 1.5\n" * 5, bytes(range(256)) * 4):
        made = [damage(content, np.random.default_rng(seed)) for seed in range(200)]
        assert made == [damage(content, np.random.default_rng(seed)) for seed in range(200)]
        assert sum(one != content for one in made) > 150


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (DataError("a.txt is damaged; expected text; restore it"), ""),
        (KeyError("name"), "KeyError at"),
        (MemoryError(), "MemoryError at"),
    ],
)
def test_what_a_reader_raises_is_judged(tmp_path, error, problem):
    def read():
        raise error

    (tmp_path / "a.txt").write_bytes(b"text")
    found, was_read = try_one("mapping_yaml", 0, b"text", tmp_path / "a.txt", read)
    assert found.startswith(problem) if problem else found == ""
    assert not was_read
