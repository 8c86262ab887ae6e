"""Fit a surrogate to trials of a detailed neuron."""

from collections.abc import Collection, Iterator
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from pydantic import BeforeValidator, Field, PositiveFloat
from torch import Tensor, nn
from torch.nn import functional

from ulmus.arguments import MOST_WORKERS
from ulmus.errors import ConfigError
from ulmus.evaluation.predictions import PROTOCOLS, check_fit, matching_threshold, predict
from ulmus.evaluation.scores import score, signal_scores
from ulmus.kernels import Events
from ulmus.neuron import SignalUnits, Surrogate, VoltageUnits
from ulmus.neuron.spikes import inhibitory_ranges
from ulmus.settings import Settings
from ulmus.training.distillation import MixedWindows, check_labelled, check_simulated
from ulmus.training.problem import Problem
from ulmus.training.recipe import Recipe, TrainingSettings
from ulmus.trials import Batch, TrialSource, Windows, open_trials
from ulmus.trials.augmentation import Augmentation
from ulmus.trials.overlap import check_apart, parts
from ulmus.trials.voltage_range import (
    SiteVoltage,
    VoltageRange,
    share_above,
    signal_ranges,
    site_voltage,
    voltage_range,
)


def _several(value: object) -> object:
    """One name alone, which may be a number, is a list of one."""
    return (str(value),) if isinstance(value, str | int | float) else value


NamesOrNumbers = Annotated[tuple[str, ...], BeforeValidator(_several)]
Sources = Annotated[NamesOrNumbers, Field(min_length=1)]
"""One or more stores, each with an optional pattern and slice: ``"trials_*[:96]"``."""


class TrialsData(Settings):
    """Trials of a detailed neuron, and how windows are cut from them."""

    kind: Literal["trials"] = "trials"
    train: Sources
    """Trials to learn from."""
    train_share: float = Field(default=1.0, gt=0, le=1)
    """Learn from the first trials of every source alone, this share of them: how much do more trials bring?"""
    validation: Sources
    """Trials for choosing the best checkpoint and the spike threshold; never learnt from."""
    sites: NamesOrNumbers | None = None
    """Further sites whose voltage is learnt beside the soma's, of those recorded; all by default, none with ``[]``."""
    labelled: NamesOrNumbers = ()
    """Answers of fitted neurons to learn from beside the trials (knowledge distillation): stores made by ``ulmus label``."""
    labelled_share: float = Field(default=0.5, gt=0, lt=1)
    """Share of the batches that are of labels, when there are some."""
    window_ms: PositiveFloat = 500.0
    """Length of a training window; every window starts from rest."""
    burn_in_ms: float = Field(default=150.0, ge=0)
    """Beginning of a window that the loss leaves out, while the neuron forgets that it started from rest."""
    earliest_ms: float = Field(default=0.0, ge=0)
    """Windows start no earlier in their trial than this."""
    neighbour: float = Field(default=0.0, ge=0, lt=1)
    """Augmentation: probability that an event moves to a neighbouring input of the same sign."""
    drop: float = Field(default=0.0, ge=0, lt=1)
    """Augmentation: probability that an event is left out."""
    workers: int = Field(default=0, ge=0, le=MOST_WORKERS)
    """Processes that make batches; batches are the same for any number."""


