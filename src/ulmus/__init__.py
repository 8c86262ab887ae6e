"""Expressive Leaky Memory neurons: fit them to detailed neurons, train them on long sequences, run them fast."""

from typing import TYPE_CHECKING

from ulmus.errors import UlmusError
from ulmus.lazy import lazy

if TYPE_CHECKING:
    from ulmus import baselines
    from ulmus.export import export
    from ulmus.kernels import ELMState, Events, backends, use_backend
    from ulmus.neuron import ELM, Classifier, ELMCell, ELMNetwork, Surrogate, import_official, load, save
    from ulmus.populations import Population
    from ulmus.report import report
    from ulmus.teachers import simulate
    from ulmus.training import evaluate, fit, label, load_recipe, recipes
    from ulmus.trials import open_trials

__version__ = "0.2.0"

__all__ = [
    "ELM",
    "Classifier",
    "ELMCell",
    "ELMNetwork",
    "ELMState",
    "Events",
    "Population",
    "Surrogate",
    "UlmusError",
    "backends",
    "baselines",
    "evaluate",
    "export",
    "fit",
    "import_official",
    "label",
    "load",
    "load_recipe",
    "open_trials",
    "recipes",
    "report",
    "save",
    "simulate",
    "use_backend",
]

__getattr__, __dir__ = lazy(__name__)
