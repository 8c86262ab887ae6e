"""The commands as a user types them: output, exit codes, suggestions."""

import json
import re
import signal
import subprocess
import sys
import time

import pytest

from ulmus.cli import main
from ulmus.cli.app import interrupts_are_kept
from ulmus.cli.data import _summary
from ulmus.cli.evaluate import _print_comparison
from ulmus.cli.train import parse_overrides
from ulmus.errors import ConfigError
from ulmus.training import load_recipe


def ulmus(*arguments: object, check: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ulmus", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == check, result.stderr
    assert "Traceback" not in result.stderr
    return result


@pytest.fixture(scope="module")
def run(integrator_store, tmp_path_factory):
    """A short run made by the command line."""
    folder = tmp_path_factory.mktemp("command") / "run"
    recipe = folder.with_name("recipe.yaml")
    recipe.write_text("name: small\nmodel: {memory: 3}\ndata: {window_ms: 200, burn_in_ms: 50}\n")
    ulmus(
        "train", recipe, "--run", folder, "--data.train", f"{integrator_store}[:12]",
        "--data.validation", f"{integrator_store}[12:]", "--training.steps", 20, "--training.validate_every=10",
        "--training.log_every", 5,
    )  # fmt: skip
    return folder


def test_a_run_folder_has_everything(run):
    assert {"recipe.yaml", "provenance.json", "metrics.jsonl", "checkpoints"} <= {
        path.name for path in run.iterdir()
    }
    provenance = json.loads((run / "provenance.json").read_text())
    assert provenance["sessions"][0]["versions"]["torch"]
    assert len(provenance["data"]["train"]) == 64
    assert provenance["sessions"][0]["step"] == 20


def test_evaluate_prints_json_with_every_score(run, integrator_store):
    result = ulmus("evaluate", run, "--data", f"{integrator_store}[12:]", "--protocol", "stream", "--json")
    scores = json.loads(result.stdout)
    expected = {
        "auc", "tpr_at_fpr_0025", "tpr_at_fpr_01", "rmse_mv", "mae_mv", "explained_variance_percent", "trials",
        "protocol", "parameters",
    }  # fmt: skip
    assert expected <= set(scores)
    assert scores["trials"] == 4
    assert "only 4 trials were scored" in result.stderr
    low, high = scores["intervals"]["auc"]
    assert low < scores["auc"] < high
    recorded = json.loads((run / "evaluation" / "stream.json").read_text())
    assert recorded["auc"] == scores["auc"]


def test_several_models_and_data_sets_make_one_table(run, integrator_store):
    data = [f"--data={integrator_store}[12:14]", f"--data={integrator_store}[14:]"]
    pair = json.loads(ulmus("evaluate", run, run, *data, "--json", "--resamples", 20).stdout)
    assert [result["trials"] for result in pair] == [4, 4]
    assert pair[1]["difference_to_first"]["rmse_mv"] == [0, 0]
    apart = json.loads(ulmus("evaluate", run, *data, "--each", "--json", "--resamples", 0).stdout)
    assert [result["trials"] for result in apart] == [2, 2]
    assert "intervals" not in apart[0]
    table = ulmus("evaluate", run, *data, "--each", "--resamples", 20).stdout
    assert table.count("whole trials from rest, first 500 ms of each not scored") == 1
    assert "95 % intervals" in table
    for shown in ("store[12:14]", "store[14:]", "RMSE mV", "intervals KS", "predicted Hz"):
        assert shown in table
    assert not re.search(r"\d…", table)  # numbers are whole in 80 columns


def test_a_comparison_is_whole_in_eighty_columns(capsys):
    ends = {"auc": [-0.1234, -0.0123], "tpr_at_fpr_01": [-0.1111, -0.0222], "rmse_mv": [-0.333, -0.222]}
    ends |= {"f1_2ms": [-0.125, -0.111]}
    scores = {key: low for key, (low, _) in ends.items()} | {
        "parameters": 8002,
        "protocol": "stream",
        "skipped_ms": 500.0,
    }
    models = ["runs/2026-11-24T18-45-23-l5pc-branch-20-tuned-s0", "runs/other"]
    first, second = ({**scores, "model": model, "data": ["test[96:]"], "intervals": ends} for model in models)
    _print_comparison([first, {**second, "difference_to_first": ends}])
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [f"{n}  {m}: 8,002 parameters, on test[96:]" for n, m in enumerate(models, 1)]
    assert max(map(len, lines[2:])) <= 80
    cells = [line.split() for line in lines]
    assert ["minus", "1", "-0.1234..-0.0123", "-0.1111..-0.0222", "-0.333..-0.222"] in cells
    assert ["minus", "1", "-0.125..-0.111"] in cells


def test_the_threshold_can_be_chosen_on_other_trials(run, integrator_store):
    arguments = ["evaluate", run, "--data", f"{integrator_store}[12:]", "--json", "--resamples", 0]
    chosen = json.loads(ulmus(*arguments, "--threshold-on", f"{integrator_store}[:12]").stdout)
    trained = json.loads(ulmus(*arguments).stdout)
    assert chosen["auc"] == trained["auc"]
    assert "interval" not in ulmus(*arguments).stderr  # none were asked for, so no caution
    assert chosen["spike_threshold"] != trained["spike_threshold"]


def test_scores_on_training_trials_are_marked(run, integrator_store):
    result = ulmus("evaluate", run, "--data", f"{integrator_store}[6:12]", "--json", "--resamples", 0)
    assert "6 of the trials were trained on" in result.stderr
    assert json.loads(result.stdout)["seen"] == {"train": 6}
    assert json.loads((run / "evaluation" / "stream.json").read_text())["seen"] == {"train": 6}


def test_a_neuron_that_does_not_fit_is_named_before_any_is_scored(run, integrator_store):
    result = ulmus("evaluate", run, "l5pc-small", "--data", f"{integrator_store}[12:]", check=3)
    assert "1,278" in result.stderr or "1278" in result.stderr
    assert "evaluate:" not in result.stderr  # the progress of scoring


def test_report_is_written_into_the_run(run, integrator_store):
    ulmus("evaluate", run, "--data", f"{integrator_store}[12:]")
    ulmus("report", run, "--threshold-on", f"{integrator_store}[:12]")
    assert "plotly" in (run / "report.html").read_text()


def test_a_finished_run_resumes_to_the_same(run):
    before = (run / "metrics.jsonl").read_text()
    ulmus("train", "--resume", "--run", run)
    assert (run / "metrics.jsonl").read_text() == before


def test_a_store_is_summed_up_in_a_row_for_every_setting():
    nested = {
        "cell": {"name": "stick", "synapses": [{"at": 1}] * 300, "soma": "(location 0 0)"},
        "hold_ms": [25, 30],
    }
    assert list(_summary({"inputs": 300, "settings": nested | {"steps": list(range(9))}})) == [
        ("inputs", "300"),
        ("settings: cell", "stick, 2 settings"),
        ("settings: hold_ms", "25, 30"),
        ("settings: steps", "9 entries"),
    ]


def test_convert_info_verify(integrator_store, tmp_path):
    info = json.loads(ulmus("data", "info", integrator_store, "--json").stdout)
    assert info["trials"] == 16
    ulmus("data", "verify", integrator_store)
    shards = sorted(integrator_store.glob("*.h5"))
    import shutil

    damaged = tmp_path / "damaged"
    shutil.copytree(integrator_store, damaged)
    content = bytearray((damaged / shards[0].name).read_bytes())
    content[-5] ^= 1
    (damaged / shards[0].name).write_bytes(content)
    assert shards[0].name in ulmus("data", "verify", damaged, check=3).stdout


@pytest.mark.golden
def test_published_files_convert_and_the_authors_neuron_imports(reference_data, official, tmp_path):
    ulmus("data", "convert", reference_data / "golden" / "l5pc", "--out", tmp_path / "store")
    checkpoint = official / "checkpoints" / "num_memory_1"
    ulmus("import", checkpoint, "--out", tmp_path / "neuron.safetensors")
    one, other = (
        json.loads(ulmus("evaluate", model, "--data", tmp_path / "store", "--json").stdout)
        for model in (checkpoint, tmp_path / "neuron.safetensors")
    )
    assert one["auc"] == other["auc"]
    assert one["spikes"] == 18


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["train", "l5pc-branch20"], 2, "Did you mean 'l5pc-branch-20'"),
        (["train", "l5pc-branch-20", "--model.memry", "5"], 2, "Did you mean 'model.memory'"),
        (["train", "l5pc-branch-20", "--rum", "x"], 2, "Did you mean 'run'"),
        (["train", "l5pc-branch-20", "--model.memory"], 2, "has no value"),
        (
            ["train", "l5pc-branch-20", "--seed", "1", "--seed=2"],
            2,
            "--seed is given twice; expected it once",
        ),
        (["train", "l5pc-branch-20"], 2, "--data.train"),
        (["train"], 2, "no recipe"),
        (
            ["train", "l5pc-branch-20", "--data.train", "nowhere", "--data.validation", "nowhere"],
            3,
            "nowhere",
        ),
        (["evaluate", "nowhere", "--data", "x"], 3, "does not exist"),
        (["evaluate", "--data", "x"], 2, "no model"),
        (["evalute"], 2, 'Did you mean "evaluate"'),
        (["evaluate", "x", "--data", "y", "--protocl", "stream"], 2, "Did you mean --protocol"),
        (["data", "info", "nowhere"], 3, "nowhere"),
        (["report", "nowhere"], 3, "nowhere does not exist; expected a file"),
        (["import", "nowhere", "--out", "x"], 3, "nowhere"),
        (["simulate", "lif", "--trials", "1", "--out", "x", "--sk-scale", "0.1"], 2, "option of l5pc"),
        (["simulate", "l5pc", "--trials", "1", "--out", "x", "--weight-mv", "1"], 2, "option of lif"),
        (
            ["simulate", "lif", "--trials", "1", "--out", "x", "--adaptation-mv", "4"],
            2,
            "adaptive-lif instead",
        ),
        (
            ["simulate", "lif", "--trials", "1", "--out", "x", "--regime", "ampa"],
            2,
            "does not mention the inputs",
        ),
        (["simulate", "lif", "--trials", "1.5", "--out", "x"], 2, "--trials: '1.5' is not a whole number"),
        (
            ["data", "make", "listops", "--train", "1e5", "--out", "x"],
            2,
            "--train: '1e5' is not a whole number",
        ),
        (
            ["label", "l5pc-small", "--trials", "1", "--seconds", "nan", "--out", "x"],
            2,
            "seconds=nan: expected",
        ),
        (["simulate", "lif", "--trials", "9999999999", "--out", "x"], 2, "9999999999 trials"),
        (
            ["simulate", "lif", "--trials", "1", "--excitatory", "99999999999", "--out", "x"],
            2,
            "65,536 inputs at most",
        ),
        (
            ["simulate", "lif", "--trials", "1", "--spliced-pieces", "99999999999", "--out", "x"],
            2,
            "spliced_pieces=99999999999: expected 0 to 10,000",
        ),
        (
            ["simulate", "lif", "--trials", "1", "--step-ms", "1e-30", "--out", "x"],
            2,
            "--step-ms=1e-30: expected",
        ),
        (["data", "make", "spoken-digits", "--seed", "-1", "--out", "x"], 2, "seed=-1: expected"),
        (["data", "make", "spoken-digits", "--test-share", "2", "--out", "x"], 2, "test share 2.0: expected"),
        (
            ["data", "make", "spoken-digits", "--many-voices", "--from", "y", "--out", "x"],
            2,
            "expected one of the two",
        ),
        (
            ["simulate", "lif", "--trials", "1", "--out", "x", "--step-ms", "0.3"],
            2,
            "--step-ms=0.3: expected",
        ),
        (
            ["simulate", "l5pc", "--trials", "1", "--out", "x", "--sites", "soma"],
            2,
            "numbers of dendritic segments",
        ),
    ],
)
def test_mistakes_get_a_sentence_and_an_exit_code(arguments, code, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == code
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("[trials_*.h5[:8], more]", ["trials_*.h5[:8]", "more"]),
        ("[*.h5]", ["*.h5"]),
        ("['a b[:2]', c]", ["a b[:2]", "c"]),
        ("[ab]*.h5[:8]", "[ab]*.h5[:8]"),
        ("*.h5", "*.h5"),
        ("[a, b", "[a, b"),
    ],
)
def test_patterns_and_slices_need_no_quotes_within_a_list(given, found):
    assert parse_overrides(["--data.train", given]) == {"data.train": found}


