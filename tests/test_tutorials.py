"""Tutorials, examples and the interactive figure: each is run as it stands, and the figure computes what the layer computes."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from browsing import installed_browser, opened
from conftest import REPOSITORY

import ulmus
from ulmus.kernels import ELMState

DOCS = REPOSITORY / "docs"
PAGES = sorted(
    page for page in DOCS.rglob("*.md") if "_build" not in page.parts and "{code-cell}" in page.read_text()
)
EXAMPLES = sorted((REPOSITORY / "examples").glob("*.py"))
NEEDS = {"own-neuron": "neuron"}
DREW = """
import matplotlib.pyplot as plt
assert any(axes.has_data() or axes.texts for number in plt.get_fignums() for axes in plt.figure(number).axes)
"""


def run(code, folder):
    pytest.importorskip("matplotlib", reason="matplotlib (pip install '.[dev]') is not installed")
    environment = os.environ | {"MPLBACKEND": "agg", "MATPLOTLIBRC": str(DOCS / "matplotlibrc")}
    command = [sys.executable, "-W", "ignore:FigureCanvasAgg", "-c", code + DREW]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_tutorial(page, tmp_path):
    if page.stem in NEEDS:
        pytest.importorskip(NEEDS[page.stem])
    cells = re.findall(r"^```\{code-cell\}[^\n]*\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    run("\n".join(re.sub(r"\A:tags:.*\n", "", cell) for cell in cells), tmp_path)


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda script: script.stem)
def test_example(script, tmp_path):
    run(f"import runpy\nrunpy.run_path({str(script)!r}, run_name='__main__')\n", tmp_path)


def test_the_figure_of_one_step_computes_what_the_layer_computes():
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    weights = json.loads(
        re.search(r"\{.*\}", (DOCS / "_static/elm-step-weights.js").read_text(), re.DOTALL)[0]
    )
    neuron = ulmus.ELM(4, 2, memory=3, hidden=4, tau_memory_ms=(4.0, 40.0), dtype=torch.float64)
    parts = {neuron.mlp[0]: "hidden", neuron.mlp[1]: "proposal", neuron.readout: "readout"}
    with torch.no_grad():
        for layer, name in parts.items():
            layer.weight.copy_(torch.tensor(weights[name]["weight"]))
            layer.bias.copy_(torch.tensor(weights[name]["bias"]))
        neuron.synapses.raw.copy_(torch.tensor(weights["synapses"])[:, None])
        events = torch.randint(0, 2, (1, 60, 4), generator=torch.Generator().manual_seed(0)).double()
        events[..., 3] *= -1
        zeros = ELMState(torch.zeros(1, 4, dtype=torch.float64), torch.zeros(1, 3, dtype=torch.float64))
        expected = neuron(events, zeros)[0][0]
    script = f"""
    const {{ elmStep }} = require({json.dumps(str(Path(DOCS / "_static/elm-step.js")))});
    const weights = {json.dumps(weights)};
    let state = {{ trace: [0, 0, 0, 0], memory: [0, 0, 0] }};
    const found = {json.dumps(events[0].tolist())}.map((input) => (state = elmStep(weights, state, input)));
    console.log(JSON.stringify(found.map((step) => [step.probability, step.voltage])));
    """
    answer = subprocess.run([node, "-e", script], capture_output=True, text=True, check=True).stdout
    found = torch.tensor(json.loads(answer), dtype=torch.float64)
    voltage = expected[:, 1] * weights["mv_per_unit"] + weights["mv_offset"]
    assert torch.allclose(found[:, 0], torch.sigmoid(expected[:, 0]), atol=1e-4)
    assert torch.allclose(found[:, 1], voltage, atol=2e-3)  # time constants are written with four digits
    assert voltage.std() > 1


def test_the_figure_of_one_step_is_played_with(tmp_path):
    browser = installed_browser()
    scripts = "".join(
        f"<script>{(DOCS / '_static' / name).read_text()}</script>"
        for name in ("elm-step-weights.js", "elm-step.js")
    )
    page = tmp_path / "page.html"
    page.write_text(f'<html><body><div class="elm-step"></div>{scripts}</body>\n</html>')
    found = opened(
        browser,
        page,
        """
        const press = (text) => [...document.querySelectorAll("button")].find((b) => b.textContent === text).click();
        const told = (name) => {
          document.documentElement.dataset[name] = document.querySelector(".elm-cards").textContent.replaceAll("\\u2212", "-");
        };
        press("Back to rest"); told("rest");
        press("+ input 1"); press("Step 1 ms"); told("after");
        """,
    )
    assert "voltage -70.0 mV" in found["rest"]
    assert "s\u20810.00" in found["rest"]
    assert "s\u20810.97" in found["after"]
    assert "voltage -68.3 mV" in found["after"]
