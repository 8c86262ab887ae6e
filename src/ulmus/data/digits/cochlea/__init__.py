"""From sound to spikes: a cochlea, its hair cells and the bushy cells behind them, from the published equations."""

from ulmus.data.digits.cochlea.hearing import RATE_RANGE_HZ, SpikeTrain, hear
from ulmus.data.digits.cochlea.membrane import CHANNELS
from ulmus.data.digits.cochlea.wav import Sound, read_wav

__all__ = ["CHANNELS", "RATE_RANGE_HZ", "Sound", "SpikeTrain", "hear", "read_wav"]
