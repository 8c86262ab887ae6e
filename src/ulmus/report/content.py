"""What a report shows, as plain values: no model, no run folder, no plotting."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from ulmus.errors import ConfigError
from ulmus.evaluation.failures import Failures
from ulmus.evaluation.memory_encoding import MemoryEncoding
from ulmus.geometry import Geometry


@dataclass(frozen=True)
class ScoreRow:
    """One row of the score table.

    Attributes:
        label: what was measured, short.
        value: the number; None where it is undefined; a string is shown as it is.
        unit: unit of the value, empty for a pure number.
        explanation: one sentence on how to read it.
        headline: whether it also stands in large type under the title; three to five of them look best.
    """

    label: str
    value: float | int | str | None
    unit: str = ""
    explanation: str = ""
    headline: bool = False


@dataclass(frozen=True)
class InputStretch:
    """Neighbouring inputs with a name, such as the basal tree.

    Attributes:
        label: name of the group.
        first: index of its first input, counted among inputs of one sign.
        stop: index after its last input.
    """

    label: str
    first: int
    stop: int


class InputTrace(NamedTuple):
    """An input with a value at every time, such as an injected current.

    Attributes:
        label: what it is, with its unit.
        values: at the times of the voltage samples.
    """

    label: str
    values: Float[np.ndarray, "time"]


class AnswerTrace(NamedTuple):
    """A continuous answer beside the voltage of the soma: that of another site, or a further signal.

    Attributes:
        label: what it is, with its unit.
        values: at the times of the voltage samples; NaN where it is missing.
        predicted: of the surrogate.
    """

    label: str
    values: Float[np.ndarray, "time"]
    predicted: Float[np.ndarray, "time"]


@dataclass(frozen=True, eq=False)
class Example:
    """One trial: what went in, what the neuron did and what the surrogate says it did.

    Attributes:
        label: name of the trial on its button.
        time_ms: times of the voltage samples, equally spaced.
        voltage_mv: voltage of the neuron; spikes need not be cut off; NaN where it is missing. None where there is none.
        predicted_voltage_mv: voltage of the surrogate; None where there is none.
        spike_times_ms: output spikes of the neuron; None where they are not known.
        predicted_spike_times_ms: output spikes of the surrogate.
        spike_probability: the surrogate's probability of a spike in every time step.
        event_time_ms: time of every input event, in any order.
        event_input: input of every event.
        input_sign: +1 for an excitatory, -1 for an inhibitory input, of those that have events.
        clip_mv: where the surrogate's target was cut off; None where it was not.
        spike_threshold: probability above which the surrogate reports a spike; None where none was chosen.
        unscored_ms: beginning that no score counts.
        traces: inputs with a value at every time.
        answers: continuous answers beside the voltage of the soma.

    Raises:
        ConfigError: arrays that do not fit each other.
    """

    label: str
    time_ms: Float[np.ndarray, "time"]
    voltage_mv: Float[np.ndarray, "time"] | None
    predicted_voltage_mv: Float[np.ndarray, "time"] | None
    spike_times_ms: Float[np.ndarray, "spikes"] | None
    predicted_spike_times_ms: Float[np.ndarray, "predicted_spikes"] | None
    spike_probability: Float[np.ndarray, "time"] | None
    event_time_ms: Float[np.ndarray, "events"]
    event_input: Int[np.ndarray, "events"]
    input_sign: Int[np.ndarray, "inputs"]
    clip_mv: float | None = -55.0
    spike_threshold: float | None = None
    unscored_ms: float = 0.0
    traces: tuple[InputTrace, ...] = ()
    answers: tuple[AnswerTrace, ...] = ()

    def __post_init__(self) -> None:
        where = f"example {self.label!r}"
        _same_shape(
            where,
            time_ms=self.time_ms,
            voltage_mv=self.voltage_mv,
            predicted_voltage_mv=self.predicted_voltage_mv,
            spike_probability=self.spike_probability,
            **{trace.label: trace.values for trace in self.traces},
            **{answer.label: answer.values for answer in self.answers},
            **{f"predicted {answer.label}": answer.predicted for answer in self.answers},
        )
        _same_shape(where, event_time_ms=self.event_time_ms, event_input=self.event_input)
        if np.size(self.time_ms) < 2:
            raise ConfigError(
                f"{where} has {np.size(self.time_ms)} time steps; expected 2 or more; give a whole trial"
            )
        _indices_within(where, "event_input", self.event_input, len(self.input_sign))


@dataclass(frozen=True, eq=False)
class RocCurve:
    """Receiver operating characteristic of the spike prediction, over all evaluated time steps.

    Attributes:
        false_positive_rate: ascending, from 0 to 1.
        true_positive_rate: at each of them.
        auc: area under the curve.
        marks: operating points to point out, as pairs (false positive rate, true positive rate).

    Raises:
        ConfigError: rates that do not fit each other.
    """

    false_positive_rate: Float[np.ndarray, "thresholds"]
    true_positive_rate: Float[np.ndarray, "thresholds"]
    auc: float
    marks: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        _same_shape(
            "ROC", false_positive_rate=self.false_positive_rate, true_positive_rate=self.true_positive_rate
        )


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """How the fit went.

    Attributes:
        step: training step of every recorded loss.
        loss: training loss.
        validation_step: training step of every validation.
        validation: scores by name, with their unit; NaN where a score is undefined.
        best_step: step of the checkpoint that was kept; None where none was.

    Raises:
        ConfigError: arrays that do not fit each other.
    """

    step: Int[np.ndarray, "steps"]
    loss: Float[np.ndarray, "steps"]
    validation_step: Int[np.ndarray, "validations"]
    validation: Mapping[str, Float[np.ndarray, "validations"]]
    best_step: int | None = None

    def __post_init__(self) -> None:
        _same_shape("learning curve", step=self.step, loss=self.loss)
        _same_shape("learning curve", validation_step=self.validation_step, **self.validation)


@dataclass(frozen=True, eq=False)
class Learned:
    """Synaptic weights and time constants of the surrogate.

    Attributes:
        synaptic_weights: rectified weight of every synapse.
        connected: whether the synapse receives any input.
        input_index: which input feeds it.
        tau_memory_ms: time constant of every memory unit.
        tau_synapse_ms: synaptic time constant of every branch (or a single one).
        input_sign: +1 for an excitatory, -1 for an inhibitory input.
        stretches: named stretches of neighbouring inputs, such as basal and apical.
        geometry: where the inputs lie on the detailed neuron; None where that is not known.

    Raises:
        ConfigError: arrays that do not fit each other.
    """

    synaptic_weights: Float[np.ndarray, "branches synapses"]
    connected: Bool[np.ndarray, "branches synapses"]
    input_index: Int[np.ndarray, "branches synapses"]
    tau_memory_ms: Float[np.ndarray, "memory"]
    tau_synapse_ms: Float[np.ndarray, "branches"]
    input_sign: Int[np.ndarray, "inputs"]
    stretches: tuple[InputStretch, ...] = ()
    geometry: Geometry | None = None

    def __post_init__(self) -> None:
        _same_shape(
            "learned weights",
            synaptic_weights=self.synaptic_weights,
            connected=self.connected,
            input_index=self.input_index,
        )
        if np.ndim(self.synaptic_weights) != 2:
            raise ConfigError(
                f"learned weights: synaptic_weights has shape {np.shape(self.synaptic_weights)}; expected "
                "[branches, synapses]; give one row for each branch"
            )
        _indices_within("learned weights", "input_index", self.input_index, len(self.input_sign))
        if self.geometry is not None and len(self.geometry.input_piece) != len(self.input_sign):
            raise ConfigError(
                f"learned weights of {len(self.input_sign)} inputs on a morphology with "
                f"{len(self.geometry.input_piece)}; expected as many; give the morphology of this neuron"
            )


@dataclass(frozen=True, eq=False, kw_only=True)
class Content:
    """What the reports of all kinds of model show.

    Attributes:
        title: name of the run.
        subtitle: one sentence on what was fitted to what.
        scores: rows of the score table.
        learning_curve: None where there is none; ``learning_curve_absent`` then says why.
        recipe_yaml: the resolved recipe.
        provenance: versions, hashes, seeds, by name.
        notes: remarks a reader should see, one paragraph each.
        learning_curve_absent: sentence in place of the learning curve.
    """

    title: str
    subtitle: str
    scores: tuple[ScoreRow, ...]
    learning_curve: LearningCurve | None
    recipe_yaml: str
    provenance: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    learning_curve_absent: str = "The run was too short to log a loss and a validation."


@dataclass(frozen=True, eq=False, kw_only=True)
class SurrogateContent(Content):
    """Everything the report of a fitted neuron shows.

    Attributes:
        examples: trials to look at, chosen by a button each; two or three keep the file small.
        roc: None where it is undefined; the page then says why.
        learned: weights and time constants; None for a model that has none.
        evaluated_on: one sentence on the trials behind scores and examples, such as whether they were held out.
        failures: where the surrogate fails; None leaves this part out.
        moments: its worst moments: short stretches of trials.
        memory_encoding: what memory units encode; None leaves this part out.
    """

    examples: tuple[Example, ...]
    roc: RocCurve | None
    learned: Learned | None
    evaluated_on: str = ""
    failures: Failures | None = None
    moments: tuple[Example, ...] = ()
    memory_encoding: MemoryEncoding | None = None


@dataclass(frozen=True, eq=False)
class Confusion:
    """Which classes were taken for which.

    Attributes:
        classes: names of the classes.
        counts: sequences of every true class (rows) by the class they were taken for (columns).

    Raises:
        ConfigError: not a row and a column for every class.
    """

    classes: tuple[str, ...]
    counts: Int[np.ndarray, "classes classes"]

    def __post_init__(self) -> None:
        size = len(self.classes)
        if np.shape(self.counts) != (size, size):
            raise ConfigError(
                f"confusion has shape {np.shape(self.counts)}; expected a row and a column for each of {size} classes; "
                "score the classifier again"
            )


@dataclass(frozen=True, eq=False)
class TimeConstants:
    """Time constants of a layer of neurons.

    Attributes:
        label: name of the layer.
        memory_ms: of every memory unit.
        synapse_ms: of the synapses of every branch (or a single one).
    """

    label: str
    memory_ms: Float[np.ndarray, "memory"]
    synapse_ms: Float[np.ndarray, "branches"]


@dataclass(frozen=True, eq=False, kw_only=True)
class ClassifierContent(Content):
    """Everything the report of a classifier shows.

    Attributes:
        confusion: of the test sequences; None while they have not been scored.
        confusion_absent: sentence in place of it.
        time_constants: a layer each; none for a model that has no such thing.
        heading: above the scores.
        lead: what the scores mean, in a sentence.
    """

    confusion: Confusion | None
    confusion_absent: str
    time_constants: tuple[TimeConstants, ...]
    heading: str = "How often it is correct"
    lead: str = "A sequence counts as correct when its own class has the highest score."


def _same_shape(where: str, **arrays: np.ndarray | None) -> None:
    shapes = {name: np.shape(array) for name, array in arrays.items() if array is not None}
    if len(set(shapes.values())) > 1:
        raise ConfigError(
            f"{where} has shapes {shapes}; expected the same shape for all; cut them to the same steps"
        )


def _indices_within(where: str, name: str, indices: np.ndarray, inputs: int) -> None:
    if np.size(indices) and not 0 <= np.min(indices) <= np.max(indices) < inputs:
        raise ConfigError(
            f"{where}: {name} runs from {np.min(indices)} to {np.max(indices)}; expected inputs 0 to {inputs - 1}, "
            "one for each entry of input_sign; correct the indices"
        )
