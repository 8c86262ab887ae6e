"""The demo from end to end, with a few short trials and a few steps."""

import json

import pytest

from ulmus.cli import demo as command
from ulmus.cli import main
from ulmus.training.recipe_file import load_recipe


def test_the_demo_simulates_fits_scores_and_reports(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "TRAIN", 2)
    monkeypatch.setattr(command, "VALIDATION", 1)
    monkeypatch.setattr(command, "TEST", 2)
    monkeypatch.setattr(command, "SECONDS", 0.8)
    short = {"training.steps": 6, "training.validate_every": 3, "training.log_every": 2}
    monkeypatch.setattr(command, "load_recipe", lambda name, data: load_recipe(name, {**data, **short}))
    folder = tmp_path / "demo"
    for _ in range(2):  # the second time everything is there already
        with pytest.raises(SystemExit) as end:
            main(["demo", "--folder", str(folder), "--workers", "1"])
        assert not end.value.code
        printed = capsys.readouterr().out
        for words in (
            "TPR at FPR 0.0025",
            "explained variance",
            "trainable parameters",
            "8,002",
            "simulated",
            "trained",
        ):
            assert words in printed
    assert str(folder / "explorer.html") in printed.replace("\n", "")
    assert "recorded" in (folder / "explorer.html").read_text()
    assert str(folder / "run" / "report.html") in printed.replace("\n", "")
    assert "plotly" in (folder / "run" / "report.html").read_text()
    scores = json.loads((folder / "run" / "evaluation" / "official.json").read_text())
    assert scores["trials"] == 2


@pytest.mark.parametrize("display", ["", ":0"])
def test_the_quick_demo_shows_a_shipped_neuron_beside_fresh_trials(tmp_path, monkeypatch, capsys, display):
    opened = []
    monkeypatch.setattr(command, "QUICK_TRIALS", 2)
    monkeypatch.setattr(command, "QUICK_SECONDS", 0.8)
    monkeypatch.setattr(command.sys, "platform", "linux")
    monkeypatch.setattr(command.webbrowser, "open", opened.append)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", display)
    with pytest.raises(SystemExit) as end:
        main(["demo", "--quick", "--folder", str(tmp_path / "demo"), "--workers", "1"])
    assert not end.value.code
    page = tmp_path / "demo" / "quick.html"
    assert f"open {page}" in capsys.readouterr().out.replace("\n", "")
    assert "2 trials simulated just now" in page.read_text()
    assert opened == ([page.as_uri()] if display else [])
    assert command.QUICK_SEED != command.SEED, "the shipped neuron was fitted to the trials of SEED"
