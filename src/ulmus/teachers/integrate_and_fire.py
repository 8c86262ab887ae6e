"""The simplest teachers: a leaky integrate-and-fire neuron, without and with spike-frequency adaptation."""

import math
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float64, Int8

from ulmus.errors import ConfigError
from ulmus.teachers.regimes import InputRegime, SpikeCounts
from ulmus.teachers.stimulus import InputGroup
from ulmus.teachers.teacher import Answer, Drive, Teacher
from ulmus.trials.header import MAX_INPUTS

WEIGHT_OF_ALL_MV = 480.0
"""Drive of one event at every excitatory input, from which the weight of one follows."""


@dataclass(frozen=True)
class IntegrateAndFire(Teacher):
    """A leaky integrate-and-fire neuron with exponential synaptic currents.

    Between spikes, ``tau_membrane dv/dt = rest + bias + R I - v + s`` and ``tau_synapse ds/dt = -s``; an event adds
    ``weight_mv`` times the sign of its input to s. Where v reaches ``threshold + a`` there is a spike: v stays at the
    reset for ``refractory_ms`` and a grows by ``adaptation_mv``, which then decays with ``tau_adaptation_ms``. An
    adaptation of 0 is the plain neuron (LIF), any other the adaptive one (ALIF; Bellec et al. 2018).

    Both equations are solved exactly from step to step, so the integration step only rounds spike times up to it.

    Attributes:
        excitatory: number of excitatory inputs, which come first.
        inhibitory: number of inhibitory inputs.
        tau_membrane_ms: membrane time constant.
        tau_synapse_ms: time constant of the synaptic currents; other than that of the membrane.
        rest_mv: resting potential.
        threshold_mv: firing threshold at rest.
        reset_mv: voltage after a spike.
        refractory_ms: how long it stays there, whole ms.
        weight_mv: synaptic drive that one event adds. When not given it is 480 mV shared among the excitatory inputs, with
            which the neuron fires at a few Hz for any number of them (6 mV for 80; more often without inhibition).
        bias_mv: constant drive.
        resistance_mohm: input resistance R, by which an injected current I drives the neuron.
        adaptation_mv: how much a spike raises the threshold.
        tau_adaptation_ms: time constant of its decay.

    Raises:
        ConfigError: A value that no neuron can have.
    """

    excitatory: int = 80
    inhibitory: int = 20
    tau_membrane_ms: float = 20.0
    tau_synapse_ms: float = 5.0
    rest_mv: float = -70.0
    threshold_mv: float = -55.0
    reset_mv: float = -70.0
    refractory_ms: int = 2
    weight_mv: float | None = None
    bias_mv: float = 0.0
    resistance_mohm: float = 100.0
    adaptation_mv: float = 0.0
    tau_adaptation_ms: float = 100.0

    def __post_init__(self) -> None:
        most = MAX_INPUTS - self.excitatory
        if not (self.excitatory >= 1 and 0 <= self.inhibitory <= most and 0 <= self.refractory_ms < 2**31):
            raise ConfigError(
                f"excitatory={self.excitatory}, inhibitory={self.inhibitory}, refractory_ms={self.refractory_ms}: expected "
                f"at least one excitatory input, {MAX_INPUTS:,} inputs at most, and nothing negative. Correct them."
            )
        for name in ("tau_membrane_ms", "tau_synapse_ms", "tau_adaptation_ms"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ConfigError(
                    f"{name}={getattr(self, name)}: expected a positive time constant. Correct it."
                )
        for name, value in vars(self).items():
            if not math.isfinite(value or 0.0):
                raise ConfigError(f"{name}={value}: expected a finite number. Correct it.")
        if math.isclose(self.tau_membrane_ms, self.tau_synapse_ms):
            raise ConfigError(
                f"tau_synapse_ms={self.tau_synapse_ms} equals tau_membrane_ms: expected different time constants. "
                f"Change one of them."
            )
        if not (self.reset_mv < self.threshold_mv and self.rest_mv < self.threshold_mv):
            raise ConfigError(
                f"threshold_mv={self.threshold_mv}: expected a threshold above rest ({self.rest_mv}) and reset "
                f"({self.reset_mv}). Correct it."
            )

    @property
    def event_mv(self) -> float:
        """Synaptic drive that one event adds."""
        return WEIGHT_OF_ALL_MV / self.excitatory if self.weight_mv is None else self.weight_mv

    @cached_property
    def input_sign(self) -> Int8[np.ndarray, "inputs"]:
        """+1 for each excitatory, then -1 for each inhibitory input."""
        return np.repeat(np.array([1, -1], dtype=np.int8), [self.excitatory, self.inhibitory])

    @cached_property
    def groups(self) -> tuple[InputGroup, ...]:
        """All inputs share one rate."""
        inputs = np.arange(self.excitatory + self.inhibitory)
        return (InputGroup("inputs", inputs, np.ones(len(inputs))),)

    @property
    def regime(self) -> InputRegime:
        """Up to 15 Hz for each excitatory input, and about as strong inhibition."""
        spikes = 1.5 * self.excitatory
        return InputRegime("default", {"inputs": SpikeCounts((0, spikes), (-spikes, 0))})

    @property
    def simulator(self) -> str:
        """Ulmus itself."""
        return "exact integration"

    def settings(self) -> dict[str, Any]:
        """What the neuron is, for the header of a data set."""
        return {
            "cell": "adaptive-lif" if self.adaptation_mv else "lif",
            **asdict(self),
            "weight_mv": self.event_mv,
        }

    def answer(self, drive: Drive, dt_ms: float, sites: tuple[str, ...]) -> Answer:
        """Exact integration from step to step."""
        sign = self.input_sign[drive.event_input].astype(np.float64)
        arriving = self.event_mv * np.bincount(drive.event_step, weights=sign, minlength=drive.steps)
        current_na = np.zeros(drive.steps) if drive.current_na is None else drive.current_na
        injected = self.resistance_mohm * current_na
        voltage, spikes = self._integrate(arriving, injected, round(1 / dt_ms))
        return Answer(voltage[:, None], spikes)

    def _integrate(
        self, drive_mv: Float64[np.ndarray, "time"], injected_mv: Float64[np.ndarray, "time"], parts: int
    ) -> tuple[Float64[np.ndarray, "time"], Float64[np.ndarray, "spikes"]]:
        """Voltage at the beginning of every ms and spike times, in ``parts`` steps for each ms."""
        dt = 1 / parts
        membrane, synapse = math.exp(-dt / self.tau_membrane_ms), math.exp(-dt / self.tau_synapse_ms)
        forgotten = math.exp(-dt / self.tau_adaptation_ms)
        passed = (synapse - membrane) * self.tau_synapse_ms / (self.tau_synapse_ms - self.tau_membrane_ms)
        hold = self.refractory_ms * parts
        voltage, spikes = np.empty(len(drive_mv)), []
        v, s, raised, resting = self.rest_mv, 0.0, 0.0, 0
        targets = (self.rest_mv + self.bias_mv + injected_mv).tolist()
        for step, (arriving, target) in enumerate(zip(drive_mv.tolist(), targets, strict=True)):
            voltage[step] = v
            s += arriving
            for part in range(1, parts + 1):
                v = target + (v - target) * membrane + s * passed
                s, raised = s * synapse, raised * forgotten
                if resting:
                    v, resting = self.reset_mv, resting - 1
                elif v >= self.threshold_mv + raised:
                    spikes.append(step + part * dt)
                    v, resting, raised = self.reset_mv, hold, raised + self.adaptation_mv
        return voltage, np.array(spikes, dtype=np.float64)


def adaptive(**settings: Any) -> IntegrateAndFire:
    """An adaptive integrate-and-fire neuron: each spike raises the threshold by 4 mV for about 100 ms."""
    return IntegrateAndFire(**{"adaptation_mv": 4.0, **settings})
