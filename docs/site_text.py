"""Text of the reference that is generated from the package: names, recipe keys, the help of the command line.

A page asks for it by a line such as ``<!-- generated: room neuron -->``. Knows nothing of Sphinx.
"""

import ast
import inspect
import io
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

import ulmus

OUTSIDE = re.compile(r"\[([^\]]*)\]\((?:\.\./)+((?:src|benchmarks|tests|examples)/[^)]*)\)")
"""A link to a file of the repository that is no page of the site."""
MARK = re.compile(r"^<!-- generated: (\w+) ?(.*?) -->$", re.MULTILINE)
DOCS = Path(__file__).parent
PACKAGE = Path(ulmus.__file__).parent
ROOMS = sorted(
    file.parent.name
    for file in PACKAGE.glob("*/__init__.py")
    if file.parent.name != "cli" and "__all__" in file.read_text(encoding="utf-8")
)
"""Folders of the package with public names; the command line has a page of its own."""
_WIDTH = 80  # letters of a line of help, which fit beside the contents
_PLAIN: dict[Any, str] = {
    int: "whole number",
    float: "number",
    str: "text",
    bool: "true or false",
    type(None): "null",
    Any: "anything",
}
_BOUNDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}


def fill_in(page: str) -> str:
    """The text of a page: marks replaced, links out of the site as names of files in the repository."""
    page = OUTSIDE.sub(r"\1 (`\2` in the repository)", page)
    return MARK.sub(lambda mark: GENERATED[mark[1]](*mark[2].split()), page)


# Names


def names(*wanted: str) -> str:
    """The description of some public names of the package."""
    return "\n\n".join(_described("ulmus", name) for name in wanted)


def room(name: str) -> str:
    """The description of all public names of a room; those that are names of the package too are listed only."""
    module = import_module(f"ulmus.{name}")
    above = {id(getattr(ulmus, public)): public for public in ulmus.__all__}
    shown = {public: above.get(id(getattr(module, public))) for public in module.__all__}
    links = ", ".join(f"{{py:obj}}`ulmus.{public}`" for public in shown.values() if public)
    parts = [(module.__doc__ or "").strip().replace("``", "`")]
    parts += [f"Described with the names of the package: {links}."] if links else []
    parts += [_described(f"ulmus.{name}", public) for public, known in shown.items() if not known]
    return "\n\n".join(parts)


def errors() -> str:
    """The errors below `UlmusError`, each with its exit status."""
    from ulmus.cli.app import EXIT_CODES

    parts = []
    for kind in vars(import_module("ulmus.errors")).values():
        if isinstance(kind, type) and issubclass(kind, ulmus.UlmusError) and kind is not ulmus.UlmusError:
            status = next((code for known, code in EXIT_CODES if issubclass(kind, known)), 1)
            meaning = inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0].replace("\n", " ")
            parts += [
                f".. py:exception:: ulmus.errors.{kind.__name__}",
                "",
                f"   {meaning} Exit status {status}.",
                "",
            ]
    return "\n".join(["```{eval-rst}", *parts, "```"])


def _described(module: str, name: str) -> str:
    """One name for autodoc; what has no docstring of its own is described by the text below its assignment."""
    value = getattr(import_module(module), name)
    if inspect.isclass(value):
        lines = [f".. autoclass:: {module}::{name}", "   :members:", "   :exclude-members: model_config"]
    elif is_function(value):
        lines = [f".. autofunction:: {module}::{name}"]
    else:
        text = constant_docstring(module, name).replace("\n", "\n   ")
        lines = [f".. py:data:: {module}.{name}", "", f"   {text}"]
    return "\n".join(["```{eval-rst}", *lines, "```"])


def is_function(value: Any) -> bool:
    """Whether a value is a function, compiled by Numba or not."""
    return inspect.isfunction(getattr(value, "py_func", value))


def constant_docstring(module: str, name: str) -> str:
    """The string below the assignment of a constant, wherever in its room it is made."""
    for file in sorted((PACKAGE.parent / module.replace(".", "/")).rglob("*.py")):
        body = ast.parse(file.read_text(encoding="utf-8")).body
        for statement, after in zip(body, body[1:], strict=False):
            targets = (
                statement.targets
                if isinstance(statement, ast.Assign)
                else [getattr(statement, "target", None)]
            )
            assigned = any(isinstance(target, ast.Name) and target.id == name for target in targets)
            if assigned and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                return inspect.cleandoc(str(after.value.value))
    return ""


