"""``ulmus label``."""

from pathlib import Path

from ulmus.cli.console import console, progress
from ulmus.teachers.l5pc.cell import L5PC
from ulmus.teachers.morphology_files import load_morphology
from ulmus.teachers.regimes import regime_named
from ulmus.training.distillation import label as answer


def label(
    *surrogates: Path,
    trials: int,
    out: Path,
    regime: str = "default",
    morphology: Path | None = None,
    seconds: float = 6.0,
    seed: int = 1_000_000,
) -> None:
    """Let fitted neurons answer fresh input of the layer-5 pyramidal cell, for smaller ones to learn from.

    Train with --data.labelled OUT beside --data.train. An interrupted command goes on.

    Args:
        surrogates: Run folders or saved surrogates fitted to this cell; several answer by their mean.
        trials: Number of trials.
        out: Folder of the store.
        regime: Statistics of the input: default, published, ampa, ampa_low_sk.
        morphology: Reconstruction (.asc, .swc) that the input is drawn for; a shipped one by default.
        seconds: Length of a trial.
        seed: Trial k depends on the seed and k alone; a seed that trials were simulated with would give their input again.
    """
    cell = L5PC(morphology=load_morphology(morphology))
    stimulus = regime_named(regime)
    with progress("label") as show:
        store = answer(
            surrogates, cell, stimulus, trials=trials, seconds=seconds, out=out, seed=seed, on_trial=show
        )
    names = ", ".join(map(str, surrogates))
    console.print(f"{out}: {len(store)} trials of {seconds:g} s, answered by {names}", soft_wrap=True)
