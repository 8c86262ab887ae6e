"""What every cell of a fitted population receives, as a table of spike trains for the detailed cell to answer.

    python benchmarks/network_input.py --morphology cell1.asc --out received.npz
    ulmus simulate l5pc --morphology cell1.asc --spike-trains received.npz --trials 40 --seconds 6 --out received

The networks are those of network_validation.py with other wiring and input: no detailed network is needed. A trial is a cell;
neighbouring trials are of different networks, so that the first ones are a fair sample of all.
"""

from pathlib import Path

import numpy as np
from common import start
from detailed_network import background, received, wires
from network_validation import STEPS, fitted_network

from ulmus.cli.console import say
from ulmus.neuron import load_surrogate
from ulmus.teachers import L5PC, load_morphology

FIRST_PIECE = 100  # those of network_validation.py are 0, 1, 2, ...


def network_input(
    neuron: str = "l5pc-branch-20",
    *,
    morphology: Path,
    contacts: tuple[int, ...] = (20, 40),
    pieces: int = 2,
    out: Path,
) -> None:
    """Run networks of fitted neurons, and write the events that reach every cell.

    Args:
        neuron: Fitted neuron, of the cell with this morphology.
        morphology: Reconstruction of the cell.
        contacts: Contacts of a connected pair.
        pieces: Networks for each number of contacts, all with wiring and input of their own.
        out: NPZ file of trial, input and time_ms.
    """
    surrogate, teacher = load_surrogate(neuron), L5PC(load_morphology(morphology))
    networks = [count for _ in range(pieces) for count in contacts]
    tables = []
    for number, count in enumerate(networks):
        outside = background(teacher, STEPS, FIRST_PIECE + number)
        wiring = wires(surrogate.neuron.inputs, count, FIRST_PIECE + number)
        activity = fitted_network(surrogate, outside, wiring)
        say(f"{count} contacts, network {number}: {len(activity.time_ms)} spikes")
        for cell, drives in enumerate(zip(outside, received(activity, wiring, STEPS), strict=True)):
            step, place = (np.concatenate([drive[part] for drive in drives]) for part in (0, 1))
            order = np.lexsort((place, step))
            tables.append((np.full(len(step), cell * len(networks) + number), place[order], step[order]))
    trial, place, step = (np.concatenate(column) for column in zip(*tables, strict=True))
    np.savez_compressed(out, trial=trial, input=place, time_ms=step.astype(float))


if __name__ == "__main__":
    start(network_input)
