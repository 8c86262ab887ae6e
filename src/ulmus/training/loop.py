"""The training loop: steps, checkpoints, validations; any model, any problem, resumable after every step."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ulmus.errors import CheckpointError, DivergedError
from ulmus.kernels import memory_budget
from ulmus.training.callbacks import Callback, Logger, TrainingProgress, log
from ulmus.training.devices import Processes
from ulmus.training.problem import Problem
from ulmus.training.recipe import Recipe, TrainingSettings
from ulmus.training.run import Run

STATE_FORMAT = 2
_SMALLEST_SHARE = 1e-3
"""Of the learning rate, at the end of an exponential schedule that would never be at zero."""
_SQUARES_FIT = 1e15
"""Norm up to which single precision can add up squares. Gradients through hundreds of steps do get longer at times, and clipping
them must not end a run of hours."""
_MOMENTUM = 0.9
_LONG_IN_A_ROW = 20
"""Gradients too long one after the other after which they are no exceptions any more."""


@dataclass
class _Position:
    """What changes from step to step, and is saved to go on from."""

    step: int = 0
    best: float = math.inf
    sums: list[float] = field(default_factory=list)
    """Losses since the last logged line."""
    skipped: int = 0
    """Steps that were left out, because their gradient was too long."""
    skipped_in_row: int = 0
    """Gradients too long one after the other."""
    not_finite_in_row: int = 0
    """Of these, the last ones that were not even finite."""
    since_best: int = 0
    """Validations since the best one."""


def learning_rate(step: int, training: TrainingSettings, steps: int) -> float:
    """Learning rate of a step: linear warm-up, then the schedule down to its final share."""
    if step < training.warmup_steps:
        return training.learning_rate * (step + 1) / training.warmup_steps
    done = (step - training.warmup_steps) / max(1, steps - training.warmup_steps)
    first, last = training.learning_rate, training.learning_rate * training.final_rate
    if training.schedule == "cosine":
        return last + (first - last) * 0.5 * (1 + math.cos(math.pi * done))
    if training.schedule == "linear":
        return last + (first - last) * (1 - done)
    if training.schedule == "exponential":
        return first * float(max(training.final_rate, _SMALLEST_SHARE) ** done)
    return first


class Loop:
    """Trains the model of a problem in a run folder."""

    def __init__(
        self,
        problem: Problem,
        recipe: Recipe,
        run: Run,
        fabric: Processes,
        on_progress: Callable[[TrainingProgress], None] | None = None,
        callbacks: Sequence[Callback] = (),
        loggers: Sequence[Logger] = (),
    ) -> None:
        self.callbacks, self.loggers, self._asked_to_stop = callbacks, loggers, False
        self.problem, self.recipe, self.run, self.fabric = problem, recipe, run, fabric
        self.training, self.on_progress = recipe.training, on_progress
        trained = [value for value in problem.model.parameters() if value.requires_grad]
        self.model, self.optimizer = fabric.setup(problem.model, _optimizer(trained, recipe.training))
        averaging = get_ema_multi_avg_fn(recipe.training.average)  # type: ignore[no-untyped-call]
        self.averaged = AveragedModel(problem.model, multi_avg_fn=averaging)
        self.position = _Position(sums=[0.0] * len(problem.losses))
        self.scores_note = ""
        self.started = (time.perf_counter(), time.process_time())

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a saved state.

        Raises:
            CheckpointError: it is of another version.
        """
        if state.get("format") != STATE_FORMAT:
            raise CheckpointError(
                f"{self.run.folder} has a state that another version of Ulmus wrote; go on with that version"
            )
        position = _Position(**state["position"])
        self.problem.model.load_state_dict(state["model"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.position = position

    def save(self) -> None:
        """Keep everything needed to go on from here."""
        if self.fabric.is_global_zero:
            self.run.save_state(
                {
                    "format": STATE_FORMAT,
                    "model": self.problem.model.state_dict(),
                    "averaged": self.averaged.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                    "position": asdict(self.position),
                }
            )
            self.note_cost()
        self.fabric.barrier()

    def note_cost(self, **more: Any) -> None:
        """Keep in the run folder how far this process got, what that took, and what else is to be known of it."""
        wall, cpu = time.perf_counter() - self.started[0], time.process_time() - self.started[1]
        self.run.note_session(
            step=self.position.step, seconds=round(wall, 1), cpu_seconds=round(cpu, 1), **more
        )

    def train(self, stop: Callable[[], bool]) -> None:
        """All steps that are left."""
        training, position, steps = self.training, self.position, self.recipe.steps
        if self.fabric.is_global_zero:
            self.note_cost()  # so that a run resumed after its last step still counts as finished
        share = (self.fabric.global_rank, self.fabric.world_size)
        for callback in self.callbacks:
            callback.on_train_start(self.run)
        with memory_budget(training.memory_budget_mib), torch.random.fork_rng(devices=[]):
            for batch in self.problem.batches(position.step, steps, share):
                loss = self.step(batch)
                if position.step % training.log_every == 0:
                    self._log(loss)
                if position.step % (training.validate_every or steps) == 0 or position.step == steps:
                    self._validate(loss)
                for callback in self.callbacks:
                    self._asked_to_stop |= bool(callback.on_train_batch_end(self._progress(loss)))
                early = training.patience is not None and position.since_best >= training.patience
                stopping = self.fabric.any_of(stop() or early or self._asked_to_stop)
                if position.step % training.checkpoint_every == 0 or position.step == steps or stopping:
                    self.save()
                if stopping:
                    if early and self.fabric.is_global_zero:
                        self.note_cost(stopped_early=True)
                    break
        for callback in self.callbacks:
            callback.on_train_end(self.run)

    def step(self, batch: Any) -> float:
        """One step of the optimiser; the loss."""
        # Dropout then depends on the number of the step alone, also after an interruption.
        # Bits of a large seed that 64 do not hold come in again from below.
        seed = (self.recipe.seed << 40) % 2**64 + (self.recipe.seed >> 24)
        torch.manual_seed((seed + (self.fabric.global_rank << 32) + self.position.step) % 2**64)
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.position.step, self.training, self.recipe.steps)
        losses = self.problem.loss(self.model, batch, self.fabric.device)
        self.optimizer.zero_grad()
        self.fabric.backward(losses[0])
        means = cast(Tensor, self.fabric.all_reduce(losses.detach(), reduce_op="mean")).tolist()
        if self._usable(means[0], self._gradient_norm()):
            self.optimizer.step()
            if self.training.average:
                self.averaged.update_parameters(self.problem.model)
        self.position.step += 1
        self.position.sums = [total + loss for total, loss in zip(self.position.sums, means, strict=True)]
        return float(means[0])

    def _gradients(self) -> list[Tensor]:
        return [value.grad for value in self.problem.model.parameters() if value.grad is not None]

    def _gradient_norm(self) -> float:
        return float(torch.nn.utils.get_total_norm([gradient.double() for gradient in self._gradients()]))

    def _usable(self, loss: float, norm: float) -> bool:
        """Clip the gradient of a step; False when the step is to be left out."""
        where, longest = f"step {self.position.step + 1}", self.training.skip_norm
        finite = math.isfinite(norm)
        if not math.isfinite(loss) or (longest is None and not finite):
            raise self._diverged(f"{where}: loss or gradient is not finite")
        clip, position = self.training.clip_norm, self.position
        if longest is None or norm <= longest:
            position.skipped_in_row = position.not_finite_in_row = 0
        else:
            position.skipped_in_row += 1
            position.not_finite_in_row = 0 if finite else position.not_finite_in_row + 1
            if position.not_finite_in_row == _LONG_IN_A_ROW:
                raise self._diverged(f"{where}: the last {_LONG_IN_A_ROW} gradients were not finite")
            if position.skipped_in_row < _LONG_IN_A_ROW or not finite:
                position.skipped += 1
                return False
            # Without a step, the weights would stay where all gradients are long.
            clip = longest if clip is None else min(clip, longest)
        if clip is not None:
            self._clip(norm, clip)
        return True

    def _clip(self, norm: float, largest: float) -> None:
        if norm > _SQUARES_FIT:
            longest = max(gradient.abs().max() for gradient in self._gradients())
            for gradient in self._gradients():
                gradient.div_(longest)
        self.fabric.clip_gradients(self.model, self.optimizer, max_norm=largest)

    def _checkpoint(self) -> str:
        return str(self.run.state_file) if self.run.state_file.is_file() else "none yet"

    def _diverged(self, what: str) -> DivergedError:
        parameters = list(self.problem.model.named_parameters())
        spoiled = [name for name, value in parameters if not value.isfinite().all()] or [
            name for name, value in parameters if value.grad is not None and not value.grad.isfinite().all()
        ]
        named = f" ({', '.join(spoiled)})" if spoiled else ""
        return DivergedError(
            f"{what}{named}; expected finite numbers. Last good checkpoint: "
            f"{self._checkpoint()}. Lower training.learning_rate, set training.clip_norm to 1, or use model.update=bounded; "
            "check the data with `ulmus data verify`."
        )

    def _log(self, loss: float) -> None:
        means = [total / self.training.log_every for total in self.position.sums]
        self.position.sums = [0.0] * len(means)
        rate = learning_rate(self.position.step - 1, self.training, self.recipe.steps)
        named = dict(zip(self.problem.losses, means, strict=True))
        skipped = {"skipped": self.position.skipped} if self.training.skip_norm else {}
        self._report({"step": self.position.step, **named, "learning_rate": rate, **skipped}, loss)

    def _validate(self, loss: float) -> None:
        if self.fabric.is_global_zero:
            model: Any = self.averaged.module if self.training.average else self.problem.model
            model.eval()
            scores, badness = self._scores(model)
            self.position.since_best += 1
            if badness < self.position.best:
                self.position.best, self.position.since_best = badness, 0
                model.card |= {"step": self.position.step, "validation": scores}
                self.run.save_best(model)
            self.scores_note = self.problem.note(scores)
            self._report({"step": self.position.step, "validation": scores}, loss)
            for callback in self.callbacks:
                self._asked_to_stop |= bool(callback.on_validation_end(self._progress(loss), scores))
        self.fabric.barrier()

    def _scores(self, model: Any) -> tuple[dict[str, Any], float]:
        where = f"validation after step {self.position.step}"
        try:
            with torch.no_grad():
                scores = self.problem.validate(model)
        except DivergedError as error:
            raise self._diverged(f"{where}: predictions are not finite") from error
        badness = self.problem.badness(scores)
        if not math.isfinite(badness):
            raise self._diverged(f"{where}: the loss is not finite")
        return scores, badness

    def _report(self, line: dict[str, Any], loss: float) -> None:
        if self.fabric.is_global_zero:
            self.run.log(line)
            log(self.loggers, line)
            if self.on_progress:
                self.on_progress(self._progress(loss))

    def _progress(self, loss: float) -> TrainingProgress:
        return TrainingProgress(self.position.step, self.recipe.steps, loss, self.scores_note)


def _optimizer(parameters: list[Tensor], training: TrainingSettings) -> torch.optim.Optimizer:
    rate, decay = training.learning_rate, training.weight_decay
    if training.optimizer in ("adam", "adamw"):
        return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay, fused=True)
    if training.optimizer == "adamax":
        return torch.optim.Adamax(parameters, lr=rate)
    if training.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=rate, weight_decay=decay, momentum=_MOMENTUM)
    if training.optimizer == "rmsprop":
        return torch.optim.RMSprop(parameters, lr=rate, weight_decay=decay)
    kind = torch.optim.NAdam if training.optimizer == "nadam" else torch.optim.RAdam
    return kind(parameters, lr=rate, weight_decay=decay, decoupled_weight_decay=True)
