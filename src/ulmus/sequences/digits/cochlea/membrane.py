"""The basilar membrane: velocity of 700 places along the cochlea, as one linear filter per place.

Hydrodynamic shallow-water model of Sieroka, Dosch & Rupp (2006), J. Acoust. Soc. Am. 120:297, in centimetres, grams
and seconds, with the constants that the Heidelberg digits were made with (Cramer et al. 2022, IEEE TNNLS 33:2744).
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from jaxtyping import Complex64, Complex128, Float32, Float64

from ulmus.errors import extra

CHANNELS = 700
"""Places, equally spaced from the base (0, high frequencies) to the apex (699, low frequencies)."""
BLOCK = 50
"""Channels that are computed together: what they need stays in the cache."""

_LENGTH_CM = 3.5
_STIFFNESS, _STIFFNESS_OFFSET, _STIFFNESS_DECAY = 1e9, 3500.0, 3.0  # C0, a, alpha
_DENSITY, _HEIGHT, _MASS = 1.0, 0.1, 0.05
_RESISTANCE = 0.15 * np.sqrt(_STIFFNESS * _MASS)
_ATTENUATION = 18.0  # beyond resonance the wave falls as exp(-attenuation): below the precision of the result


def velocity(
    window: Float64[np.ndarray, "samples"], rate_hz: int, interpolation: int
) -> Iterator[Float32[np.ndarray, "channels steps"]]:
    """Velocity of the membrane, one block of channels after the other, from base to apex.

    It is sampled at ``rate_hz / 2 * interpolation``. With `interpolation` 1 that is every second sample, without a
    filter before it, as in the published simulations; with more, the sound is interpolated first (band-limited).

    The published filter is written for waves ``exp(-i w t)`` and was used with the transform for ``exp(+i w t)``:
    responses lead the sound by the travel time instead of lagging it. Data sets were made so; it is kept.

    Args:
        window: sound pressure, faded in and out.
        rate_hz: its sampling rate.
        interpolation: steps for two samples.
    """
    steps = -(-len(window) * interpolation // 2)
    length = padded_length(len(window))
    spectrum = np.fft.rfft(window, length)
    quarter = length // 4
    for transfer in transfer_blocks(rate_hz, length):
        kept = transfer.shape[1]
        filtered = transfer * spectrum[:kept]
        if interpolation == 1:
            # Taking every second sample folds the upper half of the spectrum onto the lower half.
            upper = filtered[:, quarter:]
            folded = np.zeros((len(transfer), quarter + 1), dtype=np.complex128)
            folded[:, : min(kept, quarter + 1)] = filtered[:, : quarter + 1]
            folded[:, quarter + 1 - upper.shape[1] :] += upper[:, ::-1].conj()
            filtered = folded
        response = np.fft.irfft(filtered, length // 2 * interpolation)[:, :steps]
        yield (interpolation / 2 * response).astype(np.float32)


def padded_length(samples: int) -> int:
    """The next power of two, or three quarters of it: few lengths, so that filters are used again."""
    power = max(64, 1 << (samples - 1).bit_length())
    return 3 * power // 4 if samples <= 3 * power // 4 else power


@lru_cache(maxsize=12)
def transfer_blocks(rate_hz: int, length: int) -> list[Complex64[np.ndarray, "channels frequencies"]]:
    """Velocity for unit pressure at the frequencies of a transform of this length, block by block of channels.

    A block ends at the frequency beyond which the wave has died out in all of its channels.
    """
    frequency = 2 * np.pi * rate_hz / length * np.arange(1, length // 2 + 1)
    place = np.linspace(0, _LENGTH_CM, CHANNELS)
    blocks = []
    for first in range(0, CHANNELS, BLOCK):
        with_rest = _transfer(frequency, place[first : first + BLOCK])
        blocks.append(np.pad(with_rest, ((0, 0), (1, 0))).astype(np.complex64))  # nothing moves at 0 Hz
    return blocks


def _transfer(
    frequency: Float64[np.ndarray, "frequencies"], place: Float64[np.ndarray, "places"]
) -> Complex128[np.ndarray, "places kept"]:
    """``v = 2 w / xi * p(x) / p(0) * Z`` with ``p = sqrt(G / g) H0(G)``."""
    with extra("sequences", "hearing sounds"):
        from scipy.special import hankel1, hankel2

    taper = np.exp(-_STIFFNESS_DECAY / 2 * place)[:, None]
    # Of these places the wave gets farthest in the first one.
    alive = np.nonzero(phase_integral(frequency, taper[:1])[0].imag < _ATTENUATION)[0]
    w = frequency[: int(alive[-1]) + 1 if alive.size else 1]
    phase = phase_integral(w, taper)
    base = np.ones((1, 1))
    phase_at_base = phase_integral(w, base)
    pressure = np.sqrt(phase / _wave_number(w, taper)) * hankel1(0, phase)
    pressure_at_base = np.sqrt(phase_at_base / _wave_number(w, base)) * hankel1(0, phase_at_base)
    q = 2 * w / _STIFFNESS_DECAY * np.sqrt(2 / (_HEIGHT * _STIFFNESS))
    # (i J0 + Y0) / (J1 - i Y1), the input impedance, in Hankel functions
    impedance = np.sqrt(2 * _STIFFNESS / _HEIGHT) * 1j * hankel2(0, q) / hankel2(1, q)
    return np.asarray(2 * w / _xi(w, taper) * pressure / pressure_at_base * impedance)


def phase_integral(
    w: Float64[np.ndarray, "frequencies"], taper: Float64[np.ndarray, "places 1"]
) -> Complex128[np.ndarray, "places frequencies"]:
    """``G(x) = 2 g(0) / alpha`` plus the integral of the wave number g from the base to x, in closed form.

    With ``u = exp(-alpha x / 2)`` (`taper`) and ``s^2 = a + m w^2``::

        int g dx = 2 w / alpha sqrt(rho / h) / (i s) (ln u + ln D(1) - ln D(u)),
        D(u) = 2 i s sqrt(xi) + i w R0 u + 2 s^2

    D stays in the first quadrant, so the principal logarithm is the right one everywhere.
    """
    base = np.ones((1, 1))
    s = np.sqrt(_STIFFNESS_OFFSET + _MASS * w**2)

    def logarithm(u: Float64[np.ndarray, "places 1"]) -> Complex128[np.ndarray, "places frequencies"]:
        return np.asarray(np.log(2j * s * np.sqrt(_xi(w, u)) + 1j * w * _RESISTANCE * u + 2 * s**2))

    integral = np.log(taper) + logarithm(base) - logarithm(taper)
    scale = 2 * w / _STIFFNESS_DECAY * np.sqrt(_DENSITY / _HEIGHT) / (1j * s)
    return np.asarray(2 * _wave_number(w, base) / _STIFFNESS_DECAY + scale * integral)


def _xi(
    w: Float64[np.ndarray, "frequencies"], taper: Float64[np.ndarray, "places 1"]
) -> Complex128[np.ndarray, "places frequencies"]:
    """``S - m w^2 - i w R`` with ``S = C0 u^2 - a`` and ``R = R0 u``."""
    return np.asarray(_STIFFNESS * taper**2 - _STIFFNESS_OFFSET - _MASS * w**2 - 1j * w * _RESISTANCE * taper)


def _wave_number(
    w: Float64[np.ndarray, "frequencies"], taper: Float64[np.ndarray, "places 1"]
) -> Complex128[np.ndarray, "places frequencies"]:
    return np.asarray(w * np.sqrt(_DENSITY / (_HEIGHT * _xi(w, taper))))
