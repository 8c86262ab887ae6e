"""Steps a second of a fitted neuron after its export to C, JavaScript and NEURON, beside real time.

    python benchmarks/exports.py --out benchmarks/results/exports-PROCESSOR.json

Input are Poisson events: 12 Hz on each excitatory and 4 Hz on each inhibitory input, a step at a time, as in a closed loop.
"""

import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from common import start, write
from rich.table import Table

from ulmus.cli.console import console, say
from ulmus.export import export
from ulmus.neuron import load_surrogate

C_MAIN = r"""
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "neuron.h"
int main(int count, char **given) {
    static int first[1 << 20], input[1 << 22];
    static double value[1 << 22];
    int steps = atoi(given[1]), step, event;
    double probability, voltage[64], sum = 0;
    clock_t begin;
    neuron_state state;
    (void)count;
    neuron_reset(&state);
    for (step = 0; step <= steps; ++step) if (scanf("%d", first + step) != 1) return 1;
    for (event = 0; event < first[steps]; ++event) if (scanf("%d %lf", input + event, value + event) != 2) return 1;
    begin = clock();
    for (step = 0; step < steps; ++step) {
        neuron_step(&state, first[step + 1] - first[step], input + first[step], value + first[step], &probability, voltage);
        sum += voltage[0];
    }
    printf("%.9g %.9g\n", (double)(clock() - begin) / CLOCKS_PER_SEC, sum / steps);
    return 0;
}
"""

NODE_MAIN = """
import { readFileSync } from "node:fs";
import { createNeuron } from "./neuron.mjs";
const neuron = createNeuron(), steps = Number(process.argv[2]), told = readFileSync(0, "utf8").trim().split(/\\s+/).map(Number);
const first = told.slice(0, steps + 1), inputs = [], values = [];
for (let step = 0; step < steps; step += 1) {
  inputs.push([]); values.push([]);
  for (let event = first[step]; event < first[step + 1]; event += 1) {
    inputs[step].push(told[steps + 1 + 2 * event]);
    values[step].push(told[steps + 2 + 2 * event]);
  }
}
for (let step = 0; step < Math.min(2000, steps); step += 1) neuron.step(inputs[step], values[step]);  // compiles
neuron.reset();
let sum = 0;
const begin = process.cpuUsage();
for (let step = 0; step < steps; step += 1) sum += neuron.step(inputs[step], values[step]).voltageMv;
const spent = process.cpuUsage(begin);
console.log((spent.user + spent.system) / 1e6, sum / steps);
"""

NEURON_MAIN = """
import sys, time
from neuron import h
steps, told = int(sys.argv[1]), sys.stdin.read().split()
first, rest = [int(word) for word in told[: steps + 1]], told[steps + 1 :]
cell, connections, events = h.neuron(), {}, []
for step in range(steps):
    for event in range(first[step], first[step + 1]):
        key = int(rest[2 * event]), float(rest[2 * event + 1])
        if key not in connections:
            made = connections[key] = h.NetCon(None, cell)
            made.delay, made.weight[0], made.weight[1] = 0, key[1], key[0]
        events.append((connections[key], step + 0.5))
h.dt = 1.0
h.finitialize()
for connection, at in events:
    connection.event(at)
total, begin = 0.0, time.process_time()
for step in range(steps):
    h.fadvance()
    total += cell.soma_mV
print(time.process_time() - begin, total / steps)
"""


class ExportRow(NamedTuple):
    """One neuron in one language, one thread."""

    neuron: str
    language: str
    steps_per_second: float
    """Of CPU time."""
    times_real_time: float
    mean_voltage_mv: float
    """The same for all languages, or they do not compute the same."""


def bench_exports(names: tuple[str, ...], steps: int, rounds: int = 3) -> list[ExportRow]:
    """Measure every neuron in every language that is installed here, in turns; the fastest round counts."""
    rows = []
    for name in names:
        surrogate = load_surrogate(name)
        inputs, dt_ms = surrogate.neuron.inputs, surrogate.neuron.dt_ms
        rate = np.repeat([0.012, 0.004], [inputs // 2, inputs - inputs // 2]) * dt_ms
        rng = np.random.default_rng(0)
        drawn = [np.flatnonzero(rng.random(inputs) < rate) for _ in range(steps)]
        first = np.cumsum([0, *map(len, drawn)])
        channel = np.concatenate(drawn)
        value = np.where(channel < inputs // 2, 1, -1)
        told = "\n".join(
            [*map(str, first), *(f"{one} {other}" for one, other in zip(channel, value, strict=True))]
        )
        with tempfile.TemporaryDirectory() as folder:
            commands = _built(surrogate, Path(folder))
            spent: dict[str, list[float]] = {language: [] for language in commands}
            voltage = {}
            for _ in range(rounds):
                for language, command in commands.items():
                    done = subprocess.run(
                        [*command, str(steps)],
                        cwd=folder,
                        input=told,
                        capture_output=True,
                        text=True,
                        check=True,
                    )
                    seconds, voltage[language] = map(float, done.stdout.split()[-2:])
                    spent[language].append(seconds)
        for language, seconds in spent.items():
            speed = steps / min(seconds)
            rows.append(ExportRow(name, language, speed, speed * dt_ms / 1000, voltage[language]))
    return rows


def _built(surrogate: object, folder: Path) -> dict[str, list[str]]:
    """Commands by language, each to be followed by the number of steps."""
    commands = {}
    if shutil.which("gcc"):
        export(surrogate, folder / "neuron.h")
        (folder / "main.c").write_text(C_MAIN)
        subprocess.run(["gcc", "-O3", "-march=native", "main.c", "-o", "c", "-lm"], cwd=folder, check=True)
        commands["C"] = ["./c"]
    if shutil.which("node"):
        export(surrogate, folder / "neuron.mjs")
        (folder / "main.mjs").write_text(NODE_MAIN)
        commands["JavaScript"] = ["node", "main.mjs"]
    compiler = Path(sys.executable).with_name("nrnivmodl")
    if find_spec("neuron") and compiler.exists():
        export(surrogate, folder / "neuron.mod")
        subprocess.run([compiler, "."], cwd=folder, check=True, capture_output=True)
        (folder / "main.py").write_text(NEURON_MAIN)
        commands["NEURON"] = [sys.executable, "main.py"]
    return commands


def exports(*neurons: str, steps: int = 20000, out: Path | None = None) -> None:
    """Measure how many steps a second exported neurons compute.

    Args:
        neurons: Run folders, saved surrogates or shipped neurons; l5pc-branch-20 and l5pc-small by default.
        steps: Steps of every measurement, up to a million.
        out: JSON file to write.
    """
    say("exporting, compiling and running each neuron in turns")
    rows = bench_exports(neurons or ("l5pc-branch-20", "l5pc-small"), steps)
    shown = Table("neuron", "language", "steps / CPU s", "times real time", "mean mV")
    for row in rows:
        numbers = (f"{row.steps_per_second:,.0f}", f"{row.times_real_time:.0f}", f"{row.mean_voltage_mv:.6f}")
        shown.add_row(row.neuron, row.language, *numbers)
    console.print(shown)
    write(rows, out)


if __name__ == "__main__":
    start(exports)
