"""The site without Sphinx: every public name and recipe key is described, every page is listed, every link leads somewhere."""

import functools
import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest
import site_text

import ulmus
from ulmus.training.recipe_file import all_keys

REPOSITORY = Path(__file__).resolve().parent.parent
DOCS = REPOSITORY / "docs"
PAGES = sorted(page for page in DOCS.rglob("*.md") if "_build" not in page.parts)
LINKED = [*PAGES, REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md"]


def name_of(page):
    return str(page.relative_to(REPOSITORY))


def without_code(text):
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))


def anchors(page):
    """The anchors of headings, as the repository's host and the site make them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_name_of_the_package_is_in_the_reference():
    marks = site_text.MARK.findall((DOCS / "reference/api.md").read_text())
    listed = [name for kind, names in marks if kind == "names" for name in names.split()]
    assert sorted([*listed, "baselines"]) == sorted(ulmus.__all__)


def public_parts(kind):
    """Methods and properties of a class that are written in Ulmus."""
    own = [vars(base) for base in kind.__mro__ if base.__module__.startswith("ulmus.")]
    found = [value for names in own for name, value in names.items() if not name.startswith("_")]
    described = property | functools.cached_property | classmethod | staticmethod
    return [value for value in found if inspect.isfunction(value) or isinstance(value, described)]


def test_every_room_with_public_names_has_a_page():
    """Names in ``__all__`` are all that is public: what a package imports without it would be public and described nowhere."""
    for file in site_text.PACKAGE.glob("*/__init__.py"):
        module = import_module(f"ulmus.{file.parent.name}")
        public = hasattr(module, "__all__") and file.parent.name != "cli"
        assert (
            public
            == (file.parent.name in site_text.ROOMS)
            == (DOCS / f"reference/{file.parent.name}.md").is_file()
        )


@pytest.mark.parametrize("room", site_text.ROOMS)
def test_every_public_name_of_a_room_is_described(room):
    assert ("room", room) in site_text.MARK.findall((DOCS / f"reference/{room}.md").read_text())
    module, page = import_module(f"ulmus.{room}"), site_text.room(room)
    for name in module.__all__:
        value = getattr(module, name)
        own = inspect.isclass(value) or site_text.is_function(value)
        text = value.__doc__ if own else site_text.constant_docstring(f"ulmus.{room}", name)
        assert text, f"ulmus.{room}.{name} has no docstring"
        assert not text.startswith(f"{name}("), (
            f"ulmus.{room}.{name} has only the docstring that Python writes"
        )
        for part in public_parts(value) if inspect.isclass(value) else ():
            assert inspect.getdoc(part), f"ulmus.{room}.{name}.{part} has no docstring"
        if name in ulmus.__all__:
            assert f"`ulmus.{name}`" in page
        else:
            assert re.search(rf"^\.\. [\w:]+:: ulmus\.{room}(::|\.){name}$", page, re.MULTILINE)


@pytest.mark.parametrize("group", site_text.key_groups())
def test_every_key_has_a_type_a_default_and_a_meaning(group):
    for _, prefix, kind in site_text.key_groups()[group]:
        for key, type_, default, meaning in site_text.key_rows(kind, prefix):
            assert type_, key
            assert default, key
            assert meaning, key


def test_every_key_of_a_recipe_is_in_the_reference():
    page = site_text.fill_in((DOCS / "reference/recipes.md").read_text())
    assert not {key for key in all_keys() if f"| `{key}` |" not in page} - {"model.of"}
    assert "| `training.learning_rate` | number above 0 | `0.0005` |" in page
    assert "| `data.validation` | number or list of text | `0.2` |" in page


def test_the_help_of_commands_within_commands_is_in_the_reference():
    page = site_text.fill_in((DOCS / "reference/commands.md").read_text())
    for command in ("ulmus train", "ulmus data make pathfinder", "ulmus export onnx"):
        assert re.search(rf"^#+ {command}$", page, re.MULTILINE)
        assert f"Usage: {command} " in page


def test_every_page_is_listed_once():
    listed = []
    for page in PAGES:
        for tree in re.findall(r"^```\{toctree\}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
            for entry in re.findall(r"^[^:\s].*$", tree, re.MULTILINE):
                listed += sorted(page.parent.glob(f"{entry}.md")) or [page.parent / f"{entry} is missing"]
    listed.append(DOCS / "index.md")
    assert not set(PAGES) ^ set(listed), "add the page to a toctree of docs/index.md, or take it out"
    assert len(listed) == len(PAGES)


@pytest.mark.parametrize("page", LINKED, ids=name_of)
def test_links_within_the_repository_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text())):
        if re.match(r"\w+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), f"{link} leads nowhere"
        if anchor:
            assert anchor in anchors(target), f"{target.name} has no heading #{anchor}"


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent.name != "experiments"], ids=name_of)
def test_pages_are_written_in_lines_that_people_read(page):
    lines = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE).split("\n")
    assert not [line for line in lines if len(line) > 160 and not line.startswith("|")], "wrap them"


@pytest.mark.parametrize("part", ["Tutorials", "How to", "Concepts"])
def test_every_part_lists_its_pages_with_a_sentence(part):
    listed = site_text.pages(*part.split()).split("\n")
    assert len(listed) > 5
    for line in listed:
        assert re.fullmatch(r"- \[[^\]]+\]\(/[\w/-]+\.md\): [^#]+[.?]", line), line
