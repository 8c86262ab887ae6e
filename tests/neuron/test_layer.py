"""A layer of ELM neurons follows its formula, neuron by neuron and synapse by synapse."""

import numpy as np
import pytest
import torch
from torch.nn.utils import rnn

import ulmus
from ulmus.errors import ConfigError, ShapeError
from ulmus.neuron.layer import OUTPUTS, ELMLayer

SIZES = {"neurons": 4, "memory": 3, "branches": 2, "synapses_per_branch": 5, "tau_memory_ms": (2.0, 60.0)}
FILTERS = {"tau_synapse_ms": 7.0, "tau_output_ms": 9.0}


def make(outputs=None, **changes) -> ELMLayer:
    torch.manual_seed(0)
    layer = ELMLayer(6, outputs, **(SIZES | FILTERS | {"dt_ms": 2.0, "recurrent": 0.4} | changes))
    with torch.no_grad():
        layer.read.bias.copy_(torch.linspace(-0.1, 0.1, 4)[:, None])
    return layer.double()


def as_events(x: torch.Tensor) -> ulmus.Events:
    counts = x.sum(-1).long().numpy()
    return ulmus.Events.counted(counts, x.nonzero()[:, 2].numpy(), np.ones(counts.sum()), channels=6)


def by_hand(layer: ELMLayer, x: np.ndarray) -> np.ndarray:
    """Outputs for one sequence, in plain loops: the formula of the docstring, without anything shared with the layer."""
    config, values = layer.config, {name: value.numpy() for name, value in layer.state_dict().items()}
    dt, gain = config["dt_ms"], config["gain"]

    def fade(tau):
        return 0.0 if tau is None else np.exp(-dt / tau)

    low, high = config["tau_memory_ms"]
    tau_memory = low + (high - low) / (1 + np.exp(-values["tau_memory.raw"]))
    np.testing.assert_allclose(tau_memory[-1], np.geomspace(low, high, config["memory"]), rtol=1e-4)
    activate = {"relu": lambda z: np.maximum(z, 0), "squared_relu": lambda z: np.maximum(z, 0) ** 2}
    fire = {"identity": lambda z: z, "relu": lambda z: max(z, 0.0), "spike": lambda z: float(z > 0)}
    count, branches = config["neurons"], config["branches"]
    b, m = np.zeros((count, branches)), np.zeros((count, config["memory"]))
    average, y, outputs = np.zeros(count), np.zeros(count), []
    for x_t in x:
        seen, now = np.concatenate([x_t, y]), np.zeros(count)
        for n in range(count):
            for k in range(branches):
                row = n * branches + k
                current = sum(
                    weight * seen[source]
                    for weight, source in zip(
                        values["synapses.raw"][row], values["synapses.indices"][row], strict=True
                    )
                )
                b[n, k] = fade(config["tau_synapse_ms"]) * b[n, k] + config["synaptic_gain"] * current
            u = np.exp(-dt / tau_memory[n]) * m[n]
            z = np.concatenate([b[n], u])
            for level in range(config["hidden_layers"] + 1):
                z = activate[config["activation"]](z) if level else z
                z = values[f"mlp.{level}.weight"][n] @ z + values[f"mlp.{level}.bias"][n]
            m[n] = u + (1 - np.exp(-gain * dt / tau_memory[n])) * 1.7159 * np.tanh(2 / 3 * z)
            read = values["read.weight"][n, 0] @ m[n]
            if config["tau_output_ms"] is not None:
                k_out = fade(config["tau_output_ms"])
                average[n] = k_out * average[n] + (1 - k_out) * read
                read -= average[n]
            now[n] = fire[config["output_activation"]](read + values["read.bias"][n, 0])
        y = now
        outputs.append(now)
    return np.array(outputs)


@pytest.mark.parametrize("output_activation", OUTPUTS)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tau_synapse_ms": None, "hidden_layers": 0},
        {"tau_output_ms": None, "hidden_layers": 2, "activation": "relu"},
        {"recurrent": 0.0},
    ],
)
def test_the_layer_follows_its_formula(output_activation, changes):
    layer = make(output_activation=output_activation, **changes)
    x = torch.randn(2, 25, 6, dtype=torch.float64)
    y, _ = layer(x)
    assert y.shape == (2, 25, 4)
    assert ((y != 0).any() and (y == 0).any()) or output_activation == "identity"
    for outputs, inputs in zip(y, x, strict=True):
        np.testing.assert_allclose(
            outputs.detach().numpy(), by_hand(layer, inputs.numpy()), rtol=1e-9, atol=1e-12
        )


