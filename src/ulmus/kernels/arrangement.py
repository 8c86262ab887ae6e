"""From tensors to what the fused kernels read and write, and back."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ulmus.kernels.folding import Layers
from ulmus.kernels.numba_functions import ACTIVATION_CODES
from ulmus.kernels.numba_lanes import lane_count
from ulmus.kernels.numba_layout import (
    DENSE,
    DIAGONAL,
    EVENTS,
    NOTHING,
    PROPOSALS,
    SIGNALS,
    Gradients,
    Kept,
    Net,
    Sizes,
    Source,
)
from ulmus.kernels.numba_many import Repeated
from ulmus.kernels.numba_products import GROUP

_SCRATCH_BYTES = 3 << 18  # a chunk of all inner signals stays in the second-level cache
_LONGEST_CHUNK = 256
# Units of work, each with its own sums of gradients: enough for as many cores, and few enough that zeroing and adding the sums
# does not show. The number depends on nothing but the batch, so that any number of threads adds up in the same order.
_MOST_UNITS = 8


def sizes_of(
    batch: int, time: int, inputs: int, kind: int, layers: Layers, activation: str, keep: int
) -> Sizes:
    """Every size the kernels need to know; `keep` is one of NOTHING, PROPOSALS, SIGNALS."""
    lanes = lane_count(layers.recurrent.element_size())
    widths = [layers.recurrent.shape[0], *(weight.shape[0] for weight in layers.later_weights)]
    memory = widths[-1]
    outputs = memory if layers.readout is None else layers.readout.shape[0]
    branches = layers.branch_decay.shape[0]
    pads = [_up(width, lanes) for width in widths]
    # Weights are read once for all rows of a tile: one row would wait for them. A batch of one would compute three rows of zeros.
    rows = 1 if batch == 1 else GROUP
    width, memory_pad, branch_pad = sum(pads), _up(memory, lanes), _up(branches, lanes)
    per_step = 2 * rows * (width + memory_pad + branch_pad) * layers.recurrent.element_size()
    # Whole groups of 8 rows for the largest blocks; below 16 steps, what is done once a chunk would show.
    chunk = max(16, min(_LONGEST_CHUNK, _SCRATCH_BYTES // per_step // 8 * 8))
    kept = {NOTHING: 0, PROPOSALS: memory_pad, SIGNALS: width}[keep]
    return Sizes(
        batch, time, inputs, branches, memory, outputs, branch_pad, memory_pad, _up(outputs, lanes),
        _up(inputs, lanes), max(pads), len(widths) - 1, width, ACTIVATION_CODES[activation], kind,
        int(layers.projection is not None), int(layers.readout is not None), rows, -(-batch // rows), chunk, kept,
    )  # fmt: skip


def _up(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple


def _array(tensor: Tensor) -> Any:
    """The same numbers for NumPy, whose small operations cost a fraction of torch's."""
    if not isinstance(tensor, nn.Parameter) and not tensor._is_view():
        return tensor.detach().numpy()
    # tensor.numpy() takes a fifth of the time, but after it FSDP could not free the memory of a parameter and fill it again.
    array = np.from_dlpack(tensor.detach())
    return (
        array if array.flags.writeable else array.copy()
    )  # the kernels are compiled for writeable arrays alone


def _padded(matrix: Any, columns: int) -> Any:
    """Zeros to the right of every row; flat.

    With whole vectors in every row no kernel needs a loop for what is left over, and units of zeros stay zero: their
    proposal is tanh(0).
    """
    if matrix.shape[-1] == columns:
        return matrix.ravel()
    out = np.zeros((*matrix.shape[:-1], columns), matrix.dtype)
    out[..., : matrix.shape[-1]] = matrix
    return out.ravel()


def flat(tensor: Tensor) -> Any:
    """A contiguous tensor's memory as a one-dimensional NumPy array."""
    return tensor.detach().reshape(-1).numpy()


