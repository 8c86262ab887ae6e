"""Expressive Leaky Memory neurons: fit them to detailed neurons, train them on long sequences, run them fast."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ulmus.errors import UlmusError

if TYPE_CHECKING:
    from ulmus.kernels import ELMState, Events, backends, use_backend
    from ulmus.neuron import ELM, ELMCell, ELMNetwork, Surrogate, import_official, load, save
    from ulmus.teachers.runner import simulate

__version__ = "0.1.0"

__all__ = [
    "ELM",
    "ELMCell",
    "ELMNetwork",
    "ELMState",
    "Events",
    "Surrogate",
    "UlmusError",
    "backends",
    "import_official",
    "load",
    "save",
    "simulate",
    "use_backend",
]

_HOMES = {
    "ulmus.kernels": ("ELMState", "Events", "backends", "use_backend"),
    "ulmus.neuron": ("ELM", "ELMCell", "ELMNetwork", "Surrogate", "import_official", "load", "save"),
    "ulmus.teachers.runner": ("simulate",),
}


def __getattr__(name: str) -> Any:
    # Loaded when first used: the command line shows its help without waiting for PyTorch.
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module 'ulmus' has no attribute {name!r}")
