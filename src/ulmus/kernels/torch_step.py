"""The step of `numba_step` in plain PyTorch, from the same arrays: for neurons of a population on any device."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int64, Num
from torch.nn import functional

from ulmus.kernels.numba_functions import ACTIVATION_CODES
from ulmus.kernels.numba_step import ARMED, BEFORE, DONE, LAYERS_AT, QUIET, RISING, SINCE, TILE, P
from ulmus.kernels.stepping import Arranged
from ulmus.kernels.weights import ACTIVATIONS


class TorchNeurons:
    """Neurons of one kind that are followed step by step on a device; see `numba_step.Plan` for the layout.

    The equations are those of `numba_step.compute` and `numba_step.detect`; sums are rounded in another order.
    """

    def __init__(self, neurons: Arranged, device: torch.device) -> None:
        plan, weights, state = neurons.plan, neurons.weights, neurons.state
        self.count, self._size, self._inputs = (int(plan[at]) for at in (P.neurons, P.set_size, P.inputs))
        self._sets, self._refractory = self.count // self._size, int(plan[P.refractory])
        self._padded = 1 if self._size == 1 else -(-self._size // TILE) * TILE
        self.state = torch.from_numpy(state).to(device, copy=True).view(-1, int(plan[P.record]))
        blocks = weights[: plan[P.synapses_at]].reshape(self._sets, -1)
        trace, memory, first, last, outputs = (
            int(plan[at]) for at in (P.trace_pad, P.memory_pad, P.first_pad, P.memory, P.output_pad)
        )

        def matrix(place: int, rows: int, columns: int) -> torch.Tensor:
            """Of every set of weights: ``[sets, rows, columns]``."""
            part = blocks[:, place : place + rows * columns].reshape(self._sets, rows, columns)
            return torch.from_numpy(part).to(device, copy=True)

        self._synapses = (
            torch.from_numpy(weights[plan[P.synapses_at] :]).to(device, copy=True).view(-1, trace)
        )
        self._decay = matrix(plan[P.decay], 1, trace)
        self._projection = matrix(plan[P.projection], int(plan[P.traces]), first) if plan[P.project] else None
        self._bias, self._recurrent = matrix(plan[P.bias], 1, first), matrix(plan[P.recurrent], last, first)
        layers = plan[LAYERS_AT:].reshape(-1, 4).tolist()
        self._later = [
            (matrix(at, below, width), matrix(bias, 1, width)) for below, width, at, bias in layers
        ]
        names = {code: name for name, code in ACTIVATION_CODES.items()}
        self._activate = ACTIVATIONS[names[int(plan[P.activation])]]
        self._memory_decay, self._gain = (matrix(plan[at], 1, memory) for at in (P.memory_decay, P.gain))
        self._readout = matrix(plan[P.readout], last, outputs)
        self._readout_bias = matrix(plan[P.readout_bias], 1, outputs)
        self._threshold = matrix(plan[P.threshold], 1, 1)[..., 0]
        self._places = [
            slice(int(at), int(at) + width)
            for at, width in ((0, trace), (plan[P.memory_at], memory), (plan[P.outputs_at], outputs))
        ]
        self._detector = int(plan[P.detector_at])

    @torch.no_grad()
    def step(
        self,
        row_start: Int64[np.ndarray, "neurons_plus_one"],
        inputs: Int64[np.ndarray, "events"],
        values: Num[np.ndarray, "events"],
    ) -> Bool[np.ndarray, "neurons"]:
        """Which neurons spike, after one more step; the events of a neuron follow one another."""
        state = self.state.view(self._sets, self._padded, -1)[:, : self._size]
        trace, memory, outputs = (state[..., place] for place in self._places)
        if self._sets > 1:
            inputs = inputs + self._inputs * np.repeat(
                np.arange(self.count) // self._size, np.diff(row_start)
            )
        given = (torch.from_numpy(part).to(state.device) for part in (inputs, row_start, values))
        places, starts, amounts = given
        received = functional.embedding_bag(
            places, self._synapses, starts, mode="sum", per_sample_weights=amounts, include_last_offset=True
        )
        trace.mul_(self._decay).add_(received.view(trace.shape))
        units = self._recurrent.shape[1]
        z = self._bias + memory[..., :units] @ self._recurrent
        z += trace if self._projection is None else trace[..., : self._projection.shape[1]] @ self._projection
        for weight, bias in self._later:
            z = self._activate(z[..., : weight.shape[1]]) @ weight + bias
        memory.mul_(self._memory_decay).add_(self._gain * torch.tanh(z))
        outputs.copy_(memory[..., :units] @ self._readout + self._readout_bias)
        return self._detected(state, outputs[..., 0]).cpu().numpy().ravel()

    def _detected(self, state: torch.Tensor, logit: torch.Tensor) -> torch.Tensor:
        before, phase, since = (state[..., self._detector + at] for at in (BEFORE, ARMED, SINCE))
        spike = (phase == RISING) & (logit < before)
        since.add_(1).clamp_(max=1e6)
        since.masked_fill_(spike, 1.0)
        phase.masked_fill_(spike, DONE)
        begins = torch.where(since > self._refractory, RISING, DONE).to(phase.dtype)
        begun = torch.where(phase == QUIET, begins, phase)
        phase.copy_(torch.where(logit > self._threshold, begun, QUIET))
        before.copy_(logit)
        return spike

    def records(self, neurons: Int64[np.ndarray, "some"]) -> tuple[Any, Any]:
        """Places of the records of these neurons, and what is in them."""
        rows = neurons // self._size * self._padded + neurons % self._size
        return rows, self.state[torch.from_numpy(rows).to(self.state.device)].cpu().numpy()
