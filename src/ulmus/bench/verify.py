"""Does every backend compute the neuron right on this machine?"""

from typing import NamedTuple, cast

import torch
from torch import Tensor

from ulmus.bench.workloads import WORKLOADS, Workload, as_events, one_thread
from ulmus.kernels import Backend, ELMState, Events, backends, reference, run, use_backend
from ulmus.neuron.elm import ELM

_TIME = 200
_CASES = {"A": "windows routing, dense input", "C": "no branches", "D": "three inputs"}
_ALLOWED = {torch.float32: 2e-4, torch.float64: 1e-10}


class Check(NamedTuple):
    """One comparison of a backend with the reference in double precision."""

    backend: str
    case: str
    dtype: str
    output_error: float
    """Largest difference, relative to the largest output."""
    gradient_error: float
    """The same for gradients: the worst of all parameters."""
    allowed: float
    passed: bool
    message: str
    """Why it did not run, where it did not."""


def verify() -> list[Check]:
    """Forward and backward of every backend for the devices of this machine against the reference in float64."""
    with one_thread():
        return [check for backend in backends() if _belongs_here(backend) for check in _checks(backend)]


def _belongs_here(backend: Backend) -> bool:
    return "cpu" in backend.devices or backend.available


def _checks(backend: Backend) -> list[Check]:
    if not backend.available:
        unknown = float("nan")
        return [Check(backend.name, "-", "-", unknown, unknown, unknown, False, backend.reason)]
    rows = [
        _check(backend.name, WORKLOADS[name], words, dtype, events=False)
        for name, words in _CASES.items()
        for dtype in _ALLOWED
        if str(dtype).removeprefix("torch.") in backend.dtypes
    ]
    return [
        *rows,
        _check(backend.name, WORKLOADS["A"], "windows routing, events", torch.float32, events=True),
    ]


def _check(backend: str, work: Workload, words: str, dtype: torch.dtype, events: bool) -> Check:
    allowed, name = _ALLOWED[dtype], str(dtype).removeprefix("torch.")
    neuron, dense = work.neuron().to(dtype), work.input(_TIME)[:5].to(dtype)
    wanted = _results(neuron, dense, "exact")
    try:
        found = _results(neuron, as_events(dense) if events else dense, backend)
    except Exception as error:  # a broken backend is what this is looking for, whatever it raises
        return Check(
            backend,
            words,
            name,
            float("nan"),
            float("nan"),
            allowed,
            False,
            f"{type(error).__name__}: {error}",
        )
    errors = [_difference(*pair) for pair in zip(found, wanted, strict=True)]
    passed = all(error <= allowed for error in errors)
    return Check(backend, words, name, errors[0], max(errors[1:]), allowed, passed, "")


def _results(neuron: ELM, x: Tensor | Events, backend: str) -> list[Tensor]:
    """Outputs and the gradients of all weights; "exact" is the reference in float64 with the same rounded weights."""
    with torch.no_grad():
        weights = neuron.weights()
    tensors = [
        weights.synapses,
        weights.projection,
        weights.recurrent,
        weights.first_bias,
        weights.memory_decay,
    ]
    tensors += [weights.memory_gain, *weights.later[0], *(weights.readout or ())]
    batch = x.batch if isinstance(x, Events) else x.shape[0]
    state = cast(ELMState, neuron.initial_state(batch))
    exact = backend == "exact"
    if exact:
        tensors = [tensor.double() for tensor in tensors]
        x, state = x.to(torch.float64), state.to(torch.float64)
    device = "cuda" if backend == "triton" and torch.cuda.is_available() else "cpu"
    x, state = x.to(torch.device(device)), state.to(device)
    leaves = [tensor.detach().to(device).clone().requires_grad_() for tensor in tensors]
    weights = weights._replace(
        synapses=leaves[0], branch_decay=weights.branch_decay.to(leaves[0]), projection=leaves[1],
        recurrent=leaves[2], first_bias=leaves[3], memory_decay=leaves[4], memory_gain=leaves[5],
        later=((leaves[6], leaves[7]),), readout=(leaves[8], leaves[9]),
    )  # fmt: skip
    if exact:
        outputs, _ = reference.run(x, state, weights, neuron.activation)
    else:
        with use_backend(backend):
            outputs, _ = run(x, state, weights, neuron.activation)
    gradients = torch.autograd.grad(outputs.square().mean(), leaves)
    return [part.detach().cpu() for part in (outputs, *gradients)]


def _difference(found: Tensor, wanted: Tensor) -> float:
    scale = float(wanted.abs().max()) or 1.0
    return float((found.double() - wanted).abs().max()) / scale
