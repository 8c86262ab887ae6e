"""The cells behind the membrane: inner hair cells that release transmitter, and bushy cells that fire."""

from typing import Any

import numpy as np
from numba import njit

FIBRES = 40
"""Auditory-nerve fibres that meet in one bushy cell."""
REFRACTORY_S = 0.001
"""Of fibres and bushy cells, absolute."""

# Meddis (1988), J. Acoust. Soc. Am. 83:1056, rates in 1/s
_REPLENISH, _RELEASE, _LOSS, _RECOVERY, _REPROCESS = 5.05, 2000.0, 2500.0, 6580.0, 66.3  # y g l r x
_PERMEABLE_A, _PERMEABLE_B, _FIRING, _POOL = 5.0, 300.0, 50000.0, 1.0  # A B h M

_MEMBRANE_S, _SYNAPSE_S, _WEIGHT_PER_S, _THRESHOLD = 0.001, 0.0005, 13000.0 / FIBRES, 1.0


def refractory_steps(rate_hz: float) -> int:
    """The smallest number of steps that lasts as long as the refractory time."""
    return int(np.ceil(REFRACTORY_S * rate_hz - 1e-6))


@njit(nogil=True, cache=True, error_model="numpy")
def firing_probability(velocity: Any, rate_hz: float) -> Any:
    """Probability per step that a rested fibre of the hair cell fires, ``h c dt``: Meddis (1986), JASA 79:702.

    Transmitter goes from the free pool q to the cleft c and by reprocessing w back, in steps of Euler's method::

        k = g (s + A) / (s + A + B) where s > -A, else 0
        dq/dt = y max(M - q, 0) - k q + x w;  dc/dt = k q - (l + r) c;  dw/dt = r c - x w

    It begins at rest in silence. `velocity` and the result are ``[channels, steps]``.
    """
    dt = 1.0 / rate_hz
    result = np.empty(velocity.shape, dtype=np.float32)
    k = _RELEASE * _PERMEABLE_A / (_PERMEABLE_A + _PERMEABLE_B)
    cleft_at_rest = _POOL * _REPLENISH * k / (_LOSS * k + _REPLENISH * (_LOSS + _RECOVERY))
    for channel in range(velocity.shape[0]):
        cleft = cleft_at_rest
        free = cleft * (_LOSS + _RECOVERY) / k
        store = cleft * _RECOVERY / _REPROCESS
        for step in range(velocity.shape[1]):
            result[channel, step] = min(_FIRING * cleft * dt, 1.0)
            driven = velocity[channel, step] + _PERMEABLE_A
            released = _RELEASE * driven / (driven + _PERMEABLE_B) * free if driven > 0 else 0.0
            free_slope = _REPLENISH * max(_POOL - free, 0.0) - released + _REPROCESS * store
            cleft_slope = released - (_LOSS + _RECOVERY) * cleft
            store_slope = _RECOVERY * cleft - _REPROCESS * store
            free = max(free + dt * free_slope, 0.0)
            cleft = max(cleft + dt * cleft_slope, 0.0)
            store = max(store + dt * store_slope, 0.0)
    return result


@njit(cache=True, error_model="numpy")
def binomial(trials: int, probability: float, uniform: float) -> int:
    """The number of successes at this quantile of the binomial distribution."""
    if probability >= 1.0:
        return trials
    term = (1.0 - probability) ** trials
    odds = probability / (1.0 - probability)
    successes = 0
    while uniform >= term and successes < trials:
        uniform -= term
        term *= odds * (trials - successes) / (successes + 1)
        successes += 1
    return successes


@njit(nogil=True, cache=True, error_model="numpy")
def bushy_spikes(probability: Any, uniform: Any, rate_hz: float, refractory: int) -> Any:
    """Spikes of one bushy cell per channel: ``[spikes, 2]``, step and row, row after row.

    Its 40 fibres are alike, so the number of those that fire is drawn at once: binomial, out of those that have not
    fired within the refractory time. The cell is a leaky integrator, ``I' = -I / 0.5 ms + 325/s per fibre spike``,
    ``V' = -V / 1 ms + I``, exact decay between steps, that fires at V = 1 and then is held at 0.

    Args:
        probability: that a rested fibre fires, ``[channels, steps]``.
        uniform: random numbers in [0, 1), of the same shape.
        rate_hz: steps per second.
        refractory: steps of the refractory time.
    """
    dt = 1.0 / rate_hz
    membrane_decay, synapse_decay = np.exp(-dt / _MEMBRANE_S), np.exp(-dt / _SYNAPSE_S)
    channels, steps = probability.shape
    spikes = np.empty((channels * (steps // (refractory + 1) + 1), 2), dtype=np.int32)
    fired = np.empty(refractory, dtype=np.int64)
    count = 0
    for channel in range(channels):
        fired[:] = 0
        resting, current, voltage, held = FIBRES, 0.0, 0.0, 0
        slot = 0
        for step in range(steps):
            resting += fired[slot]
            now = binomial(resting, probability[channel, step], uniform[channel, step])
            fired[slot] = now
            resting -= now
            slot = slot + 1 if slot + 1 < refractory else 0
            current = current * synapse_decay + _WEIGHT_PER_S * now
            if held > 0:
                held -= 1
                continue
            voltage = voltage * membrane_decay + current * dt
            if voltage >= _THRESHOLD:
                spikes[count, 0], spikes[count, 1] = step, channel
                count += 1
                voltage, held = 0.0, refractory
    return spikes[:count]
