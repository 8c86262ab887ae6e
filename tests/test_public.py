"""The public names: on one screen, described, loaded when first used, and their examples run."""

import doctest
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import site_text
import torch

import ulmus

GOLDEN = Path(__file__).parent / "golden"
ROOMS = site_text.ROOMS


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder as the examples find it: a store of four trials, and the authors' checkpoints."""
    folder = tmp_path_factory.mktemp("examples")
    ulmus.simulate(ulmus.teachers.IntegrateAndFire(), trials=4, seconds=0.8, out=folder / "lif", workers=1)
    (folder / "checkpoints").symlink_to(GOLDEN / "official" / "checkpoints")
    return folder


def run_examples(what, name):
    """Run the examples of a docstring; how many there were."""
    given = {"ulmus": ulmus, "torch": torch, "np": np}
    found = doctest.DocTestFinder(recurse=False).find(what, name, globs=given)
    runner, told = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS), []
    for test in found:
        runner.run(test, out=told.append)
    assert not runner.failures, "".join(told)
    return runner.tries


@pytest.mark.parametrize("name", [name for name in ulmus.__all__ if name != "baselines"])
def test_a_public_name_is_described_by_an_example_that_runs(name, place, monkeypatch):
    monkeypatch.chdir(place)
    what = getattr(ulmus, name)
    assert what.__doc__.split("\n")[0].endswith(".")
    assert run_examples(what, name) > 0


@pytest.mark.parametrize("name", ulmus.baselines.__all__)
def test_a_baseline_is_described(name):
    assert getattr(ulmus.baselines, name).__doc__.split("\n")[0].endswith(".")


def test_the_public_names_fit_on_one_screen():
    assert dir(ulmus) == sorted(ulmus.__all__)
    assert len(ulmus.__all__) <= 24


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_names_what_is_public_in_it(room):
    module = __import__(f"ulmus.{room}", fromlist=["__all__"])
    assert module.__doc__
    for name in module.__all__:
        assert getattr(module, name) is not None


def in_a_new_process(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_importing_is_light():
    heavy = "('torch', 'numba', 'h5py', 'arbor', 'plotly', 'sklearn')"
    assert (
        in_a_new_process(f"import sys, ulmus; dir(ulmus); print([m for m in {heavy} if m in sys.modules])")
        == "[]"
    )


def test_a_function_is_not_hidden_by_the_module_of_its_name():
    code = "import ulmus, ulmus.report.page, ulmus.training.fit; print(callable(ulmus.report), callable(ulmus.training.fit))"
    assert in_a_new_process(code) == "True True"
    assert in_a_new_process("import ulmus; print(ulmus.baselines.LSTM.__name__)") == "LSTM"
