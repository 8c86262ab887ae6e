"""Predictions of whole trials under a named protocol."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int

from ulmus.errors import ConfigError, DataError, DivergedError, closest
from ulmus.kernels import Events
from ulmus.neuron import SignalUnits, Surrogate
from ulmus.neuron.evaluating import evaluating
from ulmus.neuron.files import shipped_neurons
from ulmus.neuron.spikes import rises, spike_logit, spike_times
from ulmus.trials import TrialSource, whole_trials
from ulmus.trials.trial import label_bins

TRIALS_AT_ONCE = 16


@dataclass(frozen=True)
class Protocol:
    """What is predicted from what, and which steps count.

    Attributes:
        name: How results are labelled.
        window_ms: Trials are cut into windows that each start at rest; None carries the state through the trial.
        overlap_ms: Beginning of each window whose prediction is taken from the window before.
        skip_ms: Beginning of every trial that does not count; under ``stream`` at most half of the shortest trial.
        most_spikes: Trials with more output spikes do not count; None keeps all.
        half_precision_times: Round spike times to float16 first, as they are in the published files.
        restandardise: Give the predicted voltage the mean and standard deviation of the recorded one before scoring, so
            that offset and scale do not count.
        nearest_rate: Read true positive rates at the nearest corner of the ROC curve, on either side of the false positive
            rate asked for, as the authors do; else the highest rate at no more false positives.
    """

    name: str
    window_ms: float | None = None
    overlap_ms: float = 0.0
    skip_ms: float = 500.0
    most_spikes: int | None = None
    half_precision_times: bool = False
    restandardise: bool = False
    nearest_rate: bool = False

    def fitted_to(self, trials: TrialSource) -> "Protocol":
        """This protocol with a beginning that does not count of at most half of the shortest trial."""
        if self.name != "stream":
            return self
        header = trials.header
        steps = min(map(trials.recorded_steps, range(len(trials)))) if header.gaps else header.steps
        return replace(self, skip_ms=min(self.skip_ms, steps // 2 * header.dt_ms))

    @property
    def scope(self) -> str:
        """What is scored, for a reader of the scores."""
        begin = f"first {self.skip_ms:g} ms"
        if self.window_ms is None:
            return f"whole trials from rest, {begin} of each not scored"
        return f"windows of {self.window_ms:g} ms, {begin} of each trial not scored"


PROTOCOLS = {
    "stream": Protocol("stream"),
    "official": Protocol(
        "official",
        window_ms=500.0,
        overlap_ms=150.0,
        most_spikes=24,
        half_precision_times=True,
        restandardise=True,
        nearest_rate=True,
    ),
}
"""``stream``: whole trials from rest, state carried, the first 500 ms of each not scored (half of trials shorter than a second),
raw millivolts, every trial.
``official``: the authors' evaluation, which skips as much."""


@dataclass(frozen=True)
class Predictions:
    """Predictions of whole trials beside what was recorded; sites are those that were both predicted and recorded."""

    probability: Float32[np.ndarray, "trials time"]
    logit: Float32[np.ndarray, "trials time"]
    voltage_mv: Float32[np.ndarray, "trials time sites"]
    spikes: Bool[np.ndarray, "trials time"]
    """Recorded spikes; none where they are not known."""
    recorded_mv: Float32[np.ndarray, "trials time sites"]
    """Recorded voltage, cut off like the prediction; NaN where it is missing."""
    spike_times_ms: tuple[Float64[np.ndarray, "spikes"], ...]
    """Recorded output spikes of every trial."""
    predicted_times_ms: tuple[Float64[np.ndarray, "spikes"], ...]
    """Predicted ones: see `ulmus.neuron.spikes.spike_times`."""
    clip_mv: float = -55.0
    """Where the recorded voltage was cut off."""
    plateau_mv: float | None = None
    """What a plateau stays above; by default 3 mV below the clip."""
    has_spikes: bool = True
    """Whether spikes were both predicted and recorded."""
    recorded: Bool[np.ndarray, "trials time"] | None = None
    """Whether each step was recorded; None where all were."""
    signals: Float32[np.ndarray, "trials time signals"] | None = None
    """Further signals that were both predicted and recorded, in their units; None where there are none."""
    recorded_signals: Float32[np.ndarray, "trials time signals"] | None = None
    """What was recorded of them; NaN where it is missing."""
    signal_units: tuple[SignalUnits, ...] = ()
    """Which signals these are."""

    @property
    def has_voltage(self) -> bool:
        """Whether there is a voltage to compare: that of the soma, somewhere."""
        return bool(self.recorded_mv.shape[2] and np.isfinite(self.recorded_mv[..., 0]).any())

    @property
    def known(self) -> Bool[np.ndarray, "trials time"]:
        """Whether each step was recorded."""
        return np.ones(self.spikes.shape, dtype=bool) if self.recorded is None else self.recorded

    @property
    def spike_count(self) -> Int[np.ndarray, "trials"]:
        """Recorded output spikes of every trial."""
        return np.array([len(times) for times in self.spike_times_ms])


