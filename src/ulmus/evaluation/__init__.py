"""How good a fitted neuron is: predictions, scores, how sure they are, where it fails and what it encodes."""

from typing import TYPE_CHECKING

from ulmus.lazy import lazy

if TYPE_CHECKING:
    from ulmus.evaluation.failures import Failures, failures
    from ulmus.evaluation.intervals import differences
    from ulmus.evaluation.memory_encoding import MemoryEncoding, memory_encoding
    from ulmus.evaluation.predictions import PROTOCOLS, Predictions, Protocol, predict
    from ulmus.evaluation.scores import Evaluation, evaluation

__all__ = [
    "PROTOCOLS",
    "Evaluation",
    "Failures",
    "MemoryEncoding",
    "Predictions",
    "Protocol",
    "differences",
    "evaluation",
    "failures",
    "memory_encoding",
    "predict",
]

__getattr__, __dir__ = lazy(__name__)
