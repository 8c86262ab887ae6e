"""The recurrence on a GPU: same arguments and results as the reference, differentiable once."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from ulmus.kernels.events import Events
from ulmus.kernels.reference import synaptic_currents
from ulmus.kernels.triton_scan import IDENTITY, leaky_scan, memory_scan
from ulmus.kernels.weights import ELMState, Weights

MOST_MEMORY = 256
_SHORTEST_CHUNK = 64  # below it, starting kernels takes longer than running them


def obstacle(weights: Weights) -> str | None:
    """Why these weights have no Triton kernel, if so."""
    if weights.recurrent.dtype not in (torch.float32, torch.bfloat16):
        return f"the weights are {weights.recurrent.dtype}"
    if len(weights.later) > 1:
        return f"the MLP has {len(weights.later)} hidden layers, and the GPU kernel at most one"
    if weights.recurrent.shape[1] > MOST_MEMORY:
        return f"there are {weights.recurrent.shape[1]} memory units, and the GPU kernel has room for {MOST_MEMORY}"
    return None


def run(
    inputs: Tensor | Events, state: ELMState, weights: Weights, activation: str, budget_mebibytes: float
) -> tuple[Tensor, ELMState]:
    """Outputs of every step and the state after the last one, as `reference.run`.

    Time is cut into chunks whose inner signals fit the budget. Where a backward pass will follow, only the state at
    their edges is kept, and every chunk is computed again when it is wanted; a sequence that fits is kept whole.
    """
    batch, time = (inputs.batch, inputs.time) if isinstance(inputs, Events) else inputs.shape[:2]
    width = weights.memory_decay.shape[0] if weights.readout is None else weights.readout[0].shape[0]
    if batch == 0 or time == 0:
        return weights.first_bias.new_zeros(batch, time, width), state
    first, memory = weights.recurrent.shape
    per_step = 4 * batch * (2 * weights.branch_decay.shape[0] + 2 * first + 2 * memory)
    steps = max(_SHORTEST_CHUNK, int(budget_mebibytes * 2**20) // per_step)
    again = torch.is_grad_enabled() and steps < time
    dtypes = state.branches.dtype, state.memory.dtype
    now = ELMState(state.branches.float(), state.memory.float())
    outputs = []
    for chunk in _chunks(inputs, steps):
        if again:
            result = checkpoint(
                _chunk, chunk, *now, weights, activation, use_reentrant=False, preserve_rng_state=False
            )
        else:
            result = _chunk(chunk, *now, weights, activation)
        outputs.append(result[0])
        now = ELMState(*result[1:])
    joined = outputs[0] if len(outputs) == 1 else torch.cat(outputs, 1)
    return joined, ELMState(now.branches.to(dtypes[0]), now.memory.to(dtypes[1]))


def _chunks(inputs: Tensor | Events, steps: int) -> Iterator[Tensor | Events]:
    if isinstance(inputs, Events):
        yield from inputs.split(steps)
    else:
        yield from torch.split(inputs, steps, dim=1)


def _chunk(
    inputs: Tensor | Events, branches: Tensor, memory: Tensor, weights: Weights, activation: str
) -> tuple[Tensor, Tensor, Tensor]:
    currents = synaptic_currents(inputs, weights.synapses).float().contiguous()
    traces = leaky_scan(currents, weights.branch_decay.float(), branches.contiguous(), False)
    dtype = weights.recurrent.dtype
    drive = functional.linear(traces.to(dtype), weights.projection, weights.first_bias).float().contiguous()
    memory_units = memory.shape[1]
    later, bias = drive.new_ones(memory_units, dtype=dtype).diag(), drive.new_zeros(memory_units, dtype=dtype)
    if weights.later:
        later, bias = weights.later[0]
    trace, _ = memory_scan(
        drive,
        memory.contiguous(),
        weights.memory_decay.float(),
        weights.memory_gain.float(),
        weights.recurrent.contiguous(),
        later.contiguous(),
        bias.contiguous(),
        activation if weights.later else IDENTITY,
    )
    kept = trace.to(dtype)
    outputs = kept if weights.readout is None else functional.linear(kept, *weights.readout)
    # Copies: a view of a signal of all steps would keep it alive.
    return outputs, traces[:, -1].clone(), trace[:, -1].clone()
