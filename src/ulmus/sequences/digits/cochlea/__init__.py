"""From sound to spikes: a cochlea, its hair cells and the bushy cells behind them, from the published equations."""

from ulmus.sequences.digits.cochlea.hearing import RATE_RANGE_HZ, SpikeTrain, hear
from ulmus.sequences.digits.cochlea.membrane import CHANNELS
from ulmus.sequences.digits.cochlea.wav import Sound, read_wav

__all__ = ["CHANNELS", "RATE_RANGE_HZ", "Sound", "SpikeTrain", "hear", "read_wav"]
