"""What the memory units of a fitted neuron encode, and what each of them is needed for."""

import copy
from typing import NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int

from ulmus.errors import DataError, extra
from ulmus.evaluation.predictions import PROTOCOLS, check_fit, predict
from ulmus.evaluation.scores import score
from ulmus.neuron import ELM, Surrogate
from ulmus.neuron.evaluating import evaluating
from ulmus.trials import JoinedTrials, TrialSource, whole_trials
from ulmus.trials.header import Header
from ulmus.trials.trial import Trial

FILTERS_MS = (2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0)
"""Time constants of the low-pass filters through which each input is seen."""
RECENCY_MS = (5.0, 20.0, 100.0, 500.0)
"""Time constants of the exponentials in which the time since the last spike is seen."""
_EVERY_MS = 5.0
_PENALTY = 1.0
_MOST_TRIALS, _FEWEST_TRIALS, _RUNS = 32, 8, 640
_TRIALS_AT_ONCE = 8


class MemoryEncoding(NamedTuple):
    """What memory units encode, in order of their time constants.

    Attributes:
        tau_ms: time constant of every unit.
        unit: its place in the neuron.
        signals: names of what it is compared with; the last one stands for all of them together.
        explained: share of the unit's variance on held-out trials that a linear readout of each signal explains;
            below zero where it says less than the mean does, NaN for a unit that does not move.
        auc_change: AUC without the unit minus AUC with it; NaN where no spike was recorded.
        rmse_change_mv: error of the voltage without the unit minus that with it.
        trials: how many were used.
    """

    tau_ms: Float64[np.ndarray, "units"]
    unit: Int[np.ndarray, "units"]
    signals: tuple[str, ...]
    explained: Float64[np.ndarray, "units signals"]
    auc_change: Float64[np.ndarray, "units"]
    rmse_change_mv: Float64[np.ndarray, "units"]
    trials: int