def find_protocol(name: str) -> Protocol:
    """The protocol of this name.

    Raises:
        ConfigError: no such protocol.
    """
    if name not in PROTOCOLS:
        known = list(PROTOCOLS)
        raise ConfigError(f"protocol {name!r} is not known; expected one of {known}.{closest(name, known)}")
    return PROTOCOLS[name]


def check_fit(surrogate: Surrogate, trials: TrialSource, origin: str | None = None) -> None:
    """Whether a surrogate can be used on these trials.

    Args:
        surrogate: The fitted neuron.
        trials: The trials.
        origin: What an error calls them; by default the paths that they were opened from.

    Raises:
        DataError: another number of inputs, another time step, sites that were not recorded, signals in other units, or no
            answer that both have.
    """
    header, neuron = trials.header, surrogate.neuron
    origin = origin or _named(trials)
    if header.inputs != neuron.inputs:
        raise DataError(
            f"{origin}: the trials have {header.inputs} inputs, but the neuron was fitted with {neuron.inputs}, so they are "
            f"of different cells; expected trials of the cell it was fitted to. {_right_cell(surrogate)}"
        )
    if not np.isclose(header.dt_ms, neuron.dt_ms):
        raise DataError(
            f"{origin}: the trials have steps of {header.dt_ms} ms, but the neuron was fitted with {neuron.dt_ms} ms; "
            "bin the data to the step of the neuron."
        )
    fitted, given = surrogate.card.get("continuous", []), [channel._asdict() for channel in header.continuous]
    if fitted != given:
        raise DataError(
            f"{origin}: the trials have the continuous inputs {given}, but the neuron was fitted with {fitted}; expected "
            "the same names, units and scales. Simulate trials with the scale that it was fitted with."
        )
    fit_to = _answers(surrogate.spikes, surrogate.sites, {one.name: one.unit for one in surrogate.signals})
    known = _answers(header.spikes, header.sites, {one.name: one.unit for one in header.signals})
    if not set(fit_to) & set(known):
        raise DataError(
            f"{origin}: the trials have {_alone(known)}, but the neuron was fitted to {_alone(fit_to)}, so there is nothing to "
            f"compare; expected trials with {_alone(fit_to)}, or with both."
        )
    units = {signal.name: signal.unit for signal in header.signals}
    for signal in surrogate.signals:
        if units.get(signal.name, signal.unit) != signal.unit:
            raise DataError(
                f"{origin}: the trials have {signal.name} in {units[signal.name]}, but the neuron was fitted to it in "
                f"{signal.unit}; expected one unit. Convert the trials again with `unit` in their mapping."
            )
    if header.sites and (missing := [site for site in surrogate.sites if site not in header.sites]):
        raise DataError(
            f"{origin}: the trials have no voltage of {missing[0]!r}, recorded are {list(header.sites)}; "
            "evaluate on data with the sites that the neuron predicts."
        )


def _answers(spikes: bool, sites: Sequence[str], signals: Mapping[str, str]) -> list[str]:
    """Kinds of answers, the voltage once for all sites."""
    return [*(["spikes"] if spikes else []), *(["voltage"] if sites else []), *signals]


def _alone(answers: list[str]) -> str:
    return f"{' and '.join(answers)} alone"


def _named(trials: TrialSource) -> str:
    """The paths of trials, as the user gave them."""
    paths = list(dict.fromkeys(str(entry.get("path", entry)) for entry in trials.description))
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return ", ".join(paths[:3]) + more


