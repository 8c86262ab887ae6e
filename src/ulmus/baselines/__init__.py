"""The models that an ELM is compared with, all called like it: ``y, state = model(x, state)``."""

from ulmus.baselines.lstm import LSTM, LSTMState

__all__ = ["LSTM", "LSTMState"]
