"""Cells of a user's own file on the command line: simulated with several workers, gone on with, labelled."""

import re

import pytest
import torch

import ulmus
from ulmus.cli import main
from ulmus.teachers.custom.script import load_cell
from ulmus.trials import Store

SCRIPT = """
import arbor
from arbor import units as U
from mycell_lengths import LENGTH_UM  # a file beside this one

from ulmus.teachers import ArborCell, Synapse


def build():
    tree = arbor.segment_tree()
    tree.append(arbor.mnpos, arbor.mpoint(0, 0, 0, 4), arbor.mpoint(LENGTH_UM, 0, 0, 4), tag=1)
    decor = arbor.decor()
    decor.set_property(Vm=-65 * U.mV)
    decor.paint("(all)", arbor.density("hh"))
    return tree, decor, arbor.label_dict(), arbor.cv_policy_fixed_per_branch(5)


kinetics = {"tau1": 0.3, "tau2": 3.0, "e": 0.0}
synapses = [Synapse(f"(location 0 {x})", "exp2syn", kinetics, 0.02, group=group) for x, group in ((0.2, "near"), (0.8, "far"))]


def small():
    return ArborCell(build, synapses, "small", "(location 0 0.5)")


cell = ArborCell(build, synapses, "cable", "(location 0 0.5)")
broken = 1
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mine")
    (folder / "mycell_lengths.py").write_text("LENGTH_UM = 200\n")
    (folder / "mycell.py").write_text(SCRIPT)
    return folder / "mycell.py"


def run(*arguments, status=0):
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert ended.value.code == status


def test_a_cell_of_a_file_is_simulated_with_rates_of_its_groups_and_gone_on_with(script, tmp_path, capsys):
    options = (
        "--seconds", 0.5, "--step-ms", 0.1, "--out", tmp_path / "store", "--rates", "near=100:100", "far=0:0",
        "--sites", "(location 0 0.9)",
    )  # fmt: skip
    main_arguments = ("simulate", script, *options, "--workers", 2)
    run(*main_arguments, "--trials", 2)
    run(*main_arguments, "--trials", 3)
    store = Store(tmp_path / "store")
    assert (len(store), store.header.sites) == (3, ("soma", "(location 0 0.9)"))
    assert {int(index) for k in range(3) for index in store.trial(k).event_input} == {0}
    assert store.header.settings["cell"]["cell"] == "cable"
    assert "3 trials of 0.5 s" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("{script}:smal", "'smal' is missing; expected a cell such as NeuronCell"),
        ("{script}:broken", "'broken' is a int; expected a cell"),
        ("gone.py", "gone.py does not exist"),
        (
            "lif5",
            "expected one of l5pc, ball-and-stick, lif, adaptive-lif, or a Python file.*Did you mean 'lif'",
        ),
    ],
)
def test_files_without_the_cell_are_refused(script, tmp_path, capsys, place, message):
    run("simulate", place.format(script=script), "--trials", 1, "--out", tmp_path / "store", status=2)
    error = " ".join(capsys.readouterr().err.split())
    assert re.search(message, error), error
    assert not (tmp_path / "store").exists()


def test_a_file_that_raises_is_named_with_its_line(tmp_path, capsys):
    (tmp_path / "bad.py").write_text("import math\n\ncell = math.sqrt(-1)\n")
    run("simulate", tmp_path / "bad.py", "--trials", 1, "--out", tmp_path / "store", status=2)
    assert "bad.py, line 3: ValueError:" in capsys.readouterr().err


def test_a_surrogate_labels_input_of_a_cell_of_a_file(script, tmp_path):
    torch.manual_seed(0)
    ulmus.save(ulmus.Surrogate(ulmus.ELM(2, 2, memory=2)), tmp_path / "small.safetensors")
    out = tmp_path / "labels"
    run(
        "label",
        tmp_path / "small.safetensors",
        "--cell",
        f"{script}:small",
        "--trials",
        2,
        "--seconds",
        0.5,
        "--out",
        out,
    )
    labels = Store(out)
    assert labels.header.settings["cell"]["cell"] == "small"
    simulated = ulmus.simulate(
        load_cell(f"{script}:small"),
        trials=1, seconds=0.5, seed=1_000_000, out=tmp_path / "trials", workers=1, dt_ms=0.1,
    )  # fmt: skip
    assert (labels.trial(0).event_step == simulated.trial(0).event_step).all()


@pytest.mark.parametrize(("options", "inputs"), [((), 1), (("--with-synapses",), 3)])
def test_a_current_drives_a_cell_alone_or_beside_its_synapses(script, tmp_path, options, inputs):
    run(
        "simulate", script, "--trials", 2, "--seconds", 0.5, "--step-ms", 0.1, "--current", "-0.1:1", "--workers", 1,
        "--out", tmp_path / "store", *options,
    )  # fmt: skip
    store = Store(tmp_path / "store")
    assert (store.header.inputs, store.header.continuous[0].scale) == (inputs, 1.0)
    assert (store.trial(0).event_step.size > 0) == (inputs > 1)
    assert store.info()["output_hz"] > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--current", "strong"), "--current strong: expected a range LOW:HIGH"),
        (("--with-synapses",), "belong to --current"),
        (("--current", "0:1", "--synchrony", 0.2), "expected --with-synapses too"),
        (("--current", "0:1", "--spike-trains", "x"), "together with rates, a current"),
        (("--rates", "inputs=1:2", "--regime", "ampa"), "--rates together with --regime ampa"),
        (("--rates", "inputs"), "--rates inputs: expected a range"),
        (("--rates", "all=0:1"), "the neuron has no inputs of that name; expected inputs"),
    ],
)
def test_inputs_that_do_not_go_together_are_refused(tmp_path, capsys, options, message):
    run("simulate", "lif", "--trials", 1, "--out", tmp_path / "store", *options, status=2)
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "store").exists()