# Pages


def pages(*caption: str) -> str:
    """The pages under a caption of the site's contents, each with the first sentence of its text."""
    tree = re.search(
        rf":caption: {' '.join(caption)}\n(.*?)```",
        (DOCS / "index.md").read_text(encoding="utf-8"),
        re.DOTALL,
    )
    listed = [
        line
        for line in (tree[1] if tree else "").split()
        if not line.startswith(":") and not line.endswith("/index")
    ]
    return "\n".join(_page_line(name) for name in listed)


def _page_line(name: str) -> str:
    text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    title, _, rest = (
        re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL).strip().removeprefix("# ").partition("\n")
    )
    paragraph = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", rest.strip().split("\n\n")[0].replace("\n", " "))
    return f"- [{title}](/{name}.md): {re.split(r'(?<=[.?]) (?=[A-Z`*])', paragraph)[0]}"


def examples() -> str:
    """The scripts of the gallery: title, text, the picture, and the script to unfold."""
    parts = []
    for file in sorted((DOCS.parent / "examples").glob("*.py")):
        text = file.read_text(encoding="utf-8")
        title, _, about = (ast.get_docstring(ast.parse(text)) or "").partition("\n\n")
        code = text.split('"""', 2)[2].strip()
        cell = f"```{{code-cell}} ipython3\n:tags: [hide-input]\n\n{code}\n```"
        parts += [f"## {title.rstrip('.')}", about, f"`examples/{file.name}`", cell]
    return "\n\n".join(parts)


# Recipe keys


def keys(group: str) -> str:
    """Tables of the keys of a part of a recipe, or of another settings file."""
    parts = []
    for title, prefix, kind in key_groups()[group]:
        parts += [f"### {title}", _first_sentence(kind)] if title else []
        parts.append(_keys(kind, prefix))
    return "\n\n".join(parts)


def key_groups() -> dict[str, list[tuple[str, str, type[BaseModel]]]]:
    """Settings by the part of the reference that shows them: title, prefix of the keys, and the settings."""
    from ulmus.recordings.mapping import (
        Continuous,
        FurtherSignal,
        Gaps,
        Inputs,
        Mapping,
        OutputSpikes,
        Trials,
        Voltage,
    )
    from ulmus.sequences.arrays.settings import ArraysData
    from ulmus.sequences.digits.settings import DigitsData
    from ulmus.sequences.lra.settings import Lesson, SequencesData
    from ulmus.studies.study import Grid, Study
    from ulmus.studies.sweep import Search
    from ulmus.training.kinds.array_task import TaskSettings
    from ulmus.training.kinds.labelled import ClassifierSettings
    from ulmus.training.kinds.trials import SurrogateSettings, TrialsData
    from ulmus.training.models import MODELS
    from ulmus.training.recipe import Recipe, TrainingSettings

    data = {"trials": TrialsData, "arrays": ArraysData, "digits": DigitsData, "sequences": SequencesData}
    return {
        "recipe": [("", "", Recipe)],
        "training": [("", "training.", TrainingSettings)],
        "model": [(name, "model.", kind) for name, kind in MODELS.items() if name != "custom"],
        "data": [(name, "data.", kind) for name, kind in data.items()]
        + [("A lesson of data.curriculum", "", Lesson)],
        "surrogate": [("", "surrogate.", SurrogateSettings)],
        "classifier": [("", "classifier.", ClassifierSettings)],
        "task": [("", "task.", TaskSettings)],
        "mapping": [
            ("", "", Mapping),
            ("A group of inputs", "inputs.", Inputs),
            ("Voltage", "voltage.", Voltage),
            ("A continuous input", "continuous.NAME.", Continuous),
            ("A further signal", "signals.NAME.", FurtherSignal),
            ("Spikes of the neuron", "output_spikes.", OutputSpikes),
            ("Pieces of a long recording", "trials.", Trials),
            ("Gaps", "gaps.", Gaps),
        ],
        "search": [("", "", Search)],
        "study": [("", "", Study), ("A grid of a study", "", Grid)],
    }


