"""The layer-5 pyramidal cell of NeuronIO as a teacher."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Int8

from ulmus.errors import ConfigError
from ulmus.geometry import Geometry
from ulmus.teachers.l5pc.parameters import PyramidalParameters
from ulmus.teachers.morphology import APICAL, BASAL, REGION_NAMES
from ulmus.teachers.regimes import REGIMES, InputRegime
from ulmus.teachers.stimulus import InputGroup
from ulmus.teachers.teacher import Answer, Drive, Teacher, check_indices


@dataclass(frozen=True, eq=False)
class L5PC(PyramidalParameters, Teacher):
    """A layer-5 pyramidal cell with one excitatory and one inhibitory synapse on each dendritic segment.

    Inputs ``0 .. S-1`` are the excitatory synapses of the S segments, ``S .. 2S-1`` the inhibitory ones.

    Raises:
        ConfigError: An option that cannot be used.
    """

    @property
    def input_sign(self) -> Int8[np.ndarray, "inputs"]:
        """+1 for each excitatory, then -1 for each inhibitory input."""
        return np.repeat(np.array([1, -1], dtype=np.int8), self.morphology.segments)

    @property
    def groups(self) -> tuple[InputGroup, ...]:
        """The basal and the apical tree."""
        segments, length = self.morphology.segments, self.morphology.segment_length_um
        trees = []
        for region in (BASAL, APICAL):
            members = np.flatnonzero(self.morphology.segment_region == region)
            both = np.concatenate([members, segments + members])
            trees.append(InputGroup(REGION_NAMES[region], both, np.tile(length[members], 2)))
        return tuple(trees)

    @property
    def regime(self) -> InputRegime:
        """The ranges of the published script."""
        return REGIMES["default"]

    @property
    def simulator(self) -> str:
        """Arbor."""
        from ulmus.teachers.arbor_engine import SIMULATOR

        return SIMULATOR

    @cached_property
    def geometry(self) -> Geometry:
        """The dendritic segments, each with its excitatory and its inhibitory input."""
        morphology = self.morphology
        segments, ends = morphology.segments, morphology.segment_ends_um
        area = morphology.compartments.area_um2[-segments:]
        return Geometry(
            proximal_um=ends[:, 0],
            distal_um=ends[:, 1],
            diameter_um=area / (np.pi * morphology.segment_length_um),
            input_piece=np.tile(np.arange(segments), 2),
            soma_centre_um=morphology.soma_centre_um,
            soma_diameter_um=math.sqrt(morphology.soma_length_um * morphology.soma_diameter_um),
        )

    def prepare(self) -> None:
        """Compile the synapses, once for this version of Arbor."""
        from ulmus.teachers.catalogue import compiled_mechanisms

        compiled_mechanisms()

    def site_names(self, sites: Sequence[int | str]) -> tuple[str, ...]:
        """``"segment N"`` for each dendritic segment, given by its number."""
        numbers = []
        for site in sites:
            text = str(site).removeprefix("segment").strip()
            if not text.isdecimal():
                raise ConfigError(
                    f"sites holds {site!r}: expected numbers of dendritic segments, 0 to {self.morphology.segments - 1}. "
                    f"Correct it."
                )
            numbers.append(int(text))
        check_indices("sites", np.array(numbers, dtype=np.int64), self.morphology.segments)
        return tuple(f"segment {number}" for number in numbers)

    def answer(self, drive: Drive, dt_ms: float, sites: tuple[str, ...]) -> Answer:
        """Simulate with Arbor, from the resting gates at -76 mV."""
        from ulmus.teachers.arbor_engine import run_cable
        from ulmus.teachers.l5pc.arbor import describe

        silent: set[int] = set()
        if self.quirks.silenced_by_event_at_zero:
            silent = set(drive.event_input[drive.event_step == 0].tolist())
        return run_cable(describe(self, sites), drive, dt_ms, silent)

    def settings(self) -> dict[str, Any]:
        """What the cell is, for the header of a data set."""
        return {
            "cell": "l5pc",
            "morphology": self.morphology.name,
            "segments": self.morphology.segments,
            "active_dendrites": self.active_dendrites,
            "sk_scale": self.sk_scale,
            "ih_shift_mv": self.ih_shift_mv,
            "synapse": self.synapse,
            "synapse_scale": self.synapse_factor,
            "quirks": dict(vars(self.quirks)),
        }
