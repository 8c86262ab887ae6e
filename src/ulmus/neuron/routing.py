"""Which input feeds which synapse of which branch."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from ulmus.errors import ConfigError, closest

ROUTINGS = ["dense", "random", "windows"]


class Routing(NamedTuple):
    """Input index of every synapse, and whether the synapse receives any input at all."""

    indices: Int64[Tensor, "branches synapses"]
    connected: Bool[Tensor, "branches synapses"]


def route(
    kind: str, inputs: int, branches: int, synapses_per_branch: int, generator: torch.Generator | None = None
) -> Routing:
    """Connect inputs to synapses.

    - ``dense``: every input has one synapse, consecutive inputs share a branch; on the last branch some synapses may stay
      unconnected.
    - ``random``: every synapse draws its input uniformly, with replacement.
    - ``windows``: inputs are interleaved (excitatory 0, inhibitory 0, excitatory 1, ...), then each branch sees a
      window of ``synapses_per_branch`` neighbours; windows overlap where there are more synapses than inputs, and
      the last ones run over the end, where synapses stay unconnected. The published routing for NeuronIO.

    Args:
        kind: One of ``dense``, ``random``, ``windows``.
        inputs: Number of input channels; for ``windows`` first all excitatory, then as many inhibitory ones.
        branches: Number of branches.
        synapses_per_branch: Synapses on each branch.
        generator: Source of randomness for ``random``; torch's global one by default.

    Raises:
        ConfigError: the numbers do not fit the kind of routing.
    """
    shape = (branches, synapses_per_branch)
    if kind == "dense":
        if not 0 <= branches * synapses_per_branch - inputs < synapses_per_branch:
            raise ConfigError(
                f"routing='dense' gives every input one synapse, but branches={branches} times "
                f"synapses_per_branch={synapses_per_branch} is {branches * synapses_per_branch}, not inputs={inputs}. "
                "Choose numbers whose product is the number of inputs, or so little more that only the last branch has synapses "
                "to spare; or routing='random' or 'windows'."
            )
        position = torch.arange(branches * synapses_per_branch, device="cpu").view(shape)
        return Routing(torch.where(position < inputs, position, 0), position < inputs)
    if kind == "random":
        indices = torch.randint(inputs, shape, generator=generator, device="cpu")
        return Routing(indices, torch.ones(shape, dtype=torch.bool, device="cpu"))
    if kind == "windows":
        return _windows(inputs, branches, synapses_per_branch)
    raise ConfigError(f"routing={kind!r} is not known; expected one of {ROUTINGS}.{closest(kind, ROUTINGS)}")


def _windows(inputs: int, branches: int, synapses_per_branch: int) -> Routing:
    stride = -(-inputs // branches)
    if inputs % 2:
        raise ConfigError(
            f"routing='windows' interleaves excitatory with inhibitory inputs and needs as many of each; "
            f"inputs={inputs} is odd. Use routing='random', or add a silent input."
        )
    if synapses_per_branch < stride:
        raise ConfigError(
            f"synapses_per_branch={synapses_per_branch} leaves inputs without a synapse: windows of {branches} branches "
            f"start {stride} inputs apart. Expected at least {stride}; use more branches or more synapses per branch."
        )
    interleaved = torch.arange(inputs, device="cpu").view(2, -1).t().reshape(-1)
    position = stride * torch.arange(branches, device="cpu").unsqueeze(1) + torch.arange(
        synapses_per_branch, device="cpu"
    )
    connected = position < inputs
    return Routing(torch.where(connected, interleaved[position.clamp(max=inputs - 1)], 0), connected)
