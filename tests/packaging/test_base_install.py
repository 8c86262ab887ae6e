"""The base alone, installed from the wheel into an empty environment outside the checkout, is used as a user would."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).resolve().parents[2]
MOST_PACKAGES = 32
"""With PyTorch's own and Ulmus itself; NVIDIA's libraries, which some builds of PyTorch bring, are not counted."""

USE = """
import numpy as np, torch, ulmus
from ulmus.trials import Header, StoreWriter, Trial

assert "site-packages" in ulmus.__file__, ulmus.__file__
print("backend", next(backend.name for backend in ulmus.backends() if backend.available))

neuron = ulmus.ELM(inputs=12, outputs=2, memory=5)
y, state = neuron(torch.randn(3, 40, 12))
assert y.shape == (3, 40, 2)
half, state = neuron(torch.zeros(1, 20, 12))
y.sum().backward()

fitted = ulmus.load("l5pc-small")
ulmus.save(fitted, "copy.safetensors")
events = (torch.rand(1, 300, fitted.neuron.inputs) < 0.002).float()
one, two = (place.predict(events).voltage_mv for place in (fitted, ulmus.load("copy.safetensors")))
assert torch.equal(one, two) and torch.isfinite(one).all()

sign = np.repeat(np.array([1, -1], dtype=np.int8), [8, 4])
header = Header(steps=800, dt_ms=1.0, input_sign=sign, sites=("soma",), source="mine")
writer = StoreWriter("store", header, trials_total=6)
for index in range(6):
    random = np.random.default_rng(index)
    steps, inputs = np.nonzero(random.random((800, 12)) < 0.02)
    voltage = random.normal(-65, 3, size=(800, 1)).astype(np.float32)
    spikes = np.array([600.5, 700.5])
    writer.add(index, Trial(steps.astype(np.int32), inputs.astype(np.uint16), voltage, spikes, {}))
writer.finish()
"""

RECIPE = """
name: mine
model: {memory: 3}
data: {train: "store[:4]", validation: "store[4:]", window_ms: 200, burn_in_ms: 50}
training: {steps: 6, validate_every: 3, log_every: 2, batch: 2}
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Python with the wheel and what it asks for, and nothing else; and a folder to work in."""
    folder = tmp_path_factory.mktemp("base")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    built = subprocess.run(
        [*pip, "wheel", "--no-deps", "--wheel-dir", folder, REPOSITORY],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr[-2000:]
    subprocess.run([sys.executable, "-m", "venv", folder / "empty"], check=True)
    wheel = next(folder.glob("ulmus-*.whl"))
    # The PyTorch of this environment, which is at hand: the range is for noxfile.py to try.
    release = f"torch=={torch.__version__.partition('+')[0]}"
    python = folder / "empty" / "bin" / "python"
    installed = subprocess.run(
        [python, "-m", "pip", "--quiet", "install", "--no-compile", wheel, release],
        capture_output=True,
        text=True,
        check=False,
    )
    assert installed.returncode == 0, installed.stderr[-2000:]
    (folder / "work").mkdir()
    return python, folder / "work"


def run(environment, *arguments: str, code: int = 0) -> str:
    python, folder = environment
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "ULMUS"))}
    done = subprocess.run(
        [python, *arguments],
        cwd=folder,
        env=clean | {"NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, (done.stdout + done.stderr)[-3000:]
    return done.stdout + done.stderr


@pytest.mark.slow
def test_the_base_alone_is_used(environment):
    folder = environment[1]
    listed = run(environment, "-m", "pip", "list", "--format=freeze").split()
    packages = [
        line
        for line in listed
        if "==" in line and not line.startswith(("pip==", "nvidia-", "cuda-", "triton=="))
    ]
    assert len(packages) <= MOST_PACKAGES, packages
    for absent in ("arbor", "joblib", "scipy", "scikit-learn", "plotly", "lightning", "pillow", "optuna"):
        assert not any(line.startswith(absent) for line in packages), packages
    assert "No broken requirements" in run(environment, "-m", "pip", "check")

    assert "backend numba" in run(environment, "-c", USE)
    (folder / "mine.yaml").write_text(RECIPE)
    ulmus = ("-m", "ulmus")
    assert "best validation" in run(environment, *ulmus, "train", "mine.yaml", "--run", "run")
    assert "RMSE" in run(environment, *ulmus, "evaluate", "run", "--data", "store[4:]")
    assert "simulate" in run(environment, *ulmus, "--help")
    assert "numba" in run(environment, *ulmus, "doctor")
    assert "6" in run(environment, *ulmus, "data", "info", "store")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "extra"),
    [
        ("simulate l5pc --trials 1 --out trials", "simulate"),
        ("demo --quick", "simulate"),
        ("report l5pc-small --data store --out page.html", "report"),
        ("train mine.yaml --run other --training.precision bf16-mixed", "devices"),
    ],
)
def test_what_lacks_an_extra_names_it(environment, command, extra):
    said = run(environment, "-m", "ulmus", *command.split(), code=4)
    assert "Traceback" not in said
    assert f"pip install 'ulmus[{extra}]'" in said.replace("\n", " ")
