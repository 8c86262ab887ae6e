"""Connected neurons: what each receives and does is what the fitted neuron says, for any threads, pieces and files."""

import numpy as np
import pytest
import torch

import ulmus
from ulmus.errors import ConfigError, DataError
from ulmus.kernels.numba_network import FREE, FREE_COUNT, simulate
from ulmus.neuron.surrogate import VoltageUnits
from ulmus.populations import (
    AllToAll,
    Cells,
    DistanceDependentProbability,
    FixedProbability,
    FromList,
    Population,
)
from ulmus.populations.network import grown

STEPS = 250


def surrogate(seed, inputs=40, memory=6):
    torch.manual_seed(seed)
    neuron = ulmus.ELM(
        inputs, 2, memory=memory, branches=5, synapses_per_branch=8, routing="windows", synaptic_weight=2.0,
        tau_memory_ms=(1.0, 20.0),
    )  # fmt: skip
    draw = torch.Generator().manual_seed(seed)
    x = (torch.rand(4, 300, inputs, generator=draw) < 0.05).float()
    x[..., inputs // 2 :] *= -1
    with torch.no_grad():
        neuron.readout.weight[0] *= 20
        neuron.readout.bias[0] -= neuron(x)[0][..., 0].median()
    return ulmus.Surrogate(neuron.double())


def events(neurons, seed=0):
    """Times in ms, neurons and inputs of played events."""
    draw = np.random.default_rng(seed)
    count = neurons * STEPS
    return draw.uniform(0, STEPS, count), draw.integers(neurons, size=count), draw.integers(40, size=count)


def network(**settings):
    """Two types of shared weights and one of own weights, connected in every way."""
    net = Population(
        [
            Cells(surrogate(1), 11, "a"),
            Cells(surrogate(2, memory=9), 5, "b"),
            Cells([surrogate(s) for s in (3, 4, 5)], name="own"),
        ],
        seed=7,
        **settings,
    )
    net.connect("a", "b", AllToAll(), delay_ms=3.0)
    net.connect("a", "a", FixedProbability(0.4), delay_ms=lambda draw, n: draw.uniform(1, 9, n), weight=0.5)
    net.connect(
        "b", "own", FromList([(0, 0), (0, 2), (4, 1)]), inputs="inhibitory", delay_ms=[1.0, 2.0, 20.0]
    )
    net.connect("own", "a", FixedProbability(0.5), inputs=[3, 25], delay_ms=2.0)
    return net


def test_every_neuron_does_what_the_fitted_neuron_says_of_what_it_receives():
    net, played = network(), events(19)
    everybody = np.arange(19)
    found = net.run(STEPS, events=played, record=everybody)
    assert len(found.spike_neuron) > 100
    received = np.zeros((19, STEPS, 40))
    signs = np.repeat([1.0, -1.0], 20)
    np.add.at(received, (played[1], played[0].astype(int), played[2]), signs[played[2]])
    for source, target, inputs, values, delays in net._wiring._connections:
        for one, other, place, value, delay in zip(source, target, inputs, values, delays, strict=True):
            times = found.spike_time_ms[found.spike_neuron == one].astype(int) + delay
            np.add.at(received[other], (times[times < STEPS], place), value)
    models = [*[surrogate(1)] * 11, *[surrogate(2, memory=9)] * 5, *(surrogate(s) for s in (3, 4, 5))]
    for number, model in enumerate(models):
        wanted = model.predict(torch.from_numpy(received[number : number + 1]))
        spikes = found.spike_time_ms[found.spike_neuron == number]
        assert spikes.tolist() == [time for time in wanted.spike_times_ms[0].tolist() if time < STEPS]
        np.testing.assert_allclose(
            found.voltage_mv[:, number, 0], wanted.voltage_mv[0, :, 0].numpy(), rtol=1e-9
        )


def started(**settings):
    net = network(**settings)
    net.poisson("a", 20.0)
    net.poisson("b", 5.0, inputs="inhibitory", weight=2.0)
    return net


def test_threads_pieces_and_files_change_nothing(tmp_path):
    wanted = started().run(STEPS, record=[0, 12, 18])
    assert len(wanted.spike_neuron) > 20
    for threads in (2, 5, 40):
        found = started().run(STEPS, record=[0, 12, 18], threads=threads)
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(one, other)
    net = started()
    parts = [net.run(100)]
    net.save(tmp_path / "state.npz")
    other = started()
    other.resume(tmp_path / "state.npz")
    parts += [other.run(1.0) for _ in range(100, STEPS)]
    assert other.time_ms == STEPS
    np.testing.assert_array_equal(
        np.concatenate([part.spike_time_ms for part in parts]), wanted.spike_time_ms
    )
    np.testing.assert_array_equal(np.concatenate([part.spike_neuron for part in parts]), wanted.spike_neuron)


@pytest.mark.parametrize("refractory_ms", [0.0, 4.0])
def test_pytorch_on_a_device_gives_the_spikes_of_the_compiled_loop(tmp_path, refractory_ms):
    compiled, torch_ = (
        started(device=device, refractory_ms=refractory_ms) for device in (None, torch.device("cpu"))
    )
    played = events(19)
    wanted = compiled.run(STEPS, events=played, record=[0, 12, 18])
    found = torch_.run(STEPS, events=played, record=[0, 12, 18])
    assert len(wanted.spike_neuron) > 100
    np.testing.assert_array_equal(found.spike_time_ms, wanted.spike_time_ms)
    np.testing.assert_array_equal(found.spike_neuron, wanted.spike_neuron)
    np.testing.assert_allclose(found.voltage_mv, wanted.voltage_mv, rtol=1e-9)
    np.testing.assert_allclose(found.memory, wanted.memory, rtol=1e-7, atol=1e-9)
    torch_.save(tmp_path / "state.npz")  # and either goes on from what the other saved
    other = started(refractory_ms=refractory_ms)
    other.resume(tmp_path / "state.npz")
    compiled.save(tmp_path / "state.npz")
    torch_.resume(tmp_path / "state.npz")
    parts = [net.run(60.0) for net in (compiled, torch_, other)]
    assert len(parts[0].spike_time_ms) > 0
    for part in parts[1:]:
        np.testing.assert_array_equal(part.spike_time_ms, parts[0].spike_time_ms)
        np.testing.assert_array_equal(part.spike_neuron, parts[0].spike_neuron)


@pytest.mark.parametrize(("activation", "layers"), [("silu", 0), ("silu", 2), ("squared_relu", 1)])
def test_pytorch_on_a_device_has_all_kinds_of_neurons(activation, layers):
    torch.manual_seed(0)
    taus = (
        [3.0, 4.0, 5.0, 6.0] if layers else 5.0
    )  # one for each branch: traces are not sent to the first layer
    neuron = ulmus.ELM(
        40, 3, memory=7, branches=4, synapses_per_branch=10, activation=activation, hidden_layers=layers, tau_synapse_ms=taus
    ).double()  # fmt: skip
    surrogate = ulmus.Surrogate(neuron, sites=("soma", "dendrite"))
    wanted, found = (
        Population([Cells(surrogate, 19)], device=device).run(STEPS, events=events(19), record=range(19))
        for device in (None, "cpu")
    )
    np.testing.assert_allclose(found.voltage_mv, wanted.voltage_mv, rtol=1e-9)
    np.testing.assert_allclose(found.memory, wanted.memory, rtol=1e-7, atol=1e-9)


def test_arrays_that_are_too_small_grow(monkeypatch):
    wanted, calls = network().run(STEPS, events=events(19)), []
    net = network()
    activity = net._started().activity
    small = {
        name: getattr(activity, name)[:2]
        for name in activity._fields
        if name.startswith(("event_", "sorted_"))
    }
    small |= {name: getattr(activity, name)[:20] for name in ("spike_step", "spike_neuron")}
    small |= {name: getattr(activity, name)[:3] for name in ("queue_neuron", "queue_input", "queue_value")}
    activity.control[3] = 3
    net._running.activity = activity._replace(**small, queue_next=np.array([1, 2, -1]))
    monkeypatch.setattr(
        "ulmus.populations.network.grown", lambda *given: calls.append(given[1]) or grown(*given)
    )
    found = net.run(STEPS, events=events(19))
    assert set(calls) == {1, 2, 3}
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_run_that_was_interrupted_goes_on(monkeypatch):
    wanted, net, pieces = started().run(STEPS), started(), []
    activity = net._started().activity
    small = {name: getattr(activity, name)[:3] for name in ("queue_neuron", "queue_input", "queue_value")}
    activity.control[FREE_COUNT] = 3
    net._running.activity = activity._replace(**small, queue_next=np.array([1, 2, -1]))

    def interrupted(*given):
        simulate(*given)
        pieces.append(given)
        if len(pieces) == 3:  # others before it ended where the queue had to grow
            raise KeyboardInterrupt

    monkeypatch.setattr("ulmus.kernels.numba_network.simulate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        net.run(STEPS)
    activity, before = net._running.activity, net.time_ms
    assert 0 < before < STEPS
    assert 3 < len(activity.queue_next) == len(activity.queue_value) > activity.control[FREE]
    found = net.run(STEPS - before)
    later = wanted.spike_time_ms >= before
    assert later.sum() > 10
    np.testing.assert_array_equal(found.spike_time_ms, wanted.spike_time_ms[later])
    np.testing.assert_array_equal(found.spike_neuron, wanted.spike_neuron[later])


def neuron_of_a_list(seed, units=None, threshold=0.5, **options):
    torch.manual_seed(seed)
    settings = {"memory": 6, "branches": 5, "synapses_per_branch": 8, "activation": "silu"} | options
    neuron = ulmus.ELM(40, 2, **settings)
    with torch.no_grad():
        neuron.readout.weight *= 20
    return ulmus.Surrogate(neuron.double(), units=units, spike_threshold=threshold)


def test_neurons_of_one_list_have_units_thresholds_and_kinds_of_synapses_of_their_own():
    models = [
        neuron_of_a_list(1),
        neuron_of_a_list(2, VoltageUnits(-40, -60, 0.05), threshold=0.7),
        neuron_of_a_list(3, tau_synapse_ms=[2.0, 3.0, 5.0, 8.0, 9.0]),
    ]
    x = np.zeros((3, STEPS, 40))
    played = events(3)
    np.add.at(x, (played[1], played[0].astype(int), played[2]), 1.0)
    for order in ([0, 1, 2], [2, 1, 0]):
        net = Population([Cells([models[number] for number in order])])
        found = net.run(STEPS, events=played, record=[2, 0, 1])
        for neuron, column in ((0, 1), (1, 2), (2, 0)):
            wanted = models[order[neuron]].predict(torch.from_numpy(x[neuron : neuron + 1]))
            np.testing.assert_allclose(
                found.voltage_mv[:, column, 0], wanted.voltage_mv[0, :, 0].numpy(), rtol=1e-9
            )
            spikes = found.spike_time_ms[found.spike_neuron == neuron].tolist()
            assert spikes == [time for time in wanted.spike_times_ms[0].tolist() if time < STEPS]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"memory": 7}, "neuron 1 has memory=7, neuron 0 has 6"),
        ({"hidden_layers": 2}, "hidden_layers=2"),
        ({"hidden": 7}, "hidden=7"),
        ({"activation": "relu"}, "activation=relu"),
        ({"dt_ms": 0.5}, "dt_ms=0.5"),
        ({"routing": "windows"}, r"inhibitory inputs=\[20"),
        (
            {"branches": 4, "synapses_per_branch": 10, "tau_synapse_ms": [2.0, 3.0, 5.0, 8.0]},
            "number of branches",
        ),
    ],
)
def test_neurons_of_one_list_that_differ_in_more_are_refused(options, words):
    with pytest.raises(ConfigError, match=f"{words}.*Make a separate Cells"):
        Population([Cells([neuron_of_a_list(1), neuron_of_a_list(2, **options)])])


