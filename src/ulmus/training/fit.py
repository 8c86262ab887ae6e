"""Fit an ELM neuron to trials of a detailed neuron, from a recipe, in a run folder, resumable at any time."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ulmus import kernels
from ulmus.data import Batch, TrialSource, Windows
from ulmus.data.augmentation import Augmentation
from ulmus.data.sources import open_trials
from ulmus.errors import CheckpointError, ConfigError, DivergedError
from ulmus.neuron import ELM, Surrogate, VoltageUnits
from ulmus.training.evaluation import PROTOCOLS, check_fit, matching_threshold, predict, score
from ulmus.training.recipe import Recipe, TrainingRecipe
from ulmus.training.run import Run

BATCHES_PER_EPOCH = 10_000
"""How batches are numbered, as (epoch, number in the epoch); of no consequence for what they hold."""
STATE_FORMAT = 1


class Progress(NamedTuple):
    """Where a training run stands."""

    step: int
    steps: int
    loss: float
    validation: dict[str, Any] | None
    """Scores, when this step ended with a validation."""


class Losses(NamedTuple):
    """Loss of one batch, and its two parts."""

    total: Tensor
    spike: Tensor
    voltage: Tensor


def objective(
    outputs: Tensor, batch: Batch, units: VoltageUnits, recipe: TrainingRecipe, burn_in: int
) -> Losses:
    """Binary cross-entropy of spikes and mean squared error of scaled voltage, after the burn-in.

    Paper, appendix B: ``spike_weight * BCE + voltage_weight * MSE``.
    """
    voltage_target = units.encode(batch.voltage_mv[:, burn_in:])
    spike = functional.binary_cross_entropy_with_logits(outputs[:, burn_in:, 0], batch.spikes[:, burn_in:])
    voltage = functional.mse_loss(outputs[:, burn_in:, 1:], voltage_target)
    return Losses(recipe.spike_weight * spike + recipe.voltage_weight * voltage, spike, voltage)


def learning_rate(step: int, recipe: TrainingRecipe) -> float:
    """Learning rate of a step: linear warm-up, then constant or half a cosine down to zero."""
    if step < recipe.warmup_steps:
        return recipe.learning_rate * (step + 1) / recipe.warmup_steps
    if recipe.schedule == "constant":
        return recipe.learning_rate
    done = (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def build_surrogate(recipe: Recipe, trials: TrialSource) -> Surrogate:
    """A fresh surrogate with random weights, for data of this layout; the recipe's seed fixes it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        neuron = ELM(
            trials.header.inputs,
            1 + len(trials.header.sites),
            dt_ms=trials.header.dt_ms,
            **recipe.neuron.model_dump(),
        )
    units = VoltageUnits(**recipe.units.model_dump())
    return Surrogate(
        neuron, sites=trials.header.sites, units=units, card={"recipe": recipe.name, "seed": recipe.seed}
    )


