"""A neuron that drives its spike probability to where rounding flattens it."""

import pytest
import torch
from export_cases import surrogate

import ulmus


@pytest.fixture(scope="session")
def saturated() -> ulmus.Surrogate:
    """Its logit reaches 146 and falls below the threshold again, in input of `input_of`."""
    model = surrogate("no hidden layer")
    with torch.no_grad():
        model.neuron.readout.weight[0] *= 300
        model.neuron.readout.bias[0] -= 1000
    return model
