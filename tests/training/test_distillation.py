"""Labels of fitted neurons: the neuron's own answers to the input of a simulation, mixed in reproducibly."""

import numpy as np
import pytest
import torch

import ulmus
from ulmus.errors import ConfigError
from ulmus.teachers.integrate_and_fire import IntegrateAndFire
from ulmus.training.distillation import LOGIT_SITE, label
from ulmus.training.kinds.trials import SurrogateProblem
from ulmus.training.recipe_file import parse_recipe
from ulmus.trials import events_from_trials, open_trials


def fitted(cell, memory=3, seed=0):
    torch.manual_seed(seed)
    return ulmus.Surrogate(ulmus.ELM(len(cell.input_sign), 2, memory=memory), spike_threshold=0.4)


@pytest.fixture(scope="module")
def cell():
    return IntegrateAndFire()


@pytest.fixture(scope="module")
def labelled(cell, tmp_path_factory):
    out = tmp_path_factory.mktemp("labels") / "labelled"
    return label([fitted(cell)], cell, cell.regime, trials=3, seconds=0.6, out=out, seed=5)


@pytest.fixture(scope="module")
def trials(cell, tmp_path_factory):
    out = tmp_path_factory.mktemp("trials") / "trials"
    return ulmus.simulate(cell, cell.regime, trials=4, seconds=0.6, out=out, seed=5, workers=1)


def test_input_is_that_of_a_simulation_and_the_answer_is_the_neurons_own(cell, labelled, trials):
    for index in range(3):
        simulated, answered = trials.trial(index), labelled.trial(index)
        np.testing.assert_array_equal(answered.event_step, simulated.event_step)
        np.testing.assert_array_equal(answered.event_input, simulated.event_input)
        prediction = fitted(cell).predict(events_from_trials([simulated], trials.header))
        np.testing.assert_allclose(answered.voltage_mv[:, 0], prediction.voltage_mv[0, :, 0], atol=0.05)
        probability = 1 / (1 + np.exp(-answered.voltage_mv[:, 1]))
        np.testing.assert_allclose(probability, prediction.spike_probability[0], atol=1e-3)


def recipe_of(trials, labelled, share=0.5):
    return parse_recipe(
        {
            "name": "student",
            "model": {"memory": 2},
            "data": {
                "train": f"{trials.path}[:3]",
                "validation": f"{trials.path}[3:]",
                "labelled": str(labelled.path),
                "labelled_share": share,
                "window_ms": 200,
                "burn_in_ms": 50,
            },
            "training": {"steps": 40, "batch": 2},
        },
        "test",
    )


def test_the_share_of_batches_is_labels_and_any_batch_can_be_made_alone(trials, labelled):
    problem = SurrogateProblem(recipe_of(trials, labelled, 0.3))
    batches = list(problem.batches(0, 200, (0, 1)))
    soft = [not set(batch.spikes.unique().tolist()) <= {0.0, 1.0} for batch in batches]
    assert np.mean(soft) == pytest.approx(0.3, abs=0.1)
    assert all(batch.voltage_mv.shape[-1] == 1 for batch in batches)
    again = next(iter(problem.batches(117, 118, (0, 1))))
    assert torch.equal(again.spikes, batches[117].spikes)
    assert "labelled" in problem.hashes


def test_the_loss_on_labels_is_least_for_the_neuron_that_gave_them(cell, trials, labelled):
    problem = SurrogateProblem(recipe_of(trials, labelled, 0.999))
    batch = next(iter(problem.batches(0, 1, (0, 1))))
    whole = open_trials(str(labelled.path))
    assert whole.header.sites[-1] == LOGIT_SITE
    own = problem.loss(fitted(cell), batch, torch.device("cpu"))[0]
    other = problem.loss(fitted(cell, seed=1), batch, torch.device("cpu"))[0]
    assert own < other


def test_trials_are_no_labels(trials):
    with pytest.raises(ConfigError, match="ulmus label"):
        SurrogateProblem(recipe_of(trials, trials))


@pytest.mark.parametrize("use", ["train", "validation"])
def test_labels_are_no_ground_truth(trials, labelled, use):
    recipe = recipe_of(trials, labelled)
    data = recipe.data.model_copy(update={use: (str(labelled.path),), "labelled": ()})
    with pytest.raises(ConfigError, match=f"data.{use} names labels of fitted neurons"):
        SurrogateProblem(recipe.model_copy(update={"data": data}))
