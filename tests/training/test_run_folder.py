"""A run folder after crashes: one writer, two states to go on from, and never from the beginning in silence."""

import errno
import os
import subprocess
import sys
import warnings

import pytest
import torch
from training_examples import make_recipe, same, weights

from ulmus.cli import main
from ulmus.errors import CheckpointError, ConfigError
from ulmus.files.lock import only_one
from ulmus.training.fit import fit
from ulmus.training.run import Run, place_from


@pytest.fixture(scope="module")
def whole(integrator_store, tmp_path_factory):
    """A run that was never interrupted."""
    return fit(make_recipe(integrator_store), tmp_path_factory.mktemp("whole") / "run")


def interrupted(store, folder, steps=30):
    """A run that stopped after some steps; it keeps a checkpoint after every tenth."""
    stops = iter([False] * (steps - 1) + [True] * 100)
    return fit(make_recipe(store), folder, stop=lambda: next(stops))


def spoil(file):
    file.write_bytes(file.read_bytes()[:1000])


def other_state(file):
    torch.save({"format": 2, "position": {"step": 7}, "model": {}, "averaged": {}, "optimizer": {}}, file)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda file: file.unlink(), "state.pt is missing"),
        (spoil, "state.pt cannot be read"),
        (lambda file: torch.save([1, 2], file), "not the state of a training run"),
        (other_state, "does not fit the run"),
    ],
)
def test_a_damaged_state_is_said_and_the_one_before_it_ends_the_same(
    integrator_store, tmp_path, whole, damage, said
):
    run = interrupted(integrator_store, tmp_path / "run")
    damage(run.state_file)
    with pytest.warns(UserWarning, match=rf"{said}.*from the state before it, step 20"):
        fit(make_recipe(integrator_store), run.folder, resume=True)
    assert same(weights(run), weights(whole))
    assert run.metrics_file.read_text() == whole.metrics_file.read_text()


def test_without_any_state_a_run_that_had_some_is_not_begun_again(integrator_store, tmp_path):
    run = interrupted(integrator_store, tmp_path / "run")
    for file in (run.state_file, run.state_before_file):
        file.unlink()
    metrics = run.metrics_file.read_bytes()
    with pytest.raises(CheckpointError, match=r"saved after step 30, is missing.*best\.safetensors"):
        fit(make_recipe(integrator_store), run.folder, resume=True)
    assert run.metrics_file.read_bytes() == metrics


def test_a_run_killed_before_its_first_checkpoint_says_that_it_begins_again(
    integrator_store, tmp_path, whole
):
    def kill() -> bool:
        raise KeyboardInterrupt

    run = Run(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        fit(make_recipe(integrator_store), run.folder, stop=kill)
    with pytest.warns(UserWarning, match="before its first checkpoint; it begins again at step 0"):
        fit(make_recipe(integrator_store), run.folder, resume=True)
    assert same(weights(run), weights(whole))


def test_a_second_training_in_a_run_folder_is_refused(integrator_store, tmp_path):
    run = interrupted(integrator_store, tmp_path / "run")
    with (
        only_one(run.folder, "trained"),
        pytest.raises(ConfigError, match=rf"being trained into by process {os.getpid()} on"),
    ):
        fit(make_recipe(integrator_store), run.folder, resume=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fit(make_recipe(integrator_store), run.folder, resume=True).finished()  # free again


def test_a_killed_training_leaves_no_lock(integrator_store, tmp_path):
    run = interrupted(integrator_store, tmp_path / "run")
    hold = "import os, sys; from pathlib import Path; from ulmus.files.lock import only_one\n"
    hold += "with only_one(Path(sys.argv[1]), 'trained'): os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", hold, run.folder], check=False).returncode == -9
    assert fit(make_recipe(integrator_store), run.folder, resume=True).finished()


def test_a_start_that_fails_leaves_no_folder(integrator_store, tmp_path):
    recipe = make_recipe(integrator_store).model_copy(update={"start_from": str(tmp_path / "nowhere")})
    with pytest.raises(CheckpointError):
        fit(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_full_disk_is_named_with_what_helps(integrator_store, tmp_path, capsys, monkeypatch):
    run = interrupted(integrator_store, tmp_path / "run", 10)
    before = run.state_file.read_bytes()

    def full(self, state):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.state_file))

    monkeypatch.setattr(Run, "save_state", full)
    with pytest.raises(SystemExit) as end:
        main(["train", "--resume", "--run", str(run.folder)])
    assert end.value.code == 1
    said = capsys.readouterr().err.replace("\n", " ")
    assert "state.pt: No space left on device; make room there and run the same command again" in said
    assert run.state_file.read_bytes() == before


def test_nothing_is_half_written_on_a_small_disk(integrator_store, tmp_path):
    """A file system of its own, which is really full; only root can mount one."""
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", small], capture_output=True, check=False
    ).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        run = interrupted(integrator_store, small / "run", 10)
        before, kept = run.state_file.read_bytes(), {"best.safetensors", "state.pt", "state-before.pt"}
        with pytest.raises(OSError, match="No space left"):
            (small / "fill").write_bytes(bytes(1 << 20))
        with pytest.raises(OSError, match="No space left") as full:
            run.save_state({"much": torch.zeros(50_000), "position": {}})
        assert full.value.filename.endswith("state.pt") or full.value.filename.endswith("state-before.pt")
        assert run.state_file.read_bytes() == before
        assert {file.name for file in run.state_file.parent.iterdir()} <= kept  # nothing half-written
        (small / "fill").unlink()
        assert fit(make_recipe(integrator_store), run.folder, resume=True).finished()
    finally:
        subprocess.run(["umount", small], check=True)


def test_relative_places_are_those_from_where_the_run_was_started(
    integrator_store, tmp_path, monkeypatch, whole
):
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "store").symlink_to(integrator_store)
    monkeypatch.chdir(tmp_path / "begun")
    run = interrupted("store", tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["train", "--resume", "--run", str(run.folder)])
    assert not end.value.code
    assert same(weights(run), weights(whole))
    assert list(run.recipe().data.validation) == [f"{tmp_path}/begun/store[12:]"]
    (tmp_path / "begun" / "store").unlink()
    assert list(run.recipe().data.validation) == [f"{tmp_path}/begun/store[12:]"], (
        "from here, they were absolute"
    )


@pytest.mark.parametrize(
    ("place", "now"),
    [
        ("store[:4]", "{then}/store[:4]"),
        ("st*", "{then}/st*"),
        ("elsewhere", "elsewhere"),
        ("/store", "/store"),
        ("~/store", "~/store"),
    ],
)
def test_places_from_another_folder(place, now, tmp_path):
    (tmp_path / "then" / "store").mkdir(parents=True)
    assert place_from(place, str(tmp_path / "then")) == now.format(then=tmp_path / "then")
    assert place_from(place, None) == place
