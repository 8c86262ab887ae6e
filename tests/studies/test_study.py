"""Studies: which runs they hold, that they go on where they were, and that tables say what the runs scored."""

import json
import shutil
import statistics

import h5py
import pytest
import yaml

from ulmus.cli import main
from ulmus.cli.reproduce import _write
from ulmus.errors import ConfigError
from ulmus.evaluation.scores import evaluate
from ulmus.neuron import ELM, Surrogate, save
from ulmus.studies import running
from ulmus.studies.comparison import Compared
from ulmus.studies.running import MemberResult
from ulmus.studies.study import Study, load_study, members, shipped_studies
from ulmus.studies.tables import grid_rows, markdown_table, quality, quality_rows, remarks, table
from ulmus.training.budget import parse_budget
from ulmus.trials import open_trials

RECIPE = {
    "name": "tones",
    "data": {"kind": "digits", "bin_ms": 50, "validation_share": 0.5},
    "training": {"steps": 40, "batch": 20, "learning_rate": 1e-2, "validate_every": 20},
    "models": {"small": {"model": {"memory": 2}}, "large": {"model": {"memory": 8}}},
}


@pytest.fixture
def study_file(tmp_path):
    (tmp_path / "tones.yaml").write_text(yaml.safe_dump(RECIPE))
    study = {
        "name": "tones",
        "title": "Tones",
        "seeds": 2,
        "grids": {
            "size": {
                "title": "Accuracy over bins",
                "recipes": [str(tmp_path / "tones.yaml")],
                "models": ["small", "large"],
                "key": "data.bin_ms",
                "values": {20: 20, 50: 50, "coarse": 100},
                "brief": [50],
                "published": {"small": {50: 0.25}},
            }
        },
    }
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(study))
    return file


@pytest.fixture
def fit_grid(tmp_path):
    """A grid of one small neuron, trained on trials for two steps."""
    recipe = {"name": "small", "model": {"memory": 2}, "data": {"window_ms": 200, "burn_in_ms": 50}}
    recipe |= {"training": {"steps": 2, "validate_every": 2}, "models": {"elm": {}}}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(recipe))
    return {"title": "Fit", "recipes": [str(tmp_path / "small.yaml")], "models": ["elm"], "score": "rmse_mv"}


@pytest.mark.parametrize("name", shipped_studies())
def test_every_shipped_study_names_recipes_and_keys_that_exist(name):
    trials = {"data.train": "store", "data.validation": "store"}
    data = trials if name == "neuronio" else {"data.folder": "folder"}
    runs = list(members(load_study(name), "paper", 1))
    assert {run.recipe(data).seed for run in runs} == {0}
    assert len({run.folder for run in runs}) > 1


def test_seeds_come_before_the_next_seed_of_anything(study_file):
    runs = list(members(load_study(study_file), "paper", 2))
    assert [run.seed for run in runs] == [0] * 6 + [1] * 6
    assert len({run.folder for run in runs}) == 12
    assert len(list(members(load_study(study_file), "5min", 1))) == 2


