"""The page on Brian2 and NEST, run where they are installed: spikes go both ways."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "brian2-and-nest.md"


@pytest.mark.parametrize("package", ["brian2", "nest"])
def test_spikes_go_to_fitted_neurons_and_back(package):
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    (block,) = (
        block
        for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
        if f"import {package}" in block
    )
    check = {
        "brian2": "print(answered.num_spikes > 0, len(voltage_mv), answered.num_spikes, sent.num_spikes)",
        "nest": "print(answered - 5 <= heard.n_events <= answered, len(voltage_mv), answered, seen)",
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"{block}\n{check[package]}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    agree, steps, answered, sent = done.stdout.split()[-4:]
    assert agree == "True"
    assert int(steps) == 400
    assert int(answered) > 5
    assert 400 < int(sent) < 20_000
