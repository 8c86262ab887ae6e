# mypy: ignore-errors
# Numba gives these functions their types when it compiles them; Python's would be wrong.
"""The sum of many small decision trees, for one scene at a time."""

import numpy as np
from numba import njit


@njit(cache=True)
def tree_sum(feature, threshold, value, rows):
    """For each row, the sum of one leaf of every tree.

    Node ``k`` of a tree goes on to ``2 k + 1``, or to ``2 k + 2`` where the feature is above the threshold; behind the
    inner nodes come the leaves, whose values are in `value`.
    """
    total = np.zeros(rows.shape[0])
    inner = feature.shape[1]
    for r in range(rows.shape[0]):
        for t in range(feature.shape[0]):
            k = 0
            while k < inner:
                k = 2 * k + 1 + (rows[r, feature[t, k]] > threshold[t, k])
            total[r] += value[t, k - inner]
    return total
