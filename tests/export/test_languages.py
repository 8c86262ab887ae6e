"""Exports in other languages, run there and compared with the surrogate in double precision."""

import json
import shutil
import subprocess

import numpy as np
import pytest
import torch
from export_cases import CASES, events, input_of, predicted, showing, surrogate

import ulmus
import ulmus.baselines
from ulmus.errors import ConfigError
from ulmus.export import export

STEPS = (7, 5000)
"""A short and a long sequence."""
C_MAIN = r"""
#include <stdio.h>
#include FILE_NAME
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
int main(void) {
    JOIN(NAME, _state) state;
    int steps, step, events, event, site, spike, input[10000];
    double value[10000], probability, voltage[8];
    JOIN(NAME, _reset)(&state);
    if (scanf("%d", &steps) != 1) return 3;
    for (step = 0; step < steps; ++step) {
        if (scanf("%d", &events) != 1) return 3;
        for (event = 0; event < events; ++event)
            if (scanf("%d %lf", input + event, value + event) != 2) return 3;
        spike = JOIN(NAME, _step)(&state, events, input, value, &probability, voltage);
        if (spike < 0) return 2;
        printf("%d %.17g", spike, probability);
        for (site = 0; site < SITES; ++site) printf(" %.17g", voltage[site]);
        printf("\n");
    }
    return 0;
}
"""
NODE_MAIN = """
import { readFileSync } from "node:fs";
import { createNeuron } from "./MODULE";
const neuron = createNeuron(), told = [];
let kept = null;
for (const row of JSON.parse(readFileSync(0))) {
  if (told.length === 3) {  // goes on from a copy of its state, after something else
    kept = neuron.state;
    neuron.reset();
    neuron.step([0]);
    neuron.state = kept;
  }
  const { spikeProbability, spike, voltagesMv } = neuron.step(row.map((event) => event[0]), row.map((event) => event[1]));
  told.push([Number(spike), spikeProbability, ...voltagesMv]);
}
console.log(JSON.stringify(told));
"""


def assert_agrees(found: np.ndarray, model: ulmus.Surrogate, x: torch.Tensor) -> None:
    wanted = predicted(model, x).numpy()
    np.testing.assert_allclose(found[:, 1:], wanted, rtol=1e-9, atol=1e-10)
    assert np.flatnonzero(found[:, 0]).tolist() == showing(wanted[:, 0].tolist(), model.spike_threshold)


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run_c(compiler: list[str], file, model, rows) -> np.ndarray:
    name = file.stem.replace("-", "_")
    (file.parent / "main.c").write_text(C_MAIN)
    defined = [f'-DFILE_NAME="{file}"', f"-DNAME={name}", f"-DSITES={len(model.sites)}"]
    flags = ["-O1", "-Wall", "-Wextra", "-pedantic", "-Werror"]
    built = file.parent / "program"
    subprocess.run(
        [*compiler, *flags, *defined, str(file.parent / "main.c"), "-o", str(built), "-lm"], check=True
    )
    told = [f"{len(row)} " + " ".join(f"{channel} {value}" for channel, value in row) for row in rows]
    done = subprocess.run(
        [built], input=f"{len(rows)}\n" + "\n".join(told), capture_output=True, text=True, check=False
    )
    return done.returncode, np.array([line.split() for line in done.stdout.splitlines()], dtype=float)


@pytest.mark.parametrize("case", CASES)
def test_c_computes_the_surrogate(case, tmp_path):
    compiler, model = program("gcc"), surrogate(case)
    file = export(model, tmp_path / "a neuron-1.c".replace(" ", "_"))
    for steps in STEPS:
        x = input_of(model, steps)
        code, found = run_c([compiler, "-std=c99"], file, model, events(x))
        assert code == 0
        assert_agrees(found, model, x)


def test_a_header_is_c_plus_plus_too_and_refuses_an_input_out_of_range(tmp_path):
    compiler, model = program("g++"), surrogate("no hidden layer")
    file = export(model, tmp_path / "neuron.h")
    x = input_of(model, 50)
    code, found = run_c([compiler, "-x", "c++", "-Wno-unused-function"], file, model, events(x))
    assert code == 0
    assert_agrees(found, model, x)
    for wrong in (-1, 4):
        code, found = run_c(
            [compiler, "-x", "c++", "-Wno-unused-function"], file, model, [[(1, 1.0)], [(wrong, 1.0)]]
        )
        assert (code, len(found)) == (2, 1)


@pytest.mark.parametrize("case", CASES)
def test_javascript_computes_the_surrogate(case, tmp_path):
    node, model = program("node"), surrogate(case)
    export(model, tmp_path / "neuron.mjs")
    (tmp_path / "main.mjs").write_text(NODE_MAIN.replace("MODULE", "neuron.mjs"))
    for steps in STEPS:
        x = input_of(model, steps)
        told = json.dumps(events(x))
        done = subprocess.run(
            [node, tmp_path / "main.mjs"], input=told, capture_output=True, text=True, check=True
        )
        assert_agrees(np.array(json.loads(done.stdout)), model, x)


def test_javascript_says_what_it_cannot_read(tmp_path):
    node = program("node")
    export(surrogate("no hidden layer"), tmp_path / "neuron.mjs")
    ulmus.save(ulmus.Surrogate(ulmus.baselines.LSTM(4, 2, memory=3)), tmp_path / "lstm.safetensors")
    (tmp_path / "short.safetensors").write_bytes((tmp_path / "lstm.safetensors").read_bytes()[:-9])
    (tmp_path / "text.safetensors").write_text("hello, this is no neuron")
    main = """
import { readFileSync } from "node:fs";
import { createNeuron, readNeuron } from "./neuron.mjs";
const told = [() => createNeuron().step([4]), () => createNeuron().step([1.5])];
for (const name of ["lstm", "short", "text"]) {
  const { buffer, byteOffset, length } = readFileSync(`${name}.safetensors`);
  told.push(() => readNeuron(buffer.slice(byteOffset, byteOffset + length)));
}
for (const call of told) { try { call(); console.log("nothing"); } catch (error) { console.log(error.message); } }
"""
    (tmp_path / "main.mjs").write_text(main)
    done = subprocess.run([node, "main.mjs"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "input 4 does not exist; expected 0 to 3",
        "input 1.5 does not exist; expected 0 to 3",
        "a Surrogate of kind LSTM cannot run here; expected a Surrogate of an ELM",
        "this safetensors file is cut off",
        "this is not a safetensors file",
    ]


@pytest.mark.parametrize("end", [".c", ".js", ".mod"])
def test_a_model_that_a_format_cannot_hold_is_refused(end, tmp_path):
    with pytest.raises(ConfigError, match=r"Surrogate of kind LSTM .* expected a Surrogate of an ELM"):
        export(ulmus.Surrogate(ulmus.baselines.LSTM(4, 2, memory=3)), tmp_path / f"neuron{end}")
    with pytest.raises(ConfigError, match="a ELM cannot be written|an? ELM"):
        export(ulmus.ELM(4, 2, memory=3), tmp_path / f"neuron{end}")
    assert not list(tmp_path.iterdir())


def test_an_unknown_end_names_those_that_are_known(tmp_path):
    with pytest.raises(ConfigError, match=r"neuron\.rs ends with '\.rs'; expected one of \.c, \.h, \.js"):
        export(surrogate("no hidden layer"), tmp_path / "neuron.rs")
