"""Every kind of model that a recipe can name is built with its settings, and learns."""

import numpy as np
import pytest
import torch
import yaml

import ulmus
from ulmus.baselines import TCN
from ulmus.evaluation.predictions import PROTOCOLS, predict
from ulmus.neuron.files import KINDS
from ulmus.training.fit import fit, problem_of
from ulmus.training.recipe_file import load_recipe, parse_recipe
from ulmus.trials import open_trials
from ulmus.trials.windows import whole_trials

SMALL = {
    "elm": {"memory": 3, "input_dropout": 0.2},
    "elm-network": {"memory": 3, "norm": True},
    "elm-layer": {"neurons": 4, "memory": 2, "output_activation": "spike"},
    "lstm": {"memory": 3, "chrono_ms": [1.0, 50.0]},
    "point-neuron": {"adaptive": True},
    "spiking": {"units": 5},
    "tcn": {"channels": 4, "kernels": [4, 3]},
    "transformer": {"width": 8, "layers": 1, "heads": 2, "hidden": 16},
}


@pytest.mark.parametrize("kind", SMALL)
def test_a_recipe_trains_and_saves_it(kind, integrator_store, tmp_path):
    sources = {"train": f"{integrator_store}[:8]", "validation": f"{integrator_store}[8:12]"}
    values = {
        "name": kind,
        "model": {"kind": kind, **SMALL[kind]},
        "data": {**sources, "window_ms": 100.0, "burn_in_ms": 20.0},
        "training": {"steps": 3, "batch": 2, "learning_rate": 0.01},
    }
    recipe = parse_recipe(values, "test")
    assert parse_recipe(yaml.safe_load(recipe.to_yaml()), "test") == recipe
    fit(recipe, tmp_path / "run")
    trained = ulmus.load(tmp_path / "run").neuron
    assert KINDS[type(trained).__name__] is type(trained)
    settings = recipe.model.model_dump(mode="json", exclude={"kind"})
    assert {name: trained.config[name] for name in settings} == settings
    torch.manual_seed(recipe.seed)
    fresh = recipe.model.build(12, 2, 1.0).state_dict()
    assert any(not torch.equal(value, fresh[name]) for name, value in trained.state_dict().items())


def test_predictions_of_a_model_in_training_are_those_of_evaluation(integrator_store):
    trials = open_trials((f"{integrator_store}[:2]",))
    torch.manual_seed(0)
    surrogate = ulmus.Surrogate(TCN(12, 2, channels=4, kernels=(4, 3), dropout=0.5))
    before = {name: value.clone() for name, value in surrogate.state_dict().items()}
    first = predict(surrogate.train(), trials, PROTOCOLS["stream"])
    assert surrogate.training
    assert all(torch.equal(value, before[name]) for name, value in surrogate.state_dict().items())
    np.testing.assert_array_equal(first.logit, predict(surrogate.eval(), trials, PROTOCOLS["stream"]).logit)
    single = surrogate.train().predict(next(whole_trials(trials, 2)).events)
    np.testing.assert_allclose(single.spike_probability.numpy(), first.probability, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("model", ["elm", "simplest-elm", "lstm", "lif", "adaptive-lif"])
def test_the_models_of_the_study_of_a_pyramidal_cell_can_begin(model, integrator_store):
    trials = {"data.train": f"{integrator_store}[:8]", "data.validation": f"{integrator_store}[8:]"}
    problem = problem_of(load_recipe("neuronio", trials, model))
    batch = next(problem.batches(0, 1, (0, 1)))
    assert problem.loss(problem.model, batch, torch.device("cpu")).isfinite().all()
