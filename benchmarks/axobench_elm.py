"""An ELM neuron on AxoBench: trials from its own generator, a fit by `ulmus train`'s pipeline, scores by its own scorer.

    python -m venv axo && axo/bin/pip install . 'axobench[sim]==0.2.1'
    axo/bin/python benchmarks/axobench_elm.py --folder axo/work --out axo/scores.json

AxoBench is not part of Ulmus, and nothing of it is here: it must be installed, and its data, CC BY-NC 4.0, stay in the folder.
Its published data are not on PyPI, nor are the files of Hay et al. that its main generator needs. So the traces are of the
generator that the package holds complete: `axobench.generation.arbor_sim`, the Allen cell that is its "reference control", with
its NeuronIO-like input, whose 1,278 channels end on 45 places of the dendrites, excitatory and inhibitory ones on each. The
neuron gets a branch for each: channels are put in order, and silent ones between them. That generator draws 47 properties of the
cell anew for every trace; here they are those of one cell (`CELL`), as the published data have one set for a morphology. Traces
are integrated in steps of 0.1 ms; the generator's default, 0.025 ms, takes several times as long. Called again, the script goes
on from what is there. With the defaults: 124 traces, 5 minutes of CPU time; 15,000 steps, 2.5 minutes; scores, 1 minute.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from common import start
from jaxtyping import Float, Int8, Int64

import ulmus
from ulmus.bench.workloads import as_events
from ulmus.cli.console import print_table, say
from ulmus.errors import ConfigError, MissingToolError
from ulmus.files.writing import write_json
from ulmus.neuron import Surrogate
from ulmus.recordings import convert as convert_recordings
from ulmus.training.run import Run
from ulmus.trials import Store

CHANNELS, STEPS, PART = 1278, 6000, 4
BRANCHES, SYNAPSES = 90, 15
SEEDS = {"train": 10_000, "validation": 20_000, "val": 30_000}
"""Of the first part of each split; `val` is AxoBench's name for the traces that are scored."""
IGNORED = 500
"""Steps at the beginning of a trace that AxoBench does not score."""
CALLS = 11
DISTANCES = (2, 3, 4, 5, 6, 8, 10)

_ONE = (
    *(f"{part}_cm" for part in ("soma", "dend", "apic", "axon")),
    *(f"{part}_pas_g" for part in ("soma", "dend", "apic", "axon")),
    *(f"{part}_{channel}" for part in ("soma", "dend", "apic", "axon") for channel in ("nav", "kv")),
    *(f"{part}_{channel}" for part in ("dend", "apic") for channel in ("ih", "im")),
    *("soma_ca", "dend_ca", "apic_ca", "soma_sk", "axon_sk", "ca_decay", "ca_gamma", "axial_rL"),
    *("input_rate", "burstiness", "synchrony"),
)
CELL: dict[str, float] = {
    **{f"{name}_scale": 1.0 for name in _ONE},
    **{f"{part}_e_pas_shift_mv": 0.0 for part in ("soma", "dend", "apic", "axon")},
    **{"v_init_mv": -76.0, "temperature_celsius": 34.0, "spike_threshold_mv": -37.0},
    **{"exc_tau1_ms": 0.3, "exc_tau2_ms": 3.0, "inh_tau1_ms": 0.3, "inh_tau2_ms": 8.0},
    **{"ampa_weight_scale": 0.0016, "nmda_weight_scale": 0.00015, "inh_weight_scale": 0.008},
    **{"ei_balance": 0.0, "apic_synapse_fraction": 0.55},
}
"""The cell as it was fitted (factors 1, shifts 0), and synapses within the ranges that the generator draws from, but weak: so the
cell fires at 6 Hz and not, as with stronger ones, at 35 to 90 Hz, where any train of spikes would hit some."""

