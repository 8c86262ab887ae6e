"""Recipes: round trip, overrides, suggestions."""

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ulmus.baselines
from ulmus.errors import ConfigError
from ulmus.training.kinds.trials import SurrogateRecipe
from ulmus.training.recipe import changed_keys
from ulmus.training.recipe_file import all_keys, load_recipe, parse_recipe, recipes

DATA = {"data.train": "store[:8]", "data.validation": "store[8:]"}


@pytest.mark.parametrize("name", recipes())
def test_every_shipped_recipe_is_valid(name):
    trials = name == "demo" or name.startswith(("l5pc", "neuronio"))
    recipe = load_recipe(name, DATA if trials else {"data.folder": "folder"})
    assert recipe.name == name


def test_the_headline_recipe_has_8002_parameters():
    recipe = load_recipe("l5pc-branch-20-published", DATA)
    assert recipe.model.build(1278, 2, 1.0).trainable_parameters() == 8002
    assert recipe.training.steps == 350_000


@given(
    memory=st.integers(1, 300),
    activation=st.sampled_from(["relu", "silu", "squared_relu"]),
    rate=st.floats(1e-6, 1.0),
    sources=st.lists(st.text(min_size=1), min_size=1, max_size=3),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_written_recipe_reads_back_the_same(memory, activation, rate, sources):
    recipe = SurrogateRecipe.model_validate(
        {
            "name": "any",
            "model": {"memory": memory, "activation": activation},
            "data": {"train": sources, "validation": sources},
            "training": {"learning_rate": rate, "steps": 5},
        }
    )
    assert parse_recipe(yaml.safe_load(recipe.to_yaml()), "text") == recipe


def test_overrides_replace_only_what_they_name():
    recipe = load_recipe("l5pc-branch-20", {**DATA, "model.memory": 50, "training.steps": "100"})
    assert (recipe.model.memory, recipe.model.branches, recipe.training.steps) == (50, 45, 100)
    assert recipe.data.train == ("store[:8]",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model.memry": 5}, r"unknown key 'model\.memry'.*Did you mean 'memory'"),
        ({"trainning.steps": 5}, r"unknown key 'trainning'.*Did you mean 'training'"),
        ({"model.learning_rate": 5}, r"Did you mean 'training\.learning_rate'"),
        ({"model.memory": 0}, r"'model\.memory' is 0"),
        ({"model.activation": "tanh"}, r"'model\.activation' is 'tanh'"),
        ({"training.learning_rate": "fast"}, r"'training\.learning_rate' is 'fast'"),
        ({"name.inner": 1}, "is not a group"),
    ],
)
def test_mistakes_name_the_key(change, message):
    with pytest.raises(ConfigError, match=message):
        load_recipe("l5pc-branch-20", {**DATA, **change})


def test_missing_data_says_which_flag():
    with pytest.raises(ConfigError, match=r"'data\.train' is missing.*--data\.train"):
        load_recipe("l5pc-branch-20")


def test_an_unknown_recipe_gets_a_suggestion():
    with pytest.raises(ConfigError, match="Did you mean 'l5pc-branch-20'"):
        load_recipe("l5pc-branch20")


def test_files_that_are_no_recipes(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text("name: [")
    with pytest.raises(ConfigError, match="not YAML"):
        load_recipe(file)
    file.write_text("just text")
    with pytest.raises(ConfigError, match="expected keys"):
        load_recipe(file)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="neither a readable file"):
        load_recipe(file)


def test_all_keys_are_dotted():
    assert {"name", "model.memory", "data.train", "training.select"} <= set(all_keys())


def test_the_keys_of_a_model_depend_on_its_kind():
    lstm = load_recipe("l5pc-branch-20", {**DATA, "model": {"kind": "lstm", "memory": 7}})
    assert type(lstm.model.build(12, 2, 1.0)) is ulmus.baselines.LSTM
    assert parse_recipe(yaml.safe_load(lstm.to_yaml()), "text") == lstm
    assert {"model.chrono_ms", "model.branches", "model.kind"} <= set(all_keys())


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"kind": "lstn"}, r"'model\.kind' is 'lstn'; expected one of .*'lstm'.*Did you mean 'lstm'"),
        ({"kind": "lstm", "memry": 5}, r"unknown key 'model\.memry'; .*chrono_ms.*Did you mean 'memory'"),
        (
            {"kind": "lstm", "branches": 5},
            r"unknown key 'model\.branches' of 'model' of this kind.*chrono_ms",
        ),
        ({"kind": "lstm", "memory": 0}, r"'model\.memory' is 0"),
        ({"kind": "lstm", "learning_rate": 1}, r"Did you mean 'training\.learning_rate'"),
        (5, r"'model' is 5"),
    ],
)
def test_mistakes_in_a_model_name_key_and_kind(model, message):
    with pytest.raises(ConfigError, match=message):
        load_recipe("l5pc-branch-20", {**DATA, "model": model})


