"""How the recurrence is computed. Knows tensors only."""

from ulmus.kernels.dispatch import (
    Backend,
    backend_for,
    backends,
    memory_budget,
    shared_memory_budget,
    traces,
    use_backend,
)
from ulmus.kernels.events import Events
from ulmus.kernels.recurrence import run
from ulmus.kernels.reference import Traces
from ulmus.kernels.weights import ACTIVATIONS, ELMState, Weights

__all__ = [
    "ACTIVATIONS",
    "Backend",
    "ELMState",
    "Events",
    "Traces",
    "Weights",
    "backend_for",
    "backends",
    "memory_budget",
    "run",
    "shared_memory_budget",
    "traces",
    "use_backend",
]
