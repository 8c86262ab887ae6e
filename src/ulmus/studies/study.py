"""A study: grids of runs, each a recipe for several models over several values of one key, with several seeds."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, Field, model_validator

from ulmus.errors import ConfigError, closest
from ulmus.settings import Settings, parse_yaml, validated
from ulmus.training.budget import FULL
from ulmus.training.recipe import Recipe
from ulmus.training.recipe_file import load_recipe, values_of

MOST_SEEDS = 10_000
SHIPPED = resources.files("ulmus.studies")


def _by_name(values: object) -> object:
    if isinstance(values, list | tuple) and any(isinstance(value, list | dict) for value in values):
        raise ValueError("expected names or numbers, or names of rows with the value of each")
    return {value: value for value in values} if isinstance(values, list | tuple) else values


class Grid(Settings):
    """Runs that go into one table: a row for every recipe or value, a column for every model."""

    title: str
    """What the table shows, as a sentence."""
    recipes: tuple[str, ...] = Field(min_length=1)
    """Shipped recipes or files; several of them are the rows."""
    models: tuple[str, ...] = Field(min_length=1)
    """Models of the recipes."""
    key: str | None = None
    """Key of the recipe that changes from row to row."""
    values: Annotated[dict[Any, Any], BeforeValidator(_by_name)] = Field(default_factory=dict)
    """Its values, or names of rows with the value of each."""
    variants: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Instead of a key and its values: names of rows, each with the keys in which its runs differ from the recipe."""
    brief: tuple[Any, ...] | None = None
    """Fewer rows, for any budget but the paper's."""
    set: dict[str, Any] = Field(default_factory=dict)
    """Further keys, the same for all runs of the grid."""
    score: str = "accuracy"
    """The score that the table shows and the figure draws."""
    published: dict[str, dict[Any, float]] = Field(default_factory=dict)
    """Numbers of the paper: model, then row."""
    source: str = ""
    """Where the published numbers stand."""

    @model_validator(mode="after")
    def _one_kind_of_row(self) -> "Grid":
        kinds = bool(self.values) + bool(self.variants)
        if (self.key is None) != (not self.values) or kinds > 1 or (kinds and len(self.recipes) > 1):
            raise ValueError(
                "expected several recipes, or one recipe with either a key and its values or variants"
            )
        known = [*self.values, *self.variants]
        if missing := [row for row in self.brief or () if row not in known]:
            raise ValueError(f"brief has {missing[0]}, which is none of the rows {known}")
        return self

    @property
    def row_name(self) -> str:
        """What a row is."""
        return self.key or ("variant" if self.variants else "task")

    def rows(self, budget: str) -> tuple[Any, ...]:
        """Names of the values of the key or of the variants, or the recipes."""
        rows = tuple(self.values) or tuple(self.variants) or self.recipes
        return rows if budget == FULL or self.brief is None else self.brief

    def changes(self, row: Any) -> dict[str, Any]:
        """Keys in which the runs of a row differ from the recipe."""
        own = {self.key: self.values[row]} if self.key else self.variants.get(row, {})
        return self.set | own


class Study(Settings):
    """Grids that belong together."""

    name: str
    """What the study is called in messages and folders."""
    title: str
    """What it shows, as a sentence."""
    seeds: int = Field(default=3, ge=1, le=MOST_SEEDS)
    """Runs of every cell of a table, with seeds from 0 on."""
    grids: dict[str, Grid] = Field(min_length=1)
    """The grids by name."""


class Member(NamedTuple):
    """One run of a study."""

    grid: str
    row: Any
    model: str
    seed: int
    source: str
    """The recipe's name or file."""
    changes: dict[str, Any]
    folder: str
    """Name of its run folder; the same run in two grids has one folder."""

    def recipe(self, overrides: Mapping[str, Any]) -> Recipe:
        """What it trains."""
        if fixed := [key for key in overrides if key == "seed" or key in self.changes]:
            raise ConfigError(
                f"{fixed[0]} is set by the study itself (grid {self.grid}); leave it out, or change the study's file."
            )
        return load_recipe(self.source, {**self.changes, **overrides, "seed": self.seed}, self.model)


def shipped_studies() -> list[str]:
    """Names of the studies that come with Ulmus."""
    return sorted(
        entry.name.removesuffix(".yaml") for entry in SHIPPED.iterdir() if entry.name.endswith(".yaml")
    )


def load_study(source: str | Path) -> Study:
    """A study from a file or the name of a shipped one.

    Raises:
        ConfigError: no such study, not YAML, or keys that a study does not have.
    """
    known = shipped_studies()
    try:
        shipped = str(source) in known
        if not shipped and Path(source).exists() and not Path(source).is_file():
            raise OSError
        text = ((SHIPPED / f"{source}.yaml") if shipped else Path(source)).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"study {str(source)!r} is neither a readable file nor a shipped study; shipped are {known}."
            + closest(str(source), known)
        ) from error
    origin = f"study {source}"
    return validated(Study, parse_yaml(text, origin, "'name' and 'grids'"), origin, "set it in the study")


def members(study: Study, budget: str, seeds: int, only: tuple[str, ...] = ()) -> Iterator[Member]:
    """All runs of the study, or of some of its grids; the first seed of everything comes before the second.

    Raises:
        ConfigError: a grid that the study does not have.
    """
    known = list(study.grids)
    if unknown := [name for name in only if name not in known]:
        raise ConfigError(
            f"study {study.name} has no grid {unknown[0]!r}; expected {known}.{closest(unknown[0], known)}"
        )
    folders = _folders(study)
    for seed in range(seeds):
        for name, grid in study.grids.items():
            if only and name not in only:
                continue
            for row, model, source, changes in _runs(grid, budget):
                folder = f"{folders[_identity(model, source, changes)]}-s{seed}"
                yield Member(name, row, model, seed, source, changes, folder)


def _runs(grid: Grid, budget: str) -> Iterator[tuple[Any, str, str, dict[str, Any]]]:
    """Row, model, source of the recipe and changed keys of every run of a seed."""
    for row in grid.rows(budget):
        source = str(row if row in grid.recipes else grid.recipes[0])
        for model in grid.models:
            yield row, model, source, grid.changes(row)


def _identity(model: str, source: str, changes: Mapping[str, Any]) -> str:
    return json.dumps([source, model, changes], sort_keys=True, default=repr)


def _folders(study: Study) -> dict[str, str]:
    """A name for every run of the study by its identity, whatever its seed.

    Names are readable: a run that changes a key to what the recipe says already is the run that does not change it; different
    runs that would share a name get a hash behind it.
    """
    names, same = {}, {}
    for grid in study.grids.values():
        for _, model, source, changes in _runs(grid, FULL):
            kept = _real(changes, values_of(source, model))
            changed = "".join(f"-{key.rsplit('.', 1)[-1]}={value}" for key, value in sorted(kept.items()))
            same[_identity(model, source, changes)] = identity = _identity(model, source, kept)
            names[identity] = f"{Path(source).stem}-{model}{changed}".replace("/", "_").replace(" ", "")
    # Some file systems do not tell capital letters from small ones.
    shared = Counter(name.casefold() for name in names.values())

    def folder(identity: str) -> str:
        hashed = f"-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"
        return names[identity] + (hashed if shared[names[identity].casefold()] > 1 else "")

    return {asked: folder(identity) for asked, identity in same.items()}


def _real(changes: Mapping[str, Any], recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Changes to other values than the recipe's own; another kind of model forgets what the recipe says of this one."""
    if "model.kind" in changes:
        return dict(changes)
    return {key: value for key, value in changes.items() if key not in recipe or recipe[key] != value}
