"""Which code computes the recurrence: chosen per call, or named by the user."""

import importlib.util
import os
import threading
from types import TracebackType
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ulmus.errors import BackendError, ConfigError, closest
from ulmus.kernels import reference
from ulmus.kernels.events import Events
from ulmus.kernels.tracing import traced
from ulmus.kernels.warning import warn_once
from ulmus.kernels.weights import ELMState, Weights

# Looked up once, not in the forward pass: before 2.13, torch.compile does not trace such a look-up.
_INSTALLED = frozenset(name for name in ("numba", "llvmlite", "triton") if importlib.util.find_spec(name))

DEFAULT_BUDGET_MEBIBYTES = 48.0
_FUSED_DTYPES = (torch.float32, torch.float64)
_HALF = (torch.bfloat16, torch.float16)
"""Computed in float32, except by the GPU kernels, which multiply in bfloat16 and add up in float32: eight bits of memory would
forget what is added in small steps."""
_EXPECTED = {
    "numba": "float32 or float64 tensors on the CPU",
    "triton": "float32 or bfloat16 tensors on a GPU, at most one hidden layer and 256 memory units",
}


class Backend(NamedTuple):
    """One way to compute the recurrence, and whether it can run here."""

    name: str
    available: bool
    reason: str
    """Why it is available, or why not."""
    devices: tuple[str, ...]
    dtypes: tuple[str, ...]


T = TypeVar("T")
_KEPT = 8
"""Choices for the process that a ``with`` block may still give way to."""


class _Setting(Generic[T]):
    """What the user chose: for the process, or inside a ``with`` block for the thread that is in it."""

    def __init__(self, default: T) -> None:
        self.own = threading.local()
        self.open: list[_Block[T]] = []
        self.process: list[_Block[T]] = [_Block(self, default)]

    @property
    def innermost(self) -> "_Block[T] | None":
        """The block that this thread is in."""
        found: _Block[T] | None = getattr(self.own, "block", None)
        return found

    @property
    def value(self) -> T:
        """What holds in this thread."""
        block = self.innermost
        # Threads that Python did not start are those in which autograd goes backward on a GPU: they work for a block elsewhere.
        foreign = not torch.compiler.is_compiling() and self.open and _is_foreign()
        return (block or (self.open if foreign else self.process)[-1]).value


