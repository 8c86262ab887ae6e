"""What a clip is chosen from, against voltages whose range is known."""

from dataclasses import replace

import numpy as np
import pytest

import ulmus
from ulmus.trials import Header, StoreWriter, Trial
from ulmus.trials.voltage_range import share_above, site_voltage, voltage_range

HEADER = Header(4000, 1.0, np.ones(2, dtype=np.int8))


def write(path, rate, header=HEADER, trials=5):
    """Noise of mean -60 and standard deviation 4 mV with spikes of 40 mV, 3 steps wide."""
    writer = StoreWriter(path, header, trials)
    for index in range(trials):
        random = np.random.default_rng(index)
        voltage = random.normal(-60, 4, header.steps)
        spikes = np.sort(random.choice(np.arange(20, header.steps - 20, 8), rate, replace=False))
        for offset in (0, 1, 2):
            voltage[spikes + offset] = 40 - 20 * offset
        events = np.zeros(0, dtype=np.int32)
        times = spikes + 1.0 if header.spikes else np.empty(0)
        trial = Trial(events, events.astype(np.uint16), voltage[:, None].astype(np.float32), times, {})
        writer.add(index, trial)
    return writer.finish()


def test_the_clip_lies_above_the_voltage_between_spikes(tmp_path):
    store = site_voltage(write(tmp_path / "store", rate=60))
    found = voltage_range(store)
    assert found.clip_mv == np.ceil(-60 + 3.09 * 4)  # 99.9 % of a normal distribution
    assert found.offset_mv == pytest.approx(-60, abs=0.3)
    assert found.scale_per_mv == pytest.approx(1 / 12, rel=0.05)
    assert share_above(store, found.clip_mv) == pytest.approx(3 * 60 / 4000, rel=0.1)
    assert share_above(store, -100) == 1.0


def test_a_neuron_that_fires_all_the_time_has_a_clip_too(tmp_path):
    assert voltage_range(site_voltage(write(tmp_path / "store", rate=490))).clip_mv < -40


def test_nothing_is_cut_where_spikes_are_no_answer_or_do_not_occur(tmp_path):
    alone = site_voltage(write(tmp_path / "alone", rate=60, header=replace(HEADER, spikes=False)))
    assert voltage_range(alone).clip_mv == 40
    silent = site_voltage(write(tmp_path / "silent", rate=0))
    assert share_above(silent, voltage_range(silent).clip_mv) == 0


def test_the_recipes_of_the_layer_5_cell_keep_its_published_target():
    named = [name for name in ulmus.recipes() if name.startswith(("l5pc", "neuronio", "demo"))]
    assert len(named) >= 13
    for name in named:
        recipe = ulmus.load_recipe(name, {"data.train": "a", "data.validation": "b"})
        settings = recipe.surrogate
        assert (settings.clip_mv, settings.offset_mv, settings.scale_per_mv) == (-55.0, -67.7, 0.1), name
