"""Settings from YAML as frozen pydantic values, and what is wrong with them in a user's words."""

import re
import reprlib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from ulmus.errors import ConfigError, closest


class Settings(BaseModel):
    """Base of all settings: frozen; keys that are not known and numbers that are not finite are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


def several(value: object) -> object:
    """One name alone is a list of one."""
    return (value,) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(several)]
S = TypeVar("S", bound=Settings)
_INTEGER = "tag:yaml.org,2002:int"
_TIME = "tag:yaml.org,2002:timestamp"
LONGEST_TEXT = 1 << 20
_MOST_VALUES = 100_000
_LARGEST_INTEGER = 2**64
_PROBLEMS = 3  # that are told at once
_SHOWN = 60  # letters of a value
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 2, _SHOWN, _SHOWN


class _Loader(yaml.SafeLoader):
    """YAML in which ``3:45`` and ``2001-02-03`` are text: YAML 1.1 reads them as 225, an hour of 60 minutes, and as a date."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag not in (_INTEGER, _TIME)]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_INTEGER, re.compile(r"[-+]?\d+$"), list("-+0123456789"))


def parse_value(text: str) -> Any:
    """One YAML value, as it would be read in a file.

    Raises:
        ConfigError: not YAML.
    """
    return _loaded(text, "a value")


def parse_yaml(text: str, origin: str, keys: str) -> dict[str, Any]:
    """The dictionary that YAML text holds; `keys` names some that are expected, for the message.

    Raises:
        ConfigError: not YAML, or no dictionary.
    """
    values = _loaded(text, origin)
    if not isinstance(values, dict):
        raise ConfigError(f"{origin} holds {type(values).__name__}; expected keys such as {keys}.")
    return values


def _loaded(text: str, origin: str) -> Any:
    """The values of YAML text: what anchors repeat is counted before it is built."""
    if len(text) > LONGEST_TEXT:
        raise ConfigError(f"{origin} has {len(text)} letters; expected at most {LONGEST_TEXT}; shorten it")
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        count = _count(node, {})
        if count > _MOST_VALUES:
            raise ConfigError(
                f"{origin} has {count} values, many of them repeated by anchors; expected at most {_MOST_VALUES}; shorten it"
            )
        return loader.construct_document(node)
    except RecursionError as error:
        raise ConfigError(f"{origin} is nested too deeply; expected a few levels; correct it") from error
    except ConfigError:
        raise
    except Exception as error:
        # Constructors of tags such as !!timestamp fail in ways of their own, which say nothing to a user.
        known = isinstance(error, yaml.YAMLError | ValueError)
        reason = " ".join(str(error).split())[:160] if known else "a value is not what its tag says"
        raise ConfigError(f"{origin} is not YAML ({reason}); expected keys and values; correct it") from error


def _count(node: yaml.Node, counts: dict[int, int]) -> int:
    """Values of a node, those that are repeated counted as often; each is visited once."""
    known = counts.get(id(node))
    if known == 0:
        raise ConfigError("the YAML holds an anchor that contains itself; expected values; correct it")
    if known is None:
        counts[id(node)] = 0
        inner = node.value if isinstance(node, yaml.CollectionNode) else []
        children = [child for entry in inner for child in (entry if isinstance(entry, tuple) else (entry,))]
        counts[id(node)] = known = 1 + sum(_count(child, counts) for child in children)
    return known


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
    _check_integers(values, origin, "")
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        found = error.errors()
        problems = [_explain(kind, problem, values, if_missing) for problem in found[:_PROBLEMS]]
        more = [f"and {len(found) - _PROBLEMS} more"] if len(found) > _PROBLEMS else []
        raise ConfigError(f"{origin}: " + "; ".join([*problems, *more])) from error


def _check_integers(values: Any, origin: str, key: str) -> None:
    """Refuse whole numbers that no machine counts to, before anything is reserved for so many."""
    if isinstance(values, Mapping):
        for name, value in values.items():
            _check_integers(value, origin, f"{key}.{name}" if key else str(name))
    elif isinstance(values, list | tuple):
        for value in values:
            _check_integers(value, origin, key)
    elif isinstance(values, int) and abs(values) >= _LARGEST_INTEGER:
        raise ConfigError(
            f"{origin}: {key!r} is about 2^{values.bit_length() - 1}; expected less than 2^64; correct it"
        )


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
    message = problem["msg"].removeprefix("Value error, ").replace("Tuple", "List")
    message = "expected a list" if problem["type"] == "tuple_type" else message
    found = repr(key) if isinstance(problem["input"], Mapping) else f"{key!r} is {_short(problem['input'])}"
    return f"{found}: {message[:1].lower()}{message[1:]}" if key else message


def _short(value: Any) -> str:
    shown = _SHORT.repr(value)
    return shown if len(shown) <= 2 * _SHOWN else f"{shown[: 2 * _SHOWN]}..."


def _as_written(location: tuple[str | int, ...], values: Any) -> list[str]:
    """The location without what the user did not write: numbers of entries of no list, and kinds of a group."""
    parts = []
    for number, part in enumerate(location):
        if isinstance(part, int) and not isinstance(values, list):
            continue
        missing = isinstance(values, Mapping) and part not in values
        if missing and (number < len(location) - 1 or part == values.get("kind")):
            continue
        parts.append(str(part))
        values = _entry(values, part)
    return parts


def _entry(values: Any, key: str | int) -> Any:
    if isinstance(values, list) and isinstance(key, int):
        return values[key] if key < len(values) else None
    return values.get(key) if isinstance(values, Mapping) else None


def _group(kind: type[BaseModel], location: list[str], values: Any) -> type[BaseModel] | None:
    group: type[BaseModel] | None = kind
    for part in location:
        values = _entry(values, part)
        field = group.model_fields.get(part) if group else None
        if group and field:  # else the number or the name of an entry
            groups, written = list(_models(field.annotation)), _entry(values, "kind")
            of_kind = [
                found
                for found in groups
                if "kind" in found.model_fields and written in get_args(found.model_fields["kind"].annotation)
            ]
            group = next(iter([*of_kind, *groups]), None)
    return group


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The settings inside a type such as ``Voltage | None`` or ``tuple[Inputs, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)
