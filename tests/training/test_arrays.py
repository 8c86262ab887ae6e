"""Anybody's sequences: every task is learnt and scored as other libraries score it, and what does not fit is named first."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn import metrics
from torch import nn
from torch.nn import functional

import ulmus
from ulmus.cli import main
from ulmus.errors import CheckpointError, ConfigError, DataError
from ulmus.neuron.predictor import Predictor
from ulmus.training import fit
from ulmus.training.callbacks import Callback
from ulmus.training.fit import fit as fit_recipe
from ulmus.training.kinds.arrays import ArraysProblem
from ulmus.training.recipe_file import load_recipe, parse_recipe
from ulmus.training.run import Run

SMALL = {"kind": "elm", "memory": 6, "tau_memory_ms": [1.0, 20.0]}


def sides(count=80, seed=0, classes=("left", "right")):
    """Sequences of two channels whose class is the sign of the first one in the end; lengths differ."""
    random = np.random.default_rng(seed)
    values = [random.normal(50, 4, size=(random.integers(8, 14), 2)).astype(np.float32) for _ in range(count)]
    labels = np.array([classes[int(value[-3:, 0].mean() > 50)] for value in values])
    return values, labels


def saved(folder, name="data.npz", **more):
    values, labels = sides()
    arrays = {
        "values": np.concatenate(values), "lengths": np.array([len(value) for value in values]), "targets": labels,
        "subject": np.repeat(np.arange(20), 4), "channels": np.array(["x", "y"]),
    } | more  # fmt: skip
    np.savez(folder / name, **arrays)
    return folder / name


def make_recipe(file, **changes):
    values = {
        "name": "mine",
        "model": SMALL,
        "data": {"kind": "arrays", "train": str(file), "split_by": "subject", "test": 0.2},
        "task": "classification",
        "training": {"steps": 30, "batch": 16, "learning_rate": 0.02, "log_every": 10, "validate_every": 10},
    }
    for key, value in changes.items():
        values[key] = (
            values[key] | value if isinstance(values.get(key), dict) and isinstance(value, dict) else value
        )
    return parse_recipe(values, "test")


def test_a_recipe_learns_and_its_scores_are_those_of_scikit_learn(tmp_path):
    recipe = make_recipe(saved(tmp_path), training={"steps": 200, "validate_every": 50})
    run = fit_recipe(recipe, tmp_path / "run")
    model = ulmus.load(run.folder)
    assert (model.answers, model.channels) == (("left", "right"), ("x", "y"))
    scores = recipe.held_out("test").scores(model)
    test = recipe.data.parts("classification")[0]["test"]
    assert len(set(test.columns["subject"].tolist())) == 4
    true = [str(test.target(k)) for k in range(len(test))]
    told = [model.predict(torch.as_tensor(test.sequence(k))[None]) for k in range(len(test))]
    found = [model.answers[int(one.values)] for one in told]
    assert scores["accuracy"] == pytest.approx(metrics.accuracy_score(true, found))
    assert scores["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(true, found))
    assert scores["f1"] == pytest.approx(metrics.f1_score(true, found, average="macro"))
    probability = torch.cat([one.probability for one in told]).double().numpy()
    probability /= probability.sum(axis=1, keepdims=True)
    assert scores["loss"] == pytest.approx(
        metrics.log_loss(true, probability, labels=model.answers), rel=1e-4
    )
    assert scores["confusion"] == metrics.confusion_matrix(true, found, labels=model.answers).tolist()
    assert model.card["validation"]["accuracy"] > 0.8
    train = recipe.data.parts("classification")[0]["train"]
    everything = np.concatenate([train.sequence(k) for k in range(len(train))])
    np.testing.assert_allclose(model.input_mean.numpy(), everything.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(model.input_scale.numpy(), everything.std(axis=0), rtol=1e-4)


def test_a_run_resumes_exactly(tmp_path):
    recipe = make_recipe(saved(tmp_path), training={"average": 0.9}, model={"input_dropout": 0.1})
    whole = fit_recipe(recipe, tmp_path / "whole")
    stops = iter([False] * 12 + [True] + [False] * 100)
    fit_recipe(recipe, tmp_path / "parts", stop=lambda: next(stops))
    again = fit_recipe(recipe, tmp_path / "parts", resume=True)
    for name, value in whole.load_state()["model"].items():
        assert torch.equal(again.load_state()["model"][name], value)
    assert whole.metrics_file.read_text() == again.metrics_file.read_text()


@pytest.mark.parametrize("task", ["step-classification", "step-regression", "regression"])
def test_what_pads_a_sequence_changes_nothing(task, tmp_path):
    values, _ = sides(12)
    steps = [(value[:, 0].cumsum() > 50 * np.arange(1, len(value) + 1)) for value in values]
    targets = {
        "step-classification": [step.astype(int) for step in steps],
        "step-regression": [value.cumsum(axis=0) for value in values],
        "regression": np.array([[value[:, 0].sum(), value[:, 1].max()] for value in values]),
    }[task]
    run = fit(SMALL, (values, targets), task=task, steps=3, batch_size=5, folder=tmp_path / "run")
    together = run.predict(values)
    for index, value in enumerate(values):
        alone = run.model.predict(torch.as_tensor(value)[None])
        place = slice(None) if task == "regression" else slice(len(value))
        torch.testing.assert_close(together.values[index][place], alone.values[0], rtol=1e-4, atol=1e-4)
    scores = run.evaluate((values, targets))
    if task == "step-classification":
        told = np.concatenate([together.values[k][: len(value)] for k, value in enumerate(values)])
        assert scores["accuracy"] == pytest.approx((told == np.concatenate(targets)).mean())
        return
    told = [
        together.values[k] if task == "regression" else together.values[k][: len(v)]
        for k, v in enumerate(values)
    ]
    true, told = (
        np.atleast_2d(np.concatenate([np.atleast_2d(t) for t in targets])),
        np.concatenate([np.atleast_2d(t) for t in told]),
    )
    assert scores["rmse"] == pytest.approx(metrics.root_mean_squared_error(true, told), rel=1e-4)
    assert scores["mae"] == pytest.approx(metrics.mean_absolute_error(true, told), rel=1e-4)
    assert scores["r2"] == pytest.approx(metrics.r2_score(true, told), rel=1e-3)


def test_a_forecast_is_of_what_comes_and_beats_that_nothing_changes(tmp_path):
    series = np.stack([np.sin(np.arange(1200) / 6), np.cos(np.arange(1200) / 9)], axis=1)[None]
    recipe = {
        "task": {"kind": "forecasting", "horizon": 4}, "steps": 150, "learning_rate": 0.02, "window": 100, "split": "time",
    }  # fmt: skip
    run = fit(SMALL, series, **recipe, folder=tmp_path / "run")
    assert run.best["rmse"] < run.best["rmse_persistence"] / 2
    part = series[:, 900:1000]
    told = run.predict(part).values.numpy()
    error = np.sqrt(((told[0, :-4] - part[0, 4:]) ** 2).mean(axis=0)).mean()
    naive = np.sqrt(((part[0, :-4] - part[0, 4:]) ** 2).mean(axis=0)).mean()
    scores = run.evaluate(part)
    assert (scores["rmse"], scores["rmse_persistence"]) == (
        pytest.approx(error, rel=1e-4),
        pytest.approx(naive, rel=1e-4),
    )
    pieces = series[0, 900:].reshape(3, 100, 2)  # longer sequences are scored in windows, as they are learnt
    told = run.predict(pieces).values.numpy()
    error = np.sqrt(((told[:, :-4] - pieces[:, 4:]) ** 2).mean(axis=(0, 1))).mean()
    assert run.evaluate(series[:, 900:])["rmse"] == pytest.approx(error, rel=1e-4)


def test_the_next_character_of_a_text_that_repeats_is_learnt():
    texts = ["abcabcabcabc", "bcabcabcabc", "cabcabcabcabcab"] * 6
    run = fit(
        nn.GRU(4, 12, batch_first=True), texts, task="next-token", epochs=60, batch_size=9, learning_rate=0.02
    )
    assert run.model.channels == ("a", "b", "c", "\N{REPLACEMENT CHARACTER}")
    assert run.best["accuracy"] > 0.95
    assert run.best["bits_per_token"] == pytest.approx(run.best["loss"] / np.log(2))
    assert [run.model.answers[k] for k in run.predict(["abca"]).values[0].tolist()][1:] == ["c", "a", "b"]


@pytest.mark.parametrize(
    "model",
    [nn.LSTM(3, 4, batch_first=True, bidirectional=True), {"kind": "transformer", "width": 8, "heads": 2}],
)
@pytest.mark.parametrize("task", ["forecasting", "next-token"])
def test_a_model_that_sees_what_comes_cannot_learn_to_predict_it(model, task):
    values = (
        np.random.default_rng(0).normal(size=(6, 30, 3)) if task == "forecasting" else ["abab", "babb"] * 5
    )
    with pytest.raises(ConfigError, match="change with later input"):
        fit(model, values, task=task, epochs=1)


def test_missing_values_are_told_and_fitted_around(tmp_path):
    values, labels = sides(60)
    for index, value in enumerate(values):
        value[index % 5, 1] = np.nan
    with pytest.raises(DataError, match=r"channel 1 of sequence 0 .* is nan at step 0.*missing: mask"):
        fit(SMALL, (values, labels), task="classification", epochs=1)
    run = fit(
        SMALL, (values, labels), task="classification", missing="mask", epochs=1, folder=tmp_path / "run"
    )
    assert run.model.model.inputs == 4
    encoded = run.model.encode(torch.as_tensor(values[0])[None])[0]
    assert encoded[0].tolist()[1:] == [0.0, 1.0, 0.0]
    assert run.predict(values).probability.isfinite().all()


def test_class_weights_make_rare_classes_count_alike():
    values, _ = sides(40)
    labels = np.array(["rare"] * 4 + ["usual"] * 36)
    recipe = make_recipe(
        "unused", task={"kind": "classification", "class_weights": "balanced"}, data={"split_by": None}
    )
    from ulmus.sequences.arrays.sequence_set import sequence_set

    found = sequence_set(values, labels)
    problem = ArraysProblem(recipe, {"train": found, "validation": found.take(range(2, 40))}, 1.0)
    batch = next(problem.batches(0, 1, (0, 1)))
    with torch.no_grad():
        loss = problem.loss(problem.model, batch, torch.device("cpu"))[0]
        odds = functional.log_softmax(problem.model(batch.values, batch.lengths).double(), dim=1)
    weights = torch.tensor([40 / 8, 40 / 72])[batch.targets].double()
    expected = -(weights * odds[torch.arange(16), batch.targets]).sum() / weights.sum()
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)


def test_events_and_tokens_reach_the_model_sparsely(tmp_path):
    random = np.random.default_rng(0)
    tokens = random.integers(5, size=(20, 9))
    run = fit(
        SMALL,
        (tokens, tokens[:, -1] % 2),
        task="classification",
        input="tokens",
        epochs=1,
        folder=tmp_path / "run",
    )
    events = run.model.encode(torch.as_tensor(tokens))
    assert isinstance(events, ulmus.Events)
    assert torch.equal(events.dense(), functional.one_hot(torch.as_tensor(tokens), 5).float())
    with pytest.raises(DataError, match="holds token 5, which training has not"):
        run.predict(tokens + 1)
    step, channel = np.nonzero(random.random((20 * 9, 3)) < 0.2)
    np.savez(
        tmp_path / "events.npz", event_sequence=step // 9, event_time_ms=step % 9 * 2.0, event_channel=channel,
        duration_ms=18.0, targets=random.integers(2, size=20), channels=np.array(["a", "b", "c"]),
    )  # fmt: skip
    recipe = make_recipe(tmp_path / "events.npz", data={"dt_ms": 2.0, "split_by": None})
    model = ulmus.load(fit_recipe(recipe, tmp_path / "events").folder)
    assert (model.input, model.dt_ms, model.model.dt_ms) == ("events", 2.0, 2.0)


class Cumulative(nn.Module):
    """A module of a user: a linear map, summed over time."""

    def __init__(self, inputs, width):
        super().__init__()
        self.map = nn.Linear(inputs, width)

    def forward(self, x, state=None):
        return self.map(x).cumsum(dim=1), None


class Pairs(torch.utils.data.Dataset):
    def __init__(self):
        self.values, self.labels = sides()

    def __len__(self):
        return len(self.values)

    def __getitem__(self, index):
        return torch.as_tensor(self.values[index]), self.labels[index]


@pytest.mark.parametrize("form", ["arrays", "dataset", "loader", "mapping", "file"])
def test_any_module_trains_on_data_in_any_form(form, tmp_path):
    values, labels = sides()
    given = {
        "arrays": (values, labels), "dataset": Pairs(), "loader": torch.utils.data.DataLoader(Pairs(), batch_size=4),
        "mapping": {"values": values, "targets": labels, "subject": np.arange(80)}, "file": saved(tmp_path),
    }[form]  # fmt: skip
    torch.manual_seed(0)
    run = fit(Cumulative(2, 3), given, task="classification", steps=4, split_by=None, folder=tmp_path / "run")
    assert [line["step"] for line in run.history if "validation" in line] == [2, 4]
    again = ulmus.load(run.folder, Cumulative(2, 3))
    assert torch.equal(again(torch.ones(1, 5, 2)), run.model.eval()(torch.ones(1, 5, 2)))
    with pytest.raises(CheckpointError, match=r"weights of a Cumulative.*ulmus.load\(path, model="):
        ulmus.load(run.folder)
    assert run.predict(values[:3]).probability.shape == (3, 2)


def test_a_run_without_a_folder_leaves_nothing_behind():
    values, labels = sides()
    run = fit("lstm", (values, labels), task="classification", steps=2)
    folder = run.folder
    assert folder.is_dir()
    del run
    assert not folder.exists()


class Recorder(Callback):
    def __init__(self, last=None):
        self.calls, self.last = [], last

    def on_train_start(self, run):
        self.calls.append("start")

    def on_train_batch_end(self, progress):
        self.calls.append(progress.step)
        return progress.step == self.last

    def on_validation_end(self, progress, scores):
        self.calls.append(("validation", "loss" in scores))

    def on_train_end(self, run):
        self.calls.append("end")


def test_callbacks_are_called_and_can_end_a_training(tmp_path):
    values, labels = sides()
    recorder = Recorder(last=3)
    arguments = {
        "task": "classification",
        "steps": 6,
        "training": {"validate_every": 2},
        "folder": tmp_path / "run",
    }
    run = fit(SMALL, (values, labels), callbacks=[recorder], **arguments)
    assert recorder.calls == ["start", 1, ("validation", True), 2, 3, "end"]
    assert not run.finished()
    run = fit(SMALL, (values, labels), resume=True, **arguments)
    whole = fit(SMALL, (values, labels), **(arguments | {"folder": tmp_path / "whole"}))
    assert run.finished()
    for name, value in whole.load_state()["model"].items():
        assert torch.equal(run.load_state()["model"][name], value)


def test_training_stops_early_when_validation_gets_no_better(tmp_path):
    recipe = make_recipe(
        saved(tmp_path), training={"learning_rate": 1e-12, "patience": 2, "validate_every": 2, "steps": 100}
    )
    run = fit_recipe(recipe, tmp_path / "run")
    assert run.finished()
    validated = [line["step"] for line in run.metrics() if "validation" in line]
    losses = [line["validation"]["loss"] for line in run.metrics() if "validation" in line]
    best = losses.index(min(losses))
    assert validated[-1] == validated[best] + 4 < 100


def test_metrics_go_to_csv_and_tensorboard_and_any_logger(tmp_path):
    pytest.importorskip("tensorboard")
    recipe = make_recipe(saved(tmp_path), training={"loggers": ["csv", "tensorboard"]})

    class Mine:
        def __init__(self):
            self.lines = []

        def log_metrics(self, metrics, step):
            self.lines.append((step, metrics))

    mine = Mine()
    run = fit_recipe(recipe, tmp_path / "run", loggers=[mine])
    expected = [line["loss"] for line in run.metrics() if "loss" in line]
    with (run.folder / "csv" / "metrics.csv").open() as file:
        assert [float(row["loss"]) for row in csv.DictReader(file) if row["loss"]] == pytest.approx(expected)
    assert [metrics["loss"] for _, metrics in mine.lines if "loss" in metrics] == expected
    assert any("validation/accuracy" in metrics for _, metrics in mine.lines)
    assert list((run.folder / "tensorboard").glob("events*"))


@pytest.mark.parametrize("optimizer", ["adamw", "adamax", "nadam", "radam", "rmsprop", "sgd"])
def test_every_optimiser_lowers_the_loss(optimizer):
    values, labels = sides()
    rate = 0.5 if optimizer == "sgd" else 0.02
    run = fit(
        SMALL,
        (values, labels),
        task="classification",
        steps=60,
        optimizer=optimizer,
        learning_rate=rate,
        schedule="linear",
    )
    losses = [line["loss"] for line in run.history if "learning_rate" in line]
    assert losses[-1] < losses[0] - 0.05


def weighted_loader():
    sampler = torch.utils.data.WeightedRandomSampler([1.0] * 80, 80)
    return torch.utils.data.DataLoader(list(zip(*sides(), strict=True)), sampler=sampler)


@pytest.mark.parametrize(
    ("train", "validation", "arguments", "message"),
    [
        (
            sides(),
            (sides(9, 1, ("left", "up"))),
            {},
            "class 'up' of sequence . of the validation data does not occur in train",
        ),
        ((sides()[0], np.linspace(0, 1, 80)), 0.2, {}, "expected classes.*choose regression"),
        (sides(), 0.2, {"task": "regression"}, "is 'right'|is 'left'; expected numbers for task regression"),
        (sides(), 0.2, {"task": "step-classification"}, "has .* steps and one target; expected one for each"),
        ((sides()[0], np.zeros(80, dtype=int)), 0.2, {}, "all targets of .* are 0; expected two classes"),
        (sides(), ([np.zeros((5, 3))], ["left"]), {}, r"has 3 channels .*trained with 2"),
        (sides(), sides(), {}, "same content is in train and in validation"),
        (sides()[0], 0.2, {"task": "next-token"}, "holds numbers; expected tokens or characters"),
        (sides(), 0.2, {"learning_rat": 1}, "fit has no argument 'learning_rat'"),
        (sides(), None, {}, "validation=None leaves nothing to choose"),
        (list(zip(*sides(), strict=True)), 0.2, {}, r"is a list of tuples; expected .*zip\(\*pairs\)"),
        ((pair for pair in sides()), 0.2, {}, "is a generator; expected .* Make a list"),
        ([{"x": 1.0}], 0.2, {}, r"sequence 0 of the training data is \{.x.: 1.0\}; expected an array"),
        (torch.utils.data.StackDataset(x=sides()[0]), 0.2, {}, r"a dictionary with \['x'\]; expected"),
        (weighted_loader(), 0.2, {}, "WeightedRandomSampler, which fit does not use"),
        ((np.zeros((9, 8, 2)), np.zeros(9)), 0.2, {"task": "forecasting"}, "forecasting needs no targets"),
        (sides(), 0.2, {"split_by": "who"}, "has no 'who' .* add it: {'values'"),
        (sides(), 0.2, {"task": "classify"}, "'task.kind' is 'classify'"),
        (sides(), 0.2, {"training": {"select": "rmse"}}, "training.select='rmse': expected one of"),
        (sides()[0], 0.2, {"task": {"kind": "forecasting", "channels": ["z"]}}, "task.channels names 'z'"),
        (
            (sides()[0], np.eye(2)[np.arange(80) % 2]),
            0.2,
            {},
            r"has 2 targets; expected one class. Of one-hot .*argmax",
        ),
        ((sides()[0], [*["left", ""] * 40]), 0.2, {}, "sequence 1 of .* has no class .*empty text"),
        ((sides()[0], [np.inf, *range(79)]), 0.2, {}, "target of sequence 0 .* is inf; expected classes"),
        (
            (np.ones((9, 8, 2)), np.ones((9, 16))),
            0.2,
            {"task": "step-regression"},
            "has 8 steps and 16 targets",
        ),
        ((["ab", "ba"] * 9, [0, 1] * 9), 0.2, {"task": "next-token"}, "next-token needs no targets"),
        (
            (np.ones((9, 8, 2)), np.ones((9, 8, 2))),
            0.2,
            {"task": "step-classification"},
            r"shape \[8, 2\]; expected one class",
        ),
        (
            {"values": sides()[0], "label": sides()[1]},
            0.2,
            {},
            r"has the keys \['label', 'values'\] and no 'targets'",
        ),
        ("ab" * 200, 0.2, {"task": "next-token"}, "is no name of a file; .* Give texts as a list"),
        (sides(), 1.5, {}, "validation is a share above 0 and below 1, or files; got 1.5"),
        (sides(), 0, {}, "validation is a share above 0 and below 1"),
        (sides(), 0.2, {"split": "time", "split_by": "who"}, "which split_by: who forbids"),
        (
            (np.arange(180).reshape(20, 9) % 5, [0, 1] * 10),
            0.2,
            {"input": "tokens", "missing": "mask"},
            "holds tokens",
        ),
        (sides()[0], 0.2, {"task": {"kind": "forecasting", "burn_in": 14}}, "burn_in=14 leaves nothing of"),
        (
            ([v * [1, np.nan] for v in sides()[0]], [0, 1] * 40),
            0.2,
            {"missing": "mask"},
            "channel 1 .* missing at every",
        ),
    ],
)
def test_what_does_not_fit_is_named_before_anything_is_trained(
    train, validation, arguments, message, tmp_path
):
    with pytest.raises((ConfigError, DataError), match=message):
        fit(
            SMALL,
            train,
            validation,
            **({"task": "classification", "epochs": 1, "folder": tmp_path / "run"} | arguments),
        )
    assert not (tmp_path / "run").exists()


def test_classes_of_several_kinds_of_file_have_an_order(tmp_path):
    for name, labels in (("a", [2, 10] * 10), ("b", ["x", "10"] * 10)):
        saved(tmp_path, f"{name}.npz", values=np.concatenate(sides(20)[0]), targets=np.array(labels),
              lengths=np.array([len(value) for value in sides(20)[0]]), subject=np.arange(20))  # fmt: skip
    both = [str(tmp_path / "a.npz"), str(tmp_path / "b.npz")]
    recipe = make_recipe("", data={"train": both, "split_by": None, "test": None})
    with pytest.warns(UserWarning, match="are in train too"):
        assert recipe.problem().model.answers == ("2", "10", "x")


def test_events_of_fewer_channels_are_read_and_more_are_refused(tmp_path):
    step, channel = np.nonzero(np.random.default_rng(0).random((20 * 9, 3)) < 0.2)
    events = {
        "event_sequence": step // 9,
        "event_time_ms": step % 9 * 1.0,
        "event_channel": channel,
        "duration_ms": 9.0,
    }
    np.savez(tmp_path / "events.npz", **events, targets=np.arange(20) % 2)
    recipe = make_recipe(
        tmp_path / "events.npz", data={"split_by": None}, training={"steps": 2, "validate_every": 2}
    )
    run = fit_recipe(recipe, tmp_path / "run")
    model = ulmus.load(run.folder)
    for highest in (1, 3):
        changed = events | {"event_channel": np.minimum(channel, 1) if highest == 1 else channel + 1}
        np.savez(tmp_path / "other.npz", **changed, targets=np.arange(20) % 2)
        held_out = recipe.held_out("test", str(tmp_path / "other.npz"))
        if highest == 1:
            assert held_out.scores(model)["sequences"] == 20
        else:
            with pytest.raises(DataError, match="has 4 channels .* trained with 3"):
                held_out.scores(model)
    with pytest.raises(DataError, match="holds events; expected numbers for task forecasting"):
        make_recipe(
            tmp_path / "events.npz", data={"split_by": None, "split": "time"}, task="forecasting"
        ).problem()


def test_other_files_have_steps_of_the_same_length(tmp_path):
    def table(name, dt_ms):
        lines = [
            f"{k},{step * dt_ms},{k + step + dt_ms},{'ab'[k % 2]}" for k in range(8) for step in range(5)
        ]
        (tmp_path / name).write_text("\n".join(["sequence,time_ms,x,label", *lines]))
        return str(tmp_path / name)

    data = {"train": table("a.csv", 2), "time": "time_ms", "targets": "label", "split_by": None, "test": None}
    recipe = make_recipe("", data=data, training={"steps": 2, "validate_every": 2})
    model = ulmus.load(fit_recipe(recipe, tmp_path / "run").folder)
    assert recipe.held_out("test", table("b.csv", 2)).scores(model)["sequences"] == 8
    with pytest.raises(DataError, match="c.csv has a step every 6 ms, but the model was trained with 2 ms"):
        recipe.held_out("test", table("c.csv", 6)).scores(model)
    with pytest.raises(
        DataError, match=r"sequence 0 in .*c.csv are not evenly spaced: .* expected steps of 2 ms"
    ):
        make_recipe("", data=data | {"validation": [str(tmp_path / "c.csv")]}).problem()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"targets": [5.0] * 37 + [np.nan] + [1.0] * 42},
            "target of sequence 37 of .*data.npz .* is not finite",
        ),
        ({"targets": ["x"] * 80}, r"target of sequence \d+ of .*data.npz \(train\) is 'x'; expected numbers"),
    ],
)
def test_a_sequence_is_called_as_in_its_file(changed, message, tmp_path):
    recipe = make_recipe(saved(tmp_path, **{k: np.array(v) for k, v in changed.items()}), task="regression")
    with pytest.raises(DataError, match=message):
        recipe.problem()


def test_a_model_may_not_read_its_answer(tmp_path):
    with pytest.raises(ConfigError, match="'x' is among data.values and data.targets"):
        make_recipe("a.csv", data={"values": ["x", "y"], "targets": ["x"]}, task="step-regression")


def test_a_model_is_an_object_and_knows_its_task():
    for model, message in (
        (nn.LSTM, "is the class LSTM; expected a module"),
        (None, "is a NoneType; expected"),
    ):
        with pytest.raises(ConfigError, match=message):
            fit(model, sides(), task="classification", steps=1)
    with pytest.raises(ConfigError, match="no task was given"):
        fit("elm", sides(), steps=1)
    with pytest.raises(ConfigError, match=r"devices=2 .* share a run folder; expected folder="):
        fit("elm", sides(), task="classification", steps=1, devices=2)


def test_half_precision_and_texts_at_prediction(tmp_path):
    values, labels = sides()
    half = [value.astype(np.float16) for value in values]
    run = fit(SMALL, (half, labels), task="classification", steps=2, folder=tmp_path / "run")
    with pytest.raises(DataError, match="holds characters, but the model was trained with numbers"):
        run.predict(["left"])


def test_models_of_another_signature_are_refused():
    values, labels = sides()
    for model, message in [
        (nn.LSTM(2, 3), "expects time before batch; build it with batch_first=True"),
        (nn.LSTM(5, 3, batch_first=True), "reads 5 channels, but the data have 2"),
        (nn.Linear(2, 3), "returned Tensor|returned .* expected a pair y, state"),
        (nn.Conv1d(7, 3, 1), "cannot read"),
    ]:
        with pytest.raises(ConfigError, match=message):
            fit(model, (values, labels), task="classification", epochs=1)
    with pytest.raises(ConfigError, match=r"the data have 4 \(with missing: mask, a second one for each\)"):
        fit(ulmus.ELM(2, memory=3), (values, labels), task="classification", missing="mask")


def test_a_saved_predictor_comes_back_whole(tmp_path):
    model = Predictor(
        ulmus.ELM(4, 3, memory=4),
        "regression",
        answers=("a", "b"),
        channels=("x", "y"),
        masked=True,
        reading="mean",
    )
    model.input_mean[:] = torch.tensor([3.0, -1.0])
    again = ulmus.load(ulmus.save(model, tmp_path / "model.safetensors"))
    x = torch.randn(2, 7, 2)
    assert torch.equal(again(x), model(x))
    assert (again.answers, again.channels, again.reading, again.masked) == (
        ("a", "b"),
        ("x", "y"),
        "mean",
        True,
    )


def run_command(*words):
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return ended.value.code


def test_the_commands_treat_it_as_any_other_run(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(make_recipe("x", data={"train": ["nowhere.npz"]}).to_yaml())
    assert run_command("train", recipe, "--data.train", saved(tmp_path), "--run", "run") == 0
    told = capsys.readouterr()
    assert "ulmus evaluate run" in told.out
    assert (
        "48 for train, 16 for validation, 16 for test of sequences with 2 channels (x, y), a step"
        in " ".join(told.err.split())
    )
    assert run_command("evaluate", "run", "--json") == 0
    scores = json.loads(capsys.readouterr().out)
    recorded = json.loads((tmp_path / "run" / "evaluation" / "test.json").read_text())
    assert recorded.pop("named_from") == str(Path.cwd())
    assert scores == recorded
    assert scores["notes"] == []
    assert run_command("evaluate", "run", "--data", saved(tmp_path, "other.npz"), "--json") == 0
    assert json.loads(capsys.readouterr().out)["sequences"] == 80
    assert run_command("evaluate", "run", "--data", tmp_path / "data.npz", "--json") == 0
    (note,) = json.loads(capsys.readouterr().out)["notes"]
    assert note.endswith("data.npz is what it was trained on or chosen by: on other sequences expect worse")
    wide = saved(
        tmp_path,
        "wide.npz",
        values=np.zeros((80, 9, 3)),
        lengths=np.full(80, 9),
        channels=np.array(["x", "y", "z"]),
    )
    assert run_command("evaluate", "run", "--data", wide) == 3
    assert "has 3 channels (x, y, z), but the model was trained with 2 (x, y)" in " ".join(
        capsys.readouterr().err.split()
    )
    assert run_command("report", "run") == 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Test accuracy" in page


def test_a_subject_on_both_sides_is_refused_for_files_too(tmp_path):
    recipe = make_recipe(
        saved(tmp_path),
        data={"validation": [str(saved(tmp_path, "v.npz", targets=sides()[1][::-1]))], "test": None},
    )
    with pytest.raises(DataError, match=r"subject 0 is in train and in validation \(.*v.npz\)"):
        fit_recipe(recipe, tmp_path / "run")


def test_data_that_changed_are_noticed_on_resuming(tmp_path):
    recipe = make_recipe(saved(tmp_path))
    fit_recipe(recipe, tmp_path / "run", stop=lambda: True)
    saved(
        tmp_path,
        values=np.concatenate(sides(80, 5)[0])[: len(np.concatenate(sides()[0]))],
        lengths=np.array([len(v) for v in sides()[0]]),
    )
    with pytest.raises((CheckpointError, DataError)):
        fit_recipe(Run(tmp_path / "run").recipe(), tmp_path / "run", resume=True)


def test_words_for_the_baselines(tmp_path):
    recipe = make_recipe(saved(tmp_path)).to_yaml()
    (tmp_path / "mine.yaml").write_text(recipe)
    for kind in ("lstm", "chrono-lstm", "lstm-network", "tcn", "transformer", "elm-network", "elm-layer"):
        problem = load_recipe(tmp_path / "mine.yaml", {"model.kind": kind}).problem()
        batch = next(problem.batches(0, 1, (0, 1)))
        assert problem.loss(problem.model, batch, torch.device("cpu")).isfinite().all()


def test_a_sweep_ranks_runs_by_the_score_of_the_task_and_a_study_tables_them(tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text(
        make_recipe(saved(tmp_path), training={"steps": 6, "validate_every": 3}).to_yaml()
    )
    search = {"name": "mine", "recipe": str(tmp_path / "mine.yaml"), "score": "balanced_accuracy", "runs": 3}
    (tmp_path / "search.yaml").write_text(json.dumps(search | {"search": {"model.memory": [2, 4]}}))
    assert run_command("sweep", tmp_path / "search.yaml", "--out", tmp_path / "sweep") == 0
    ranked = [run["score"] for run in json.loads((tmp_path / "sweep" / "sweep.json").read_text())["runs"]]
    assert ranked == sorted(ranked, reverse=True)
    grid = {
        "title": "Mine",
        "recipes": [str(tmp_path / "mine.yaml")],
        "models": ["elm"],
        "key": "model.memory",
        "values": [2, 3],
    }
    text = (tmp_path / "mine.yaml").read_text() + "models: {elm: {}}\n"
    (tmp_path / "mine.yaml").write_text(text)
    (tmp_path / "study.yaml").write_text(
        json.dumps({"name": "s", "title": "S", "seeds": 1, "grids": {"size": grid}})
    )
    assert run_command("reproduce", tmp_path / "study.yaml", "--out", tmp_path / "study") == 0
    runs = json.loads((tmp_path / "study" / "results.json").read_text())["runs"]
    assert [(run["row"], run["scores"]["test"]["sequences"]) for run in runs] == [(2, 16), (3, 16)]
    assert (
        f"{runs[0]['scores']['test']['accuracy']:.4f} (1)" in (tmp_path / "study" / "tables.md").read_text()
    )
