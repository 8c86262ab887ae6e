from threading import Barrier, Thread

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


@pytest.mark.parametrize("mode", [True, False])
def test_parts_in_another_mode_than_the_whole_come_back_as_they_were(mode):
    module = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.BatchNorm1d(3)).train(mode)
    module[1].train(not mode)
    with evaluating(module):
        assert not any(part.training for part in module.modules())
    assert [part.training for part in module.modules()] == [mode, mode, not mode]


def test_what_a_part_does_on_leaving_training_is_taken_back():
    class Merged(torch.nn.Module):
        """Weights that are one while it predicts, as in low-rank adaptation."""

        merged = False

        def train(self, mode=True):
            self.merged = not mode
            return super().train(mode)

    module = torch.nn.Sequential(Merged())
    with evaluating(module):
        assert module[0].merged
    assert not module[0].merged


def test_a_part_whose_train_predicts_and_one_that_refuses():
    class Predicting(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = torch.nn.Dropout(0.5)

        def train(self, mode=True):
            super().train(mode)
            with evaluating(self.inner):
                assert not self.inner.training
            return self

    class Refusing(torch.nn.Module):
        def train(self, mode=True):
            super().train(mode)
            if not mode:
                raise ZeroDivisionError
            return self

    module = Predicting()
    with evaluating(module):
        assert not module.inner.training
    assert module.training
    module = torch.nn.Sequential(torch.nn.Dropout(0.5), Refusing())
    with pytest.raises(ZeroDivisionError), evaluating(module):
        pass
    assert all(part.training for part in module.modules())


def test_training_that_begins_meanwhile_does_not_reach_those_who_come_later():
    module = torch.nn.Dropout(0.5).train()
    with evaluating(module):
        module.train()
        with evaluating(module):
            assert not module.training
    assert module.training


def test_a_module_that_does_more_than_set_a_mode_does_it_once():
    class Merging(torch.nn.Module):
        weight = 1.0

        def train(self, mode=True):
            self.weight *= 0.5 if mode else 2
            return super().train(mode)

    module = Merging()
    with evaluating(module), evaluating(module):
        assert module.weight == 2
    assert module.weight == 1


def test_of_two_threads_neither_ends_what_the_other_is_in():
    module, both, left = torch.nn.Dropout(0.5).train(), Barrier(2), Barrier(2)
    seen = []

    def second():
        with evaluating(module):
            both.wait()
            left.wait()  # the first has left
            seen.append(module.training)

    thread = Thread(target=second)
    with evaluating(module):
        thread.start()
        both.wait()
    left.wait()
    thread.join()
    assert seen == [False]
    assert module.training


def test_the_warning_of_signs_names_the_line_of_the_caller():
    surrogate = ulmus.load("l5pc-branch-20")
    with pytest.warns(UserWarning, match="inhibitory") as caught:
        surrogate.predict(torch.ones(1, 5, 1278))
    assert caught[0].filename == __file__


def test_a_neuron_in_training_stays_in_training_after_input_that_does_not_fit():
    surrogate = ulmus.load("l5pc-branch-20").train()
    with pytest.raises(ShapeError):
        surrogate.predict(torch.zeros(1, 5, 3))
    assert surrogate.training
    assert surrogate.neuron.training