def memory_encoding(surrogate: Surrogate, trials: TrialSource) -> MemoryEncoding:
    """Compare every memory unit with input, voltage and spikes, and see what is lost without it.

    Each unit is fitted by ridge regression (standardised signals, penalty 1) on every other trial, at steps 5 ms apart,
    and scored on the trials between. Signals are the excitatory and the inhibitory input of every group of inputs and the
    continuous inputs, each through eight low-pass filters of 2 to 500 ms; the recorded voltage, cut off; and the time since
    the last recorded spike, through exponentials. To remove a unit is to hold it at its mean, for the MLP and for the readout.
    At most 32 trials are used, 8 for a large neuron, evenly spaced.

    Args:
        surrogate: A fitted ELM neuron.
        trials: Trials that it was not fitted to.

    Raises:
        DataError: not an ELM neuron, trials that do not fit it, or fewer than two.
    """
    neuron = surrogate.neuron
    if not isinstance(neuron, ELM):
        raise DataError(
            f"a model of kind {type(neuron).__name__} has no memory units; expected an ELM neuron."
        )
    check_fit(surrogate, trials)
    if len(trials) < 2:
        raise DataError(
            "one trial cannot tell what memory encodes: expected two or more, to fit and to score."
        )
    most = min(_MOST_TRIALS, max(_FEWEST_TRIALS, _RUNS // neuron.memory))
    chosen = JoinedTrials([(trials, range(0, len(trials), -(-len(trials) // most)))])
    memory = memory_of(neuron, chosen)
    skip = round(PROTOCOLS["stream"].fitted_to(chosen).skip_ms / chosen.header.dt_ms)
    tau_ms = neuron.tau_memory().detach().double().cpu().numpy()
    order = np.argsort(tau_ms, kind="stable")
    names, explained = _explained(memory, chosen, surrogate.units.clip_mv, skip)
    changes = _without_each(surrogate, memory[:, skip:].mean(axis=(0, 1)), chosen)
    return MemoryEncoding(
        tau_ms[order], order, names, explained[order], changes[order, 0], changes[order, 1], len(chosen)
    )


@torch.no_grad()
def memory_of(neuron: ELM, trials: TrialSource) -> Float32[np.ndarray, "trials time memory"]:
    """Memory at every step of whole trials from rest."""
    device = next(neuron.parameters()).device
    with evaluating(neuron):
        parts = [
            neuron.traces(batch.events.to(device)).memory.float().cpu()
            for batch in whole_trials(trials, _TRIALS_AT_ONCE)
        ]
    memory: Float32[np.ndarray, "trials time memory"] = torch.cat(parts).numpy()
    return memory


@torch.no_grad()
def without_unit(surrogate: Surrogate, unit: int, value: float) -> Surrogate:
    """A copy in which the MLP and the readout see one memory unit at a fixed value, whatever happens.

    Args:
        surrogate: A fitted ELM neuron.
        unit: Which memory unit.
        value: What it is held at, such as its mean.
    """
    changed = copy.deepcopy(surrogate)
    neuron = cast(ELM, changed.neuron)
    first, column = neuron.mlp[0], neuron.branches + unit
    decay = torch.exp(-neuron.dt_ms / neuron.tau_memory()[unit])
    for layer, place, seen in ((first, column, decay * value), (neuron.readout, unit, value)):
        layer = cast(torch.nn.Linear, layer)
        layer.bias.add_(layer.weight[:, place] * seen)
        layer.weight[:, place] = 0
    return changed


def _without_each(
    surrogate: Surrogate, mean: Float32[np.ndarray, "memory"], trials: TrialSource
) -> Float64[np.ndarray, "memory 2"]:
    """Change of AUC and RMSE without each unit."""
    protocol = PROTOCOLS["stream"].fitted_to(trials)

    def scores(model: Surrogate) -> Float64[np.ndarray, "2"]:
        found = score(predict(model, trials, protocol), protocol, trials.header.dt_ms)
        return np.array([found.get("auc"), found.get("rmse_mv")], dtype=np.float64)  # None becomes NaN

    whole = scores(surrogate)
    without = [scores(without_unit(surrogate, unit, float(value))) for unit, value in enumerate(mean)]
    changes: Float64[np.ndarray, "memory 2"] = np.stack(without) - whole
    return changes


def _explained(
    memory: Float32[np.ndarray, "trials time memory"], trials: TrialSource, clip_mv: float, skip: int
) -> tuple[tuple[str, ...], Float64[np.ndarray, "memory signals"]]:
    header = trials.header
    every = np.arange(skip, header.steps, max(1, round(_EVERY_MS / header.dt_ms)))
    whole = [trials.trial(index) for index in range(len(trials))]
    kept = [every[_known(trial)[every]] for trial in whole]
    seen = [signals(trial, header, clip_mv) for trial in whole]
    parts = {name: [one[name][steps] for one, steps in zip(seen, kept, strict=True)] for name in seen[0]}
    parts["all of these"] = [np.concatenate(several, axis=1) for several in zip(*parts.values(), strict=True)]
    with extra("report", "telling what memory encodes"):
        from sklearn.linear_model import Ridge
        from sklearn.metrics import r2_score
        from sklearn.preprocessing import StandardScaler
    states = [row[steps] for row, steps in zip(memory, kept, strict=True)]
    fit, held_out = (np.concatenate(states[first::2]) for first in (0, 1))
    columns = []
    for values in parts.values():
        scaler = StandardScaler().fit(np.concatenate(values[::2]))
        ridge = Ridge(alpha=_PENALTY).fit(scaler.transform(np.concatenate(values[::2])), fit)
        said = ridge.predict(scaler.transform(np.concatenate(values[1::2])))
        columns.append(r2_score(held_out, said.reshape(held_out.shape), multioutput="raw_values"))
    explained: Float64[np.ndarray, "memory signals"] = np.stack(columns, axis=1).astype(np.float64)
    explained[held_out.std(axis=0) < 1e-9] = np.nan
    return tuple(parts), explained


def signals(trial: Trial, header: Header, clip_mv: float) -> dict[str, Float64[np.ndarray, "time features"]]:
    """What a memory unit might encode, by name: see `memory_encoding`."""
    found = {}
    for name, inputs in _drives(header).items():
        mine = np.isin(trial.event_input, inputs)
        count = np.bincount(trial.event_step[mine], minlength=header.steps).astype(np.float64)
        found[name] = np.stack([low_pass(count, tau_ms, header.dt_ms) for tau_ms in FILTERS_MS], axis=1)
    if trial.continuous is not None:
        for channel, series in zip(header.continuous, trial.continuous.T.astype(np.float64), strict=True):
            found[channel.name] = np.stack(
                [low_pass(series, tau, header.dt_ms) for tau in FILTERS_MS], axis=1
            )
    if header.sites:
        found["voltage"] = np.minimum(trial.voltage_mv[:, :1].astype(np.float64), clip_mv)
    if header.spikes:
        since = time_since(trial.spike_time_ms, header)
        found["time since spike"] = np.exp(-since[:, None] / np.array(RECENCY_MS))
    return found


def _known(trial: Trial) -> Bool[np.ndarray, "time"]:
    """Steps in which all that there is was recorded."""
    finite: Bool[np.ndarray, "time"] = np.isfinite(trial.voltage_mv[:, :1]).all(axis=1)
    return finite if trial.recorded is None else finite & trial.recorded


def _drives(header: Header) -> dict[str, Int[np.ndarray, "inputs"]]:
    """Inputs of every group and sign that holds some, by name."""
    found = {}
    everything = [{"label": "", "first": 0, "stop": header.event_inputs}]
    for group in header.settings.get("input_groups") or everything:
        for sign, kind in ((1, "excitation"), (-1, "inhibition")):
            inputs = np.flatnonzero(header.input_sign[: header.event_inputs] == sign)[
                group["first"] : group["stop"]
            ]
            if inputs.size:
                found[f"{group['label']} {kind}".strip()] = inputs
    return found


def low_pass(values: Float64[np.ndarray, "time"], tau_ms: float, dt_ms: float) -> Float64[np.ndarray, "time"]:
    """``y_t = a y_{t-1} + x_t`` with ``a = exp(-dt / tau)``."""
    with extra("report", "telling what memory encodes"):
        from scipy.signal import lfilter
    filtered: Float64[np.ndarray, "time"] = lfilter([1.0], [1.0, -np.exp(-dt_ms / tau_ms)], values)
    return filtered


def time_since(spikes_ms: Float64[np.ndarray, "spikes"], header: Header) -> Float64[np.ndarray, "time"]:
    """Time since the last output spike at the end of every step; infinite before the first one."""
    now = (np.arange(header.steps) + 1) * header.dt_ms
    before = np.searchsorted(spikes_ms, now, side="right")
    elapsed: Float64[np.ndarray, "time"] = now - np.concatenate([[-np.inf], spikes_ms])[before]
    return elapsed
