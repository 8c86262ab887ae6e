"""Sweeps: find what is better on a small neuron, go on after an interruption, keep test data out."""

import json
import sqlite3

import pytest

from ulmus.errors import ConfigError
from ulmus.studies.sweep import Search, load_search, sweep
from ulmus.training.recipe_file import load_recipe

SEARCH = """
name: small
recipe: {recipe}
score: rmse_mv
set: {{training.steps: 60, training.validate_every: 30, training.batch: 4}}
search:
  training.learning_rate: {{low: 1.0e-6, high: 1.0e-2, log: true}}
  model.activation: [relu, silu]
runs: 4
"""


@pytest.fixture
def search(tmp_path) -> Search:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("name: small\nmodel: {memory: 3}\ndata: {window_ms: 200, burn_in_ms: 50}\n")
    file = tmp_path / "search.yaml"
    file.write_text(SEARCH.format(recipe=recipe))
    return load_search(file)


@pytest.fixture
def data(integrator_store):
    return {"data.train": f"{integrator_store}[:8]", "data.validation": f"{integrator_store}[8:12]"}


def test_runs_are_ranked_and_the_best_recipe_can_be_trained(search, data, tmp_path):
    found = sweep(search, tmp_path / "out", data)
    scores = [one.score for one in found]
    assert scores == sorted(scores)
    best = load_recipe(tmp_path / "out" / "best.yaml")
    assert best.training.learning_rate == found[0].values["training.learning_rate"]
    assert best.model.activation == found[0].values["model.activation"]
    card = (tmp_path / "out" / found[0].run / "metrics.jsonl").read_text().splitlines()
    validations = [json.loads(line)["validation"]["rmse_mv"] for line in card if "validation" in line]
    assert found[0].score == min(validations)


def test_an_interrupted_sweep_goes_on_in_the_same_run_folder(search, data, tmp_path):
    out = tmp_path / "out"

    def interrupt(done, total, score):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(search, out, data, on_run=interrupt)
    # A run that was killed in the middle: its trial is still marked as running, and its heartbeat has stopped.
    import optuna

    storage = optuna.storages.RDBStorage(f"sqlite:///{out / 'sweep.db'}")
    trials = optuna.load_study(study_name="small", storage=storage)
    trials.enqueue_trial({"training.learning_rate": 1e-3, "model.activation": 1})
    half = trials.ask()
    half.suggest_float("training.learning_rate", 1e-6, 1e-2, log=True)
    half.suggest_categorical("model.activation", [0, 1])
    half.set_user_attr("run", "run-0002")
    storage.record_heartbeat(half._trial_id)
    with sqlite3.connect(out / "sweep.db") as database:
        database.execute(
            "UPDATE trial_heartbeats SET heartbeat = '2020-01-01 00:00:00' WHERE trial_id = ?",
            [half._trial_id],
        )
    seen = []
    found = sweep(search, out, data, on_run=lambda done, total, score: seen.append(done))
    assert seen == [3, 4]
    again = next(one for one in found if one.run == "run-0002")
    assert again.values == {"training.learning_rate": 1e-3, "model.activation": "silu"}
    assert len({one.values["training.learning_rate"] for one in found}) == 4  # nothing was drawn twice


def test_two_processes_share_a_sweep(search, data, tmp_path):
    found = sweep(search, tmp_path / "out", data, workers=2)
    stopped = json.loads((tmp_path / "out" / "sweep.json").read_text())["stopped"]
    assert len(found) + len(stopped) == 4


def test_no_trial_has_two_uses(search, data, integrator_store, tmp_path):
    overlapping = data | {"data.validation": f"{integrator_store}[7:12]"}
    with pytest.raises(ConfigError, match=r"trial 7 .* is in data\.train and in data\.validation"):
        sweep(search, tmp_path / "out", overlapping)
    test = search.model_copy(update={"held_out": (f"{integrator_store}[11:]",)})
    with pytest.raises(ConfigError, match=r"trial 11 .* is in data\.validation and in held_out"):
        sweep(test, tmp_path / "out", data)


def test_another_search_does_not_go_on_in_the_folder(search, data, tmp_path):
    sweep(search.model_copy(update={"runs": 1}), tmp_path / "out", data)
    with pytest.raises(ConfigError, match="another search"):
        sweep(search, tmp_path / "out", data | {"training.batch": 2})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"search": {"model.memry": [1, 2]}}, "Did you mean 'model.memory'"),
        ({"search": {"data.validation": ["a", "b"]}}, "decides what a score means"),
        ({"search": {"model.memory": {"low": 5, "high": 3}}}, "low=5, high=3"),
        ({"score": "test_auc"}, "expected one of"),
    ],
)
def test_a_search_that_cannot_be_is_explained(search, data, tmp_path, change, message):
    file = tmp_path / "wrong.yaml"
    file.write_text(json.dumps(search.model_dump(mode="json") | change))
    with pytest.raises(ConfigError, match=message):
        sweep(load_search(file), tmp_path / "out", data)
