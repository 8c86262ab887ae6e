"""The layer: sizes, streaming, gradients, traces, validation."""

from collections import deque

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import ulmus
from ulmus.errors import ConfigError, ShapeError
from ulmus.kernels import ELMState


def make(**changes) -> ulmus.ELM:
    torch.manual_seed(0)
    arguments = {
        "memory": 4,
        "branches": 3,
        "synapses_per_branch": 4,
        "routing": "random",
        "tau_memory_ms": (1.0, 50.0),
    }
    return ulmus.ELM(8, 2, **(arguments | changes)).double()


VARIANTS = [
    {},
    {"hidden_layers": 0},
    {"hidden_layers": 2, "activation": "silu", "update": "bounded"},
    {"activation": "squared_relu", "hidden_readout": True, "learn_tau_memory": True},
    {
        "branches": None,
        "synapses_per_branch": 1,
        "routing": "dense",
        "tau_synapse_ms": [1.0, 2, 3, 4, 5, 6, 7, 8],
    },
    {"routing": "windows", "dt_ms": 2.0, "tau_spacing": "linear"},
]


@pytest.mark.parametrize(
    ("memory", "parameters"),
    [(10, 5904), (15, 6904), (20, 8104), (25, 9504), (30, 11104), (40, 14904), (50, 19504)],
)
def test_branch_elm_parameter_counts_of_the_paper(memory, parameters):
    """Tables S8: our count and two more, which the released equations do not explain either."""
    neuron = ulmus.ELM(
        1278,
        2,
        memory=memory,
        branches=45,
        synapses_per_branch=100,
        routing="windows",
        learn_tau_memory=True,
        hidden_readout=True,
    )
    assert neuron.trainable_parameters() == parameters - 2


@pytest.mark.parametrize(
    ("inputs", "outputs", "memory", "parameters"),
    [
        (1278, 2, 10, 26062),
        (1278, 2, 20, 52922),
        (1278, 2, 100, 296602),
        (16, 2, 10, 822),
        (16, 2, 25, 3552),
        (16, 2, 300, 372602),
        (700, 20, 100, 186420),
    ],
)
def test_elm_parameter_counts_of_the_paper(inputs, outputs, memory, parameters):
    neuron = ulmus.ELM(
        inputs,
        outputs,
        memory=memory,
        learn_tau_memory=True,
        hidden_readout=True,
        learn_synapses=False,
        tau_memory_ms=(1, 150),
    )
    assert neuron.trainable_parameters() == parameters


def test_shd_branch_elm_parameter_count_of_the_paper():
    neuron = ulmus.ELM(
        700,
        20,
        memory=100,
        branches=100,
        synapses_per_branch=15,
        routing="random",
        learn_tau_memory=True,
        hidden_readout=True,
    )
    assert neuron.trainable_parameters() == 67920


@pytest.mark.parametrize(("memory", "parameters"), [(1, 4601), (7, 5363), (20, 8002), (100, 54002)])
def test_released_parameter_counts(memory, parameters):
    neuron = ulmus.ELM(1278, 2, memory=memory, branches=45, synapses_per_branch=100, routing="windows")
    assert neuron.trainable_parameters() == parameters