def test_neurons_of_one_list_of_other_precision_or_current_are_refused():
    for other, words in [
        (surrogate(2).float(), "dtype=torch.float32"),
        (driven_by_current(2), "inputs=10"),
    ]:
        with pytest.raises(ConfigError, match=words):
            Population([Cells([surrogate(1), other])])
    warm = driven_by_current(2)
    warm.card["continuous"][1]["unit"] = "C"
    with pytest.raises(ConfigError, match="continuous inputs="):
        Population([Cells([driven_by_current(1), warm])])


def test_continuous_inputs_of_neurons_of_one_list_have_scales_of_their_own():
    models, series = [driven_by_current(seed) for seed in (1, 2)], np.ones((STEPS, 2, 2))
    models[1].card["continuous"][0]["scale"] = 4.0
    voltage = Population([Cells(models)]).run(STEPS, continuous={"cells": series}, record=[0, 1]).voltage_mv
    for number, scale in enumerate((0.5, 4.0)):
        x = torch.zeros(1, STEPS, 10, dtype=torch.float64)
        x[..., 8:] = torch.tensor([1 / scale, 0.5])
        wanted = models[number].predict(x).voltage_mv[0, :, 0].numpy()
        np.testing.assert_allclose(voltage[:, number, 0], wanted, rtol=1e-9)


