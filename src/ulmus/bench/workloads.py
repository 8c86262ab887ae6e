"""The shapes that are measured: where ELM neurons are used."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ulmus.errors import ConfigError, closest
from ulmus.kernels import Events
from ulmus.neuron.elm import ELM

_NEURONIO: dict[str, Any] = {
    "inputs": 1278,
    "outputs": 2,
    "branches": 45,
    "synapses_per_branch": 100,
    "routing": "windows",
    "tau_memory_ms": (1.0, 150.0),
}


class Workload(NamedTuple):
    """A neuron and an input, and what is measured of them."""

    name: str
    what: str
    config: dict[str, Any]
    batch: int
    time: int
    density: float
    """Share of input entries that are not zero; 1 for real numbers."""
    directions: tuple[str, ...]
    own_weights: bool = False
    """Whether each sequence has a neuron of its own."""
    single_steps: bool = False
    """Whether the next step's input is not known before: one call for each."""
    cold: bool = False
    """Whether it is measured with empty caches too, as between the other work of real training."""

    def neuron(self) -> ELM:
        """A neuron of this shape, the same at every call."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return ELM(**self.config)

    def input(self, time: int | None = None) -> Tensor:
        """Dense input: spikes of either sign where it is sparse, normal numbers where it is not."""
        draw = torch.Generator().manual_seed(1)
        x = torch.randn(self.batch, time or self.time, self.config["inputs"], generator=draw)
        if self.density == 1:
            return x
        return torch.where(torch.rand(x.shape, generator=draw) < self.density, x.sign(), 0.0)

    def multiplications(self) -> float:
        """Multiplications of the dense MLP in one forward pass."""
        memory, branches = self.config["memory"], self.config.get("branches", self.config["inputs"])
        hidden = 2 * memory
        return float(self.batch * self.time * ((memory + branches) * hidden + hidden * memory))


_BOTH = ("forward", "forward+backward")
_NARROW: dict[str, Any] = {"inputs": 3, "outputs": 10}

WORKLOADS: dict[str, Workload] = {
    work.name: work
    for work in (
        Workload("A", "NeuronIO training", {**_NEURONIO, "memory": 20}, 8, 500, 0.0025, _BOTH, cold=True),
        Workload("B", "NeuronIO, largest neuron", {**_NEURONIO, "memory": 100}, 32, 500, 0.0025, _BOTH),
        Workload(
            "C",
            "spoken digits",
            {"inputs": 700, "outputs": 20, "memory": 100},
            8,
            100,
            0.08,
            _BOTH,
        ),
        Workload("D", "long sequence", {**_NARROW, "memory": 100}, 8, 4096, 1.0, _BOTH),
        Workload("D2", "long sequence, memory 200", {**_NARROW, "memory": 200}, 8, 4096, 1.0, _BOTH),
        Workload(
            "P", "Pathfinder of the paper", {"inputs": 16, "outputs": 2, "memory": 50}, 32, 1024, 1.0, _BOTH
        ),
        Workload("E", "one neuron, streaming", {**_NEURONIO, "memory": 20}, 1, 6000, 0.0025, ("forward",)),
        Workload(
            "F",
            "1000 sequences, shared weights",
            {"inputs": 45, "outputs": 2, "memory": 20},
            1000,
            1000,
            1.0,
            ("forward",),
        ),
        Workload(
            "F'",
            "neurons with weights of their own",
            {**_NEURONIO, "memory": 20},
            16,
            1000,
            0.0025,
            ("forward",),
            own_weights=True,
        ),
        Workload(
            "G",
            "one neuron, a step a call",
            {**_NEURONIO, "memory": 20},
            1,
            200,
            0.0025,
            ("forward",),
            single_steps=True,
        ),
        Workload(
            "G'",
            "1000 neurons, a step a call",
            {**_NEURONIO, "memory": 20},
            1000,
            5,
            0.0025,
            ("forward",),
            single_steps=True,
        ),
    )
}
"""What is timed, by name: the sizes, lengths and input of typical uses."""


def chosen(names: Sequence[str]) -> list[str]:
    """The same names, all of workloads.

    Raises:
        ConfigError: an unknown workload.
    """
    for name in names:
        if name not in WORKLOADS:
            raise ConfigError(
                f"workload {name!r} is not known; expected one of {list(WORKLOADS)}.{closest(name, list(WORKLOADS))}"
            )
    return list(names)


def as_events(dense: Tensor) -> Events:
    """The same input as sparse events."""
    batch, time, channels = dense.shape
    flat = dense.reshape(batch * time, channels)
    places = flat.nonzero()
    row_start = torch.zeros(batch * time + 1, dtype=torch.int32)
    row_start[1:] = torch.bincount(places[:, 0], minlength=batch * time).cumsum(0)
    return Events(row_start, places[:, 1].int(), flat[places[:, 0], places[:, 1]], batch, time, channels)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread only, as everything is measured here."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
