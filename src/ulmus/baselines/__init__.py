"""The models that an ELM is compared with, all called like it: ``y, state = model(x, state)``."""

from ulmus.baselines.lstm import LSTM, LSTMState
from ulmus.baselines.lstm_network import LSTMNetwork
from ulmus.baselines.spiking import PointNeuron, PointState, SpikingNetwork, SpikingState
from ulmus.baselines.tcn import TCN, TCNState
from ulmus.baselines.transformer import Transformer

__all__ = [
    "LSTM",
    "TCN",
    "LSTMNetwork",
    "LSTMState",
    "PointNeuron",
    "PointState",
    "SpikingNetwork",
    "SpikingState",
    "TCNState",
    "Transformer",
]
