"""Spikes alone, voltage alone, gaps and trials of different length: scored, fitted and shown for what there is."""

import numpy as np
import pytest
import torch
from partial_trials import spikes_alone, voltage_alone, with_gaps
from sklearn.metrics import roc_auc_score
from training_examples import make_recipe

import ulmus
from ulmus.cli.evaluate import _what
from ulmus.errors import DataError
from ulmus.evaluation.predictions import PROTOCOLS, predict
from ulmus.evaluation.scores import score, scores_of_resamples
from ulmus.teachers import IntegrateAndFire
from ulmus.training import fit
from ulmus.training.kinds.trials import SurrogateSettings, objective
from ulmus.trials import Windows, open_trials
from ulmus.trials.voltage_range import site_voltage, voltage_range

TRIALS, STEPS, SKIP = 14, 800, 150


@pytest.fixture(scope="module")
def masks() -> np.ndarray:
    """The shortest trial has 300 steps, one of which half does not count."""
    recorded = np.ones((TRIALS, STEPS), dtype=bool)
    recorded[1::2, 500:620] = False
    recorded[3, 300:] = False
    recorded[12, 650:] = False
    return recorded


@pytest.fixture(scope="module")
def stores(tmp_path_factory, masks):
    root = tmp_path_factory.mktemp("partial")
    whole = ulmus.simulate(
        IntegrateAndFire(), trials=TRIALS, seconds=STEPS / 1000, out=root / "whole", workers=1
    )
    return {
        "whole": whole,
        "spikes": spikes_alone(whole, root / "spikes"),
        "voltage": voltage_alone(whole, root / "voltage"),
        "gaps": with_gaps(whole, root / "gaps", masks),
    }


