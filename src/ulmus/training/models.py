"""The `model` of a recipe: which neuron or baseline is trained, with its sizes."""

from collections.abc import Mapping
from inspect import signature
from typing import Annotated, Any, Literal, get_args

from pydantic import Discriminator, Field, PositiveFloat, PositiveInt, Tag

from ulmus.baselines import LSTM, TCN, PointNeuron, SpikingNetwork, Transformer
from ulmus.neuron import ELM, ELMNetwork
from ulmus.settings import Settings

Share = Annotated[float, Field(ge=0, lt=1)]
"""A probability of being dropped."""


_DEFAULTS: dict[str, Any] = {name: one.default for name, one in signature(ELM).parameters.items()}
"""What `ulmus.ELM` takes for an argument that is not given; so do recipes."""


class _Neuron(Settings):
    """Arguments of `ulmus.ELM`, but for inputs, outputs and dt, which come from the data."""

    memory: PositiveInt = _DEFAULTS["memory"]
    hidden: PositiveInt | None = _DEFAULTS["hidden"]
    hidden_layers: int = Field(default=_DEFAULTS["hidden_layers"], ge=0)
    activation: Literal["relu", "silu", "squared_relu"] = _DEFAULTS["activation"]
    branches: PositiveInt | None = _DEFAULTS["branches"]
    synapses_per_branch: PositiveInt = _DEFAULTS["synapses_per_branch"]
    routing: Literal["dense", "random", "windows"] = _DEFAULTS["routing"]
    tau_memory_ms: tuple[PositiveFloat, PositiveFloat] = _DEFAULTS["tau_memory_ms"]
    tau_memory_bounds_ms: tuple[float, PositiveFloat] | None = _DEFAULTS["tau_memory_bounds_ms"]
    tau_spacing: Literal["log", "linear"] = _DEFAULTS["tau_spacing"]
    learn_tau_memory: bool = _DEFAULTS["learn_tau_memory"]
    tau_synapse_ms: PositiveFloat = _DEFAULTS["tau_synapse_ms"]
    gain: PositiveFloat = _DEFAULTS["gain"]
    update: Literal["published", "bounded"] = _DEFAULTS["update"]
    synaptic_weight: float = Field(default=_DEFAULTS["synaptic_weight"], ge=0)
    learn_synapses: bool = _DEFAULTS["learn_synapses"]
    scale_memory: bool = _DEFAULTS["scale_memory"]
    hidden_readout: bool = _DEFAULTS["hidden_readout"]
    input_dropout: Share = _DEFAULTS["input_dropout"]
    memory_dropout: Share = _DEFAULTS["memory_dropout"]
    hidden_dropout: Share = _DEFAULTS["hidden_dropout"]


class ELMModel(_Neuron):
    """An ELM neuron; the fields are the arguments of `ulmus.ELM`."""

    kind: Literal["elm"] = "elm"

    def build(self, inputs: int, outputs: int, dt_ms: float) -> ELM:
        """The neuron with random weights."""
        return ELM(inputs, outputs, dt_ms=dt_ms, **self.model_dump(exclude={"kind"}))


class ELMNetworkModel(_Neuron):
    """Layers of ELM neurons; the fields are the arguments of `ulmus.ELMNetwork`."""

    kind: Literal["elm-network"] = "elm-network"
    layers: PositiveInt = 2
    width: PositiveInt | None = None
    norm: bool = False
    dropout: Share = 0.0
    residual: bool = True

    def build(self, inputs: int, outputs: int, dt_ms: float) -> ELMNetwork:
        """The network with random weights."""
        return ELMNetwork(inputs, outputs, dt_ms=dt_ms, **self.model_dump(exclude={"kind"}))


class LSTMModel(Settings):
    """An LSTM; the fields are the arguments of `ulmus.baselines.LSTM`."""

    kind: Literal["lstm"] = "lstm"
    memory: PositiveInt = 100
    chrono_ms: tuple[PositiveFloat, PositiveFloat] | None = None
    input_dropout: Share = 0.0
    recurrent_dropout: Share = 0.0

    def build(self, inputs: int, outputs: int, dt_ms: float) -> LSTM:
        """The model with random weights."""
        return LSTM(inputs, outputs, dt_ms=dt_ms, **self.model_dump(exclude={"kind"}))


