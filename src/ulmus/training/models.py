"""The `model` of a recipe: which neuron or baseline is trained, with its sizes."""

import inspect
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Discriminator, Field, PositiveFloat, PositiveInt, Tag

from ulmus.baselines import LSTM, TCN, LSTMNetwork, PointNeuron, SpikingNetwork, Transformer
from ulmus.errors import ConfigError
from ulmus.neuron import ELM, ELMLayer, ELMNetwork
from ulmus.settings import Settings

Share = Annotated[float, Field(ge=0, lt=1)]
"""A probability of being dropped."""


class _ModelSettings(Settings):
    """Arguments of a model but for inputs, outputs and dt, which come from the data; its defaults are those of the model."""

    builds: ClassVar[type[Any]]

    @classmethod
    def __pydantic_init_subclass__(cls, **settings: Any) -> None:
        super().__pydantic_init_subclass__(**settings)
        if hasattr(cls, "builds"):
            for name, parameter in inspect.signature(cls.builds).parameters.items():
                if name in cls.model_fields and cls.model_fields[name].is_required():
                    cls.model_fields[name].default = parameter.default
            cls.model_rebuild(force=True)

    def build(self, inputs: int, outputs: int, dt_ms: float) -> Any:
        """The model with random weights.

        Raises:
            ConfigError: it does not fit into memory.
        """
        try:
            return self.builds(inputs, outputs, dt_ms=dt_ms, **self.model_dump(exclude={"kind"}))
        except (RuntimeError, MemoryError) as error:
            reason = " ".join(str(error).split())[-120:]
            raise ConfigError(
                f"a model of these sizes cannot be made ({reason}); expected one that fits into memory; make it smaller"
            ) from error


class _Neuron(_ModelSettings):
    """Arguments of `ulmus.ELM`."""

    builds: ClassVar[type[Any]] = ELM
    memory: PositiveInt
    hidden: PositiveInt | None
    hidden_layers: int = Field(ge=0)
    activation: Literal["relu", "silu", "squared_relu"]
    branches: PositiveInt | None
    synapses_per_branch: PositiveInt
    routing: Literal["dense", "random", "windows"]
    tau_memory_ms: tuple[PositiveFloat, PositiveFloat]
    tau_memory_bounds_ms: tuple[float, PositiveFloat] | None
    tau_spacing: Literal["log", "linear"]
    learn_tau_memory: bool
    tau_synapse_ms: PositiveFloat | tuple[PositiveFloat, ...]
    gain: PositiveFloat
    update: Literal["published", "bounded"]
    synaptic_weight: float = Field(ge=0)
    learn_synapses: bool
    scale_memory: bool
    hidden_readout: bool
    input_dropout: Share
    memory_dropout: Share
    hidden_dropout: Share


class ELMModel(_Neuron):
    """An ELM neuron; the fields are the arguments of `ulmus.ELM`."""

    kind: Literal["elm"] = "elm"


class ELMNetworkModel(_Neuron):
    """Layers of ELM neurons; the fields are the arguments of `ulmus.ELMNetwork`."""

    builds = ELMNetwork
    kind: Literal["elm-network"] = "elm-network"
    layers: PositiveInt
    width: PositiveInt | None
    norm: bool
    dropout: Share
    residual: bool


class ELMLayerModel(_ModelSettings):
    """A layer of many small ELM neurons; the fields are the arguments of `ulmus.neuron.ELMLayer`."""

    builds = ELMLayer
    kind: Literal["elm-layer"] = "elm-layer"
    neurons: PositiveInt
    recurrent: Share
    memory: PositiveInt
    hidden: PositiveInt | None
    hidden_layers: int = Field(ge=0)
    activation: Literal["relu", "silu", "squared_relu"]
    branches: PositiveInt
    synapses_per_branch: PositiveInt
    synaptic_gain: PositiveFloat
    tau_memory_ms: tuple[PositiveFloat, PositiveFloat]
    tau_memory_bounds_ms: tuple[float, PositiveFloat] | None
    tau_spacing: Literal["log", "linear"]
    learn_tau_memory: bool
    tau_synapse_ms: PositiveFloat | None
    gain: PositiveFloat
    tau_output_ms: PositiveFloat | None
    output_activation: Literal["relu", "identity", "spike"]
    readout_memory: PositiveInt | None