def net_of(sizes: Sizes, layers: Layers, backward: bool, input_gradient: bool = False) -> Net:
    """Weights in the kernels' layout; those that only backward reads are empty unless it is asked for."""
    lanes = lane_count(layers.recurrent.element_size())
    matrices = [_array(matrix) for matrix in (layers.recurrent, *layers.later_weights)]
    biases = [_array(bias) for bias in (layers.bias, *layers.later_biases)]
    widths = [len(matrix) for matrix in matrices]
    pads = [_up(width, lanes) for width in widths]
    w = [_padded(matrix.T, pad) for matrix, pad in zip(matrices, pads, strict=True)]
    nothing = np.empty(0, matrices[0].dtype)
    back = [_padded(matrix, _up(matrix.shape[1], lanes)) for matrix in matrices] if backward else [nothing]
    most = max(sizes.width, sizes.branch_pad, sizes.memory_pad, sizes.input_pad)
    synapses, diagonal = _array(layers.synapses), layers.synapses.dim() == 1
    project = None if layers.projection is None else _array(layers.projection)
    readout = None if layers.readout is None else _array(layers.readout)
    return Net(
        widths=np.array(widths),
        pads=np.array(pads),
        columns=np.array([sum(pads[:layer]) for layer in range(len(pads))]),
        w=np.concatenate(w),
        w_at=np.array([sum(map(len, w[:layer])) for layer in range(len(w))]),
        w_back=np.concatenate(back),
        w_back_at=np.array([sum(map(len, back[:layer])) for layer in range(len(back))]),
        bias=np.concatenate([_padded(bias, pad) for bias, pad in zip(biases, pads, strict=True)]),
        synapses=_padded(synapses if diagonal else synapses.T, sizes.branch_pad),
        synapses_back=_padded(synapses, sizes.input_pad) if input_gradient and not diagonal else nothing,
        branch_decay=_padded(_array(layers.branch_decay), sizes.branch_pad),
        projection=nothing if project is None else _padded(project.T, pads[0]),
        projection_back=nothing if project is None or not backward else _padded(project, sizes.branch_pad),
        memory_decay=_padded(_array(layers.memory_decay), sizes.memory_pad),
        gain=_padded(_array(layers.gain), sizes.memory_pad),
        readout=nothing if readout is None else _padded(readout.T, sizes.output_pad),
        readout_back=nothing if readout is None or not backward else _padded(readout, sizes.memory_pad),
        readout_bias=nothing
        if layers.readout_bias is None
        else _padded(_array(layers.readout_bias), sizes.output_pad),
        zeros=np.zeros(most, nothing.dtype),
    )


def repeated(layers: Layers, tile: int) -> Repeated:
    """Weights for sequences in the lanes."""
    first = [layers.bias.unsqueeze(1), layers.recurrent]
    if layers.projection is not None:
        first.insert(1, layers.projection)
    later = zip(layers.later_weights, layers.later_biases, strict=True)
    matrices = [torch.cat(first, 1), *(torch.cat([bias.unsqueeze(1), weight], 1) for weight, bias in later)]
    widths, nothing = [matrix.shape[0] for matrix in matrices], layers.bias.new_empty(0)
    w = [_whole_blocks(matrix) for matrix in matrices]
    return Repeated(
        widths=np.array(widths),
        columns=1 + np.cumsum([0, *(1 + _up(width, GROUP) for width in widths[:-1])]),
        w=np.concatenate(w),
        w_at=np.cumsum([0, *map(len, w[:-1])]),
        synapses=flat(layers.synapses) if layers.synapses.dim() == 1 else _whole_blocks(layers.synapses),
        branch_decay=flat(layers.branch_decay),
        memory_decay=flat(layers.memory_decay),
        gain=flat(layers.gain),
        readout=flat(nothing) if layers.readout is None else _whole_blocks(layers.readout),
        readout_bias=flat(nothing)
        if layers.readout_bias is None
        else np.repeat(_whole_blocks(layers.readout_bias.unsqueeze(1)), tile),
        zeros=flat(layers.bias.new_zeros(tile)),
    )


def _whole_blocks(matrix: Tensor) -> Any:
    """Rows of zeros below; flat."""
    found = _array(matrix)
    out = np.zeros((_up(len(found), GROUP), found.shape[1]), found.dtype)
    out[: len(found)] = found
    return out.ravel()


