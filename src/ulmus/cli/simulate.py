"""``ulmus simulate``."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from cyclopts import Parameter

from ulmus.cli.console import console, progress, say
from ulmus.errors import ConfigError, closest
from ulmus.teachers.currents import CurrentRegime
from ulmus.teachers.custom.arbor import ball_and_stick
from ulmus.teachers.custom.script import is_script, load_cell
from ulmus.teachers.integrate_and_fire import IntegrateAndFire, adaptive
from ulmus.teachers.l5pc.cell import L5PC
from ulmus.teachers.morphology_files import load_morphology
from ulmus.teachers.regimes import regime_named, regime_of_rates
from ulmus.teachers.runner import SimulationProgress
from ulmus.teachers.runner import simulate as run_trials
from ulmus.teachers.spike_trains import SpikeTrains
from ulmus.teachers.stimulus import Stimulus
from ulmus.teachers.teacher import Teacher, check_step
from ulmus.trials import Store


@Parameter(name="*", group="Input")
@dataclass(frozen=True)
class InputOptions:
    """What drives the neuron.

    Attributes:
        regime: Statistics of the input: default, and for l5pc published, ampa, ampa_low_sk, ergodic.
        synchrony: Share of trials whose rates swing together; the regime's own by default.
        removed_inhibition: Share of trials without inhibition.
        clustered: Share of trials in which only some clusters of neighbouring synapses are active.
        spliced_pieces: Pieces of other draws that are spliced into each trial.
        rates: Range of the mean firing rate (Hz) of every group of inputs, instead of a regime: --rates basal=0:10 tuft=0:5.
        current: Range of a random current into the soma (nA), alone: --current -0.1:0.5. Steps, ramps, chirps and noise.
        current_scale: What a surrogate's current is divided by (nA); the larger end of the range by default. Test trials of
            another range need the scale of the training trials.
        with_synapses: Besides the current, give the synapses the input that they would have without it.
        spike_trains: Input to use instead of a regime: a store, or a table (CSV, NPZ, HDF5) of trial, input, time_ms.
    """

    regime: str = "default"
    synchrony: float | None = None
    removed_inhibition: float | None = None
    clustered: float | None = None
    spliced_pieces: int | None = None
    rates: Annotated[tuple[str, ...] | None, Parameter(consume_multiple=True)] = None
    current: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None
    current_scale: float | None = None
    with_synapses: bool = False
    spike_trains: Path | None = None


@Parameter(name="*", group="Options of l5pc")
@dataclass(frozen=True)
class PyramidalOptions:
    """What can be changed of the layer-5 pyramidal cell.

    Attributes:
        morphology: Reconstruction (.asc, .swc); a shipped one by default. The fitted neurons that come with Ulmus expect the
            cell of the published one (cell1.asc).
        synapse: Excitatory receptors: nmda (AMPA and NMDA) or ampa.
        passive_dendrites: Leave out the active channels of the dendrites.
        sk_scale: Factor on the SK conductance.
        ih_shift_mv: Shift of the activation of Ih.
    """

    morphology: Path | None = None
    synapse: Literal["nmda", "ampa"] = "nmda"
    passive_dendrites: bool = False
    sk_scale: float = 1.0
    ih_shift_mv: float = 0.0


@Parameter(name="*", group="Options of lif and adaptive-lif")
@dataclass(frozen=True)
class PointOptions:
    """What can be changed of the integrate-and-fire neurons.

    Attributes:
        excitatory: Number of excitatory inputs; 80 by default.
        inhibitory: Number of inhibitory inputs; 20 by default.
        weight_mv: Drive that one event adds; by default 480 mV shared among the excitatory inputs, for a few Hz.
        adaptation_mv: How much a spike raises the threshold of adaptive-lif; 4 mV by default.
    """

    excitatory: int | None = None
    inhibitory: int | None = None
    weight_mv: float | None = None
    adaptation_mv: float | None = None


CELLS = ["l5pc", "ball-and-stick", "lif", "adaptive-lif"]
NO_INPUT_OPTIONS, NO_PYRAMIDAL_OPTIONS, NO_POINT_OPTIONS = InputOptions(), PyramidalOptions(), PointOptions()


def simulate(
    cell: str,
    *,
    trials: int,
    out: Path,
    seconds: float = 6.0,
    seed: int = 0,
    workers: int | None = None,
    dask: str | None = None,
    step_ms: float = 0.05,
    sites: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    drive: InputOptions = NO_INPUT_OPTIONS,
    pyramidal: PyramidalOptions = NO_PYRAMIDAL_OPTIONS,
    point: PointOptions = NO_POINT_OPTIONS,
) -> None:
    """Simulate a neuron with random synaptic input into a store. The same command continues an interrupted simulation.

    Args:
        cell: Which neuron: l5pc, a layer-5 pyramidal cell; ball-and-stick, a soma and a dendrite with NMDA spikes; lif and
            adaptive-lif, leaky integrate-and-fire neurons; or a Python file that defines one: mycell.py, mycell.py:name.
        trials: Number of trials.
        out: Folder of the store.
        seconds: Length of a trial.
        seed: Trial k depends on the seed and k alone, for any number of workers.
        workers: Processes; all cores by default.
        dask: Address of a Dask scheduler whose workers simulate instead: tcp://host:8786.
        step_ms: Integration step: 0.025 for test data, 0.05 for training, 0.1 for a quick look.
        sites: Places whose voltage is recorded, and fitted, beside the soma's: dendritic segments of l5pc (--sites 100 400),
            places of your own cell (--sites 'dend[1](0.9)').
        drive: What drives it.
        pyramidal: Options of l5pc.
        point: Options of lif and adaptive-lif.
    """
    check_step(step_ms, "--step-ms")
    neuron = chosen_cell(cell, pyramidal, point)
    simulate_into(
        out, neuron, chosen_stimulus(neuron, drive), trials, seconds, seed, workers, step_ms, sites, dask
    )


def chosen_cell(
    cell: str, pyramidal: PyramidalOptions = NO_PYRAMIDAL_OPTIONS, point: PointOptions = NO_POINT_OPTIONS
) -> Teacher:
    """The cell with its options; those of another cell are refused."""
    if cell not in CELLS and not is_script(cell):
        raise ConfigError(
            f"cell {cell!r}: expected one of {', '.join(CELLS)}, or a Python file such as mycell.py.{closest(cell, CELLS)} "
            f"Choose one of them."
        )
    if cell != "l5pc":
        _refuse(pyramidal, "l5pc", cell)
    if cell not in ("lif", "adaptive-lif"):
        _refuse(point, "lif and adaptive-lif", cell)
    if cell == "l5pc":
        return L5PC(
            morphology=load_morphology(pyramidal.morphology),
            active_dendrites=not pyramidal.passive_dendrites,
            sk_scale=pyramidal.sk_scale,
            ih_shift_mv=pyramidal.ih_shift_mv,
            synapse=pyramidal.synapse,
        )
    if cell == "ball-and-stick":
        return ball_and_stick()
    if is_script(cell):
        return load_cell(cell)
    settings = _given(point)
    if cell == "lif" and settings.get("adaptation_mv"):
        raise ConfigError(
            "--adaptation-mv makes lif an adaptive neuron. Simulate adaptive-lif instead, or leave it out."
        )
    return adaptive(**settings) if cell == "adaptive-lif" else IntegrateAndFire(**settings)


def _refuse(options: Any, of: str, cell: str) -> None:
    changed = [field.name for field in fields(options) if getattr(options, field.name) != field.default]
    if changed:
        flag = "--" + changed[0].replace("_", "-")
        raise ConfigError(f"{flag} is an option of {of}; expected {cell} without it. Leave it out.")


def _given(options: Any) -> dict[str, Any]:
    return {name: value for name, value in asdict(options).items() if value is not None}


def chosen_stimulus(neuron: Teacher, options: InputOptions) -> Stimulus:
    """The input that the options ask for."""
    given = _given(options)
    spike_trains, current, scale = (
        given.pop(key, None) for key in ("spike_trains", "current", "current_scale")
    )
    beside, regime, rates = given.pop("with_synapses"), given.pop("regime"), given.pop("rates", None)
    synaptic = bool(rates or given or regime != "default")
    if current is None and (scale is not None or beside):
        raise ConfigError("--current-scale and --with-synapses belong to --current LOW:HIGH. Add it.")
    if spike_trains is not None:
        if synaptic or current is not None:
            raise ConfigError(
                "--spike-trains together with rates, a current, a regime or its variations; expected one of them. Leave the "
                "others out."
            )
        return SpikeTrains.load(spike_trains)
    if rates and regime != "default":
        raise ConfigError(f"--rates together with --regime {regime}; expected one of them. Leave one out.")
    if current is not None and synaptic and not beside:
        raise ConfigError(
            "--current with an input of the synapses; expected --with-synapses too, or the current alone. Add it, or leave "
            "the other options out."
        )
    if current is not None and not beside:
        return CurrentRegime(*_range("--current", current), scale_na=scale)
    if rates:
        chosen = regime_of_rates(neuron, _ranges(rates))
    elif regime == "default":
        chosen = neuron.regime
    else:
        chosen = regime_named(regime)
    synapses = replace(chosen, **given)
    if current is None:
        return synapses
    return CurrentRegime(*_range("--current", current), synapses=synapses, scale_na=scale)


def _ranges(rates: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Rates by group, from texts like ``basal=0:10``."""
    ranges: dict[str, tuple[float, float]] = {}
    for text in rates:
        label, _, ends = text.rpartition("=")
        low, high = _range("--rates", ends)
        if not label or not 0 <= low <= high < float("inf"):
            raise ConfigError(
                f"--rates {text}: expected a group and its range in Hz, such as basal=0:10. Correct it."
            )
        ranges[label] = low, high
    return ranges


def _range(option: str, text: str) -> tuple[float, float]:
    try:
        low, high = (float(end) for end in text.split(":"))
    except ValueError:
        raise ConfigError(
            f"{option} {text}: expected a range LOW:HIGH, such as -0.1:0.5. Correct it."
        ) from None
    return low, high


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
    total = np.zeros(2)
    with progress("simulate") as show:

        def count(now: SimulationProgress) -> None:
            total[:] += now.simulated_seconds, now.cpu_seconds
            show(now.done, now.total, f"{now.output_hz:.2f} Hz")

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
            on_note=lambda text: say(f"note: {text}"),
        )
    simulated, cpu = total
    if simulated:
        say(
            f"{simulated:{',.0f' if simulated >= 100 else '.3g'}} s simulated, {cpu / simulated:.2f} CPU seconds for each"
        )
    if len(store) > trials:
        say(f"{out} holds more than the {trials} trials asked for, from before; all are kept")
    console.print(
        f"{out}: {len(store)} trials of {seconds:g} s, {store.info()['output_hz']:.2f} Hz", soft_wrap=True
    )
    return store
