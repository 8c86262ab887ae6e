"""Recipes in files: the shipped ones, one file for several models, and keys replaced on the command line."""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from ulmus.errors import ConfigError, closest
from ulmus.settings import Settings, dotted_keys, parse_yaml, validated
from ulmus.training import automatic
from ulmus.training.kinds import KINDS
from ulmus.training.models import MODELS
from ulmus.training.recipe import Recipe, flat_keys

SHIPPED = resources.files("ulmus.training") / "recipes"
_KEYS = "'name', 'model' and 'data'"


def recipes() -> list[str]:
    """Names of the recipes that come with Ulmus; a recipe for several models has a name for each.

    Example:
        >>> "l5pc-branch-20" in ulmus.recipes()
        True
    """
    names = []
    for entry in SHIPPED.iterdir():
        stem = entry.name.removesuffix(".yaml")
        models = yaml.safe_load(entry.read_text(encoding="utf-8")).get("models")
        names += [f"{stem}-{model}" for model in models] if models else [stem]
    return sorted(names)


def load_recipe(
    source: str | Path, overrides: Mapping[str, Any] | None = None, model: str | None = None
) -> Recipe:
    """A recipe from a file or the name of a shipped one, with dotted keys replaced: ``{"model.memory": 50}``.

    The name ``auto`` chooses sizes, windows, steps and the target of the voltage for the trials of ``data.train``.

    A file may hold one task for several models: ``models`` then names them, each with the keys in which it differs. A
    changed ``model.kind`` takes over what both kinds have from a common base (all kinds of ELM), and goes into the name.

    Args:
        source: Path, or name: ``shd-lstm`` is the model ``lstm`` of ``shd``.
        overrides: Values of dotted keys.
        model: Which of the models of the file; the first by default.

    Raises:
        ConfigError: no such recipe or model, not YAML, an unknown key (with the nearest known one), or a value out of range.

    Example:
        >>> recipe = ulmus.load_recipe("shd-lstm", {"data.folder": "shd", "training.epochs": 10})
        >>> recipe.model.kind, recipe.training.epochs
        ('lstm', 10.0)
    """
    if str(source) == automatic.NAME:
        return automatic_recipe(overrides or {})[0]
    return _changed(*_values(source, model), overrides or {})


def automatic_recipe(overrides: Mapping[str, Any]) -> tuple[Recipe, tuple[str, ...]]:
    """The recipe ``auto`` for the trials of ``data.train``, and why it is so, a sentence for every choice.

    Args:
        overrides: Values of dotted keys; without ``data.validation`` the last fifth of one store is taken for it.

    Raises:
        ConfigError: no trials, or an unknown key or a value out of range.
        DataError: data are missing or damaged.

    Example:
        >>> recipe, reasons = ulmus.training.automatic_recipe({"data.train": "lif"})
        >>> recipe.data.train, recipe.model.memory
        (('lif[:3]',), 10)
    """
    changes = dict(overrides)
    if "data.train" not in changes:
        raise ConfigError("recipe 'auto' chooses a neuron for trials: expected data.train; name their store.")
    chosen = automatic.chosen_for(changes.pop("data.train"), changes.pop("data.validation", None))
    recipe = _changed(chosen.values, "recipe auto", changes)
    # What was given needs no reason.
    given = tuple(f"{automatic.CHOICES[key]}:" for key in changes if key in automatic.CHOICES)
    return recipe, tuple(reason for reason in chosen.reasons if not reason.startswith(given))


def _changed(values: dict[str, Any], origin: str, overrides: Mapping[str, Any]) -> Recipe:
    """A recipe of nested values with dotted keys replaced."""
    changes = dict(overrides)
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
    return flat_keys(_values(source, model)[0])


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
    if not isinstance(kind, str) or kind not in KINDS:
        raise ConfigError(
            f"{origin}: 'data.kind' is {kind!r}; expected one of {list(KINDS)}.{closest(str(kind), list(KINDS))}"
        )
    return validated(KINDS[kind], values, origin, "set it in the recipe or with --{key}")


def all_keys() -> list[str]:
    """Every dotted key of a recipe of any kind."""
    return list(dict.fromkeys(key for kind in KINDS.values() for key in dotted_keys(kind)))


def _read(source: str | Path) -> tuple[str, str, str | None]:
    """Text of a recipe, what to call it in messages, and the model that its name asks for."""
    name = str(source)
    stems = [entry.name.removesuffix(".yaml") for entry in SHIPPED.iterdir()]
    for stem in sorted(stems, key=len, reverse=True):
        if name == stem or (name.startswith(f"{stem}-") and name in recipes()):
            return (
                (SHIPPED / f"{stem}.yaml").read_text(encoding="utf-8"),
                f"recipe {stem}",
                name[len(stem) + 1 :] or None,
            )
    try:
        if Path(source).exists() and not Path(source).is_file():  # a folder, or a device that never ends
            raise OSError
        return Path(source).read_text(encoding="utf-8-sig"), name, None
    except (OSError, UnicodeDecodeError) as error:
        known = recipes()
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
