import pytest
import torch

import ulmus
from ulmus.errors import ShapeError
from ulmus.neuron.evaluating import evaluating


@pytest.mark.parametrize("mode", [True, False])
def test_the_mode_of_before_comes_back_also_after_an_error(mode):
    module = torch.nn.Sequential(torch.nn.Dropout(0.5)).train(mode)
    with evaluating(module):
        assert (module(torch.ones(100)) == 1).all()
    assert module.training is module[0].training is mode
    with pytest.raises(ZeroDivisionError), evaluating(module):
        raise ZeroDivisionError
    assert module.training is module[0].training is mode


def test_a_neuron_in_training_stays_in_training_after_input_that_does_not_fit():
    surrogate = ulmus.load("l5pc-branch-20").train()
    with pytest.raises(ShapeError):
        surrogate.predict(torch.zeros(1, 5, 3))
    assert surrogate.training
    assert surrogate.neuron.training