def test_a_study_runs_goes_on_and_tables_what_it_scored(study_file, tones, tmp_path, capsys):
    out, data = tmp_path / "out", str(shutil.copytree(tones, tmp_path / "tones"))
    command = ["reproduce", str(study_file), "--out", str(out), "--budget", "30s", "--seeds", "2"]
    command += ["--data.folder", data]
    with pytest.raises(SystemExit) as stopped:
        main(command)
    assert stopped.value.code == 0
    runs = json.loads((out / "results.json").read_text())["runs"]
    assert len(runs) == 4
    assert all(run["scores"]["test"]["sequences"] == 60 for run in runs)
    of_large = [run["scores"]["test"]["accuracy"] for run in runs if run["model"] == "large"]
    shown = f"{statistics.fmean(of_large):.4f} ± {statistics.stdev(of_large):.4f} (2)"
    assert shown in (out / "tables.md").read_text()
    assert shown in (out / "study.html").read_text()
    with pytest.raises(SystemExit) as refused:
        main([*command, "--training.learning_rate", "0.5"])
    assert refused.value.code == 2
    told = capsys.readouterr().err.replace("\n", " ")
    assert "asked for now: training.learning_rate was 0.01 and is 0.5. Give" in told
    with pytest.raises(SystemExit) as refused:
        main(["4h" if word == "30s" else word for word in command])
    assert refused.value.code == 2
    assert "was begun with --budget 30s" in capsys.readouterr().err.replace("\n", " ")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    moved = str(shutil.move(data, tmp_path / "elsewhere"))
    shutil.rmtree(next(out.rglob("evaluation")))  # so one run is scored again, on the data where they are
    command = [moved if word == data else word for word in command]
    with pytest.raises(SystemExit) as stopped:
        main(command)
    assert stopped.value.code == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")} == before
    assert json.loads((out / "results.json").read_text())["runs"] == runs


def test_a_finished_run_is_not_scored_on_data_other_than_its_own(study_file, tones, tmp_path, capsys):
    out, mine = tmp_path / "out", shutil.copytree(tones, tmp_path / "mine")
    runs_within_a_budget(study_file, mine, out)
    scores = {path: path.read_bytes() for path in out.rglob("evaluation/*.json")}
    other = shutil.copytree(tones, tmp_path / "other")
    command = ["reproduce", str(study_file), "--out", str(out), "--seeds", "1", "--budget", "20s"]
    for folder, told in (
        (other, "than are asked for now: data.folder was"),
        (mine, f"than are in {mine} now"),
    ):
        with h5py.File(folder / "tones_train.h5", "a") as file:
            file["labels"][0] = (file["labels"][0] + 1) % 10
        with pytest.raises(SystemExit) as refused:
            main([*command, "--data.folder", str(folder)])
        assert refused.value.code == 3
        assert f"was trained with other data {told}" in " ".join(capsys.readouterr().err.split())
    assert {path: path.read_bytes() for path in out.rglob("evaluation/*.json")} == scores


def test_variants_change_several_keys_of_the_recipe(study_file):
    study = yaml.safe_load(study_file.read_text())
    grid = study["grids"]["size"]
    for unused in ("key", "values", "brief", "published"):
        del grid[unused]
    grid |= {"models": ["small"], "set": {"data.drop": 0.1}}
    grid["variants"] = {"as it is": {}, "calm": {"training.learning_rate": 1e-3, "data.drop": 0.3}}
    study_file.write_text(yaml.safe_dump(study))
    usual, calm = members(load_study(study_file), "paper", 1)
    assert (usual.row, calm.row) == ("as it is", "calm")
    recipes = [run.recipe({"data.folder": "folder"}) for run in (usual, calm)]
    assert [(recipe.training.learning_rate, recipe.data.drop) for recipe in recipes] == [
        (1e-2, 0.1),
        (1e-3, 0.3),
    ]
    grid |= {"key": "data.bin_ms", "values": [1, 2]}
    with pytest.raises(ValueError, match="either a key and its values or variants"):
        Study.model_validate(study)


def test_cells_hold_mean_deviation_and_the_published_number(study_file):
    study = load_study(study_file)
    results = [
        MemberResult(
            "size", 50, "small", seed, "run", 10, 60.0, {"test": {"accuracy": value, "parameters": 7}}
        )
        for seed, value in enumerate((0.5, 0.75))
    ]
    cells = table(study.grids["size"], results, "test", "5min")
    assert cells[50]["small"].text() == "0.6250 ± 0.1768 (2) [0.25]"
    assert cells[50]["large"].text() == "not run"
    lost = MemberResult("size", 50, "small", 2, "run", 10, 1.0, {}, "step 3: the loss is not finite")
    cell = table(study.grids["size"], [*results, lost], "test", "5min")[50]["small"]
    assert cell.text() == "0.6250 ± 0.1768 (2), 1 diverged [0.25]"
    assert cell.cpu_seconds == 60
    assert "| 50 | 0.6250 ± 0.1768 (2) [0.25] | not run |" in markdown_table(*grid_rows(cells, "bin"))


