"""The documentation: its Python runs, and imports nothing deeper than a room."""

import ast
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import ulmus
from ulmus.trials import Header, StoreWriter, Trial

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
BLOCKS = [
    pytest.param(block, id=f"{page.relative_to(REPOSITORY)}:{number}")
    for page in PAGES
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))
]
RUN_ELSEWHERE = (
    "docs/howto/brian2-and-nest.md",
    "docs/howto/cell-from-a-package.md",
    "docs/howto/look-inside.md",
    "docs/howto/other-programs.md:0",
    "docs/howto/your-own-neuron.md",
    "docs/howto/your-own-sequences.md",
)
"""Pages whose Python runs in tests of its room, where its results are looked at too, and which skip without a package
that is no extra of Ulmus."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with what the pages speak of: a store ``trials`` for the neurons that are shipped."""
    folder = tmp_path_factory.mktemp("docs")
    sign = np.repeat(np.array([1, -1], dtype=np.int8), 639)
    header = Header(steps=900, dt_ms=1.0, input_sign=sign, sites=("soma",), source="test")
    writer = StoreWriter(folder / "trials", header, trials_total=4)
    for index in range(4):
        random = np.random.default_rng(index)
        steps, inputs = np.nonzero(random.random((900, 1278)) < 0.002)
        voltage = random.normal(-65, 3, size=(900, 1)).astype(np.float32)
        spikes = np.sort(random.choice(np.arange(510.0, 890.0), 4, replace=False))
        writer.add(index, Trial(steps.astype(np.int32), inputs.astype(np.uint16), voltage, spikes, {}))
    writer.finish()
    return folder


@pytest.mark.parametrize("block", BLOCKS)
def test_python_of_the_pages_imports_public_names_alone(block):
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ulmus":
            assert node.module.count(".") <= 1, f"{node.module} is deeper than a room"
            public = import_module(node.module).__all__
            assert {name.name for name in node.names} <= set(public)
        if isinstance(node, ast.Import):
            assert all(name.name == "ulmus" or not name.name.startswith("ulmus.") for name in node.names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_pages_name_nothing_deeper_than_a_room(page):
    for dotted in re.findall(r"`(ulmus(?:\.\w+)+)", page.read_text()):
        what, parts = ulmus, dotted.split(".")[1:]
        if parts[-1] in ("yaml", "md", "h5"):
            continue
        assert len(parts) <= 2 or parts[0] in ulmus.__all__, f"{dotted} is deeper than a room"
        if parts[0] not in ulmus.__all__ or parts[0] == "baselines":
            what = import_module(f"ulmus.{parts[0]}")
            parts = parts[1:]
            assert set(parts[:1]) <= set(what.__all__), dotted
        for part in parts:
            what = getattr(what, part)


@pytest.mark.parametrize("block", [block for block in BLOCKS if not block.id.startswith(RUN_ELSEWHERE)])
def test_python_of_the_pages_runs(block, place):
    done = subprocess.run(
        [sys.executable, "-c", block], cwd=place, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
