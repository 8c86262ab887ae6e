"""Readers are told of a neuron that spikes far less often than the recorded one."""

import pytest

from ulmus.evaluation.scores import rate_note


def test_a_neuron_that_spikes_too_rarely_is_named_with_both_rates():
    note = rate_note({"rate_hz": 22.25, "predicted_rate_hz": 1.25})
    assert "1.25 spikes a second" in note
    assert "22.2" in note
    assert "sum spike_probability" in note


@pytest.mark.parametrize(
    "scores",
    [
        {},
        {"rate_hz": 0.0, "predicted_rate_hz": 0.0},
        {"rate_hz": 2.0, "predicted_rate_hz": 1.0},
        {"rate_hz": 2.0, "predicted_rate_hz": 5.0},
    ],
)
def test_others_need_no_note(scores):
    assert rate_note(scores) == ""