def _first_sentence(kind: type[BaseModel]) -> str:
    return inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0].replace("\n", " ")


def _keys(kind: type[BaseModel], prefix: str) -> str:
    rows = [(f"`{key}`", type_, default, meaning) for key, type_, default, meaning in key_rows(kind, prefix)]
    return _table(("key", "type", "default", "meaning"), rows)


def key_rows(kind: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Every key with its type, default and meaning."""
    arguments = {}
    for base in reversed(kind.__mro__):  # a network's neurons have the arguments of a neuron
        arguments |= _arguments(getattr(base, "builds", None))
    for name, field in kind.model_fields.items():
        if name == "kind" and field.annotation is not None and len(get_args(field.annotation)) == 1:
            meaning = "Names this kind."
        else:
            meaning = " ".join((field.description or arguments.get(name, "")).split())
        yield prefix + name, _type(field.annotation, field.metadata), _default(field), meaning


def _arguments(built: Any) -> dict[str, str]:
    """What the docstring of a model says of its arguments."""
    text = inspect.cleandoc(built.__doc__ or "") if built else ""
    _, _, listed = text.partition("\nArgs:\n")
    listed = re.split(r"\n\n(?=\S)", listed)[0]
    found = {}
    for entry in re.split(r"\n(?=    \w)", "\n" + listed):
        name, colon, meaning = entry.strip().partition(":")
        if colon and name.isidentifier():
            found[name] = " ".join(meaning.split())
    return found


def _default(field: FieldInfo) -> str:
    if field.default is not PydanticUndefined:
        value = list(field.default) if isinstance(field.default, tuple) else field.default
        return "its own defaults" if isinstance(value, BaseModel) else f"`{_yaml(value)}`"
    return "required" if field.is_required() else "its own defaults" if field.default_factory else ""


def _yaml(value: Any) -> str:
    known = {None: "null", True: "true", False: "false"}
    return known[value] if value is None or isinstance(value, bool) else str(value)


def _type(annotation: Any, metadata: Any = ()) -> str:
    """A type in words: ``whole number above 0, or null``."""
    bounds = [
        f"{word} {getattr(limit, name):g}"
        for limit in metadata
        for name, word in _BOUNDS.items()
        if getattr(limit, name, None) is not None
    ]
    return " ".join([_kind(annotation), " and ".join(bounds)]).strip()


def _kind(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is None:
        return _PLAIN.get(annotation, "keys")
    if origin is Annotated:
        return _type(inner[0], inner[1:])
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in inner)
    if origin is dict:
        return f"{_kind(inner[1])} by {_kind(inner[0])}"
    parts = [_kind(part) for part in inner if part is not Ellipsis]
    if origin is list or Ellipsis in inner:
        return f"list of {parts[0]}"
    return f"[{', '.join(parts)}]" if origin is tuple else " or ".join(dict.fromkeys(parts))


# Command line


def commands() -> str:
    """The help of every command, as a terminal shows it."""
    from ulmus.cli.app import COMMANDS

    return "\n\n".join(text for command, *_ in COMMANDS for text in _help([command]))


def _help(tokens: list[str]) -> Iterator[str]:
    from rich.console import Console

    from ulmus.cli.app import build

    app = build(tokens)
    shown = Console(file=io.StringIO(), width=_WIDTH, color_system=None, force_terminal=False)
    app.help_print(tokens, console=shown)
    assert isinstance(shown.file, io.StringIO)
    text = "\n".join(line.rstrip() for line in shown.file.getvalue().strip().split("\n"))
    yield f"{'#' * (len(tokens) + 1)} ulmus {' '.join(tokens)}\n\n```text\n{text}\n```"
    for token in tokens:
        app = app[token]
    for name in app:
        if not name.startswith("-"):
            yield from _help([*tokens, name])


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


GENERATED = {
    "names": names,
    "room": room,
    "errors": errors,
    "pages": pages,
    "examples": examples,
    "keys": keys,
    "commands": commands,
}
