"""What the fused kernels are given: sizes, weights, inputs and buffers, all flat arrays with padded rows.

Rows are padded with zeros to whole vectors (`*_pad`). Sequences of a batch lie in tiles of `rows` (4, or 1 for a batch of
one); inside a tile time comes first, then the sequence, then the feature, so that a stretch of time is one matrix.
"""

from typing import Any, NamedTuple

EVENTS, DENSE, DIAGONAL = 0, 1, 2
"""Input as sparse events; as a dense array times a matrix; as a dense array with one weight per input."""

NOTHING, PROPOSALS, SIGNALS = 0, 1, 2
"""What is kept for backward beside the state at the edges of chunks: nothing, d of every step, or z and d of every step."""


class Sizes(NamedTuple):
    """Numbers of things, as plain integers."""

    batch: int
    time: int
    inputs: int
    branches: int
    memory: int
    outputs: int
    branch_pad: int
    memory_pad: int
    output_pad: int
    input_pad: int
    hidden_pad: int
    """Widest layer of the MLP."""
    later: int
    """Layers of the MLP after the first."""
    width: int
    """Numbers per row of `inner`: pre-activations of all hidden layers, then the bounded proposal."""
    activation: int
    kind: int
    project: int
    """Whether branches are projected into the first layer, or already are its pre-activations."""
    readout: int
    rows: int
    tiles: int
    chunk: int
    kept: int
    """Last columns of `inner` that are kept of every step for backward: none, those of the proposals, or all."""


class Net(NamedTuple):
    """Weights. ``w`` holds the recurrent and later layers one after the other, each ``[in, out_pad]``."""

    widths: Any
    pads: Any
    columns: Any
    """Per layer: units, padded units, first column in a row of `inner`."""
    w: Any
    w_at: Any
    w_back: Any
    """The same layers transposed, each ``[out, in_pad]``."""
    w_back_at: Any
    bias: Any
    """Laid out like a row of `inner`."""
    synapses: Any
    """``[inputs, branch_pad]``, or ``[branch_pad]`` for the kind DIAGONAL."""
    synapses_back: Any
    """``[branches, input_pad]``; empty when no gradient of a dense input is wanted."""
    branch_decay: Any
    projection: Any
    """``[branches, pads[0]]``; empty when `project` is 0."""
    projection_back: Any
    """``[first, branch_pad]``."""
    memory_decay: Any
    gain: Any
    readout: Any
    """``[memory, output_pad]``."""
    readout_back: Any
    """``[outputs, memory_pad]``."""
    readout_bias: Any
    zeros: Any


class Source(NamedTuple):
    """Input: a dense array ``[batch, time, inputs]`` or events, the other one empty."""

    dense: Any
    row_start: Any
    inputs: Any
    values: Any


class Kept(NamedTuple):
    """What the forward pass leaves for backward."""

    inner: Any
    """``[tiles, time, rows, kept]``"""
    memory: Any
    """``[tiles, chunks + 1, rows, memory_pad]`` at the edges of chunks; first the initial state."""
    branches: Any
    """``[tiles, chunks + 1, rows, branch_pad]``"""


class Gradients(NamedTuple):
    """Sums of gradients, one set for each unit of work (last-but-one comment in `numba_passes`), laid out as in `Net`."""

    w: Any
    bias: Any
    synapses: Any
    branch_decay: Any
    projection: Any
    memory_decay: Any
    gain: Any
    readout: Any
    readout_bias: Any
    initial_memory: Any
    """``[tiles, rows, memory_pad]``: on entry the gradient of the final state, on return of the initial one."""
    initial_branches: Any
    dense: Any
    """``[batch, time, inputs]`` or empty."""
    values: Any
    """One number per event or empty."""
