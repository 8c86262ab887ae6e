"""``ulmus simulate``."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from ulmus.cli.console import console, progress, say
from ulmus.data import Store
from ulmus.teachers.l5pc import L5PC
from ulmus.teachers.morphology_files import load_morphology
from ulmus.teachers.runner import Progress
from ulmus.teachers.runner import simulate as run_trials
from ulmus.teachers.stimulus import regime_named


def simulate(
    cell: Literal["l5pc"],
    *,
    trials: int,
    out: Path,
    seconds: float = 6.0,
    seed: int = 0,
    workers: int | None = None,
    regime: str = "default",
    morphology: Path | None = None,
    synapse: Literal["nmda", "ampa"] = "nmda",
    passive_dendrites: Annotated[bool, Parameter(negative="")] = False,
    sk_scale: float = 1.0,
    ih_shift_mv: float = 0.0,
    step_ms: float = 0.05,
    sites: list[int] | None = None,
) -> None:
    """Simulate a detailed neuron with random synaptic input into a store. An interrupted simulation goes on.

    Args:
        cell: Which neuron: l5pc, a layer-5 pyramidal cell.
        trials: Number of trials.
        out: Folder of the store.
        seconds: Length of a trial.
        seed: Trial k depends on the seed and k alone, for any number of workers.
        workers: Processes; all cores by default.
        regime: Statistics of the input: default, published, ampa, ampa_low_sk.
        morphology: Reconstruction (.asc, .swc); a shipped one by default.
        synapse: Excitatory receptors: nmda (AMPA and NMDA) or ampa.
        passive_dendrites: Leave out the active channels of the dendrites.
        sk_scale: Factor on the SK conductance.
        ih_shift_mv: Shift of the activation of Ih.
        step_ms: Integration step: 0.025 for test data, 0.05 for training, 0.1 for a quick look.
        sites: Dendritic segments whose voltage is recorded beside the soma's. May be given several times.
    """
    neuron = L5PC(
        morphology=load_morphology(morphology),
        active_dendrites=not passive_dendrites,
        sk_scale=sk_scale,
        ih_shift_mv=ih_shift_mv,
        synapse=synapse,
    )
    simulate_into(out, neuron, regime, trials, seconds, seed, workers, step_ms, tuple(sites or ()))


def simulate_into(
    out: Path,
    neuron: L5PC,
    regime: str,
    trials: int,
    seconds: float,
    seed: int,
    workers: int | None,
    step_ms: float,
    sites: tuple[int, ...] = (),
) -> Store:
    """Simulate with a progress bar, and say what it cost."""
    spikes, cpu, simulated = 0, 0.0, 0.0
    with progress("simulate") as show:

        def count(now: Progress) -> None:
            nonlocal spikes, cpu, simulated
            spikes, cpu, simulated = (
                spikes + now.output_spikes,
                cpu + now.cpu_seconds,
                simulated + now.simulated_seconds,
            )
            show(now.done, now.total, f"{spikes / simulated:.2f} Hz")

        store = run_trials(
            neuron,
            regime_named(regime),
            trials=trials,
            seconds=seconds,
            out=out,
            seed=seed,
            workers=workers,
            dt_ms=step_ms,
            sites=sites,
            on_trial=count,
        )
    if simulated:
        say(f"{simulated:.0f} s simulated, {cpu / simulated:.2f} CPU seconds for each")
    console.print(
        f"{out}: {len(store)} trials of {seconds:g} s, {store.info()['output_hz']:.2f} Hz", soft_wrap=True
    )
    return store
