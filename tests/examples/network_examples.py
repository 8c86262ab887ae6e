import torch

import ulmus

NEURON = {
    "memory": 4,
    "tau_memory_ms": (1.0, 50.0),
    "branches": 3,
    "synapses_per_branch": 4,
    "routing": "random",
}


def make_network(**changes) -> ulmus.ELMNetwork:
    torch.manual_seed(0)
    return ulmus.ELMNetwork(6, **({"outputs": 2, "layers": 3} | NEURON | changes)).double()
