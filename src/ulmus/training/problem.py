"""What the training loop does not know: the model, its batches, its losses and its scores."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ulmus import kernels
from ulmus.errors import CheckpointError
from ulmus.kernels import Events
from ulmus.neuron import ELM, load
from ulmus.neuron.called_layers import are_plain
from ulmus.neuron.files import weights_hash


class HeldOut(NamedTuple):
    """Sequences that training did not learn from, and how a model is scored on them."""

    place: str
    """Where they lie."""
    content_hash: str
    training_hashes: dict[str, str]
    """Of the training and validation data that lie beside them, to compare with those of a run."""
    scores: Callable[..., dict[str, Any]]
    """Called with the model, and with a function that is told how many batches are done and how many there are."""


class Problem(ABC):
    """A model and what it is to learn.

    Attributes:
        model: A fresh model; has a ``card`` and can be saved by `ulmus.save`.
        hashes: Hash of every part of the data, by name.
        losses: Names of the losses of a batch; the first is minimised.
        batches_per_epoch: Batches in which every training sequence comes up about once.
        validate_every: Steps between validations when the recipe does not say.
    """

    model: Any
    hashes: dict[str, str]
    losses: tuple[str, ...]
    batches_per_epoch: int
    validate_every: int

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a user should know of what was chosen from the data."""
        return ()

    def check_new(self) -> None:  # noqa: B027 - most problems have nothing to refuse
        """Refuse what a new run must not begin with; runs that began before are not stopped by it.

        Raises:
            ConfigError: names it.
        """

    @abstractmethod
    def batches(self, first: int, total: int, share: tuple[int, int]) -> Iterator[Any]:
        """Batches number `first` up to `total`, in order; of each the share of this process, (number, of how many)."""

    def stretches(self, total: int) -> list[int]:
        """First steps of parts of the training that take different times: where another lesson begins."""
        return [0]

    @abstractmethod
    def loss(self, model: nn.Module, batch: Any, device: torch.device) -> Float[Tensor, "losses"]:
        """Losses of a batch, in the order of ``losses``."""

    @abstractmethod
    def validate(self, model: Any) -> dict[str, Any]:
        """Scores on all validation data, ``loss`` among them."""

    @abstractmethod
    def badness(self, scores: dict[str, Any]) -> float:
        """What the best checkpoint has least of."""

    @abstractmethod
    def note(self, scores: dict[str, Any]) -> str:
        """The scores in a few words."""

    @abstractmethod
    def example(self) -> Tensor | Events:
        """Input of a batch."""

    def begin_with(self, start_from: str | None) -> None:
        """Take over the weights of a trained model, if the recipe names one, with what its card says of its trials; note
        their hash beside those of the data.

        Raises:
            CheckpointError: there is none, or it has another shape.
        """
        if start_from is None:
            return
        start = load(start_from)
        state = start.state_dict()
        try:
            self.model.load_state_dict(state)
        except RuntimeError as error:
            raise CheckpointError(
                f"the model in {start_from} has another shape than the recipe's ({str(error).splitlines()[-1].strip()}); "
                "use the same model settings and outputs (of a classifier: classes and hints), or leave start_from out."
            ) from error
        for use, parts in start.card.get("trials", {}).items():
            self.model.card["trials"][use] += parts
        self.hashes["start"] = weights_hash(state)

    def backend(self, device: torch.device) -> str:
        """Name of what computes the model."""
        # Layers that were replaced or have hooks are called at every step, by PyTorch.
        found = (module for module in self.model.modules() if isinstance(module, ELM))
        neurons = [neuron for neuron in found if are_plain([*neuron.mlp, neuron.readout])]
        if not neurons:
            return "torch"
        with torch.no_grad():
            return kernels.backend_for(self.example().to(device), neurons[0].weights())
