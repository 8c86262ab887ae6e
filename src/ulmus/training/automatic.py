"""A recipe for trials of any cell: sizes, windows, steps and target from what the trials hold, each with its reason."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ulmus.errors import ConfigError
from ulmus.neuron.spikes import spike_logit
from ulmus.trials import Header, TrialSource, open_trials
from ulmus.trials.voltage_range import share_above, site_voltage, voltage_range

NAME = "auto"
CHOICES = {
    "model.memory": "memory",
    "model.branches": "branches",
    "model.tau_synapse_ms": "synapses",
    "data.window_ms": "windows",
    "data.neighbour": "augmentation",
    "training.steps": "steps",
    "training.epochs": "steps",
    "surrogate.clip_mv": "clip",
    "surrogate.spike_log_odds": "spikes",
}
"""What begins the reason for a key."""
_WINDOW_MS, _BURN_IN_MS, _BATCH = 500.0, 150.0, 8
_FEW_INPUTS = 64
"""Up to here every input is a branch of its own, so that the network sees each."""
_SHORT_S = 60.0
"""Of recorded time; with less, a smaller neuron."""
_PASSES, _FEWEST_STEPS, _MOST_STEPS = 60, 2_000, 80_000
"""Steps are for so many passes through the training time: 43 in l5pc-branch-20-tuned, whose 864 trials last 1.4 hours."""


class Chosen(NamedTuple):
    """A recipe as nested values, and why it is so, a sentence each."""

    values: dict[str, Any]
    reasons: tuple[str, ...]


def chosen_for(train: str | Path | Sequence[str], validation: str | Path | Sequence[str] | None) -> Chosen:
    """A recipe for these trials.

    Args:
        train: Trials to learn from.
        validation: Trials to choose by; by default the last fifth of `train`, which then is one store without a slice.

    Raises:
        ConfigError: no validation trials, and nothing to take them from.
        DataError: data are missing or damaged.
    """
    reasons = []
    if validation is None:
        train, validation = _split(train)
        reasons.append(f"trials: {train} to learn from, {validation} to choose by (the last fifth)")
    trials = open_trials(train)
    model, why_model = _model(trials.header, _seconds(trials))
    data, training, why_steps = _course(trials)
    surrogate, why_target = _target(trials)
    data |= {"train": train, "validation": validation}
    values = {"name": NAME, "model": model, "data": data, "surrogate": surrogate, "training": training}
    return Chosen(values, (*reasons, *why_model, *why_steps, *why_target))


def _split(train: str | Path | Sequence[str]) -> tuple[str, str]:
    specs = [train] if isinstance(train, (str, Path)) else list(train)
    count = len(open_trials(specs))
    if len(specs) > 1 or not Path(specs[0]).is_dir() or count < 2:
        raise ConfigError(
            f"no validation trials: expected data.validation beside data.train={', '.join(map(str, specs))}. Only one whole "
            "store of two trials or more can be divided; name slices of it, as in STORE[:80] and STORE[80:]."
        )
    kept = min(count - 1, max(1, round(0.8 * count)))
    return f"{specs[0]}[:{kept}]", f"{specs[0]}[{kept}:]"


def _seconds(trials: TrialSource) -> float:
    """Time that was recorded."""
    steps = [trials.recorded_steps(index) for index in range(len(trials))] if trials.header.gaps else []
    return (sum(steps) or len(trials) * trials.header.steps) * trials.header.dt_ms / 1000


def _model(header: Header, seconds: float) -> tuple[dict[str, Any], tuple[str, ...]]:
    memory = 10 if seconds < _SHORT_S else 20
    longest_ms = min(150.0, max(20.0, header.duration_ms / 3))
    model: dict[str, Any] = {
        "memory": memory,
        "activation": "silu",
        "update": "bounded",
        "tau_memory_ms": [1.0, round(longest_ms, 1)],
    }
    why = [
        f"memory: {memory} units for {seconds:,.0f} s of training time, with time constants of 1 to {longest_ms:.0f} ms"
        f"{' (a third of a trial)' if longest_ms < 150 else ''}"
    ]
    if header.inputs <= _FEW_INPUTS:
        why.append(
            f"branches: one for each input ({header.inputs}), few enough that the network sees every one"
        )
        if header.continuous:  # 1 ms, so that spikes can follow a current within it
            model["tau_synapse_ms"] = [5.0] * header.event_inputs + [1.0] * len(header.continuous)
            events = ", and 5 ms for events" if header.event_inputs else ""
            why.append(f"synapses: 1 ms for continuous inputs, which spikes follow at once{events}")
        return model, tuple(why)
    synapses = synapses_per_branch(header)
    branches = math.ceil(header.inputs / synapses)
    model |= {"branches": branches, "synapses_per_branch": synapses, "routing": "dense"}
    why.append(
        f"branches: {branches} of {synapses} synapses, one for each of {header.inputs:,} inputs; neighbours share a branch"
    )
    return model, tuple(why)


def synapses_per_branch(header: Header) -> int:
    """About half the root of the number of inputs, near that a divisor where there is one: all branches are then equal.

    Where there are continuous inputs, those of the last branch are then apart from events.
    """
    events = header.event_inputs
    wanted = math.sqrt(header.inputs) / 2
    near = range(max(2, round(wanted / 1.5)), round(wanted * 1.5) + 1)
    equal = [size for size in near if events % size == 0]
    return min(equal or near, key=lambda size: abs(math.log(size / wanted)))


def _course(trials: TrialSource) -> tuple[dict[str, Any], dict[str, Any], tuple[str, ...]]:
    """Windows and training, and why."""
    header, seconds = trials.header, _seconds(trials)
    window_ms = min(_WINDOW_MS, header.duration_ms)
    burn_in_ms = min(_BURN_IN_MS, 0.3 * window_ms)
    per_step_s = _BATCH * (window_ms - burn_in_ms) / 1000
    steps = round(min(max(_PASSES * seconds / per_step_s, _FEWEST_STEPS), _MOST_STEPS), -2)
    every = max(100, round(steps / 20, -2))
    data = {"window_ms": window_ms, "burn_in_ms": burn_in_ms, "neighbour": 0.5 if header.geometry else 0.0}
    training = {
        "steps": steps,
        "batch": _BATCH,
        "learning_rate": 2e-3,
        "clip_norm": 1.0,
        "validate_every": every,
        "patience": 10,
    }
    passes = steps * per_step_s / seconds
    why = [
        f"windows: {window_ms:g} ms, of which {burn_in_ms:g} ms are not learnt from",
        f"steps: {steps:,}, which see the training time {passes:,.0f} times; fewer if 10 validations in a row are no better",
    ]
    if header.geometry:
        why.append(
            "augmentation: half of the events move to a neighbouring input, as the trials say where inputs lie"
        )
    return data, training, tuple(why)


def _target(trials: TrialSource) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What is learnt, and why."""
    header = trials.header
    found: dict[str, Any] = {}
    why = []
    if header.sites:
        soma = site_voltage(trials)
        chosen = voltage_range(soma)
        found |= (
            chosen._asdict() if len(header.sites) == 1 else {}
        )  # else each site has its own, chosen as training begins
        cut = 100 * share_above(soma, chosen.clip_mv)
        what = (
            "what 99.9 % of the voltage between spikes stays below"
            if header.spikes
            else "the highest voltage"
        )
        why.append(f"clip: {chosen.clip_mv:g} mV, {what}; {cut:.2g} % of the time is above")
    for signal in header.signals:
        why.append(f"signals: {signal.name} in {signal.unit}, scaled by its own range")
    continuous = [*(["voltage"] if header.sites else []), *(signal.name for signal in header.signals)]
    if not continuous:
        why.append("answers: spikes alone, as no voltage was recorded")
    if not header.spikes:
        why.append(f"answers: {' and '.join(continuous)} alone, as spikes are not known")
        return found, tuple(why)
    spikes = sum(len(trials.trial(index).spike_time_ms) for index in range(len(trials)))
    rate_hz = spikes / _seconds(trials)
    chance = np.clip(rate_hz * header.dt_ms / 1000, 1e-5, 0.5)
    found["spike_log_odds"] = round(spike_logit(chance), 1)
    why.append(f"spikes: {spikes:,} ({rate_hz:.3g} Hz), the rate that the readout begins with")
    return found, tuple(why)