@pytest.mark.parametrize("changes", VARIANTS)
@given(cuts=st.lists(st.integers(0, 12), max_size=3))
@settings(max_examples=8, deadline=None)
def test_pieces_equal_one_call(changes, cuts):
    neuron = make(**changes)
    x = torch.randn(2, 12, 8, dtype=torch.float64)
    whole, last = neuron(x)
    pieces, state = [], None
    edges = [0, *sorted(cuts), 12]
    for start, stop in zip(edges, edges[1:], strict=False):
        y, state = neuron(x[:, start:stop], state)
        pieces.append(y)
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, rtol=1e-12, atol=1e-12)
    for ours, expected in zip(state, last, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("changes", VARIANTS)
def test_follows_the_equations_step_by_step(changes):
    """The paper's figure 1c, written out synapse by synapse and step by step."""
    neuron = make(**changes)
    x = torch.randn(2, 9, 8, dtype=torch.float64)
    y, state = neuron(x)
    tau = neuron.tau_memory()
    decay = torch.exp(-neuron.dt_ms / tau)
    gain = (
        neuron.gain * (1 - decay)
        if neuron.update == "published"
        else 1 - torch.exp(-neuron.dt_ms * neuron.gain / tau)
    )
    activation = {
        "relu": torch.relu,
        "silu": torch.nn.functional.silu,
        "squared_relu": lambda v: torch.relu(v) ** 2,
    }[neuron.activation]
    weights = torch.relu(neuron.synapses.raw) * neuron.synapses.connected
    traces = torch.zeros(2, *weights.shape, dtype=torch.float64)
    memory = torch.zeros(2, neuron.memory, dtype=torch.float64)
    synapse_decay = torch.exp(-neuron.dt_ms / neuron.tau_synapse_ms).unsqueeze(1)
    for t in range(9):
        traces = synapse_decay * traces + weights * x[:, t][:, neuron.synapses.indices]
        layer = torch.cat([traces.sum(2), decay * memory], dim=1)
        hidden = layer
        for index, linear in enumerate(neuron.mlp):
            hidden = activation(layer) if index else layer
            layer = linear(hidden)
        memory = decay * memory + gain * 1.7159 * torch.tanh(2 / 3 * layer)
        seen = torch.cat([memory, hidden], dim=1) if neuron.hidden_readout else memory
        torch.testing.assert_close(y[:, t], neuron.readout(seen), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(state.branches, traces.sum(2), rtol=1e-12, atol=1e-12)
    inner = neuron.traces(x)
    torch.testing.assert_close(inner.memory[:, -1], memory, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(inner.branches[:, -1], traces.sum(2), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        inner.proposals[:, -1], 1.7159 * torch.tanh(2 / 3 * layer), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("changes", VARIANTS)
def test_gradients_agree_with_finite_differences(changes):
    neuron = make(**changes)
    names = [name for name, value in neuron.named_parameters() if value.requires_grad]
    state = ELMState(
        torch.randn(2, neuron.branches, dtype=torch.float64), torch.randn(2, 4, dtype=torch.float64)
    )

    def run(x, branches, memory, *values):
        inputs = (x, ELMState(branches, memory))
        y, after = torch.func.functional_call(neuron, dict(zip(names, values, strict=True)), inputs)
        return y, *after

    values = [neuron.get_parameter(name).detach().clone().requires_grad_() for name in names]
    x = torch.randn(2, 5, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(run, (x, *(part.requires_grad_() for part in state), *values))


def test_events_equal_the_dense_input():
    neuron = make()
    rows, inputs = torch.tensor([0, 0, 3, 3, 3, 11]), torch.tensor([1, 7, 0, 0, 5, 2], dtype=torch.int32)
    row_start = torch.searchsorted(rows, torch.arange(13)).int()
    values = torch.tensor([1.0, -1, 1, 1, -1, 1], dtype=torch.float64)
    events = ulmus.Events(row_start, inputs, values, batch=2, time=6, channels=8)
    dense = events.dense()
    assert dense[0, 3, 0] == 2
    torch.testing.assert_close(neuron(events)[0], neuron(dense)[0], rtol=1e-12, atol=1e-12)


def test_cell_is_one_step_of_the_layer():
    torch.manual_seed(0)
    neuron, cell = ulmus.ELM(8, 2, memory=4), ulmus.ELMCell(8, 2, memory=4)
    cell.load_state_dict(neuron.state_dict())
    x, state = torch.randn(3, 5, 8), None
    for t in range(5):
        y, state = cell(x[:, t], state)
    torch.testing.assert_close(y, neuron(x)[0][:, -1])


def test_no_time_steps_change_nothing():
    neuron = make()
    state = ELMState(torch.randn(2, 3, dtype=torch.float64), torch.randn(2, 4, dtype=torch.float64))
    y, after = neuron(torch.zeros(2, 0, 8), state)
    assert y.shape == (2, 0, 2)
    assert all(torch.equal(ours, expected) for ours, expected in zip(after, state, strict=True))


def test_memory_stays_bounded():
    neuron = make(update="bounded")
    x = 1e3 * torch.randn(1, 2000, 8, dtype=torch.float64)
    assert neuron.traces(x).memory.abs().max() <= 1.7159 / (1 - torch.exp(-1 / neuron.tau_memory()).max())


@pytest.mark.parametrize("update", ["published", "bounded"])
def test_memory_sizes_are_those_of_memory_under_unrelated_proposals(update):
    neuron = make(update=update, memory=6, tau_memory_ms=(1.0, 200.0), memory_dropout=0.5)
    weights, memory, found = neuron.eval().weights(), torch.zeros(2000, 6).double(), []
    for _ in range(1500):
        memory = weights.memory_decay * memory + weights.memory_gain * torch.randn(2000, 6).double()
        found.append(memory)
    expected = torch.stack(found[-100:]).std((0, 1))
    torch.testing.assert_close(neuron.train().memory_sizes(), expected, rtol=0.05, atol=0)


@pytest.mark.parametrize("hidden_readout", [False, True])
def test_scaled_memory_divides_the_first_weights_on_memory(hidden_readout):
    changes = {"hidden_readout": hidden_readout}
    plain, scaled = (make(scale_memory=scaled, **changes).state_dict() for scaled in (False, True))
    sizes = make().float().memory_sizes()  # found, and divided by, before the neuron is made double
    plain["mlp.0.weight"][:, -sizes.numel() :] /= sizes
    plain["readout.weight"][:, : sizes.numel()] /= sizes
    torch.testing.assert_close(scaled, plain, rtol=1e-6, atol=1e-7)


def test_memory_sizes_of_very_long_time_constants_are_not_lost_to_rounding():
    neuron = ulmus.ELM(3, 2, memory=2, tau_memory_ms=(1e8, 1e9), scale_memory=True)
    expected = 5 / torch.sqrt(2 * torch.tensor([1e8, 1e9]))
    torch.testing.assert_close(neuron.memory_sizes(), expected, rtol=1e-3, atol=0)
    assert bool(neuron.readout.weight.isfinite().all())


@given(step=st.floats(-1e6, 1e6))
@settings(max_examples=20, deadline=None)
def test_time_constants_never_leave_their_bounds(step):
    neuron = make(learn_tau_memory=True, tau_memory_bounds_ms=(0.5, 80.0))
    with torch.no_grad():
        neuron.tau_memory.raw.add_(step)
    assert bool(((neuron.tau_memory() >= 0.5) & (neuron.tau_memory() <= 80.0)).all())


def test_without_outputs_the_memory_is_returned():
    neuron = ulmus.ELM(8, memory=4)
    y, state = neuron(torch.randn(2, 3, 8))
    assert torch.equal(y[:, -1], state.memory)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"memory": 0}, "memory=0"),
        ({"activation": "rleu"}, "Did you mean 'relu'"),
        ({"update": "publishd"}, "Did you mean 'published'"),
        ({"routing": "window"}, "Did you mean 'windows'"),
        ({"routing": "dense"}, "product"),
        ({"routing": "windows", "synapses_per_branch": 2}, "at least 3"),
        ({"tau_memory_ms": (10.0, 1.0)}, "first <= second"),
        ({"tau_memory_ms": 5.0}, "tau_memory_ms=5.0 is no range"),
        ({"tau_memory_bounds_ms": 5.0}, "tau_memory_bounds_ms=5.0 is no range"),
        ({"tau_memory_bounds_ms": (5.0, 20.0)}, "does not contain"),
        ({"tau_synapse_ms": [1.0, 2.0]}, "3 branches"),
        ({"tau_synapse_ms": -1.0}, "positive"),
        ({"synaptic_weight": -0.5}, "negative"),
        ({"hidden_layers": -1}, "hidden_layers=-1"),
        ({"hidden_readout": True, "hidden_layers": 0}, "hidden_readout"),
        ({"tau_spacing": "logarithmic"}, "log"),
        ({"learn_tau_memory": 1}, "learn_tau_memory=1 is no answer; expected True"),
    ],
)
def test_values_that_cannot_be_used_are_named(changes, message):
    with pytest.raises(ConfigError, match=message):
        make(**changes)


def test_input_of_another_shape_is_named():
    neuron = make()
    with pytest.raises(ShapeError, match=r"\[2, 5, 7\].*inputs=8"):
        neuron(torch.zeros(2, 5, 7))
    with pytest.raises(ShapeError, match="batch axis"):
        neuron(torch.zeros(5, 8))
    with pytest.raises(ShapeError, match=r"state\.branches"):
        neuron(torch.zeros(3, 5, 8), neuron.initial_state(2))
    with pytest.raises(ShapeError, match="one step"):
        ulmus.ELMCell(8)(torch.zeros(2, 5, 8))


@pytest.mark.parametrize("range_ms", [range(1, 3), deque([1, 2]), [torch.tensor(1.0), np.float32(2)]])
def test_any_two_numbers_are_a_range_and_can_be_saved(range_ms, tmp_path):
    neuron = make(tau_memory_ms=range_ms)
    ends = ulmus.load(ulmus.save(neuron, tmp_path / "neuron.safetensors")).tau_memory()[[0, -1]]
    torch.testing.assert_close(ends.detach(), torch.tensor([1.0, 2.0]).double(), rtol=1e-4, atol=0)


def test_an_exported_readout_of_hidden_units_takes_sequences_of_any_length():
    torch.manual_seed(0)
    neuron, free = ulmus.ELM(6, 2, memory=5, hidden_readout=True), torch.export.Dim.DYNAMIC
    program = torch.export.export(neuron, (torch.rand(2, 10, 6),), dynamic_shapes=({0: free, 1: free},))
    for time in (1, 9, 17, 70):
        x = torch.randn(3, time, 6, requires_grad=True)
        found, wanted = program.module()(x)[0], neuron(x)[0]
        torch.testing.assert_close(found, wanted)
        flows = (torch.autograd.grad(y.square().sum(), x)[0] for y in (found, wanted))
        torch.testing.assert_close(*flows)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dtype": "float32"}, "dtype='float32' is none for weights; expected a floating one"),
        ({"dtype": torch.int32}, "dtype=torch.int32 is none"),
        ({"dtype": torch.complex64}, "dtype=torch.complex64 is none"),
        ({"tau_synapse_ms": "5"}, "tau_synapse_ms='5' does not fit; expected one positive time constant"),
        ({"tau_synapse_ms": [[5.0], [1.0, 2.0]]}, "does not fit; expected one positive time constant"),
    ],
)
def test_types_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        ulmus.ELM(3, 2, memory=5, **settings)
