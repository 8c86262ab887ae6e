"""Lessons before the task: which batches a run sees, that it resumes within them, and what a budget makes of them."""

import shutil

import pytest
import torch
from pydantic import ValidationError

import ulmus
from ulmus.cli.train import parse_overrides
from ulmus.errors import CheckpointError, ConfigError, DataError
from ulmus.sequences import Lesson, SequencesData
from ulmus.sequences.lra.listops.writer import make_listops
from ulmus.sequences.lra.pathfinder.settings import published_settings
from ulmus.sequences.lra.pathfinder.writer import make_pathfinder
from ulmus.training import budget
from ulmus.training.fit import fit
from ulmus.training.kinds.labelled import ClassifierProblem, data_notes, notes
from ulmus.training.loop import Loop
from ulmus.training.models import MODELS
from ulmus.training.recipe_file import load_recipe, parse_recipe

LESSONS = [{"until": 0.2, "subfolder": "short"}, {"until": 0.5, "subfolder": "middle"}]


@pytest.fixture(scope="module")
def listops(tmp_path_factory):
    folder = tmp_path_factory.mktemp("listops")
    lengths = {"": (60, 80), "short": (5, 20), "middle": (30, 50)}
    for seed, (subfolder, (shortest, longest)) in enumerate(lengths.items()):
        make_listops(
            folder / subfolder, counts=(60, 8, 8), seed=seed, shortest=shortest, longest=longest, workers=1
        )
    return folder


def make_recipe(folder, curriculum=LESSONS, **training):
    return parse_recipe(
        {
            "name": "lessons",
            "model": {"memory": 4},
            "data": {
                "kind": "sequences",
                "task": "listops",
                "folder": str(folder),
                "curriculum": list(curriculum),
            },
            "training": {"steps": 20, "batch": 6, "validate_every": 20} | training,
        },
        "test",
    )


def test_batches_are_of_the_lessons_and_then_of_the_task(listops):
    recipe = make_recipe(listops)
    plain = [
        ClassifierProblem(make_recipe(listops / part, ())).splits.train for part in ("short", "middle", "")
    ]
    expected = [plain[0][k] for k in range(4)] + [plain[1][k] for k in range(4, 10)]
    expected += [plain[2][k] for k in range(10, 20)]
    problem = ClassifierProblem(recipe)
    assert problem.stretches(20) == [0, 4, 10]
    for first in (0, 3, 4, 12, 20):
        found = list(problem.batches(first, 20, (0, 1)))
        assert len(found) == 20 - first
        for one, other in zip(found, expected[first:], strict=True):
            assert torch.equal(one.labels, other.labels)
            assert torch.equal(one.source, other.source)
            assert torch.equal(one.inputs.dense(), other.inputs.dense())
    halves = [list(problem.batches(0, 20, (number, 2))) for number in (0, 1)]
    for whole, one, other in zip(expected, *halves, strict=True):
        assert torch.equal(torch.cat([one.labels, other.labels]).sort().values, whole.labels.sort().values)
    assert [problem.hashes[f"lesson {n}"] for n in (1, 2)] == [part.content_hash for part in plain[:2]]


def test_a_run_resumes_within_a_lesson(listops, tmp_path):
    recipe = make_recipe(listops, checkpoint_every=3)
    whole = fit(recipe, tmp_path / "whole")
    stops = iter([False] * 6 + [True] + [False] * 20)
    fit(recipe, tmp_path / "parts", stop=lambda: next(stops))
    assert not (tmp_path / "parts" / "checkpoints" / "best.safetensors").exists()
    again = fit(recipe, tmp_path / "parts", resume=True)
    for one, other in zip(
        whole.load_state()["model"].values(), again.load_state()["model"].values(), strict=True
    ):
        assert torch.equal(one, other)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for seed, contour in enumerate((6, 14)):
        make_pathfinder(folder, published_settings(32, contour), images=30, seed=seed, workers=1)
    return folder


