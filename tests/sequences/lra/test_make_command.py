import json

import pytest

from ulmus.cli.data import app as data_app
from ulmus.cli.make import app
from ulmus.sequences.lra.listops.files import listops_splits
from ulmus.sequences.lra.pathfinder.files import pathfinder_splits


def test_make_writes_what_the_readers_read(tmp_path, capsys):
    for arguments in (
        ["listops", str(tmp_path), "--train", "30", "--valid", "3", "--test", "4", "--workers", "1"],
        ["pathfinder", str(tmp_path), "--size", "32", "--contour", "9", "--images", "20", "--workers", "1"],
        ["pathfinder", str(tmp_path), "--images", "10", "--workers", "1", "--as-published"],
    ):
        app(arguments, result_action="return_value")
    assert "20 images of 32 x 32" in capsys.readouterr().out
    assert [len(part) for part in listops_splits(tmp_path)] == [30, 3, 4]
    assert [len(part) for part in pathfinder_splits(tmp_path, 32, 9)] == [16, 2, 2]
    assert pathfinder_splits(tmp_path, 32).train.generated["balanced"] is False


def test_make_lessons_of_few_operators_that_repeat(tmp_path):
    few = ["--shortest=4", "--longest=7", "--train=300", "--valid=3", "--test=4", "--workers=1"]
    app(
        ["listops", str(tmp_path), "--operators", "SM", "MIN", "--arguments", "2", "--repeats", *few],
        result_action="return_value",
    )
    text = (tmp_path / "listops-1000" / "basic_train.tsv").read_text()
    assert ("[SM" in text, "[MIN" in text, "[MAX" in text) == (True, True, False)
    assert len(set(text.splitlines())) < 301


def test_make_offers_the_published_sizes_alone(tmp_path):
    with pytest.raises(SystemExit):
        app(["pathfinder", str(tmp_path), "--size", "48"])


def test_info_describes_what_was_made(tmp_path, capsys):
    app(
        ["listops", str(tmp_path), "--train", "9", "--valid", "3", "--test", "4", "--workers", "1"],
        result_action="return_value",
    )
    app(["pathfinder", str(tmp_path), "--images", "20", "--workers", "1"], result_action="return_value")
    capsys.readouterr()
    data_app(["info", str(tmp_path), "--json"], result_action="return_value")
    parts = json.loads(capsys.readouterr().out)
    assert set(parts) == {"ListOps, generated", "Pathfinder-32, generated"}
    expressions, images = parts["ListOps, generated"], parts["Pathfinder-32, generated"]
    assert [expressions[split] for split in ("train", "validation", "test")] == [9, 3, 4]
    assert 500 < expressions["steps"]["shortest"] <= expressions["steps"]["longest"] < 2000
    assert sum(expressions["items_per_class"].values()) == 16
    assert images["steps"] == {"shortest": 1024, "mean": 1024, "longest": 1024}
    assert sum(images["items_per_class"].values()) == 20
    assert images["generated"]["size"] == 32
    data_app(["info", str(tmp_path)], result_action="return_value")
    assert "Pathfinder-32, generated" in capsys.readouterr().out
