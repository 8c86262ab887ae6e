"""The recurrence on a GPU, in Triton: the leaky filter, and the memory's walk through time, forward and backward.

One program holds the memory of 16 sequences (the least that a matrix unit multiplies) in registers and walks through all
steps; nothing leaves it but what backward or the readout needs. The hidden layer is taken in blocks, so that neither its
signals nor the weights of all its units must fit into registers: weights come from the caches again at every step. All
products with weights that do not feed the next step (input, projection, readout, every weight gradient) are left to torch.

Checked in Triton's interpreter; see benchmarks/gpu.py for what a GPU makes of it.
"""

# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call"
# Bodies are compiled by Triton, which has types of its own.

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from ulmus.kernels.weights import ACTIVATIONS, BOUND, SLOPE

ROWS = 16
"""Sequences of one program: the least rows of a matrix product on tensor cores."""
_LANES = 128
IDENTITY = "identity"
"""In place of an activation: a neuron without a hidden layer, whose second product is with ones on the diagonal."""
_CODES = {"relu": 0, "silu": 1, "squared_relu": 2, IDENTITY: 3}
DEVICES = ("cuda", "cpu")  # the CPU in Triton's interpreter alone


@triton.jit
def _tanh(x):
    # 1 - 2 / (exp(2 x) + 1) loses all digits near zero, where the odd series is exact to rounding.
    square = x * x
    series = x * (
        1.0 + square * (-1.0 / 3 + square * (2.0 / 15 + square * (-17.0 / 315 + square * (62.0 / 2835))))
    )
    e = tl.exp(-2.0 * tl.abs(x))
    far = tl.where(x < 0, -1.0, 1.0) * (1.0 - e) / (1.0 + e)
    return tl.where(tl.abs(x) < 0.25, series, far)


@triton.jit
def _product(a, b, PRECISION: tl.constexpr, UPCAST: tl.constexpr):
    if UPCAST:
        return tl.dot(a.to(tl.float32), b.to(tl.float32), input_precision=PRECISION)
    return tl.dot(a, b, input_precision=PRECISION)


@triton.jit
def _activated(z, ACTIVATION: tl.constexpr):
    if ACTIVATION == 3:
        return z
    if ACTIVATION == 1:
        return z / (1.0 + tl.exp(-z))
    positive = tl.where(z > 0, z, z * 0.0)  # not maximum(z, 0): NaN must come out as NaN
    return positive if ACTIVATION == 0 else positive * positive


@triton.jit
def _slope(z, ACTIVATION: tl.constexpr):
    if ACTIVATION == 3:
        return z * 0.0 + 1.0
    if ACTIVATION == 1:
        sigmoid = 1.0 / (1.0 + tl.exp(-z))
        return sigmoid * (1.0 + z * (1.0 - sigmoid))
    if ACTIVATION == 0:
        return tl.where(z > 0, 1.0, 0.0)
    return tl.where(z > 0, 2.0 * z, z * 0.0)


@triton.jit
def _filter(currents, decay, initial, traces, time, branches, REVERSED: tl.constexpr, LANES: tl.constexpr):
    lanes = tl.program_id(1) * LANES + tl.arange(0, LANES)
    there = lanes < branches
    sequence = tl.program_id(0).to(tl.int64)
    kappa = tl.load(decay + lanes, mask=there, other=0.0)
    trace = tl.load(initial + sequence * branches + lanes, mask=there, other=0.0)
    for step in range(time):
        at = (sequence * time + ((time - 1 - step) if REVERSED else step)) * branches + lanes
        trace = kappa * trace + tl.load(currents + at, mask=there, other=0.0)
        tl.store(traces + at, trace, mask=there)


