"""Neurons that are followed step by step, their weights and state arranged for `numba_step`; no gradients."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64, Num, UInt8

from ulmus.errors import BackendError, ConfigError
from ulmus.kernels import folding
from ulmus.kernels.numba_functions import ACTIVATION_CODES
from ulmus.kernels.numba_lanes import lane_count
from ulmus.kernels.numba_step import LAYERS_AT, TILE, P, run_steps
from ulmus.kernels.weights import Weights


class Arranged(NamedTuple):
    """What `numba_step` reads and writes; see there."""

    plan: Int64[np.ndarray, "plan"]
    weights: Num[np.ndarray, "weights"]
    state: Num[np.ndarray, "state"]


def arranged(
    sets: Sequence[Weights],
    activation: str,
    set_size: int,
    logits: Sequence[float],
    refractory_steps: int = 0,
) -> Arranged:
    """Neurons at rest, `set_size` of them with each of the sets of weights.

    Args:
        sets: Weights, all of the same shapes.
        activation: Name of the MLP's activation.
        set_size: Neurons with each of them.
        logits: For each set, the first output above which a peak is a spike.
        refractory_steps: Steps after a spike in which no new one begins.

    Raises:
        BackendError: weights of another type than float32 or float64 on the CPU.
        ConfigError: weights of different shapes.
    """
    first = sets[0].recurrent
    if first.device.type != "cpu" or first.dtype not in (torch.float32, torch.float64):
        raise BackendError(
            f"{first.dtype} weights on {first.device} cannot be stepped; expected float32 or float64 on the CPU. Convert the "
            "neuron first."
        )
    # Where all branches decay alike, what they send to the first layer is filtered instead of them: one product less.
    alike = all(bool((one.branch_decay == one.branch_decay[0]).all()) for one in sets)
    plans = [np.zeros(LAYERS_AT + 4 * len(one.later), dtype=np.int64) for one in sets]
    laid_out = [_laid_out(*one, activation, alike) for one in zip(sets, logits, plans, strict=True)]
    synapses, blocks = zip(*laid_out, strict=True)
    plan = plans[0]
    odd = next((number for number, one in enumerate(plans) if not np.array_equal(one, plan)), None)
    if odd is not None:
        raise ConfigError(
            f"neuron {odd} has weights of other shapes than neuron 0, such as another number of branches; expected the same "
            "sizes everywhere. Make a separate Cells of neurons of other sizes."
        )
    plan[P.neurons], plan[P.set_size], plan[P.set_stride] = len(sets) * set_size, set_size, len(blocks[0])
    plan[P.refractory], plan[P.synapses_at] = refractory_steps, len(sets) * len(blocks[0])
    padded = 1 if set_size == 1 else -(-set_size // TILE) * TILE
    weights = np.concatenate([*blocks, *synapses])
    state = np.zeros(len(sets) * padded * plan[P.record], weights.dtype)
    state.reshape(-1, plan[P.record])[:, plan[P.detector_at] + 2] = 1e6  # no spike was for long
    return Arranged(plan, weights, state)


@torch.no_grad()
def _laid_out(weights: Weights, logit: float, plan: Any, activation: str, alike: bool) -> tuple[Any, Any]:
    """Synapses, and all other weights, of one set as flat arrays; writes sizes and places into the plan."""
    decay = weights.branch_decay
    matrix = weights._replace(
        synapses=torch.diag(weights.synapses) if weights.synapses.dim() == 1 else weights.synapses
    )
    layers, _ = folding.folded(matrix, decay, False, False)
    if layers.projection is not None and alike:
        sent = layers.projection @ layers.synapses
        layers = layers._replace(synapses=sent, branch_decay=decay[:1].expand(len(sent)), projection=None)
    lanes = lane_count(weights.recurrent.element_size())
    parts: list[Any] = []

    def padded(tensor: torch.Tensor) -> Any:
        """Rows padded to whole vectors; flat."""
        rows = tensor.detach().numpy().reshape(-1, tensor.shape[-1])
        out = np.zeros((len(rows), -(-rows.shape[1] // lanes) * lanes), rows.dtype)
        out[:, : rows.shape[1]] = rows
        return out.ravel()

    def put(tensor: torch.Tensor) -> int:
        """The same at the end of what there is; returns where."""
        parts.append(padded(tensor))
        return sum(map(len, parts[:-1]))

    def pad(count: int) -> int:
        return -(-count // lanes) * lanes

    plan[P.inputs], plan[P.traces] = layers.synapses.shape[1], layers.synapses.shape[0]
    plan[P.trace_pad], plan[P.decay] = pad(layers.synapses.shape[0]), put(layers.branch_decay)
    plan[P.project] = layers.projection is not None
    if layers.projection is not None:
        plan[P.projection] = put(layers.projection.t())
    plan[P.bias], plan[P.recurrent] = put(layers.bias), put(layers.recurrent.t())
    widths = [layers.recurrent.shape[0], *(later.shape[0] for later in layers.later_weights)]
    for level, (weight, bias) in enumerate(zip(layers.later_weights, layers.later_biases, strict=True)):
        plan[LAYERS_AT + 4 * level :][:4] = widths[level], pad(widths[level + 1]), put(weight.t()), put(bias)
    memory = layers.memory_decay.shape[0]
    plan[P.memory_decay], plan[P.gain] = put(layers.memory_decay), put(layers.gain)
    readout, readout_bias = layers.readout, layers.readout_bias
    if readout is None or readout_bias is None:
        readout, readout_bias = torch.eye(memory, dtype=decay.dtype), decay.new_zeros(memory)
    plan[P.readout], plan[P.readout_bias] = put(readout.t()), put(readout_bias)
    plan[P.threshold] = put(decay.new_tensor([logit]))
    plan[P.first_pad], plan[P.width] = pad(widths[0]), sum(map(pad, widths))
    plan[P.memory], plan[P.memory_pad], plan[P.outputs] = memory, pad(memory), readout.shape[0]
    plan[P.output_pad], plan[P.later] = pad(readout.shape[0]), len(layers.later_weights)
    plan[P.activation], plan[P.memory_at] = ACTIVATION_CODES[activation], plan[P.trace_pad]
    plan[P.outputs_at] = plan[P.memory_at] + plan[P.memory_pad]
    plan[P.detector_at] = plan[P.outputs_at] + plan[P.output_pad]
    plan[P.record] = plan[P.detector_at] + lanes
    return padded(layers.synapses.t()), np.concatenate(parts)


def advanced(
    neurons: Arranged,
    row_start: Int64[np.ndarray, "rows_plus_one"],
    inputs: Int64[np.ndarray, "events"],
    values: Num[np.ndarray, "events"],
    steps: int,
) -> tuple[UInt8[np.ndarray, "neurons steps"], Float[np.ndarray, "neurons steps outputs"]]:
    """Spikes and outputs of the next steps; the state goes on. Events are not checked: see `numba_step.run_steps`."""
    plan = neurons.plan
    count = int(plan[P.neurons])
    spikes = np.empty((count, steps), np.uint8)
    outputs = np.empty((count, steps, int(plan[P.outputs])), neurons.state.dtype)
    run_steps(*neurons, row_start, inputs, values, steps, spikes.reshape(-1), outputs.reshape(-1))
    return spikes, outputs
