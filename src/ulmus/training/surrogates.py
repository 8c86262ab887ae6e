"""Fit a surrogate to trials of a detailed neuron."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from ulmus.errors import ConfigError, DataError
from ulmus.evaluation.predictions import PROTOCOLS, check_fit, matching_threshold, predict
from ulmus.evaluation.scores import score
from ulmus.kernels import Events
from ulmus.neuron import Surrogate, VoltageUnits
from ulmus.training.distillation import MixedWindows, check_labelled, check_simulated
from ulmus.training.problem import Problem
from ulmus.training.recipe import SurrogateRecipe, SurrogateSettings
from ulmus.trials import Batch, TrialSource, Windows
from ulmus.trials.augmentation import Augmentation
from ulmus.trials.opening import open_trials
from ulmus.trials.overlap import check_apart, parts

BATCHES_PER_EPOCH = 10_000
"""How batches are numbered, as (epoch, number in the epoch); of no consequence for what they hold."""


class Losses(NamedTuple):
    """Loss of one batch, and its two parts."""

    total: Tensor
    spike: Tensor
    voltage: Tensor


def objective(
    outputs: Float[Tensor, "batch time outputs"], batch: Batch, settings: SurrogateSettings, burn_in: int
) -> Losses:
    """Binary cross-entropy of spikes and mean squared error of scaled voltage, after the burn-in.

    Paper, appendix B: ``spike_weight * BCE + voltage_weight * MSE``.
    """
    voltage_target = units_of(settings).encode(batch.voltage_mv[:, burn_in:])
    spike = functional.binary_cross_entropy_with_logits(outputs[:, burn_in:, 0], batch.spikes[:, burn_in:])
    voltage = functional.mse_loss(outputs[:, burn_in:, 1:], voltage_target)
    return Losses(settings.spike_weight * spike + settings.voltage_weight * voltage, spike, voltage)


def units_of(settings: SurrogateSettings) -> VoltageUnits:
    """How voltage becomes a target."""
    return VoltageUnits(settings.clip_mv, settings.offset_mv, settings.scale_per_mv)


def _begin_with(neuron: nn.Module, log_odds: float) -> None:
    readout = getattr(neuron, "readout", None)
    if not isinstance(readout, nn.Linear):
        raise ConfigError(
            f"surrogate.spike_log_odds={log_odds}: a {type(neuron).__name__} has no linear readout to begin with it; "
            "leave it out."
        )
    with torch.no_grad():
        readout.bias[0] = log_odds


class SurrogateProblem(Problem):
    """Spikes and voltage of a detailed neuron from its input events.

    Raises:
        ConfigError: windows or a burn-in that do not fit the trials.
        DataError: data are missing or damaged, or training and validation data do not fit each other.
    """

    losses = ("loss", "spike_loss", "voltage_loss")
    batches_per_epoch = BATCHES_PER_EPOCH
    validate_every = 10_000

    def __init__(self, recipe: SurrogateRecipe) -> None:
        self.recipe = recipe
        self.train, self.validation = (
            open_trials(recipe.data.train, recipe.data.train_share),
            open_trials(recipe.data.validation),
        )
        uses = {"data.train": self.train, "data.validation": self.validation}
        check_simulated(uses)
        check_apart(uses)
        header = self.train.header
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            neuron = recipe.model.build(header.inputs, 1 + len(header.sites), header.dt_ms)
        if recipe.surrogate.spike_log_odds is not None:
            _begin_with(neuron, recipe.surrogate.spike_log_odds)
        self.model = Surrogate(
            neuron,
            sites=header.sites,
            units=units_of(recipe.surrogate),
            card={
                "recipe": recipe.name,
                "seed": recipe.seed,
                "trials": {"train": parts(self.train), "validation": parts(self.validation)},
            },
            geometry=header.geometry,
        )
        check_fit(self.model, self.validation, "the validation data")
        uncounted_ms = PROTOCOLS["stream"].skip_ms
        if self.validation.header.duration_ms <= uncounted_ms:
            raise DataError(
                f"the validation trials last {self.validation.header.duration_ms:g} ms, of which the first {uncounted_ms:g} "
                "are not scored; expected longer ones. Simulate or record trials of a second or more."
            )
        self.hashes = {"train": self.train.content_hash, "validation": self.validation.content_hash}
        self.labelled = open_trials(recipe.data.labelled) if recipe.data.labelled else None
        if self.labelled is not None:
            check_labelled(self.labelled, self.train)
            self.hashes["labelled"] = self.labelled.content_hash
        self.burn_in = round(recipe.data.burn_in_ms / header.dt_ms)
        self._windows((0, 1))

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
        batch = Batch(batch.events.to(device), *(part.to(device) for part in batch[1:]))
        return torch.stack(objective(model(batch.events), batch, self.recipe.surrogate, self.burn_in))

    def example(self) -> Events:
        """Input events of the first batch."""
        return self._windows((0, 1))[0].events

    def validate(self, model: Surrogate) -> dict[str, Any]:
        """Scores on all validation trials under protocol ``stream``; sets the surrogate's spike threshold."""
        protocol = PROTOCOLS["stream"]
        dt_ms = self.validation.header.dt_ms
        predictions = predict(model, self.validation, protocol)
        skip = round(protocol.skip_ms / dt_ms)
        if predictions.spikes.shape[1] > skip:
            model.spike_threshold = matching_threshold(predictions, skip)
        spike = functional.binary_cross_entropy_with_logits(
            torch.from_numpy(predictions.logit[:, skip:]),
            torch.from_numpy(predictions.spikes[:, skip:]).float(),
        )
        error_mv = predictions.voltage_mv[:, skip:] - predictions.recorded_mv[:, skip:]
        voltage = float((error_mv**2).mean()) * model.units.scale_per_mv**2
        weights = self.recipe.surrogate
        loss = weights.spike_weight * float(spike) + weights.voltage_weight * voltage
        return {
            "loss": loss,
            **score(predictions, protocol, dt_ms),
            "spike_threshold": model.spike_threshold,
        }

    def badness(self, scores: dict[str, Any]) -> float:
        """The loss, the error of voltage, or how far AUC is from one; without spikes there is no AUC, then the loss."""
        chosen = self.recipe.training.select
        if scores[chosen] is None:
            return float(scores["loss"])
        return float(-scores["auc"] if chosen == "auc" else scores[chosen])

    def note(self, scores: dict[str, Any]) -> str:
        """AUC and RMSE."""
        auc = "undefined" if scores["auc"] is None else f"{scores['auc']:.4f}"
        return f"validation AUC {auc} RMSE {scores['rmse_mv']:.3f} mV"
