"""Which inputs inhibit: what a fitted neuron knows of it."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from examples.training_examples import make_recipe

import ulmus
from ulmus.neuron.files import shipped_neurons
from ulmus.neuron.spikes import inhibitory_ranges
from ulmus.populations import Cells
from ulmus.trials import open_trials


@pytest.mark.parametrize("name", shipped_neurons())
def test_every_shipped_neuron_knows_its_inhibitory_inputs(name):
    signs, known = ulmus.load(name).input_signs
    assert known
    assert signs.tolist() == np.repeat([1, -1], len(signs) // 2).tolist()


def test_ranges_of_inhibitory_inputs():
    assert inhibitory_ranges(np.array([-1, -1, 1, -1], dtype=np.int8)) == [(0, 2), (3, 4)]
    assert inhibitory_ranges(np.array([1, 1], dtype=np.int8)) == []


def test_a_fit_keeps_the_signs_of_its_trials(integrator_store, tmp_path):
    model = make_recipe(integrator_store, steps=1).problem().model
    ulmus.save(model, tmp_path / "a.safetensors")
    loaded = ulmus.load(tmp_path / "a.safetensors")
    signs, known = loaded.input_signs
    assert known
    assert signs.tolist() == open_trials([str(integrator_store)]).header.input_sign.tolist()
    inhibited = loaded.stepper().step([9, 9]).voltage_mv
    np.testing.assert_allclose(inhibited, loaded.stepper().step([9, 9], [-1, -1]).voltage_mv)
    with pytest.raises(ulmus.UlmusError, match="input 9 has the wrong sign; the input is inhibitory"):
        loaded.stepper().step([9, 9], [1, 1])
    net = ulmus.Population([Cells(loaded, 3, "a")], seed=1)
    net.poisson("a", 5.0, inputs="inhibitory")


def test_the_page_of_a_browser_knows_them_too(tmp_path):
    if shutil.which("node") is None:
        pytest.skip("node, which runs JavaScript, is not installed")
    page = Path(ulmus.__file__).parent / "export" / "neuron.js"
    script = tmp_path / "signs.mjs"
    script.write_text(
        f"import {{ inputSigns }} from {json.dumps(page.as_uri())};"
        'const header = { card: { inhibitory: [[1, 2]] }, model: { config: { routing: "dense" } } };'
        "console.log(JSON.stringify(Array.from(inputSigns(header, 3))));"
    )
    done = subprocess.run(["node", str(script)], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [1, -1, 1]


@pytest.mark.parametrize("threshold", [np.nan, 1.5, -1.0])
def test_a_threshold_that_is_no_probability_is_refused(threshold):
    with pytest.raises(ulmus.UlmusError, match="no probability; expected one from 0 to 1"):
        ulmus.Surrogate(ulmus.ELM(6, 2, memory=5), spike_threshold=threshold)


@pytest.mark.parametrize("ranges", [[3, 5], [(8, 20)], [(5, 3)], 4])
def test_ranges_that_are_none_are_refused(ranges):
    surrogate = ulmus.Surrogate(ulmus.ELM(6, 2, memory=5), card={"inhibitory": ranges})
    with pytest.raises(ulmus.UlmusError, match="expected ranges of the 6 inputs"):
        surrogate.stepper()
