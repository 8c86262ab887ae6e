"""What the layer-5 pyramidal cell of NeuronIO is made of: channels, ions and synapses on any pyramidal morphology.

Densities are those of Shai et al. (2015) on the model of Hay et al. (2011), as simulated by Beniaguev et al.
(2021). Distances along the apical tree are fractions of its longest path, which on the published morphology
(1300.53 um) are the published ones.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64

from ulmus.errors import ConfigError, closest
from ulmus.teachers.morphology import APICAL, AXON, BASAL, SOMA, Morphology
from ulmus.teachers.morphology_files import load_morphology

INITIAL_MV = -76.0
AXIAL_RESISTIVITY_OHM_CM = 100.0
REST_REVERSAL_MV, POTASSIUM_MV, SODIUM_MV = -90.0, -85.0, 50.0
CALCIUM_INSIDE_MM, CALCIUM_OUTSIDE_MM = 5e-5, 2.0
CAPACITANCE_UF_CM2 = {SOMA: 1.0, AXON: 1.0, BASAL: 2.0, APICAL: 2.0}  # dendrites count their spines
LEAK_S_CM2 = {SOMA: 3e-5, AXON: 3e-5, BASAL: 6e-5, APICAL: 6e-5}

# S/cm2; calcium dynamics: decay in ms, and the share of calcium that stays free.
DENSITY: dict[str, dict[int, float]] = {
    "NaTs2_t": {SOMA: 0.998912, APICAL: 0.021489},
    "NaTa_t": {AXON: 3.89618},
    "Nap_Et2": {AXON: 0.005834},
    "K_Tst": {AXON: 0.077274},
    "K_Pst": {AXON: 0.188851},
    "SKv3_1": {SOMA: 0.338029, AXON: 0.473799, APICAL: 0.001808},
    "SK_E2": {SOMA: 0.09965, AXON: 0.000047, APICAL: 0.000002},
    "Im": {SOMA: 0.000008, AXON: 0.013322, APICAL: 0.00099},
    "Ca_HVA": {SOMA: 0.000644, AXON: 0.000222, APICAL: 0.000701},
    "Ca_LVAst": {SOMA: 0.000557, AXON: 0.000813},
    "Ih": {SOMA: 7.5e-5, AXON: 5e-5, BASAL: 5e-5},
}
CALCIUM_DYNAMICS = {SOMA: (294.679571, 0.000509), AXON: (277.300774, 0.000525), APICAL: (35.725651, 0.000637)}

PUBLISHED_APICAL_LENGTH_UM = 1300.5335
HOT_ZONE = (685.0 / PUBLISHED_APICAL_LENGTH_UM, 885.0 / PUBLISHED_APICAL_LENGTH_UM)
CALCIUM_LVA_HOT, CALCIUM_LVA_COLD = 0.2271264, 0.002271264


@dataclass(frozen=True)
class Receptor:
    """A conductance that rises and falls with each spike, as a difference of exponentials."""

    rise_ms: float
    decay_ms: float
    reversal_mv: float
    peak_ns: float


AMPA = Receptor(rise_ms=0.3, decay_ms=3.0, reversal_mv=0.0, peak_ns=0.4)
NMDA = Receptor(rise_ms=2.0, decay_ms=70.0, reversal_mv=0.0, peak_ns=0.4)
GABA_A = Receptor(rise_ms=0.2, decay_ms=8.0, reversal_mv=-80.0, peak_ns=1.0)
MAGNESIUM_MM = 1.0
PUBLISHED_AREA_PER_SEGMENT_UM2 = 29872.29 / 639


@dataclass(frozen=True)
class Quirks:
    """Accidents of the published simulation; all on gives the published cell.

    Attributes:
        distal_value: the last compartment of an apical section takes Ih and Ca_LVAst at the section's distal end.
        cold_calcium: the calcium reversal potential is that of 6.3 degrees Celsius (channels are at 34 regardless).
        silenced_by_event_at_zero: a synapse with an event in step 0 stays silent for the whole trial.
    """

    distal_value: bool = True
    cold_calcium: bool = True
    silenced_by_event_at_zero: bool = True

    @property
    def celsius(self) -> float:
        """Temperature of the calcium reversal potential."""
        return 6.3 if self.cold_calcium else 34.0


@dataclass(frozen=True, eq=False)
class Channel:
    """A mechanism on one region; a parameter is one number or one for each of the region's compartments."""

    mechanism: str
    region: int
    parameters: dict[str, float | Float64[np.ndarray, "compartments"]]