def test_what_is_to_be_known_of_scores_stands_below_them_once(study_file, tmp_path, capsys):
    notes = {
        ("small", 0): ["told more"],
        ("small", 1): ["told more", "generated"],
        ("large", 0): ["generated"],
    }
    results = [
        MemberResult(
            "size",
            50,
            model,
            seed,
            "run",
            10,
            60.0,
            {"test": {"accuracy": 0.5, "parameters": 7, "notes": found}},
        )
        for (model, seed), found in notes.items()
    ]
    expected = ["small: told more", "small, large: generated"]
    assert remarks(results, "test") == expected
    assert remarks(results, "stream") == []
    _write(load_study(study_file), results, [], tmp_path / "out", "20s")
    assert [line for line in capsys.readouterr().err.splitlines() if line] == [
        f"- {note}" for note in expected
    ]
    for note in expected:
        assert f"- {note}\n" in (tmp_path / "out" / "tables.md").read_text()
        assert f"<li>{note}</li>" in (tmp_path / "out" / "study.html").read_text()


def test_a_member_without_its_data_does_not_stop_the_others(study_file, tones, tmp_path, capsys):
    recipe = yaml.safe_load((tmp_path / "tones.yaml").read_text())
    recipe["models"]["small"]["data"] = {"validation": "published"}  # a file that tones have not
    (tmp_path / "tones.yaml").write_text(yaml.safe_dump(recipe))
    runs = runs_within_a_budget(study_file, tones, tmp_path / "out")
    assert [run["model"] for run in runs] == ["large"]
    assert "left out, the others continue: " in capsys.readouterr().err


def test_a_member_that_diverges_does_not_stop_the_others(study_file, tones, tmp_path, capsys):
    recipe = RECIPE | {
        "models": {
            "wild": {"training": {"learning_rate": 1e38, "clip_norm": None}},
            "small": {"model": {"memory": 2}},
        }
    }
    (tmp_path / "tones.yaml").write_text(yaml.safe_dump(recipe))
    study = yaml.safe_load(study_file.read_text())
    study["grids"]["size"] |= {"models": ["wild", "small"], "published": {}}
    study_file.write_text(yaml.safe_dump(study))
    command = ["reproduce", str(study_file), "--out", str(tmp_path / "out"), "--seeds", "1"]
    for budget in ("20s", "20s"):  # the second goes on, and has nothing to do
        with pytest.raises(SystemExit) as ended:
            main([*command, "--budget", budget, "--data.folder", str(tones)])
        assert ended.value.code == 0
        assert "it diverged: " in capsys.readouterr().err
        runs = json.loads((tmp_path / "out" / "results.json").read_text())["runs"]
        assert [(run["model"], bool(run["diverged"]), "test" in run["scores"]) for run in runs] == [
            ("wild", True, False),
            ("small", False, True),
        ]
        assert "| 50 | 1 diverged | 0." in (tmp_path / "out" / "tables.md").read_text()


def runs_within_a_budget(study_file, tones, out):
    """Results of one seed of a study that a budget cuts short."""
    command = ["reproduce", str(study_file), "--out", str(out), "--seeds", "1", "--budget", "20s"]
    with pytest.raises(SystemExit) as ended:
        main([*command, "--data.folder", str(tones)])
    assert ended.value.code == 0
    return json.loads((out / "results.json").read_text())["runs"]


