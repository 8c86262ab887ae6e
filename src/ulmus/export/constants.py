"""The numbers that a fitted neuron computes with, ready for another language."""

import copy
import re
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import nn

from ulmus.errors import ConfigError
from ulmus.neuron import ELM, Surrogate


class NeuronConstants(NamedTuple):
    """Weights as in `ulmus.kernels.weights.Weights`, in double precision; synapses listed input by input."""

    first_synapse: Int64[np.ndarray, "inputs_plus_one"]
    """Synapses of input i are those from ``first_synapse[i]`` to before ``first_synapse[i + 1]``."""
    branch: Int64[np.ndarray, "synapses"]
    weight: Float64[np.ndarray, "synapses"]
    branch_decay: Float64[np.ndarray, "branches"]
    layers: list[tuple[Float64[np.ndarray, "to from"], Float64[np.ndarray, "to"]]]
    """Weight and bias of the layers of the MLP; the first one sees branches, then decayed memory."""
    memory_decay: Float64[np.ndarray, "memory"]
    memory_gain: Float64[np.ndarray, "memory"]
    readout: tuple[Float64[np.ndarray, "outputs seen"], Float64[np.ndarray, "outputs"]]
    """Sees the memory, then the last hidden layer if ``hidden_readout``."""
    hidden_readout: bool
    activation: str

    @property
    def inputs(self) -> int:
        """Number of input channels."""
        return len(self.first_synapse) - 1


@torch.no_grad()
def constants_of(surrogate: Surrogate) -> NeuronConstants:
    """Constants of a surrogate of an ELM: spikes, and voltages that all become mV by ``surrogate.units``."""
    neuron = copy.deepcopy(cast(ELM, surrogate.neuron)).double().cpu().eval()
    weights, readout = neuron.weights(), cast(nn.Linear, neuron.readout)  # a surrogate has outputs
    dense = torch.diag(weights.synapses) if weights.synapses.dim() == 1 else weights.synapses
    by_input = dense.t().numpy()
    source, branch = np.nonzero(by_input)
    first = torch.cat([weights.projection, weights.recurrent], dim=1)
    layers = [(first, weights.first_bias), *weights.later]
    kept = readout.weight[: 1 + len(surrogate.sites)], readout.bias[: 1 + len(surrogate.sites)]
    for row, units in enumerate(surrogate.site_units, 1):
        if units != surrogate.units:  # the scale of its own goes into the weights
            kept[0][row] *= surrogate.units.scale_per_mv / units.scale_per_mv
            kept[1][row] *= surrogate.units.scale_per_mv / units.scale_per_mv
            kept[1][row] += (units.offset_mv - surrogate.units.offset_mv) * surrogate.units.scale_per_mv
    return NeuronConstants(
        first_synapse=np.concatenate([[0], np.cumsum(np.bincount(source, minlength=len(by_input)))]),
        branch=branch,
        weight=by_input[source, branch],
        branch_decay=weights.branch_decay.numpy(),
        layers=[(weight.numpy(), bias.numpy()) for weight, bias in layers],
        memory_decay=weights.memory_decay.numpy(),
        memory_gain=weights.memory_gain.numpy(),
        readout=(kept[0].numpy(), kept[1].numpy()),
        hidden_readout=neuron.hidden_readout,
        activation=neuron.activation,
    )


def surrogate_of_elm(model: Any, what: str) -> Surrogate:
    """The same model, which is a surrogate of an ELM.

    Raises:
        ConfigError: it is not, or its spike threshold is no probability.
    """
    if isinstance(model, Surrogate) and isinstance(model.neuron, ELM):
        if not 0 <= model.spike_threshold <= 1:
            raise ConfigError(
                f"spike_threshold={model.spike_threshold}; expected a spike probability between 0 and 1. Set it on the "
                "surrogate."
            )
        return model
    kind = type(model).__name__
    if isinstance(model, Surrogate):
        kind = f"Surrogate of kind {type(model.neuron).__name__}"
    raise ConfigError(
        f"a {kind} cannot be written as {what}; expected a Surrogate of an ELM, such as ulmus.load('l5pc-branch-20'). An "
        "ELM, an ELMNetwork and classifiers of them can be exported as .onnx."
    )


def identifier(name: str) -> str:
    """A name that C and NMODL accept: letters, digits and underscores, no digit in front."""
    kept = re.sub(r"\W", "_", name, flags=re.ASCII)
    return kept if re.match(r"[A-Za-z]", kept) else f"neuron_{kept}"


def continuous_inputs(surrogate: Surrogate) -> str:
    """What a file says of continuous inputs, whose values are divided by a scale; nothing where there are none."""
    first = surrogate.neuron.inputs - len(surrogate.continuous)
    told = (
        f"Input {number} is continuous, {one['name']}: it has an event in every step, whose value is that in {one['unit']} "
        f"divided by {float(one['scale'])!r}."
        for number, one in enumerate(surrogate.continuous, first)
    )
    return " ".join(" ".join(told).split())


def described(surrogate: Surrogate, name: str) -> str:
    """One line on what a file holds."""
    source = surrogate.card.get("recipe") or surrogate.card.get("name") or name
    return f"{' '.join(str(source).split())}: {surrogate.neuron.inputs} inputs, steps of {surrogate.neuron.dt_ms:g} ms"
