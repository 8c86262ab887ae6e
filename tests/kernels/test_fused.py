"""The fused kernels against the reference in double precision."""

import contextlib
import copy

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from kernel_cases import KINDS, as_events, check, double, fused, leaves, make, results, worst_error
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

from ulmus.errors import ShapeError
from ulmus.kernels import ELMState, Events, numba_call, reference, run, use_backend
from ulmus.kernels import fused as fused_module
from ulmus.kernels.arrangement import kind_of, sizes_of
from ulmus.kernels.folding import folded
from ulmus.kernels.numba_lanes import lane_count
from ulmus.kernels.numba_layout import NOTHING, PROPOSALS, SIGNALS
from ulmus.neuron.elm import ELM

SINGLE, DOUBLE = 3e-5, 1e-11


@settings(max_examples=50, deadline=None, derandomize=True, phases=[Phase.generate])
@given(
    kind=st.sampled_from(KINDS),
    batch=st.integers(1, 11),
    time=st.integers(0, 60),
    memory=st.integers(1, 35),
    hidden=st.lists(st.integers(1, 40), max_size=3),
    outputs=st.none() | st.integers(1, 19),
    activation=st.sampled_from(["relu", "silu", "squared_relu"]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    budget=st.sampled_from([0.0, 0.03, 1000.0]),
)
def test_any_size_and_option(kind, batch, time, memory, hidden, outputs, activation, dtype, budget):
    case = make(
        kind,
        batch=batch,
        time=time,
        memory=memory,
        hidden=hidden,
        outputs=outputs,
        activation=activation,
        dtype=dtype,
    )
    # Squares make some of these random neurons chaotic, so that single precision keeps few digits in any program.
    single = 2e-3 if activation == "squared_relu" else SINGLE
    check(case, single if dtype == torch.float32 else DOUBLE, budget)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_input(kind):
    check(make(kind, batch=5, time=90, dtype=torch.float64), DOUBLE)


def chunk_of(case):
    layers, _ = folded(case.weights, case.state.branches, False, False)
    shape = tuple(case.inputs.shape)
    return sizes_of(*shape, kind_of(case.inputs, layers.synapses), layers, "relu", NOTHING).chunk


@pytest.mark.parametrize("budget", [0.0, 1000.0])
@pytest.mark.parametrize(("chunks", "beyond"), [(1, -1), (1, 0), (1, 1), (2, 1)])
@pytest.mark.parametrize("batch", [1, 6])
def test_borders_of_chunks(budget, chunks, beyond, batch):
    sizes = {"memory": 70, "hidden": (140,), "batch": batch, "dtype": torch.float64}
    chunk = chunk_of(make("narrow", time=2, **sizes))
    check(make("narrow", time=chunks * chunk + beyond, **sizes), DOUBLE, budget)


@pytest.mark.parametrize("kind", ["dense", "sparse", "narrow"])
def test_input_in_any_memory_order(kind):
    case = make(kind, batch=5, time=30)
    turned = case._replace(inputs=case.inputs.transpose(0, 2).contiguous().transpose(0, 2))
    assert not turned.inputs.is_contiguous()
    check(turned, SINGLE)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float16])
@pytest.mark.parametrize("kind", ["bytes", "vanilla"])
def test_input_of_any_number_type(dtype, kind):
    case = make(kind, batch=5, time=30)
    check(case._replace(inputs=(case.inputs != 0).to(dtype)), SINGLE)


@pytest.mark.parametrize("kind", ["dense", "narrow", "vanilla"])
def test_gradient_of_dense_input(kind):
    case = make(kind, batch=5, time=40, dtype=torch.float64)
    extra = {"inputs": case.inputs}
    found, expected = (
        results(case, fused(), extra=extra.items()),
        results(case, reference.run, extra=extra.items()),
    )
    error, name = worst_error(found, expected)
    assert error < DOUBLE, name


@pytest.mark.parametrize("kind", ["dense", "narrow", "events"])
def test_gradient_of_branch_decay(kind):
    case = make(kind, batch=5, time=40, dtype=torch.float64)
    extra = {"decay": case.weights.branch_decay}.items()
    error, name = worst_error(results(case, fused(), extra=extra), results(case, reference.run, extra=extra))
    assert error < DOUBLE, name


def test_gradient_of_event_values():
    case = make("events", batch=5, time=40, dtype=torch.float64)
    extra = {"values": case.inputs.values}.items()
    error, name = worst_error(results(case, fused(), extra=extra), results(case, reference.run, extra=extra))
    assert error < DOUBLE, name


def test_the_same_input_twice_in_a_step_adds_up():
    case = make("events", batch=1, time=2)
    twice = Events(
        torch.tensor([0, 2, 3]).int(), torch.tensor([4, 4, 1]).int(), torch.tensor([1.0, -3.0, 1.0]), 1, 2, 70
    )
    check(case._replace(inputs=twice), SINGLE)


