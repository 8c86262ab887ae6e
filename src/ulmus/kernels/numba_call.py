"""Run the fused kernels on tensors: the body of the operators in `operator`."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

import ulmus.kernels.numba_notice  # noqa: F401  # from here on, compiling is not silent
from ulmus.kernels.arrangement import (
    as_gradients,
    as_kept,
    empty_gradients,
    flat,
    keep_shapes,
    kind_of,
    net_of,
    repeated,
    sizes_of,
    source_of,
    tiled,
    units_of,
    untiled,
)
from ulmus.kernels.folding import Layers
from ulmus.kernels.numba_inputs import compress
from ulmus.kernels.numba_lanes import lane_count
from ulmus.kernels.numba_layout import DENSE, DIAGONAL, EVENTS, Sizes
from ulmus.kernels.numba_many import VECTORS, forward_many
from ulmus.kernels.numba_passes import backward, forward
from ulmus.kernels.numba_products import GROUP

_WORTH_A_THREAD = 3e7  # multiplications: about a third of a millisecond, several times the start of a thread
_SPARSE = 8  # a dense input with fewer than one entry in this many occupied is treated as events
_WORTH_COMPRESSING = 64  # inputs; below, a dense product costs less than looking for zeros
# Memory units: few leave much of their vectors empty, so that sequences as lanes win early; the signals of many, times the
# sequences of a tile, do not fit the first-level cache.
_FEW_UNITS, _MANY_UNITS = 24, 128
# From which lanes of sequences were measured faster: vectors filled in a tile where there are few units, else share of lanes.
_FILLED_VECTORS, _WELL_FILLED = 1.5, 0.85
_MANY_INPUTS = 2880  # numbers of a sequence that are turned at once: 64 steps of 45 inputs

Triple = tuple[Tensor, Tensor, Tensor]
"""Row starts, inputs and values of sparse events."""


def worth_compressing(dense: Tensor) -> bool:
    """Whether looking for zeros can pay, judged by shape alone."""
    return dense.shape[2] >= _WORTH_COMPRESSING and dense.numel() < torch.iinfo(torch.int32).max


def compressed_capacity(dense: Tensor) -> int:
    """Events there is room for; a dense input with more is no sparse one."""
    return int(dense.shape[0] * dense.shape[1] * dense.shape[2] // _SPARSE)


def compressed(dense: Tensor, like: Tensor) -> tuple[Triple | None, Triple]:
    """The events of a sparse dense input, or nothing when it is not sparse; and the buffers they are in."""
    raw = dense.view(torch.uint8) if dense.dtype == torch.bool else dense
    capacity = compressed_capacity(dense)
    row_start = torch.zeros(dense.shape[0] * dense.shape[1] + 1, dtype=torch.int32)
    inputs = torch.empty(capacity, dtype=torch.int32)
    values = like.new_empty(capacity)
    found = row_start, inputs, values
    if compress(raw.reshape(-1).numpy(), dense.shape[2], row_start.numpy(), inputs.numpy(), values.numpy()):
        return found, found
    row_start[0] = -1
    return None, found


def run_forward(
    dense: Tensor | None,
    events: Triple | None,
    shape: tuple[int, int, int],
    state: tuple[Tensor, Tensor],
    layers: Layers,
    activation: str,
    keep: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Outputs, final branches and memory, and what backward needs: inner signals, memory, branches."""
    kind = EVENTS if events is not None else kind_of(dense, layers.synapses)
    sizes = sizes_of(*shape, kind, layers, activation, keep)
    new = layers.recurrent.new_empty
    if dense is not None and events is None:
        dense = dense.to(layers.recurrent.dtype).contiguous()
    inner, memory, branches = (_fresh(part, layers.recurrent) for part in keep_shapes(sizes))
    tile = _tile(sizes, layers)
    if dense is not None and events is None and are_many(sizes, tile, layers):
        kept = inner, memory, branches
        return *_run_many(sizes, tile, dense, state, layers, kept), *kept
    branches[:, 0] = tiled(sizes, state[0], sizes.branch_pad)
    memory[:, 0] = tiled(sizes, state[1], sizes.memory_pad)
    outputs = new(sizes.batch, sizes.time, sizes.outputs)
    net = net_of(sizes, layers, backward=False)
    source = source_of(dense, events, layers.recurrent)
    kept, out = as_kept(inner, memory, branches), outputs.view(-1).numpy()
    _in_units(sizes, lambda *unit: forward(sizes, net, source, kept, out, *unit))
    final = untiled(sizes, branches[:, -1], sizes.branches), untiled(sizes, memory[:, -1], sizes.memory)
    return outputs, *final, inner, memory, branches