@dataclass(frozen=True, eq=False)
class PyramidalParameters:
    """What can be chosen of the cell, and the channels that follow from it.

    Attributes:
        morphology: the published cell when read from its reconstruction ``cell1.asc``; by default the shipped one.
        active_dendrites: False leaves only the leak in the dendrites.
        sk_scale: factor on every SK conductance (0.1 in one published variant).
        ih_shift_mv: moves the activation of Ih along the voltage axis.
        synapse: excitatory receptors: ``"nmda"`` (AMPA and NMDA together) or ``"ampa"``.
        synapse_scale: factor on every peak conductance. When not given it grows with the dendritic membrane per
            segment, so that the published input drives any morphology about as strongly as the published one, for
            which it is 1 (1.25 for the shipped cell, which fires at 0.9 Hz in the default regime, at 0.4 Hz without).
        quirks: which accidents of the published simulation to keep.

    Raises:
        ConfigError: An option that cannot be used.
    """

    morphology: Morphology = field(default_factory=load_morphology)
    active_dendrites: bool = True
    sk_scale: float = 1.0
    ih_shift_mv: float = 0.0
    synapse: Literal["nmda", "ampa"] = "nmda"
    synapse_scale: float | None = None
    quirks: Quirks = field(default_factory=Quirks)

    def __post_init__(self) -> None:
        if self.synapse not in ("nmda", "ampa"):
            raise ConfigError(
                f"synapse={self.synapse!r}: expected 'nmda' or 'ampa'.{closest(str(self.synapse), ['nmda', 'ampa'])} "
                f"Choose one of them."
            )
        for name, factor in (("sk_scale", self.sk_scale), ("synapse_scale", self.synapse_factor)):
            if not (np.isfinite(factor) and factor >= 0):
                raise ConfigError(
                    f"{name}={factor}: expected a factor of 0 or more, such as 1.0. Correct it."
                )
        if not abs(self.ih_shift_mv) <= 100:
            raise ConfigError(
                f"ih_shift_mv={self.ih_shift_mv}: expected -100 to 100 mV, such as 0. Correct it."
            )

    @property
    def synapse_factor(self) -> float:
        """The factor on every peak conductance."""
        if self.synapse_scale is not None:
            return self.synapse_scale
        area = self.morphology.compartments.area_um2[-self.morphology.segments :].sum()
        return round(float(area) / self.morphology.segments / PUBLISHED_AREA_PER_SEGMENT_UM2, 2)

    @cached_property
    def channels(self) -> tuple[Channel, ...]:
        """Every mechanism besides the leak, region by region."""
        found = [
            Channel(
                "bbp::" + name, region, {f"g{name}bar": value * (self.sk_scale if name == "SK_E2" else 1.0)}
            )
            for name, densities in DENSITY.items()
            for region, value in densities.items()
            if name != "Ih"
        ]
        found += [self._ih(region, value) for region, value in DENSITY["Ih"].items()]
        found += [self._ih(APICAL, self.apical_ih), self._low_voltage_calcium()]
        found += [
            Channel("bbp::CaDynamics_E2", region, {"decay": decay, "gamma": gamma})
            for region, (decay, gamma) in CALCIUM_DYNAMICS.items()
        ]
        if not self.active_dendrites:
            found = [channel for channel in found if channel.region not in (BASAL, APICAL)]
        return tuple(found)

    def _ih(self, region: int, density: float | np.ndarray) -> Channel:
        if self.ih_shift_mv == 0:
            return Channel("bbp::Ih", region, {"gIhbar": density})
        return Channel("ulmus::ih_shifted", region, {"gbar": density, "shift": self.ih_shift_mv})

    @cached_property
    def apical_fraction(self) -> Float64[np.ndarray, "apical"]:
        """Distance of each apical compartment from the start of the trunk, as a fraction of the longest path."""
        compartments = self.morphology.compartments
        at_end = compartments.last_of_section & self.quirks.distal_value
        distance = np.where(at_end, compartments.path_end_um, compartments.path_um)
        return np.asarray(distance[compartments.region == APICAL] / self.morphology.apical_length_um)

    @property
    def apical_ih(self) -> Float64[np.ndarray, "apical"]:
        """Density of Ih, growing exponentially up to 0.65 of the apical length (Kole et al. 2006)."""
        return np.asarray(1e-4 * (-0.8696 + 2.087 * np.exp(3.6161 * np.minimum(self.apical_fraction, 0.65))))

    @property
    def hot_zone(self) -> Bool[np.ndarray, "apical"]:
        """Which apical compartments lie in the zone of dense low-voltage calcium channels."""
        return np.asarray((self.apical_fraction > HOT_ZONE[0]) & (self.apical_fraction < HOT_ZONE[1]))

    def _low_voltage_calcium(self) -> Channel:
        density = np.where(self.hot_zone, CALCIUM_LVA_HOT, CALCIUM_LVA_COLD)
        return Channel("bbp::Ca_LVAst", APICAL, {"gCa_LVAstbar": density})
