"""A surrogate with several outputs, from simulation to report, as a user makes it."""

import json

import numpy as np
import pytest
import torch

import ulmus
from ulmus.cli import main
from ulmus.trials import open_trials

TIP = "(location 0 0.95)"


def command(*arguments: object) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert ended.value.code == 0


def test_a_dendritic_site_is_fitted_saved_evaluated_and_reported(tmp_path, capsys):
    store, run = tmp_path / "store", tmp_path / "run"
    command(
        "simulate", "ball-and-stick", "--trials", 4, "--seconds", 0.7, "--step-ms", 0.1, "--workers", 1,
        "--out", store, "--sites", TIP,
    )  # fmt: skip
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "name: two sites\nmodel: {memory: 3, branches: 8, synapses_per_branch: 20, routing: windows}\n"
    )
    command(
        "train", recipe, "--run", run, "--data.train", f"{store}[:3]", "--data.validation", f"{store}[3:]",
        "--data.window_ms", 150, "--data.burn_in_ms", 30, "--training.steps", 30, "--training.validate_every", 15,
        "--training.batch", 4, "--training.learning_rate", 0.01,
    )  # fmt: skip

    surrogate, trials = ulmus.load(run), open_trials(str(store))
    assert surrogate.sites == ("soma", TIP)
    again = ulmus.load(ulmus.save(surrogate, tmp_path / "neuron.safetensors"))
    trial = trials.trial(3)
    inputs = torch.zeros(1, 700, 80)
    np.add.at(
        inputs[0].numpy(), (trial.event_step, trial.event_input), trials.header.input_sign[trial.event_input]
    )
    voltage = again.predict(inputs).voltage_mv
    assert voltage.shape == (1, 700, 2)
    assert torch.equal(voltage, surrogate.predict(inputs).voltage_mv)
    assert not torch.equal(voltage[..., 0], voltage[..., 1])
    assert again.geometry.to_json() == trials.header.geometry.to_json()

    capsys.readouterr()
    command("evaluate", tmp_path / "neuron.safetensors", "--data", f"{store}[3:]", "--json", "--resamples", 0)
    scores = json.loads(capsys.readouterr().out)
    clips = [units.clip_mv for units in surrogate.site_units]  # each site has its own
    recorded = np.minimum(trial.voltage_mv, clips)[350:]  # half of a trial shorter than a second
    error = voltage[0, 350:, 0].numpy() - recorded[:, 0]
    assert scores["rmse_mv"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-3)
    beside = voltage[0, 350:, 1].numpy() - recorded[:, 1]
    assert list(scores["sites"]) == [TIP]
    assert scores["sites"][TIP]["rmse_mv"] == pytest.approx(np.sqrt((beside**2).mean()), rel=1e-3)
    command("evaluate", run, "--data", f"{store}[3:]", "--resamples", 10)
    assert f"RMSE, mV, {TIP}" in capsys.readouterr().out
    command("report", run)
    page = (run / "report.html").read_text()
    assert 'id="plot-morphology"' in page
    assert 'id="plot-traces"' in page
    assert f"Explained variance, {TIP}" in page
