"""The GPU kernels against the reference in double precision: small sizes, as Triton's interpreter is slow.

Run by `test_triton` in a process of its own, since Triton decides when it is imported whether it compiles or interprets.
"""

import pytest
import torch
from kernel_cases import KINDS, double, make, results, worst_error

from ulmus import ELM
from ulmus.errors import BackendError
from ulmus.kernels import backend_for, memory_budget, reference, run, use_backend


def on_gpu(budget=1000.0):
    def compute(*case):
        with use_backend("triton"), memory_budget(budget):
            return run(*case)

    return compute


def check(case, tolerance=3e-5, budget=1000.0, extra=()):
    found = results(case, on_gpu(budget), extra=extra)
    error, name = worst_error(found, results(double(case), reference.run))
    assert error <= tolerance, f"{name} differs by {error:.3g} of its largest value"


@pytest.mark.parametrize("hidden", [(9,), ()])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_input(kind, hidden):
    check(make(kind, time=7, hidden=hidden))


@pytest.mark.parametrize("activation", ["relu", "silu", "squared_relu"])
def test_every_activation_with_several_programs_and_blocks(activation):
    # 18 sequences are two programs; 130 hidden units are three blocks, the last of them not full.
    check(
        make("narrow", batch=18, time=5, memory=17, hidden=(130,), activation=activation, outputs=None), 2e-4
    )


@pytest.mark.parametrize("outputs", [None, 2])
@pytest.mark.parametrize("kind", ["dense", "events"])
def test_chunks_that_are_computed_again_give_the_same(kind, outputs, monkeypatch):
    from ulmus.kernels import triton_run

    monkeypatch.setattr(triton_run, "_SHORTEST_CHUNK", 4)
    case = make(kind, time=11, outputs=outputs)
    check(case, budget=0.0)
    found, whole = results(case, on_gpu(0.0)), results(case, on_gpu())
    assert worst_error(found, {name: value.double() for name, value in whole.items()})[0] < 1e-6


def test_gradients_of_input_and_branch_decay():
    case = make("dense", time=6)
    extra = {"inputs": case.inputs, "decay": case.weights.branch_decay}.items()
    found, wanted = results(case, on_gpu(), extra=extra), results(case, reference.run, extra=extra)
    assert worst_error(found, {name: value.double() for name, value in wanted.items()})[0] < 3e-5


def test_the_least_and_the_most_memory():
    check(make("narrow", batch=1, time=1, memory=1, hidden=(1,)))
    check(make("narrow", batch=2, time=2, memory=256, hidden=(512,)))


@pytest.mark.parametrize(("batch", "time"), [(0, 5), (3, 0)])
def test_nothing_to_compute(batch, time):
    case = make("dense", batch=max(batch, 1), time=max(time, 1))
    case = case._replace(
        inputs=case.inputs[:batch, :time], state=type(case.state)(*(part[:batch] for part in case.state))
    ) if batch == 0 else case._replace(inputs=case.inputs[:, :time])  # fmt: skip
    outputs, state = on_gpu()(*case)
    assert outputs.shape == (len(case.inputs), time, 2)
    assert all(torch.equal(one, other) for one, other in zip(state, case.state, strict=True))


def test_bfloat16_weights_keep_a_state_in_single_precision():
    case = make("dense", time=9, dtype=torch.bfloat16)
    single = type(case.state)(*(part.float() for part in case.state))
    outputs, state = on_gpu()(*case._replace(state=single))
    wanted, after = reference.run(*double(case))
    assert (outputs.dtype, state.memory.dtype) == (torch.bfloat16, torch.float32)
    for one, other in ((outputs, wanted), (state.memory, after.memory)):
        assert float((one.double() - other).abs().max() / other.abs().max()) < 0.03


def test_not_a_number_stays_in_its_sequence_and_comes_out():
    case = make("narrow", batch=3, time=6)
    inputs = case.inputs.clone()
    inputs[1, 2, 0] = torch.nan
    outputs, _ = on_gpu()(inputs, *case[1:])
    assert bool(outputs[1, 2:].isnan().all())
    assert not bool(outputs[[0, 2]].isnan().any())
    assert not bool(outputs[1, :2].isnan().any())


def test_a_layer_goes_on_where_it_stopped():
    neuron = ELM(5, 2, memory=6)
    x = torch.rand(2, 8, 5)
    whole, end = neuron(x)
    with use_backend("triton"):
        first, state = neuron(x[:, :3])
        second, state = neuron(x[:, 3:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(state.memory, end.memory, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hidden": (9, 9)}, "2 hidden layers"),
        ({"memory": 257}, "257 memory units"),
        ({"dtype": torch.float64}, "float64"),
    ],
)
def test_what_the_kernels_cannot_do_is_refused_by_name(change, words):
    case = make("narrow", time=2, **change)
    with use_backend("triton"), pytest.raises(BackendError, match=words):
        run(*case)
    assert backend_for(case.inputs, case.weights) != "triton"