def test_dry_run_prints_the_resolved_recipe():
    result = ulmus(
        "train",
        "l5pc-branch-20-published",
        "--dry-run",
        "--data.train",
        "a",
        "--data.validation",
        "b",
        "--seed",
        7,
    )
    assert "seed: 7" in result.stdout
    assert "steps: 350000" in result.stdout


@pytest.mark.parametrize("cell", ["lif", "adaptive-lif", "ball-and-stick"])
def test_simple_teachers_are_simulated_by_name(cell, tmp_path):
    ulmus("simulate", cell, "--trials", 2, "--seconds", 0.3, "--workers", 1, "--out", tmp_path / "store")
    info = json.loads(ulmus("data", "info", tmp_path / "store", "--json").stdout)
    assert (info["trials"], info["settings"]["cell"]["cell"]) == (2, cell)


def test_a_store_that_holds_more_trials_than_asked_for_says_so(tmp_path, capsys):
    for trials in (3, 2):
        with pytest.raises(SystemExit):
            main(["simulate", "lif", "--trials", str(trials), "--seconds", "0.2", "--workers", "1",
                  "--out", str(tmp_path / "store")])  # fmt: skip
    said = capsys.readouterr()
    assert "holds more than the 2 trials asked for" in said.err
    assert "3 trials of 0.2 s" in said.out.splitlines()[-1]


