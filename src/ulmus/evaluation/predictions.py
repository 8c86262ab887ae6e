"""Predictions of whole trials under a named protocol."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int

from ulmus.errors import ConfigError, DataError, DivergedError, closest
from ulmus.kernels import Events
from ulmus.neuron import Surrogate
from ulmus.neuron.files import shipped_neurons
from ulmus.neuron.spikes import spike_logit, spike_times
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
    has_spikes: bool = True
    """Whether spikes were both predicted and recorded."""
    recorded: Bool[np.ndarray, "trials time"] | None = None
    """Whether each step was recorded; None where all were."""

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
        DataError: another number of inputs, another time step, or sites that were not recorded.
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
    if not (surrogate.spikes and header.spikes) and not (surrogate.sites and header.sites):
        fit, known = ("spikes alone", "voltage alone")[:: 1 if surrogate.spikes else -1]
        raise DataError(
            f"{origin}: the trials have {known}, but the neuron was fitted to {fit}, so there is nothing to compare; expected "
            f"trials with {fit}, or with both."
        )
    if header.sites and (missing := [site for site in surrogate.sites if site not in header.sites]):
        raise DataError(
            f"{origin}: the trials have no voltage of {missing[0]!r}, recorded are {list(header.sites)}; "
            "evaluate on data with the sites that the neuron predicts."
        )


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
    outputs, spikes, recorded, times, known = [], [], [], [], []
    header = trials.header
    has_spikes = surrogate.spikes and header.spikes
    sites = [header.sites.index(site) for site in surrogate.sites if site in header.sites]
    training = surrogate.training
    surrogate.eval()  # nothing is dropped from a prediction
    with torch.no_grad():
        for batch in whole_trials(trials, TRIALS_AT_ONCE):
            events = batch.events.to(next(surrogate.parameters()).device)
            outputs.append(_outputs(surrogate, events, protocol, dt_ms).cpu())
            recorded.append(batch.voltage_mv[..., sites].clamp(max=surrogate.units.clip_mv))
            known += [] if batch.recorded is None else [batch.recorded.numpy()]
            for index, row in zip(batch.trial.tolist(), batch.spikes, strict=True):
                times.append(trials.trial(index).spike_time_ms)
                spikes.append(_labels(times[-1], row.numpy(), dt_ms, protocol))
            if on_trials:
                on_trials(len(spikes), len(trials))
    surrogate.train(training)
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
        voltage_mv=surrogate.units.decode(output[..., 1 : 1 + len(sites)]).numpy(),
        spikes=np.stack(spikes),
        recorded_mv=torch.cat(recorded).numpy(),
        spike_times_ms=tuple(times),
        predicted_times_ms=tuple(predicted),
        clip_mv=surrogate.units.clip_mv,
        has_spikes=has_spikes,
        recorded=recorded_steps,
    )


def matching_threshold(predictions: Predictions, skip_steps: int) -> float:
    """Probability above which the surrogate fires as often as the neuron did.

    Every stretch above the threshold counts as one spike; found by bisection on the logit.
    """
    logit = np.where(predictions.known, predictions.logit, -np.inf)[:, skip_steps:]
    target = int(predictions.spikes[:, skip_steps:].sum())

    def count(threshold: float) -> int:
        above = np.pad(logit > threshold, ((0, 0), (1, 0)))
        return int((above[:, 1:] & ~above[:, :-1]).sum())

    low, high = float(np.median(logit[np.isfinite(logit)])), float(logit.max())
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if count(middle) > target else (low, middle)
    return float(1 / (1 + np.exp(-high)))


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
