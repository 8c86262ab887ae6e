"""``ulmus evaluate`` on classifiers: their remarks, and data that lie elsewhere than in training."""

import json
import shutil
from pathlib import Path

import pytest

from ulmus.cli.evaluate import evaluate
from ulmus.data.tasks.listops import ListOps
from ulmus.data.tasks.listops_writer import make_listops
from ulmus.errors import CheckpointError, ConfigError, DataError
from ulmus.training.fit import fit
from ulmus.training.recipe import parse_recipe


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run, and the folder that its data were moved to."""
    here = tmp_path_factory.mktemp("trained")
    for seed, folder in enumerate(("task", "task/short")):
        make_listops(here / folder, counts=(24, 6, 10), seed=seed, shortest=5, longest=30, workers=1)
    recipe = {
        "name": "moved",
        "model": {"memory": 3},
        "data": {
            "kind": "sequences",
            "task": "listops",
            "folder": str(here / "task"),
            "curriculum": [{"until": 0.5, "subfolder": "short"}],
        },
        "training": {"steps": 4, "batch": 6, "validate_every": 4},
    }
    run = fit(parse_recipe(recipe, "test"), here / "run").folder
    return run, shutil.move(here / "task", here / "elsewhere")


def test_data_that_were_moved_are_found_where_they_are_said_to_be(trained, capsys):
    run, elsewhere = trained
    with pytest.raises(DataError, match="task holds no folder 'listops-1000'"):
        evaluate(run)
    evaluate(run, data=[str(elsewhere)], json=True)
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((run / "evaluation" / "test.json").read_text())
    assert printed["sequences"] == 10
    (note,) = printed["notes"]
    assert "training began with other data" in note


def test_other_data_than_it_learnt_from_are_named(trained, tmp_path, capsys):
    make_listops(tmp_path, counts=(24, 6, 10), seed=5, shortest=5, longest=30, workers=1)
    evaluate(trained[0], data=[str(tmp_path)], json=True)
    assert "other data than those of its training" in json.loads(capsys.readouterr().out)["notes"][-1]


def test_data_that_a_classifier_cannot_be_scored_on(trained, tmp_path):
    with pytest.raises(ConfigError, match="one folder, not of a, b; give --data once"):
        evaluate(trained[0], data=["a", "b"])
    with pytest.raises(DataError, match="nowhere is not a folder"):
        evaluate(trained[0], data=[str(tmp_path / "nowhere")])
    with pytest.raises(ConfigError, match="no --data fits all; score them apart"):
        evaluate(trained[0], Path("l5pc-small"), data=[str(trained[1])])


def test_data_of_other_classes_are_refused(trained, monkeypatch):
    monkeypatch.setattr(ListOps, "classes", ("a", "b"))
    with pytest.raises(
        DataError, match=r"has 2 classes \(a, b\), but .* tells 10 \(0, 1, .*expected data of its task"
    ):
        evaluate(trained[0], data=[str(trained[1])])


def test_a_run_that_does_not_say_what_it_learnt_from(trained, tmp_path):
    run = shutil.copytree(trained[0], tmp_path / "run")
    (run / "provenance.json").write_text('{"sessions": []}')
    with pytest.raises(CheckpointError, match="provenance.json does not say what the run learnt from"):
        evaluate(run, data=[str(trained[1])])