class LSTMModel(_ModelSettings):
    """An LSTM; the fields are the arguments of `ulmus.baselines.LSTM`."""

    builds: ClassVar[type[Any]] = LSTM
    kind: Literal["lstm"] = "lstm"
    memory: PositiveInt
    chrono_ms: tuple[PositiveFloat, PositiveFloat] | None
    input_dropout: Share
    recurrent_dropout: Share


class ChronoLSTMModel(LSTMModel):
    """An LSTM whose gates begin with a range of time constants (Tallec and Ollivier 2018)."""

    kind: Literal["chrono-lstm"] = "chrono-lstm"  # type: ignore[assignment]
    chrono_ms: tuple[PositiveFloat, PositiveFloat] | None = (1.0, 1000.0)


class LSTMNetworkModel(LSTMModel):
    """Layers of LSTMs; the fields are the arguments of `ulmus.baselines.LSTMNetwork`."""

    builds: ClassVar[type[Any]] = LSTMNetwork
    kind: Literal["lstm-network"] = "lstm-network"  # type: ignore[assignment]
    layers: PositiveInt
    norm: bool
    dropout: Share
    residual: bool


class SpikingModel(_ModelSettings):
    """A network of spiking units; the fields are the arguments of `ulmus.baselines.SpikingNetwork`."""

    builds = SpikingNetwork
    kind: Literal["spiking"] = "spiking"
    units: PositiveInt
    layers: PositiveInt
    adaptive: bool
    tau_membrane_ms: tuple[PositiveFloat, PositiveFloat]
    tau_adaptation_ms: tuple[PositiveFloat, PositiveFloat]
    tau_readout_ms: PositiveFloat
    dropout: Share
    input_dropout: Share


class PointNeuronModel(_ModelSettings):
    """An integrate-and-fire neuron; the fields are the arguments of `ulmus.baselines.PointNeuron`."""

    builds = PointNeuron
    kind: Literal["point-neuron"] = "point-neuron"
    adaptive: bool
    tau_membrane_ms: PositiveFloat
    tau_synapse_ms: PositiveFloat
    tau_adaptation_ms: PositiveFloat
    synaptic_weight: PositiveFloat


class TCNModel(_ModelSettings):
    """A temporal convolutional network; the fields are the arguments of `ulmus.baselines.TCN`."""

    builds = TCN
    kind: Literal["tcn"] = "tcn"
    channels: PositiveInt
    kernels: tuple[PositiveInt, ...]
    dilation: PositiveInt
    dropout: Share


class TransformerModel(_ModelSettings):
    """A Transformer encoder; the fields are the arguments of `ulmus.baselines.Transformer`."""

    builds = Transformer
    kind: Literal["transformer"] = "transformer"
    width: PositiveInt
    layers: PositiveInt
    heads: PositiveInt
    hidden: PositiveInt
    dropout: Share
    causal: bool


class CustomModel(Settings):
    """A module that was given to `ulmus.fit`; a recipe cannot build it."""

    kind: Literal["custom"]
    of: str
    """Name of its class."""

    def build(self, inputs: int, outputs: int, dt_ms: float) -> Any:
        """Refuse.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(
            f"model.kind 'custom' is a {self.of} that was given from Python; train it with ulmus.fit(model, ...), or "
            "choose another "
            "kind."
        )


def _kind(values: Any) -> Any:
    return values.get("kind", "elm") if isinstance(values, Mapping) else getattr(values, "kind", None)


Model = Annotated[
    Annotated[ELMModel, Tag("elm")]
    | Annotated[ELMNetworkModel, Tag("elm-network")]
    | Annotated[ELMLayerModel, Tag("elm-layer")]
    | Annotated[LSTMModel, Tag("lstm")]
    | Annotated[ChronoLSTMModel, Tag("chrono-lstm")]
    | Annotated[LSTMNetworkModel, Tag("lstm-network")]
    | Annotated[SpikingModel, Tag("spiking")]
    | Annotated[PointNeuronModel, Tag("point-neuron")]
    | Annotated[TCNModel, Tag("tcn")]
    | Annotated[TransformerModel, Tag("transformer")]
    | Annotated[CustomModel, Tag("custom")],
    Discriminator(_kind),
]
"""Every kind of model a recipe can name; without ``kind`` it is an ELM."""

MODELS: dict[str, type[Settings]] = {
    tag.tag: settings for settings, tag in map(get_args, get_args(get_args(Model)[0]))
}
"""The settings of every kind, by its name."""
