"""The examples of the how-to on one's own sequences, as they stand there."""

import re
import subprocess
import sys

import numpy as np
import pytest
from conftest import REPOSITORY

TEXT = (REPOSITORY / "docs/howto/your-own-sequences.md").read_text()
COMMANDS = re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def run(code, folder):
    script = folder / "example.py"
    script.write_text(code)
    result = subprocess.run([sys.executable, script], cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_from_a_csv_to_a_report_in_ten_lines(tmp_path):
    random = np.random.default_rng(0)
    lines = ["trial,subject,time_ms,x,y,label"]
    for trial in range(40):
        label = ("walk", "run")[trial % 2]
        for step in range(30):
            x, y = np.sin(step * (0.4, 1.1)[trial % 2]) + random.normal(0, 0.1), random.normal()
            lines.append(f"t{trial:03},s{trial // 4:02},{10 * step},{x:.3f},{y:.3f},{label}")
    (tmp_path / "gait.csv").write_text("\n".join(lines))
    assert len(COMMANDS[0].splitlines()) <= 10
    script = f'ulmus() {{ {sys.executable} -m ulmus "$@"; }}\nset -e\n{COMMANDS[0]}'
    result = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "Test accuracy" in (tmp_path / "runs/gait/report.html").read_text()
    accuracy = float(re.search(r"\n *accuracy +([\d.]+)", result.stdout.split("split test")[1])[1])
    assert accuracy > 0.8
    probe = subprocess.run(
        [sys.executable, "-m", "ulmus", "probe", "gait.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "test accuracy" in probe.stdout, probe.stderr


def test_from_python(tmp_path):
    run(PYTHON[0], tmp_path)
    assert (tmp_path / "runs/lstm/checkpoints/best.safetensors").is_file()


def test_in_lightning(tmp_path):
    pytest.importorskip("lightning", reason="Lightning (pip install lightning) is not installed")
    run(PYTHON[1], tmp_path)