def make_hinted(folder, **training):
    return parse_recipe(
        {
            "name": "hinted",
            "model": {"memory": 4},
            "classifier": {"reading": "mean", "hint_weight": 2.5},
            "data": {
                "kind": "sequences",
                "task": "pathfinder",
                "folder": str(folder),
                "curriculum": [{"until": 0.5, "contour_paddles": 6, "hints": True}],
            },
            "training": {"steps": 4, "batch": 5, "validate_every": 4} | training,
        },
        "test",
    )


def test_hints_are_learnt_in_their_lesson_alone(images, tmp_path):
    problem = ClassifierProblem(make_hinted(images))
    first, _, _, last = problem.batches(0, 4, (0, 1))
    assert last.hints is None
    cpu = torch.device("cpu")
    for batch in (first, last):
        with torch.no_grad():
            loss, accuracy = problem.loss(problem.model, batch, cpu)
            outputs = problem.model.model(batch.inputs)[0].double()
        odds = outputs[..., :2].mean(dim=1).log_softmax(dim=-1)
        expected = -sum(row[label] for row, label in zip(odds, batch.labels, strict=True)) / 5
        if batch.hints is not None:
            told = [
                -outputs[item, step, 2:].log_softmax(dim=-1)[int(batch.hints[item, step]) - 1]
                for item, step in batch.hints.nonzero().tolist()
            ]
            expected = expected + 2.5 * sum(told) / len(told)
        torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-6)
        assert float(accuracy) == pytest.approx(float((odds.argmax(dim=1) == batch.labels).double().mean()))
    classifier = ulmus.load(fit(make_hinted(images), tmp_path / "run").folder)
    told, lessons = notes(classifier, make_hinted(images))
    assert "told more than the classes" in told
    assert "other data than those of the task" in lessons
    assert (classifier.hints, classifier.classes) == (3, ("apart", "connected"))
    assert classifier(first.inputs).shape == (5, 2)


@pytest.mark.parametrize("kind", ["elm", "elm-network", "lstm", "transformer"])
def test_lit_pixels_teach_what_their_hints_say_whatever_reads_them(images, kind):
    recipe = make_hinted(images)
    data = recipe.data.model_copy(update={"gray": "lit"})
    problem = ClassifierProblem(recipe.model_copy(update={"data": data, "model": MODELS[kind]()}))
    first = next(problem.batches(0, 4, (0, 1)))
    problem.model.eval()
    with torch.no_grad():
        losses = problem.loss(problem.model, first, torch.device("cpu"))
        logits, hints = problem.model(first.inputs, first.lengths, with_hints=True)
        for item, steps in enumerate(first.lengths.tolist()):  # alone, nothing pads it
            alone = problem.model(first.inputs.dense()[item : item + 1, :steps], with_hints=True)
            torch.testing.assert_close(alone[0][0], logits[item], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(alone[1][0], hints[item, :steps], rtol=1e-4, atol=1e-5)
    assert torch.isfinite(losses).all()
    assert "only the lit pixels" in notes(problem.model, problem.recipe)[-1]
    assert not any("lit pixels" in note for note in notes(problem.model, recipe))


def test_a_run_resumes_within_a_lesson_with_hints(images, tmp_path):
    whole = fit(make_hinted(images, checkpoint_every=1), tmp_path / "whole")
    stops = iter([True] + [False] * 20)
    fit(make_hinted(images, checkpoint_every=1), tmp_path / "parts", stop=lambda: next(stops))
    again = fit(make_hinted(images, checkpoint_every=1), tmp_path / "parts", resume=True)
    for one, other in zip(
        whole.load_state()["model"].values(), again.load_state()["model"].values(), strict=True
    ):
        assert torch.equal(one, other)


def test_tasks_without_hints_say_so(listops):
    lessons = [{"until": 0.5, "subfolder": "short", "hints": True}]
    with pytest.raises(DataError, match="lesson 1 of data.curriculum: ListOps, generated in .* has no hints"):
        ClassifierProblem(make_recipe(listops, lessons))


def test_a_lesson_drawn_from_the_random_numbers_of_the_held_out_data_is_refused(images, tmp_path):
    make_pathfinder(tmp_path, published_settings(32, 14), images=30, seed=1, workers=1)
    make_pathfinder(tmp_path, published_settings(32, 6), images=30, seed=1, workers=1)
    make_pathfinder(tmp_path / "more", published_settings(32, 14), images=50, seed=1, workers=1)
    for lesson in ({"contour_paddles": 6}, {"subfolder": "more"}):
        data = {"folder": str(tmp_path), "curriculum": (Lesson(until=0.5, **lesson),)}
        recipe = make_hinted(images)
        recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update=data)})
        with pytest.raises(
            ConfigError, match="lesson 1 of data.curriculum was made with seed 1, like the task"
        ):
            fit(recipe, tmp_path / "run")
        ClassifierProblem(recipe)  # a run that began before this was refused can go on
    data["curriculum"] = (Lesson(until=0.5, hints=True),)  # the training part of the task itself
    ClassifierProblem(recipe.model_copy(update={"data": recipe.data.model_copy(update=data)})).check_new()


