"""What the neuron is measured against: the plain loop over time, and an LSTM.

The loop has the algorithmic form of the published PyTorch code: the whole input routed to synapses first, then a state for
every synapse, one call of the MLP and one of the readout in every step, scripted.
"""

import warnings

import torch
from torch import Tensor, nn

from ulmus.kernels.weights import BOUND, SLOPE
from ulmus.neuron.elm import ELM


class PlainLoop(nn.Module):
    """The same neuron as an `ELM` with one hidden layer and a readout, step by step and synapse by synapse."""

    indices: Tensor
    connected: Tensor
    synapse_decay: Tensor
    memory_decay: Tensor
    gain: Tensor

    def __init__(self, neuron: ELM) -> None:
        super().__init__()
        first, last = neuron.mlp
        self.raw = neuron.synapses.raw
        self.first, self.last = first, last
        self.readout = nn.Identity() if neuron.readout is None else neuron.readout
        self.routes = neuron.config["routing"] != "dense"
        self.register_buffer("indices", neuron.synapses.indices.flatten())
        self.register_buffer("connected", neuron.synapses.connected.flatten())
        self.shape = list(neuron.synapses.raw.shape)
        decay = torch.exp(-neuron.dt_ms / neuron.tau_synapse_ms)
        self.register_buffer("synapse_decay", decay.repeat_interleave(self.shape[1]))
        with torch.no_grad():
            weights = neuron.weights()
            self.register_buffer("memory_decay", weights.memory_decay.clone())
            self.register_buffer("gain", weights.memory_gain * BOUND)
        self.slope = SLOPE

    def summed(self, traces: Tensor) -> Tensor:
        """Traces summed over each branch."""
        if not self.routes:
            return traces
        return traces.view(-1, self.shape[0], self.shape[1]).sum(2)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of every step, from rest."""
        strengths = torch.relu(self.raw).flatten()
        routed = x.index_select(2, self.indices) * self.connected if self.routes else x
        traces = torch.zeros([x.shape[0], strengths.shape[0]], dtype=x.dtype)
        memory = torch.zeros([x.shape[0], self.memory_decay.shape[0]], dtype=x.dtype)
        outputs: list[Tensor] = []
        for t in range(x.shape[1]):
            traces = self.synapse_decay * traces + strengths * routed[:, t]
            decayed = self.memory_decay * memory
            hidden = torch.relu(self.first(torch.cat([self.summed(traces), decayed], dim=1)))
            memory = decayed + self.gain * torch.tanh(self.slope * self.last(hidden))
            outputs.append(self.readout(memory))
        return torch.stack(outputs, dim=1)


def plain_loop(neuron: ELM) -> nn.Module:
    """The scripted loop of a neuron; shares its parameters."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # scripting is the form of the published code
        return torch.jit.script(PlainLoop(neuron))


class LSTM(nn.Module):
    """An LSTM with as many memory units, and a readout."""

    def __init__(self, inputs: int, memory: int, outputs: int) -> None:
        super().__init__()
        self.recurrent, self.readout = nn.LSTM(inputs, memory, batch_first=True), nn.Linear(memory, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of every step."""
        outputs: Tensor = self.readout(self.recurrent(x)[0])
        return outputs
