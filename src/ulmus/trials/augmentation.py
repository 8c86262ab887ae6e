"""Small changes of the input that should not change the output: they keep a fit from overfitting few trials."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int8, Int32

from ulmus.arguments import check_shares


@dataclass(frozen=True)
class Augmentation:
    """Random changes of input events.

    Attributes:
        neighbour: Probability that an event moves to a neighbouring input of the same sign. Inputs are ordered along
            the dendrite, so a neighbour is a synapse a few tens of micrometres away.
        drop: Probability that an event is left out; the others grow by ``1 / (1 - drop)``.

    Raises:
        ConfigError: a probability outside of [0, 1).
    """

    neighbour: float = 0.0
    drop: float = 0.0

    def __post_init__(self) -> None:
        check_shares(neighbour=self.neighbour, drop=self.drop)

    def __call__(
        self,
        inputs: Int32[np.ndarray, "events"],
        sign: Int8[np.ndarray, "inputs"],
        random: np.random.Generator,
    ) -> tuple[Int32[np.ndarray, "events"], Float32[np.ndarray, "events"]]:
        """Inputs and amplitudes of the changed events."""
        if self.neighbour:
            # One number decides both whether an event moves and in which direction.
            draw = random.random(len(inputs), dtype=np.float32)
            step = (draw < self.neighbour / 2).astype(np.int32) - (draw > 1 - self.neighbour / 2).astype(
                np.int32
            )
            moved = np.clip(inputs + step, 0, len(sign) - 1)
            inputs = np.where(sign[moved] == sign[inputs], moved, inputs)
        values = sign[inputs].astype(np.float32)
        if self.drop:
            kept = random.random(len(inputs), dtype=np.float32) >= self.drop
            values *= kept / np.float32(1 - self.drop)
        return inputs, values