@dataclass
class _Loop:
    """What changes from step to step, and is saved to go on from."""

    step: int = 0
    best: float = math.inf
    sums: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Losses since the last logged line."""


def fit(
    recipe: Recipe,
    folder: str | Path,
    *,
    resume: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Run:
    """Train the recipe in a run folder; an interrupted run resumes and ends as if it had never stopped.

    Args:
        recipe: What to do.
        folder: Run folder, new or (with ``resume``) the one to go on in.
        resume: Go on from the last checkpoint in the folder; the recipe must be the one it was started with.
        on_progress: Called after every logged step and every validation.
        stop: Asked after every step; when it says yes, the state is saved and `fit` returns early.

    Raises:
        ConfigError: the folder holds a run already, or the recipe does not fit the data.
        CheckpointError: the run in the folder cannot be resumed.
        DataError: data are missing or damaged.
        DivergedError: a loss or gradient is not finite.
    """
    run = Run(folder)
    state = _resumed_state(run, recipe, resume)
    train, validation = open_trials(recipe.data.train), open_trials(recipe.data.validation)
    surrogate = build_surrogate(recipe, train)
    check_fit(surrogate, validation, "the validation data")
    torch.set_num_threads(recipe.training.threads)
    fabric = _fabric(recipe.training)
    windows = _windows(recipe, train, fabric)
    if fabric.is_global_zero:
        data = {"train": train.content_hash, "validation": validation.content_hash}
        first = _to(windows.batch(0, 0), fabric.device)
        backend = kernels.backend_for(first.events, surrogate.to(fabric.device).neuron.weights())
        if state is None:
            run.start(recipe, data, backend)
        else:
            run.write_provenance(data, backend)
    trainer = _Trainer(recipe, run, fabric, surrogate, validation, on_progress)
    if state is not None:
        trainer.restore(state)
    trainer.train(windows, stop)
    return run


def _resumed_state(run: Run, recipe: Recipe, resume: bool) -> dict[str, Any] | None:
    if not run.exists():
        if resume:
            raise CheckpointError(f"{run.folder} holds no run to resume; start one without --resume.")
        return None
    if not resume:
        raise ConfigError(
            f"{run.folder} holds a run already; resume it with --resume, or choose another folder with --run."
        )
    if run.recipe() != recipe:
        raise ConfigError(
            f"the recipe differs from the one {run.folder} was started with; resume with exactly the same recipe and "
            "overrides (or `ulmus train --resume --run RUN` alone), or start a new run in another folder."
        )
    state = run.load_state()
    if state is not None and state.get("format") != STATE_FORMAT:
        raise CheckpointError(
            f"{run.state_file} was written by another version of Ulmus; go on with that version, or start the run again in "
            "another folder."
        )
    run.keep_metrics_until(0 if state is None else state["loop"]["step"])
    return state


def _fabric(recipe: TrainingRecipe) -> Fabric:
    if recipe.batch % (recipe.devices * recipe.nodes):
        raise ConfigError(
            f"training.batch={recipe.batch} cannot be shared by {recipe.devices} devices on {recipe.nodes} nodes; expected a "
            "multiple of their number."
        )
    try:
        fabric = Fabric(
            accelerator=recipe.accelerator,
            devices=recipe.devices,
            num_nodes=recipe.nodes,
            precision=recipe.precision,  # type: ignore[arg-type]
        )
    except (
        ValueError,
        RuntimeError,
        ImportError,
        TypeError,
    ) as error:  # what Fabric raises for values that do not exist here
        raise ConfigError(
            f"training.accelerator={recipe.accelerator!r}, devices={recipe.devices}, precision={recipe.precision!r} cannot be "
            f"used here ({str(error).splitlines()[0]}); accelerator 'cpu', devices 1 and precision '32-true' always can."
        ) from error
    fabric.launch()
    return fabric


def _windows(recipe: Recipe, trials: TrialSource, fabric: Fabric) -> Windows:
    dt_ms = trials.header.dt_ms
    window, burn_in = round(recipe.data.window_ms / dt_ms), round(recipe.data.burn_in_ms / dt_ms)
    if burn_in >= window:
        raise ConfigError(
            f"data.burn_in_ms={recipe.data.burn_in_ms} leaves nothing of data.window_ms={recipe.data.window_ms} for the "
            "loss; use a shorter burn-in or longer windows."
        )
    return Windows(
        trials,
        window,
        recipe.training.batch,
        recipe.seed,
        BATCHES_PER_EPOCH,
        round(recipe.data.earliest_ms / dt_ms),
        Augmentation(recipe.data.neighbour, recipe.data.drop),
        share=(fabric.global_rank, fabric.world_size),
    )


class _Trainer:
    def __init__(
        self,
        recipe: Recipe,
        run: Run,
        fabric: Fabric,
        surrogate: Surrogate,
        validation: TrialSource,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self.recipe, self.run, self.fabric, self.surrogate = recipe, run, fabric, surrogate
        self.validation, self.on_progress = validation, on_progress
        optimizer = torch.optim.AdamW(
            [value for value in surrogate.parameters() if value.requires_grad],
            lr=recipe.training.learning_rate,
            weight_decay=recipe.training.weight_decay,
            fused=True,
        )
        self.model, self.optimizer = fabric.setup(surrogate, optimizer)
        self.averaged = AveragedModel(surrogate, multi_avg_fn=get_ema_multi_avg_fn(recipe.training.average))  # type: ignore[no-untyped-call]
        self.loop = _Loop()
        self.started = (time.perf_counter(), time.process_time())

    def restore(self, state: dict[str, Any]) -> None:
        self.surrogate.load_state_dict(state["neuron"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.loop = _Loop(**state["loop"])

    def save(self) -> None:
        if self.fabric.is_global_zero:
            loop = {"step": self.loop.step, "best": self.loop.best, "sums": self.loop.sums}
            optimizer = self.optimizer.state_dict()
            neuron, averaged = self.surrogate.state_dict(), self.averaged.state_dict()
            state = {"neuron": neuron, "averaged": averaged, "optimizer": optimizer, "loop": loop}
            self.run.save_state(state | {"format": STATE_FORMAT})
            self.note_cost()
        self.fabric.barrier()

    def note_cost(self) -> None:
        """Keep in the run folder how far this process got, and what that took."""
        wall, cpu = time.perf_counter() - self.started[0], time.process_time() - self.started[1]
        self.run.note_session(step=self.loop.step, seconds=round(wall, 1), cpu_seconds=round(cpu, 1))

    def train(self, windows: Windows, stop: Callable[[], bool]) -> None:
        """All steps that are left."""
        recipe, loop = self.recipe.training, self.loop
        burn_in = round(self.recipe.data.burn_in_ms / windows.trials.header.dt_ms)
        if self.fabric.is_global_zero:
            self.note_cost()  # so that a run resumed after its last step still counts as finished
        for batch in windows.loader(loop.step, recipe.steps, self.recipe.data.workers):
            losses = self._step(_to(batch, self.fabric.device), burn_in)
            loop.step += 1
            loop.sums = (loop.sums[0] + losses[0], loop.sums[1] + losses[1], loop.sums[2] + losses[2])
            if loop.step % recipe.log_every == 0:
                self._log(losses[0])
            if loop.step % recipe.validate_every == 0 or loop.step == recipe.steps:
                self._validate(losses[0])
            stopping = stop()
            if (
                self.fabric.world_size > 1
            ):  # signals reach processes at different steps; all must stop at the same
                stopping = self.fabric.strategy.reduce_boolean_decision(stopping, all=False)
            if loop.step % recipe.checkpoint_every == 0 or loop.step == recipe.steps or stopping:
                self.save()
            if stopping:
                return

    def _step(self, batch: Batch, burn_in: int) -> tuple[float, float, float]:
        recipe = self.recipe.training
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.loop.step, recipe)
        losses = objective(self.model(batch.events), batch, self.surrogate.units, recipe, burn_in)
        self.optimizer.zero_grad()
        self.fabric.backward(losses.total)
        norm = self._gradient_norm()
        if recipe.clip_norm is not None:
            self.fabric.clip_gradients(self.model, self.optimizer, max_norm=recipe.clip_norm)
        means = cast(Tensor, self.fabric.all_reduce(torch.stack(losses).detach(), reduce_op="mean"))
        total, spike, voltage = means.tolist()
        if not (math.isfinite(total) and math.isfinite(norm)):
            raise self._diverged(total)
        self.optimizer.step()
        if recipe.average:
            self.averaged.update_parameters(self.surrogate)
        return total, spike, voltage

    def _gradient_norm(self) -> float:
        gradients = [value.grad for value in self.surrogate.parameters() if value.grad is not None]
        return float(torch.nn.utils.get_total_norm(gradients))

    def _diverged(self, loss: float) -> DivergedError:
        parameters = list(self.surrogate.named_parameters())
        spoiled = [name for name, value in parameters if not value.isfinite().all()] or [
            name for name, value in parameters if value.grad is not None and not value.grad.isfinite().all()
        ]
        checkpoint = self.run.state_file if self.run.state_file.is_file() else "none yet"
        return DivergedError(
            f"step {self.loop.step + 1}: the loss is {loss}, not finite in {', '.join(spoiled) or 'no parameter'}. "
            f"Expected finite numbers. Last good checkpoint: {checkpoint}. Lower "
            "training.learning_rate, set training.clip_norm to 1, or use neuron.update=bounded; check the data with "
            "`ulmus data verify`."
        )

    def _log(self, loss: float) -> None:
        names = ("loss", "spike_loss", "voltage_loss")
        means = {
            name: total / self.recipe.training.log_every
            for name, total in zip(names, self.loop.sums, strict=True)
        }
        self.loop.sums = (0.0, 0.0, 0.0)
        rate = learning_rate(self.loop.step - 1, self.recipe.training)
        self._report({"step": self.loop.step, **means, "learning_rate": rate}, loss, None)

    def _validate(self, loss: float) -> None:
        scores: dict[str, Any] = {}
        if self.fabric.is_global_zero:
            surrogate = (
                cast(Surrogate, self.averaged.module) if self.recipe.training.average else self.surrogate
            )
            scores = validate(surrogate, self.validation, self.recipe)
            value = scores[self.recipe.training.select]
            # With no spike there is no AUC; then the loss decides.
            value = (
                scores["loss"] if value is None else -value if self.recipe.training.select == "auc" else value
            )
            if value < self.loop.best:
                self.loop.best = value
                surrogate.card |= {"step": self.loop.step, "validation": scores}
                self.run.save_best(surrogate)
            self._report({"step": self.loop.step, "validation": scores}, loss, scores)
        self.fabric.barrier()

    def _report(self, line: dict[str, Any], loss: float, scores: dict[str, Any] | None) -> None:
        if self.fabric.is_global_zero:
            self.run.log(line)
            if self.on_progress:
                self.on_progress(Progress(self.loop.step, self.recipe.training.steps, loss, scores))


def validate(surrogate: Surrogate, trials: TrialSource, recipe: Recipe) -> dict[str, Any]:
    """Scores on all validation trials under protocol ``stream``, with the loss; sets the surrogate's spike threshold."""
    protocol = PROTOCOLS["stream"]
    dt_ms = trials.header.dt_ms
    predictions = predict(surrogate, trials, protocol)
    skip = round(protocol.skip_ms / dt_ms)
    if predictions.spikes.shape[1] > skip:
        surrogate.spike_threshold = matching_threshold(predictions, skip)
    spike = functional.binary_cross_entropy_with_logits(
        torch.from_numpy(predictions.logit[:, skip:]), torch.from_numpy(predictions.spikes[:, skip:]).float()
    )
    error_mv = predictions.voltage_mv[:, skip:] - predictions.recorded_mv[:, skip:]
    voltage = float((error_mv**2).mean()) * surrogate.units.scale_per_mv**2
    loss = recipe.training.spike_weight * float(spike) + recipe.training.voltage_weight * voltage
    return {"loss": loss, **score(predictions, protocol, dt_ms), "spike_threshold": surrogate.spike_threshold}


def _to(batch: Batch, device: torch.device) -> Batch:
    voltage, spikes, trial, start = (part.to(device) for part in batch[1:])
    return Batch(batch.events.to(device), voltage, spikes, trial, start)
