"""What a fitted neuron has learnt, as tables with names and units."""

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import nn

from ulmus.errors import ConfigError
from ulmus.geometry import ON_SOMA, Geometry
from ulmus.neuron.elm import ELM
from ulmus.neuron.sequence_model import SequenceModel


class Tables(NamedTuple):
    """Values of a fitted neuron, made by `Surrogate.tables`: NumPy arrays with named columns, a row for each thing.

    ``tables.memory["tau_ms"]`` is a column, ``tables.memory[3]`` a row, ``tables.memory.dtype.names`` the names of the columns;
    ``pandas.DataFrame(tables.memory)`` takes an array as it is.

    Attributes:
        synapses: ``input``; ``branch`` that it reaches; ``sign`` of its events: +1 excitatory, -1 inhibitory, 0 where the
            neuron does not say, and for continuous inputs; ``weight``: what an event of +1 adds to the trace of the branch;
            ``x_um``, ``y_um``, ``z_um``: where the input lies, NaN where that is not known.
        branches: ``branch``; ``tau_ms``: time constant of its trace; ``synapses`` that reach it; ``weight``: their sum.
        memory: ``unit``; ``tau_ms``: time constant; ``gain``: what a proposal of 1 adds in one step; ``spike_logit``: how much
            one unit of it adds to the logit of the spike probability; for each site of the neuron, such as ``soma_mv``, how much
            it adds to the voltage there, and for each further signal, such as ``calcium_mM``, to that. A readout that sees the
            hidden layer too adds more than these.
    """

    synapses: Any
    branches: Any
    memory: Any


@torch.no_grad()
def tables_of(
    neuron: SequenceModel, columns: Mapping[str, float], geometry: Geometry | None, signs: Any
) -> Tables:
    """Values of a fitted neuron.

    Args:
        neuron: The model.
        columns: Names of its outputs behind the spike logit, and their scales.
        geometry: Where its inputs lie.
        signs: Of its inputs, 0 where they are not known.

    Raises:
        ConfigError: it is not one ELM.
    """
    if not isinstance(neuron, ELM):
        raise ConfigError(
            f"a {type(neuron).__name__} has no branches and time constants to tell; expected one ELM. Its values are in "
            "surrogate.state_dict()."
        )
    held = neuron.synapses
    branch, slot = (part.cpu().numpy() for part in held.connected.nonzero(as_tuple=True))
    inputs = held.indices.cpu().numpy()[branch, slot]
    weight = held.weights().double().cpu().numpy()[branch, slot]
    place = _places(inputs, geometry)
    tau_ms = neuron.tau_memory().double().cpu().numpy()
    gain = neuron.weights().memory_gain.double().cpu().numpy()
    readout = cast(nn.Linear, neuron.readout).weight[:, : neuron.memory].double().cpu().numpy()
    answers = {name: row / scale for (name, scale), row in zip(columns.items(), readout[1:], strict=True)}
    return Tables(
        synapses=_table(
            input=inputs, branch=branch, sign=signs[inputs], weight=weight, x_um=place[:, 0], y_um=place[:, 1],
            z_um=place[:, 2],
        ),
        branches=_table(
            branch=np.arange(neuron.branches), tau_ms=neuron.tau_synapse_ms.double().cpu().numpy(),
            synapses=np.bincount(branch, minlength=neuron.branches),
            weight=np.bincount(branch, weight, minlength=neuron.branches),
        ),
        memory=_table(
            unit=np.arange(neuron.memory), tau_ms=tau_ms, gain=gain,
            spike_logit=readout[0], **answers,
        ),
    )  # fmt: skip


def _table(**columns: Any) -> Any:
    """Columns of one length as an array of rows."""
    kinds = {name: np.float64 if values.dtype.kind == "f" else np.int64 for name, values in columns.items()}
    table = np.empty(len(next(iter(columns.values()))), dtype=list(kinds.items()))
    for name, values in columns.items():
        table[name] = values
    return table


def _places(inputs: Any, geometry: Geometry | None) -> Any:
    """Middle of the piece of dendrite of every input, or of the soma."""
    if geometry is None:
        return np.full((len(inputs), 3), np.nan)
    piece = geometry.input_piece[inputs]
    middle = (geometry.proximal_um + geometry.distal_um)[piece] / 2
    return np.where((piece == ON_SOMA)[:, None], geometry.soma_centre_um, middle)
