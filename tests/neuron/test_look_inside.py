"""The page that looks inside a fitted neuron: its Python runs, and the detailed cell agrees with what a gradient says."""

import re
from pathlib import Path

import pytest


def test_the_gradient_finds_the_input_that_drives_the_detailed_cell(capsys):
    pytest.importorskip("arbor")
    page = Path(__file__).parents[2] / "docs" / "howto" / "look-inside.md"
    tables, *worked = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    exec(tables, {})
    names: dict = {}
    exec("\n".join(worked), names)
    chance = {
        name: names["surrogate"].predict(names[name]).spike_probability[0, names["at"]].item()
        for name in ("background", "shuffled", "driven")
    }
    assert 10 * chance["shuffled"] < chance["driven"]
    assert chance["background"] < chance["shuffled"]
    told = capsys.readouterr().out.splitlines()
    assert "shuffled: spikes at [] ms" in told[-2]
    (spike,) = names["trial"].spike_time_ms
    assert abs(spike - names["at"]) < 2
