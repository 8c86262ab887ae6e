"""The chains of kills, signals, full disks and second writers: one round of them, and that they can fail."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.mark.slow
def test_a_round_of_every_disturbance_ends_as_if_nothing_had_happened():
    command = [
        sys.executable,
        "reliability.py",
        "--rounds",
        "1",
        "--seed",
        "3",
        "--only",
        "convert",
        "--only",
        "train",
    ]
    done = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True, check=False)
    last = done.stdout.strip().splitlines()[-1]
    assert done.returncode == 0, done.stdout + done.stderr
    assert last.endswith(" 0 failed")
    tried, disturbed = (int(word.split()[0]) for word in last.split(", ")[:2])
    assert tried >= 6  # eight where a small file system can be mounted
    assert disturbed > 0


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda out, log: (out / "result").write_text("other"), "another result"),
        (lambda out, log: (out / ".lock").touch(), "left behind"),
        (lambda out, log: log.write_text("Traceback (most recent call last)"), "a traceback"),
    ],
)
def test_what_goes_wrong_is_seen(spoil, said, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    from reliability import Bench, Trouble, Work

    out, log = tmp_path / "out", tmp_path / "log"
    out.mkdir()
    (out / "result").write_text("right")
    log.write_text("fine")
    bench = Bench.__new__(Bench)
    bench.works = {"work": Work(lambda place: [], lambda place: (place / "result").read_text())}
    bench.right = {"work": ("right", 1.0, 1)}
    bench._check("work", out, log)
    spoil(out, log)
    with pytest.raises(Trouble, match=said):
        bench._check("work", out, log)
