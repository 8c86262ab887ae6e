"""How the recurrence is computed. Knows tensors only."""

from ulmus.kernels.events import Events
from ulmus.kernels.reference import Traces, run, traces
from ulmus.kernels.weights import ACTIVATIONS, ELMState, Weights

__all__ = ["ACTIVATIONS", "ELMState", "Events", "Traces", "Weights", "run", "traces"]
