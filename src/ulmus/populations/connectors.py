"""Which neurons are connected: all to all, each pair with a probability, by distance, or a list; names as in PyNN."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from numbers import Real
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float, Int64, Integer

from ulmus.arguments import whole_numbers
from ulmus.errors import ConfigError

Pairs = tuple[Int64[np.ndarray, "connections"], Int64[np.ndarray, "connections"]]


class Connector(Protocol):
    """Chooses pairs of neurons."""

    def pairs(self, sources: int, targets: int, same: bool, draw: np.random.Generator) -> Pairs:
        """Sources and targets of connections; `same` says that sources are the targets."""


@dataclass(frozen=True)
class AllToAll:
    """Every source with every target."""

    allow_self_connections: bool = False

    def pairs(self, sources: int, targets: int, same: bool, draw: np.random.Generator) -> Pairs:
        """See `Connector`."""
        source, target = np.divmod(np.arange(sources * targets), targets)
        keep = (source != target) | (not same or self.allow_self_connections)
        return source[keep], target[keep]


@dataclass(frozen=True)
class FixedProbability:
    """Each pair with the same probability, independently.

    Raises:
        ConfigError: a probability that is none.
    """

    probability: float
    allow_self_connections: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.probability, float | Real) or not 0 <= self.probability <= 1:
            raise ConfigError(f"probability={self.probability!r} is not between 0 and 1.")

    def pairs(self, sources: int, targets: int, same: bool, draw: np.random.Generator) -> Pairs:
        """See `Connector`."""
        return _drawn(
            repeat(self.probability, sources), targets, same and not self.allow_self_connections, draw
        )


@dataclass(frozen=True)
class DistanceDependentProbability:
    """Each pair with a probability that depends on the distance of the two, in micrometres.

    Args:
        probability: From distances ``[targets]`` in um to probabilities ``[targets]``.
        source_um: Places of the sources.
        target_um: Places of the targets.
        allow_self_connections: Whether a neuron may be connected with itself.

    Raises:
        ConfigError: as many places as there are neurons were not given, or probabilities that are none.
    """

    probability: Callable[[Float[np.ndarray, "targets"]], Float[np.ndarray, "targets"]]
    source_um: Float[np.ndarray, "sources 3"]
    target_um: Float[np.ndarray, "targets 3"]
    allow_self_connections: bool = False

    def pairs(self, sources: int, targets: int, same: bool, draw: np.random.Generator) -> Pairs:
        """See `Connector`."""
        if np.shape(self.source_um) != (sources, 3) or np.shape(self.target_um) != (targets, 3):
            raise ConfigError(
                f"places of shapes {np.shape(self.source_um)} and {np.shape(self.target_um)} do not fit {sources} sources and "
                f"{targets} targets; expected x, y, z in um for each."
            )
        chances = map(self._chances, np.asarray(self.source_um))
        return _drawn(chances, targets, same and not self.allow_self_connections, draw)

    def _chances(self, place: Float[np.ndarray, "3"]) -> Float[np.ndarray, "targets"]:
        distances = np.linalg.norm(self.target_um - place, axis=1)
        chances = np.asarray(self.probability(distances))
        if chances.shape != distances.shape or not ((chances >= 0) & (chances <= 1)).all():
            raise ConfigError(
                "probability(distances) gave other than one number between 0 and 1 for each distance."
            )
        return chances


@dataclass(frozen=True)
class FromList:
    """A list of one's own: pairs of a source and a target, counted from 0 within their groups.

    Args:
        connections: The pairs; one that comes twice is connected twice.
        inputs: The input of its target that each of them reaches, where `Population.connect` is not to draw it.

    Raises:
        ConfigError: a neuron that does not exist, or another number of inputs than of pairs.
    """

    connections: Sequence[tuple[int, int]] | Integer[np.ndarray, "connections 2"]
    inputs: Sequence[int] | Integer[np.ndarray, "connections"] | None = None

    def pairs(self, sources: int, targets: int, same: bool, draw: np.random.Generator) -> Pairs:
        """See `Connector`."""
        pairs = whole_numbers("connections", self.connections)
        if pairs.ndim != 2 or pairs.shape[1] != 2:
            if pairs.size:
                raise ConfigError(
                    f"connections have shape {list(pairs.shape)}; expected pairs of a source and a target."
                )
            pairs = pairs.reshape(0, 2)
        if self.inputs is not None and np.shape(self.inputs) != (len(pairs),):
            raise ConfigError(
                f"{np.size(self.inputs)} inputs for {len(pairs)} connections; expected one for each."
            )
        outside = (pairs < 0).any(1) | (pairs[:, 0] >= sources) | (pairs[:, 1] >= targets)
        if outside.any():
            raise ConfigError(
                f"connection {pairs[outside][0].tolist()} does not exist; expected a source from 0 to {sources - 1} and a target "
                f"from 0 to {targets - 1}."
            )
        return pairs[:, 0], pairs[:, 1]


def _drawn(chances: Iterable[Any], targets: int, without_self: bool, draw: np.random.Generator) -> Pairs:
    """Each target with its chance, source by source."""
    found = [np.flatnonzero(draw.random(targets) < chance) for chance in chances]
    source = np.repeat(np.arange(len(found)), [len(some) for some in found])
    target = np.concatenate([*found, np.zeros(0, np.int64)])
    keep = (source != target) | (not without_self)
    return source[keep], target[keep]