def test_a_population_that_was_saved_at_rest_can_still_be_connected(tmp_path):
    nets = [Population([Cells(surrogate(1), 11)], seed=7, refractory_ms=np.int64(2)) for _ in range(2)]
    nets[0].run(0)
    nets[0].save(tmp_path / "rest.npz")
    for net in nets:
        net.connect("cells", "cells", FixedProbability(0.4), delay_ms=30.0)
    found, wanted = (net.run(STEPS, events=events(11), threads=np.int64(2)) for net in nets)
    assert len(wanted.spike_time_ms) > 50
    np.testing.assert_array_equal(found.spike_time_ms, wanted.spike_time_ms)


def test_random_input_is_a_poisson_process():
    """Traces that leak are sums over the past, whose mean and variance are known."""
    model, rate_hz = surrogate(1), 30.0
    net = Population([Cells(model, 4000)], seed=5)
    net.poisson("cells", rate_hz)
    net.run(80)
    activity, plan = net._running.activity, net._running.network.plans[0]
    traces = activity.state.reshape(-1, plan[5])[:4000, 0]
    weights = model.neuron.weights()
    sent = (weights.projection @ weights.synapses)[0, :20].detach().numpy()
    decay, mean = float(weights.branch_decay[0]), rate_hz * 1e-3
    expected, variance = mean * sent.sum() / (1 - decay), mean * (sent**2).sum() / (1 - decay**2)
    assert abs(traces.mean() - expected) < 5 * np.sqrt(variance / 4000)
    assert traces.var() == pytest.approx(variance, rel=0.15)


