"""A recipe: everything that decides the result of a training run, as one validated, frozen value."""

from collections.abc import Collection, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from ulmus.errors import ConfigError, closest
from ulmus.settings import Settings, dotted_keys, parse_yaml, validated
from ulmus.training.data_settings import LabelledData, SequencesData, TrialsData
from ulmus.training.models import MODELS, ELMModel, Model

SHIPPED = resources.files("ulmus.training") / "recipes"
_KEYS = "'name', 'model' and 'data'"


class TrainingSettings(Settings):
    """How a model is trained, whatever it is and learns."""

    steps: PositiveInt | None = None
    """Optimiser steps; or give epochs."""
    epochs: PositiveFloat | None = None
    """Passes through the training sequences, instead of steps."""
    batch: PositiveInt = 8
    optimizer: Literal["adam", "adamax"] = "adam"
    learning_rate: PositiveFloat = 5e-4
    schedule: Literal["cosine", "constant"] = "cosine"
    final_rate: float = Field(default=0.0, ge=0, le=1)
    """Share of the learning rate at which the cosine ends. Above zero, the last lessons of a curriculum, which are the long ones,
    are still learnt from."""
    warmup_steps: int = Field(default=0, ge=0)
    weight_decay: float = Field(default=0.0, ge=0)
    """Shrinks weights beside the gradient (AdamW)."""
    clip_norm: PositiveFloat | None = None
    """Shorten gradients to this length (Euclidean norm over all parameters)."""
    skip_norm: PositiveFloat | None = None
    """Leave out a step whose gradient is longer than this or not finite: after hundreds of chaotic time steps it is noise.
    The metrics count them. From the 20th in a row on, finite ones are shortened to this length (or to a smaller ``clip_norm``)
    and taken: the weights are then where all gradients are long, and must leave."""
    validate_every: PositiveInt | None = None
    """Steps between validations; by default an epoch, or 10,000 steps of windows of trials."""
    select: str = "loss"
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
    memory_budget_mib: float = Field(default=16.0, ge=0)
    """What a step may keep for its backward pass before it computes inner signals again: see `ulmus.kernels.memory_budget`."""

    @model_validator(mode="after")
    def _fits_together(self) -> "TrainingSettings":
        if (self.steps is None) == (self.epochs is None):
            raise ValueError(
                f"steps={self.steps}, epochs={self.epochs}: expected one of the two; leave one out"
            )
        if self.final_rate and self.schedule == "constant":
            raise ValueError(
                f"final_rate={self.final_rate} changes nothing: the schedule is constant; choose 'cosine', or leave it out"
            )
        if self.optimizer == "adamax" and self.weight_decay:
            raise ValueError("weight_decay goes with optimizer 'adam' only; set it to 0, or use adam")
        return self


class BaseRecipe(Settings):
    """What the recipes of all training runs have in common."""

    name: str
    seed: int = Field(default=0, ge=0)
    start_from: str | None = None
    """Run folder or saved model of the same shape whose weights training begins with; random ones by default."""
    training: TrainingSettings

    def to_yaml(self) -> str:
        """The whole recipe with every default filled in; itself a valid recipe file."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)

    @property
    def steps(self) -> int:
        """Optimiser steps of a resolved recipe: see `with_steps`."""
        if self.training.steps is None:
            raise ConfigError("training.epochs was not resolved; call with_steps first.")
        return self.training.steps


class SurrogateSettings(Settings):
    """What a surrogate learns to predict: spikes, and voltage as ``(min(v, clip_mv) - offset_mv) * scale_per_mv``."""

    clip_mv: float = -55.0
    offset_mv: float = -67.7
    scale_per_mv: PositiveFloat = 0.1
    spike_weight: float = Field(default=0.5, ge=0)
    """Weight of the binary cross-entropy of spikes in the loss."""
    voltage_weight: float = Field(default=0.5, ge=0)
    """Weight of the mean squared error of scaled voltage in the loss."""
    spike_log_odds: float | None = None
    """Log odds of a spike that the readout begins with; near those of the neuron (-6 at 2.5 Hz), training need not first
    learn that spikes are rare. By default the readout begins as the model makes it."""


class SurrogateRecipe(BaseRecipe):
    """Fit a model to trials of a detailed neuron."""

    model: Model = ELMModel()
    surrogate: SurrogateSettings = SurrogateSettings()
    data: TrialsData
    training: TrainingSettings = TrainingSettings(steps=350_000)

    @model_validator(mode="after")
    def _score_exists(self) -> "SurrogateRecipe":
        _check_select(self.training, ["loss", "auc", "rmse_mv"])
        return self


class ClassifierSettings(Settings):
    """How classes are read from the outputs of a model."""

    reading: Literal["last", "mean"] = "last"
    """Outputs of the last step of a sequence, or their mean over all its steps."""
    latent: PositiveInt = 75
    """Outputs of a model that reads two sequences, which are then compared; else the outputs are the classes."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target that is spread over all classes."""
    hint_weight: float = Field(default=3.0, gt=0)
    """Weight of the loss of hints, in lessons that have some, beside that of the class."""
    clip_state_norm: PositiveFloat | None = None
    """Shorten what later steps add to the gradient of every sequence's state to this length, at every 50th step on the way
    back: through hundreds of chaotic steps it would explode. See `ulmus.neuron.state_clipping`."""


