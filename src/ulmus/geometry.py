"""Where the inputs of a neuron lie in space, as far as drawing it needs to know."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ulmus.errors import ConfigError

ON_SOMA = -1


@dataclass(frozen=True, eq=False)
class Geometry:
    """The dendrites as straight pieces, and the piece that each input reaches.

    Attributes:
        proximal_um: end of each piece towards the soma: x, y, z.
        distal_um: its other end.
        diameter_um: its mean diameter.
        input_piece: piece on which each input lies, -1 for the soma.
        soma_centre_um: middle of the soma.
        soma_diameter_um: diameter of a soma drawn round.

    Raises:
        ConfigError: Arrays that do not fit each other, or values that are not finite.
    """

    proximal_um: Float[np.ndarray, "pieces 3"]
    distal_um: Float[np.ndarray, "pieces 3"]
    diameter_um: Float[np.ndarray, "pieces"]
    input_piece: Int[np.ndarray, "inputs"]
    soma_centre_um: Float[np.ndarray, "3"]
    soma_diameter_um: float

    def __post_init__(self) -> None:
        pieces = len(self.diameter_um)
        shapes = {name: np.shape(getattr(self, name)) for name in ("proximal_um", "distal_um")}
        if set(shapes.values()) != {(pieces, 3)} or np.shape(self.soma_centre_um) != (3,):
            raise ConfigError(
                f"geometry with {shapes} and {pieces} diameters: expected [pieces, 3] for both. Give every piece two ends "
                "and a diameter."
            )
        if not all(np.isfinite(values).all() for values in vars(self).values()):
            raise ConfigError("geometry with a coordinate or diameter that is not finite. Correct it.")
        wrong = self.input_piece[(self.input_piece < ON_SOMA) | (self.input_piece >= pieces)]
        if wrong.size:
            raise ConfigError(
                f"geometry with an input on piece {wrong[0]}: expected 0 to {pieces - 1}, or -1 for the soma. Correct it."
            )

    def with_input_on_soma(self) -> "Geometry":
        """The same with one more input, on the soma."""
        return replace(self, input_piece=np.append(self.input_piece, ON_SOMA))

    def to_json(self) -> dict[str, Any]:
        """The geometry as a dictionary for JSON, places to 0.1 um and diameters to 0.01 um."""
        ends = np.concatenate([self.proximal_um, self.distal_um], axis=1)
        return {
            "soma_um": [*_rounded(self.soma_centre_um, 1), round(float(self.soma_diameter_um), 2)],
            "pieces_um": [
                [*_rounded(row, 1), round(float(width), 2)]
                for row, width in zip(ends, self.diameter_um, strict=True)
            ],
            "input_piece": self.input_piece.tolist(),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Geometry":
        """The geometry that :meth:`to_json` wrote."""
        pieces = np.array(values["pieces_um"], dtype=np.float64).reshape(-1, 7)
        *centre, diameter = values["soma_um"]
        return cls(
            proximal_um=pieces[:, :3],
            distal_um=pieces[:, 3:6],
            diameter_um=pieces[:, 6],
            input_piece=np.array(values["input_piece"], dtype=np.int64),
            soma_centre_um=np.array(centre, dtype=np.float64),
            soma_diameter_um=float(diameter),
        )


def _rounded(values: Float[np.ndarray, "values"], digits: int) -> list[float]:
    return [round(float(value), digits) + 0.0 for value in values]  # no minus zero
