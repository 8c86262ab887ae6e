"""How the recurrence is computed. Knows tensors only."""

from typing import TYPE_CHECKING

from ulmus.kernels.dispatch import (
    Backend,
    backend_for,
    backends,
    fuses,
    memory_budget,
    shared_memory_budget,
    traces,
    use_backend,
)
from ulmus.kernels.events import Events
from ulmus.kernels.recurrence import run
from ulmus.kernels.reference import Traces
from ulmus.kernels.weights import ACTIVATIONS, ELMState, Weights
from ulmus.lazy import lazy

if TYPE_CHECKING:
    from ulmus.kernels.numba_step import run_steps

__all__ = [
    "ACTIVATIONS",
    "Backend",
    "ELMState",
    "Events",
    "Traces",
    "Weights",
    "backend_for",
    "backends",
    "fuses",
    "memory_budget",
    "run",
    "run_steps",
    "shared_memory_budget",
    "traces",
    "use_backend",
]

# Loaded when first used: Numba takes most of a second to import.
__getattr__, __dir__ = lazy(__name__)