_ONE_MASK_FOR_ALL_STEPS = ("input_dropout", "memory_dropout", "hidden_dropout", "recurrent_dropout")


class ClassifierRecipe(BaseRecipe):
    """Train a model to tell classes of sequences apart."""

    model: Model = ELMModel()
    classifier: ClassifierSettings = ClassifierSettings()
    data: LabelledData

    @model_validator(mode="after")
    def _score_exists(self) -> "ClassifierRecipe":
        _check_select(self.training, ["loss", "accuracy"])
        return self

    @model_validator(mode="after")
    def _states_can_be_clipped(self) -> "ClassifierRecipe":
        norm, kind, model = self.classifier.clip_state_norm, self.model.kind, self.model.model_dump()
        if norm is None:
            return self
        if kind in ("transformer", "tcn"):
            raise ValueError(
                f"classifier.clip_state_norm={norm} is for models that hand a state on from step to step, and a {kind} does "
                "not; leave it out, for this model alone under `models` of the recipe"
            )
        masks = [name for name in _ONE_MASK_FOR_ALL_STEPS if model.get(name)]
        if masks:
            raise ValueError(
                f"classifier.clip_state_norm={norm} gives sequences to the model in pieces, each of which would have a mask of "
                f"its own from model.{masks[0]}={model[masks[0]]}; leave one of the two out"
            )
        if self.training.precision.startswith("16"):
            raise ValueError(
                f"classifier.clip_state_norm={norm} with training.precision={self.training.precision!r}, which multiplies "
                "gradients by a large number first; use 'bf16-mixed' or '32-true'"
            )
        return self

    @model_validator(mode="after")
    def _hints_have_a_weight(self) -> "ClassifierRecipe":
        weight = self.classifier.hint_weight
        parts = [self.data, *(lesson for _, lesson in self.data.lessons())]
        hints = any(isinstance(part, SequencesData) and part.hints for part in parts)
        if weight != ClassifierSettings().hint_weight and not hints:
            raise ValueError(
                f"classifier.hint_weight={weight} changes nothing: neither the task nor a lesson has hints; "
                "set data.hints, or leave the weight out"
            )
        return self


Recipe = SurrogateRecipe | ClassifierRecipe
_KINDS: dict[str, type[SurrogateRecipe] | type[ClassifierRecipe]] = {
    "trials": SurrogateRecipe,
    "digits": ClassifierRecipe,
    "sequences": ClassifierRecipe,
}
"""Which recipe goes with which kind of data."""


def _check_select(training: TrainingSettings, scores: list[str]) -> None:
    if training.select not in scores:
        raise ValueError(f"training.select={training.select!r}: expected one of {scores}; choose one of them")


def with_steps(recipe: Recipe, batches_per_epoch: int, validate_every: int) -> Recipe:
    """The recipe with steps instead of epochs, and a number of steps between validations."""
    training = recipe.training
    steps = training.steps or max(1, round((training.epochs or 0) * batches_per_epoch))
    resolved = {"steps": steps, "epochs": None, "validate_every": training.validate_every or validate_every}
    return recipe.model_copy(update={"training": training.model_copy(update=resolved)})


def shipped_recipes() -> list[str]:
    """Names of the recipes that come with Ulmus; a recipe for several models has a name for each."""
    names = []
    for entry in SHIPPED.iterdir():
        stem = entry.name.removesuffix(".yaml")
        models = yaml.safe_load(entry.read_text()).get("models")
        names += [f"{stem}-{model}" for model in models] if models else [stem]
    return sorted(names)


def load_recipe(
    source: str | Path, overrides: Mapping[str, Any] | None = None, model: str | None = None
) -> Recipe:
    """A recipe from a file or the name of a shipped one, with dotted keys replaced: ``{"model.memory": 50}``.

    A file may hold one task for several models: ``models`` then names them, each with the keys in which it differs. A
    changed ``model.kind`` takes over what both kinds have from a common base (all kinds of ELM), and goes into the name.

    Args:
        source: Path, or name: ``shd-lstm`` is the model ``lstm`` of ``shd``.
        overrides: Values of dotted keys.
        model: Which of the models of the file; the first by default.

    Raises:
        ConfigError: no such recipe or model, not YAML, an unknown key (with the nearest known one), or a value out of range.
    """
    values, origin = _values(source, model)
    changes = dict(overrides or {})
    if "training.steps" in changes or "training.epochs" in changes:  # one replaces the other
        changes = {"training.steps": None, "training.epochs": None, **changes}
    if "model.kind" in changes:
        _change_kind(values, changes["model.kind"])
    for key, value in changes.items():
        _set(values, key, value)
    return parse_recipe(values, origin)