def test_the_readout_is_a_layer_of_linear_neurons_or_a_linear_map():
    x = torch.randn(1, 20, 6, dtype=torch.float64)
    layer = make(outputs=3, readout_memory=2)
    inner, _ = make()(x)
    readout = layer.readout
    assert (readout.config["hidden_layers"], readout.config["memory"], readout.recurrent) == (0, 2, 0.0)
    assert (readout.output_activation, readout.tau_output_ms, readout.dt_ms) == ("identity", None, 2.0)
    expected = by_hand(readout, inner[0].detach().numpy())
    np.testing.assert_allclose(layer(x)[0][0].detach().numpy(), expected, rtol=1e-9, atol=1e-12)
    plain = make(outputs=3, readout_memory=None)
    torch.testing.assert_close(plain(x)[0], inner @ plain.readout.weight.T + plain.readout.bias)


@pytest.mark.parametrize("changes", [{}, {"tau_synapse_ms": None, "tau_output_ms": None}])
def test_a_second_call_goes_on_where_the_first_ended(changes):
    layer = make(outputs=2, **changes)
    x = torch.randn(3, 20, 6, dtype=torch.float64)
    whole, last = layer(x)
    first, state = layer(x[:, :8])
    nothing, same = layer(x[:, :0], state)
    second, end = layer(x[:, 8:], same)
    assert nothing.shape == (3, 0, 2)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)
    torch.testing.assert_close(end, last)


def test_events_are_the_same_input():
    layer = make(outputs=2)
    x = (torch.rand(3, 12, 6) < 0.3).double()
    torch.testing.assert_close(layer(as_events(x)), layer(x))


@pytest.mark.parametrize("output_activation", ["identity", "relu"])
def test_gradients_are_those_of_finite_differences(output_activation):
    layer = make(outputs=2, learn_tau_memory=True, output_activation=output_activation)
    names, values = zip(*layer.named_parameters(), strict=True)
    state = tuple(
        type(part)(*(0.3 * torch.randn_like(value) for value in part)) for part in layer.initial_state(2)
    )
    x = torch.randn(2, 6, 6, dtype=torch.float64, requires_grad=True)

    def run(x, *parameters):
        return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (x, state))[0]

    assert torch.autograd.gradcheck(run, (x, *values))


def test_the_gradient_of_a_spike_is_that_of_a_fast_sigmoid():
    layer = make(output_activation="spike", recurrent=0.0, tau_output_ms=None)
    layer.output_activation = "identity"
    x = torch.randn(1, 1, 6, dtype=torch.float64)
    distance = layer(x)[0].detach()[0, 0]
    layer.output_activation = "spike"
    layer(x)[0].sum().backward()
    torch.testing.assert_close(layer.read.bias.grad[:, 0], 1 / (1 + 10 * distance.abs()) ** 2)


def test_a_share_of_synapses_is_on_neurons_and_connections_are_kept():
    torch.manual_seed(0)
    layer = ELMLayer(700, 19)
    sources = layer.synapses.indices
    assert abs((sources >= 700).double().mean() - 0.25) < 0.02
    assert (int(sources.min()), int(sources.max())) == (0, 700 + 57 - 1)
    assert not any("indices" in name for name, _ in layer.named_parameters())
    # 57 neurons: 300 synapses, an MLP of 39 x 18 + 18 + 18 x 9 + 9, a readout of 9 + 1; 19 linear ones of 3 memory units.
    assert layer.trainable_parameters() == 57 * (300 + 720 + 171 + 10) + 19 * (300 + 33 * 3 + 3 + 4)


def test_files_keep_it(tmp_path):
    layer = make(outputs=2).float()
    loaded = ulmus.load(ulmus.save(layer, tmp_path / "layer.safetensors"))
    x = torch.randn(2, 9, 6)
    torch.testing.assert_close(loaded(x), layer(x))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"recurrent": 1.5}, "recurrent=1.5"),
        ({"neurons": 0}, "neurons=0"),
        ({"tau_output_ms": -1.0}, "tau_output_ms=-1.0"),
        ({"output_activation": "spikes"}, "spike"),
        ({"tau_memory_bounds_ms": (5.0, 9.0)}, "tau_memory_bounds_ms"),
    ],
)
def test_what_cannot_be_is_named(changes, words):
    with pytest.raises(ConfigError, match=words):
        make(**changes)


def test_nothing_in_gives_nothing_out():
    layer = make(3)
    for batch, time in ((0, 5), (2, 0)):
        outputs, states = layer(torch.zeros(batch, time, 6, dtype=torch.float64))
        assert outputs.shape == (batch, time, 3)
        assert [len(part) for state in states for part in state] == [batch] * 8