def test_an_interrupted_simulation_says_how_it_goes_on(tmp_path, capsys, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("ulmus.cli.simulate.run_trials", interrupted)
    with pytest.raises(SystemExit) as ended:
        main(["simulate", "lif", "--trials", "1", "--out", str(tmp_path / "store")])
    assert ended.value.code == 130
    assert "interrupted; run the same command again to continue" in capsys.readouterr().err


def test_inputs_and_weight_of_a_simple_teacher_are_chosen(tmp_path):
    result = ulmus(
        "simulate", "adaptive-lif", "--excitatory", 30, "--inhibitory", 10, "--weight-mv", 20, "--adaptation-mv", 2,
        "--trials", 2, "--seconds", 0.3, "--workers", 1, "--out", tmp_path / "store",
    )  # fmt: skip
    info = json.loads(ulmus("data", "info", tmp_path / "store", "--json").stdout)
    cell = info["settings"]["cell"]
    assert [cell[key] for key in ("excitatory", "inhibitory", "weight_mv", "adaptation_mv")] == [
        30,
        10,
        20.0,
        2.0,
    ]
    assert "0.6 s simulated" in result.stderr


def test_dendritic_sites_are_recorded_by_number(tmp_path):
    ulmus(
        "simulate", "l5pc", "--trials", 1, "--seconds", 0.05, "--step-ms", 0.1, "--sites", 100, 400, "--workers", 1,
        "--out", tmp_path / "store",
    )  # fmt: skip
    info = json.loads(ulmus("data", "info", tmp_path / "store", "--json").stdout)
    assert info["sites"] == ["soma", "segment 100", "segment 400"]


def test_simulating_imports_no_torch():
    code = "import sys, ulmus; ulmus.simulate; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_help_is_quick_and_imports_no_torch():
    code = "import atexit, sys, ulmus.cli; atexit.register(lambda: print('torch' in sys.modules)); ulmus.cli.main(['--help'])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for command in ("demo", "simulate", "data", "train", "evaluate", "report", "import"):
        assert command in result.stdout
    assert result.stdout.strip().endswith("False")


def test_the_help_of_a_command_is_its_whole_docstring(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "Any key of the recipe can be given as a flag: --model.memory 50" in shown
    assert "To see every key with its value: add --dry-run" in shown
    assert "--no-" not in shown


def test_importing_ulmus_is_light():
    heavy = ["h5py", "numba", "plotly", "sklearn", "pydantic", "arbor", "joblib"]
    code = (
        f"import sys, ulmus; ulmus.ELM, ulmus.load; print([name for name in {heavy} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_an_interrupt_that_python_meets_in_a_callback_is_not_lost():
    class Closing:
        def __del__(self):
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), interrupts_are_kept():  # noqa: PT012 - where it comes is not known
            closing = Closing()
            del closing
            for _ in range(600):
                time.sleep(0.1)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["train", "l5pc-branch-20", "--data.train", "a", "--data.workers", "1000000"],
            "'data.workers' is 1000000",
        ),
        (
            ["train", "l5pc-branch-20", "--data.train", "a", "--training.threads", "1000000"],
            "less than or equal to 1024",
        ),
        (
            ["simulate", "lif", "--trials", "2", "--seconds", "1", "--workers", "1000000"],
            "at most 1024 processes",
        ),
        (["train", "/dev/zero"], "neither a readable file"),
        (["reproduce", "/dev/zero"], "neither a readable file"),
        (["sweep", "/dev/zero"], "is no file"),
    ],
)
def test_what_would_take_the_machine_down_is_refused(arguments, said, tmp_path, capsys):
    out = {"train": "--run", "simulate": "--out", "reproduce": "--out", "sweep": "--out"}[arguments[0]]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, out, str(tmp_path / "out")])
    assert ended.value.code == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_a_model_larger_than_memory_is_refused():
    recipe = load_recipe(
        "l5pc-branch-20", {"data.train": "a", "data.validation": "b", "model.memory": 10**13}
    )
    with pytest.raises(ConfigError, match="fits into memory"):
        recipe.model.build(10, 2, 1.0)
