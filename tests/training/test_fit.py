"""Training: it learns, it resumes bit for bit, its best is the best, it stops on nonsense."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from training_examples import make_recipe, same, weights

import ulmus
from ulmus.errors import CheckpointError, ConfigError, DataError, DivergedError
from ulmus.evaluation.scores import evaluate, seen_note
from ulmus.teachers import IntegrateAndFire
from ulmus.training.fit import fit
from ulmus.training.kinds.trials import SurrogateProblem, SurrogateRecipe, SurrogateSettings
from ulmus.training.loop import Loop, learning_rate
from ulmus.training.models import PointNeuronModel
from ulmus.training.run import Run
from ulmus.trials import open_trials

GIVEN = SurrogateSettings(clip_mv=-55.0, offset_mv=-67.7, scale_per_mv=0.1)


def with_data(recipe: SurrogateRecipe, **data) -> SurrogateRecipe:
    return recipe.model_copy(update={"data": recipe.data.model_copy(update=data)})


def test_an_interrupted_run_ends_as_if_it_had_never_stopped(integrator_store, tmp_path):
    recipe = make_recipe(integrator_store)
    whole = fit(recipe, tmp_path / "whole")
    stops = iter([False] * 23 + [True] + [False] * 12 + [True] + [False] * 1000)
    folder = tmp_path / "interrupted"
    fit(recipe, folder, stop=lambda: next(stops))
    assert not Run(folder).finished()
    fit(recipe, folder, resume=True, stop=lambda: next(stops))
    assert Run(folder).load_state()["position"]["step"] == 37
    resumed = fit(recipe, folder, resume=True)
    assert resumed.finished()
    assert same(weights(resumed), weights(whole))
    assert resumed.metrics_file.read_text() == whole.metrics_file.read_text()
    assert resumed.best_file.read_bytes() == whole.best_file.read_bytes()


def test_a_killed_process_resumes_from_its_last_checkpoint(integrator_store, tmp_path):
    recipe = make_recipe(integrator_store)
    whole = fit(recipe, tmp_path / "whole")
    file = tmp_path / "recipe.yaml"
    file.write_text(recipe.to_yaml())
    command = [sys.executable, "-m", "ulmus", "train", str(file), "--run", str(tmp_path / "killed")]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    killed = Run(tmp_path / "killed")
    deadline = time.monotonic() + 60
    while not killed.state_file.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    fit(recipe, killed.folder, resume=True)
    assert same(weights(killed), weights(whole))
    assert killed.metrics_file.read_text() == whole.metrics_file.read_text()


def test_workers_do_not_change_the_result(integrator_store, tmp_path):
    recipe = make_recipe(integrator_store, steps=6, validate_every=6)
    alone = fit(recipe, tmp_path / "alone")
    helped = recipe.model_copy(update={"data": recipe.data.model_copy(update={"workers": 2})})
    assert same(weights(alone), weights(fit(helped, tmp_path / "helped")))


def test_a_seed_fixes_everything_and_matters(integrator_store, tmp_path):
    first, again, *others = (
        weights(
            fit(make_recipe(integrator_store, steps=5).model_copy(update={"seed": seed}), tmp_path / name)
        )
        for name, seed in [
            ("first", 1),
            ("again", 1),
            ("other", 2),
            ("a date", 20261129),
            ("last", 2**63 - 1),
        ]
    )
    assert same(first, again)
    assert not any(same(first, other) for other in others)


def test_it_learns_a_leaky_integrator(integrator_store, tmp_path):
    run = fit(make_recipe(integrator_store, steps=600, validate_every=100), tmp_path / "run")
    scores = evaluate(ulmus.load(run.folder), open_trials(f"{integrator_store}[12:]"))
    assert scores["auc"] > 0.9
    assert scores["explained_variance_percent"] > 50


def test_the_best_checkpoint_is_really_the_best(integrator_store, tmp_path):
    """When later steps ruin the neuron, the best is not the last, and scores as it was logged."""
    recipe = make_recipe(integrator_store, steps=80)
    steps = iter(range(1, 100))
    run = fit(recipe, tmp_path / "run", stop=lambda: next(steps) == 60)
    state = run.load_state()
    state["model"]["neuron.readout.bias"] += 3.0
    run.save_state(state)
    fit(recipe, run.folder, resume=True)
    validations = [
        line["validation"] | {"step": line["step"]} for line in run.metrics() if "validation" in line
    ]
    best = min(validations, key=lambda scores: scores["loss"])
    surrogate = ulmus.load(run.folder)
    assert surrogate.card["step"] == best["step"] < 80 == validations[-1]["step"]
    again = evaluate(surrogate, open_trials(f"{integrator_store}[12:]"))
    assert again["rmse_mv"] == pytest.approx(best["rmse_mv"], rel=1e-6)
    assert surrogate.spike_threshold == best["spike_threshold"]


def test_burn_in_does_not_count(integrator_store, tmp_path):
    from ulmus.training.kinds.trials import objective
    from ulmus.trials import Windows

    batch = Windows(open_trials(str(integrator_store)), 100, 4, 0, 10).batch(0, 0)
    outputs = torch.randn(4, 100, 2)
    spoiled = outputs.clone()
    spoiled[:, :30] = 1e9
    surrogate = ulmus.Surrogate(ulmus.ELM(12, 2, memory=3))
    losses = [objective(value, batch, GIVEN, surrogate, 30).total for value in (outputs, spoiled)]
    assert losses[0] == losses[1]
    error = outputs[:, 30:, 1] - (batch.voltage_mv[:, 30:, 0].clamp(max=-55.0) + 67.7) / 10
    p = torch.sigmoid(outputs[:, 30:, 0].double())
    target = batch.spikes[:, 30:].double()
    entropy = -(target * p.log() + (1 - target) * (1 - p).log()).mean()
    assert losses[0].item() == pytest.approx(
        0.5 * entropy.item() + 0.5 * error.square().mean().item(), rel=1e-5
    )


def test_a_loss_that_is_not_finite_stops_with_step_parameter_and_checkpoint(integrator_store, tmp_path):
    recipe = make_recipe(integrator_store, clip_norm=1.0)
    run = fit(recipe, tmp_path / "run", stop=Run(tmp_path / "run").state_file.exists)
    state = run.load_state()
    state["model"]["neuron.mlp.0.weight"][0, 0] = float("nan")
    run.save_state(state)
    with pytest.raises(DivergedError, match=r"step 12: .*neuron\.mlp\.0\.weight.*state\.pt.*learning_rate"):
        fit(recipe, run.folder, resume=True)
    assert "step 12" in run.diverged()


def test_gradients_too_long_for_squares_of_single_precision_are_clipped_like_others(
    integrator_store, tmp_path
):
    recipe = make_recipe(integrator_store, steps=12, clip_norm=1.0)
    weights = []
    for weight in (1e10, 1e24):  # the direction is the same, and so long that it is clipped in every step
        loss = GIVEN.model_copy(update={"spike_weight": 0.0, "voltage_weight": weight})
        run = fit(recipe.model_copy(update={"surrogate": loss}), tmp_path / f"{weight:g}")
        weights.append(run.load_state()["model"])
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-3, atol=1e-4)


def test_steps_with_long_gradients_are_left_out_and_counted(integrator_store, tmp_path):
    recipe = make_recipe(integrator_store, steps=14)
    free = fit(recipe, tmp_path / "free")
    bound = fit(make_recipe(integrator_store, steps=14, skip_norm=1e6), tmp_path / "bound")
    for name, value in free.load_state()["model"].items():
        assert torch.equal(bound.load_state()["model"][name], value)
    assert [line["skipped"] for line in bound.metrics() if "learning_rate" in line] == [0, 0]

    still = fit(make_recipe(integrator_store, steps=14, skip_norm=1e-9), tmp_path / "still")
    begun = SurrogateProblem(recipe).model.state_dict()
    for name, value in still.load_state()["model"].items():
        assert torch.equal(begun[name], value)
    assert [line["skipped"] for line in still.metrics() if "learning_rate" in line] == [7, 14]


@pytest.mark.parametrize("clip_norm", [None, 1e-7, 0.01])
def test_where_all_gradients_are_long_they_are_shortened_and_taken(
    integrator_store, tmp_path, monkeypatch, clip_norm
):
    recipe = make_recipe(integrator_store, steps=30, skip_norm=1e-6, clip_norm=clip_norm, optimizer="adam")
    taken = []
    step = torch.optim.AdamW.step

    def recorded(optimizer, *arguments):
        gradients = [value.grad for group in optimizer.param_groups for value in group["params"]]
        taken.append(float(torch.nn.utils.get_total_norm([g for g in gradients if g is not None])))
        return step(optimizer, *arguments)

    monkeypatch.setattr(torch.optim.AdamW, "step", recorded)
    run = fit(recipe, tmp_path / "run")
    assert run.load_state()["position"]["skipped"] == 19
    assert taken == pytest.approx([1e-7 if clip_norm == 1e-7 else 1e-6] * 11, rel=1e-3)


def test_gradients_that_are_never_finite_end_a_run(integrator_store, tmp_path, monkeypatch):
    monkeypatch.setattr(Loop, "_gradient_norm", lambda loop: float("inf"))
    with pytest.raises(
        DivergedError,
        match=r"^step 20: the last 20 gradients were not finite; .*learning_rate",
    ):
        fit(make_recipe(integrator_store, steps=30, skip_norm=1.0), tmp_path / "run")


def test_a_gradient_that_is_not_finite_among_long_ones_is_left_out(integrator_store, tmp_path, monkeypatch):
    norms = iter([50.0] * 25 + [float("inf")] + [50.0] * 4)
    monkeypatch.setattr(Loop, "_gradient_norm", lambda loop: next(norms))
    run = fit(make_recipe(integrator_store, steps=30, skip_norm=1.0), tmp_path / "run")
    assert run.load_state()["position"]["skipped"] == 20


def test_single_steps_are_left_out_for_as_long_as_there_are_others(integrator_store, tmp_path, monkeypatch):
    every_second = iter([float("nan"), 0.1] * 30)
    monkeypatch.setattr(Loop, "_gradient_norm", lambda loop: next(every_second))
    recipe = make_recipe(integrator_store, steps=60, skip_norm=1.0, clip_norm=1.0)
    run = fit(recipe, tmp_path / "run")
    assert run.finished()
    assert [line["skipped"] for line in run.metrics() if "learning_rate" in line][-1] == 28
    assert run.load_state()["position"]["skipped"] == 30


def test_a_run_that_began_before_steps_were_counted_as_left_out_goes_on(integrator_store, tmp_path):
    recipe = make_recipe(integrator_store, steps=20)
    whole = fit(recipe, tmp_path / "whole")
    stops = iter([False] * 9 + [True] + [False] * 20)
    run = fit(recipe, tmp_path / "parts", stop=lambda: next(stops))
    state = run.load_state()
    del state["position"]["skipped"], state["position"]["skipped_in_row"]
    run.save_state(state)
    fit(recipe, run.folder, resume=True)
    for name, value in whole.load_state()["model"].items():
        assert torch.equal(run.load_state()["model"][name], value)


@pytest.mark.parametrize("validate_every", [1, 20])
def test_weights_that_explode_are_named_before_or_after_a_validation(
    validate_every, integrator_store, tmp_path
):
    recipe = make_recipe(integrator_store, steps=20, validate_every=validate_every, learning_rate=1e30)
    where = "validation after step 1: predictions" if validate_every == 1 else "step 2: loss"
    with pytest.raises(DivergedError, match=f"^{where}.* not finite.*learning_rate"):
        fit(recipe, tmp_path / "run")
    run = Run(tmp_path / "run")
    assert where in run.diverged()
    assert not run.finished()
    assert not run.best_file.exists()


def test_a_folder_holds_one_run(integrator_store, tmp_path):
    recipe = make_recipe(integrator_store, steps=3)
    with pytest.raises(CheckpointError, match="no run to resume"):
        fit(recipe, tmp_path / "run", resume=True)
    fit(recipe, tmp_path / "run")
    with pytest.raises(ConfigError, match="--resume"):
        fit(recipe, tmp_path / "run")
    with pytest.raises(ConfigError, match=r"recipe differs .*: seed was 0 and is 5\. "):
        fit(recipe.model_copy(update={"seed": 5}), tmp_path / "run", resume=True)


def test_other_data_under_the_same_name_are_noticed(integrator_store, tmp_path):
    import shutil

    store = tmp_path / "store"
    shutil.copytree(integrator_store, store)
    recipe = make_recipe(store, steps=20)
    fit(recipe, tmp_path / "run", stop=lambda: True)
    shard = sorted(store.glob("*.h5"))[0]
    index = json.loads((store / "store.json").read_text())
    index["shards"][0]["sha256"] = "0" * 64
    (store / "store.json").write_text(json.dumps(index))
    assert shard.exists()
    with pytest.raises(CheckpointError, match="other data: train"):
        fit(recipe, tmp_path / "run", resume=True)


def test_damaged_state_is_reported(integrator_store, tmp_path):
    recipe = make_recipe(integrator_store, steps=20)
    run = fit(recipe, tmp_path / "run", stop=lambda: True)
    run.state_file.write_bytes(run.state_file.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="damaged"):
        fit(recipe, run.folder, resume=True)


def test_missing_data_are_named(tmp_path):
    with pytest.raises(DataError, match="nowhere"):
        fit(make_recipe(tmp_path / "nowhere"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_values_that_leave_nothing_to_learn_from(integrator_store, tmp_path):
    recipe = make_recipe(integrator_store)
    no_loss = recipe.model_copy(update={"data": recipe.data.model_copy(update={"burn_in_ms": 200})})
    with pytest.raises(ConfigError, match="burn_in_ms"):
        fit(no_loss, tmp_path / "run")
    training = recipe.training.model_copy(update={"accelerator": "abacus"})
    with pytest.raises(ConfigError, match="abacus"):
        fit(recipe.model_copy(update={"training": training}), tmp_path / "other")


def test_learning_rate_warms_up_and_follows_a_cosine():
    recipe = make_recipe("s", steps=110, warmup_steps=10, learning_rate=1.0).training
    assert learning_rate(4, recipe, 110) == pytest.approx(0.5)
    assert learning_rate(10, recipe, 110) == pytest.approx(1.0)
    assert learning_rate(60, recipe, 110) == pytest.approx(0.5)
    assert learning_rate(110, recipe, 110) == pytest.approx(0.0)


def test_cosine_ends_at_its_final_share():
    recipe = make_recipe("s", steps=110, warmup_steps=10, learning_rate=2.0, final_rate=0.2).training
    assert learning_rate(4, recipe, 110) == pytest.approx(1.0)
    assert learning_rate(10, recipe, 110) == pytest.approx(2.0)
    assert learning_rate(60, recipe, 110) == pytest.approx(1.2)
    assert learning_rate(110, recipe, 110) == pytest.approx(0.4)


def test_a_constant_rate_has_no_final_share():
    with pytest.raises(ValueError, match=r"final_rate=0.2 changes nothing"):
        make_recipe("s", final_rate=0.2, schedule="constant")


@pytest.mark.slow
def test_two_processes_train_like_one(integrator_store, tmp_path):
    """The same loss to rounding, since together they do the same batches."""
    recipe = make_recipe(integrator_store, steps=6, log_every=1, validate_every=6)
    whole = fit(recipe, tmp_path / "one")
    shared = recipe.model_copy(update={"training": recipe.training.model_copy(update={"devices": 2})})
    file = tmp_path / "recipe.yaml"
    file.write_text(shared.to_yaml())
    subprocess.run(
        [sys.executable, "-m", "ulmus", "train", str(file), "--run", str(tmp_path / "two")], check=True
    )
    for one, two in zip(whole.metrics(), Run(tmp_path / "two").metrics(), strict=True):
        if "loss" in one:
            assert two["loss"] == pytest.approx(one["loss"], rel=1e-4)


def test_the_readout_begins_with_the_log_odds_of_a_spike(integrator_store):
    recipe = make_recipe(integrator_store)
    usual = SurrogateProblem(recipe).model
    recipe = recipe.model_copy(update={"surrogate": SurrogateSettings(spike_log_odds=-6.0)})
    rare = SurrogateProblem(recipe).model
    silence = torch.zeros(1, 1, rare.neuron.inputs)
    difference = usual(silence) - rare(silence)
    bias = usual.neuron.readout.bias[0].item()
    torch.testing.assert_close(difference, torch.tensor([[[bias + 6.0, 0.0]]]))


def test_log_odds_need_a_readout_to_begin_with_them(integrator_store):
    recipe = make_recipe(integrator_store)
    update = {"surrogate": SurrogateSettings(spike_log_odds=-6.0), "model": PointNeuronModel()}
    with pytest.raises(ConfigError, match="PointNeuron has no linear readout"):
        SurrogateProblem(recipe.model_copy(update=update))


def test_scores_say_when_trials_were_not_unseen(integrator_store, tmp_path):
    recipe = make_recipe(integrator_store, steps=2, validate_every=2)
    first = fit(recipe, tmp_path / "first")
    surrogate = ulmus.load(first.folder)

    def seen(trials):
        scores = evaluate(surrogate, open_trials(f"{integrator_store}{trials}"), resamples=0)
        return scores.get("seen"), seen_note(scores)

    assert seen("[10:14]") == (
        {"train": 2, "validation": 2},
        "2 of the trials were trained on and 2 of the trials chose the checkpoint and the spike threshold: on unseen "
        "trials expect worse.",
    )
    assert seen("[14:]")[0] == {"validation": 2}
    narrow = with_data(recipe, train=(f"{integrator_store}[2:4]",), validation=(f"{integrator_store}[4:6]",))
    surrogate = ulmus.load(fit(narrow, tmp_path / "narrow").folder)
    assert seen("[6:]") == (None, "")
    again = narrow.model_copy(update={"start_from": str(first.folder)})
    surrogate = ulmus.load(fit(again, tmp_path / "again").folder)
    assert seen("[6:]")[0] == {"train": 6, "validation": 4}


def test_validation_trials_cannot_be_trained_on(integrator_store, tmp_path):
    recipe = make_recipe(integrator_store)
    with pytest.raises(ConfigError, match=r"trial 11 of .* is in data.train and in data.validation"):
        fit(with_data(recipe, validation=(f"{integrator_store}[11:]",)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_target_of_the_voltage_is_chosen_from_the_training_trials(tmp_path):
    store = ulmus.simulate(IntegrateAndFire(), trials=4, seconds=1.0, out=tmp_path / "store", workers=1)
    values = make_recipe(store.path).model_dump() | {"name": "chosen"}
    values["data"] |= {"train": f"{store.path}[:3]", "validation": f"{store.path}[3:]"}
    recipe = SurrogateRecipe.model_validate(values)
    run = fit(recipe.with_training(steps=1), tmp_path / "run")
    surrogate = ulmus.load(run.folder)
    voltage = np.concatenate([store.trial(index).voltage_mv[:, 0] for index in range(3)])
    assert surrogate.card["voltage_cut_share"] == (voltage > surrogate.units.clip_mv).mean() < 0.05
    assert run.recipe().surrogate.clip_mv == "auto"
    assert f"cut off at {surrogate.units.clip_mv:g} mV (chosen" in SurrogateProblem(recipe).remarks[0]


def test_a_clip_below_the_voltage_is_refused_with_one_that_fits(tmp_path):
    store = ulmus.simulate(IntegrateAndFire(), trials=2, seconds=0.6, out=tmp_path / "store", workers=1)
    data = {"train": f"{store.path}[:1]", "validation": f"{store.path}[1:]", "window_ms": 300}
    values = {"name": "cut", "model": {"memory": 3}, "data": data, "surrogate": {"clip_mv": -90.0}}
    with pytest.raises(ConfigError, match=r"clip_mv=-90 cuts off 100 % .* --surrogate.clip_mv -"):
        fit(SurrogateRecipe.model_validate(values), tmp_path / "run")
    assert not (tmp_path / "run").exists()
