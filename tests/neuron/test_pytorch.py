"""The layer does what PyTorch's own does, and the page says so truly."""

import pytest
import pytorch_battery as battery
import torch

import ulmus


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("feature", battery.FEATURES, ids=lambda feature: feature.__name__)
def test_a_feature_is_as_the_page_says(feature, monkeypatch):
    monkeypatch.setenv("BATTERY_TELLS", "1")  # why not, beside the failure
    outcomes = [battery.outcome(feature, kind) for kind in battery.KINDS]
    assert outcomes[1] != "no"
    assert (outcomes[1] == "refused, says what to do") == (feature in battery.REFUSED)
    rows, row = battery.rows_on_the_page(), battery.row(feature, outcomes)
    if feature in battery.OF_THE_PROCESSOR and torch.backends.cpu.get_cpu_capability() != "AVX512":
        what, _, ours = row.rsplit(" | ", 2)
        assert [found.rsplit(" | ", 2)[::2] for found in rows if found.startswith(what)] == [[what, ours]]
    else:
        assert row in rows


def test_the_page_has_no_line_too_many():
    assert len(battery.rows_on_the_page()) == len(battery.FEATURES)


@pytest.mark.parametrize("backend", ["numba", "reference"])
@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (0, 0)])
def test_nothing_is_the_same_nothing_with_every_backend(backend, shape):
    neuron = ulmus.ELM(6, 2, memory=5)
    state = tuple(part.requires_grad_() for part in neuron.initial_state(shape[0]))
    with ulmus.use_backend(backend):
        y, after = neuron(torch.zeros(*shape, 6), state)
    assert y.shape == (*shape, 2)
    assert y.requires_grad
    assert all(torch.equal(one, other) and one.requires_grad for one, other in zip(after, state, strict=True))
    y.sum().backward()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("time", [20, 5000])
def test_half_precision_rounds_parameters_and_outputs_alone(dtype, time):
    torch.manual_seed(0)
    neuron = ulmus.ELM(6, 2, memory=8, tau_memory_ms=(1, 1000), dtype=dtype)
    x = torch.randn(2, time, 6).to(dtype)
    y, state = neuron(x)
    assert (y.dtype, state.memory.dtype, state.branches.dtype) == (dtype, torch.float32, torch.float32)
    wanted, after = ulmus.ELM(6, 2, memory=8, tau_memory_ms=(1, 1000), dtype=torch.float64), None
    values = neuron.state_dict()
    wanted.load_state_dict({name: v.double() if v.is_floating_point() else v for name, v in values.items()})
    exact, after = wanted(x.double())
    torch.testing.assert_close(
        state.memory.double(), after.memory, atol=2e-3 if time > 20 else 1e-5, rtol=1e-4
    )
    assert (
        (y.double() - exact).abs() <= torch.finfo(dtype).eps * exact.abs() + (3e-3 if time > 20 else 1e-5)
    ).all()


def test_names_and_shapes_of_the_state_dict_do_not_change():
    """What users have saved in modules of their own is loaded by every later version."""
    neuron = ulmus.ELM(6, 2, memory=5, branches=3, synapses_per_branch=2)
    assert {name: tuple(value.shape) for name, value in neuron.state_dict().items()} == {
        "tau_synapse_ms": (3,),
        "synapses.raw": (3, 2),
        "synapses.indices": (3, 2),
        "synapses.connected": (3, 2),
        "tau_memory.raw": (5,),
        "mlp.0.weight": (10, 8),
        "mlp.0.bias": (10,),
        "mlp.1.weight": (5, 10),
        "mlp.1.bias": (5,),
        "readout.weight": (2, 5),
        "readout.bias": (2,),
    }


@pytest.mark.parametrize(
    "options", [{}, {"branches": 3, "synapses_per_branch": 2, "hidden_layers": 2}, {"hidden_layers": 0}]
)
def test_second_derivatives_are_those_of_the_reference(options):
    torch.manual_seed(0)
    neuron, found = ulmus.ELM(6, 2, memory=5, dtype=torch.float64, learn_tau_memory=True, **options), {}
    x = torch.randn(3, 7, 6, dtype=torch.float64, requires_grad=True)
    leaves = [x, *(parameter for parameter in neuron.parameters() if parameter.requires_grad)]
    for backend in (None, "reference"):
        with ulmus.use_backend(backend), pytest.warns() if backend is None else ulmus.use_backend(backend):
            ulmus.kernels.warning.warned.discard("gradients of gradients are wanted")
            y, state = neuron(x)
            first = torch.autograd.grad(y.square().sum() + state.memory.sum(), leaves, create_graph=True)
            second = torch.autograd.grad(sum(gradient.square().sum() for gradient in first), leaves)
            found[backend] = [*first, *second]
    for one, other in zip(found[None], found["reference"], strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("option", [{"hidden_readout": True}, {"memory_dropout": 0.1}])
def test_a_readout_of_both_directions_sees_memory_alone(option):
    with pytest.raises(ulmus.UlmusError, match="bidirectional=True"):
        ulmus.ELM(6, 2, bidirectional=True, **option)


def test_a_bidirectional_neuron_does_not_stream():
    neuron = ulmus.ELM(6, 2, bidirectional=True)
    with pytest.raises(ulmus.UlmusError, match="before it comes"):
        ulmus.Surrogate(neuron)
    with pytest.raises(ulmus.UlmusError, match="cell"):
        ulmus.ELMCell(6, bidirectional=True)


@pytest.mark.parametrize("lengths", [[1, 2], [1, 2, 13], [-1, 2, 3], [1.5, 2, 3], torch.ones(3, 1)])
def test_lengths_that_do_not_fit_are_named(lengths):
    with pytest.raises(ulmus.UlmusError, match="lengths="):
        ulmus.ELM(6, 2)(torch.zeros(3, 12, 6), lengths=lengths)


def test_events_of_different_lengths():
    torch.manual_seed(0)
    neuron, dense = ulmus.ELM(6, 2, memory=5), (torch.rand(4, 12, 6) < 0.2).float()
    from kernel_cases import as_events

    close = battery.close
    close(neuron(as_events(dense), lengths=[12, 3, 0, 7]), neuron(dense, lengths=[12, 3, 0, 7]))
    both = ulmus.ELM(6, 2, memory=5, bidirectional=True)
    close(both(as_events(dense), lengths=[12, 3, 0, 7]), both(dense, lengths=[12, 3, 0, 7]))
