import pytest

from ulmus.cli.make import app
from ulmus.data.tasks import listops_splits, pathfinder_splits


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
    description = pathfinder_splits(tmp_path, 32).train.description
    assert description["generated"]["balanced"] is False


def test_make_offers_the_published_sizes_alone(tmp_path):
    with pytest.raises(SystemExit):
        app(["pathfinder", str(tmp_path), "--size", "48"])
