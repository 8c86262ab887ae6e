"""A mapping: what may be written, and what is said of a mistake."""

import re
from pathlib import Path

import pytest
import yaml

from ulmus.errors import ConfigError
from ulmus.recordings.mapping import load_mapping, parse_mapping, selected

INPUTS = {"times": "t", "ids": "i", "unit": "s", "count": 500, "inhibitory": "none"}
GOOD = {"inputs": INPUTS, "voltage": {"values": "v", "sampling_hz": 1000}}


@pytest.mark.parametrize(
    ("written", "expected"),
    [("all", [0, 1, 2, 3]), ("none", []), (2, [2]), ("1:3", [1, 2]), ([0, "2:"], [0, 2, 3]), (":1", [0])],
)
def test_selections(written, expected):
    group = parse_mapping({**GOOD, "inputs": {**INPUTS, "inhibitory": written}}).inputs[0]
    assert selected(group.inhibitory, 4).nonzero()[0].tolist() == expected
    assert selected(group.inhibitory, 4, first=0).sum() == len(expected)


def test_a_file_and_its_short_form(tmp_path):
    path = tmp_path / "mapping.yaml"
    path.write_text(
        "inputs: {times: t, ids: i, unit: s, count: 402, inhibitory: [3:45, 401]}\nvoltage: {values: v, sampling_hz: 40000}\n"
    )
    mapping = load_mapping(path)
    assert (mapping.dt_ms, mapping.inputs[0].inhibitory, mapping.output_spikes.threshold_mv) == (
        1.0,
        ("3:45", "401"),
        -25.0,
    )
    assert parse_mapping(mapping.model_dump(mode="json", exclude_unset=True)) == mapping


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"votlage": {}}, r"unknown key 'votlage'; expected one of .* Did you mean 'voltage'\?"),
        ({"inputs": {**INPUTS, "tmies": "t"}}, r"unknown key 'inputs\.tmies'.* Did you mean 'times'"),
        (
            {"inputs": [INPUTS, {**INPUTS, "uint": "s"}]},
            r"unknown key 'inputs\.1\.uint'.* Did you mean 'unit'",
        ),
        ({"inputs": {**INPUTS, "sampling_hz": 1}}, r"Did you mean 'voltage\.sampling_hz'"),
        ({"sites": {"far": {"values": "v", "unti": "V"}}}, r"unknown key 'sites\.far\.unti'.* 'unit'"),
        ({"inputs": {"times": "t"}}, r"'inputs\.inhibitory' is missing; add it to the mapping"),
        ({"inputs": []}, "no input: give `inputs`"),
        ({"inputs": {**INPUTS, "inhibitory": "some"}}, r"'some' is no number; give numbers, ranges"),
        ({"inputs": {**INPUTS, "unit": "min"}}, r"'inputs\.unit' is 'min'"),
        ({"inputs": {**INPUTS, "count": None}}, "without `count`; say how many"),
        ({"inputs": {**INPUTS, "times": "t{input}"}}, "both `ids` and"),
        (
            {"voltage": {"values": "v", "sampling_hz": 1, "times": "t"}},
            "both sample times and a sampling rate",
        ),
        (
            {"output_spikes": {"times": "s", "threshold_mv": 0}},
            "both spike times and settings of a detection",
        ),
        ({"trials": {"duration_ms": 10.5}}, "not whole bins of 1.0 ms"),
        ({"inputs": {**INPUTS, "trial": "n"}, "trials": {"duration_ms": 10}}, "drop one"),
        ({"dt_ms": 0}, "'dt_ms' is 0"),
    ],
)
def test_mistakes_name_the_key(change, message):
    with pytest.raises(ConfigError, match=message):
        parse_mapping({**GOOD, **change}, "mapping.yaml")


def test_files_that_are_no_mappings(tmp_path):
    path = tmp_path / "mapping.yaml"
    for text, message in (
        ("inputs: [", "not YAML"),
        ("words", "expected keys such as 'inputs' and 'voltage'"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=message):
            load_mapping(path)
    with pytest.raises(ConfigError, match="does not exist"):
        load_mapping(tmp_path / "nowhere.yaml")


def test_the_mappings_of_the_guide_are_valid():
    guide = Path(__file__).parents[2] / "docs" / "howto" / "your-own-recordings.md"
    blocks = re.findall(r"```yaml\n(.*?)```", guide.read_text(), flags=re.DOTALL)
    assert len(blocks) == 9
    for block in blocks:
        parse_mapping(yaml.safe_load(block), str(guide))