def test_connectors():
    draw = np.random.default_rng(0)
    source, target = AllToAll().pairs(3, 3, True, draw)
    assert sorted(zip(source, target, strict=True)) == [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]
    assert len(AllToAll().pairs(3, 4, False, draw)[0]) == 12
    source, target = FixedProbability(0.2).pairs(100, 200, False, draw)
    assert abs(len(source) - 4000) < 5 * np.sqrt(4000 * 0.8)
    assert not (np.diff(source * 200 + target) <= 0).any()
    places = np.arange(10)[:, None] * [1.0, 0, 0]
    near = DistanceDependentProbability(lambda um: (um < 1.5).astype(float), places, places)
    source, target = near.pairs(10, 10, True, draw)
    assert set(np.abs(source - target)) == {1}
    assert len(source) == 18


def test_a_list_may_say_which_inputs_are_reached():
    net = Population([Cells(surrogate(1), 3)])
    net.connect("cells", "cells", FromList([(0, 1), (1, 2), (1, 2)], inputs=[3, 30, 19]), weight=2.0)
    source, target, inputs, values, _ = net._wiring._connections[0]
    assert (source.tolist(), target.tolist()) == ([0, 1, 1], [1, 2, 2])
    assert (inputs.tolist(), values.tolist()) == ([3, 30, 19], [2.0, -2.0, 2.0])
    net.connect("cells", "cells", FromList([], inputs=[]))
    with pytest.raises(ConfigError, match="2 inputs for 1 connections"):
        net.connect("cells", "cells", FromList([(0, 1)], inputs=[1, 2]))
    with pytest.raises(ConfigError, match="0 to 39"):
        net.connect("cells", "cells", FromList([(0, 1)], inputs=[40]))


def driven_by_current(seed):
    """Four excitatory and four inhibitory inputs, a current in units of 0.5 nA and a temperature."""
    torch.manual_seed(seed)
    neuron = ulmus.ELM(10, 2, memory=6, synaptic_weight=2.0, tau_memory_ms=(1.0, 20.0))
    with torch.no_grad():
        neuron.readout.weight[0] *= 20
    channels = [
        {"name": "current", "unit": "nA", "scale": 0.5},
        {"name": "warmth", "unit": "K", "scale": 2.0},
    ]
    return ulmus.Surrogate(neuron.double(), card={"continuous": channels})


