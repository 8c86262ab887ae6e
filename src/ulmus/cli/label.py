"""``ulmus label``."""

from pathlib import Path

from ulmus.cli.console import console, progress
from ulmus.cli.evaluate import load_surrogate
from ulmus.errors import ConfigError
from ulmus.teachers.l5pc.cell import L5PC
from ulmus.teachers.morphology_files import load_morphology
from ulmus.teachers.regimes import regime_named
from ulmus.training.distillation import label as label_input


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
    if not surrogates:
        raise ConfigError("no surrogate was given; expected a run folder, a saved one, or a shipped neuron.")
    fitted = [load_surrogate(place) for place in surrogates]
    names = [str(place) for place in surrogates]
    cards = {name: surrogate.card for name, surrogate in zip(names, fitted, strict=True)}
    cell = L5PC(morphology=load_morphology(morphology))
    with progress("label") as show:
        store = label_input(
            fitted,
            cell,
            regime_named(regime),
            trials=trials,
            seconds=seconds,
            out=out,
            seed=seed,
            card=cards,
            on_trial=show,
        )
    console.print(
        f"{out}: {len(store)} trials of {seconds:g} s, answered by {', '.join(names)}", soft_wrap=True
    )
