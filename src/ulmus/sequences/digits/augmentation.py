"""Small changes of a clip that should not change the digit: they keep a model from overfitting its few speakers."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from ulmus.arguments import check_shares
from ulmus.errors import ConfigError
from ulmus.sequences.digits.shd import CHANNELS


@dataclass(frozen=True)
class ClipAugmentation:
    """Random changes of the spikes of a clip.

    Attributes:
        shift: A whole clip moves up or down by at most this many channels, as another voice would (uniform).
        jitter: Standard deviation in channels by which every spike moves on its own (normal).
        stretch: Largest relative change of the duration (uniform in ``1 - stretch`` to ``1 + stretch``).
        drop: Probability that a spike is left out.
    """

    shift: int = 0
    jitter: float = 0.0
    stretch: float = 0.0
    drop: float = 0.0

    def __post_init__(self) -> None:
        check_shares(stretch=self.stretch, drop=self.drop)
        for name, channels in (("shift", self.shift), ("jitter", self.jitter)):
            if not 0 <= channels < CHANNELS:
                raise ConfigError(f"{name}={channels}: expected 0 (off) or more channels, below {CHANNELS}.")

    def __call__(
        self,
        times_s: Float64[np.ndarray, "spikes"],
        units: Int64[np.ndarray, "spikes"],
        random: np.random.Generator,
    ) -> tuple[Float64[np.ndarray, "kept"], Int64[np.ndarray, "kept"]]:
        """The changed spikes; those that leave the 700 channels are lost."""
        if self.stretch:
            times_s = times_s * random.uniform(1 - self.stretch, 1 + self.stretch)
        if self.shift:
            units = units + random.integers(-self.shift, self.shift, endpoint=True)
        if self.jitter:
            units = units + np.rint(random.normal(0, self.jitter, units.size)).astype(np.int64)
        kept = (units >= 0) & (units < CHANNELS)
        if self.drop:
            kept &= random.random(units.size) >= self.drop
        return times_s[kept], units[kept]
