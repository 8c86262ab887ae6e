"""``ulmus label``."""

from pathlib import Path

from ulmus.cli.console import console, progress
from ulmus.cli.simulate import (
    NO_INPUT_OPTIONS,
    InputOptions,
    PyramidalOptions,
    chosen_cell,
    chosen_stimulus,
)
from ulmus.training.distillation import label as answer


def label(
    *surrogates: Path,
    trials: int,
    out: Path,
    cell: str = "l5pc",
    morphology: Path | None = None,
    drive: InputOptions = NO_INPUT_OPTIONS,
    seconds: float = 6.0,
    seed: int = 1_000_000,
) -> None:
    """Let fitted neurons answer fresh input of the cell that they were fitted to, for smaller ones to learn from.

    Train with --data.labelled OUT beside --data.train. The same command continues what was interrupted.

    Args:
        surrogates: Run folders or saved surrogates fitted to this cell; several answer by their mean.
        trials: Number of trials.
        out: Folder of the store.
        cell: Whose input: l5pc, ball-and-stick, lif, adaptive-lif, or a Python file that defines one: mycell.py.
        morphology: Reconstruction (.asc, .swc) of l5pc; a shipped one by default.
        drive: What drives the cell.
        seconds: Length of a trial.
        seed: Trial k depends on the seed and k alone; a seed that trials were simulated with would give their input again.
    """
    neuron = chosen_cell(cell, PyramidalOptions(morphology=morphology))
    stimulus = chosen_stimulus(neuron, drive)
    with progress("label") as show:
        store = answer(
            surrogates, neuron, stimulus, trials=trials, seconds=seconds, out=out, seed=seed, on_trial=show
        )
    names = ", ".join(map(str, surrogates))
    console.print(f"{out}: {len(store)} trials of {seconds:g} s, answered by {names}", soft_wrap=True)