def test_continuous_inputs_reach_loops_and_populations():
    surrogates, draw = [driven_by_current(seed) for seed in (1, 2, 3)], np.random.default_rng(0)
    series = draw.normal(size=(STEPS, 3, 2))
    played = draw.integers(STEPS, size=500), draw.integers(3, size=500), draw.integers(8, size=500)
    x = np.zeros((3, STEPS, 10))
    np.add.at(x, (played[1], played[0], played[2]), 1.0)
    x[..., 8:] = np.moveaxis(series / [0.5, 2.0], 0, 1)
    net = Population([Cells(surrogates)])
    half = STEPS // 2
    events = [
        tuple(
            part[(played[0] < half) == first] - (0 if first or k else half) for k, part in enumerate(played)
        )
        for first in (True, False)
    ]
    parts = [
        net.run(
            half, events=events[k], continuous={"cells": series[k * half : (k + 1) * half]}, record=range(3)
        )
        for k in (0, 1)
    ]
    voltage = np.concatenate([part.voltage_mv for part in parts])
    for number, model in enumerate(surrogates):
        wanted = model.predict(torch.from_numpy(x[number : number + 1]))
        np.testing.assert_allclose(voltage[:, number, 0], wanted.voltage_mv[0, :, 0].numpy(), rtol=1e-9)
        runner, found = model.stepper(2), []
        for step in range(40):
            (places,) = np.nonzero(x[number, step, :8])
            told = np.repeat(places, x[number, step, places].astype(int))
            both = np.stack([series[step, number], [0.0, 0.0]])
            found.append(runner.step(told, neurons=np.zeros_like(told), continuous=both).voltage_mv[0, 0])
        np.testing.assert_allclose(found, wanted.voltage_mv[0, :40, 0].numpy(), rtol=1e-9)
        single = model.stepper()
        single.step([], continuous=series[0, number])
        assert single.continuous == ("current (nA)", "warmth (K)")


def test_continuous_inputs_that_are_refused():
    model = driven_by_current(1)
    runner, net = model.stepper(), Population([Cells(model, 2), Cells(surrogate(1), 2, "others")])
    for call, words in [
        (lambda: runner.step([1]), r"\[1, 2\]: current \(nA\), warmth \(K\)"),
        (lambda: runner.step([8], continuous=[0.1, 0.0]), "input 8, which is continuous"),
        (lambda: runner.step([], continuous=[np.nan, 0.0]), "not finite"),
        (lambda: surrogate(1).stepper().step([1], continuous=[0.1]), "has no continuous inputs"),
        (lambda: net.run(5), r"continuous input of 'cells'.*\[5, 2, 2\]"),
        (lambda: net.run(5, continuous={"cells": np.zeros((5, 2, 2)), "others": np.ones((5, 2, 1))}), "'others'"),
        (lambda: net.run(5, events=([0], [0], [9]), continuous={"cells": np.zeros((5, 2, 2))}), "is continuous"),
    ]:  # fmt: skip
        with pytest.raises(DataError, match=words):
            call()
    for call, words in [
        (lambda: net.poisson("cells", 1.0, inputs=[8]), "0 to 7"),
        (lambda: net.run(5, continuous={"cell": np.zeros((5, 2, 2))}), "no cells are named 'cell'"),
    ]:
        with pytest.raises(ConfigError, match=words):
            call()
    reached, signs = net._inputs("cells", "excitatory")
    assert (reached.tolist(), signs.tolist()) == (list(range(8)), [1] * 8)


def test_another_seed_is_another_network():
    one, other = (Population([Cells(surrogate(1), 20)], seed=seed) for seed in (0, 1))
    for net in (one, other):
        net.connect("cells", "cells", FixedProbability(0.3))
    assert one._fingerprint() != other._fingerprint()