def keep_shapes(sizes: Sizes) -> tuple[list[int], list[int], list[int]]:
    """Shapes of inner signals, memory and branches that are kept for backward."""
    slots = 1 + -(-sizes.time // sizes.chunk)
    return (
        [sizes.tiles, sizes.time, sizes.rows, sizes.kept],
        [sizes.tiles, slots, sizes.rows, sizes.memory_pad],
        [sizes.tiles, slots, sizes.rows, sizes.branch_pad],
    )


def tiled(sizes: Sizes, state: Tensor, pad: int) -> Tensor:
    """``[batch, units]`` as ``[tiles, rows, pad]``."""
    out = state.new_zeros(sizes.tiles * sizes.rows, pad)
    out[: sizes.batch, : state.shape[1]] = state
    return out.view(sizes.tiles, sizes.rows, pad)


def untiled(sizes: Sizes, state: Tensor, units: int) -> Tensor:
    """The inverse of `tiled`."""
    return state.reshape(sizes.tiles * sizes.rows, -1)[: sizes.batch, :units].clone()


def units_of(sizes: Sizes) -> int:
    """Independent units of work, whatever the number of threads."""
    return min(-(-sizes.tiles // 2), _MOST_UNITS)


def source_of(dense: Tensor | None, events: tuple[Tensor, Tensor, Tensor] | None, like: Tensor) -> Source:
    """Input in the kernels' layout."""
    if events is None:
        assert dense is not None
        none = torch.empty(0, dtype=torch.int32)
        return Source(flat(dense), flat(none), flat(none), flat(like.new_empty(0)))
    return Source(flat(like.new_empty(0)), *(flat(part) for part in events))


def kind_of(dense: Tensor | None, synapses: Tensor) -> int:
    """Which of the three kinds of input this is."""
    if dense is None:
        return EVENTS
    return DIAGONAL if synapses.dim() == 1 else DENSE


def empty_gradients(
    sizes: Sizes,
    net: Net,
    layers: Layers,
    final: tuple[Tensor, Tensor],
    dense: Tensor | None,
    values: Tensor | None,
) -> dict[str, Tensor]:
    """Zeros for every sum of gradients; the state's hold the gradient of the final state at first."""
    slots, kind = 2 * units_of(sizes), net.w.dtype
    branches, memory = final

    def new(*shape: int) -> Tensor:
        # Not by torch, whose threads would still spin on the cores when those of the kernels start.
        return torch.from_numpy(np.zeros(shape, kind))

    return {
        "w": new(slots, len(net.w)),
        "bias": new(slots, sizes.width),
        "synapses": new(slots, len(net.synapses)),
        "branch_decay": new(slots, sizes.branch_pad),
        "projection": new(slots, len(net.projection)),
        "memory_decay": new(slots, sizes.memory_pad),
        "gain": new(slots, sizes.memory_pad),
        "readout": new(slots, sizes.outputs * sizes.memory_pad if sizes.readout else 0),
        "readout_bias": new(slots, sizes.output_pad if sizes.readout else 0),
        "initial_memory": tiled(sizes, memory, sizes.memory_pad),
        "initial_branches": tiled(sizes, branches, sizes.branch_pad),
        "dense": new(0) if dense is None else new(*dense.shape),
        "values": new(0) if values is None else new(*values.shape),
    }


def as_gradients(sums: dict[str, Tensor]) -> Gradients:
    """The same memory for the kernels."""
    return Gradients(**{name: flat(tensor) for name, tensor in sums.items()})


def as_kept(inner: Tensor, memory: Tensor, branches: Tensor) -> Kept:
    """The same memory for the kernels."""
    return Kept(flat(inner), flat(memory), flat(branches))


def compact(nets: list[Net], fields: tuple[str, ...]) -> Net:
    """Weights of several neurons of one shape, one after the other in each of the `fields`."""
    return nets[0]._replace(**{name: np.concatenate([getattr(net, name) for net in nets]) for name in fields})
