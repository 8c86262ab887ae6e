"""``ulmus simulate``."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from ulmus.cli.console import console, progress, say
from ulmus.data import Store
from ulmus.errors import ConfigError
from ulmus.teachers.integrate_and_fire import IntegrateAndFire, adaptive
from ulmus.teachers.l5pc import L5PC
from ulmus.teachers.morphology_files import load_morphology
from ulmus.teachers.own_arbor import ball_and_stick
from ulmus.teachers.runner import Progress
from ulmus.teachers.runner import simulate as run_trials
from ulmus.teachers.spike_trains import SpikeTrains
from ulmus.teachers.stimulus import Stimulus, regime_named
from ulmus.teachers.teacher import Teacher

SIMPLE: dict[str, Callable[[], Teacher]] = {
    "ball-and-stick": ball_and_stick,
    "lif": IntegrateAndFire,
    "adaptive-lif": adaptive,
}
"""Cells without options on the command line."""


def simulate(
    cell: Literal["l5pc", "ball-and-stick", "lif", "adaptive-lif"],
    *,
    trials: int,
    out: Path,
    seconds: float = 6.0,
    seed: int = 0,
    workers: int | None = None,
    dask: str | None = None,
    regime: str = "default",
    synchrony: float | None = None,
    removed_inhibition: float | None = None,
    clustered: float | None = None,
    spliced_pieces: int | None = None,
    spike_trains: Path | None = None,
    morphology: Path | None = None,
    synapse: Literal["nmda", "ampa"] = "nmda",
    passive_dendrites: bool = False,
    sk_scale: float = 1.0,
    ih_shift_mv: float = 0.0,
    step_ms: float = 0.05,
    sites: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
) -> None:
    """Simulate a neuron with random synaptic input into a store. An interrupted simulation goes on.

    Args:
        cell: Which neuron: l5pc, a layer-5 pyramidal cell; ball-and-stick, a soma and a dendrite with NMDA spikes; lif and
            adaptive-lif, leaky integrate-and-fire neurons. The options from --morphology to --ih-shift-mv are for l5pc.
        trials: Number of trials.
        out: Folder of the store.
        seconds: Length of a trial.
        seed: Trial k depends on the seed and k alone, for any number of workers.
        workers: Processes; all cores by default.
        dask: Address of a Dask scheduler whose workers simulate instead: tcp://host:8786.
        regime: Statistics of the input: default, and for l5pc published, ampa, ampa_low_sk, ergodic.
        synchrony: Share of trials whose rates swing together; the regime's own by default.
        removed_inhibition: Share of trials without inhibition.
        clustered: Share of trials in which only some clusters of neighbouring synapses are active.
        spliced_pieces: Pieces of other draws that are spliced into each trial.
        spike_trains: Input to use instead of a regime: a store, or a table (CSV, NPZ, HDF5) of trial, input, time_ms.
        morphology: Reconstruction (.asc, .swc); a shipped one by default.
        synapse: Excitatory receptors: nmda (AMPA and NMDA) or ampa.
        passive_dendrites: Leave out the active channels of the dendrites.
        sk_scale: Factor on the SK conductance.
        ih_shift_mv: Shift of the activation of Ih.
        step_ms: Integration step: 0.025 for test data, 0.05 for training, 0.1 for a quick look.
        sites: Dendritic segments whose voltage is recorded, and fitted, beside the soma's: --sites 100 400.
    """
    changed = {
        "--morphology": morphology is not None,
        "--synapse": synapse != "nmda",
        "--passive-dendrites": passive_dendrites,
        "--sk-scale": sk_scale != 1.0,
        "--ih-shift-mv": ih_shift_mv != 0.0,
    }
    neuron: Teacher
    if cell == "l5pc":
        neuron = L5PC(
            morphology=load_morphology(morphology),
            active_dendrites=not passive_dendrites,
            sk_scale=sk_scale,
            ih_shift_mv=ih_shift_mv,
            synapse=synapse,
        )
    elif options := [name for name, was in changed.items() if was]:
        raise ConfigError(f"{options[0]} is an option of l5pc; expected {cell} without it. Leave it out.")
    else:
        neuron = SIMPLE[cell]()
    variation: dict[str, float | None] = {
        "synchrony": synchrony,
        "removed_inhibition": removed_inhibition,
        "clustered": clustered,
        "spliced_pieces": spliced_pieces,
    }
    stimulus = _stimulus(neuron, regime, {k: v for k, v in variation.items() if v is not None}, spike_trains)
    simulate_into(out, neuron, stimulus, trials, seconds, seed, workers, step_ms, sites, dask)


def _stimulus(neuron: Teacher, regime: str, variation: dict[str, Any], spike_trains: Path | None) -> Stimulus:
    """The input that the options ask for."""
    if spike_trains is None:
        return replace(neuron.regime if regime == "default" else regime_named(regime), **variation)
    if regime != "default" or variation:
        raise ConfigError(
            "--spike-trains together with a regime or its variations; expected one of them. Leave the other out."
        )
    return SpikeTrains.load(spike_trains)


def simulate_into(
    out: Path,
    neuron: Teacher,
    stimulus: Stimulus,
    trials: int,
    seconds: float,
    seed: int,
    workers: int | None,
    step_ms: float,
    sites: tuple[str, ...] = (),
    dask: str | None = None,
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
            stimulus,
            trials=trials,
            seconds=seconds,
            out=out,
            seed=seed,
            workers=workers,
            dt_ms=step_ms,
            sites=sites,
            dask=dask,
            on_trial=count,
        )
    if simulated:
        say(f"{simulated:.0f} s simulated, {cpu / simulated:.2f} CPU seconds for each")
    console.print(
        f"{out}: {len(store)} trials of {seconds:g} s, {store.info()['output_hz']:.2f} Hz", soft_wrap=True
    )
    return store
