"""Detailed and simple neurons that make trials, and the input that drives them."""

from typing import TYPE_CHECKING

from ulmus.lazy import lazy

if TYPE_CHECKING:
    from ulmus.teachers.currents import CurrentRegime
    from ulmus.teachers.custom.arbor import ArborCell, ball_and_stick
    from ulmus.teachers.custom.cell import Synapse
    from ulmus.teachers.custom.neuron import NeuronCell
    from ulmus.teachers.integrate_and_fire import IntegrateAndFire, adaptive
    from ulmus.teachers.l5pc.cell import L5PC
    from ulmus.teachers.morphology_files import load_morphology
    from ulmus.teachers.regimes import InputRegime, SpikeCounts, regime_named, regime_of_rates
    from ulmus.teachers.runner import simulate
    from ulmus.teachers.spike_trains import SpikeTrains
    from ulmus.teachers.stimulus import InputGroup
    from ulmus.teachers.teacher import Answer, Drive, Teacher

__all__ = [
    "L5PC",
    "Answer",
    "ArborCell",
    "CurrentRegime",
    "Drive",
    "InputGroup",
    "InputRegime",
    "IntegrateAndFire",
    "NeuronCell",
    "SpikeCounts",
    "SpikeTrains",
    "Synapse",
    "Teacher",
    "adaptive",
    "ball_and_stick",
    "load_morphology",
    "regime_named",
    "regime_of_rates",
    "simulate",
]

# A simulator that is not installed is missed by the cells that need it alone.
__getattr__, __dir__ = lazy(__name__)
