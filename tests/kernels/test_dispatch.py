"""Which backend computes what, and what is said when it cannot."""

import _thread
import queue
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from kernel_cases import make
from torch.autograd import forward_ad

from ulmus import ELM
from ulmus.errors import BackendError, ConfigError
from ulmus.kernels import (
    backend_for,
    backends,
    dispatch,
    fused,
    memory_budget,
    reference,
    run,
    shared_memory_budget,
    use_backend,
    warning,
)


def test_fused_kernels_are_the_default_on_a_cpu():
    case = make("dense")
    assert backend_for(case.inputs, case.weights) == "numba"
    assert [backend.name for backend in backends()] == ["numba", "triton", "reference"]
    assert all(backend.available for backend in backends() if "cpu" in backend.devices)


def test_a_block_restores_and_a_call_stays():
    case = make("dense")
    with use_backend("reference"):
        assert backend_for(case.inputs, case.weights) == "reference"
        assert torch.equal(run(*case)[0], reference.run(*case)[0])
    assert backend_for(case.inputs, case.weights) == "numba"
    use_backend("reference")
    assert backend_for(case.inputs, case.weights) == "reference"
    use_backend(None)
    assert backend_for(case.inputs, case.weights) == "numba"


def test_unknown_backend():
    with pytest.raises(BackendError, match="did you mean|Did you mean 'reference'"):
        use_backend("referense")


def test_missing_numba(monkeypatch):
    monkeypatch.setattr(dispatch, "_INSTALLED", frozenset())
    assert not backends()[0].available
    with pytest.raises(BackendError, match="pip install numba"):
        use_backend("numba")


def test_numba_that_may_not_compile(monkeypatch):
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert "NUMBA_DISABLE_JIT" in backends()[0].reason
    case = make("dense")
    with pytest.warns(UserWarning, match="NUMBA_DISABLE_JIT"):
        assert torch.equal(run(*case)[0], reference.run(*case)[0])
    with pytest.raises(BackendError, match="unset it"):
        use_backend("numba")


def test_what_has_no_fused_form_is_said_once(monkeypatch):
    monkeypatch.setattr(warning, "warned", set())
    case = make("dense")
    with forward_ad.dual_level():
        with pytest.warns(UserWarning, match="forward-mode"):
            run(*case)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            run(*case)
        with use_backend("numba"), pytest.raises(BackendError, match="forward-mode"):
            run(*case)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_rounded_weights_computed_in_float32(dtype):
    case = make("dense", dtype=dtype)
    outputs, _ = run(*case)
    exact, _ = reference.run(
        case.inputs.double(), case.state.to(torch.float64), case.weights.to(torch.float64), *case[3:]
    )
    assert outputs.dtype == torch.float32
    torch.testing.assert_close(outputs.double(), exact, atol=1e-5, rtol=1e-5)


def test_autocast_leaves_the_recurrence_alone():
    neuron = ELM(6, 2, memory=4)
    x = torch.rand(2, 9, 6)
    exact = neuron(x)[0]
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(neuron(x)[0], exact)


def test_negative_memory_budget():
    with pytest.raises(ConfigError, match="negative"):
        memory_budget(-1)
    with memory_budget(3):
        assert dispatch._budget_mebibytes.value == 3
    assert dispatch._budget_mebibytes.value == dispatch.DEFAULT_BUDGET_MEBIBYTES


def budget():
    return dispatch._budget_mebibytes.value


def in_thread(work, start=None):
    """What `work` returns in a thread that Python knows, or, with ``_thread.start_new_thread``, in one like those of autograd."""
    answers = queue.Queue()
    (start or (lambda f, _: threading.Thread(target=f).start()))(lambda: answers.put(work()), ())
    return answers.get(timeout=30)


def test_blocks_in_threads_that_overlap_leave_nothing_behind():
    inside, left = threading.Barrier(2), threading.Event()

    def first():
        with use_backend("reference"), shared_memory_budget(4):
            inside.wait()
            inside.wait()
        left.set()
        return None

    def second():
        inside.wait()
        with use_backend("numba"), shared_memory_budget(3):
            inside.wait()
            left.wait()
            return dispatch._backend.value, budget()

    with ThreadPoolExecutor(2) as pool:
        others = [pool.submit(work) for work in (first, second)]
        assert others[1].result() == ("numba", 16.0)
    assert (dispatch._backend.value, budget()) == (None, dispatch.DEFAULT_BUDGET_MEBIBYTES)


def test_lengths_in_threads_share_the_whole_budget_every_time(monkeypatch):
    budgets, run = set(), fused.run
    monkeypatch.setattr(fused, "run", lambda *given: budgets.add(given[-1]) or run(*given))
    neuron, x = ELM(6, memory=4), torch.rand(4, 30, 6)
    neuron(x)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: neuron(x, lengths=[30, 10, 20, 5]), range(60)))
    finally:
        sys.setswitchinterval(before)
    assert budgets == {48.0, 12.0}
    assert budget() == dispatch.DEFAULT_BUDGET_MEBIBYTES


def test_a_block_is_for_its_thread_and_for_those_of_autograd():
    with memory_budget(3):
        assert in_thread(budget) == dispatch.DEFAULT_BUDGET_MEBIBYTES
        assert in_thread(budget, _thread.start_new_thread) == 3
    assert in_thread(budget, _thread.start_new_thread) == dispatch.DEFAULT_BUDGET_MEBIBYTES


def test_a_call_stays_for_all_threads_but_inside_a_block_only_to_its_end():
    try:
        memory_budget(5)
        assert in_thread(budget) == 5
        with memory_budget(3):
            memory_budget(2)
            assert (budget(), in_thread(budget)) == (2, 5)
        assert budget() == 5
    finally:
        memory_budget(dispatch.DEFAULT_BUDGET_MEBIBYTES)


def test_importing_ulmus_leaves_numba_alone():
    code = "import ulmus, ulmus.kernels, ulmus.neuron.elm, sys; print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
