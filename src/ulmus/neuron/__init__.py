"""The ELM neuron and the fitted neuron with units."""

from ulmus.neuron.elm import ELM, ELMCell
from ulmus.neuron.files import load, save
from ulmus.neuron.official import import_official
from ulmus.neuron.surrogate import Prediction, Surrogate, VoltageUnits

__all__ = ["ELM", "ELMCell", "Prediction", "Surrogate", "VoltageUnits", "import_official", "load", "save"]
