"""Spiking units against their equations in NumPy and in closed form."""

import math

import numpy as np
import pytest
import torch
from event_sequences import events_of, spikes

from ulmus.baselines import PointNeuron, SpikingNetwork
from ulmus.baselines.spiking import Spike
from ulmus.errors import ConfigError


def network(**changes) -> SpikingNetwork:
    torch.manual_seed(0)
    sizes = {"outputs": 3, "units": 4, "layers": 2, "tau_membrane_ms": (2.0, 8.0)}
    model = SpikingNetwork(5, **(sizes | changes)).double()
    with torch.no_grad():
        for layer in model.layers:
            layer.norm.weight.mul_(4)
            layer.norm.running_mean.normal_()
            layer.spike_triggered.uniform_(0.05, 0.5) if layer.adaptation_decay else None
    return model.eval()


def array(value: torch.Tensor) -> np.ndarray:
    return value.detach().numpy()


@pytest.mark.parametrize("adaptive", [True, False])
def test_network_follows_the_equations_step_by_step(adaptive):
    model = network(adaptive=adaptive, dt_ms=2.0)
    x = torch.randn(3, 30, 5, dtype=torch.float64)
    y, _ = model(x)
    signal = array(x)
    for layer in model.layers:
        alpha = np.exp(-2.0 / np.geomspace(2.0, 8.0, 4))
        rho = np.exp(-2.0 / np.geomspace(30.0, 120.0, 4))
        a, b = (array(layer.subthreshold), array(layer.spike_triggered)) if adaptive else (0.0, 0.0)
        mean, variance = array(layer.norm.running_mean), array(layer.norm.running_var)
        v, w, s = np.zeros((3, 3, 4))
        fired = []
        for t in range(30):
            current = (signal[:, t] @ array(layer.forward_weight).T - mean) / np.sqrt(variance + 1e-5)
            current = current * array(layer.norm.weight) + array(layer.norm.bias)
            w = rho * w + (1 - rho) * a * v + b * s
            v = alpha * (v - s) + (1 - alpha) * (current + s @ array(layer.recurrent_weight).T - w)
            s = (v > 1).astype(float)
            fired.append(s)
        signal = np.stack(fired, axis=1)
        assert 0.02 < signal.mean() < 0.7
    kappa, read = math.exp(-2.0 / 20.0), np.zeros((3, 3))
    for t in range(30):
        inward = signal[:, t] @ array(model.readout.weight).T + array(model.readout.bias)
        read = kappa * read + (1 - kappa) * inward
        # Time constants are kept in single precision.
        np.testing.assert_allclose(array(y[:, t]), read, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "model", [network(), network(outputs=None), PointNeuron(5, 3, adaptive=True).double()]
)
def test_pieces_equal_one_call(model):
    x = torch.randn(2, 40, 5, dtype=torch.float64) * 5
    first, state = model(x[:, :15])
    nothing, state = model(x[:, 15:15], state)
    second, state = model(x[:, 15:], state)
    whole, last = model(x)
    assert nothing.shape == (2, 0, whole.shape[2])
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)
    torch.testing.assert_close(state, last)


@pytest.mark.parametrize("model", [network(), PointNeuron(5, 2).double()])
def test_events_equal_the_dense_input(model):
    x = spikes(2, 20, 5)
    torch.testing.assert_close(model(events_of(x))[0], model(x.double())[0])


@pytest.mark.parametrize(
    "model",
    [network(), network(adaptive=False), PointNeuron(5, 3, adaptive=True, synaptic_weight=1.0).double()],
)
def test_gradients_reach_every_parameter(model):
    x = 3 * spikes(4, 60, 5).abs().double()
    model.train()(x)[0].square().sum().backward()
    silent = [name for name, value in model.named_parameters() if not bool((value.grad != 0).any())]
    assert silent == []