class SurrogateSettings(Settings):
    """What a surrogate learns to predict: spikes, and voltage as ``(min(v, clip_mv) - offset_mv) * scale_per_mv``.

    What is ``auto`` is chosen from the training trials, for every site by itself, and shown before training.
    """

    clip_mv: float | Literal["auto"] = "auto"
    """Voltage above this is cut off, so that the loss does not depend on the shape of spikes; ``auto``: what 99.9 % of the
    voltage between spikes stays below."""
    plateau_mv: float | Literal["auto"] = "auto"
    """Voltage of the soma above which a plateau lies, in scores and report; ``auto``: 3 mV below the clip."""
    offset_mv: float | Literal["auto"] = "auto"
    """Voltage that becomes zero; ``auto``: the median between spikes."""
    scale_per_mv: PositiveFloat | Literal["auto"] = "auto"
    """Factor from millivolts to the units of the loss; ``auto``: a third of one over the standard deviation between spikes."""
    spike_weight: float = Field(default=0.5, ge=0)
    """Weight of the binary cross-entropy of spikes in the loss."""
    voltage_weight: float = Field(default=0.5, ge=0)
    """Weight of the mean squared error of scaled voltage in the loss."""
    signal_weight: float = Field(default=0.5, ge=0)
    """Weight of the mean squared error of further signals in the loss, where there are some; each is scaled by the training
    trials: its median becomes 0, its standard deviation 1/3."""
    spike_log_odds: float | None = None
    """Log odds of a spike that the readout begins with; near those of the neuron (-6 at 2.5 Hz), training need not first
    learn that spikes are rare. By default the readout begins as the model makes it."""

    def units(self, site: SiteVoltage) -> VoltageUnits:
        """How the voltage of a site becomes a target; what is ``auto`` by that voltage."""
        given = {key: getattr(self, key) for key in VoltageRange._fields if getattr(self, key) != "auto"}
        return VoltageUnits(**(voltage_range(site)._asdict() if len(given) < 3 else {}) | given)


class SurrogateRecipe(Recipe):
    """Fit a model to trials of a detailed neuron."""

    data: TrialsData
    training: TrainingSettings = TrainingSettings(steps=350_000)
    surrogate: SurrogateSettings = SurrogateSettings()

    def validated(self) -> tuple[str, ...]:
        """Scores that can choose the best checkpoint."""
        return ("loss", "auc", "rmse_mv")

    def problem(self) -> "SurrogateProblem":
        """The surrogate and its trials."""
        return SurrogateProblem(self)

    def check_apart(self, held_out: Collection[str]) -> None:
        """Refuse trials that have two uses among training, validation and these held-out ones.

        Raises:
            ConfigError: some have.
            DataError: data are missing or damaged.
        """
        uses = {"data.train": self.data.train, "data.validation": self.data.validation}
        uses |= {"held_out": tuple(held_out)} if held_out else {}
        check_apart({use: open_trials(specs, sites=()) for use, specs in uses.items()})


MOST_CUT = 0.5
"""Share of the voltage that a clip may cut off; spikes take a few hundredths of the time."""
BATCHES_PER_EPOCH = 10_000
"""How batches are numbered, as (epoch, number in the epoch); of no consequence for what they hold."""


class Losses(NamedTuple):
    """Loss of one batch, and its parts; one that was not recorded is zero."""

    total: Tensor
    spike: Tensor
    voltage: Tensor
    signal: Tensor


def objective(
    outputs: Float[Tensor, "batch time outputs"],
    batch: Batch,
    settings: SurrogateSettings,
    surrogate: Surrogate,
    burn_in: int,
    spikes: bool = True,
) -> Losses:
    """Binary cross-entropy of spikes and mean squared errors of scaled voltage and further signals, after the burn-in.

    Paper, appendix B: ``spike_weight * BCE + voltage_weight * MSE``, and ``signal_weight * MSE`` where there are further signals.
    Each is a mean over what was recorded.

    Args:
        outputs: Of the model.
        batch: What it should have said.
        settings: Weights of the parts.
        surrogate: How voltages and signals become targets.
        burn_in: Steps at the beginning that do not count.
        spikes: Whether spikes are known.
    """
    logit, target = outputs[:, burn_in:, 0], batch.spikes[:, burn_in:]
    signals = None if batch.signals is None else batch.signals[:, burn_in:]
    said, wanted = outputs[:, burn_in:, 1:], surrogate.encode(batch.voltage_mv[:, burn_in:], signals)
    nothing = outputs.new_zeros(())
    spike = nothing
    if batch.recorded is not None:
        logit, target = logit[batch.recorded[:, burn_in:]], target[batch.recorded[:, burn_in:]]
    if spikes and logit.numel():
        spike = functional.binary_cross_entropy_with_logits(logit, target)
    sites = len(surrogate.sites)
    voltage, signal = (
        _squared_error(said[..., part], wanted[..., part], batch.recorded is not None)
        for part in (slice(sites), slice(sites, None))
    )
    total = settings.spike_weight * spike + settings.voltage_weight * voltage
    if signals is not None:
        total = total + settings.signal_weight * signal
    # A batch of windows in which nothing was recorded teaches nothing, and has a gradient all the same.
    return Losses(total if total.requires_grad else total + 0 * outputs.sum(), spike, voltage, signal)


