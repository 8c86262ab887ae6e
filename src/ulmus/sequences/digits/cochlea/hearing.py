"""What a listener's bushy cells fire when a clip is played."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, UInt16

from ulmus.errors import ConfigError, DataError
from ulmus.sequences.digits.cochlea.cells import bushy_spikes, firing_probability, refractory_steps
from ulmus.sequences.digits.cochlea.membrane import BLOCK, velocity
from ulmus.sequences.digits.cochlea.wav import Sound

RATE_RANGE_HZ = (8_000, 48_000)
LOUDNESS = 0.3
"""Root mean square that every clip is brought to."""
MODEL_VERSION = 1
"""Rises when the same clip and seed begin to give other spikes."""

_LONGEST_S, _SHORTEST_S = 20.0, 0.02
_COARSEST_STEP_HZ = 11_000  # the hair cell's fastest rate, 9 kHz, asks for steps no longer than this


class SpikeTrain(NamedTuple):
    """Spikes in the order of time.

    Attributes:
        time_s: seconds from the beginning of the clip.
        channel: 0 (base of the cochlea, high frequencies) to 699 (apex).
    """

    time_s: Float64[np.ndarray, "spikes"]
    channel: UInt16[np.ndarray, "spikes"]


def hear(sound: Sound, seed: int, name: str = "the sound") -> SpikeTrain:
    """Spikes of the 700 bushy cells for one clip; the same clip and seed always give the same.

    Loudness normalised, faded in and out by a Hann window over the whole clip, basilar membrane (Sieroka et al. 2006),
    inner hair cell (Meddis 1986, 1988), 40 fibres to one bushy cell per channel (Cramer et al. 2022). Time goes in
    steps of two samples as in the published data; rates below 22 kHz are interpolated, since the hair cell is faster.

    Args:
        sound: samples and their rate.
        seed: of the random numbers, 0 or more.
        name: of the clip, for messages.
    """
    if seed < 0:
        raise ConfigError(f"seed={seed}: expected 0 or more; correct the seed")
    samples = _checked(sound, name)
    windowed = samples * (LOUDNESS / np.sqrt(np.mean(samples**2))) * np.hanning(len(samples))
    interpolation = max(1, -(-2 * _COARSEST_STEP_HZ // sound.rate_hz))
    step_hz = sound.rate_hz / 2 * interpolation
    refractory = refractory_steps(step_hz)
    random = np.random.Generator(np.random.Philox(seed))
    found = []
    for block, moved in enumerate(velocity(windowed, sound.rate_hz, interpolation)):
        uniform = random.random(moved.shape, dtype=np.float32)
        spikes = bushy_spikes(firing_probability(moved, step_hz), uniform, step_hz, refractory)
        spikes[:, 1] += block * BLOCK
        found.append(spikes)
    step, channel = np.concatenate(found).T
    order = np.argsort(step, kind="stable")
    return SpikeTrain(step[order] / step_hz, channel[order].astype(np.uint16))


def _checked(sound: Sound, name: str) -> Float64[np.ndarray, "samples"]:
    low, high = RATE_RANGE_HZ
    if not low <= sound.rate_hz <= high:
        raise DataError(
            f"{name} is sampled at {sound.rate_hz} Hz; expected {low} to {high} Hz; resample it, for example with sox"
        )
    samples = np.asarray(sound.samples, dtype=np.float64)
    seconds = len(samples) / sound.rate_hz
    if not _SHORTEST_S <= seconds <= _LONGEST_S:
        raise DataError(
            f"{name} lasts {seconds:.3f} s; expected a clip of {_SHORTEST_S:g} to {_LONGEST_S:g} s; cut it into words"
        )
    if not np.isfinite(samples).all():
        raise DataError(
            f"{name} holds samples that are not finite; expected sound; record or convert it again"
        )
    if not samples.any():
        raise DataError(f"{name} is silent; expected sound; leave it out or record it again")
    return samples