def test_a_task_whose_items_repeat_is_refused_and_such_a_lesson_is_not(tmp_path):
    for seed, (folder, repeats) in enumerate({"": False, "again": True}.items()):
        make_listops(
            tmp_path / folder,
            counts=(60, 8, 8),
            seed=seed,
            shortest=4,
            longest=60,
            repeats=repeats,
            workers=1,
        )
    ClassifierProblem(make_recipe(tmp_path, [{"until": 0.5, "subfolder": "again"}])).check_new()
    with pytest.raises(ConfigError, match="were made with --repeats"):
        fit(make_recipe(tmp_path / "again", ()), tmp_path / "run")


def test_lessons_have_the_hints_of_the_task_unless_they_say_otherwise(images):
    data = make_hinted(images).data
    lessons = (*data.curriculum, Lesson(until=0.6), Lesson(until=0.7, hints=False))
    data = data.model_copy(update={"hints": True, "curriculum": lessons})
    assert [lesson.hints for _, lesson in data.lessons()] == [True, True, False]


def test_a_budget_counts_what_every_lesson_takes(listops, monkeypatch):
    seen = []

    def seconds_of_a_step(loop, batches, seconds):
        seen.append(next(batches).inputs.time)
        return [1.0, 2.0, 8.0][len(seen) - 1]

    monkeypatch.setattr(budget, "_time_of_a_step", seconds_of_a_step)
    monkeypatch.setattr(budget, "_time_of_a_validation", lambda problem: 1e-9)
    shortened = budget.within_budget(make_recipe(listops, steps=1000), 482.0)
    assert seen[0] < seen[1] < seen[2]
    assert shortened.steps == int(482 / (0.2 * 1 + 0.3 * 2 + 0.5 * 8))


def test_a_budget_times_hard_lessons_without_learning_from_them(listops, monkeypatch):
    monkeypatch.setattr(budget, "_time_of_a_validation", lambda problem: 1e-9)
    rates, steps = [], Loop.step

    def step(loop, batch):
        loss = steps(loop, batch)
        rates.append((batch.inputs.time > 20, loop.optimizer.param_groups[0]["lr"] == 0.0))
        return loss

    monkeypatch.setattr(Loop, "step", step)
    budget.within_budget(make_recipe(listops, steps=100), 10.0)
    assert set(rates) == {(False, False), (True, True)}


def test_lessons_can_be_given_on_the_command_line():
    given = parse_overrides(
        ["--data.folder", "lra", "--data.curriculum", "[{until: .1, contour_paddles: 6}, {until: .3}]"]
    )
    recipe = load_recipe("lra-pathfinder-elm", given)
    assert [(until, data.contour_paddles, data.folder) for until, data in recipe.data.lessons()] == [
        (0.1, 6, "lra"),
        (0.3, 14, "lra"),
    ]
    none = parse_overrides(["--data.folder", "lra", "--data.curriculum", "[]"])
    assert load_recipe("lra-listops-quick-elm", none).data.lessons() == []