@pytest.fixture(scope="module")
def runs(stores, tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return {name: fit(make_recipe(store.path, steps=20), root / name) for name, store in stores.items()}


@pytest.fixture(scope="module")
def surrogate(stores):
    torch.manual_seed(0)
    header = stores["whole"].header
    return ulmus.Surrogate(ulmus.ELM(header.inputs, 2, memory=5), spike_threshold=0.5)


def test_only_what_was_recorded_is_scored(stores, masks, surrogate):
    trials, protocol = stores["gaps"], PROTOCOLS["stream"].fitted_to(stores["gaps"])
    predictions = predict(surrogate, trials, protocol)
    counted = masks.copy()
    counted[:, :SKIP] = False
    spikes = np.zeros(masks.shape, dtype=bool)
    voltage = np.stack([stores["whole"].trial(k).voltage_mv[:, 0].clip(max=-55) for k in range(TRIALS)])
    for k in range(TRIALS):
        spikes[k, ulmus.trials.spike_bins(stores["whole"].trial(k).spike_time_ms, 1.0, STEPS)] = True
    found = score(predictions, protocol, 1.0)
    assert found["spikes"] == spikes[counted].sum() < spikes[:, SKIP:].sum()
    assert found["auc"] == pytest.approx(roc_auc_score(spikes[counted], predictions.logit[counted]))
    error = predictions.voltage_mv[counted][:, 0].astype(float) - voltage[counted]
    assert found["rmse_mv"] == pytest.approx(np.sqrt((error**2).mean()))
    once = scores_of_resamples(predictions, protocol, 1.0)(np.ones(TRIALS, dtype=np.int64))
    for key in ("auc", "tpr_at_fpr_01", "rmse_mv", "mae_mv", "explained_variance_percent"):
        assert once[key] == pytest.approx(found[key]), key
    assert once["rate_hz"] == pytest.approx(1000 * spikes[counted].sum() / counted.sum())
    assert once["rmse_all_mv"] == pytest.approx(found["rmse_mv"])


def test_no_interval_between_spikes_spans_a_gap():
    from ulmus.evaluation.metrics import intervals_within

    known = np.ones((1, 100), dtype=bool)
    known[0, 40:50] = False
    times = [np.array([10.0, 30.0, 60.0, 65.0])]
    np.testing.assert_array_equal(intervals_within(times, known, 1.0)[0], [20.0, 5.0])


def test_the_loss_is_that_of_what_was_recorded(stores):
    batch = Windows(stores["gaps"], 200, 8, seed=3, batches_per_epoch=10, earliest_step=400)[0]
    assert batch.recorded is not None
    assert not batch.recorded.all()
    outputs = torch.randn(8, 200, 2, requires_grad=True)
    surrogate = ulmus.Surrogate(ulmus.ELM(12, 2, memory=3))
    found = objective(outputs, batch, SurrogateSettings(), surrogate, 50)
    found.total.backward()
    there = batch.recorded.clone()
    there[:, :50] = False
    assert outputs.grad is not None
    assert torch.equal(outputs.grad.ne(0).all(-1), there)
    spike = torch.nn.functional.binary_cross_entropy_with_logits(outputs[..., 0][there], batch.spikes[there])
    target = (batch.voltage_mv[..., 0][there].clamp(max=-55) + 67.7) / 10
    torch.testing.assert_close(found.spike, spike)
    torch.testing.assert_close(found.voltage, ((outputs[..., 1][there] - target) ** 2).mean())


def test_windows_begin_within_their_trial(stores, masks):
    windows = Windows(stores["gaps"], 400, 64, seed=1, batches_per_epoch=10, earliest_step=100)
    trial, start = windows.plan(0, 2)
    ends = np.array([np.flatnonzero(row)[-1] + 1 for row in masks])
    assert (start + 400 <= np.maximum(ends[trial], 400)).all()
    assert (start[trial == 3] == 0).all()  # shorter than the window, and than the first step allowed
    assert (start[trial != 3] >= 100).all()
    assert stores["gaps"].recorded_seconds() == pytest.approx(masks.sum() / 1000)


@pytest.mark.parametrize(("name", "absent"), [("spikes", "rmse"), ("voltage", "auc spike rate recall")])
def test_a_fit_of_one_answer_has_its_scores_and_no_others(stores, runs, name, absent):
    scores = ulmus.evaluate(runs[name].folder, f"{stores[name].path}[12:]", resamples=3)
    for part in absent.split():
        assert not [key for key in (*scores, *scores["intervals"]) if part in key.split("_")]
    assert scores["auc" if name == "spikes" else "rmse_mv"] is not None
    validation = ulmus.load(runs[name].folder).card["validation"]
    assert ("auc" in validation, "rmse_mv" in validation) == (name == "spikes", name == "voltage")


def test_a_fit_of_the_voltage_alone_never_spikes_and_is_saved_as_such(stores, runs):
    surrogate = ulmus.load(runs["voltage"].folder)
    assert (surrogate.spikes, surrogate.sites) == (False, ("soma",))
    inputs = torch.tensor(stores["whole"].header.input_sign, dtype=torch.float32).expand(1, 300, -1)
    prediction = surrogate.predict(inputs)
    assert not prediction.spike_times_ms[0].size
    assert float(prediction.spike_probability.max()) < 1e-12


def test_a_fit_of_one_answer_is_compared_where_that_was_recorded(stores, runs):
    both = ulmus.evaluate(runs["whole"].folder, f"{stores['spikes'].path}[12:]", resamples=0)
    assert "auc" in both
    assert "rmse_mv" not in both
    with pytest.raises(DataError, match="have voltage alone, but the neuron was fitted to spikes alone"):
        ulmus.evaluate(runs["spikes"].folder, stores["voltage"], resamples=0)
    with pytest.raises(DataError, match="no threshold can be chosen"):
        ulmus.evaluate(runs["voltage"].folder, stores["voltage"], threshold_on=stores["voltage"], resamples=0)


def test_a_voltage_missing_throughout_or_where_it_counts_has_no_scores(stores, runs, surrogate, tmp_path):
    from partial_trials import rewritten

    def until(step):
        def change(trial, _):
            voltage = trial.voltage_mv.copy()
            voltage[step:] = np.nan
            return trial._replace(voltage_mv=voltage, recorded=np.ones(STEPS, dtype=bool))

        return rewritten(stores["whole"], tmp_path / str(step), change, gaps=True)

    problem = make_recipe(stores["whole"].path, steps=20).problem()
    for step in (0, 300):
        store = until(step)
        scores = ulmus.evaluate(surrogate, store, resamples=3)
        assert scores.get("rmse_mv") is None
        assert scores["auc"] is not None
        problem.validation = store
        validated = problem.validate(surrogate)
        assert np.isfinite(problem.badness(validated))
        assert "RMSE" not in problem.note(validated)
    with pytest.raises(DataError, match="missing"):
        voltage_range(site_voltage(open_trials(tmp_path / "0")))


def test_the_drive_of_a_short_trial_is_that_of_its_own_time(stores):
    from ulmus.evaluation.failures import _drive

    mean, _ = _drive(stores["gaps"], 3, SKIP)
    trial, header = stores["gaps"].trial(3), stores["gaps"].header
    place = trial.event_step
    counted = (place >= SKIP) & (place < SKIP + 140)  # whole bins of 20 ms before step 300
    assert mean == pytest.approx(header.input_sign[trial.event_input[counted]].sum() / 140)


def test_the_report_shows_what_there_is(stores, runs, tmp_path):
    pages = {}
    for name, run in runs.items():
        page = ulmus.report(run.folder, f"{stores[name].path}[10:]", tmp_path / f"{name}.html")
        pages[name] = page.read_text(encoding="utf-8")
    assert "Membrane voltage" in pages["whole"]
    assert "Output spikes" in pages["whole"]
    assert "Membrane voltage" not in pages["spikes"]
    assert "Only spikes are compared" in pages["spikes"]
    assert "Spike detection" not in pages["voltage"]
    assert "Only the voltage is compared" in pages["voltage"]
    assert "% of the time was not recorded" in pages["gaps"]


def test_half_of_short_trials_is_scored(stores, surrogate):
    scores = ulmus.evaluate(surrogate, stores["whole"], resamples=0)
    assert scores["skipped_ms"] == 400.0
    other = scores | {"skipped_ms": 500.0}
    assert _what([scores]).endswith("whole trials from rest, first 400 ms of each not scored")
    assert _what([other, scores]).endswith("first 400 ms of each not scored; of some data 500 ms")
    assert PROTOCOLS["stream"].fitted_to(stores["gaps"]).skip_ms == SKIP
    predictions = predict(surrogate, stores["whole"], PROTOCOLS["stream"])
    assert scores["spikes"] == predictions.spikes[:, 400:].sum()


def test_what_a_store_with_gaps_must_not_hold(stores, masks, tmp_path):
    trial, header = stores["gaps"].trial(1), stores["gaps"].header
    wrong = {
        "spike_time_ms holds 550": trial._replace(spike_time_ms=np.array([550.0])),
        "recorded is missing": trial._replace(recorded=None),
        "recorded is false throughout": trial._replace(recorded=np.zeros(STEPS, dtype=bool)),
        "expected NaN in gaps": trial._replace(voltage_mv=np.zeros((STEPS, 1), dtype=np.float32)),
    }
    for message, one in wrong.items():
        with pytest.raises(DataError, match=message):
            ulmus.trials.validate(one, header, "here")
    with pytest.raises(DataError, match="expected finite numbers"):
        ulmus.trials.validate(trial._replace(recorded=None), stores["whole"].header, "here")
    joined = open_trials([str(stores["whole"].path), str(stores["gaps"].path)])
    assert joined.header.gaps
    assert joined.clip(0, 0, 10).recorded.all()
    assert not joined.clip(TRIALS + 1, 500, 510).recorded.any()
