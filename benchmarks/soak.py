"""Train, evaluate, step, convert and report for an hour in one process, and see that it needs no more than in the beginning.

python benchmarks/soak.py --minutes 60 [--only training ...] [--out results.json]

In rounds, every kind of work is done from its beginning, and what it wrote is removed. After each, memory that is free is
given back and the process is measured: resident memory, open files, threads, processes of its own. The first quarter of the
time is for whatever is loaded, compiled and remembered once. Wrong is a memory that grows by more than 16 MiB from the second
quarter to the last (medians), or more open files, threads or processes in the last quarter than in the second.
"""

import ctypes
import gc
import json
import os
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from common import start, write

import ulmus
from ulmus.cli.console import console, print_table, say
from ulmus.populations import Cells, FixedProbability
from ulmus.recordings import convert
from ulmus.teachers import IntegrateAndFire

MOST_MEBIBYTES = 16.0

RECIPE = {
    "name": "soak",
    "model": {"memory": 5},
    "data": {"window_ms": 200, "burn_in_ms": 50},
    "training": {"steps": 30, "validate_every": 10, "checkpoint_every": 10, "batch": 4},
}
MAPPING = """
inputs: {times: times, ids: ids, unit: s, count: 8, inhibitory: "6:8"}
voltage: {values: v, unit: mV, sampling_hz: 1000}
trials: {duration_ms: 200}
"""


class Measured(NamedTuple):
    """The process after one piece of work."""

    work: str
    minutes: float
    mebibytes: float
    files: int
    threads: int
    processes: int


def measured(work: str, began: float) -> Measured:
    """The process as it is now, without what is free."""
    gc.collect()
    with suppress(AttributeError):  # only glibc keeps freed memory that it can be told to give back
        ctypes.CDLL(None).malloc_trim(0)
    own = Path("/proc/self")
    resident = int((own / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    children = sum(len((task / "children").read_text().split()) for task in (own / "task").iterdir())
    files, threads = (len(list((own / name).iterdir())) for name in ("fd", "task"))
    return Measured(work, (time.monotonic() - began) / 60, resident, files, threads, children)


class Works:
    """What is done again and again; each in a folder that is removed afterwards."""

    def __init__(self, inputs: Path) -> None:
        self.store, self.recipe = str(inputs / "trials"), inputs / "recipe.yaml"
        self.recording, self.mapping = inputs / "recording.npz", inputs / "mapping.yaml"
        ulmus.simulate(IntegrateAndFire(), trials=12, out=self.store, seconds=1.0, workers=1)
        places = {"train": f"{self.store}[:8]", "validation": f"{self.store}[8:]"}
        recipe = {**RECIPE, "data": {**RECIPE["data"], **places}}
        self.recipe.write_text(json.dumps(recipe), encoding="utf-8")
        numbers = np.random.default_rng(0)
        times, ids = np.sort(numbers.uniform(0, 2.4, 400)), numbers.integers(8, size=400)
        np.savez(self.recording, times=times, ids=ids, v=numbers.normal(-65, 3, 2400))
        self.mapping.write_text(MAPPING, encoding="utf-8")
        self.surrogate = ulmus.load(ulmus.fit(str(self.recipe), inputs / "run").folder)
        self.runner = self.surrogate.stepper(20)

    def training(self, out: Path) -> None:
        """A neuron on trials."""
        ulmus.fit(str(self.recipe), out / "run")

    def training_with_workers(self, out: Path) -> None:
        """The same, with a process that prepares batches."""
        ulmus.fit(ulmus.load_recipe(self.recipe, {"data.workers": 1, "training.steps": 4}), out / "run")

    def sequences(self, out: Path) -> None:
        """A classifier on arrays."""
        x = np.random.default_rng(0).normal(size=(64, 40, 3)).astype(np.float32)
        run = ulmus.fit(
            ulmus.ELM(3, memory=5), (x, (x.sum((1, 2)) > 0).astype(int)), task="classification", epochs=3
        )
        run.predict(x)

    def evaluation(self, out: Path) -> None:
        """Scores of a saved neuron, read from its file."""
        ulmus.evaluate(ulmus.save(self.surrogate, out / "neuron.safetensors"), self.store, resamples=200)

    def stepping(self, out: Path) -> None:
        """Neurons that are followed step by step from the beginning of the soak on, and new ones."""
        for runner in (self.runner, self.surrogate.stepper(20)):
            for step in range(2000):
                runner.step([step % 8], neurons=[step % 20])

    def population(self, out: Path) -> None:
        """A population on two threads, saved and gone on with."""
        for resumed in (False, True):
            net = ulmus.Population([Cells(self.surrogate, 50)], seed=1)
            net.connect("cells", "cells", FixedProbability(0.1), delay_ms=2.0)
            net.poisson("cells", rate_hz=20.0)
            if resumed:
                net.resume(out / "state.npz")
            net.run(200.0, threads=2)
            net.save(out / "state.npz")

    def conversion(self, out: Path) -> None:
        """A recording turned into a store, which is verified."""
        convert(self.recording, out / "store", mapping=self.mapping).verify()

    def reporting(self, out: Path) -> None:
        """A report."""
        ulmus.report(self.surrogate, self.store, out / "report.html")


KINDS = (
    "training",
    "training_with_workers",
    "sequences",
    "evaluation",
    "stepping",
    "population",
    "conversion",
    "reporting",
)


def growth(rows: Sequence[Measured], name: str, of: Callable[[list[float]], float]) -> tuple[float, float]:
    """What was measured in the second quarter of the time and in the last one."""
    ends = rows[-1].minutes
    quarters = (
        [row for row in rows if begin * ends <= row.minutes <= (begin + 0.25) * ends]
        for begin in (0.25, 0.75)
    )
    before, after = (of([getattr(row, name) for row in quarter or rows[-1:]]) for quarter in quarters)
    return before, after


def soak(*, minutes: float = 60.0, only: list[str] | None = None, out: Path | None = None) -> None:
    """Do every kind of work again and again, and compare the process in the last quarter of the time with the second.

    Args:
        minutes: How long.
        only: Kinds of work; all by default.
        out: JSON file to write: the process after every piece of work.
    """
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    rows: list[Measured] = []
    try:
        works = Works(folder)
        began = time.monotonic()
        while time.monotonic() - began < 60 * minutes:
            for name in only or KINDS:
                place = folder / "out"
                place.mkdir()
                getattr(works, name)(place)
                shutil.rmtree(place)
                rows.append(measured(name, began))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    write(rows, out)
    say(
        f"{len(rows)} pieces of work, {len(rows) // len(only or KINDS)} of each kind, in {rows[-1].minutes:.0f} minutes"
    )
    memory = growth(rows, "mebibytes", statistics.median)
    counts = {name: growth(rows, name, max) for name in ("files", "threads", "processes")}
    table = [("memory, MiB", *(f"{value:.1f}" for value in memory))]
    table += [(name, *(f"{value:.0f}" for value in values)) for name, values in counts.items()]
    print_table("the process", table, ("", "second quarter", "last quarter"))
    grew = [name for name, (before, after) in counts.items() if after > before]
    grew += ["memory"] if memory[1] - memory[0] > MOST_MEBIBYTES else []
    console.print(f"grew: {', '.join(grew) or 'nothing'}")
    if grew:
        raise SystemExit(1)


if __name__ == "__main__":
    start(soak)
