"""CPU seconds that the cochlea takes for a second of speech-like sound, one thread.

python benchmarks/cochlea.py
"""

import time

import numpy as np
from common import start

from ulmus.bench.workloads import one_thread
from ulmus.cli.console import console
from ulmus.sequences.digits.cochlea import Sound, hear

RATE_HZ = 48000


def cochlea(*, seconds: float = 1.0, rounds: int = 3) -> None:
    """Hear noise whose loudness changes with syllables, four a second; the least of the rounds counts.

    Args:
        seconds: Length of the sound.
        rounds: How often it is heard.
    """
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    noise = np.random.default_rng(0).standard_normal(len(time_s))
    sound = Sound(0.1 * noise * np.sin(4 * np.pi * time_s) ** 2, RATE_HZ)
    with one_thread():
        hear(sound, 0)  # compiles
        spent = []
        for seed in range(rounds):
            begin = time.process_time()
            hear(sound, seed)
            spent.append(time.process_time() - begin)
    console.print(f"{min(spent) / seconds:.3f} CPU seconds for a second of sound")


if __name__ == "__main__":
    start(cochlea)
