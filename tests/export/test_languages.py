"""Exports in other languages, run there and compared with the surrogate in double precision."""

import json
import shutil
import subprocess

import numpy as np
import pytest
import torch
from export_cases import CASES, events, input_of, predicted, saturated, showing, surrogate

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


JS_CALLS = """
import { createNeuron } from "./neuron.mjs";
const mv = (...events) => { const neuron = createNeuron(); neuron.step(...events); return neuron.step().voltageMv; };
for (const call of CALLS) { try { console.log(mv(...call)); } catch (error) { console.log(`${error.name}: ${error.message}`); } }
"""


def js_calls(folder, model, calls: str) -> list[str]:
    """What a step with each of these arguments leaves, or its error."""
    node = program("node")
    export(model, folder / "neuron.mjs")
    (folder / "main.mjs").write_text(JS_CALLS.replace("CALLS", calls))
    done = subprocess.run([node, "main.mjs"], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize("language", ["c", "javascript"])
def test_spikes_are_peaks_of_the_logit_where_the_probability_is_1(language, tmp_path):
    model = saturated()
    x = input_of(model, 500)
    if language == "c":
        _, found = run_c([program("gcc"), "-std=c99"], export(model, tmp_path / "neuron.c"), model, events(x))
    else:
        export(model, tmp_path / "neuron.mjs")
        (tmp_path / "main.mjs").write_text(NODE_MAIN.replace("MODULE", "neuron.mjs"))
        done = subprocess.run(
            [program("node"), tmp_path / "main.mjs"], input=json.dumps(events(x)), capture_output=True, text=True, check=True
        )  # fmt: skip
        found = np.array(json.loads(done.stdout))
    wanted = model.predict(x[None])
    assert np.flatnonzero(found[:, 0]).tolist() == wanted.spike_times_ms[0].tolist()
    assert found[:, 0].sum() > 3
    rounded = showing(wanted.spike_probability[0].tolist(), model.spike_threshold)
    assert rounded != wanted.spike_times_ms[0].tolist()


def test_c_refuses_a_value_that_is_not_finite(tmp_path):
    model = surrogate("no hidden layer")
    file = export(model, tmp_path / "neuron.c")
    for wrong in (np.nan, np.inf):
        code, found = run_c([program("gcc"), "-std=c99"], file, model, [[(1, 1.0)], [(1, wrong)]])
        assert (code, len(found)) == (2, 1)


def test_javascript_refuses_events_that_cannot_be(tmp_path):
    calls = "[[[3, 2], [1]], [[3], [NaN]], [[3], ['1']], [3], [[3], 1], [[3], [1], 2]]"
    assert js_calls(tmp_path, surrogate("no hidden layer"), calls) == [
        "RangeError: there are 2 inputs, but 1 values; expected one value for each input",
        "RangeError: input 3 has the value NaN; expected a finite number",
        "RangeError: input 3 has the value 1; expected a finite number",
        "TypeError: inputs is 3; expected an array, one number for each event",
        "TypeError: values is 1; expected an array, one number for each event",
        "RangeError: events is 2; expected how many of the 1 inputs count",
    ]


def test_values_that_are_left_out_in_javascript_are_the_signs_of_the_inputs(tmp_path):
    windows = js_calls(
        tmp_path, surrogate("published, windows"), "[[[3, 700]], [[3, 700], [1, -1]], [[3, 700], [1, 1]]]"
    )
    assert windows[0] == windows[1] != windows[2]
    told = surrogate("no hidden layer")
    told.card["inhibitory"] = [(1, 3)]
    found = js_calls(tmp_path, told, "[[[0, 2]], [[0, 2], [1, -1]], [[0, 2], [1, 1]]]")
    assert found[0] == found[1] != found[2]


def test_files_say_what_a_continuous_input_is_divided_by(tmp_path):
    model = surrogate("no hidden layer")
    model.card["continuous"] = [{"name": "current */", "unit": "nA", "scale": 0.5}]
    told = "it has an event in every step, whose value is that in nA divided by 0.5."
    for end in (".c", ".mjs", ".mod"):
        text = export(model, tmp_path / f"neuron{end}").read_text()
        assert told in text
        assert "Input 3 is continuous, current * /:" in text or end != ".c"
    assert js_calls(tmp_path, model, "[[[0, 3]], [[0, 3], [1, 0.4]]]")[0] == (
        "RangeError: input 3 is continuous and has no value; expected values"
    )


@pytest.mark.parametrize("end", [".c", ".js", ".mod"])
@pytest.mark.parametrize("threshold", [np.nan, -0.1, 2.0])
def test_a_threshold_that_is_no_probability_is_refused(end, threshold, tmp_path):
    model = surrogate("no hidden layer")
    model.spike_threshold = threshold
    with pytest.raises(ConfigError, match=r"spike_threshold=.* expected a spike probability between 0 and 1"):
        export(model, tmp_path / f"neuron{end}")


@pytest.mark.parametrize("name", ["for", "exp", "t", "ExpSyn", "run", "fired", "soma_mV", "class", "STATE"])
def test_a_mechanism_gets_no_name_that_is_taken(name, tmp_path):
    with pytest.raises(
        ConfigError, match=rf"{name}\.mod makes a mechanism {name}, .* such as fitted_{name}\.mod"
    ):
        export(surrogate("no hidden layer"), tmp_path / f"{name}.mod")


@pytest.mark.parametrize("name", ["l5pc small", "l5pc-small", "é", "a.b"])
def test_a_mechanism_has_a_file_name_that_c_plus_plus_can_take(name, tmp_path):
    with pytest.raises(ConfigError, match=r"expected letters, digits and _\. Write it as \w+\.mod"):
        export(surrogate("no hidden layer"), tmp_path / f"{name}.mod")
    assert not list(tmp_path.iterdir())


def test_sites_of_one_name_in_neuron_are_refused(tmp_path):
    model = ulmus.Surrogate(ulmus.ELM(4, 3, memory=3), sites=("apical 5", "apical-5"))
    with pytest.raises(ConfigError, match="'apical 5' and 'apical-5' would both be apical_5_mV"):
        export(model, tmp_path / "neuron.mod")


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
