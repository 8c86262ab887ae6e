"""Which backend computes what, and what is said when it cannot."""

import subprocess
import sys
import warnings

import pytest
import torch
from kernel_cases import make
from torch.autograd import forward_ad

from ulmus import ELM
from ulmus.errors import BackendError, ConfigError
from ulmus.kernels import backend_for, backends, dispatch, memory_budget, reference, run, use_backend, warning


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
        assert dispatch._Settings.budget_mebibytes == 3
    assert dispatch._Settings.budget_mebibytes == dispatch.DEFAULT_BUDGET_MEBIBYTES


def test_importing_ulmus_leaves_numba_alone():
    code = "import ulmus, ulmus.kernels, ulmus.neuron.elm, sys; print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
