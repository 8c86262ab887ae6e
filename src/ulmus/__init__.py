"""Expressive Leaky Memory neurons: fit them to detailed neurons, train them on long sequences, run them fast."""

from ulmus.errors import UlmusError
from ulmus.kernels import ELMState, Events
from ulmus.neuron import ELM, ELMCell, Surrogate, import_official, load, save

__version__ = "0.1.0"

__all__ = [
    "ELM",
    "ELMCell",
    "ELMState",
    "Events",
    "Surrogate",
    "UlmusError",
    "import_official",
    "load",
    "save",
]
