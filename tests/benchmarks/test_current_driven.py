import numpy as np
import pytest
from conftest import REPOSITORY

from ulmus.teachers.custom.script import load_cell
from ulmus.training.recipe_file import load_recipe

FOLDER = REPOSITORY / "benchmarks" / "current_driven"


def test_the_patch_of_axon_rests_and_fires_as_hodgkin_and_huxley_found():
    cell = load_cell(str(FOLDER / "hodgkin_huxley.py"))
    none = np.zeros(0, dtype=np.int64)
    current = np.repeat([0.0, 0.15], [100, 300])  # 12 uA/cm2 on 1257 um2
    trial = cell.run_trial(none, none, 400, current_na=current)
    assert trial.voltage_mv[99, 0] == pytest.approx(-65, abs=0.5)
    intervals = np.diff(trial.spike_time_ms)
    assert len(intervals) >= 15
    assert intervals[3:] == pytest.approx(
        intervals[-1], abs=0.3
    )  # it fires regularly, at some 70 Hz and 6.3 degrees
    assert 12 < intervals[-1] < 17


@pytest.mark.parametrize("name", ["current", "spikes", "l5pc"])
def test_its_recipes_are_recipes(name):
    data = {"data.train": "trials[:2]", "data.validation": "trials[2:]"}
    assert load_recipe(FOLDER / f"{name}.yaml", data).training.steps > 0
