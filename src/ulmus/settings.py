"""Settings from YAML as frozen pydantic values, and what is wrong with them in a user's words."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from ulmus.errors import ConfigError, closest


class Settings(BaseModel):
    """Base of all settings: frozen, and a key that is not known is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


S = TypeVar("S", bound=Settings)
_INTEGER = "tag:yaml.org,2002:int"


class _Loader(yaml.SafeLoader):
    """YAML in which ``3:45`` is text: YAML 1.1 reads it as 225, an hour of 60 minutes."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag != _INTEGER]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_INTEGER, re.compile(r"[-+]?\d+$"), list("-+0123456789"))


def parse_value(text: str) -> Any:
    """One YAML value, as it would be read in a file."""
    return yaml.load(text, _Loader)


def parse_yaml(text: str, origin: str, keys: str) -> dict[str, Any]:
    """The dictionary that YAML text holds; `keys` names some that are expected, for the message.

    Raises:
        ConfigError: not YAML, or no dictionary.
    """
    try:
        values = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{origin} is not YAML ({error}); correct the file.") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{origin} holds {type(values).__name__}; expected keys such as {keys}.")
    return values


def validated(kind: type[S], values: Mapping[str, Any], origin: str, if_missing: str) -> S:
    """Settings from nested dictionaries.

    Args:
        kind: which settings.
        values: what the user gave.
        origin: where that came from, for the message.
        if_missing: what to do about a missing key, with ``{key}`` in its place.

    Raises:
        ConfigError: an unknown key (with the nearest known one), a missing one, or a value out of range.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        problems = (_explain(kind, problem, values, if_missing) for problem in error.errors())
        raise ConfigError(f"{origin}: " + "; ".join(problems)) from error


def dotted_keys(kind: type[BaseModel], prefix: str = "") -> list[str]:
    """Every dotted key of settings; of a group that can be of several kinds, those of all of them; of a list the list."""
    keys = []
    for name, field in kind.model_fields.items():
        groups = [] if get_origin(field.annotation) is tuple else _models(field.annotation)
        inner = [key for group in groups for key in dotted_keys(group, f"{prefix}{name}.")]
        keys += inner or [prefix + name]
    return list(dict.fromkeys(keys))


def _explain(kind: type[BaseModel], problem: Any, values: Any, if_missing: str) -> str:
    location = _as_written(problem["loc"], values)
    key = ".".join(location)
    if problem["type"] == "extra_forbidden":
        group = _group(kind, location[:-1], values)
        known = list(group.model_fields) if group else []
        nearest = closest(location[-1], known)
        elsewhere = [found for found in dotted_keys(kind) if found.rsplit(".", 1)[-1] == location[-1]]
        own = [found for found in elsewhere if found == key]
        hint = nearest or ("" if own or not elsewhere else f" Did you mean {elsewhere[0]!r}?")
        other = f" of {'.'.join(location[:-1])!r} of this kind" if own else ""
        return f"unknown key {key!r}{other}; expected one of {known}.{hint}"
    if problem["type"] == "missing":
        return f"{key!r} is missing; {if_missing.format(key=key)}"
    if problem["type"] == "union_tag_invalid":
        found = problem["ctx"]["tag"]
        known = [tag.strip().strip("'") for tag in problem["ctx"]["expected_tags"].split(",")]
        return f"'{key}.kind' is {found!r}; expected one of {known}.{closest(found, known)}"
    message = problem["msg"].removeprefix("Value error, ")
    found = repr(key) if isinstance(problem["input"], Mapping) else f"{key!r} is {problem['input']!r}"
    return f"{found}: {message[:1].lower()}{message[1:]}" if key else message


def _as_written(location: tuple[str | int, ...], values: Any) -> list[str]:
    """The location without what the user did not write: numbers of entries of no list, and kinds of a group."""
    parts = []
    for number, part in enumerate(location):
        if isinstance(part, int) and not isinstance(values, list):
            continue
        missing = isinstance(values, Mapping) and part not in values
        if missing and (number < len(location) - 1 or _is_kind(part, values)):
            continue
        parts.append(str(part))
        values = values[part] if isinstance(part, int) else _entry(values, part)
    return parts


def _is_kind(part: str | int, values: Mapping[str, Any]) -> bool:
    return part == values.get("kind")


def _entry(values: Any, key: str) -> Any:
    return values.get(key) if isinstance(values, Mapping) else None


def _group(kind: type[BaseModel], location: list[str], values: Any) -> type[BaseModel] | None:
    group: type[BaseModel] | None = kind
    for part in location:
        values = _entry(values, part)
        field = group.model_fields.get(part) if group else None
        if group and field:  # else the number or the name of an entry
            groups = list(_models(field.annotation))
            written = _entry(values, "kind")
            group = next((found for found in groups if _names(found, written)), next(iter(groups), None))
    return group


def _names(group: type[BaseModel], kind: Any) -> bool:
    field = group.model_fields.get("kind")
    return field is not None and kind in get_args(field.annotation)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The settings inside a type such as ``Voltage | None`` or ``tuple[Inputs, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)
