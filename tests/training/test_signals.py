"""Answers beside the soma's voltage and spikes: another site, and signals with units of their own, from store to report."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from partial_trials import blanked, rewritten
from training_examples import make_recipe

import ulmus
from ulmus.cli import main
from ulmus.errors import ConfigError, DataError
from ulmus.training import fit
from ulmus.trials import Signal, open_trials
from ulmus.trials.header import LOGIT_SITE

CALCIUM = Signal("calcium", "mM")
REST_MM = 5e-5


def filtered(trial, header, tau_ms: float) -> np.ndarray:
    """What the input charges a leak with, which every answer here is made of."""
    drive = np.bincount(trial.event_step, header.input_sign[trial.event_input], minlength=header.steps)
    found, value = np.empty(header.steps), 0.0
    for step, charge in enumerate(drive):
        found[step] = value
        value = value * np.exp(-1 / tau_ms) + charge
    return found


def with_calcium(trials, path, **header):
    """Of some 1e-4 mM, and a dendrite that stays above what is a spike at the soma."""

    def change(trial, _):
        signal = REST_MM * (1 + 0.1 * filtered(trial, trials.header, 40.0))
        dendrite = 20 + filtered(trial, trials.header, 10.0)
        voltage = np.stack([trial.voltage_mv[:, 0], dendrite], axis=1).astype(np.float32)
        changed = trial._replace(voltage_mv=voltage, signals=signal.astype(np.float32)[:, None])
        if header.get("sites") == ():
            changed = changed._replace(voltage_mv=voltage[:, :0], spike_time_ms=np.empty(0))
        return changed

    return rewritten(trials, path, change, signals=(CALCIUM,), **({"sites": ("soma", "dendrite")} | header))


@pytest.fixture(scope="module")
def stores(integrator_store, tmp_path_factory):
    root, trials = tmp_path_factory.mktemp("signals"), open_trials(str(integrator_store))
    whole = with_calcium(trials, root / "whole")
    return {"whole": whole, "calcium": with_calcium(trials, root / "calcium", sites=(), spikes=False)}


@pytest.fixture(scope="module")
def runs(stores, tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    more = {"steps": 300, "validate_every": 150, "learning_rate": 2e-2}
    return {name: fit(make_recipe(store.path, **more), root / name) for name, store in stores.items()}


def test_a_store_keeps_them_and_says_their_units(stores, integrator_store):
    import h5py

    store = stores["whole"]
    assert ulmus.trials.Store(store.path).header.signals == (CALCIUM,)
    assert store.verify() == []
    assert store.info()["signals"] == ["calcium (mM)"]
    window, whole = store.window(3, 200, 300), store.trial(3)
    np.testing.assert_array_equal(window.signals, whole.signals[200:300])
    (file,) = list(store.path.glob("*.h5"))[:1]
    with h5py.File(file) as opened:
        assert list(opened["signals"].attrs["unit"]) == ["mM"]
    # A store without them is what it was before there were any.
    before = open_trials(str(integrator_store))
    assert "signals" not in before.header.to_json()
    assert before.trial(0).signals is None
    other = replace(store.header, signals=(Signal("calcium", "uM"),))
    assert store.header.differences(other, layout_only=True) == ["signals[0].unit: 'mM' != 'uM'"]


def test_what_is_wrong_with_a_signal_is_said(stores):
    trial, header = stores["whole"].trial(0), stores["whole"].header
    for message, values in {
        "signals is missing": None,
        "signals is float32 \\(1200,\\)": trial.signals[:, 0],
        "at step 7, signal 'calcium'; expected finite": np.where(
            np.arange(1200) == 7, np.float32(np.nan), np.float32(1)
        )[:, None],
    }.items():
        with pytest.raises(DataError, match=message):
            ulmus.trials.validate(trial._replace(signals=values), header, "here")
    with pytest.raises(ConfigError, match="distinct names of sites and signals"):
        replace(header, signals=(Signal("soma", "mM"),))
    with pytest.raises(ConfigError, match="without sites, signals and spikes"):
        replace(header, sites=(), signals=(), spikes=False)


def test_each_answer_is_learnt_on_a_scale_of_its_own(stores, runs):
    surrogate = ulmus.load(runs["whole"].folder)
    values = np.concatenate([stores["whole"].trial(k).signals[:, 0] for k in range(12)]).astype(float)
    (calcium,) = surrogate.signals
    assert calcium.offset == pytest.approx(np.median(values), rel=1e-3)
    assert calcium.scale == pytest.approx(1 / (3 * values.std()), rel=0.02)
    soma, dendrite = surrogate.site_units
    assert soma.clip_mv < -50 < 0 < dendrite.offset_mv < dendrite.clip_mv
    targets = surrogate.encode(
        torch.tensor([[-70.0, dendrite.clip_mv + 5]]), torch.tensor([[calcium.offset + 1 / calcium.scale]])
    )
    wanted = [
        (-70 - soma.offset_mv) * soma.scale_per_mv,
        (dendrite.clip_mv - dendrite.offset_mv) * dendrite.scale_per_mv,
        1.0,
    ]
    np.testing.assert_allclose(targets[0].numpy(), wanted, rtol=1e-5)
    losses = [line for line in runs["whole"].metrics() if "loss" in line]
    assert {"spike_loss", "voltage_loss", "signal_loss"} <= set(losses[0])
    assert losses[-1]["signal_loss"] < losses[0]["signal_loss"]


@pytest.mark.parametrize("name", ["whole", "calcium"])
def test_it_is_predicted_by_name_and_scored_in_its_unit(stores, runs, name, tmp_path):
    trained = ulmus.load(runs[name].folder)
    surrogate = ulmus.load(ulmus.save(trained, tmp_path / "neuron.safetensors"))
    assert (surrogate.signals, surrogate.site_units) == (trained.signals, trained.site_units)
    said, recorded = [], []
    for index in range(12, 16):
        trial = stores[name].trial(index)
        events = ulmus.trials.events_from_trials([trial], stores[name].header)
        prediction = surrogate.predict(events)
        assert list(prediction.signals) == ["calcium"]
        first = surrogate.predict(events.dense()[:, :700])
        rest = surrogate.predict(events.dense()[:, 700:], first.state)
        pieces = torch.cat([first.signals["calcium"], rest.signals["calcium"]], dim=1)
        torch.testing.assert_close(pieces, prediction.signals["calcium"], rtol=1e-3, atol=1e-8)
        said.append(prediction.signals["calcium"][0, 500:].double().numpy())
        recorded.append(trial.signals[500:, 0].astype(np.float64))
    error = np.concatenate(said) - np.concatenate(recorded)
    scores = ulmus.evaluate(surrogate, f"{stores[name].path}[12:]", resamples=3)
    found = scores["signals"]["calcium"]
    assert found["unit"] == "mM"
    assert found["rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-4)
    explained = 100 * (1 - error.var() / np.concatenate(recorded).var())
    assert found["explained_variance_percent"] == pytest.approx(explained, rel=1e-3)
    assert explained > 80
    assert ("auc" in scores, "rmse_mv" in scores) == (name == "whole", name == "whole")
    if name == "whole":
        assert scores["sites"]["dendrite"]["explained_variance_percent"] > 50


def test_it_is_in_the_table_and_in_the_report(stores, runs, capsys):
    for name, run in runs.items():
        for arguments in (
            ["evaluate", run.folder, "--data", f"{stores[name].path}[12:]"],
            ["report", run.folder],
        ):
            with pytest.raises(SystemExit, match="0"):
                main([str(part) for part in arguments])
        printed = capsys.readouterr().out
        assert "RMSE, mM, calcium" in printed
        assert "explained variance, %, calcium" in printed
        page = (run.folder / "report.html").read_text(encoding="utf-8")
        assert "RMSE, calcium" in page
        assert "calcium (mM)" in page
        assert ("Voltage, dendrite (mV)" in page) == (name == "whole")
        assert ("Only calcium is compared" in page) == (name == "calcium")


def test_auto_says_what_there_is(stores):
    from ulmus.training.automatic import chosen_for

    reasons = "\n".join(chosen_for(stores["calcium"].path, None).reasons)
    assert "signals: calcium in mM" in reasons
    assert "calcium alone, as spikes are not known" in reasons
    values = chosen_for(stores["whole"].path, None).values
    assert "clip_mv" not in values["surrogate"]  # every site has its own


def test_it_may_be_missing_in_gaps(stores, tmp_path):
    def change(trial, _):
        recorded = np.ones(1200, dtype=bool)
        recorded[600:700] = False
        signals = trial.signals.copy()
        signals[~recorded] = np.nan
        signals[800:820] = np.nan
        return blanked(trial, recorded)._replace(signals=signals)

    store = rewritten(stores["whole"], tmp_path / "gaps", change, gaps=True)
    run = fit(make_recipe(store.path, steps=20), tmp_path / "run")
    scores = ulmus.evaluate(run.folder, f"{store.path}[12:]", resamples=0)
    assert np.isfinite(scores["signals"]["calcium"]["rmse"])


def test_other_units_are_refused_and_no_answer_in_common_too(stores, runs, tmp_path):
    header = {"signals": (Signal("calcium", "uM"),)}
    other = rewritten(stores["whole"], tmp_path / "other", lambda trial, _: trial, **header)
    with pytest.raises(DataError, match="calcium in uM, but the neuron was fitted to it in mM"):
        ulmus.evaluate(runs["whole"].folder, other)
    alone = rewritten(
        stores["whole"], tmp_path / "spikes", lambda trial, _: trial._replace(voltage_mv=trial.voltage_mv[:, :0], signals=None),
        sites=(), signals=(),
    )  # fmt: skip
    with pytest.raises(DataError, match="spikes alone, but the neuron was fitted to calcium alone"):
        ulmus.evaluate(runs["calcium"].folder, alone)


def test_labels_hold_it_too(runs, tmp_path):
    neuron = ulmus.teachers.IntegrateAndFire()
    units = [ulmus.neuron.SignalUnits("calcium", "mM", REST_MM, 2e4)]
    surrogate = ulmus.Surrogate(ulmus.ELM(len(neuron.input_sign), 3, memory=4), signals=units)
    labels = ulmus.label(surrogate, neuron, trials=2, seconds=0.5, out=tmp_path / "labels")
    assert labels.header.signals == (CALCIUM,)
    events = ulmus.trials.events_from_trials([labels.trial(1)], labels.header)
    wanted = surrogate.predict(events).signals["calcium"][0].numpy()
    np.testing.assert_allclose(labels.trial(1).signals[:, 0], wanted, rtol=1e-3, atol=1e-8)


def test_an_exported_neuron_has_the_voltages_of_its_sites_in_mv(runs):
    from ulmus.export.constants import constants_of

    surrogate = ulmus.load(runs["whole"].folder)
    weight, bias = constants_of(surrogate).readout
    readout = surrogate.neuron.readout
    state = torch.randn(5, readout.in_features, dtype=torch.float64)
    outputs = state @ readout.weight.double().T + readout.bias.double()
    wanted = surrogate.decode_voltage(outputs).detach().numpy()
    found = surrogate.units.decode(state.numpy() @ weight.T + bias)[:, 1:]
    np.testing.assert_allclose(found, wanted, rtol=1e-9)


def test_files_of_neurons_without_them_are_as_before(tmp_path):
    from safetensors import safe_open

    path = ulmus.save(
        ulmus.Surrogate(ulmus.ELM(3, 3, memory=2), sites=("soma", "tip")), tmp_path / "a.safetensors"
    )
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["ulmus"])
    assert not {"signals", "site_units"} & set(header)


def test_some_of_the_sites_can_be_left_out(stores, tmp_path):
    """A neuron of the soma alone from a store with dendrites, beside one that never had any, from trials and from labels."""
    whole = stores["whole"]

    def soma_alone(trial, _):
        return trial._replace(voltage_mv=trial.voltage_mv[:, :1])

    alone = rewritten(whole, tmp_path / "alone", soma_alone, sites=("soma",))

    def labels(name, columns, sites):
        def answered(trial, _):
            logit = np.full((len(trial.voltage_mv), 1), -3.0, np.float32)
            return trial._replace(voltage_mv=np.concatenate([trial.voltage_mv[:, columns], logit], axis=1))

        return str(rewritten(whole, tmp_path / name, answered, sites=(*sites, LOGIT_SITE)).path)

    def trained(data, name):
        recipe = make_recipe(alone.path, steps=4, validate_every=4)
        settings = recipe.data.model_copy(update={"train": (f"{alone.path}[:12]",)} | data)
        return fit(recipe.model_copy(update={"data": settings}), tmp_path / name)

    found = [
        trained({"labelled": (labels("few", [0], ["soma"]),)}, "without"),
        trained(
            {
                "train": (f"{whole.path}[:6]", f"{alone.path}[6:12]"),
                "validation": (f"{whole.path}[12:]",),
                "labelled": (labels("many", [0, 1], ["soma", "dendrite"]),),
                "sites": (),
            },
            "with",
        ),
    ]
    surrogates = [ulmus.load(run.folder) for run in found]
    assert [surrogate.sites for surrogate in surrogates] == [("soma",), ("soma",)]
    for one, other in zip(*(surrogate.state_dict().values() for surrogate in surrogates), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(ConfigError, match=r"no further site 'dendrit'; expected some of \['dendrite'\]"):
        open_trials(str(whole.path), sites=["dendrit"])