def _fresh(shape: list[int], like: Tensor) -> Tensor:
    """Uninitialised memory from NumPy, which asks for huge pages: large new arrays take a third of the time to touch."""
    return torch.from_numpy(np.empty(shape, like.detach().numpy().dtype))


def are_many(sizes: Sizes, tile: int, layers: Layers) -> bool:
    """Whether sequences had better be the lanes of vectors: where they fill tiles, units do not fill vectors better.

    So they are on any number of threads that have a tile each: results are the same. Only a product over the steps of a dense
    input adds up in another order, where steps are left over that do not fill a block. Where inner signals are kept, turning
    them costs what is gained.
    """
    tiles, lanes = -(-sizes.batch // tile), lane_count(layers.recurrent.element_size())
    few = sizes.memory <= _FEW_UNITS and sizes.batch >= _FILLED_VECTORS * tiles * lanes
    filled = few or sizes.batch >= _WELL_FILLED * tiles * tile
    possible = sizes.kept == 0 and (sizes.kind == DIAGONAL or sizes.time % GROUP == 0)
    return possible and filled and sizes.memory <= _MANY_UNITS and _worthwhile_threads(sizes) <= tiles


def _tile(sizes: Sizes, layers: Layers) -> int:
    """Sequences in a tile of lanes: so many that the fewest lanes are empty."""
    lanes = lane_count(layers.recurrent.element_size())
    return min((vectors * lanes for vectors in VECTORS), key=lambda tile: -(-sizes.batch // tile) * tile)


def _run_many(
    sizes: Sizes,
    tile: int,
    dense: Tensor,
    state: tuple[Tensor, Tensor],
    layers: Layers,
    kept: tuple[Tensor, Tensor, Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs, final branches and memory of many sequences; see `are_many`."""
    net = repeated(layers, tile)
    branches, memory = (part.clone(memory_format=torch.contiguous_format) for part in state)
    outputs = layers.recurrent.new_empty(sizes.batch, sizes.time, sizes.outputs)
    x, b, m, y = (flat(tensor) for tensor in (dense, branches, memory, outputs))
    chunk = max(1, min(sizes.time, _MANY_INPUTS // sizes.inputs))
    threads = min(_worthwhile_threads(sizes), -(-sizes.batch // tile))
    parts, stored = [(share, threads) for share in range(threads)], as_kept(*kept)
    _in_threads(threads, parts, lambda *part: forward_many(sizes, net, x, b, m, y, stored, chunk, *part))
    return outputs, branches, memory


def run_backward(
    dense: Tensor | None,
    events: Triple | None,
    shape: tuple[int, int, int],
    kept: tuple[Tensor, Tensor, Tensor],
    given: tuple[Tensor, Tensor, Tensor],
    layers: Layers,
    activation: str,
    keep: int,
    wanted: tuple[bool, bool],
) -> dict[str, Tensor | list[Tensor]]:
    """Gradients of everything from those of outputs, final branches and final memory.

    `wanted` says whether gradients of a dense input, and of event values, are wanted. What `kept` holds is overwritten.
    """
    kind = EVENTS if events is not None else kind_of(dense, layers.synapses)
    sizes = sizes_of(*shape, kind, layers, activation, keep)
    if dense is not None and events is None:
        dense = dense.to(layers.recurrent.dtype).contiguous()
    net = net_of(sizes, layers, backward=True, input_gradient=wanted[0] and kind == DENSE)
    source = source_of(dense, events, layers.recurrent)
    sums = empty_gradients(
        sizes,
        net,
        layers,
        given[1:],
        dense if wanted[0] else None,
        events[2] if events and wanted[1] else None,
    )
    gradients, stored = as_gradients(sums), as_kept(*kept)
    flowing = given[0].contiguous().view(-1).numpy()
    _in_units(sizes, lambda *unit: backward(sizes, net, source, stored, flowing, gradients, *unit))
    return _gathered(sizes, net, layers, sums)


def _gathered(
    sizes: Sizes, net: Any, layers: Layers, sums: dict[str, Tensor]
) -> dict[str, Tensor | list[Tensor]]:
    """Sums over the units of work, without padding, in the shapes of the weights."""
    total = {
        name: tensor if name in _UNSUMMED else torch.from_numpy(tensor.numpy().sum(0))
        for name, tensor in sums.items()
    }
    matrices = []
    for at, matrix, pad in zip(net.w_at, [layers.recurrent, *layers.later_weights], net.pads, strict=True):
        out, into = matrix.shape
        matrices.append(
            total["w"][at : at + into * pad]
            .view(into, pad)[:, :out]
            .t()
            .clone(memory_format=torch.contiguous_format)
        )
    biases = [
        total["bias"][column : column + width].clone()
        for column, width in zip(net.columns, net.widths, strict=True)
    ]
    diagonal, project, readout = layers.synapses.dim() == 1, layers.projection, layers.readout
    synapses = total["synapses"].view(-1, sizes.branch_pad)[:, : sizes.branches]
    return {
        "dense": total["dense"],
        "values": total["values"],
        "branches": untiled(sizes, total["initial_branches"], sizes.branches),
        "memory": untiled(sizes, total["initial_memory"], sizes.memory),
        "synapses": synapses[0].clone()
        if diagonal
        else synapses.t().clone(memory_format=torch.contiguous_format),
        "branch_decay": total["branch_decay"][: sizes.branches].clone(),
        "projection": layers.bias.new_empty(0)
        if project is None
        else total["projection"]
        .view(sizes.branches, -1)[:, : project.shape[0]]
        .t()
        .clone(memory_format=torch.contiguous_format),
        "bias": biases[0],
        "recurrent": matrices[0],
        "later_weights": matrices[1:],
        "later_biases": biases[1:],
        "memory_decay": total["memory_decay"][: sizes.memory].clone(),
        "gain": total["gain"][: sizes.memory].clone(),
        "readout": layers.bias.new_empty(0)
        if readout is None
        else total["readout"].view(sizes.outputs, -1)[:, : sizes.memory].clone(),
        "readout_bias": layers.bias.new_empty(0)
        if readout is None
        else total["readout_bias"][: sizes.outputs].clone(),
    }


_UNSUMMED = {"initial_memory", "initial_branches", "dense", "values"}


def _in_units(sizes: Sizes, work: Callable[..., None]) -> None:
    """Do all units of work, in more than one thread only when torch may use them and the work is large."""
    units = units_of(sizes)
    parts: list[tuple[int, ...]]
    threads = _worthwhile_threads(sizes)
    if threads > units and sizes.tiles > 1:
        parts = [(unit, units, parity, 1) for unit in range(units) for parity in (0, 1)]
    else:
        parts = [(unit, units, 0, 2) for unit in range(units)]
    _in_threads(threads, parts, work)


def _worthwhile_threads(sizes: Sizes) -> int:
    """Threads that torch may use, where the work is large enough."""
    layer = sizes.width * (sizes.memory + sizes.branches)
    return torch.get_num_threads() if layer * sizes.batch * sizes.time > _WORTH_A_THREAD else 1


def _in_threads(threads: int, parts: Sequence[tuple[int, ...]], work: Callable[..., None]) -> None:
    """Do all parts, shared out among the threads."""
    threads = min(threads, len(parts))
    # Threads of Python, not of Numba or OpenMP: kernels let go of the interpreter, and those pools spin on cores that torch's
    # own pool holds, abort when two threads of Python call them, or hang after a fork.
    failures: list[BaseException] = []

    def share(first: int) -> None:
        try:
            for part in parts[first::threads]:
                work(*part)
        except BaseException as error:
            failures.append(error)

    others = [threading.Thread(target=share, args=(first,)) for first in range(1, threads)]
    for thread in others:
        thread.start()
    share(0)
    for thread in others:
        thread.join()
    if failures:
        raise failures[0]