def _squared_error(said: Tensor, wanted: Tensor, gaps: bool) -> Tensor:
    """Mean over what was recorded; zero where nothing was."""
    if gaps:
        there = wanted.isfinite()
        said, wanted = said[there], wanted[there]
    return functional.mse_loss(said, wanted) if said.numel() else said.new_zeros(())


def _begin_with(neuron: nn.Module, log_odds: float) -> None:
    readout = getattr(neuron, "readout", None)
    if not isinstance(readout, nn.Linear):
        raise ConfigError(
            f"surrogate.spike_log_odds={log_odds}: a {type(neuron).__name__} has no linear readout to begin with it; "
            "leave it out."
        )
    with torch.no_grad():
        readout.bias[0] = log_odds


def _target(offset: float, scale: float, unit: str) -> str:
    return f"a target of 0 stands for {offset:g} {unit}, of 1 for {1 / scale:.3g} {unit} more"


def _mean_square(error: np.ndarray, scales: list[float]) -> float:
    """Of scaled errors ``[trials, time, columns]``, over what was recorded; zero where nothing was."""
    there = [column[np.isfinite(column)] for column in np.moveaxis(error, -1, 0)]
    squares = [
        float((column**2).mean()) * scale**2
        for column, scale in zip(there, scales, strict=True)
        if column.size
    ]
    return (
        float(np.average(squares, weights=[column.size for column in there if column.size]))
        if squares
        else 0.0
    )