MAPPING = """
inputs: {times: event_ms, ids: event_input, trial: event_trial, unit: ms, count: 1350, inhibitory: "675:1350"}
voltage: {values: voltage_mv, unit: mV, sampling_hz: 1000}
output_spikes: {times: spike_ms, trial: spike_trial, unit: ms}
"""
BUILD = """#!/bin/sh
exec "{python}" "{script}" "$1" "$2" --cpu True
"""


class Row(NamedTuple):
    """A prediction, scored by AxoBench."""

    prediction: str
    parameters: int | None
    mean_f1: float
    low: float
    """Of the 95 % interval of `mean_f1`, a bootstrap over the scored traces at the same threshold."""
    high: float
    f1_exact: float
    f1_5ms: float
    predicted_per_recorded: float
    """Spikes predicted, over those recorded, at the threshold that AxoBench chose on its calibration traces."""
    voltage_sera: float
    subthreshold_rmse_mv: float


def _prepare_arbor(folder: Path) -> None:
    """Let AxoBench compile its synapse on a machine without CUDA, and run with an Arbor newer than the one it pins."""
    import arbor

    script = Path(arbor.__file__).parent / "bin" / "arbor-build-catalogue"
    build = folder / "arbor-build-catalogue"
    build.write_text(BUILD.format(python=sys.executable, script=script))
    build.chmod(0o755)
    os.environ["AXOBENCH_ARBOR_BUILD_CATALOGUE"] = str(build.resolve())
    paths = [str(Path(arbor.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    if tuple(map(int, arbor.__version__.split(".")[:2])) >= (0, 12):  # takes a length with its unit
        policy = arbor.cv_policy_max_extent
        arbor.cv_policy_max_extent = lambda length: policy(length * arbor.units.um)


def generate(folder: Path, split: str, traces: int, step_ms: float) -> list[Path]:
    """Traces of AxoBench's Arbor generator, in folders of a few; those that are there are kept.

    Args:
        folder: Where the splits lie.
        split: Which of `SEEDS`.
        traces: How many, 6 s each. The scored split lies in one folder, as AxoBench's reader wants it.
        step_ms: Step of the integration.
    """
    from axobench.generation.arbor_sim import ArborHeteroConfig, write_arbor_hetero_dataset

    config = ArborHeteroConfig(
        input_protocol="neuronio_smoothed",
        synapse_routing="branch",
        integration_dt_ms=step_ms,
        arbor_gpu_id=None,
        sim_batch_size=PART,
        time_steps=STEPS,
    )
    several = split != "val"
    size = PART if several else traces
    parts = [
        folder / split / f"part-{number:03d}" if several else folder / split
        for number in range(traces // size)
    ]
    for number, part in enumerate(parts):
        if not (part / "generation_report.json").exists():
            seed = SEEDS[split] + number
            report = write_arbor_hetero_dataset(
                part, samples=size, seed=seed, config=config, param_overrides=CELL
            )
            say(f"{part}: {report['mean_spike_rate_hz']:.1f} Hz, {report['elapsed_seconds']:.0f} s")
    return parts


def wiring(part: Path) -> Int64[np.ndarray, "channels"]:
    """Input of the neuron for each of AxoBench's channels: those that end on one place of the cell follow each other.

    A place has 14 or 15 excitatory channels, and as many inhibitory ones; a branch has 15 synapses, one at most of them silent.
    """
    manifest = json.loads((part / "manifest.json").read_text(encoding="utf-8"))
    place = np.array(manifest["simulator"]["routing"]["channel_event_routing"])
    branch = place + BRANCHES // 2 * (np.arange(CHANNELS) >= CHANNELS // 2)
    order = np.argsort(branch, kind="stable")
    first = np.searchsorted(branch[order], np.arange(BRANCHES))
    position = np.empty(CHANNELS, dtype=np.int64)
    position[order] = branch[order] * SYNAPSES + np.arange(CHANNELS) - first[branch[order]]
    return position


def for_channels(surrogate: Surrogate, position: Int64[np.ndarray, "channels"]) -> Surrogate:
    """The same neuron for AxoBench's channels as they come: its synapses lead from these, and silent ones are cut."""
    channel = torch.full((BRANCHES * SYNAPSES,), -1)
    channel[torch.from_numpy(position)] = torch.arange(CHANNELS)
    weights = surrogate.neuron.state_dict()
    shape = weights["synapses.indices"].shape
    weights["synapses.indices"] = channel.clamp(min=0).view(shape)
    weights["synapses.connected"] = (channel >= 0).view(shape)
    neuron = ulmus.ELM(**{**surrogate.neuron.config, "inputs": CHANNELS, "routing": "random"})
    neuron.load_state_dict(weights)
    return Surrogate(neuron, units=surrogate.units, spike_threshold=surrogate.spike_threshold)


def traces_of(
    parts: Sequence[Path],
) -> tuple[Int8[np.ndarray, "traces time inputs"], Float[np.ndarray, "traces time 2"]]:
    """Signed input, and spikes beside the scaled voltage, which is not clipped."""
    shards = [np.load(shard) for part in parts for shard in sorted(part.glob("*.npz"))]
    inputs, targets = (np.concatenate([shard[key] for shard in shards]) for key in ("inputs", "targets"))
    return inputs, targets


def convert(parts: Sequence[Path], destination: Path) -> Store:
    """Trials of AxoBench's shards, as a store to train on.

    AxoBench's label of step k is a spike between the samples k - 1 and k; in a store, that of step k is one from k + 1/2 to
    k + 3/2 ms. Times are chosen so that labels stay where they are.
    """
    if (destination / "store.json").exists():
        return Store(destination)
    inputs, targets = traces_of(parts)
    position = wiring(parts[0])
    voltage = targets[..., 1] / 0.1 - 67.7
    event_trial, event_ms, event_input = np.nonzero(inputs)
    spike_trial, spike_step = np.nonzero(targets[..., 0] > 0.5)
    destination.parent.mkdir(parents=True, exist_ok=True)
    file, mapping = destination.with_suffix(".npz"), destination.with_suffix(".yaml")
    columns = {
        "event_trial": event_trial,
        "event_ms": event_ms.astype(float),
        "event_input": position[event_input],
    }
    columns |= {"spike_trial": spike_trial, "spike_ms": spike_step + 1.0, "voltage_mv": voltage}
    np.savez(file, **columns)
    mapping.write_text(MAPPING)
    return convert_recordings(file, destination, mapping=mapping)


def answers(
    surrogate: Surrogate, inputs: Int8[np.ndarray, "traces time channels"]
) -> Float[np.ndarray, "traces time 2"]:
    """Spike logit and scaled voltage; AxoBench's scale is that of NeuronIO, and Ulmus' too."""
    pieces = [
        torch.from_numpy(inputs[first : first + PART].astype(np.float32))
        for first in range(0, len(inputs), PART)
    ]
    with torch.inference_mode():
        return np.concatenate([surrogate(as_events(piece)).numpy() for piece in pieces])


def peaks_alone(
    answered: Float[np.ndarray, "traces time 2"], distance: int
) -> Float[np.ndarray, "traces time 2"]:
    """The same with the spike logit at its peaks alone, and far below everywhere else.

    AxoBench chooses the threshold at which as many *steps* are above it as there are spikes, and then counts *peaks*: a smooth
    logit, above the threshold for some steps at each spike, is given a threshold that is too high.
    """
    from axobench.metrics import spike_event_peaks

    peaks = spike_event_peaks(answered[..., 0], refractory_steps=distance)
    only = answered.copy()
    only[..., 0] = np.where(peaks, answered[..., 0], answered[..., 0].min() - 100)
    return only


def at_peaks(surrogate: Surrogate, distance: int, inputs: Any) -> Float[np.ndarray, "traces time 2"]:
    """What a surrogate says of AxoBench's input, see `peaks_alone`."""
    return peaks_alone(answers(surrogate, inputs), distance)


def mean_f1(
    answered: Float[np.ndarray, "traces time 2"], targets: Float[np.ndarray, "traces time 2"]
) -> float:
    """AxoBench's mean F1 over 0 to 5 ms, with the threshold that gives as many spikes as there are, after half a second."""
    from axobench.metrics import event_count_matched_threshold, spike_f1_curve

    logit, spikes = answered[:, IGNORED:, 0], targets[:, IGNORED:, 0]
    threshold = event_count_matched_threshold(logit, int(spikes.sum()))
    return float(spike_f1_curve(logit, spikes, threshold=threshold)["mean_f1"])


def score(
    name: str,
    predict: Callable[[Any], Any],
    root: Path,
    traces: tuple[Int8[np.ndarray, "traces time channels"], Float[np.ndarray, "traces time 2"]],
    parameters: int | None = None,
) -> tuple[Row, dict[str, Any]]:
    """`axobench.benchmark.evaluate_model` with its defaults: the first quarter of the traces calibrates, the rest is scored."""
    from axobench.benchmark import evaluate_model

    report = evaluate_model(predict, dataset_root=root, model_id=name, max_samples=len(traces[0]))
    values = {metric["id"]: metric["value"] for metric in report["metrics"]}
    counts = report["spike_f1_curve"][0]
    first = report["calibration_samples"]
    low, high = _interval(predict(traces[0])[first:], traces[1][first:], report["spike_threshold"])
    row = Row(
        name,
        parameters,
        values["spike_mean_f1_0_5ms"],
        low,
        high,
        values["spike_f1_exact"],
        values["spike_f1_5ms"],
        (counts["tp"] + counts["fp"]) / (counts["tp"] + counts["fn"]),
        values["voltage_sera_iron_per_spike_mv2"],
        values["subthreshold_rmse_mv"],
    )
    return row, report


def _interval(
    answered: Float[np.ndarray, "traces time 2"],
    targets: Float[np.ndarray, "traces time 2"],
    threshold: float,
) -> tuple[float, float]:
    """Where 95 % of the mean F1 of resampled traces lie."""
    from axobench.metrics import spike_f1_curve

    random, (logit, spikes) = np.random.default_rng(0), (part[:, IGNORED:, 0] for part in (answered, targets))
    drawn = random.integers(len(logit), size=(200, len(logit)))
    found = [spike_f1_curve(logit[some], spikes[some], threshold=threshold)["mean_f1"] for some in drawn]
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def neuron_steps(surrogate: Surrogate, inputs: Int8[np.ndarray, "traces time channels"]) -> dict[str, float]:
    """Neuron-steps in a second of CPU time on one core, as AxoBench counts them: 32 sequences of 500 steps of 1,278 float32.

    Beside them those for the same input as events.
    """
    pieces = np.concatenate([inputs[:, first : first + 500] for first in range(0, STEPS, 500)])[:32]
    dense = torch.from_numpy(pieces.astype(np.float32))
    ways = {"dense": dense, "events": as_events(dense)}
    return {name: 32 * 500 / _seconds(lambda given=given: surrogate(given)) for name, given in ways.items()}


def _seconds(way: Callable[[], Any]) -> float:
    """Median CPU time of a call, after one that compiles."""
    seconds = []
    with torch.inference_mode():
        way()
        for _ in range(CALLS):
            began = time.process_time()
            way()
            seconds.append(time.process_time() - began)
    return statistics.median(seconds)


def axobench_elm(
    recipe: str = "l5pc-small",
    *,
    folder: Path,
    train: int = 92,
    validation: int = 8,
    held_out: int = 24,
    steps: int = 15_000,
    memory: int = 20,
    seed: int = 0,
    step_ms: float = 0.1,
    checkpoints: tuple[Path, ...] = (),
    out: Path | None = None,
) -> None:
    """Generate, train, score, time.

    Args:
        recipe: Recipe to train.
        folder: Where data, runs and scores go; not into a repository.
        train: Traces to learn from, a multiple of 4.
        validation: Traces that choose the checkpoint, a multiple of 4.
        held_out: Traces for AxoBench: a quarter sets the threshold, the rest is scored.
        steps: Optimiser steps.
        memory: Memory units.
        seed: Of the weights and batches.
        step_ms: Step of the integration in the simulator.
        checkpoints: Folders of authors' checkpoints, to be scored beside it.
        out: JSON file for the results.
    """
    for option, count in {"validation": validation, "train": train, "held-out": held_out}.items():
        if count < PART or count % PART:
            raise ConfigError(f"--{option} {count}: expected a multiple of {PART} traces, at least {PART}.")
    counts = {"validation": validation, "train": train, "val": held_out}
    try:
        import axobench  # noqa: F401
    except ImportError as error:
        raise MissingToolError(
            "AxoBench is not installed; expected pip install 'axobench[sim]==0.2.1'."
        ) from error
    torch.set_num_threads(1)
    made = f"{step_ms:g}ms"
    data = folder / f"data-{made}-{held_out}"
    data.mkdir(parents=True, exist_ok=True)
    _prepare_arbor(folder)
    parts = {split: generate(data, split, traces, step_ms) for split, traces in counts.items()}
    stores = {
        split: folder / f"{split}-{made}-{count}"
        for split, count in (("train", train), ("validation", validation))
    }
    for split, store in stores.items():
        convert(parts[split], store)
    run = folder / f"run-{recipe}-{memory}-{made}-{train}-{validation}-{steps}-{seed}"
    settings = {
        "data.train": str(stores["train"]),
        "data.validation": str(stores["validation"]),
        "model.memory": memory,
        "model.branches": BRANCHES,
        "model.synapses_per_branch": SYNAPSES,
        "model.routing": "dense",
        "training.steps": steps,
        "training.validate_every": max(1, steps // 10),
        "seed": seed,
    }
    if not (Run(run).exists() and Run(run).finished()):
        ulmus.fit(ulmus.load_recipe(recipe, settings), run, resume=Run(run).exists())
    surrogate = for_channels(ulmus.load(run), wiring(parts["train"][0]))
    known, wanted = traces_of(parts["validation"])
    guessed = answers(surrogate, known)
    distance = max(DISTANCES, key=lambda steps: mean_f1(peaks_alone(guessed, steps), wanted))

    neurons = {"ELM": surrogate, **{place.name: ulmus.import_official(place) for place in checkpoints}}
    candidates: list[tuple[str, int | None, Callable[[Any], Any]]] = []
    for name, neuron in neurons.items():
        size = neuron.trainable_parameters()
        candidates += [(name, size, partial(at_peaks, neuron, distance))]
        candidates += [(f"{name}, every step", size, partial(answers, neuron))]
    candidates += [
        ("next trace", None, lambda inputs: np.roll(at_peaks(surrogate, distance, inputs), 1, axis=0))
    ]
    held = traces_of(parts["val"])
    rows, reports = [], {}
    for name, parameters, function in candidates:
        row, reports[name] = score(name, function, data, held, parameters)
        rows.append(row)
    speed = neuron_steps(surrogate, held[0])
    cells = [
        tuple(f"{value:.3f}" if isinstance(value, float) else str(value) for value in row) for row in rows
    ]
    print_table("AxoBench", cells, ("", *Row._fields[1:]))
    print_table(
        "Million neuron-steps a second on one core",
        [(way, f"{value / 1e6:.3f}") for way, value in speed.items()],
    )
    if out is not None:
        found: dict[str, Any] = {
            "rows": [row._asdict() for row in rows],
            "neuron_steps_per_second": speed,
            "peak_distance": distance,
        }
        found |= {"training_cpu_seconds": Run(run).cpu_seconds(), "traces": counts, "step_ms": step_ms}
        write_json(out, {**found, "settings": settings, "reports": reports})


if __name__ == "__main__":
    start(axobench_elm)
