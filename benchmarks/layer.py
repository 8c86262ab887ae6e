"""Many small ELM neurons beside one large one, at equal parameters, on sums of two handwritten digits.

    python benchmarks/layer.py --out results.json

The claim of arXiv 2605.12049 (there on spoken digits): of layers with as many parameters, those of neurons of middling size add
best. Here two images of scikit-learn's digits are read row by row, one after the other, and the class is their sum. Digits of
training, validation and test are different ones. The layers have the shapes of the paper (neurons, memory units of each), 30
branches of 10 synapses, a quarter of them on other neurons; the one neuron is the largest that has no more parameters.
"""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import start

import ulmus
from ulmus.cli.console import say
from ulmus.neuron import ELMLayer

SHAPES = {"155 x 2": (155, 2), "57 x 9": (57, 9), "15 x 25": (15, 25)}
ROWS, CLASSES, RATE, BATCH = 8, 19, 5e-3, 32


def sums(part: slice, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums of two digits drawn with replacement from a part of the images: ``[sum, 16 rows, 8 pixels]``, and the classes."""
    from sklearn.datasets import load_digits

    images = load_digits()
    chosen = np.random.default_rng(seed).integers(len(images.target[part]), size=(count, 2))
    values = images.images[part][chosen].reshape(count, 2 * ROWS, 8).astype(np.float32)
    return values, images.target[part][chosen].sum(axis=1)


def model_of(name: str) -> torch.nn.Module:
    """A layer of a shape, or one neuron with as many parameters as the layer ``57 x 9``, time constants to 500 steps."""
    if name in SHAPES:
        neurons, memory = SHAPES[name]
        return ELMLayer(8, CLASSES, neurons=neurons, memory=memory)
    most = ELMLayer(8, CLASSES).trainable_parameters()
    found = one_neuron(100)
    while (larger := one_neuron(found.memory + 1)).trainable_parameters() <= most:
        found = larger
    return found


def one_neuron(memory: int) -> ulmus.ELM:
    """A neuron of the same kind, with 30 branches of 10 synapses."""
    return ulmus.ELM(
        8, CLASSES, memory=memory, branches=30, synapses_per_branch=10, routing="random", activation="squared_relu",
        update="bounded", tau_memory_ms=(1.0, 500.0),
    )  # fmt: skip


def run(name: str, steps: int, seed: int) -> dict[str, Any]:
    """Train and score one model."""
    torch.manual_seed(seed)
    model = model_of(name)
    before = time.process_time()
    trained = ulmus.fit(
        model, sums(slice(0, 1100), 20_000, seed), sums(slice(1100, 1400), 500, 1000), task="classification", steps=steps,
        batch_size=BATCH, learning_rate=RATE, optimizer="adamax", seed=seed,
        training={"select": "accuracy", "validate_every": max(1, steps // 5)},
    )  # fmt: skip
    seconds = time.process_time() - before
    test = trained.evaluate(sums(slice(1400, None), 1000, 2000))
    return {"model": name, "steps": steps, "seed": seed, "accuracy": test["accuracy"], "cpu_seconds": seconds,
            "validation": trained.best["accuracy"], "parameters": test["parameters"], "torch": torch.__version__}  # fmt: skip


def compare(
    *, models: list[str] | None = None, steps: int = 500, seeds: int = 3, out: Path | None = None
) -> None:
    """Train every model, and print a table.

    Args:
        models: Some of "155 x 2", "57 x 9", "15 x 25", "one neuron".
        steps: Batches of every run.
        seeds: Seeds of every run.
        out: JSON file with every run; those that are there are not run again.
    """
    found: list[dict[str, Any]] = json.loads(out.read_text()) if out is not None and out.exists() else []
    for seed in range(seeds):
        for name in models or [*SHAPES, "one neuron"]:
            if any((one["model"], one["steps"], one["seed"]) == (name, steps, seed) for one in found):
                continue
            found.append(run(name, steps, seed))
            say(f"{name} seed {seed}: {found[-1]['accuracy']:.4f} in {found[-1]['cpu_seconds']:.0f} s")
            if out is not None:
                out.write_text(json.dumps(found, indent=1))
    for name, length in dict.fromkeys((one["model"], one["steps"]) for one in found):
        of_model = [one for one in found if (one["model"], one["steps"]) == (name, length)]
        scores = " ".join(f"{100 * one['accuracy']:.1f}" for one in of_model)
        seconds = np.mean([one["cpu_seconds"] for one in of_model])
        print(f"| {name} | {of_model[0]['parameters']:,} | {length} | {scores} % | {seconds:.0f} s |")


if __name__ == "__main__":
    start(compare)