def test_a_recipe_for_several_models_has_a_name_for_each():
    lstm = load_recipe("shd-lstm", {"data.folder": "x"})
    assert (lstm.name, lstm.model.kind) == ("shd-lstm", "lstm")
    assert load_recipe("shd", {"data.folder": "x"}, "lstm") == lstm
    assert load_recipe("shd", {"data.folder": "x"}).name == "shd-elm"
    with pytest.raises(ConfigError, match="no model 'lstn'.*Did you mean 'lstm'"):
        load_recipe("shd", {"data.folder": "x"}, "lstn")
    with pytest.raises(ConfigError, match="is for one model"):
        load_recipe("l5pc-branch-20", DATA, "elm")


def test_steps_replace_epochs_and_the_other_way_round():
    assert load_recipe("shd-elm", {"data.folder": "x", "training.steps": 5}).training.epochs is None
    assert load_recipe("l5pc-branch-20", {**DATA, "training.epochs": 2}).training.steps is None
    with pytest.raises(ConfigError, match="expected one of the two"):
        load_recipe("shd-elm", {"data.folder": "x", "training.steps": 5, "training.epochs": 5})


@pytest.mark.parametrize(
    ("name", "inputs", "outputs", "parameters"),
    [
        ("lra-pathfinder-chrono-lstm", 16, 2, 100_502),
        ("lra-listops-chrono-lstm", 25, 10, 107_110),
        ("lra-pathfinder-transformer", 16, 2, 597_506),
        ("shd-lstm", 700, 20, 956_020),
    ],
)
def test_the_models_to_compare_with_have_the_parameters_of_the_paper(name, inputs, outputs, parameters):
    """Table 1 and appendix: 100.5 and 107.1 thousand, about 600 thousand, 956 thousand."""
    model = load_recipe(name, {"data.folder": "folder"}).model
    assert model.build(inputs, outputs, 1.0).trainable_parameters() == parameters


def test_another_kind_of_model_leaves_behind_what_it_does_not_have():
    lstm = load_recipe("l5pc-branch-20-published", {**DATA, "model.kind": "lstm", "model.memory": 30})
    assert (
        lstm.model
        == parse_recipe({**lstm.model_dump(), "model": {"kind": "lstm", "memory": 30}}, "test").model
    )
    assert lstm.name == "l5pc-branch-20-published-lstm"
    assert lstm.training.steps == 350_000
    neuron = load_recipe("l5pc-branch-20-published", DATA).model
    network = load_recipe("l5pc-branch-20-published", {**DATA, "model.kind": "elm-network"}).model
    assert (network.kind, network.layers) == ("elm-network", 2)
    assert neuron.model_dump(exclude={"kind"}).items() <= network.model_dump().items()
    same = load_recipe("l5pc-branch-20-published", {**DATA, "model.kind": "elm", "name": "mine"})
    assert (same.name, same.model) == ("mine", neuron)
    with pytest.raises(ConfigError, match="'model.kind' is 'lstn'.*Did you mean 'lstm'"):
        load_recipe("l5pc-branch-20-published", {**DATA, "model.kind": "lstn"})
    with pytest.raises(ConfigError, match=r"unknown key 'model\.branches' of 'model' of this kind"):
        load_recipe("l5pc-branch-20-published", {**DATA, "model.kind": "lstm", "model.branches": 3})


def test_changed_keys_are_named_with_both_values():
    before = load_recipe("l5pc-branch-20", {**DATA, "model.memory": 20})
    now = load_recipe(
        "l5pc-branch-20", {**DATA, "model.memory": 50, "data.train": ["a", "b"], "training.steps": 7}
    )
    assert changed_keys(before, before) == []
    assert changed_keys(before, now, {"training.steps"}) == [
        "model.memory was 20 and is 50",
        "data.train was ['store[:8]'] and is ['a', 'b']",
    ]
    other = parse_recipe({**before.model_dump(), "model": {"kind": "lstm", "memory": 20}}, "test")
    assert "model.branches was 45 and is absent" in changed_keys(before, other)
    assert "model.chrono_ms was absent and is None" in changed_keys(before, other)


@pytest.mark.parametrize("models", ["[a, b]", "{a: }", "{}"])
def test_models_that_are_no_models_are_said(models, tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text(f"name: x\ndata: {{kind: digits, folder: x}}\nmodels: {models}\n")
    with pytest.raises(ConfigError, match="'models' is .*expected names"):
        load_recipe(file)
