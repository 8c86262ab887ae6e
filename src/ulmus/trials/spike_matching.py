"""Pair the spikes of two trains one to one."""

import numpy as np
from jaxtyping import Float64, Int


def matched_spikes(
    recorded_ms: Float64[np.ndarray, "recorded"],
    predicted_ms: Float64[np.ndarray, "predicted"],
    tolerance_ms: float,
) -> Int[np.ndarray, "matches 2"]:
    """The most pairs of a recorded and a predicted spike at most `tolerance_ms` apart, each spike in one pair at most.

    Both trains ascend. On a line the earliest partner that is still free leaves most room for the later ones, so one
    pass finds as many pairs as any matching.

    Returns:
        Indices of the recorded and of the predicted spike of every pair.
    """
    pairs, a, b = [], 0, 0
    slack = 1e-9  # times are multiples of a step, which binary fractions miss by a little
    while a < len(recorded_ms) and b < len(predicted_ms):
        lag = predicted_ms[b] - recorded_ms[a]
        if abs(lag) <= tolerance_ms + slack:
            pairs.append((a, b))
            a, b = a + 1, b + 1
        elif lag < 0:
            b += 1
        else:
            a += 1
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)