@triton.jit
def _forward(
    drive, initial, decay, gain, recurrent, later, later_bias, memory_out, batch, time, memory, hidden,
    MEMORY: tl.constexpr, BLOCK: tl.constexpr, ROW_COUNT: tl.constexpr, ACTIVATION: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr, BOUND_: tl.constexpr, SLOPE_: tl.constexpr,
):  # fmt: skip
    rows = (tl.program_id(0) * ROW_COUNT + tl.arange(0, ROW_COUNT)).to(tl.int64)
    units = tl.arange(0, MEMORY)
    present = (rows < batch)[:, None] & (units < memory)[None, :]
    kappa = tl.load(decay + units, mask=units < memory, other=0.0)
    step_gain = tl.load(gain + units, mask=units < memory, other=0.0)
    bias = tl.load(later_bias + units, mask=units < memory, other=0.0).to(tl.float32)
    m = tl.load(initial + rows[:, None] * memory + units[None, :], mask=present, other=0.0)
    for step in range(time):
        at = rows * time + step
        u = m * kappa[None, :]
        operand = u.to(recurrent.dtype.element_ty)
        out = tl.zeros((ROW_COUNT, MEMORY), tl.float32)
        for first in range(0, hidden, BLOCK):
            h = first + tl.arange(0, BLOCK)
            here = (rows < batch)[:, None] & (h < hidden)[None, :]
            both = (h < hidden)[None, :] & (units < memory)[:, None]
            weight = tl.load(recurrent + h[None, :] * memory + units[:, None], mask=both, other=0.0)
            place = drive + at[:, None] * hidden + h[None, :]
            z = tl.load(place, mask=here, other=0.0) + _product(operand, weight, PRECISION, UPCAST)
            # Backward reads what enters the activation: it takes the place of what drove it.
            tl.store(place, z, mask=here)
            active = _activated(z, ACTIVATION).to(later.dtype.element_ty)
            turned = tl.load(later + units[None, :] * hidden + h[:, None], mask=tl.trans(both), other=0.0)
            out += _product(active, turned, PRECISION, UPCAST)
        out += bias[None, :]
        m = u + step_gain[None, :] * BOUND_ * _tanh(SLOPE_ * out)
        tl.store(memory_out + at[:, None] * memory + units[None, :], m, mask=present)


