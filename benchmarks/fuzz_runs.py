"""Readers of run folders: of their files alone, of a run that goes on, and of reports of runs."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_readers import READERS, TRIALS, Made, Read, readers


def _run(folder: Path) -> Any:
    import torch

    from ulmus.training.recipe_file import load_recipe
    from ulmus.training.run import Run

    run = Run(folder / "run")
    run.begin(load_recipe("l5pc-branch-20", TRIALS), {"train": "0" * 64}, "cpu", resume=False)
    for step in range(3):
        run.log({"step": step, "loss": 0.5, "validation": {"auc": 0.9}})
    run.save_state(
        {"model": {"v": torch.ones(3)}, "averaged": {}, "optimizer": {}, "position": {"step": 2}, "format": 1}
    )
    run.evaluation_file("stream").parent.mkdir()
    run.evaluation_file("stream").write_text(json.dumps({"auc": 0.9, "data": ["a"]}), encoding="utf-8")
    return run


def _run_reader(name: str, chosen: Callable[[Any], Path], read: Callable[[Any], object]) -> None:
    def make(folder: Path) -> Made:
        run = _run(folder)
        return chosen(run), lambda: read(run)

    READERS[name] = make


_run_reader("run_recipe", lambda run: run.recipe_file, lambda run: run.recipe())
_run_reader("run_provenance", lambda run: run.provenance_file, lambda run: run.finished())
_run_reader("run_metrics", lambda run: run.metrics_file, lambda run: run.keep_metrics_until(1))
_run_reader("run_state", lambda run: run.state_file, lambda run: run.load_state())
_run_reader("run_evaluation", lambda run: run.evaluation_file("stream"), lambda run: run.evaluation("stream"))


_TRAINED = {
    "recipe": "run/recipe.yaml",
    "provenance": "run/provenance.json",
    "metrics": "run/metrics.jsonl",
    "best": "run/checkpoints/best.safetensors",
}


def _trained(folder: Path) -> tuple[Any, Any]:
    """Trials and a run of a neuron."""
    import ulmus
    from ulmus.teachers import IntegrateAndFire

    place = folder / "trials"
    trials = ulmus.simulate(IntegrateAndFire(), trials=3, seconds=0.6, out=place, workers=1)
    recipe = {
        "name": "a",
        "model": {"memory": 3},
        "training": {"steps": 4, "checkpoint_every": 2, "validate_every": 2},
    }
    data = {"train": f"{place}[:2]", "validation": f"{place}[2:]", "window_ms": 100, "burn_in_ms": 20}
    file = folder / "recipe.yaml"
    file.write_text(json.dumps(recipe | {"data": data}), encoding="utf-8")
    return trials, ulmus.fit(str(file), folder / "run")


@readers(evaluation="run/evaluation/stream.json", **_TRAINED)
def reported_run(folder: Path) -> Read:
    """The run of a neuron, in a report."""
    import ulmus

    trials, run = _trained(folder)
    scores = ulmus.evaluate(run.folder, trials, resamples=10)
    run.evaluation_file("stream").parent.mkdir()
    run.evaluation_file("stream").write_text(
        json.dumps(scores | {"data": [str(folder / "trials")], "named_from": str(folder)}), encoding="utf-8"
    )
    return lambda: ulmus.report(run.folder)


@readers(state="run/checkpoints/state.pt", before="run/checkpoints/state-before.pt", **_TRAINED)
def resumed_run(folder: Path) -> Read:
    """A run of a neuron that goes on from its last checkpoint."""
    import ulmus

    _, run = _trained(folder)
    whole = folder / "whole"

    def read() -> None:
        shutil.copytree(run.folder, whole)
        try:
            ulmus.fit(run.recipe(), run.folder, resume=True)
        finally:
            shutil.rmtree(run.folder)
            whole.replace(run.folder)

    return read


@readers(test="run/evaluation/test.json", best="run/checkpoints/best.safetensors", recipe="run/recipe.yaml")
def reported_sequences(folder: Path) -> Read:
    """The run of a model of sequences, scored again and in a report."""
    import ulmus

    x = np.random.default_rng(0).normal(size=(16, 10, 3)).astype(np.float32)
    np.savez(folder / "a.npz", values=x, targets=(x.sum((1, 2)) > 0).astype(int))
    data = str(folder / "a.npz")
    settings = {"task": "classification", "steps": 2, "folder": folder / "run"}
    run = ulmus.fit(ulmus.ELM(3, memory=2), data, **settings)
    scores = ulmus.evaluate(run.folder, data)
    run.evaluation_file("test").parent.mkdir()
    run.evaluation_file("test").write_text(json.dumps(scores), encoding="utf-8")

    def read() -> None:
        ulmus.report(run.folder)
        ulmus.evaluate(run.folder, data)

    return read