def test_a_member_too_slow_for_its_share_of_the_budget_is_left_out(
    study_file, tones, tmp_path, capsys, monkeypatch
):
    real = running.within_budget

    def slow(recipe, seconds, problem):
        return real(recipe, 1e-6 if recipe.model.memory == 8 else seconds, problem)

    monkeypatch.setattr(running, "within_budget", slow)
    runs = runs_within_a_budget(study_file, tones, tmp_path / "out")
    assert "left out, the others continue: in 1e-06 s only 0 steps" in " ".join(
        capsys.readouterr().err.split()
    )
    assert [run["model"] for run in runs] == ["small"]


def test_a_row_of_steps_is_never_one_of_fewer_steps(study_file, tones, tmp_path, capsys, monkeypatch):
    study = yaml.safe_load(study_file.read_text())
    study["grids"]["size"] |= {
        "key": "training.steps",
        "values": [10, 40],
        "brief": None,
        "models": ["small"],
    }
    study_file.write_text(yaml.safe_dump(study))

    def half(recipe, seconds, problem):
        return recipe.model_copy(
            update={"training": recipe.training.model_copy(update={"steps": min(20, recipe.steps)})}
        )

    monkeypatch.setattr(running, "within_budget", half)
    runs = runs_within_a_budget(study_file, tones, tmp_path / "out")
    assert "only 20 of 40 steps fit" in " ".join(capsys.readouterr().err.split())
    assert [(run["row"], run["steps"]) for run in runs] == [(10, 10)]


