"""Ten detailed layer-5 cells that are connected, beside the same network of fitted neurons: where they agree and where they part.

    python benchmarks/network_validation.py --morphology cell1.asc --out benchmarks/results/network-validation.json

Every piece is 6 s of a network with wiring and input of its own, from rest; the first 500 ms are not counted. Detailed pieces are
kept in a folder (about 70 s of CPU time each), so that a killed run goes on.

For each number of contacts there are three rows: the detailed network, the network of fitted neurons, and fitted neurons that
receive what the detailed cells received (`open loop`): what they predict there does not feed back, so it shows what the neuron
itself gets wrong. Intervals are bootstrapped over pieces.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from common import start, write
from detailed_network import CELLS, INHIBITORY, Activity, Wires, background, kept_detailed, received, wires
from rich.table import Table

import ulmus
from ulmus.cli.console import console, say
from ulmus.neuron import load_surrogate
from ulmus.populations import Cells, FromList
from ulmus.teachers import L5PC, Drive, load_morphology

STEPS, SKIP_MS = 6000, 500.0
LIMITS_95 = (0.025, 0.975)
BIN_MS, SLOW_BIN_MS, BURST_MS, AFTER_MS = 10.0, 100.0, 10.0, 10.0


class Piece(NamedTuple):
    """One piece: what was put in, and what three ways of computing made of it."""

    inputs: int
    outside: list[Drive]
    wiring: Wires
    detailed: Activity
    fitted: Activity
    open_loop: Activity


class ValidationRow(NamedTuple):
    """One network, computed one way; every measure with the ends of its 95 % interval."""

    contacts: int
    what: str
    pieces: int
    seconds: float
    """Biological, counted, of one cell times cells."""
    spikes: int
    measures: dict[str, list[float | None]]


def fitted_network(surrogate: ulmus.Surrogate, outside: list[Drive], wiring: Wires) -> Activity:
    """The same network of fitted neurons."""
    net = ulmus.Population([Cells(surrogate, CELLS)])
    pairs = FromList(np.stack([wiring.source, wiring.target], axis=1), wiring.input)
    net.connect("cells", "cells", pairs, delay_ms=wiring.delay_ms.astype(float))
    return _run(net, outside)


def open_loop(surrogate: ulmus.Surrogate, outside: list[Drive], inside: list[Drive]) -> Activity:
    """Fitted neurons that receive what the detailed ones received."""
    both = [
        Drive(*(np.concatenate([one[part], other[part]]) for part in (0, 1)), STEPS, None)  # type: ignore[misc]
        for one, other in zip(outside, inside, strict=True)
    ]
    return _run(ulmus.Population([Cells(surrogate, CELLS)]), both)


def _run(net: ulmus.Population, drives: list[Drive]) -> Activity:
    step, place = (np.concatenate([drive[part] for drive in drives]) for part in (0, 1))
    cell = np.repeat(np.arange(CELLS), [len(drive.event_step) for drive in drives])
    told = net.run(STEPS, events=(step, cell, place), record=range(CELLS))
    return Activity(told.spike_time_ms, told.spike_neuron, told.voltage_mv[:, :, 0].T)


def trains_of(activity: Activity) -> list[np.ndarray]:
    """Counted spikes of every cell."""
    counted = activity.time_ms >= SKIP_MS
    return [np.sort(activity.time_ms[counted & (activity.cell == cell)]) for cell in range(CELLS)]


def _counts(trains: list[np.ndarray], bin_ms: float) -> np.ndarray:
    edges = np.arange(SKIP_MS, STEPS + bin_ms / 2, bin_ms)
    return np.stack([np.histogram(train, edges)[0] for train in trains]).astype(float)


def measured(pieces: list[Piece], what: str) -> dict[str, float]:
    """What a network does, over these pieces together."""
    trains = [trains_of(getattr(piece, what)) for piece in pieces]
    seconds = (STEPS - SKIP_MS) / 1000
    intervals = np.concatenate([np.diff(train) for cells in trains for train in cells])
    found = {"rate_hz": float(np.mean([len(train) for cells in trains for train in cells]) / seconds)}
    found["interval_median_ms"] = float(np.median(intervals))
    found["intervals_under_10_ms"] = float((intervals <= BURST_MS).mean())
    found["interval_cv"] = float(intervals.std() / intervals.mean())
    for name, bin_ms in (("10_ms", BIN_MS), ("100_ms", SLOW_BIN_MS)):
        counts = [_counts(cells, bin_ms) for cells in trains]
        alone = sum(one.var(axis=1).sum() for one in counts)
        found[f"synchrony_{name}"] = float(sum(one.sum(axis=0).var() for one in counts) / alone)
        found[f"correlation_{name}"] = float(np.mean([_mean_correlation(one) for one in counts]))
    if len(pieces[0].wiring.source):
        found["spikes_after_a_volley"] = float(
            np.mean([_after(p, t) for p, t in zip(pieces, trains, strict=True)])
        )
    return found


def compared(pieces: list[Piece], what: str) -> dict[str, float]:
    """How near to the detailed network another way of computing it comes, over these pieces together."""
    from ulmus.evaluation.metrics import matched_spikes

    hits = recorded = predicted = 0
    squares: dict[str, list[np.ndarray]] = {"after_a_volley": [], "else": []}
    wanted_counts, found_counts, wanted_intervals, found_intervals = [], [], [], []
    for piece in pieces:
        wanted, found = trains_of(piece.detailed), trains_of(getattr(piece, what))
        near = _after_volleys(piece)
        clip = np.minimum(piece.detailed.voltage_mv, -55.0)
        errors = (getattr(piece, what).voltage_mv - clip) ** 2
        counted = np.arange(STEPS) >= SKIP_MS
        squares["after_a_volley"].append(errors[near & counted])
        squares["else"].append(errors[~near & counted])
        for one, other in zip(wanted, found, strict=True):
            hits += len(matched_spikes(one, other, 2.0))
            recorded, predicted = recorded + len(one), predicted + len(other)
            wanted_counts.append(len(one))
            found_counts.append(len(other))
            wanted_intervals.append(np.diff(one))
            found_intervals.append(np.diff(other))
    told = {"rate_correlation": float(np.corrcoef(wanted_counts, found_counts)[0, 1])}
    told["interval_distance"] = _largest_difference(
        np.concatenate(wanted_intervals), np.concatenate(found_intervals)
    )
    if what == "fitted":
        return told  # its cells have a history of their own, so that single moments cannot agree
    told["f1_2ms"] = 2 * hits / max(1, recorded + predicted)
    for name, parts in squares.items():
        joined = np.concatenate(parts)
        if len(joined):
            told[f"rmse_mv_{name}"] = float(np.sqrt(joined.mean()))
    return told


def departed(pieces: list[Piece]) -> dict[str, float]:
    """How far the input of the detailed network leaves that which the neurons were trained on."""
    outside = np.concatenate([_excitatory(piece, piece.outside) for piece in pieces])
    inside = np.concatenate(
        [_excitatory(piece, received(piece.detailed, piece.wiring, STEPS)) for piece in pieces]
    )
    most = np.quantile(outside, 0.9999)
    return {
        "events_per_ms_outside": float(outside.mean()),
        "events_per_ms_recurrent": float(inside.mean()),
        "one_in_10000_ms_outside": float(most),
        "share_of_ms_above_it": float((outside + inside > most).mean()),
        "most_events_in_a_ms": float((outside + inside).max()),
        "most_outside_in_a_ms": float(outside.max()),
    }


def _excitatory(piece: Piece, drives: list[Drive]) -> np.ndarray:
    """Excitatory events in every ms of every cell."""
    steps = [drive.event_step[drive.event_input < piece.inputs // 2] for drive in drives]
    return np.stack([np.bincount(one, minlength=STEPS) for one in steps])


def _mean_correlation(counts: np.ndarray) -> float:
    active = counts[counts.std(axis=1) > 0]
    pairs = np.corrcoef(active)[np.triu_indices(len(active), 1)]
    return float(pairs.mean())


def _volleys(piece: Piece, trains: list[np.ndarray]) -> list[tuple[int, np.ndarray]]:
    """Connected excitatory pairs: the target, and when volleys reach it."""
    links = {
        (int(source), int(target), int(delay))
        for source, target, _, delay in zip(*piece.wiring, strict=True)
        if source < CELLS - INHIBITORY
    }
    return [(target, trains[source] + delay) for source, target, delay in sorted(links)]


def _after(piece: Piece, trains: list[np.ndarray]) -> float:
    """Spikes of a target within 10 ms after a volley reached it, less those 50 ms later, when it has passed."""
    more, volleys = 0.0, 0
    for target, times in _volleys(piece, trains):
        for late, sign in ((0.0, 1), (50.0, -1)):
            low, high = (np.searchsorted(trains[target], times + late + end) for end in (0.0, AFTER_MS))
            more += sign * float((high - low).sum())
        volleys += len(times)
    return more / max(1, volleys)


def _after_volleys(piece: Piece) -> np.ndarray:
    """Which ms of which detailed cell are within 20 ms after an excitatory volley."""
    near = np.zeros((CELLS, STEPS + 20), dtype=bool)
    for target, times in _volleys(
        piece, [piece.detailed.time_ms[piece.detailed.cell == cell] for cell in range(CELLS)]
    ):
        for time in np.rint(times).astype(int):
            near[target, time : time + 20] = True
    return near[:, :STEPS]


def _largest_difference(one: np.ndarray, other: np.ndarray) -> float:
    joined = np.concatenate([one, other])
    shares = [
        np.searchsorted(np.sort(values), joined, side="right") / max(1, len(values))
        for values in (one, other)
    ]
    return float(np.abs(shares[0] - shares[1]).max())


def with_intervals(measure: Any, pieces: list[Piece], resamples: int) -> dict[str, list[float | None]]:
    """Measures of all pieces, and the ends of their 95 % intervals (bootstrap over pieces)."""
    whole, draw = measure(pieces), np.random.default_rng(0)
    drawn = [
        measure([pieces[k] for k in draw.integers(len(pieces), size=len(pieces))]) for _ in range(resamples)
    ]
    ends = {name: np.nanquantile([one.get(name, np.nan) for one in drawn], LIMITS_95) for name in whole}
    return {name: [_rounded(value), *map(_rounded, ends[name])] for name, value in whole.items()}


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else float(f"{value:.4g}")


def rows_of(contacts: int, pieces: list[Piece], resamples: int) -> list[ValidationRow]:
    """The three rows of one number of contacts."""
    seconds = len(pieces) * CELLS * (STEPS - SKIP_MS) / 1000
    rows = []
    for what in ("detailed", "fitted", "open_loop"):
        measures = with_intervals(lambda some, what=what: measured(some, what), pieces, resamples)
        if what == "detailed":
            measures |= with_intervals(departed, pieces, resamples)
        else:
            measures |= with_intervals(lambda some, what=what: compared(some, what), pieces, resamples)
        spikes = sum(len(train) for piece in pieces for train in trains_of(getattr(piece, what)))
        rows.append(ValidationRow(contacts, what, len(pieces), seconds, spikes, measures))
    return rows


def network_validation(
    neuron: str = "l5pc-branch-20",
    *,
    morphology: Path,
    contacts: tuple[int, ...] = (0, 20, 40),
    pieces: int = 4,
    kept: Path = Path("network-validation"),
    resamples: int = 100,
    out: Path | None = None,
) -> None:
    """Compare a network of detailed cells with one of fitted neurons.

    Args:
        neuron: Fitted neuron, of the cell with this morphology.
        morphology: Reconstruction of the cell.
        contacts: Contacts of a connected pair.
        pieces: How many pieces for each number of contacts.
        kept: Folder for the detailed pieces.
        resamples: Of the bootstrap.
        out: JSON file to write.
    """
    surrogate, teacher = load_surrogate(neuron), L5PC(load_morphology(morphology))
    rows, spent = [], 0.0
    drawn = [background(teacher, STEPS, number) for number in range(pieces)]
    for count in contacts:
        done = []
        for number in range(pieces):
            say(f"{count} contacts, piece {number + 1} of {pieces}")
            outside = drawn[number]
            wiring = wires(surrogate.neuron.inputs, count, number)
            detailed, seconds = kept_detailed(
                kept, f"contacts-{count}-piece-{number}", teacher, outside, wiring
            )
            spent += seconds
            inside = received(detailed, wiring, STEPS)
            fitted = fitted_network(surrogate, outside, wiring)
            done.append(
                Piece(
                    surrogate.neuron.inputs,
                    outside,
                    wiring,
                    detailed,
                    fitted,
                    open_loop(surrogate, outside, inside),
                )
            )
        rows += rows_of(count, done, resamples)
    for row in rows:
        shown = Table(
            "measure", "value", "95 %", title=f"{row.contacts} contacts, {row.what}: {row.spikes} spikes"
        )
        for name, (value, low, high) in row.measures.items():
            shown.add_row(name, f"{value}", f"{low} to {high}")
        console.print(shown)
    say(f"detailed cells took {spent:.0f} s of CPU time")
    write(rows, out)


if __name__ == "__main__":
    start(network_validation)
