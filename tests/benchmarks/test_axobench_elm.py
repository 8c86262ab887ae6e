"""The parts of the AxoBench script that need no AxoBench: how its channels reach the branches of the neuron."""

import json

import numpy as np
import pytest
import torch
from axobench_elm import BRANCHES, CHANNELS, SYNAPSES, for_channels, wiring

import ulmus
from ulmus.neuron import Surrogate


@pytest.fixture
def part(tmp_path):
    """A folder of AxoBench: 45 places, 14 or 15 channels of each sign on each."""
    random = np.random.default_rng(0)
    place = np.concatenate([random.permutation(np.arange(CHANNELS // 2) % 45) for _ in range(2)])
    manifest = {"simulator": {"routing": {"channel_event_routing": place.tolist()}}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    return tmp_path


def test_channels_of_one_place_and_sign_share_a_branch(part):
    position = wiring(part)
    place = np.array(
        json.loads((part / "manifest.json").read_text())["simulator"]["routing"]["channel_event_routing"]
    )
    assert len(set(position.tolist())) == CHANNELS
    inhibitory = np.arange(CHANNELS) >= CHANNELS // 2
    for branch in range(BRANCHES):
        here = position // SYNAPSES == branch
        assert set(place[here]) == {branch % 45}
        assert set(inhibitory[here]) == {branch >= 45}


def test_the_neuron_reads_channels_as_they_come_as_it_reads_them_in_order(part):
    position = torch.from_numpy(wiring(part))
    torch.manual_seed(0)
    neuron = ulmus.ELM(BRANCHES * SYNAPSES, 2, memory=4, branches=BRANCHES, synapses_per_branch=SYNAPSES)
    surrogate = Surrogate(neuron)
    channels = torch.randn(2, 30, CHANNELS)
    ordered = torch.zeros(2, 30, BRANCHES * SYNAPSES)
    ordered[..., position] = channels
    torch.testing.assert_close(for_channels(surrogate, position.numpy())(channels), surrogate(ordered))