def test_lessons_that_cannot_be(listops):
    with pytest.raises(ConfigError, match=r"lessons end at \[0.5, 0.5\].*later"):
        make_recipe(listops, [{"until": 0.5}, {"until": 0.5}])
    with pytest.raises(ConfigError, match="until"):
        make_recipe(listops, [{"until": 1.0}])
    with pytest.raises(DataError, match="lesson 1 of data.curriculum: .*elsewhere does not exist"):
        ClassifierProblem(make_recipe(listops, [{"until": 0.1, "subfolder": "elsewhere"}]))
    with pytest.raises(
        ConfigError, match="contour_paddles has no effect on task listops; expected it only for"
    ):
        make_recipe(listops, [{"until": 0.1, "contour_paddles": 6}])


@pytest.mark.parametrize(
    ("task", "setting", "value"),
    [
        ("listops", "longest", 500),
        ("image", "contour_paddles", 9),
        ("text", "bins", 8),
        ("listops", "gray", "intensity"),
    ],
)
def test_settings_of_another_task_are_refused(task, setting, value):
    settings = {"kind": "sequences", "task": task, "folder": "lra", setting: value}
    with pytest.raises(ConfigError, match=f"{setting} has no effect on task {task}"):
        parse_recipe(
            {"name": "a", "model": {"memory": 4}, "data": settings, "training": {"steps": 1}}, "test"
        )


def test_bins_need_bins():
    settings = {"kind": "sequences", "task": "image", "folder": "lra", "gray": "intensity", "bins": 4}
    recipe = {"name": "a", "model": {"memory": 4}, "data": settings, "training": {"steps": 1}}
    with pytest.raises(ConfigError, match="bins=4 has no effect with gray 'intensity'"):
        parse_recipe(recipe, "test")
    assert parse_recipe({**recipe, "data": settings | {"gray": "lit"}}, "test").data.bins == 4


def test_a_weight_of_hints_needs_hints():
    data = {"kind": "sequences", "task": "pathfinder", "folder": "lra"}
    recipe = {"name": "a", "classifier": {"hint_weight": 1.0}, "training": {"steps": 1}}
    with pytest.raises(
        ConfigError, match="hint_weight=1.0 changes nothing: neither the task nor a lesson has"
    ):
        parse_recipe({**recipe, "data": data}, "test")
    told = [data | {"hints": True}, data | {"curriculum": [{"until": 0.5, "hints": True}]}]
    assert all(parse_recipe({**recipe, "data": one}, "test").classifier.hint_weight == 1 for one in told)


def test_a_run_goes_on_with_its_data_elsewhere_and_other_workers_but_not_with_other_data(images, tmp_path):
    recipe = make_hinted(images, checkpoint_every=1)
    whole = fit(recipe, tmp_path / "whole")
    fit(recipe, tmp_path / "parts", stop=lambda: True)
    for paddles in (6, 14):
        settings = published_settings(32, paddles)
        make_pathfinder(tmp_path / "other", settings, images=30, seed=4 + paddles, workers=1)
    shutil.copytree(images, tmp_path / "moved")

    def reading(folder):
        data = recipe.data.model_copy(update={"folder": str(tmp_path / folder), "workers": 1})
        return recipe.model_copy(update={"data": data})

    with pytest.raises(CheckpointError, match="begun with other data"):
        fit(reading("other"), tmp_path / "parts", resume=True)
    again = fit(reading("moved"), tmp_path / "parts", resume=True)
    assert again.recipe().data.folder == str(tmp_path / "moved")
    for name, value in whole.load_state()["model"].items():
        assert torch.equal(value, again.load_state()["model"][name])


def test_what_is_scored_is_said_to_be_generated_and_unbalanced(images, tmp_path):
    (generated,) = data_notes(ClassifierProblem(make_hinted(images)).splits.test)
    assert "generated by `ulmus data make`" in generated
    make_pathfinder(tmp_path, published_settings(32, 14), images=30, seed=0, workers=1, balanced=False)
    data = {"kind": "sequences", "task": "pathfinder", "folder": str(tmp_path)}
    splits = SequencesData.model_validate(data).open(5, 0)
    assert "where the discs lie gives away" in data_notes(splits.test)[-1]


def test_a_size_is_refused_where_it_changes_nothing(listops):
    for task in ("pathfinder-x", "listops"):
        with pytest.raises(ValidationError, match=f"size has no effect on task {task}"):
            SequencesData(kind="sequences", task=task, folder=str(listops), size=64)