def test_what_is_refused(tmp_path):
    net = network()
    for call, words in [
        (lambda: Population([]), "one or more"),
        (lambda: Population([Cells(surrogate(1), 2), Cells(surrogate(2), 2)]), "name of its own"),
        (lambda: net.connect("a", "c", AllToAll()), "no cells are named 'c'"),
        (lambda: net.connect("a", "b", AllToAll(), delay_ms=0.2), "one time step"),
        (lambda: net.connect("a", "b", AllToAll(), weight=-1.0), "inhibition"),
        (lambda: net.connect("a", "b", AllToAll(), weight=[1.0, 2.0]), "one for each of 55"),
        (lambda: net.connect("a", "b", AllToAll(), inputs=[40]), "0 to 39"),
        (lambda: net.connect("a", "b", FromList([(0, 5)])), "does not exist"),
        (lambda: FixedProbability(1.5), "between 0 and 1"),
        (lambda: net.poisson("a", -1.0), "0 or more"),
        (lambda: net.poisson("a", "5"), "below a million"),
        (lambda: net.poisson("a", 1e9), "below a million"),
        (lambda: net.connect("a", "b", "all"), "chooses no pairs"),
        (lambda: net.connect("a", "b", AllToAll), "chooses no pairs"),
        (lambda: net.connect("a", "b", AllToAll(), delay_ms=0.6), "one time step"),
        (lambda: net.connect("a", "b", AllToAll(), delay_ms=4294967297), "10000000 steps at most"),
        (lambda: net.connect("a", "b", AllToAll(), delay_ms="x"), "delay_ms='x' is no number"),
        (lambda: Population([Cells(surrogate(1))], seed=2**63), "seed=9223372036854775808"),
        (lambda: net.run("100"), "duration_ms='100'"),
        (lambda: net.run(None), "duration_ms=None"),
        (lambda: net.connect("a", "b", FromList([(0, 1, 2)])), "expected pairs"),
        (lambda: net.connect("a", "b", FromList([(0, 1), (2,)])), "no whole numbers"),
        (lambda: net.connect("a", "b", AllToAll(), inputs=[0.5]), "no whole numbers"),
        (lambda: FixedProbability("1"), "between 0 and 1"),
        (lambda: Population(Cells(surrogate(1))), "expected a list of Cells"),
        (lambda: Population([Cells(surrogate(1).neuron)]), "have no surrogates"),
        (lambda: Population([Cells(surrogate(1))], seed=1.5), "seed=1.5"),
        (lambda: net.run(5, record="all"), "no whole numbers"),
        (lambda: net.run(5, threads=1_000_000), "1 to 1024 threads"),
        (lambda: net.run(float("nan")), "duration"),
        (lambda: net.run(5, record=[19]), "0 to 18"),
        (lambda: Population([Cells(surrogate(1), 2)], device="meta"), "device='meta' cannot be used here"),
        (lambda: Population([Cells(surrogate(1), 2)], device="gpu"), "device='gpu' cannot be used here"),
        (lambda: Population([Cells(ulmus.Surrogate(ulmus.ELMNetwork(40, 2, layers=2, memory=4)), 2)]), "stepped"),
    ]:  # fmt: skip
        with pytest.raises(ConfigError, match=words):
            call()
    with pytest.raises(DataError, match="does not exist"):
        net.run(5, events=([0.0], [19], [0]))
    for played, words in [
        (([5.0], [1], [0]), "after 5 ms"),
        (([float("nan")], [1], [0]), "times of events"),
        (([1.0], [1.5], [0]), "neurons of events"),
        (([1.0], [1]), "a time, a neuron and an input"),
        ((["1"], [1], [0]), "times that are no numbers"),
        (([1.0], [[1], [1, 2]], [0]), "a time, a neuron and an input"),
    ]:
        with pytest.raises(DataError, match=words):
            net.run(5, events=played)
    net.run(1)
    with pytest.raises(ConfigError, match="only be added before"):
        net.connect("a", "b", AllToAll())
    other = Population([Cells(surrogate(1), 20)])
    other.save(tmp_path / "other.npz")
    with pytest.raises(DataError, match="another population"):
        net.resume(tmp_path / "other.npz")
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 nothing")
    for name in ("bad.npz", "missing.npz"):
        with pytest.raises(DataError, match="Population.save"):
            net.resume(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("event_neuron", lambda values: values + 20),
        ("event_input", lambda values: values + 10**6),
        ("event_slot", lambda values: values + 10**6),
        ("event_slot", lambda values: values[:-1]),
        ("spiking", lambda values: np.append(values, -1)),
        ("state", lambda values: values[:-1]),
        ("step", lambda values: values.astype(float)),
    ],
)
def test_a_saved_population_with_numbers_that_are_none_of_its_own_is_refused(tmp_path, name, change):
    net = started()
    net.run(50.0)
    arrays = {"event_slot": []}
    while not len(arrays["event_slot"]):  # until something is on its way
        net.run(1.0)
        net.save(tmp_path / "state.npz")
        with np.load(tmp_path / "state.npz") as file:
            arrays = dict(file)
    started().resume(tmp_path / "state.npz")
    np.savez(tmp_path / "state.npz", **{**arrays, name: change(arrays[name])})
    with pytest.raises(DataError, match=r"state.npz cannot be read.*Population.save"):
        started().resume(tmp_path / "state.npz")
