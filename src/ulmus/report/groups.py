"""Inputs of one sign in order, and the names of their stretches on an axis."""

import html
from typing import Any

import numpy as np
from jaxtyping import Int

from ulmus.report.content import InputGroup


def inputs_of_sign(input_sign: Int[np.ndarray, "inputs"], sign: int) -> Int[np.ndarray, "selected"]:
    """Indices of the excitatory (+1) or inhibitory (-1) inputs, in order."""
    return np.flatnonzero(np.sign(input_sign) == sign)


def group_axis(groups: tuple[InputGroup, ...], inputs: int) -> dict[str, Any]:
    """Axis settings that write each group's name at its middle; without groups, the first and last number."""
    if not groups:
        return {"tickvals": [0.5, inputs - 0.5], "ticktext": ["1", f"{inputs:,}"]}
    # plotly reads a little markup in labels, so names are escaped.
    return {
        "tickvals": [(group.first + group.stop) / 2 for group in groups],
        "ticktext": [html.escape(group.label) for group in groups],
        "ticks": "",
    }