class SurrogateProblem(Problem):
    """Spikes and voltage of a detailed neuron from its input events.

    Raises:
        ConfigError: windows or a burn-in that do not fit the trials.
        DataError: data are missing or damaged, or training and validation data do not fit each other.
    """

    batches_per_epoch = BATCHES_PER_EPOCH
    validate_every = 10_000

    def __init__(self, recipe: SurrogateRecipe) -> None:
        self.recipe = recipe
        # Opened first: it is small, and what is wrong with it need not wait until a large training set is open.
        self.validation = open_trials(recipe.data.validation, sites=recipe.data.sites)
        self.protocol = PROTOCOLS["stream"].fitted_to(self.validation)
        self.train = open_trials(recipe.data.train, recipe.data.train_share, recipe.data.sites)
        uses = {"data.train": self.train, "data.validation": self.validation}
        check_simulated(uses)
        check_apart(uses)
        header = self.train.header
        self.settings = recipe.surrogate
        units, cut = [], []
        for site in range(len(header.sites)):
            voltage = site_voltage(self.train, site)
            units.append(self.settings.units(voltage))
            cut.append(share_above(voltage, units[-1].clip_mv))
        ranges = zip(header.signals, signal_ranges(self.train), strict=True)
        signals = [SignalUnits(*signal, *found) for signal, found in ranges]
        self.losses = ("loss", "spike_loss", "voltage_loss", *(["signal_loss"] if signals else []))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            outputs = 1 + len(header.sites) + len(signals)
            neuron = recipe.model.build(header.inputs, outputs, header.dt_ms)
        if recipe.surrogate.spike_log_odds is not None and header.spikes:
            _begin_with(neuron, recipe.surrogate.spike_log_odds)
        self.model = Surrogate(
            neuron,
            sites=header.sites,
            units=units or None,
            card={
                "recipe": recipe.name,
                "seed": recipe.seed,
                **({"voltage_cut_share": cut[0]} if cut else {}),
                **(
                    {}
                    if recipe.surrogate.plateau_mv == "auto"
                    else {"plateau_mv": recipe.surrogate.plateau_mv}
                ),
                **({"site_cut_shares": dict(zip(header.sites, cut, strict=True))} if len(cut) > 1 else {}),
                "trials": {"train": parts(self.train), "validation": parts(self.validation)},
                "inhibitory": inhibitory_ranges(header.input_sign),
                **(
                    {"continuous": [channel._asdict() for channel in header.continuous]}
                    if header.continuous
                    else {}
                ),
            },
            geometry=header.geometry,
            spikes=header.spikes,
            signals=signals,
        )
        check_fit(self.model, self.validation, "the validation data")
        self.hashes = {"train": self.train.content_hash, "validation": self.validation.content_hash}
        labelled = recipe.data.labelled
        self.labelled = open_trials(labelled, sites=recipe.data.sites) if labelled else None
        if self.labelled is not None:
            check_labelled(self.labelled, self.train)
            self.hashes["labelled"] = self.labelled.content_hash
        self.burn_in = round(recipe.data.burn_in_ms / header.dt_ms)
        self._windows((0, 1))

    @property
    def remarks(self) -> tuple[str, ...]:
        """How voltages and signals become targets, and how much of a voltage is cut off."""
        auto = self.recipe.surrogate.clip_mv == "auto"
        how = "chosen from the training trials" if auto else "as the recipe says"
        several = len(self.model.sites) > 1
        voltages = (
            f"voltage{f' of {site}' if several else ''} is cut off at {units.clip_mv:g} mV ({how}), which is "
            f"{100 * cut:.2g} % of its time; {_target(units.offset_mv, units.scale_per_mv, 'mV')}"
            for (site, cut), units in zip(self._cut_shares().items(), self.model.site_units, strict=True)
        )
        signals = (
            f"{signal.name}: {_target(signal.offset, signal.scale, signal.unit)}"
            for signal in self.model.signals
        )
        return (*voltages, *signals)

    def _cut_shares(self) -> dict[str, float]:
        """Share of the voltage that is cut off, of every site."""
        card = self.model.card
        one = {
            site: card["voltage_cut_share"] for site in self.model.sites[:1] if "voltage_cut_share" in card
        }
        found: dict[str, float] = card.get("site_cut_shares", one)
        return found

    def check_new(self) -> None:
        """Refuse a clip that cuts off most of the voltage.

        Raises:
            ConfigError: it does.
        """
        for number, (site, cut) in enumerate(self._cut_shares().items()):
            if cut <= MOST_CUT:
                continue
            fitting = voltage_range(site_voltage(self.train, number))
            found = "".join(f" --surrogate.{key} {value:g}" for key, value in fitting._asdict().items())
            where = f" of {site}" if number else ""
            raise ConfigError(
                f"surrogate.clip_mv={self.model.site_units[number].clip_mv:g} cuts off {100 * cut:.3g} % of the voltage{where} "
                "of the training trials, so that next to nothing of it could be learnt; expected a clip that cuts off spikes "
                f"alone. For these trials:{found}, or auto for each, which chooses them."
            )

    def _windows(self, share: tuple[int, int]) -> Windows | MixedWindows:
        data = self.recipe.data
        trials = self._windows_of(self.train, share, Augmentation(data.neighbour, data.drop))
        if self.labelled is None:
            return trials
        labelled = self._windows_of(self.labelled, share, Augmentation())
        return MixedWindows(trials, labelled, data.labelled_share)

    def _windows_of(self, source: TrialSource, share: tuple[int, int], augmentation: Augmentation) -> Windows:
        data, dt_ms = self.recipe.data, self.train.header.dt_ms
        window = round(data.window_ms / dt_ms)
        if self.burn_in >= window:
            raise ConfigError(
                f"data.burn_in_ms={data.burn_in_ms} leaves nothing of data.window_ms={data.window_ms} for the "
                "loss; use a shorter burn-in or longer windows."
            )
        return Windows(
            source,
            window,
            self.recipe.training.batch,
            self.recipe.seed,
            BATCHES_PER_EPOCH,
            round(data.earliest_ms / dt_ms),
            augmentation,
            share=share,
        )

    def batches(self, first: int, total: int, share: tuple[int, int]) -> Iterator[Batch]:
        """Windows drawn from the training trials, and from labels where there are some."""
        return self._windows(share).loader(first, total, self.recipe.data.workers)

    def loss(self, model: nn.Module, batch: Batch, device: torch.device) -> Float[Tensor, "losses"]:
        """Losses of a batch."""
        batch = batch.to(device)
        spikes = self.train.header.spikes
        found = objective(model(batch.events), batch, self.settings, self.model, self.burn_in, spikes)
        return torch.stack(found[: len(self.losses)])

    def example(self) -> Events:
        """Input events of the first batch."""
        return self._windows((0, 1))[0].events

    def validate(self, model: Surrogate) -> dict[str, Any]:
        """Scores on all validation trials under protocol ``stream``; sets the surrogate's spike threshold."""
        dt_ms = self.validation.header.dt_ms
        if not model.spikes:
            model.silence()  # which a decay of weights may have worn off
        predictions = predict(model, self.validation, self.protocol)
        skip = round(self.protocol.skip_ms / dt_ms)
        weights, loss = self.settings, 0.0
        threshold = {}
        if predictions.has_spikes:
            model.spike_threshold = matching_threshold(predictions, skip)
            threshold = {"spike_threshold": model.spike_threshold}
            known = predictions.known[:, skip:]
            spike = functional.binary_cross_entropy_with_logits(
                torch.from_numpy(predictions.logit[:, skip:][known]),
                torch.from_numpy(predictions.spikes[:, skip:][known]).float(),
            )
            loss += weights.spike_weight * float(spike)
        error = predictions.voltage_mv[:, skip:] - predictions.recorded_mv[:, skip:]
        loss += weights.voltage_weight * _mean_square(
            error, [units.scale_per_mv for units in model.site_units]
        )
        scores = score(predictions, self.protocol, dt_ms)
        if predictions.signals is not None and predictions.recorded_signals is not None:
            error = predictions.signals[:, skip:] - predictions.recorded_signals[:, skip:]
            loss += weights.signal_weight * _mean_square(error, [signal.scale for signal in model.signals])
            scores["signals"] = signal_scores(predictions, self.protocol, dt_ms)
        return {"loss": loss, **scores, **threshold}

    def badness(self, scores: dict[str, Any]) -> float:
        """The loss, the error of voltage, or how far AUC is from one; without spikes there is no AUC, then the loss."""
        chosen = self.recipe.training.select
        if scores.get(chosen) is None:
            return float(scores["loss"])
        return float(-scores["auc"] if chosen == "auc" else scores[chosen])

    def note(self, scores: dict[str, Any]) -> str:
        """AUC and RMSE, of signals too."""
        found = []
        if "auc" in scores:
            found.append("AUC undefined" if scores["auc"] is None else f"AUC {scores['auc']:.4f}")
        if "rmse_mv" in scores:
            found.append(f"RMSE {scores['rmse_mv']:.3f} mV")
        for name, of_signal in scores.get("signals", {}).items():
            found.append(f"{name} {of_signal['rmse']:.3g} {of_signal['unit']}")
        return f"validation {' '.join(found)}"