@triton.jit
def _backward(
    z_all, memory_all, initial, d_memory, decay, gain, recurrent, later, later_bias, d_z, d_out, d_initial,
    d_decay, d_gain, batch, time, memory, hidden,
    MEMORY: tl.constexpr, BLOCK: tl.constexpr, ROW_COUNT: tl.constexpr, ACTIVATION: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr, BOUND_: tl.constexpr, SLOPE_: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    rows = (program * ROW_COUNT + tl.arange(0, ROW_COUNT)).to(tl.int64)
    units = tl.arange(0, MEMORY)
    present = (rows < batch)[:, None] & (units < memory)[None, :]
    kappa = tl.load(decay + units, mask=units < memory, other=0.0)
    step_gain = tl.load(gain + units, mask=units < memory, other=0.0)
    bias = tl.load(later_bias + units, mask=units < memory, other=0.0).to(tl.float32)
    start = tl.load(initial + rows[:, None] * memory + units[None, :], mask=present, other=0.0)
    flowing = tl.zeros((ROW_COUNT, MEMORY), tl.float32)
    sum_decay = tl.zeros((ROW_COUNT, MEMORY), tl.float32)
    sum_gain = tl.zeros((ROW_COUNT, MEMORY), tl.float32)
    for back in range(time):
        step = time - 1 - back
        at = rows * time + step
        cells = at[:, None] * memory + units[None, :]
        flowing += tl.load(d_memory + cells, mask=present, other=0.0)
        # The proposal is computed again: of m - kappa m few digits are left where time constants are long.
        out = tl.zeros((ROW_COUNT, MEMORY), tl.float32)
        for first in range(0, hidden, BLOCK):
            h = first + tl.arange(0, BLOCK)
            here = (rows < batch)[:, None] & (h < hidden)[None, :]
            both = (h < hidden)[:, None] & (units < memory)[None, :]
            z = tl.load(z_all + at[:, None] * hidden + h[None, :], mask=here, other=0.0)
            active = _activated(z, ACTIVATION).to(later.dtype.element_ty)
            turned = tl.load(later + units[None, :] * hidden + h[:, None], mask=both, other=0.0)
            out += _product(active, turned, PRECISION, UPCAST)
        out += bias[None, :]
        proposal = BOUND_ * _tanh(SLOPE_ * out)
        sum_gain += flowing * proposal
        slope = SLOPE_ * (BOUND_ - proposal * proposal / BOUND_)
        into = flowing * step_gain[None, :] * slope
        tl.store(d_out + cells, into, mask=present)
        operand = into.to(recurrent.dtype.element_ty)
        through = flowing
        for first in range(0, hidden, BLOCK):
            h = first + tl.arange(0, BLOCK)
            here = (rows < batch)[:, None] & (h < hidden)[None, :]
            both = (h < hidden)[None, :] & (units < memory)[:, None]
            place = at[:, None] * hidden + h[None, :]
            z = tl.load(z_all + place, mask=here, other=0.0)
            weight = tl.load(later + units[:, None] * hidden + h[None, :], mask=both, other=0.0)
            dz = _slope(z, ACTIVATION) * _product(operand, weight, PRECISION, UPCAST)
            tl.store(d_z + place, dz, mask=here)
            turned = tl.load(recurrent + h[:, None] * memory + units[None, :], mask=tl.trans(both), other=0.0)
            through += _product(dz.to(recurrent.dtype.element_ty), turned, PRECISION, UPCAST)
        before = start
        if step > 0:
            before = tl.load(memory_all + cells - memory, mask=present, other=0.0)
        sum_decay += through * before
        flowing = through * kappa[None, :]
    tl.store(d_initial + rows[:, None] * memory + units[None, :], flowing, mask=present)
    sums = program * memory + units
    tl.store(d_decay + sums, tl.sum(sum_decay, 0), mask=units < memory)
    tl.store(d_gain + sums, tl.sum(sum_gain, 0), mask=units < memory)


@torch.library.custom_op("ulmus::leaky_scan", mutates_args=(), device_types=DEVICES)
def leaky_scan(currents: Tensor, decay: Tensor, initial: Tensor, reverse: bool) -> Tensor:
    """``b_t = decay b_{t-1} + i_t`` over ``[batch, time, branches]`` in float32, or backwards from the last step."""
    batch, time, branches = currents.shape
    traces = torch.empty_like(currents)
    grid = (batch, triton.cdiv(branches, _LANES))
    _filter[grid](currents, decay, initial, traces, time, branches, REVERSED=reverse, LANES=_LANES)
    return traces


@leaky_scan.register_fake
def _(currents: Tensor, decay: Tensor, initial: Tensor, reverse: bool) -> Tensor:
    return torch.empty_like(currents)


def _filter_context(ctx: Any, inputs: Any, output: Tensor) -> None:
    _, decay, initial, ctx.reverse = inputs
    ctx.save_for_backward(decay, initial, output)


def _filter_gradients(ctx: Any, d_traces: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
    decay, initial, traces = ctx.saved_tensors
    d_currents = leaky_scan(d_traces.contiguous(), decay, torch.zeros_like(initial), not ctx.reverse)
    if ctx.reverse:
        before, first = torch.cat([traces[:, 1:], initial.unsqueeze(1)], 1), d_currents[:, -1]
    else:
        before, first = torch.cat([initial.unsqueeze(1), traces[:, :-1]], 1), d_currents[:, 0]
    return d_currents, (d_currents * before).sum((0, 1)), decay * first, None


leaky_scan.register_autograd(_filter_gradients, setup_context=_filter_context)


def _options(recurrent: Tensor, activation: str) -> dict[str, Any]:
    padded = max(16, triton.next_power_of_2(recurrent.shape[1]))
    tf32 = recurrent.dtype == torch.float32 and torch.backends.cuda.matmul.allow_tf32
    return {
        "MEMORY": padded,
        # Two blocks of weights must fit the shared memory of any GPU (99 KiB), and the sums beside them the registers.
        "BLOCK": max(16, min(64, 4096 // padded)),
        "ROW_COUNT": ROWS,
        "ACTIVATION": _CODES[activation],
        "PRECISION": "tf32"
        if tf32
        else "ieee",  # TensorFloat-32 where the user allows it to torch's own products
        # The interpreter multiplies the bit patterns of bfloat16 as if they were whole numbers.
        "UPCAST": triton.knobs.runtime.interpret,
        "BOUND_": BOUND,
        "SLOPE_": SLOPE,
        "num_warps": 4 if padded <= 128 else 8,
        "num_stages": 1,  # what the next block needs depends on this one: nothing to load ahead
    }


@torch.library.custom_op("ulmus::memory_scan", mutates_args=(), device_types=DEVICES)
def memory_scan(
    drive: Tensor,
    initial: Tensor,
    decay: Tensor,
    gain: Tensor,
    recurrent: Tensor,
    later: Tensor,
    later_bias: Tensor,
    activation: str,
) -> tuple[Tensor, Tensor]:
    """Memory of every step, and what entered the activation; all but the weights in float32."""
    batch, time, hidden = drive.shape
    memory = initial.shape[1]
    z, trace = drive.clone(), drive.new_empty(batch, time, memory)
    _forward[(triton.cdiv(batch, ROWS),)](
        z, initial, decay, gain, recurrent, later, later_bias, trace, batch, time, memory, hidden,
        **_options(recurrent, activation),
    )  # fmt: skip
    return trace, z


@memory_scan.register_fake
def _(drive: Tensor, initial: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return drive.new_empty(*drive.shape[:2], initial.shape[1]), torch.empty_like(drive)


@torch.library.custom_op("ulmus::memory_scan_backward", mutates_args=(), device_types=DEVICES)
def memory_scan_backward(
    d_memory: Tensor,
    trace: Tensor,
    z: Tensor,
    initial: Tensor,
    decay: Tensor,
    gain: Tensor,
    recurrent: Tensor,
    later: Tensor,
    later_bias: Tensor,
    activation: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of the drive, of what enters the tanh, of the initial memory, of decay and gain."""
    batch, time, hidden = z.shape
    memory, programs = initial.shape[1], triton.cdiv(batch, ROWS)
    d_z, d_out, d_initial = torch.empty_like(z), torch.empty_like(trace), torch.empty_like(initial)
    d_decay, d_gain = initial.new_empty(programs, memory), initial.new_empty(programs, memory)
    _backward[(programs,)](
        z, trace, initial, d_memory, decay, gain, recurrent, later, later_bias, d_z, d_out, d_initial,
        d_decay, d_gain, batch, time, memory, hidden, **_options(recurrent, activation),
    )  # fmt: skip
    return d_z, d_out, d_initial, d_decay.sum(0), d_gain.sum(0)


@memory_scan_backward.register_fake
def _(
    _: Tensor, trace: Tensor, z: Tensor, initial: Tensor, decay: Tensor, gain: Tensor, *__: Any
) -> tuple[Tensor, ...]:
    empty = torch.empty_like
    return empty(z), empty(trace), empty(initial), empty(decay), empty(gain)


def _scan_context(ctx: Any, inputs: Any, output: tuple[Tensor, Tensor]) -> None:
    *tensors, ctx.activation = inputs[1:]
    trace, z = output
    ctx.mark_non_differentiable(z)
    ctx.save_for_backward(*tensors, trace, z)


def _scan_gradients(ctx: Any, d_trace: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    initial, decay, gain, recurrent, later, later_bias, trace, z = ctx.saved_tensors
    d_z, d_out, d_initial, d_decay, d_gain = memory_scan_backward(
        d_trace.contiguous(), trace, z, initial, decay, gain, recurrent, later, later_bias, ctx.activation
    )
    d_later = d_bias = None
    if ctx.needs_input_grad[5]:
        d_later = _summed(d_out, ACTIVATIONS[ctx.activation](z)).to(later.dtype)
    if ctx.needs_input_grad[6]:
        d_bias = d_out.sum((0, 1)).to(later_bias.dtype)
    decayed = decay * torch.cat([initial.unsqueeze(1), trace[:, :-1]], 1)
    d_recurrent = _summed(d_z, decayed).to(recurrent.dtype)
    return d_z, d_initial, d_decay, d_gain, d_recurrent, d_later, d_bias, None


def _summed(out: Tensor, into: Tensor) -> Tensor:
    return out.flatten(0, 1).t() @ into.flatten(0, 1)


memory_scan.register_autograd(_scan_gradients, setup_context=_scan_context)
