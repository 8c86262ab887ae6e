"""On what a training runs: one process on CPU cores by itself; GPUs, several processes or mixed precision by Lightning Fabric."""

import os
import sys
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ulmus.errors import ConfigError, extra
from ulmus.training.recipe import TrainingSettings


class Processes(Protocol):
    """What the training loop asks of the processes that share it; a subset of Lightning's ``Fabric``."""

    @property
    def device(self) -> torch.device:
        """Where tensors lie."""

    @property
    def is_global_zero(self) -> bool:
        """Whether this is the process that writes."""

    @property
    def global_rank(self) -> int:
        """Number of this process."""

    @property
    def world_size(self) -> int:
        """How many processes there are."""

    def setup(self, model: nn.Module, optimizer: torch.optim.Optimizer, /) -> Any:
        """Model and optimiser, made ready for the device."""

    def backward(self, loss: Tensor, /) -> None:
        """Add the gradients of a loss."""

    def all_reduce(self, values: Tensor, /, *, reduce_op: str) -> Any:
        """Values of all processes, put together."""

    def barrier(self) -> None:
        """Wait for all processes."""

    def clip_gradients(self, model: Any, optimizer: Any, /, *, max_norm: float) -> Any:
        """Shorten the gradient of all parameters to this length."""

    def any_of(self, stopping: bool) -> bool:
        """Whether one of the processes says yes."""


class OneProcess:
    """This process alone, in single precision on CPU cores: no package is needed for that."""

    device = torch.device("cpu")
    is_global_zero, global_rank, world_size = True, 0, 1

    def setup(
        self, model: nn.Module, optimizer: torch.optim.Optimizer
    ) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Both as they are."""
        return model.to(self.device), optimizer

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss."""
        loss.backward()  # type: ignore[no-untyped-call]

    def all_reduce(self, values: Tensor, reduce_op: str) -> Tensor:
        """The values of this process."""
        return values

    def barrier(self) -> None:
        """Nobody to wait for."""

    def clip_gradients(self, model: nn.Module, optimizer: torch.optim.Optimizer, *, max_norm: float) -> None:
        """Shorten the gradient of all parameters to this length."""
        nn.utils.clip_grad_norm_(model.parameters(), max_norm, error_if_nonfinite=True)

    def any_of(self, stopping: bool) -> bool:
        """What this process says."""
        return stopping


def launch(training: TrainingSettings) -> Processes:
    """Devices, precision and processes that the recipe asks for.

    Raises:
        ConfigError: they do not exist here, or cannot share a batch.
        MissingToolError: Lightning Fabric is needed and not installed.
    """
    if training.batch % (training.devices * training.nodes):
        raise ConfigError(
            f"training.batch={training.batch} cannot be shared by {training.devices} devices on {training.nodes} nodes; "
            "expected a multiple of their number."
        )
    alone = (
        training.devices == training.nodes == 1 and "WORLD_SIZE" not in os.environ
    )  # set by torchrun and SLURM
    if alone and training.accelerator == "cpu" and training.precision == "32-true":
        return OneProcess()
    return _fabric(training)


def _fabric(training: TrainingSettings) -> Processes:
    with extra("devices", "training on GPUs, several devices or in mixed precision"):
        from lightning_fabric import Fabric

    class FabricProcesses(Fabric):
        def any_of(self, stopping: bool) -> bool:
            # Signals reach processes at different steps; all must stop at the same.
            return bool(self.strategy.reduce_boolean_decision(stopping, all=False))

    try:
        fabric = FabricProcesses(
            accelerator=training.accelerator,
            devices=training.devices,
            num_nodes=training.nodes,
            precision=training.precision,  # type: ignore[arg-type]
        )
    except (
        ValueError,
        RuntimeError,
        ImportError,
        TypeError,
    ) as error:  # what Fabric raises for values that do not exist here
        raise ConfigError(
            f"training.accelerator={training.accelerator!r}, devices={training.devices}, precision={training.precision!r} "
            f"cannot be used here ({str(error).splitlines()[0]}); accelerator 'cpu', devices 1 and precision '32-true' "
            "always can."
        ) from error
    fabric.launch()
    return fabric


def is_first_process() -> bool:
    """Whether this is the one of the processes that share a training which prints and writes."""
    ranks = sys.modules.get("lightning_fabric.utilities.rank_zero")
    return ranks is None or getattr(ranks.rank_zero_only, "rank", 0) == 0