def test_no_events_at_all():
    case = make("events", batch=2, time=5)
    nothing = torch.empty(0)
    check(case._replace(inputs=Events(torch.zeros(11).int(), nothing.int(), nothing, 2, 5, 70)), SINGLE)


def test_loss_at_the_last_step_of_a_long_sequence_with_short_time_constants():
    check(make("narrow", batch=2, time=3000, tau=4.0), SINGLE, last_only=True)


def test_long_sequence_with_the_same_rounded_decays():
    check(make("narrow", batch=2, time=4096, memory=20, hidden=(40,), tau=1000.0), 2e-4)


def test_denormals_are_flushed_inside_the_kernels_only():
    case = make("narrow", time=5)
    results(case, fused())
    tiny = torch.tensor([1e-40]) * torch.tensor([1.0])
    assert float(tiny) > 0


@pytest.mark.parametrize("kind", ["events", "sparse", "dense", "narrow", "vanilla"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_in_the_input_comes_out_as_such(kind, bad):
    case = make(kind, batch=2, time=12)
    dense = case.inputs.dense() if isinstance(case.inputs, Events) else case.inputs.clone()
    dense[1, 7, 2] = bad
    inputs = as_events(dense) if isinstance(case.inputs, Events) else dense
    outputs, state = fused()(*case._replace(inputs=inputs))
    wanted, after = reference.run(inputs, *case[1:])
    assert torch.equal(outputs.isnan(), wanted.isnan())
    assert not bool(outputs[0].isnan().any())
    assert not bool(outputs[1, :7].isnan().any())
    assert torch.equal(state.branches.isfinite(), after.branches.isfinite())
    if bad != bad:
        assert bool(outputs[1, 7:].isnan().all())


@pytest.mark.parametrize("batch", [5, 8, 20])
@pytest.mark.parametrize("kind", ["sparse", "narrow"])
def test_two_threads_give_the_same_bits_as_one(batch, kind, monkeypatch):
    monkeypatch.setattr(numba_call, "_WORTH_A_THREAD", 0)
    case, before, found = (
        make(kind, batch=batch, time=70, memory=20, hidden=(40,)),
        torch.get_num_threads(),
        [],
    )
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(results(case, fused()))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(found[0][name], other[name]) for name in found[0])


@pytest.mark.parametrize("kind", ["bytes", "dense", "narrow", "vanilla_mixed"])
@pytest.mark.parametrize(
    ("batch", "time", "outputs", "hidden"), [(30, 36, 2, ()), (48, 50, 17, (9,)), (100, 1, None, (40, 7))]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_many_sequences_without_gradients(kind, batch, time, outputs, hidden, dtype, monkeypatch):
    case = make(kind, batch=batch, time=time, hidden=hidden, outputs=outputs, activation="silu", dtype=dtype)
    case = (
        case._replace(inputs=torch.ones_like(case.inputs)) if kind == "bytes" else case
    )  # too many for events
    monkeypatch.setattr(numba_call, "_MANY_INPUTS", 20 * case.inputs.shape[2])  # more than one chunk
    calls, many = [], numba_call.forward_many
    monkeypatch.setattr(numba_call, "forward_many", lambda *given: calls.append(1) or many(*given))
    found, state = fused()(*case)
    wanted, after = reference.run(*double(case))
    # Steps that do not fill a block of a product over them would add up in another order.
    assert calls or (kind in ("bytes", "dense") and time % 4)
    tolerance = 2e-5 if dtype == torch.float32 else 1e-11
    for one, other in zip((found, *state), (wanted, *after), strict=True):
        torch.testing.assert_close(one.double(), other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", ["dense", "narrow", "vanilla_mixed"])
@pytest.mark.parametrize(("batch", "outputs", "hidden"), [(28, 2, ()), (32, 17, (9,)), (50, None, (40, 7))])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_lanes_of_sequences_change_no_bit(kind, batch, outputs, hidden, dtype, monkeypatch):
    case = make(kind, batch=batch, time=300, hidden=hidden, outputs=outputs, activation="silu", dtype=dtype)
    calls, many, both = [], numba_call.forward_many, []
    monkeypatch.setattr(numba_call, "forward_many", lambda *given: calls.append(1) or many(*given))
    for _ in range(2):
        both.append((results(case, fused(budget_mebibytes=0.0)), len(calls)))
        monkeypatch.setattr(numba_call, "are_many", lambda *_: False)
    (found, by_lanes), (wanted, in_all) = both
    assert 0 < by_lanes == in_all  # one for each thread, and none more where lanes may not be used
    assert all(torch.equal(found[name], wanted[name]) for name in found)


def test_many_sequences_keep_what_is_not_finite_to_themselves():
    case = make("narrow", batch=50, time=12)
    dense = case.inputs.clone()
    dense[33, 7, 1] = float("nan")
    outputs = fused()(dense, *case[1:])[0]
    assert bool(outputs[33, 7:].isnan().all())
    assert int(outputs.isnan().sum()) == outputs[33, 7:].numel()


def test_many_sequences_on_any_number_of_threads(monkeypatch):
    monkeypatch.setattr(numba_call, "_WORTH_A_THREAD", 0)
    case, before, found = make("narrow", batch=150, time=40), torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 8):
            torch.set_num_threads(threads)
            found.append(fused()(*case)[0])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(found[0], other) for other in found[1:])


@pytest.mark.parametrize("kind", ["vanilla", "bytes"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool])
def test_the_reference_takes_bytes(kind, dtype):
    case = make(kind)
    small = (case.inputs != 0).to(dtype)
    outputs, _ = reference.run(small, *case[1:])
    torch.testing.assert_close(outputs, reference.run(small.float(), *case[1:])[0])


@pytest.mark.parametrize("hidden", [(), (9,), (33, 17, 5)])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_kept_changes_no_bit(kind, hidden, monkeypatch):
    case, found = make(kind, batch=5, time=90, memory=20, hidden=hidden, activation="silu"), []
    for keep in (NOTHING, PROPOSALS, SIGNALS):
        monkeypatch.setattr(fused_module, "_most_that_fits", lambda *_, keep=keep: keep)
        found.append(results(case, fused()))
    for other in found[1:]:
        assert all(torch.equal(found[0][name], other[name]) for name in found[0])


def test_the_most_that_fits_is_kept():
    case = make("narrow", batch=4, time=100, memory=16, hidden=(32,))
    layers, _ = folded(case.weights, case.state.branches, False, False)
    # Numbers: memory, and branches in one vector of this processor, of four sequences before and after the only chunk.
    edges = 2 * 4 * (16 + lane_count(4))
    fits = [edges + 100 * 4 * width for width in (48, 16)]
    kept = [
        fused_module._most_that_fits((4, 100, 3), case.inputs, layers, "relu", numbers * 4 / 2**20)
        for numbers in (fits[0], fits[0] - 1, fits[1], fits[1] - 1)
    ]
    assert kept == [SIGNALS, PROPOSALS, PROPOSALS, NOTHING]


@pytest.mark.parametrize("kind", ["sparse", "narrow", "vanilla"])
@pytest.mark.parametrize("batch", [1, 5])
def test_a_split_sequence_gives_the_same_as_a_whole_one(kind, batch):
    case = make(kind, batch=batch, time=61, dtype=torch.float64)
    whole, end = fused()(*case)
    parts, state = [], case.state
    for start, stop in ((0, 1), (1, 40), (40, 61)):
        part, state = fused()(case.inputs[:, start:stop], state, *case[2:])
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(state, end, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("budget", [0.0, 1000.0])
def test_a_second_backward_gives_the_same(budget):
    case = make("sparse", batch=5)
    synapses = case.weights.synapses.requires_grad_(True)
    loss = fused(budget)(*case)[0].square().sum()
    first, second = (torch.autograd.grad(loss, synapses, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("kind", ["events", "dense", "narrow", "vanilla"])
def test_gradcheck(kind):
    case = make(kind, batch=2, time=4, memory=3, hidden=(4,), activation="silu", dtype=torch.float64)
    tensors = [tensor.requires_grad_(True) for name, tensor in leaves(case).items() if name != "synapses"]

    def compute(*_):
        outputs, state = fused()(*case)
        return outputs, *state

    # The tensors are the leaves that `case` already holds; gradcheck changes them in place.
    assert torch.autograd.gradcheck(compute, tensors)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # opcheck of PyTorch 2.14 reads it
@pytest.mark.parametrize("kind", ["events", "sparse", "dense", "narrow"])
def test_opcheck(kind):
    from ulmus.kernels.operator import elm

    case = make(kind, batch=2, time=6, dtype=torch.float64)
    for tensor in leaves(case).values():
        tensor.requires_grad_(True)
    layers, branches = folded(case.weights, case.state.branches, False, kind == "events")
    dense, parts = (None, case.inputs[:3]) if kind == "events" else (case.inputs, (None, None, None))
    layers = [
        [t.detach().requires_grad_() for t in part]
        if isinstance(part, list)
        else part.detach().requires_grad_()
        for part in layers
    ]
    channels = 3 if kind == "narrow" else 70
    state = (branches.detach().requires_grad_(), case.state.memory)
    arguments = (dense, *parts, 2, 6, channels, *state, *layers, "relu", SIGNALS, kind == "sparse")
    # Unused capacity of the found events is uninitialised memory, which a comparison of two runs would read.
    checks = ["test_schema", "test_autograd_registration", "test_faketensor"]
    if kind != "sparse":
        checks.append("test_aot_dispatch_dynamic")
    torch.library.opcheck(elm, arguments, test_utils=checks)


def test_copies_of_a_neuron_compute_the_same():
    neuron = ELM(70, 2, memory=5, branches=7, synapses_per_branch=10)
    x = make("sparse").inputs
    assert torch.equal(copy.deepcopy(neuron)(x)[0], neuron(x)[0])


class Seen(TorchDispatchMode):
    """Notes operations by name."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(str(function))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("learns", [True, False])
@pytest.mark.parametrize("pre_dispatch", [True, False])
def test_a_trace_records_the_operator_and_computes_the_same_of_other_input(pre_dispatch, learns):
    neuron = ELM(70, 2, memory=5, branches=7, synapses_per_branch=10).requires_grad_(learns)
    x = make("dense").inputs
    traced = make_fx(lambda x: neuron(x)[0], pre_dispatch=pre_dispatch)(x)
    torch.testing.assert_close(traced(2 * x), neuron(2 * x)[0])


def test_a_mode_around_the_backward_pass_alone_sees_the_operator():
    neuron, x = ELM(70, 2, memory=5, branches=7, synapses_per_branch=10), make("dense").inputs
    loss = neuron(x)[0].square().sum()
    with Seen() as seen:
        loss.backward()
    assert "ulmus.elm_backward.default" in seen.names


@pytest.mark.filterwarnings("ignore")
def test_a_backward_pass_that_is_compiled_alone_gives_the_same():
    from torch._dynamo import compiled_autograd

    neuron, x = ELM(70, 2, memory=5, branches=7, synapses_per_branch=10), make("dense").inputs
    found = []
    for context in (contextlib.nullcontext(), compiled_autograd._enable(torch.compile(backend="eager"))):
        neuron.zero_grad()
        loss = neuron(x)[0].square().sum()
        with context:
            loss.backward()
        found.append([parameter.grad for parameter in neuron.parameters() if parameter.requires_grad])
    torch.testing.assert_close(*found)


@pytest.mark.filterwarnings("ignore")
def test_compiled_neuron_computes_the_same():
    neuron = ELM(70, 2, memory=5, branches=7, synapses_per_branch=10)
    x = make("sparse").inputs
    compiled = torch.compile(neuron, backend="aot_eager", fullgraph=True)
    compiled(x)[0].square().sum().backward()
    found = [parameter.grad for parameter in neuron.parameters() if parameter.requires_grad]
    neuron.zero_grad()
    outputs = neuron(x)[0]
    outputs.square().sum().backward()
    wanted = [parameter.grad for parameter in neuron.parameters() if parameter.requires_grad]
    torch.testing.assert_close(compiled(x)[0], outputs)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"inputs": torch.tensor([70]).int()}, "0 to channels - 1"),
        ({"row_start": torch.tensor([0, 1, 2]).int()}, "row starts"),
        ({"row_start": torch.tensor([0, 1, 0, 1]).int()}, "ascend"),
        ({"values": torch.ones(2)}, "values"),
    ],
)
def test_damaged_events_are_refused(change, words):
    events = Events(torch.tensor([0, 1, 1, 1]).int(), torch.tensor([3]).int(), torch.ones(1), 1, 3, 70)
    case = make("events", batch=1, time=3)
    with use_backend("numba"), pytest.raises(ShapeError, match=words):
        run(events._replace(**change), *case[1:])


@pytest.mark.slow
def test_a_hundred_thousand_steps_neither_drift_nor_leak():
    import resource

    case = make("narrow", batch=1, time=100_000, memory=20, hidden=(40,), tau=1000.0)
    outputs, state = fused()(*case)
    doubled = [tensor.double() if isinstance(tensor, torch.Tensor) else tensor for tensor in case[2]]
    tail = case.inputs[:, -20_000:].double()
    start = ELMState(*(part.double() for part in fused()(case.inputs[:, :-20_000], *case[1:])[1]))
    weights = case.weights._replace(
        **{
            name: value
            for name, value in zip(case.weights._fields, doubled, strict=True)
            if isinstance(value, torch.Tensor)
        },
        later=tuple((w.double(), b.double()) for w, b in case.weights.later),
        readout=tuple(part.double() for part in case.weights.readout),
    )
    wanted, end = reference.run(tail, start, weights, "relu")
    torch.testing.assert_close(outputs[:, -20_000:].double(), wanted, rtol=0, atol=3e-4)
    torch.testing.assert_close(state.memory.double(), end.memory, rtol=0, atol=3e-4)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(20):
        results(case, fused(0.0))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 100_000