class _Block(Generic[T]):
    """Sets a value inside a ``with`` block."""

    def __init__(self, setting: _Setting[T], value: T) -> None:
        self._setting, self.value, self._outer = setting, value, setting.innermost

    def __enter__(self) -> None:
        """Set it for this thread."""
        self._setting.own.block = self
        self._setting.open.append(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put back what was set before."""
        self._setting.own.block = self._outer
        self._setting.open.remove(self)


class _Choice(_Block[T]):
    """Sets a value at once, which stays unless it is that of a ``with`` block."""

    def __init__(self, setting: _Setting[T], value: T) -> None:
        super().__init__(setting, value)
        if self._outer is None:
            setting.process.append(self)
            del setting.process[:-_KEPT]
        else:
            setting.own.block = self

    def __enter__(self) -> None:
        """Set it for this thread alone."""
        if self in self._setting.process:
            self._setting.process.remove(self)
        super().__enter__()


def _is_foreign() -> bool:
    return isinstance(threading.current_thread(), threading._DummyThread)


_backend: _Setting[str | None] = _Setting(None)
_budget_mebibytes: _Setting[float] = _Setting(DEFAULT_BUDGET_MEBIBYTES)


def backends() -> list[Backend]:
    """All ways to compute the recurrence, the preferred one first.

    Example:
        >>> [backend.name for backend in ulmus.backends()]
        ['numba', 'triton', 'reference']
    """
    obstacle = _without_numba()
    reason = obstacle or "fused CPU kernels, compiled at first use and kept on disk"
    fused = Backend("numba", obstacle is None, reason, ("cpu",), ("float32", "float64"))
    plain = Backend(
        "reference",
        True,
        "plain PyTorch, every device and dtype",
        ("cpu", "cuda", "mps", "xpu"),
        ("float32", "float64", "bfloat16", "float16"),
    )
    return [fused, _triton_backend(), plain]


def _without_numba() -> str | None:
    """Why Numba cannot compile here, if so, without importing it: that takes most of a second."""
    missing = [name for name in ("numba", "llvmlite") if name not in _INSTALLED]
    if missing:
        return f"{' and '.join(missing)} cannot be found; install it with: pip install numba"
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return "the environment variable NUMBA_DISABLE_JIT is set, so Numba compiles nothing; unset it"
    return None


def _triton_backend() -> Backend:
    found = "triton" in _INSTALLED
    if not found:
        reason = "triton cannot be found; it comes with PyTorch for CUDA and ROCm"
    elif torch.cuda.is_available():
        reason = "fused GPU kernels, compiled at first use and kept on disk"
    elif _interpreting():
        reason = "in Triton's interpreter: for tests, slower than anything else"
    else:
        found, reason = False, "PyTorch finds no GPU here"
    return Backend("triton", found, reason, ("cuda",), ("float32", "bfloat16"))


def _interpreting() -> bool:
    return os.environ.get("TRITON_INTERPRET") == "1"


def use_backend(name: str | None) -> _Choice[str | None]:
    """Compute with the backend `name` from now on, or inside a ``with`` block, in its thread; ``None`` chooses per call again.

    Example:
        >>> with ulmus.use_backend("reference"):
        ...     y, state = ulmus.ELM(3, 2)(torch.zeros(1, 10, 3))

    Raises:
        BackendError: no backend of that name, or one that cannot run here.
    """
    known = {backend.name: backend for backend in backends()}
    if name is not None and name not in known:
        raise BackendError(
            f"backend {name!r} is not known; expected one of {list(known)}.{closest(name, list(known))} "
            "List them with ulmus.backends()."
        )
    if name is not None and not known[name].available:
        raise BackendError(
            f"backend {name!r} cannot run here: {known[name].reason}. Expected an available one; "
            "`ulmus doctor` shows which are."
        )
    return _Choice(_backend, name)


def memory_budget(mebibytes: float) -> _Choice[float]:
    """Memory that one call of the fused kernels may keep for its backward pass, in MiB; 48 by default.

    The most that fits is kept of every step: all signals inside the neuron; or only the memory's proposals, from which
    half of the rest is computed again; or nothing but the state at the edges of chunks of time, and all is computed again,
    which takes about a fifth more time. Results are the same to the last bit. Stays, or holds inside a ``with`` block, in its
    thread.

    Raises:
        ConfigError: a negative budget.
    """
    if not mebibytes >= 0:
        raise ConfigError(
            f"memory_budget({mebibytes}) is negative; expected MiB, zero to keep as little as possible."
        )
    return _Choice(_budget_mebibytes, float(mebibytes))


def shared_memory_budget(calls: int) -> _Block[float]:
    """The memory budget in equal shares, for so many calls in a ``with`` block that are all kept until one backward pass."""
    return _Block(_budget_mebibytes, _budget_mebibytes.value / calls)


def backend_for(inputs: Tensor | Events, weights: Weights) -> str:
    """Name of the backend that `run` uses for these arguments.

    Raises:
        BackendError: the backend that the user named cannot compute this.
    """
    chosen = _backend.value
    if chosen == "reference":
        return "reference"
    device = weights.recurrent.device.type
    name = chosen or ("numba" if device == "cpu" else "triton")
    obstacle = _no_triton(inputs, weights) if name == "triton" else _obstacle(inputs, weights)
    if obstacle is None:
        return name
    if chosen is not None:
        raise BackendError(
            f"backend {name!r} cannot compute this: {obstacle}. Expected {_EXPECTED[name]}; convert them, or call "
            "ulmus.use_backend('reference')."
        )
    if device in ("cpu", "cuda"):
        warn_once(f"{device.upper().replace('CUDA', 'GPU')} kernel", obstacle)
    return "reference"


def fuses(like: Tensor) -> bool:
    """Whether weights such as these go to the fused CPU kernels, and nothing records or imitates operations."""
    return (
        _backend.value in (None, "numba")
        and like.device.type == "cpu"
        and like.dtype in _FUSED_DTYPES
        and not traced(like)
        and _without_numba() is None
        and _derivatives() is None
    )


def _no_triton(inputs: Tensor | Events, weights: Weights) -> str | None:
    """Why the GPU kernels cannot compute this, if so."""
    backend = _triton_backend()
    if not backend.available:
        return backend.reason
    data = inputs.values if isinstance(inputs, Events) else inputs
    devices = {weights.recurrent.device.type, data.device.type}
    if devices != {"cuda"} and not (_interpreting() and devices == {"cpu"}):
        return f"the weights are on {weights.recurrent.device} and the input on {data.device}"
    if derivatives := _derivatives():
        return derivatives
    from ulmus.kernels import triton_run

    return triton_run.obstacle(weights)


def _obstacle(inputs: Tensor | Events, weights: Weights) -> str | None:
    """Why the fused kernels cannot compute this, if so."""
    fused = backends()[0]
    if not fused.available:
        return fused.reason
    data = inputs.values if isinstance(inputs, Events) else inputs
    if weights.recurrent.device.type != "cpu" or data.device.type != "cpu":
        return f"the weights are on {weights.recurrent.device} and the input on {data.device}"
    if weights.recurrent.dtype not in (*_FUSED_DTYPES, *_HALF):
        return f"the weights are {weights.recurrent.dtype}"
    return _derivatives()


def _derivatives() -> str | None:
    """What kind of derivative is being taken that the fused kernels do not have, if so."""
    if torch.compiler.is_compiling():
        return None
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return "torch.func transforms have no fused form"
    if forward_ad._current_level >= 0:
        return "forward-mode differentiation has no fused form"
    return None


def traces(
    inputs: Tensor | Events, state: ELMState, weights: Weights, activation: str, memory: Tensor
) -> reference.Traces:
    """All inner signals, computed for all steps at once from the memory that `run` returned."""
    if weights.recurrent.dtype in _HALF:
        weights = weights.to(torch.float32)
    return reference.traces(inputs.to(weights.recurrent.dtype), state, weights, activation, memory)


def run(
    inputs: Tensor | Events, state: ELMState, weights: Weights, activation: str
) -> tuple[Tensor, ELMState]:
    """By the backend that can: see `ulmus.kernels.run`."""
    name = backend_for(inputs, weights)
    if weights.recurrent.dtype in _HALF and name != "triton":
        weights = weights.to(torch.float32)
    dtype = weights.recurrent.dtype
    if isinstance(inputs, Events) or name == "reference":
        inputs = inputs.to(dtype)
    if name == "reference":
        return reference.run(inputs, state, weights, activation)
    if name == "triton":
        from ulmus.kernels import triton_run

        return triton_run.run(inputs, state, weights, activation, _budget_mebibytes.value)
    from ulmus.kernels import fused

    if isinstance(inputs, Tensor) and inputs.dtype not in (dtype, torch.uint8, torch.bool):
        inputs = inputs.to(dtype)
    return fused.run(inputs, state, weights, activation, _budget_mebibytes.value)
