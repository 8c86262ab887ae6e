"""A recipe: everything that decides the result of a training run, as one validated, frozen value."""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt

from ulmus.errors import ConfigError, closest
from ulmus.validation import Settings, dotted_keys, parse_yaml, validated

SHIPPED = resources.files("ulmus.training") / "recipes"


def _several(value: object) -> object:
    return (str(value),) if isinstance(value, str | int | float) else value


Sources = Annotated[tuple[str, ...], BeforeValidator(_several), Field(min_length=1)]
"""One or more stores or files, each with an optional glob and slice: ``"trials_*.h5[:96]"``."""


class NeuronRecipe(Settings):
    """The ELM to fit; the fields are the arguments of `ulmus.ELM` (inputs, outputs and dt come from the data)."""

    memory: PositiveInt = 20
    hidden: PositiveInt | None = None
    hidden_layers: int = Field(default=1, ge=0)
    activation: Literal["relu", "silu", "squared_relu"] = "relu"
    branches: PositiveInt | None = None
    synapses_per_branch: PositiveInt = 1
    routing: Literal["dense", "random", "windows"] = "dense"
    tau_memory_ms: tuple[PositiveFloat, PositiveFloat] = (1.0, 150.0)
    tau_memory_bounds_ms: tuple[float, PositiveFloat] | None = None
    tau_spacing: Literal["log", "linear"] = "log"
    learn_tau_memory: bool = False
    tau_synapse_ms: PositiveFloat = 5.0
    gain: PositiveFloat = 5.0
    update: Literal["published", "bounded"] = "published"
    synaptic_weight: float = Field(default=0.5, ge=0)
    learn_synapses: bool = True
    hidden_readout: bool = False


class UnitsRecipe(Settings):
    """How voltage becomes a training target; the published values for NeuronIO."""

    clip_mv: float = -55.0
    offset_mv: float = -67.7
    scale_per_mv: PositiveFloat = 0.1


class DataRecipe(Settings):
    """Where the trials are and how windows are cut from them."""

    train: Sources
    """Trials to learn from."""
    validation: Sources
    """Trials for choosing the best checkpoint and the spike threshold; never learnt from."""
    window_ms: PositiveFloat = 500.0
    """Length of a training window; every window starts from rest."""
    burn_in_ms: float = Field(default=150.0, ge=0)
    """Beginning of a window that the loss leaves out, while the neuron forgets that it started from rest."""
    earliest_ms: float = Field(default=0.0, ge=0)
    """Windows start no earlier in their trial than this."""
    neighbour: float = Field(default=0.0, ge=0, lt=1)
    """Augmentation: probability that an event moves to a neighbouring input of the same sign."""
    drop: float = Field(default=0.0, ge=0, lt=1)
    """Augmentation: probability that an event is left out."""
    workers: int = Field(default=0, ge=0)
    """Processes that make batches; batches are the same for any number."""


class TrainingRecipe(Settings):
    """How the neuron is trained."""

    steps: PositiveInt = 350_000
    batch: PositiveInt = 8
    learning_rate: PositiveFloat = 5e-4
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_steps: int = Field(default=0, ge=0)
    weight_decay: float = Field(default=0.0, ge=0)
    clip_norm: PositiveFloat | None = None
    spike_weight: float = Field(default=0.5, ge=0)
    """Weight of the binary cross-entropy of spikes in the loss."""
    voltage_weight: float = Field(default=0.5, ge=0)
    """Weight of the mean squared error of scaled voltage in the loss."""
    validate_every: PositiveInt = 10_000
    select: Literal["loss", "auc", "rmse_mv"] = "loss"
    """Validation score that decides which checkpoint is the best."""
    average: float = Field(default=0.0, ge=0, lt=1)
    """Decay of a running average of the weights, which is then what is validated and kept; 0 keeps the last weights."""
    checkpoint_every: PositiveInt = 2_000
    log_every: PositiveInt = 100
    accelerator: str = "cpu"
    devices: PositiveInt = 1
    nodes: PositiveInt = 1
    precision: str = "32-true"
    threads: PositiveInt = 1
    """CPU threads of this process; one is best for small neurons."""


class Recipe(Settings):
    """One training run."""

    name: str
    seed: int = Field(default=0, ge=0)
    neuron: NeuronRecipe = NeuronRecipe()
    units: UnitsRecipe = UnitsRecipe()
    data: DataRecipe
    training: TrainingRecipe = TrainingRecipe()

    def to_yaml(self) -> str:
        """The whole recipe with every default filled in; itself a valid recipe file."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def shipped_recipes() -> list[str]:
    """Names of the recipes that come with Ulmus."""
    return sorted(
        entry.name.removesuffix(".yaml") for entry in SHIPPED.iterdir() if entry.name.endswith(".yaml")
    )


def load_recipe(source: str | Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """A recipe from a file or the name of a shipped one, with dotted keys replaced: ``{"neuron.memory": 50}``.

    Raises:
        ConfigError: no such recipe, not YAML, an unknown key (with the nearest known one), or a value out of range.
    """
    text, origin = _read(source)
    values = parse_yaml(text, origin, "'name', 'neuron' and 'data'")
    for key, value in (overrides or {}).items():
        _set(values, key, value)
    return parse_recipe(values, origin)


def parse_recipe(values: Mapping[str, Any], origin: str) -> Recipe:
    """A recipe from nested dictionaries.

    Raises:
        ConfigError: an unknown key or a value out of range; the message names ``origin`` and the key.
    """
    return validated(Recipe, values, origin, "set it in the recipe or with --{key}")


def _read(source: str | Path) -> tuple[str, str]:
    shipped = SHIPPED / f"{source}.yaml"
    if str(source) in shipped_recipes():
        return str(shipped.read_text()), f"recipe {source}"
    path = Path(source)
    try:
        return path.read_text(), str(path)
    except (OSError, UnicodeDecodeError) as error:
        known = shipped_recipes()
        raise ConfigError(
            f"recipe {str(source)!r} is neither a readable file nor a shipped recipe; shipped are {known}."
            + closest(str(source), known)
        ) from error


def _set(values: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, last = dotted.split(".")
    for parent in parents:
        inner = values.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{dotted!r} cannot be set: {parent!r} is not a group of keys.")
        values = inner
    values[last] = value


def all_keys() -> list[str]:
    """Every dotted key of a recipe."""
    return dotted_keys(Recipe)