def test_gradient_of_a_spike_is_that_of_the_fast_sigmoid():
    distance = torch.tensor([-0.7, 0.2], dtype=torch.float64, requires_grad=True)
    fired = Spike.apply(distance)
    assert fired.tolist() == [0.0, 1.0]
    fired.sum().backward()
    x = distance.detach().requires_grad_()
    (x / (1 + 10 * x.abs())).sum().backward()
    torch.testing.assert_close(distance.grad, x.grad)


def test_a_constant_current_makes_the_interval_of_the_closed_form():
    """v_k = I (1 - alpha^k) exceeds 1 first at k > tau / dt log(I / (I - 1)); then it starts again from rest."""
    model = PointNeuron(
        1, 2, tau_membrane_ms=20.0, tau_synapse_ms=1e-3, synaptic_weight=1.0, dt_ms=0.1
    ).double()
    for current in (1.2, 1.5, 3.0):
        logit = model(torch.full((1, 2000, 1), current, dtype=torch.float64))[0][0, :, 0]
        times = torch.nonzero(logit > 0).flatten()
        interval = math.floor(20.0 / 0.1 * math.log(current / (current - 1))) + 1
        assert times[0] == interval - 1
        assert set(times.diff().tolist()) == {interval}


def test_below_threshold_the_voltage_is_the_filtered_input():
    model = PointNeuron(2, 2, synaptic_weight=0.02).double()
    with torch.no_grad():
        model.scale.fill_(3.0)
        model.offset.fill_(-0.5)
    x = torch.zeros(1, 50, 2, dtype=torch.float64)
    x[0, 4, 0], x[0, 10, 1] = 1.0, -1.0
    voltage = model(x)[0][0, :, 1]
    alpha, gamma, t = math.exp(-1 / 20), math.exp(-1 / 5), np.arange(50)
    response = (alpha ** (t + 1) - gamma ** (t + 1)) / (alpha - gamma) * (1 - alpha)
    expected = 0.02 * (np.r_[np.zeros(4), response[:46]] - np.r_[np.zeros(10), response[:40]])
    np.testing.assert_allclose(array(voltage), 3 * expected - 0.5, rtol=1e-5, atol=1e-7)


def test_an_adaptive_threshold_stretches_the_intervals():
    model = PointNeuron(1, 2, adaptive=True, synaptic_weight=1.0)
    with torch.no_grad():
        logit = model(torch.full((1, 400, 1), 0.5))[0][0, :, 0]
    intervals = torch.nonzero(logit > 0).flatten().diff()
    assert len(intervals) >= 4
    assert bool((intervals.diff() >= 0).all())
    assert intervals[-1] > 1.5 * intervals[0]


def test_parameter_counts():
    assert PointNeuron(1278, 2).trainable_parameters() == 1283
    assert PointNeuron(1278, 2, adaptive=True).trainable_parameters() == 1285
    # weights, recurrent weights, norm (2), membrane, adaptation (3); readout and its time constants
    counts = 700 * 128 + 128 * 128 + 6 * 128 + 128 * 20 + 20 + 20
    assert SpikingNetwork(700, 20, units=128).trainable_parameters() == counts


def test_input_dropout_leaves_out_whole_channels():
    model = network(input_dropout=0.5, layers=1)
    x = torch.randn(2, 20, 5, dtype=torch.float64)
    model.train()
    for layer in model.layers:
        layer.norm.eval()
    torch.manual_seed(3)
    dropped = model(x)[0]
    torch.manual_seed(3)
    mask = torch.bernoulli(torch.full((5,), 0.5, dtype=torch.float64)) * 2
    assert 0 < mask.count_nonzero() < 5
    torch.testing.assert_close(dropped, model.eval()(x * mask)[0])


def test_values_that_cannot_be_used_are_named():
    with pytest.raises(ConfigError, match="units=0"):
        network(units=0)
    with pytest.raises(ConfigError, match="tau_membrane_ms"):
        network(tau_membrane_ms=(5.0, 1.0))
    with pytest.raises(ConfigError, match="tau_synapse_ms=-1"):
        PointNeuron(5, tau_synapse_ms=-1.0)
    with pytest.raises(ConfigError, match="outputs=0"):
        PointNeuron(5, 0)
