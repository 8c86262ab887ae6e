"""Classifiers: they learn what can be learnt, read where they should, resume, and are scored on what they never saw."""

import shutil

import numpy as np
import pytest
import torch
from digits_examples import write_digits

import ulmus
from ulmus.errors import CheckpointError, ConfigError, ShapeError
from ulmus.neuron import Classifier
from ulmus.sequences.digits.clips import open_split
from ulmus.training.fit import fit
from ulmus.training.kinds.labelled import ClassifierRecipe, ClassifierSettings, evaluate_classes
from ulmus.training.recipe_file import load_recipe
from ulmus.training.run import Run


def make_recipe(folder, model=None, **training):
    defaults = {"steps": 250, "batch": 16, "learning_rate": 1e-2, "select": "accuracy", "log_every": 10}
    return ClassifierRecipe.model_validate(
        {
            "name": "tones",
            "model": {"memory": 12, "tau_memory_ms": [20.0, 500.0]} | (model or {}),
            "data": {"kind": "digits", "folder": str(folder), "bin_ms": 20, "validation_share": 0.5},
            "training": defaults | training,
        }
    )


def test_it_learns_and_is_right_about_digits_it_never_heard(tones, tmp_path):
    recipe = make_recipe(tones)
    run = fit(recipe, tmp_path / "run")
    classifier = ulmus.load(run.folder)
    splits = recipe.data.open(7, 0)
    scores = evaluate_classes(classifier, splits.test)
    assert scores["sequences"] == 60
    assert scores["accuracy"] > 0.9
    confusion = np.array(scores["confusion"])
    assert confusion.sum(axis=1).tolist() == np.bincount(splits.test.clips.labels, minlength=10).tolist()
    assert confusion.trace() == round(scores["accuracy"] * 60)
    assert classifier.card["validation"]["sequences"] == 100


def test_an_interrupted_run_ends_as_if_it_had_never_stopped(tones, tmp_path):
    recipe = make_recipe(tones, steps=20, validate_every=7, checkpoint_every=5)
    whole = fit(recipe, tmp_path / "whole")
    stops = iter([False] * 8 + [True] + [False] * 100)
    fit(recipe, tmp_path / "parts", stop=lambda: next(stops))
    again = fit(recipe, tmp_path / "parts", resume=True)
    for one, other in zip(
        whole.load_state()["model"].values(), again.load_state()["model"].values(), strict=True
    ):
        assert torch.equal(one, other)
    assert whole.metrics_file.read_text() == again.metrics_file.read_text()


def test_states_are_clipped_in_training_alone(tones, tmp_path):
    recipe = make_recipe(tones, steps=3)
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"bin_ms": 5.0})})  # 200 steps
    clipped = recipe.model_copy(update={"classifier": ClassifierSettings(clip_state_norm=1e-6)})
    plain, other = (fit(one, tmp_path / name) for one, name in ((recipe, "plain"), (clipped, "other")))
    first, last = (
        {name: value for name, value in run.load_state()["model"].items() if "mlp" in name}
        for run in (plain, other)
    )
    assert first.keys() == last.keys()
    assert not all(torch.equal(first[name], last[name]) for name in first)
    classifier = ulmus.load(other.folder)
    inputs = torch.rand(2, 120, classifier.model.inputs)
    torch.testing.assert_close(classifier(inputs), classifier(inputs, clip_state_norm=1e-6))


@pytest.mark.parametrize(
    ("model", "training", "message"),
    [
        ({"kind": "transformer"}, {}, "a transformer does not"),
        ({"kind": "tcn"}, {}, "a tcn does not"),
        ({"memory_dropout": 0.1}, {}, r"model.memory_dropout=0.1"),
        ({"kind": "lstm", "recurrent_dropout": 0.1}, {}, r"model.recurrent_dropout=0.1"),
        ({}, {"precision": "16-mixed"}, "16-mixed"),
    ],
)
def test_states_that_cannot_be_clipped_are_refused_before_training(model, training, message):
    recipe = make_recipe("s", **training).model_dump() | {"classifier": {"clip_state_norm": 1.0}}
    with pytest.raises(ValueError, match=message):
        ClassifierRecipe.model_validate(recipe | {"model": model})


def test_epochs_become_steps_in_the_run_folder(tones, tmp_path):
    recipe = make_recipe(tones, steps=None, epochs=1.5, batch=30)
    run = fit(recipe, tmp_path / "run")
    resolved = Run(run.folder).recipe()
    assert (resolved.training.steps, resolved.training.epochs) == (6, None)  # 100 clips: 4 batches an epoch
    assert resolved.training.validate_every == 4
    assert run.finished()


def test_added_digits_have_nineteen_classes_and_fixed_held_out_sums(tones, tmp_path):
    recipe = make_recipe(tones, steps=3)
    data = recipe.data.model_copy(update={"task": "add", "held_out_sums": 40, "batches_per_epoch": 5})
    run = fit(recipe.model_copy(update={"data": data}), tmp_path / "run")
    assert len(ulmus.load(run.folder).classes) == 19
    one, other = data.open(16, 0), data.open(16, 1)
    assert torch.equal(one.test.batch(0, 1).source, other.test.batch(0, 1).source)
    assert not torch.equal(one.train.batch(0, 1).source, other.train.batch(0, 1).source)