@pytest.mark.parametrize(
    "changes", [{}, {"tau_synapse_ms": None}, {"readout_memory": None}, {"outputs": None}]
)
@pytest.mark.parametrize("form", ["dense", "events"])
def test_what_comes_after_the_end_of_a_sequence_changes_nothing(changes, form):
    layer, lengths = make(**({"outputs": 2} | changes)), torch.tensor([12, 3, 0, 7])
    x = (torch.rand(4, 12, 6, generator=torch.Generator().manual_seed(1)) < 0.4).double()
    beyond = torch.arange(12) >= lengths[:, None]
    padded = x.masked_fill(beyond.unsqueeze(-1), 1 if form == "events" else torch.nan)
    before = layer(x.flip(0))[1]
    given = as_events(padded) if form == "events" else padded.requires_grad_()
    y, after = layer(given, before, lengths=lengths)
    (y.square().sum() + after[0].memory.sum()).backward()
    assert all(bool(p.grad.isfinite().all()) for p in layer.parameters() if p.requires_grad)
    assert form == "events" or not padded.grad[beyond].any()
    assert not y[beyond].any()
    for row, length in enumerate(lengths.tolist()):
        mine = tuple(type(part)(*(value[row : row + 1] for value in part)) for part in before)
        alone, last = layer(x[row : row + 1, :length], mine)
        torch.testing.assert_close(y[row, :length], alone[0])
        for part, expected in zip(after, last, strict=True):
            for value, wanted in zip(part, expected, strict=True):
                torch.testing.assert_close(value[row : row + 1], wanted)


def test_a_packed_sequence_is_its_padded_one_with_lengths():
    layer, lengths = make(outputs=2), torch.tensor([5, 12, 1])
    x = torch.randn(3, 12, 6, dtype=torch.float64)
    packed, state = layer(rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
    expected, after = layer(x, lengths=lengths)
    torch.testing.assert_close(rnn.pad_packed_sequence(packed, batch_first=True)[0], expected)
    torch.testing.assert_close(state, after)
    again, _ = layer(packed._replace(data=packed.data.repeat(1, 3)), state)
    assert again.data.shape == packed.data.shape


@pytest.mark.parametrize(
    "lengths",
    [[1, 2], [1, 2, 13], [-1, 2, 3], [1.5, 2, 3], [None, 4, 4], ["3", "4", "4"], [[1], [1, 2], [3]], "3"],
)
def test_lengths_that_do_not_fit_are_named(lengths):
    with pytest.raises(ShapeError, match="lengths="):
        make()(torch.zeros(3, 12, 6), lengths=lengths)


def test_an_empty_batch_has_no_lengths():
    assert make()(torch.zeros(0, 12, 6), lengths=[])[0].shape == (0, 12, 4)
    assert ulmus.ELM(6, 2, bidirectional=True)(torch.zeros(0, 12, 6), lengths=[])[0].shape == (0, 12, 2)


@pytest.mark.parametrize(
    "change",
    [
        {"row_start": torch.tensor([0, 1, 2])},
        {"row_start": torch.tensor([0, 1, 0, 2])},
        {"row_start": torch.tensor([0, 1, 1, 1])},
        {"values": torch.ones(1)},
        {"values": torch.ones(3)},
    ],
)
def test_damaged_events_with_lengths_are_refused(change):
    events = ulmus.Events(torch.tensor([0, 1, 2, 2]), torch.tensor([3, 5]), torch.ones(2), 1, 3, 6)
    with pytest.raises(ShapeError, match=r"expected batch \* time \+ 1 = 4 row starts that ascend"):
        ulmus.ELM(6, 2, memory=3)(events._replace(**change), lengths=[2])


def test_autocast_changes_nothing():
    layer, x = make(3).float(), torch.randn(2, 12, 6)
    wanted = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(x.bfloat16().float())
        outputs, states = layer(x)
    outputs.sum().backward()
    assert {part.dtype for state in states for part in state} == {torch.float32} == {found[0].dtype}
    torch.testing.assert_close((outputs, states), wanted)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("readout_memory", [2, None])
def test_half_precision_rounds_parameters_and_outputs_alone(dtype, readout_memory):
    sizes = {"readout_memory": readout_memory, "tau_memory_ms": (2.0, 2000.0)}
    layer, exact = make(3, **sizes).to(dtype), make(3, **sizes)
    values = layer.state_dict()
    exact.load_state_dict({name: v.double() if v.is_floating_point() else v for name, v in values.items()})
    x = torch.randn(2, 1000, 6).to(dtype)
    first, state = layer(x[:, :400])
    second, last = layer(x[:, 400:], state)
    wanted, after = exact(x.double())
    assert first.dtype == second.dtype == dtype
    assert {part.dtype for one in last for part in one} == {torch.float32}
    torch.testing.assert_close(last[0].memory.double(), after[0].memory, atol=2e-3, rtol=1e-3)
    error = (torch.cat([first, second], dim=1).double() - wanted).abs()
    # Rounding of every step's outputs would add up.
    assert (error <= torch.finfo(dtype).eps * (1 + wanted.abs())).all()
    second.sum().backward()
    assert layer.synapses.raw.grad.dtype == dtype
    assert layer.synapses.raw.grad.isfinite().all()


@pytest.mark.parametrize("state", ["at rest", 3, (torch.zeros(2, 4),)])
def test_what_is_no_state_is_named(state):
    with pytest.raises(ShapeError, match="the state has shapes"):
        make()(torch.zeros(2, 3, 6), state)


def test_a_state_of_another_layer_is_refused():
    layer = make(outputs=2)
    with pytest.raises(ShapeError, match="state"):
        layer(torch.zeros(2, 3, 6), layer.initial_state(3))
