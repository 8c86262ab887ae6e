# mypy: ignore-errors
# Numba gives these functions their types when it compiles them; Python's would be wrong.
"""Loops over neurons that each have weights of their own; nothing else differs from `numba_passes`."""

from ulmus.kernels.numba_compiling import kernel, part
from ulmus.kernels.numba_layout import Kept, Net, Source
from ulmus.kernels.numba_passes import forward


@part
def _part(array, index, count):
    size = len(array) // count
    return array[index * size : (index + 1) * size]


@kernel
def forward_each(sizes, net, dense, row_start, inputs, values, kept, outputs, first, last, count):
    """Forward pass of neurons `first` to `last` of `count`, whose weights, inputs and outputs lie one after the other."""
    for i in range(first, last):
        own = Net(
            net.widths, net.pads, net.columns, _part(net.w, i, count), net.w_at, net.w_back, net.w_back_at,
            _part(net.bias, i, count), _part(net.synapses, i, count), net.synapses_back,
            _part(net.branch_decay, i, count), _part(net.projection, i, count), net.projection_back,
            _part(net.memory_decay, i, count), _part(net.gain, i, count), _part(net.readout, i, count),
            net.readout_back, _part(net.readout_bias, i, count), net.zeros,
        )  # fmt: skip
        starts = row_start[i * sizes.time : (i + 1) * sizes.time + 1] if len(row_start) > 0 else row_start
        source = Source(_part(dense, i, count), starts, inputs, values)
        own_kept = Kept(kept.inner, _part(kept.memory, i, count), _part(kept.branches, i, count))
        forward(sizes, own, source, own_kept, _part(outputs, i, count), 0, 1, 0, 1)
