"""From any surrogate and trials to a page."""

import json

import numpy as np
import pytest
import torch

import ulmus
import ulmus.baselines
from ulmus.cli import main
from ulmus.report import ScoreRow, write_report
from ulmus.report.classifier_content import classifier_content
from ulmus.report.page import format_value
from ulmus.report.surrogate_content import auc_remark, examples_worth_showing, surrogate_content
from ulmus.training.fit import fit
from ulmus.training.kinds.labelled import ClassifierRecipe
from ulmus.trials import open_trials


def test_a_model_without_synapses_gets_a_page_with_what_there_is(integrator_store, tmp_path):
    torch.manual_seed(0)
    surrogate = ulmus.Surrogate(ulmus.baselines.LSTM(12, 2, memory=3))
    content = surrogate_content(surrogate, open_trials((str(integrator_store),)), None, "Random weights.")
    assert content.learned is None
    assert "come without a run folder" in content.learning_curve_absent
    assert content.memory_encoding is None
    assert content.failures.recorded_count.sum() > 0
    assert content.subtitle.startswith("A model of kind LSTM with 200 trainable parameters")
    assert {example.unscored_ms for example in content.examples} == {500.0}
    assert {moment.unscored_ms for moment in content.moments} <= {0.0}
    page = write_report(content, tmp_path / "report.html").read_text()
    assert "Random weights. Whole trials from rest, first 500 ms of each not scored." in page
    assert "The first 500 ms (grey) are not scored" in page
    assert "What it learned" not in page
    assert '"traces"' in page
    assert '"timescales"' not in page


def test_a_neuron_gets_a_page_with_its_time_constants(integrator_store):
    surrogate = ulmus.Surrogate(ulmus.ELM(12, 2, memory=3, tau_memory_ms=(2.0, 32.0)))
    content = surrogate_content(surrogate, open_trials((str(integrator_store),)), None, "Random weights.")
    assert content.subtitle.startswith("An Expressive Leaky Memory neuron")
    assert content.memory_encoding.signals[:3] == ("excitation", "inhibition", "voltage")
    torch.testing.assert_close(
        torch.as_tensor(content.learned.tau_memory_ms), torch.tensor([2.0, 8.0, 32.0]), rtol=1e-4, atol=1e-3
    )


def test_the_page_of_a_classifier_holds_what_its_run_folder_holds(tones, tmp_path, capsys):
    recipe = {"name": "tones", "model": {"kind": "elm-network", "memory": 3, "tau_memory_ms": [20, 500]}}
    recipe |= {"data": {"kind": "digits", "folder": str(tones), "bin_ms": 50, "validation_share": 0.5}}
    recipe |= {
        "training": {"steps": 6, "validate_every": 3, "log_every": 2, "batch": 20, "learning_rate": 0.01}
    }
    run = fit(ClassifierRecipe.model_validate(recipe), tmp_path / "run")

    def report(*more):
        with pytest.raises(SystemExit) as ended:
            main(["report", str(run.folder), *more])
        return ended.value.code, capsys.readouterr().err

    assert report() == (0, "")
    page = run.report_file.read_text()
    assert f"Run ulmus evaluate {run.folder}" in page
    assert '"confusion"' not in page
    with pytest.raises(SystemExit):
        main(["evaluate", str(run.folder)])
    capsys.readouterr()
    assert report() == (0, "")
    test = json.loads(run.evaluation_file("test").read_text())
    assert f">{format_value(ScoreRow('', 100 * test['accuracy']))}<" in run.report_file.read_text()
    content = classifier_content(ulmus.load(run.folder), run)
    assert content.title == f"tones in {run.folder.parent.name}/run"
    assert content.confusion.counts.tolist() == test["confusion"]
    validations = [line["validation"] for line in run.metrics() if "validation" in line]
    assert content.learning_curve.validation["accuracy (%)"].tolist() == [
        100 * scores["accuracy"] for scores in validations
    ]
    assert content.learning_curve.best_step == ulmus.load(run.folder).card["step"]
    assert [(tau.label, len(tau.memory_ms)) for tau in content.time_constants] == [
        ("layer 1", 3),
        ("layer 2", 3),
    ]
    assert report("--data", "somewhere")[0] == 2


def test_moments_are_cut_from_their_trials(integrator_store):
    torch.manual_seed(0)
    surrogate = ulmus.Surrogate(ulmus.ELM(12, 2, memory=3))
    trials = open_trials((str(integrator_store),))
    content = surrogate_content(surrogate, trials, None, "Random weights.")
    assert len(content.moments) >= 2
    for moment, place in zip(content.moments, content.failures.moments, strict=True):
        trial = trials.trial(place.trial)
        assert moment.label.endswith(f"trial {place.trial}")
        start, stop = int(place.start_ms), int(place.stop_ms)
        assert stop - start == 300
        assert (moment.voltage_mv == trial.voltage_mv[start:stop, 0]).all()
        assert len(moment.event_time_ms) == len(trials.window(place.trial, start, stop).event_input)
        inside = (trial.spike_time_ms >= start) & (trial.spike_time_ms < stop)
        assert moment.spike_times_ms.tolist() == trial.spike_time_ms[inside].tolist()


def test_a_shipped_neuron_gives_the_page_its_name(integrator_store):
    surrogate = ulmus.Surrogate(ulmus.ELM(12, 2, memory=3), card={"name": "a <neuron>"})
    content = surrogate_content(surrogate, open_trials((f"{integrator_store}[:1]",)), None, "Random weights.")
    assert content.title == "a <neuron>"
    assert content.memory_encoding is None  # one trial tells nothing of it


def test_the_first_example_has_spikes_if_any_trial_has():
    assert examples_worth_showing(np.array([0, 0, 0, 0, 0, 2]))[0] == 5
    assert examples_worth_showing(np.array([0, 3]))[0] == 1
    assert set(examples_worth_showing(np.zeros(3, dtype=int))) <= {0, 1, 2}
    assert len(examples_worth_showing(np.array([0] * 40 + [1, 2, 3]))) == 3


def test_a_neuron_without_a_card_is_called_as_the_caller_says(integrator_store):
    surrogate = ulmus.Surrogate(ulmus.ELM(12, 2, memory=3))
    content = surrogate_content(
        surrogate, open_trials((f"{integrator_store}[:1]",)), None, "Random weights.", name="mine"
    )
    assert content.title == "mine"


def test_an_auc_of_no_working_fit_is_remarked_on():
    assert auc_remark({"auc": 0.98, "spikes": 500}) == ()
    assert auc_remark({"auc": None, "spikes": 0}) == ()
    (worse,) = auc_remark({"auc": 0.23, "spikes": 500})
    assert "0.23 is worse than guessing" in worse
    assert "signs of the inputs" in worse
    assert "uncertain" not in worse
    (hardly,) = auc_remark({"auc": 0.52, "spikes": 4})
    assert "hardly better than guessing" in hardly
    assert "only 4 spikes" in hardly
