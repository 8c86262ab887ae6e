"""Run folders that can be read only, and runs that are looked at from another folder."""

import subprocess

import pytest
from training_examples import make_recipe

from ulmus.cli import main
from ulmus.training.fit import fit


@pytest.fixture(scope="module")
def run(integrator_store, tmp_path_factory):
    """A finished run that was started in the folder of its data."""
    folder = tmp_path_factory.mktemp("read-only")
    (folder / "store").symlink_to(integrator_store)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return fit(make_recipe("store"), folder / "run")


def command(*arguments) -> None:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    assert not end.value.code


def test_a_read_only_run_is_scored_all_the_same(run, tmp_path, capsys):
    frozen = tmp_path / "frozen"
    frozen.mkdir()
    mounted = (
        subprocess.run(["mount", "--bind", run.folder, frozen], capture_output=True, check=False).returncode
        == 0
    )
    if (
        not mounted
        or subprocess.run(
            ["mount", "-o", "remount,ro,bind", frozen], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("nothing can be mounted read-only here")
    try:
        command("evaluate", frozen, "--data", f"{run.folder.parent}/store[12:]", "--resamples", "0")
    finally:
        subprocess.run(["umount", frozen], check=True)
    printed = capsys.readouterr()
    assert "RMSE" in printed.out
    assert f"not recorded in {frozen} (Read-only file system)" in printed.err.replace("\n", " ")


def test_the_report_finds_data_from_another_folder(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command("report", run.folder, "--out", "validation.html")
    monkeypatch.chdir(run.folder.parent)
    command("evaluate", "run", "--data", "store[13:]", "--resamples", "0")
    monkeypatch.chdir(tmp_path)
    command("report", run.folder, "--out", "evaluated.html")
    assert "3 trials of the last evaluation" in (tmp_path / "evaluated.html").read_text()
    assert "4 validation trials" in (tmp_path / "validation.html").read_text()