def test_what_a_run_learnt_from_beside_its_task_is_told_and_not_needed_to_score_it(tones, tmp_path):
    voices = tmp_path / "voices"
    voices.mkdir()
    names = np.array([str(digit).encode() for digit in range(10)])
    write_digits(voices / "voices_train.h5", seed=9, classes=10, extra__keys=names)
    recipe = make_recipe(tones, steps=2)
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"more": (f"{voices}",)})})
    run = fit(recipe, tmp_path / "run")
    of_task = fit(make_recipe(tones, steps=2), tmp_path / "alone").provenance()["data"]
    learnt = run.provenance()["data"]
    assert {key: learnt[key] for key in of_task} == of_task
    assert learnt["data.more[0]"] == open_split(voices, "train").content_hash
    shutil.rmtree(voices)
    scores = ulmus.evaluate(run.folder)
    assert scores["sequences"] == len(open_split(tones, "test"))
    assert [note for note in scores["notes"] if "data.more" in note]
    assert not [note for note in scores["notes"] if "other data" in note]


def test_the_layer_of_small_neurons_and_the_large_one_have_as_many_parameters_and_train(tones, tmp_path):
    parameters = []
    for model in ("elm-layer", "elm-76k"):
        keys = {"data.folder": str(tones), "data.bin_ms": 50, "data.held_out_sums": 16, "training.batch": 4}
        recipe = load_recipe(
            "spoken-digits-adding", keys | {"training.epochs": None, "training.steps": 2}, model
        )
        run = fit(recipe, tmp_path / model)
        parameters.append(ulmus.load(run.folder).trainable_parameters())
    assert parameters == [76_171, 75_531]


@pytest.mark.parametrize("reading", ["last", "mean"])
def test_what_comes_after_the_end_does_not_count(reading):
    torch.manual_seed(0)
    neuron = ulmus.ELM(3, 2, memory=4)
    classifier = Classifier(neuron, ("a", "b"), reading=reading)
    x = torch.randn(2, 12, 3)
    lengths = torch.tensor([5, 12])
    logits = classifier(x, lengths)
    outputs = neuron(x)[0]
    expected = [row[:length] for row, length in zip(outputs, lengths.tolist(), strict=True)]
    expected = [part[-1] if reading == "last" else part.mean(dim=0) for part in expected]
    torch.testing.assert_close(logits, torch.stack(expected))
    x[0, 5:] = 9.0
    assert torch.equal(classifier(x, lengths)[0], logits[0])


def test_two_towers_compare_the_first_half_with_the_second():
    torch.manual_seed(0)
    classifier = Classifier(ulmus.ELM(3, 6, memory=4), ("no", "yes"), towers=2)
    x = torch.randn(4, 9, 3)
    r = classifier.model(x)[0][:, -1]
    pairs = [torch.cat([a, b, a - b, a * b]) for a, b in zip(r[:2], r[2:], strict=True)]
    torch.testing.assert_close(classifier(x), classifier.head(torch.stack(pairs)))
    with pytest.raises(ShapeError, match="pairs"):
        classifier(x[:3])


def test_values_that_do_not_fit():
    neuron = ulmus.ELM(3, 2, memory=4)
    with pytest.raises(ConfigError, match="3 classes"):
        Classifier(neuron, ("a", "b", "c"))
    with pytest.raises(ConfigError, match="reading='first'"):
        Classifier(neuron, ("a", "b"), reading="first")
    with pytest.raises(ShapeError, match="hold 0 at place 0; expected 1 to"):
        Classifier(neuron, ("a", "b"))(torch.zeros(2, 5, 3), torch.tensor([0, 3]))


@pytest.mark.parametrize("reading", ["last", "mean"])
def test_hints_are_outputs_of_every_step_behind_the_classes(reading, tmp_path):
    torch.manual_seed(0)
    neuron = ulmus.ELM(3, 5, memory=4)
    classifier = Classifier(neuron, ("a", "b"), reading=reading, hints=3)
    x = torch.randn(2, 12, 3)
    logits, hints = classifier(x, with_hints=True)
    outputs = neuron(x)[0]
    assert torch.equal(hints, outputs[..., 2:])
    torch.testing.assert_close(
        logits, outputs[:, -1, :2] if reading == "last" else outputs[..., :2].mean(dim=1)
    )
    again = ulmus.load(ulmus.save(classifier, tmp_path / "classifier"))
    assert torch.equal(again(x), logits)
    with pytest.raises(ConfigError, match="outputs=5, but there are 2 classes and 2 hints"):
        Classifier(neuron, ("a", "b"), hints=2)
    with pytest.raises(ConfigError, match="hints=3 with towers=2: expected an integer"):
        Classifier(neuron, ("a", "b"), towers=2, hints=3)
    with pytest.raises(ConfigError, match="hints='3' with towers=1"):
        Classifier(neuron, ("a", "b"), hints="3")


def test_saved_classifiers_come_back_whole(tmp_path):
    classifier = Classifier(ulmus.ELM(3, 6, memory=4), ("no", "yes"), reading="mean", towers=2, card={"a": 1})
    again = ulmus.load(ulmus.save(classifier, tmp_path / "classifier"))
    x = torch.randn(4, 9, 3)
    assert torch.equal(again(x), classifier(x))
    assert (again.classes, again.reading, again.towers, again.card) == (("no", "yes"), "mean", 2, {"a": 1})


def test_a_run_can_begin_with_the_weights_of_another(tones, tmp_path):
    first = fit(make_recipe(tones, steps=30), tmp_path / "first")
    further = make_recipe(tones, steps=2, learning_rate=1e-9)
    second = fit(further.model_copy(update={"start_from": str(first.folder)}), tmp_path / "second")
    for one, other in zip(
        ulmus.load(first.folder).parameters(), ulmus.load(second.folder).parameters(), strict=True
    ):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)
    assert len(second.provenance()["data"]["start"]) == 64
    larger = make_recipe(tones, {"memory": 13}, steps=2).model_copy(update={"start_from": str(first.folder)})
    with pytest.raises(CheckpointError, match="another shape"):
        fit(larger, tmp_path / "third")
