"""The recipe that is chosen for trials: sizes fit the inputs, steps the data, short trials are trained and scored."""

import math

import numpy as np
import pytest
from partial_trials import spikes_alone, voltage_alone

import ulmus
from ulmus.errors import ConfigError
from ulmus.teachers import IntegrateAndFire
from ulmus.training.automatic import chosen_for, synapses_per_branch
from ulmus.trials import Channel, Header, StoreWriter, Trial


def header(inputs: int, continuous: int = 0, steps: int = 500) -> Header:
    channels = tuple(Channel(f"current {k}", "nA") for k in range(continuous))
    return Header(steps, 1.0, np.ones(inputs + continuous, dtype=np.int8), continuous=channels)


def write(path, made: Header, trials: int):
    """Noise in, noise out."""
    writer = StoreWriter(path, made, trials)
    for index in range(trials):
        random = np.random.default_rng(index)
        step = np.arange(0, made.steps, 5, dtype=np.int32)
        voltage = random.normal(-60, 3, (made.steps, 1)).astype(np.float32)
        current = random.normal(0, 1, (made.steps, len(made.continuous))).astype(np.float32)
        event_input = random.integers(made.event_inputs, size=step.size).astype(np.uint16)
        writer.add(
            index,
            Trial(step, event_input, voltage, np.array([100.0]), {}, current if made.continuous else None),
        )
    return writer.finish()


def test_twenty_inputs_get_no_thousands_of_synapses(tmp_path):
    store = write(tmp_path / "store", header(20), 40)
    recipe = ulmus.load_recipe("auto", {"data.train": str(store.path)})
    model = recipe.problem().model
    assert model.neuron.synapses.raw.numel() == 20
    assert model.trainable_parameters() < 2_000
    assert recipe.training.steps == 2_000
    assert (recipe.data.window_ms, recipe.data.burn_in_ms) == (500.0, 150.0)
    assert recipe.data.train == (f"{store.path}[:32]",)
    assert recipe.data.validation == (f"{store.path}[32:]",)


@pytest.mark.parametrize("inputs", [65, 100, 401, 1278, 1394])
def test_every_input_has_one_synapse_whatever_its_number(inputs):
    made = header(inputs)
    synapses = synapses_per_branch(made)
    branches = math.ceil(inputs / synapses)
    assert 0.6 < synapses / (math.sqrt(inputs) / 2) < 1.6
    neuron = ulmus.ELM(inputs, 2, memory=5, branches=branches, synapses_per_branch=synapses)
    used = neuron.synapses.indices[neuron.synapses.connected]
    assert used.tolist() == list(range(inputs))


def test_the_size_of_the_layer_5_cell_is_that_of_the_recipe_for_it():
    assert synapses_per_branch(header(1278)) == 18  # l5pc-small and l5pc-under-10k


def test_steps_follow_the_time_that_there_is(tmp_path):
    one, more = (write(tmp_path / f"{trials}", header(5, steps=2000), trials) for trials in (50, 100))
    steps = [chosen_for(str(s.path), str(s.path)).values["training"]["steps"] for s in (one, more)]
    assert steps == [2100, 4300]  # 60 passes of 100 and 200 s in steps of 8 windows that learn from 350 ms
    assert [chosen_for(str(s.path), "x").values["model"]["memory"] for s in (one, more)] == [20, 20]


def test_a_current_has_a_fast_synapse_of_its_own(tmp_path):
    store = write(tmp_path / "store", header(3, continuous=1), 4)
    model = ulmus.load_recipe("auto", {"data.train": str(store.path)}).problem().model
    assert model.neuron.tau_synapse_ms.tolist() == [5.0, 5.0, 5.0, 1.0]


def test_the_target_and_the_rate_are_those_of_the_trials(tmp_path):
    store = write(tmp_path / "store", header(3), 10)
    surrogate = chosen_for(str(store.path), "x").values["surrogate"]
    assert surrogate["clip_mv"] == np.ceil(-60 + 3.09 * 3)
    assert surrogate["spike_log_odds"] == pytest.approx(np.log(1 / 499), abs=0.06)


def test_the_command_fits_short_trials_and_says_why(tmp_path, monkeypatch, capsys):
    from ulmus.cli.app import main

    monkeypatch.chdir(tmp_path)
    whole = ulmus.simulate(IntegrateAndFire(), trials=10, seconds=0.5, out="trials", workers=1)
    spikes_alone(whole, tmp_path / "spikes")
    voltage_alone(whole, tmp_path / "voltage")
    for name in ("trials", "spikes", "voltage"):
        command = ["train", "auto", "--data.train", name, "--run", f"run-{name}", "--training.steps", "20"]
        with pytest.raises(SystemExit, match="0"):
            main(command)
        said = " ".join(capsys.readouterr().err.split())
        assert f"trials: {name}[:8] to learn from, {name}[8:] to choose by" in said
        assert "branches: 20 of 5 synapses" in said
        assert "steps: " not in said  # which were given
        assert ("clip: " in said, "spikes alone" in said, "voltage alone" in said) == (
            name != "spikes", name == "spikes", name == "voltage",
        )  # fmt: skip
        scores = ulmus.load(f"run-{name}").card["validation"]
        assert ("auc" in scores, "rmse_mv" in scores) == (name != "voltage", name != "spikes")


def test_what_cannot_be_divided_is_said(tmp_path):
    store = write(tmp_path / "store", header(3), 4)
    with pytest.raises(ConfigError, match="expected data.train"):
        ulmus.load_recipe("auto")
    with pytest.raises(ConfigError, match="expected data.validation beside data.train"):
        ulmus.load_recipe("auto", {"data.train": f"{store.path}[:3]"})
    with pytest.raises(ConfigError, match="model.memry"):
        ulmus.load_recipe("auto", {"data.train": str(store.path), "model.memry": 3})