def values_of(source: str | Path, model: str | None = None) -> dict[str, Any]:
    """What a recipe says itself, by dotted key, without what is left to defaults.

    Raises:
        ConfigError: no such recipe or model, or not YAML.
    """
    return _flat(_values(source, model)[0])


def _values(source: str | Path, model: str | None) -> tuple[dict[str, Any], str]:
    """Nested values of one model of a recipe, and what to call the recipe in messages."""
    text, origin, named = _read(source)
    values = parse_yaml(text, origin, _KEYS)
    _choose_model(values, origin, model or named)
    return values, origin


def parse_recipe(values: Mapping[str, Any], origin: str) -> Recipe:
    """A recipe from nested dictionaries.

    Raises:
        ConfigError: an unknown key or a value out of range; the message names ``origin`` and the key.
    """
    data = values.get("data")
    kind = data.get("kind", "trials") if isinstance(data, Mapping) else "trials"
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ConfigError(
            f"{origin}: 'data.kind' is {kind!r}; expected one of {list(_KINDS)}.{closest(str(kind), list(_KINDS))}"
        )
    return validated(_KINDS[kind], values, origin, "set it in the recipe or with --{key}")


PLACE_KEYS = frozenset({"data.folder", "data.train", "data.validation", "data.labelled", "data.workers"})
"""Keys that may change in the course of a run: where its data lie, whose hashes are compared anyway, and how many processes
make the same batches."""


def changed_keys(before: Recipe, now: Recipe, ignored: Collection[str] = ()) -> list[str]:
    """Where two recipes differ, one text for every dotted key with both of its values; `ignored` keys do not count."""
    one, other = (_flat(recipe.model_dump(mode="json")) for recipe in (before, now))
    keys = [key for key in {**one, **other} if key not in ignored]
    absent = "absent"
    return [
        f"{key} was {one.get(key, absent)} and is {other.get(key, absent)}"
        for key in keys
        if one.get(key, absent) != other.get(key, absent)
    ]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def all_keys() -> list[str]:
    """Every dotted key of a recipe of any kind."""
    return list(
        dict.fromkeys(key for kind in (SurrogateRecipe, ClassifierRecipe) for key in dotted_keys(kind))
    )


def _read(source: str | Path) -> tuple[str, str, str | None]:
    """Text of a recipe, what to call it in messages, and the model that its name asks for."""
    name = str(source)
    stems = [entry.name.removesuffix(".yaml") for entry in SHIPPED.iterdir()]
    for stem in sorted(stems, key=len, reverse=True):
        if name == stem or (name.startswith(f"{stem}-") and name in shipped_recipes()):
            return (SHIPPED / f"{stem}.yaml").read_text(), f"recipe {stem}", name[len(stem) + 1 :] or None
    try:
        return Path(source).read_text(), name, None
    except (OSError, UnicodeDecodeError) as error:
        known = shipped_recipes()
        raise ConfigError(
            f"recipe {name!r} is neither a readable file nor a shipped recipe; shipped are {known}."
            + closest(name, known)
        ) from error


def _choose_model(values: dict[str, Any], origin: str, model: str | None) -> None:
    """Replace ``models`` by the keys of one of them."""
    models = values.pop("models", None)
    if models is None:
        if model is not None:
            raise ConfigError(
                f"{origin} is for one model, but --model {model} was given; leave it out, or change keys such as "
                "--model.memory."
            )
        return
    if (
        not isinstance(models, Mapping)
        or not models
        or not all(isinstance(m, Mapping) for m in models.values())
    ):
        raise ConfigError(
            f"{origin}: 'models' is {models!r}; expected names, each with the keys in which it differs."
        )
    model = model or next(iter(models))
    if model not in models:
        raise ConfigError(
            f"{origin} has no model {model!r}; expected one of {list(models)}.{closest(model, list(models))}"
        )
    _merge(values, models[model])
    values["name"] = f"{values.get('name', origin)}-{model}"


def _change_kind(values: dict[str, Any], kind: Any) -> None:
    """Another kind of model in the recipe: sizes of the one it is for mean nothing in it."""
    model = values.get("model", {})
    before = MODELS.get(model.get("kind", "elm")) if isinstance(model, Mapping) else None
    now = MODELS.get(str(kind))
    if before is None or now is None or before is now:
        return  # what is no kind is named when the recipe is validated
    shared = (base for base in before.mro() if issubclass(base, Settings) and issubclass(now, base))
    kept = next(shared).model_fields
    values["model"] = {key: value for key, value in model.items() if key in kept}
    values["name"] = f"{values.get('name', 'recipe')}-{kind}"


def _merge(values: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(values.get(key), dict):
            _merge(values[key], value)
        else:
            values[key] = value


def _set(values: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, last = dotted.split(".")
    for parent in parents:
        inner = values.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{dotted!r} cannot be set: {parent!r} is not a group of keys.")
        values = inner
    values[last] = value
