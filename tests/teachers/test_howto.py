"""The examples of the how-to on one's own neuron, as they stand there."""

import re
import subprocess
import sys

import pytest
from conftest import REPOSITORY

from ulmus.data import Store

BLOCKS = re.findall(
    r"```python\n(.*?)```", (REPOSITORY / "docs/howto/your-own-neuron.md").read_text(), re.DOTALL
)


def run(code, folder):
    script = folder / "example.py"
    script.write_text(code)
    result = subprocess.run([sys.executable, script], cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_the_cell_of_neuron(tmp_path):
    pytest.importorskip("neuron", reason="NEURON (pip install neuron) is not installed")
    run(BLOCKS[0], tmp_path)
    store = Store(tmp_path / "neuron-trials")
    assert store.header.sites == ("soma", "dend[1](0.9)")
    assert store.info()["output_hz"] > 0


def test_the_cell_of_arbor_and_its_regime(tmp_path):
    run(BLOCKS[1] + BLOCKS[2], tmp_path)
    stores = [Store(tmp_path / name) for name in ("arbor-trials", "strong-trials")]
    assert all(store.info()["output_hz"] > 0 for store in stores)
    rates = [store.info()["excitatory_events_per_second"] for store in stores]
    assert rates[1] > 2 * rates[0]
