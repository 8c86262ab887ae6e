"""The convolutional network against NumPy, and in pieces."""

import numpy as np
import pytest
import torch
from event_sequences import events_of, spikes

from ulmus.baselines import TCN
from ulmus.errors import ConfigError


def make(**changes) -> TCN:
    torch.manual_seed(0)
    model = TCN(5, **({"outputs": 3, "channels": 4, "kernels": (6, 3, 1), "dilation": 2} | changes)).double()
    for norm in model.norms:
        norm.running_mean.normal_(std=0.1)
        norm.running_var.uniform_(0.05, 0.5)
    return model.eval()


def test_follows_the_convolutions_of_numpy():
    model, x = make(), torch.randn(2, 30, 5, dtype=torch.float64)
    y = model(x)[0].detach().numpy()
    for number in range(2):
        signal = x[number].numpy().T
        for layer, (convolution, norm) in enumerate(zip(model.convolutions, model.norms, strict=True)):
            weight = convolution.weight.detach().numpy()
            spread = np.zeros((*weight.shape[:2], (weight.shape[2] - 1) * 2**layer + 1))
            spread[:, :, :: 2**layer] = weight[:, :, ::-1]
            summed = np.array(
                [
                    sum(np.convolve(row, k) for row, k in zip(signal, kernels, strict=True))
                    for kernels in spread
                ]
            )[:, :30]
            mean, scale = norm.running_mean.numpy(), np.sqrt(norm.running_var.numpy() + norm.eps)
            signal = np.maximum(0, (summed - mean[:, None]) / scale[:, None])
        expected = signal.T @ model.readout.weight.detach().numpy().T + model.readout.bias.detach().numpy()
        np.testing.assert_allclose(y[number], expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("changes", [{}, {"outputs": None, "dilation": 1, "kernels": (9,)}])
def test_pieces_equal_one_call(changes):
    model, x = make(**changes), torch.randn(2, 25, 5, dtype=torch.float64)
    state, pieces = None, []
    for start, stop in ((0, 1), (1, 1), (1, 4), (4, 20), (20, 25)):
        y, state = model(x[:, start:stop], state)
        pieces.append(y)
    whole, last = model(x)
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole)
    torch.testing.assert_close(state, last)


def test_an_output_sees_no_later_input_and_no_earlier_than_it_reaches():
    model = make(kernels=(6, 3), dilation=1)
    x = torch.randn(1, 20, 5, dtype=torch.float64, requires_grad=True)
    model(x)[0][0, 12].sum().backward()
    assert torch.nonzero(x.grad.abs().sum(dim=2)[0]).flatten().tolist() == list(range(12 - 7, 13))


def test_events_equal_the_dense_input():
    model, x = make(), spikes(2, 20, 5)
    torch.testing.assert_close(model(events_of(x))[0], model(x.double())[0])


def test_gradients_reach_every_parameter():
    model = make().train()
    model(torch.randn(3, 30, 5, dtype=torch.float64))[0].square().sum().backward()
    assert all(bool((value.grad != 0).any()) for value in model.parameters())


def test_the_published_network_has_ten_million_parameters():
    weights = 1278 * 128 * 54 + 6 * 128 * 128 * 12
    assert TCN(1278, 2).trainable_parameters() == weights + 7 * 2 * 128 + 128 * 2 + 2 == 10_015_234


def test_values_that_cannot_be_used_are_named():
    with pytest.raises(ConfigError, match="kernels is empty"):
        make(kernels=())
    with pytest.raises(ConfigError, match=r"kernels\[1\]=0"):
        make(kernels=(3, 0))
