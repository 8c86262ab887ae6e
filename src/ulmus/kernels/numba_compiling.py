# mypy: disable-error-code="no-untyped-call"
"""How the kernels are compiled: once, into one piece of machine code for each kernel, and kept on disk where that is possible."""

from collections.abc import Callable
from typing import Any

from numba import config, njit
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler

from ulmus.kernels.numba_cache import remember_on_disk


class _PartOfAKernel(JITCodeLibrary):
    """Instructions that only ever run inside of a kernel's.

    Numba optimises every function and makes machine code of it, and again with each function that calls it: twenty functions
    called by one another five deep were three quarters of the time. Parts are neither optimised nor turned into machine code
    before they are in the kernel.
    """

    def _optimize_final_module(self) -> None:
        """Left to the kernel."""

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """Parts have no address."""
        return 0

    @property
    def codegen(self) -> Any:
        """Numba's own, but for the environment that machine code would have."""
        return _WithoutEnvironment(self._codegen)


class _WithoutEnvironment:
    def __init__(self, codegen: Any) -> None:
        self._codegen = codegen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._codegen, name)

    def set_env(self, name: str, env: Any) -> None:
        """Nothing: no machine code, no environment."""


class _PartCompiler(Compiler):
    """Numba's compiler, into a `_PartOfAKernel`."""

    def __init__(self, typingctx: Any, targetctx: Any, library: Any, *rest: Any) -> None:
        if library is None:
            library = _PartOfAKernel(targetctx.codegen(), "part")
        super().__init__(typingctx, targetctx, library, *rest)


def part(function: Callable[..., Any]) -> Any:
    """Decorator of functions that kernels call."""
    return njit(**_PART)(function)


def inlined(function: Callable[..., Any]) -> Any:
    """Decorator of small parts, whose vectors must stay in registers."""
    return njit(**_PART, forceinline=True)(function)


def kernel(function: Callable[..., Any]) -> Any:
    """Decorator of functions that Python calls."""
    # Without "numpy", Numba checks every divisor, and loops with a division are not vectorised.
    dispatcher = njit(**_KERNEL)(function)
    if not config.DISABLE_JIT:  # type: ignore[attr-defined]
        remember_on_disk(dispatcher)
    return dispatcher


_KERNEL: dict[str, Any] = {"error_model": "numpy", "nogil": True, "no_cfunc_wrapper": True}
_PART: dict[str, Any] = {
    "error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True, "pipeline_class": _PartCompiler,
}  # fmt: skip