class SpikingModel(Settings):
    """A network of spiking units; the fields are the arguments of `ulmus.baselines.SpikingNetwork`."""

    kind: Literal["spiking"] = "spiking"
    units: PositiveInt = 256
    layers: PositiveInt = 1
    adaptive: bool = True
    tau_membrane_ms: tuple[PositiveFloat, PositiveFloat] = (5.0, 25.0)
    tau_adaptation_ms: tuple[PositiveFloat, PositiveFloat] = (30.0, 120.0)
    tau_readout_ms: PositiveFloat = 20.0
    dropout: Share = 0.0
    input_dropout: Share = 0.0

    def build(self, inputs: int, outputs: int, dt_ms: float) -> SpikingNetwork:
        """The model with random weights."""
        return SpikingNetwork(inputs, outputs, dt_ms=dt_ms, **self.model_dump(exclude={"kind"}))


class PointNeuronModel(Settings):
    """An integrate-and-fire neuron; the fields are the arguments of `ulmus.baselines.PointNeuron`."""

    kind: Literal["point-neuron"] = "point-neuron"
    adaptive: bool = False
    tau_membrane_ms: PositiveFloat = 20.0
    tau_synapse_ms: PositiveFloat = 5.0
    tau_adaptation_ms: PositiveFloat = 100.0
    synaptic_weight: PositiveFloat = 0.1

    def build(self, inputs: int, outputs: int, dt_ms: float) -> PointNeuron:
        """The neuron with its first weights."""
        return PointNeuron(inputs, outputs, dt_ms=dt_ms, **self.model_dump(exclude={"kind"}))


class TCNModel(Settings):
    """A temporal convolutional network; the fields are the arguments of `ulmus.baselines.TCN`."""

    kind: Literal["tcn"] = "tcn"
    channels: PositiveInt = 128
    kernels: tuple[PositiveInt, ...] = (54, 12, 12, 12, 12, 12, 12)
    dilation: PositiveInt = 1
    dropout: Share = 0.0

    def build(self, inputs: int, outputs: int, dt_ms: float) -> TCN:
        """The model with random weights."""
        return TCN(inputs, outputs, dt_ms=dt_ms, **self.model_dump(exclude={"kind"}))


class TransformerModel(Settings):
    """A Transformer encoder; the fields are the arguments of `ulmus.baselines.Transformer`."""

    kind: Literal["transformer"] = "transformer"
    width: PositiveInt = 128
    layers: PositiveInt = 3
    heads: PositiveInt = 4
    hidden: PositiveInt = 512
    dropout: Share = 0.1
    causal: bool = False

    def build(self, inputs: int, outputs: int, dt_ms: float) -> Transformer:
        """The model with random weights."""
        return Transformer(inputs, outputs, dt_ms=dt_ms, **self.model_dump(exclude={"kind"}))


def _kind(values: Any) -> Any:
    return values.get("kind", "elm") if isinstance(values, Mapping) else getattr(values, "kind", None)


Model = Annotated[
    Annotated[ELMModel, Tag("elm")]
    | Annotated[ELMNetworkModel, Tag("elm-network")]
    | Annotated[LSTMModel, Tag("lstm")]
    | Annotated[SpikingModel, Tag("spiking")]
    | Annotated[PointNeuronModel, Tag("point-neuron")]
    | Annotated[TCNModel, Tag("tcn")]
    | Annotated[TransformerModel, Tag("transformer")],
    Discriminator(_kind),
]
"""Every kind of model a recipe can name; without ``kind`` it is an ELM."""

MODELS: dict[str, type[Settings]] = {
    tag.tag: settings for settings, tag in map(get_args, get_args(get_args(Model)[0]))
}
"""The settings of every kind, by its name."""