def _right_cell(surrogate: Surrogate) -> str:
    """Which trials to use instead."""
    if simulated := surrogate.card.get("simulate"):
        return f"Use trials of `{simulated}`, or fit a neuron to these with `ulmus train`."
    if surrogate.card.get("name") in shipped_neurons():
        return (
            "The shipped neurons fit the layer-5 pyramidal cell simulated with the published reconstruction (cell1.asc, "
            "ModelDB 139653), which is not the one that `ulmus simulate l5pc` takes by default: name it with "
            "`ulmus simulate l5pc --morphology cell1.asc`, or fit a neuron to these trials with `ulmus train`."
        )
    return "Use trials of that cell, or fit a neuron to these with `ulmus train`."


def predict(
    surrogate: Surrogate,
    trials: TrialSource,
    protocol: Protocol,
    on_trials: Callable[[int, int], None] | None = None,
) -> Predictions:
    """Predict every trial from its input events.

    Args:
        surrogate: The fitted neuron.
        trials: Recorded or simulated trials.
        protocol: See `PROTOCOLS`.
        on_trials: Called with the number of trials done and in all.

    Raises:
        DivergedError: a prediction is not finite.
    """
    dt_ms = trials.header.dt_ms
    outputs, spikes, recorded, times, known, other = [], [], [], [], [], []
    header = trials.header
    has_spikes = surrogate.spikes and header.spikes
    sites = [header.sites.index(site) for site in surrogate.sites if site in header.sites]
    clips = torch.tensor([units.clip_mv for units in surrogate.site_units])
    names = [signal.name for signal in header.signals]
    signals = [signal for signal in surrogate.signals if signal.name in names]
    with evaluating(surrogate), torch.no_grad():
        for batch in whole_trials(trials, TRIALS_AT_ONCE):
            events = batch.events.to(next(surrogate.parameters()).device)
            outputs.append(_outputs(surrogate, events, protocol, dt_ms).cpu())
            recorded.append(batch.voltage_mv[..., sites].minimum(clips[: len(sites)]))
            if batch.signals is not None:
                other.append(batch.signals[..., [names.index(signal.name) for signal in signals]])
            known += [] if batch.recorded is None else [batch.recorded.numpy()]
            for index, row in zip(batch.trial.tolist(), batch.spikes, strict=True):
                times.append(trials.trial(index).spike_time_ms)
                spikes.append(_labels(times[-1], row.numpy(), dt_ms, protocol))
            if on_trials:
                on_trials(len(spikes), len(trials))
    output = torch.cat(outputs)
    if not output.isfinite().all():
        raise DivergedError(
            "predictions of the fitted neuron are not finite; expected finite numbers, so its weights are spoiled. Fit it "
            "again, with a lower training.learning_rate or with training.clip_norm 1."
        )
    probability = torch.sigmoid(output[..., 0]).numpy()
    recorded_steps = np.concatenate(known) if known else None
    logits, threshold = output[..., 0].double().numpy(), spike_logit(surrogate.spike_threshold)
    predicted = [spike_times(row, threshold, dt_ms) for row in logits]
    if recorded_steps is not None:  # what is predicted where nothing was recorded is neither right nor wrong
        predicted = [
            found[row[label_bins(found, dt_ms)]] for found, row in zip(predicted, recorded_steps, strict=True)
        ]
    return Predictions(
        probability=probability,
        logit=output[..., 0].numpy(),
        voltage_mv=surrogate.decode_voltage(output)[..., : len(sites)].numpy(),
        spikes=np.stack(spikes),
        recorded_mv=torch.cat(recorded).numpy(),
        spike_times_ms=tuple(times),
        predicted_times_ms=tuple(predicted),
        clip_mv=surrogate.units.clip_mv,
        plateau_mv=surrogate.card.get("plateau_mv"),
        has_spikes=has_spikes,
        recorded=recorded_steps,
        **_signals(surrogate, output, signals, other),
    )


def _signals(
    surrogate: Surrogate, output: torch.Tensor, signals: list[SignalUnits], recorded: list[torch.Tensor]
) -> dict[str, Any]:
    if not signals:
        return {}
    places = [surrogate.signals.index(signal) for signal in signals]
    said = surrogate.decode_signals(output)[..., places].numpy()
    return {
        "signals": said,
        "recorded_signals": torch.cat(recorded).numpy(),
        "signal_units": tuple(signals),
    }


