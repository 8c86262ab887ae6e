"""Where a fitted neuron fails: by kind of spike, kind of time and kind of trial, and its worst moments."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from ulmus.evaluation.intervals import Counts, interval, resampled
from ulmus.evaluation.metrics import intervals_within, largest_difference, near_spikes
from ulmus.evaluation.predictions import Predictions, Protocol
from ulmus.trials import TrialSource
from ulmus.trials.spike_matching import matched_spikes

BURST_MS = 10.0
"""Spikes this close belong to a burst: 100 Hz or more, as for thick-tufted cells in de Kock and Sakmann, J Physiol 2008."""
SPIKE_KINDS = ("isolated", "burst_first", "burst_later")

PLATEAU_MS = 20.0
"""A plateau lasts this long or longer."""
MEDIAN_MS = 11.0
"""Running median that takes spikes and the undershoot after them out of a voltage before plateaus are looked for."""
PLATEAU_BELOW_CLIP_MV = 3.0
"""A plateau stays above the voltage at which spikes are cut off minus this (-58 mV, where the layer-5 cell fires), unless the
recipe says another level."""
NEIGHBOURHOOD_MS = 100.0
"""Time without a recorded spike this close is silent."""
TIME_KINDS = ("silent", "between_spikes", "plateau", "at_spikes")

TOLERANCE_MS = 3.0
"""How far a predicted spike may be from the recorded one that it stands for: less than half the shortest interval in a burst."""
MISSED_MS = 10.0
"""A spike without another one this close in the other train was missed, or made up; otherwise it was mistimed."""
CHANCE_MS = 100.0
"""How far predicted spikes are moved to see how many would be found at the same rate without timing."""
DRIVE_MS = 20.0
"""Bins in which the input of a trial is counted."""
MOMENT_MS = 300.0
_CROWD_MS = 150.0
_RESAMPLES = 300


def spike_kinds(times_ms: Float64[np.ndarray, "spikes"]) -> Int[np.ndarray, "spikes"]:
    """Kind of every spike of a train, an index into `SPIKE_KINDS`: a burst is two or more spikes 10 ms apart or less."""
    close = np.diff(times_ms) <= BURST_MS
    follows, leads = np.append(False, close)[: len(times_ms)], np.append(close, False)[: len(times_ms)]
    kinds: Int[np.ndarray, "spikes"] = np.where(follows, 2, np.where(leads, 1, 0))
    return kinds


def plateau_level_mv(predictions: Predictions) -> float:
    """What a plateau stays above."""
    return (
        predictions.clip_mv - PLATEAU_BELOW_CLIP_MV
        if predictions.plateau_mv is None
        else predictions.plateau_mv
    )


def plateaus(
    voltage_mv: Float[np.ndarray, "trials time"], level_mv: float, dt_ms: float
) -> Bool[np.ndarray, "trials time"]:
    """Steps in a plateau: the running median over 11 ms exceeds the level for 20 ms or longer without a break."""
    width = 2 * round(MEDIAN_MS / dt_ms / 2 - 0.5) + 1  # odd, so that nothing moves in time
    # The median of an odd number of values exceeds a level where more than half of them do.
    around = np.pad(voltage_mv > level_mv, ((0, 0), (width // 2, width // 2)), mode="edge")
    above = np.lib.stride_tricks.sliding_window_view(around, width, axis=1).sum(axis=2) > width // 2
    found = np.zeros(voltage_mv.shape, dtype=bool)
    for row, mine in zip(found, above, strict=True):
        edges = np.diff(np.concatenate([[0], mine, [0]]).astype(np.int8))
        for start, stop in zip(np.flatnonzero(edges > 0), np.flatnonzero(edges < 0), strict=True):
            row[start:stop] = (stop - start) * dt_ms >= PLATEAU_MS
    return found


def time_kinds(
    voltage_mv: Float[np.ndarray, "trials time"],
    spikes_ms: Sequence[Float64[np.ndarray, "spikes"]],
    level_mv: float,
    first_ms: float,
    dt_ms: float,
) -> Int[np.ndarray, "trials time"]:
    """Kind of every step, an index into `TIME_KINDS`.

    In this order: within 5 ms of a recorded spike, in a plateau, within 100 ms of a recorded spike, silent.

    Args:
        voltage_mv: Recorded voltage, cut off or not.
        spikes_ms: Recorded spikes of every trial.
        level_mv: What a plateau stays above.
        first_ms: Time of the first step.
        dt_ms: Duration of a step.
    """
    steps = voltage_mv.shape[1]
    kinds: Int[np.ndarray, "trials time"] = np.zeros(voltage_mv.shape, dtype=np.int64)
    kinds[near_spikes(spikes_ms, steps, first_ms, dt_ms, NEIGHBOURHOOD_MS)] = 1
    kinds[plateaus(voltage_mv, level_mv, dt_ms)] = 2
    kinds[near_spikes(spikes_ms, steps, first_ms, dt_ms)] = 3
    return kinds


class KindScores:
    """Scores by kind of spike and of time for any resample of the trials, from what each trial contributes.

    Args:
        predictions: Predicted and recorded trials.
        keep: Trials that count.
        skip: Steps at the beginning that do not count.
        dt_ms: Duration of a step.
    """

    def __init__(
        self, predictions: Predictions, keep: Bool[np.ndarray, "all"], skip: int, dt_ms: float
    ) -> None:
        self._parts: dict[str, Float64[np.ndarray, "trials"]] = {}
        self._wholes: dict[str, Float64[np.ndarray, "trials"]] = {}
        chosen, first_ms = np.flatnonzero(keep), skip * dt_ms
        recorded = [predictions.spike_times_ms[k] for k in chosen]
        predicted = [predictions.predicted_times_ms[k] for k in chosen]
        if predictions.has_spikes:
            self._add_chance(recorded, predicted, first_ms)
            self._add_spikes("recall", "found", recorded, predicted, first_ms)
            self._add_spikes("precision", "backed", predicted, recorded, first_ms)
        if not predictions.has_voltage:
            return
        voltage = predictions.recorded_mv[keep, skip:, 0]
        error = predictions.voltage_mv[keep, skip:, 0].astype(np.float64) - voltage
        there, error = np.isfinite(error), np.nan_to_num(error)
        kinds = time_kinds(voltage, recorded, plateau_level_mv(predictions), first_ms, dt_ms)
        for number, name in enumerate((*TIME_KINDS, "all")):
            if not predictions.has_spikes and name not in ("plateau", "all"):
                continue  # which time is silent is not known
            inside = there if name == "all" else (kinds == number) & there
            for score, values in (("rmse", error**2), ("bias", error)):
                self._add(f"{score}_{name}_mv", (values * inside).sum(axis=1), inside.sum(axis=1))

    def _add(self, key: str, part: Float[np.ndarray, "trials"], whole: Float[np.ndarray, "trials"]) -> None:
        self._parts[key], self._wholes[key] = part.astype(np.float64), whole.astype(np.float64)

    def _add_spikes(
        self,
        matched_name: str,
        near_name: str,
        mine_ms: list[Float64[np.ndarray, "mine"]],
        others_ms: list[Float64[np.ndarray, "others"]],
        first_ms: float,
    ) -> None:
        """Which spikes of a train have a partner in the other one, and which have at least any spike of it nearby."""
        number, matched, near = (np.zeros((len(mine_ms), len(SPIKE_KINDS))) for _ in range(3))
        for trial, (mine, others) in enumerate(zip(mine_ms, others_ms, strict=True)):
            counted, counted_others = mine[mine >= first_ms], others[others >= first_ms]
            # Spikes that do not count still tell of which kind their neighbours are.
            kinds = spike_kinds(mine)[mine >= first_ms]
            partners = matched_spikes(counted, counted_others, TOLERANCE_MS)[:, 0]
            close = distance(counted, counted_others) <= MISSED_MS
            for table, kind in ((number, kinds), (matched, kinds[partners]), (near, kinds[close])):
                table[trial] = np.bincount(kind, minlength=len(SPIKE_KINDS))
        for column, kind in enumerate((*SPIKE_KINDS, "all")):
            take = slice(None) if kind == "all" else [column]
            whole = number[:, take].sum(axis=1)
            self._add(f"{matched_name}_{TOLERANCE_MS:g}ms_{kind}", matched[:, take].sum(axis=1), whole)
            self._add(f"{near_name}_{MISSED_MS:g}ms_{kind}", near[:, take].sum(axis=1), whole)

    def _add_chance(
        self,
        recorded_ms: list[Float64[np.ndarray, "recorded"]],
        predicted_ms: list[Float64[np.ndarray, "predicted"]],
        first_ms: float,
    ) -> None:
        """How many recorded spikes are found by predicted ones that were moved, earlier or later."""
        recorded = [times[times >= first_ms] for times in recorded_ms]
        found = [
            sum(
                len(matched_spikes(a, b[b >= first_ms] + shift, TOLERANCE_MS))
                for shift in (-CHANCE_MS, CHANCE_MS)
            )
            for a, b in zip(recorded, predicted_ms, strict=True)
        ]
        key = f"chance_recall_{TOLERANCE_MS:g}ms"
        self._add(key, np.array(found), np.array([2 * len(times) for times in recorded]))

    def at(self, counts: Counts) -> dict[str, float | None]:
        """Scores when trial k is taken ``counts[k]`` times; None where there is nothing of that kind.

        - ``recall_3ms_KIND``: share of recorded spikes of a kind of `SPIKE_KINDS` that have a predicted one within
          3 ms, one to one; ``found_10ms_KIND``: that have any predicted one within 10 ms, be it that of another spike.
        - ``chance_recall_3ms``: what the recall of all spikes would be had the predicted ones come 100 ms earlier or later.
        - ``precision_3ms_KIND``, ``backed_10ms_KIND``: the same of predicted spikes.
        - ``rmse_KIND_mv``, ``bias_KIND_mv``: root mean square and mean of predicted minus recorded voltage over the
          steps of a kind of `TIME_KINDS`.

        In place of a kind stands ``all`` where all count.
        """
        values: dict[str, float | None] = {}
        for key, part in self._parts.items():
            whole = float(counts @ self._wholes[key])
            value = float(counts @ part) / whole if whole else None
            values[key] = float(np.sqrt(value)) if value is not None and key.startswith("rmse") else value
        return values

    def number(self, key: str, counts: Counts) -> int:
        """How many spikes or steps a score is taken over."""
        return int(counts @ self._wholes[key])


def distance(
    times_ms: Float64[np.ndarray, "times"], train_ms: Float64[np.ndarray, "train"]
) -> Float64[np.ndarray, "times"]:
    """Time from each of these times to the nearest spike of a train; infinite where it has none."""
    padded = np.concatenate([[-np.inf], train_ms, [np.inf]])
    after = np.searchsorted(padded, times_ms)
    nearest: Float64[np.ndarray, "times"] = np.minimum(padded[after] - times_ms, times_ms - padded[after - 1])
    return nearest


class Measure(NamedTuple):
    """A score, its 95 % bootstrap interval over trials, and how many spikes or steps it is taken over."""

    value: float | None
    interval: tuple[float, float] | None
    number: int


class TrialGroup(NamedTuple):
    """Trials that have something in common, and how well they are predicted."""

    family: str
    label: str
    trials: int
    measures: dict[str, Measure]
    """By the keys of `KindScores.at`."""
    isi_distance: float | None
    """Of recorded and predicted inter-spike intervals, see `SpikeMetrics.at`; None where one has none."""


class Moment(NamedTuple):
    """A stretch of a trial to look at, `MOMENT_MS` long or as long as the trial."""

    reason: str
    trial: int
    start_ms: float
    stop_ms: float


class Failures(NamedTuple):
    """Where a surrogate fails on a set of trials; spikes have no part in it where they were not recorded or predicted.

    Attributes:
        measures: over all trials that count, by the keys of `KindScores.at`.
        groups: the same for trials of one firing rate or input; none where there are fewer than nine trials.
        recorded_count: spikes of every trial that counts.
        predicted_count: the same of the surrogate.
        recorded_intervals_ms: inter-spike intervals.
        predicted_intervals_ms: the same of the surrogate.
        plateau_mv: voltage that a plateau stays above.
        moments: the worst three, as far as there are some.
    """

    measures: dict[str, Measure]
    groups: tuple[TrialGroup, ...]
    recorded_count: Int[np.ndarray, "trials"]
    predicted_count: Int[np.ndarray, "trials"]
    recorded_intervals_ms: Float64[np.ndarray, "recorded"]
    predicted_intervals_ms: Float64[np.ndarray, "predicted"]
    plateau_mv: float
    moments: tuple[Moment, ...]


def failures(predictions: Predictions, trials: TrialSource, protocol: Protocol) -> Failures:
    """Where predictions of these trials fail; every trial counts.

    Args:
        predictions: What a surrogate said about the trials.
        trials: The trials.
        protocol: How they were predicted; its beginning of each trial does not count.
    """
    dt_ms = trials.header.dt_ms
    skip = round(protocol.skip_ms / dt_ms)
    everything = np.full(len(trials), True)
    scores = KindScores(predictions, everything, skip, dt_ms)
    recorded, predicted = (
        [times[times >= skip * dt_ms] for times in trains]
        for trains in (predictions.spike_times_ms, predictions.predicted_times_ms)
    )
    recorded_count, predicted_count = (
        np.array([len(times) for times in trains]) for trains in (recorded, predicted)
    )
    known = predictions.known
    seconds = np.maximum(known[:, skip:].sum(axis=1), 1) * dt_ms / 1000
    intervals_ms = intervals_within(recorded, known, dt_ms), intervals_within(predicted, known, dt_ms)
    rate_hz = recorded_count / seconds if predictions.has_spikes else None
    return Failures(
        _measures(scores, everything),
        _groups(scores, rate_hz, intervals_ms, trials, skip),
        recorded_count,
        predicted_count,
        np.concatenate(intervals_ms[0]),
        np.concatenate(intervals_ms[1]),
        plateau_level_mv(predictions),
        worst_moments(predictions, skip, dt_ms),
    )


def _measures(scores: KindScores, members: Bool[np.ndarray, "trials"]) -> dict[str, Measure]:
    once = members.astype(np.int64)
    samples = resampled(lambda counts: scores.at(counts * once), len(once), _RESAMPLES)
    return {
        key: Measure(value, None if value is None else interval(samples[key]), scores.number(key, once))
        for key, value in scores.at(once).items()
    }


def _groups(
    scores: KindScores,
    rate_hz: Float64[np.ndarray, "trials"] | None,
    intervals_ms: tuple[list[Float64[np.ndarray, "recorded"]], list[Float64[np.ndarray, "predicted"]]],
    trials: TrialSource,
    skip: int,
) -> tuple[TrialGroup, ...]:
    """Thirds of the trials by firing rate, and by mean and fluctuation of their input."""
    if len(trials) < 9:
        return ()
    drive = np.array([_drive(trials, index, skip) for index in range(len(trials))]).round(9)  # equal is equal
    found = []
    for family, values, unit in (
        *([] if rate_hz is None else [("firing rate", rate_hz, "Hz")]),
        ("mean of excitation minus inhibition", drive[:, 0], "events/ms"),
        ("fluctuation of excitation minus inhibition", drive[:, 1], "events/ms"),
    ):
        edges = np.quantile(values, [1 / 3, 2 / 3])
        third = np.searchsorted(edges, values, side="left")
        for number in np.unique(third):
            members = third == number
            low, high = values[members].min(), values[members].max()
            label = f"{low:.2g} to {high:.2g} {unit}" if high > low else f"{low:.2g} {unit}"
            a, b = (np.concatenate([part[k] for k in np.flatnonzero(members)]) for part in intervals_ms)
            isi = largest_difference(a, b) if a.size and b.size else None
            found.append(TrialGroup(family, label, int(members.sum()), _measures(scores, members), isi))
    return tuple(found)


def _drive(trials: TrialSource, index: int, skip: int) -> tuple[float, float]:
    """Mean, and standard deviation over bins of 20 ms, of excitatory minus inhibitory events per ms."""
    trial, header = trials.trial(index), trials.header
    width = max(1, round(DRIVE_MS / header.dt_ms))
    bins = max(0, trials.recorded_steps(index) - skip) // width
    sign = header.input_sign[trial.event_input].astype(np.float64)
    place = (trial.event_step - skip) // width
    inside = (place >= 0) & (place < bins)
    per_ms = np.bincount(place[inside], sign[inside], minlength=bins) / (width * header.dt_ms)
    return (float(per_ms.mean()), float(per_ms.std())) if bins else (0.0, 0.0)


def worst_moments(predictions: Predictions, skip: int, dt_ms: float) -> tuple[Moment, ...]:
    """The most missed spikes and the most false ones within 150 ms, and the largest error of the voltage over 150 ms.

    Of equal ones, the missed spikes that the surrogate gave the lowest probability and the false ones that it gave the
    highest. A moment is not shown twice.
    """
    steps = predictions.spikes.shape[1]
    length = min(round(MOMENT_MS / dt_ms), steps)
    found: list[Moment] = []

    def add(reason: str, candidates: list[tuple[float, int, float]]) -> None:
        for _, trial, middle_ms in sorted(candidates, reverse=True):
            start = int(np.clip(round(middle_ms / dt_ms) - length // 2, 0, steps - length))
            moment = Moment(reason, trial, start * dt_ms, (start + length) * dt_ms)
            if all(
                other.trial != trial or other.stop_ms <= moment.start_ms or moment.stop_ms <= other.start_ms
                for other in found
            ):
                found.append(moment)
                return

    if predictions.has_spikes:
        add("missed spikes", _crowds(predictions, skip, dt_ms, missed=True))
        add("false spikes", _crowds(predictions, skip, dt_ms, missed=False))
    if predictions.has_voltage:
        add("voltage", _voltage_errors(predictions, skip, dt_ms))
    return tuple(found)


def _crowds(
    predictions: Predictions, skip: int, dt_ms: float, *, missed: bool
) -> list[tuple[float, int, float]]:
    """How bad, trial and middle of every crowd of missed (or false) spikes that starts at one of them."""
    found = []
    for trial, pair in enumerate(
        zip(predictions.spike_times_ms, predictions.predicted_times_ms, strict=True)
    ):
        mine, others = pair if missed else pair[::-1]
        alone = mine[distance(mine, others) > MISSED_MS]
        alone = alone[alone >= skip * dt_ms]
        row = predictions.probability[trial]
        step = np.clip((alone / dt_ms).astype(np.int64) - 1, 0, len(row) - 1)
        for first in alone:
            crowd = (alone >= first) & (alone < first + _CROWD_MS)
            surprise = float(row[step[crowd]].mean())
            badness = crowd.sum() + (1 - surprise if missed else surprise) * 0.5
            found.append((float(badness), trial, float(alone[crowd].mean())))
    return found


def _voltage_errors(predictions: Predictions, skip: int, dt_ms: float) -> list[tuple[float, int, float]]:
    """Mean square error of the voltage in every stretch of 150 ms, trial, and its middle."""
    error = np.nan_to_num(predictions.voltage_mv - predictions.recorded_mv)[:, skip:, 0].astype(np.float64)
    width = min(max(1, round(_CROWD_MS / dt_ms)), error.shape[1])
    sums = np.cumsum(np.pad(error**2, ((0, 0), (1, 0))), axis=1)
    running = (sums[:, width:] - sums[:, :-width]) / width
    best = running.argmax(axis=1)
    return [
        (float(running[trial, start]), trial, (skip + start + width / 2) * dt_ms)
        for trial, start in enumerate(best)
    ]
