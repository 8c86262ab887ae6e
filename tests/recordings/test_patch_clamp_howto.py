"""The how-to of a patch-clamp sweep, from its file to its report, and the same sweeps as NWB keeps them."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from recording_examples import PER_MS, STEPS, TRIALS, recordings

import ulmus
from ulmus.cli.app import main
from ulmus.recordings.conversion import convert
from ulmus.recordings.mapping import parse_mapping
from ulmus.trials import Store

PAGE = Path(__file__).resolve().parents[2] / "docs" / "howto" / "patch-clamp.md"


def test_the_page_goes_from_the_file_to_the_report(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for kind, block in re.findall(r"```(\w*)\n(.*?)```", PAGE.read_text(), re.DOTALL):
        if kind == "python":
            subprocess.run([sys.executable, "-c", block], check=True)
        elif kind == "yaml":
            Path("sweeps.yaml").write_text(block)
        else:
            for line in block.strip().splitlines():
                shorter = ["--training.steps", "30"] if " train " in line else []
                with pytest.raises(SystemExit, match="0"):
                    main([*shlex.split(line)[1:], *shorter])
    printed = " ".join(capsys.readouterr().out.split())
    assert "trials 40 of 1,000 ms in steps of 1 ms" in printed
    assert "gaps 0.1" in printed
    assert "spikes in the voltage above" in printed
    store = Store("sweeps")
    assert store.header.continuous == (("current", "nA", 0.3),)
    for index in (0, 20):
        drawn, made = store.trial(index), Store("cell").trial(index)
        # A spike in the first sample is no maximum.
        np.testing.assert_array_equal(drawn.spike_time_ms, np.floor(made.spike_time_ms))
        np.testing.assert_allclose(drawn.continuous, made.continuous, atol=1e-6)
    scores = ulmus.evaluate("runs/cell", "sweeps[32:]", resamples=0)
    assert scores["trials"] == 8
    page = Path("runs/cell/report.html").read_text(encoding="utf-8")
    assert "Input: current (nA)" in page
    assert "Input events" not in page


def test_sweeps_of_nwb_bring_unit_rate_and_conversion(tmp_path):
    with h5py.File(tmp_path / "a.nwb", "w") as file:
        for index, r in enumerate(recordings()):
            for name, values, unit, conversion in (
                (f"acquisition/sweep_{index}", r.voltage_mv, "volts", 1e-3),
                (f"stimulus/presentation/sweep_{index}", 50.0 * index + r.voltage_mv, "amperes", 1e-12),
            ):
                data = file.create_dataset(f"{name}/data", data=values)
                data.attrs["unit"], data.attrs["conversion"] = unit, conversion
                file[f"{name}/starting_time"] = 0.0
                file[f"{name}/starting_time"].attrs["rate"] = 1000.0 * PER_MS
    mapping = {
        "continuous": {"current": {"values": "/stimulus/presentation/sweep_{trial}", "scale": 0.1}},
        "voltage": {"values": "/acquisition/sweep_{trial}"},
    }
    store = convert(tmp_path / "a.nwb", tmp_path / "store", mapping=parse_mapping(mapping))
    assert (len(store), store.header.steps) == (TRIALS, STEPS)
    for index, r in enumerate(recordings()):
        trial = store.trial(index)
        np.testing.assert_allclose(trial.voltage_mv[:, 0], r.voltage_mv[::PER_MS], atol=1e-4)
        wanted = (50.0 * index + r.voltage_mv.reshape(-1, PER_MS).mean(axis=1)) / 1000
        np.testing.assert_allclose(trial.continuous[:, 0], wanted, atol=1e-6)