def matching_threshold(predictions: Predictions, skip_steps: int) -> float:
    """Probability above which the surrogate has as many spikes as the neuron had, or as near to that as it gets.

    The number of spikes does not fall steadily as the threshold rises: it grows up to where peaks stand apart (below, stretches
    above the threshold run into each other), then falls. It is counted at all heights where it changes; of those at and above
    the one with most spikes, the nearest to the recorded number is taken, and of equally near ones the highest.

    Args:
        predictions: Of trials with known spikes.
        skip_steps: Steps at the beginning that do not count.
    """
    target = int(predictions.spikes[:, skip_steps:].sum())
    begins, peaks = [], []
    for logit, known in zip(predictions.logit.astype(np.float64), predictions.known, strict=True):
        begin, peak, step = rises(logit)
        counted = known[step] & (step >= skip_steps)
        begins.append(begin[counted])
        peaks.append(peak[counted])
    begin, peak = np.sort(np.concatenate(begins)), np.sort(np.concatenate(peaks))
    heights = np.unique(np.concatenate([begin[np.isfinite(begin)], peak]))
    if not heights.size:  # nothing ever falls: no spike at any threshold
        return float(1 / (1 + np.exp(-predictions.logit.max())))
    counts = np.searchsorted(begin, heights, side="right") - np.searchsorted(peak, heights, side="right")
    counts[: np.flatnonzero(counts == counts.max())[-1]] = -1  # where stretches run into each other
    distance = np.where(counts < 0, np.inf, np.abs(counts - target))
    chosen = int(np.flatnonzero(distance == distance.min())[-1])
    # Between two heights, so that rounding does not decide.
    above = heights[chosen + 1] if chosen + 1 < len(heights) else heights[chosen] + 1
    return float(1 / (1 + np.exp(-(heights[chosen] + above) / 2)))


def choose_threshold(surrogate: Surrogate, trials: TrialSource) -> None:
    """Set the spike threshold with which the surrogate fires as often as the neuron did on these trials.

    Raises:
        DataError: the trials do not fit the surrogate.
    """
    check_fit(surrogate, trials)
    if not (surrogate.spikes and trials.header.spikes):
        raise DataError(
            f"{_named(trials)}: no threshold can be chosen where no spikes are predicted or known; expected trials with spikes, "
            "and a neuron that was fitted to them. Leave --threshold-on out."
        )
    protocol = PROTOCOLS["stream"].fitted_to(trials)
    skip = round(protocol.skip_ms / trials.header.dt_ms)
    surrogate.spike_threshold = matching_threshold(predict(surrogate, trials, protocol), skip)


def _outputs(surrogate: Surrogate, events: Events, protocol: Protocol, dt_ms: float) -> torch.Tensor:
    if protocol.window_ms is None:
        whole: torch.Tensor = surrogate(events)
        return whole.float()
    window, overlap = round(protocol.window_ms / dt_ms), round(protocol.overlap_ms / dt_ms)
    windows = overlapping_windows(events, window, window - overlap)
    pieces = surrogate(windows).float().view(events.batch, -1, window, surrogate.neuron.outputs or 0)
    # The first window has no earlier one to lend it a beginning.
    joined: torch.Tensor = torch.cat([pieces[:, 0, :overlap], pieces[:, :, overlap:].flatten(1, 2)], dim=1)
    return joined[:, : events.time]


def overlapping_windows(events: Events, window: int, stride: int) -> Events:
    """Every sequence of a batch cut into windows of equal length, the last one filled up with silence.

    Returns:
        Events of batch ``sequences * windows``, windows of a sequence next to each other.
    """
    count = max(1, -(-(events.time - window) // stride) + 1)
    device = events.row_start.device
    sequence = torch.arange(events.batch, device=device).unsqueeze(1) * events.time
    first = sequence + torch.arange(count, device=device) * stride
    steps = torch.arange(window + 1, device=device)
    rows = torch.minimum(first.unsqueeze(-1) + steps, (sequence + events.time).unsqueeze(-1)).flatten(0, 1)
    return events.windows(rows)


def _labels(
    times_ms: np.ndarray, labels: Float32[np.ndarray, "time"], dt_ms: float, protocol: Protocol
) -> Bool[np.ndarray, "time"]:
    if not protocol.half_precision_times:
        return labels.astype(bool)
    rounded = np.zeros(len(labels), dtype=bool)
    bins = label_bins(times_ms.astype(np.float16).astype(np.float64), dt_ms)
    rounded[bins[(bins >= 0) & (bins < len(labels))]] = True
    return rounded
