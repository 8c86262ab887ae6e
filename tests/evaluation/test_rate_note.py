"""Readers are told of a neuron that spikes far less often than the recorded one, and of inhibition that is none."""

from dataclasses import replace

import numpy as np
import pytest
from trial_examples import make_header, write_store

import ulmus
from ulmus.evaluation.scores import rate_note, sign_note


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


def test_trials_without_inhibition_are_said_of_a_neuron_that_knows_it(tmp_path):
    neuron = ulmus.ELM(6, 2, memory=3, branches=2, synapses_per_branch=4, routing="windows")
    surrogate = ulmus.Surrogate(neuron)
    header = make_header()
    right = write_store(tmp_path / "right", header=header)
    wrong = write_store(tmp_path / "wrong", header=replace(header, input_sign=np.ones(6)))
    assert sign_note(surrogate, right) == ""
    assert "none of its 3 inhibitory inputs inhibits" in sign_note(surrogate, wrong)
    assert sign_note(ulmus.Surrogate(ulmus.ELM(6, 2, memory=3)), wrong) == ""  # which knows nothing of signs
