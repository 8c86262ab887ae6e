"""The ELM neuron and the fitted neuron with units."""

from ulmus.neuron.cell import ELMCell
from ulmus.neuron.classifier import Classifier
from ulmus.neuron.elm import ELM
from ulmus.neuron.files import load, load_surrogate, save, shipped_neurons
from ulmus.neuron.layer import ELMLayer, LayerState
from ulmus.neuron.network import ELMNetwork
from ulmus.neuron.official import import_official
from ulmus.neuron.predictor import Predictor, SequencePrediction
from ulmus.neuron.sequence_model import SequenceModel
from ulmus.neuron.stepper import Stepped, Stepper
from ulmus.neuron.surrogate import Prediction, SignalUnits, Surrogate, VoltageUnits
from ulmus.neuron.tables import Tables

__all__ = [
    "ELM",
    "Classifier",
    "ELMCell",
    "ELMLayer",
    "ELMNetwork",
    "LayerState",
    "Prediction",
    "Predictor",
    "SequenceModel",
    "SequencePrediction",
    "SignalUnits",
    "Stepped",
    "Stepper",
    "Surrogate",
    "Tables",
    "VoltageUnits",
    "import_official",
    "load",
    "load_surrogate",
    "save",
    "shipped_neurons",
]