def test_scores_are_renewed_for_other_test_trials_and_runs_keep_their_own(
    fit_grid, integrator_store, tmp_path, capsys
):
    study = {"name": "small", "title": "Small", "seeds": 1, "grids": {"fit": fit_grid}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    data = ["--data.train", f"{integrator_store}[:8]", "--data.validation", f"{integrator_store}[8:10]"]

    def reproduce(test, *data):
        command = ["reproduce", str(tmp_path / "study.yaml"), "--out", str(tmp_path / "out"), *data]
        with pytest.raises(SystemExit) as ended:
            main([*command, "--test", test])
        if ended.value.code:
            raise ended.value
        (run,) = json.loads((tmp_path / "out" / "results.json").read_text())["runs"]
        (file,) = (tmp_path / "out" / "runs").glob("*/evaluation/stream.json")
        return run["scores"]["stream"], file.stat().st_mtime_ns

    (first, written), (again, kept) = (reproduce(f"{integrator_store}[10:14]", *data) for _ in range(2))
    assert (first, written) == (again, kept)
    other, renewed = reproduce(f"{integrator_store}[14:]", *data)
    assert (first["trials"], other["trials"]) == (4, 2)
    assert first["rmse_mv"] != other["rmse_mv"]
    assert other["data_hash"] == open_trials(f"{integrator_store}[14:]").content_hash
    assert renewed > written
    moved = shutil.copytree(integrator_store, tmp_path / "moved")
    data = ["--data.train", f"{moved}[:8]", "--data.validation", f"{moved}[8:10]"]
    assert reproduce(f"{integrator_store}[14:]", *data) == (other, renewed)
    with pytest.raises(SystemExit) as refused:
        reproduce(f"{integrator_store}[14:]", "--data.train", f"{moved}[:4]", *data[2:])
    assert refused.value.code == 3
    told = " ".join(capsys.readouterr().err.split())
    assert "was trained with other data than are asked for now: data.train was" in told


def test_all_neurons_stand_over_size_and_cost_with_others_beside(
    fit_grid, integrator_store, tmp_path, capsys
):
    grid = {**fit_grid, "key": "model.memory", "values": [1, 2]}
    study = {"name": "small", "title": "Small", "seeds": 2, "grids": {"fit": grid, "again": grid}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    other = Surrogate(ELM(inputs=12, outputs=2, memory=3))
    save(other, tmp_path / "other.safetensors")
    out, test = tmp_path / "out", f"{integrator_store}[10:]"
    command = [
        "reproduce",
        str(tmp_path / "study.yaml"),
        "--out",
        str(out),
        "--data.train",
        f"{integrator_store}[:8]",
    ]
    command += [
        "--data.validation",
        f"{integrator_store}[8:10]",
        "--compare",
        str(tmp_path / "other.safetensors"),
    ]

    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 2
    assert "--test" in capsys.readouterr().err
    files = []
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            main([*command, "--test", test])
        assert ended.value.code == 0
        (file,) = (out / "beside").iterdir()
        files.append(file.stat().st_mtime_ns)
    assert files[0] == files[1]

    runs = json.loads((out / "results.json").read_text())["runs"]
    twice = [run["scores"]["stream"]["rmse_mv"] for run in runs if (run["grid"], run["row"]) == ("fit", 2)]
    scores = evaluate(other, open_trials(test), resamples=0)
    _, text = (out / "tables.md").read_text().split("over size and cost, stream")
    lines = text.split("##")[0].splitlines()
    rows = {
        line.split(" | ")[0][2:]: line.strip("| ").split(" | ")[1:] for line in lines if line.startswith("| ")
    }
    # Synapses, then the matrices of the hidden layer, of the memory and of the readout.
    costs = {
        memory: 12 + (12 + memory) * 2 * memory + 2 * memory * memory + memory * 2 for memory in (1, 2, 3)
    }
    assert rows["small-elm"][:3] == [
        "2",
        str(Surrogate(ELM(inputs=12, outputs=2, memory=2)).trainable_parameters()),
        str(costs[2]),
    ]
    assert rows["small-elm"][6] == f"{statistics.fmean(twice):.3f}"
    assert rows["small-elm-memory=1"][2] == str(costs[1])
    assert rows["other"][2] == str(costs[3])
    assert rows["other"][3] == f"{scores['auc']:.4f}"
    (out / "beside" / file.name).write_text("{")  # a damaged copy of scores is made anew
    with pytest.raises(SystemExit) as ended:
        main([*command, "--test", test])
    assert ended.value.code == 0
    assert json.loads(file.read_text())["scores"]["stream"]["auc"] == scores["auc"]
    page = (out / "study.html").read_text()
    assert "Quality over size and cost, official" in page
    assert "beside the study" in page


def test_folders_are_readable_and_every_run_has_its_own(study_file):
    study = load_study(study_file)
    grid = study.grids["size"]
    names = [run.folder for run in members(study, "paper", 1)]
    assert names[0] == "tones-small-bin_ms=20-s0"
    assert "tones-small-s0" in names  # steps of 50 ms are the recipe's own
    alike = [
        "a/b",
        "a_b",
        "a b",
        "ab",
        "AB",
        1,
        "1",
        [1, 2],
        "[1,2]",
        None,
        "None",
        True,
        "True",
        1.5,
        "plain",
    ]
    values = {str(number): value for number, value in enumerate(alike)}
    other = grid.model_copy(update={"key": "data.folder", "values": values, "brief": None})
    wide = study.model_copy(update={"grids": {"size": grid, "other": other, "again": other}})
    runs = list(members(wide, "paper", 2))
    folders = {(run.source, run.model, repr(run.changes), run.seed): run.folder for run in runs}
    assert (
        len({folder.casefold() for folder in folders.values()}) == len(folders) == 2 * 2 * (3 + len(values))
    )
    assert {run.folder for run in runs if run.grid == "other"} == {
        run.folder for run in runs if run.grid == "again"
    }
    assert "tones-small-folder=plain-s1" in folders.values()
    assert not any("/" in folder for folder in folders.values())
    # Which runs are asked for does not matter.
    some = {run.folder for run in members(wide, "1min", 1, ("other",))}
    assert some == {run.folder for run in runs if run.grid == "other" and run.seed == 0}


def test_runs_of_one_recipe_share_a_folder_and_other_runs_never_do(study_file):
    study = load_study(study_file)
    grid = study.grids["size"]
    memory = grid.model_copy(update={"key": "model.memory", "values": {2: 2, 3: 3, 8: 8}, "brief": None})
    both = study.model_copy(update={"grids": {"size": grid, "memory": memory}})
    runs = list(members(both, "paper", 1))
    folders: dict[str, set[str]] = {}
    for run in runs:
        folders.setdefault(run.recipe({"data.folder": "x"}).to_yaml(), set()).add(run.folder)
    assert [len(names) for names in folders.values()] == [1] * (6 + 6 - 2)
    assert len({run.folder for run in runs}) == len(folders)
    assert all(
        run.recipe({"data.folder": "x"}).model.memory == run.row for run in runs if run.grid == "memory"
    )


def test_a_change_that_tells_runs_of_one_folder_apart_is_refused(study_file, tmp_path, capsys):
    study = yaml.safe_load(study_file.read_text())
    grid = study["grids"]["size"]
    memory = {
        **grid,
        "key": "model.memory",
        "values": [2],
        "brief": None,
        "models": ["small"],
        "published": {},
    }
    study["grids"] = {"size": {**grid, "values": [50]}, "memory": memory}
    study_file.write_text(yaml.safe_dump(study))
    command = [
        "reproduce",
        str(study_file),
        "--out",
        str(tmp_path / "out"),
        "--data.folder",
        "x",
        "--dry-run",
    ]
    with pytest.raises(SystemExit) as ended:
        main([*command, "--model.kind", "lstm"])
    assert ended.value.code == 2
    assert "would be another run in grid size than in grid memory" in " ".join(
        capsys.readouterr().err.split()
    )


def test_quality_leaves_open_what_was_not_scored_and_marks_trials_that_were_seen():
    def result(run, **scores):
        known = {"parameters": 10, "rmse_mv": 1.0, "auc": 0.5, "tpr_at_fpr_0025": 0.1, "tpr_at_fpr_01": 0.2}
        known |= {"explained_variance_percent": 90.0, "multiplications_per_step": 7}
        return MemberResult("grid", 1, "elm", 0, run, 3, 1.0, {"stream": known | scores})

    results = [
        result("small-s0", auc=None),
        result("small-s1"),
        result("large-s0", parameters=20, seen={"train": 2}),
    ]
    other = Compared("a|b", {"stream": {"parameters": 5, "rmse_mv": 2.0}})
    lines = quality(results, [other], "stream")
    assert [(line.name, line.seeds, line.scores["auc"], line.seen) for line in lines] == [
        ("a|b", 1, None, 0), ("small", 2, None, 0), ("large", 1, 0.5, 2)
    ]  # fmt: skip
    text = markdown_table(*quality_rows(lines)).splitlines()
    assert text[2] == "| a\\|b |  | 5 |  |  |  |  | 2.000 |  |"
    assert text[4].startswith("| large (2 of the trials are not new to it) | 1 | 20 | 7 | 0.5000 |")


def test_mistakes_are_named(study_file):
    with pytest.raises(ConfigError, match="neither a readable file"):
        load_study("nothing")
    with pytest.raises(ConfigError, match="no grid 'sizes'.*Did you mean 'size'"):
        list(members(load_study(study_file), "paper", 1, ("sizes",)))
    with pytest.raises(ValueError, match="several recipes, or one recipe"):
        Study.model_validate(
            {
                "name": "s",
                "title": "t",
                "grids": {"a": {"title": "t", "recipes": ["r"], "models": ["m"], "key": "k"}},
            }
        )
    member = next(members(load_study(study_file), "paper", 1))
    for key in ("seed", "data.bin_ms"):
        with pytest.raises(ConfigError, match=f"{key} is set by the study itself"):
            member.recipe({"data.folder": "x", key: 3})
    for text in ("soon", "0min", "-3h", "10 weeks"):
        with pytest.raises(ConfigError, match="expected a time"):
            parse_budget(text)
    assert [parse_budget(text) for text in ("90s", "30min", "1.5h", "paper")] == [90, 1800, 5400, None]
