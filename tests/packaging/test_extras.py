"""What is not installed is named, with the extra that brings it."""

import tomllib

import pytest

from ulmus.errors import MissingToolError, extra


def test_a_missing_package_is_named_with_its_extra():
    with (
        pytest.raises(
            MissingToolError, match=r"drawing needs the package paper, .*pip install 'ulmus\[report\]'"
        ),
        extra("report", "drawing"),
    ):
        import paper.white  # noqa: F401


def test_tools_that_walk_modules_see_an_import_error():
    with pytest.raises(ImportError), extra("report", "drawing"):
        import paper  # noqa: F401


def test_our_own_missing_modules_are_no_matter_of_extras():
    with pytest.raises(ModuleNotFoundError, match="ulmus.nowhere") as found, extra("report", "drawing"):
        import ulmus.nowhere  # noqa: F401
    assert not isinstance(found.value, MissingToolError)


def test_every_extra_that_the_code_names_exists(request):
    root = request.config.rootpath
    known = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {
        part.split('"')[1]
        for file in (root / "src").rglob("*.py")
        for part in file.read_text().split("with extra(")[1:]
    }
    assert named
    assert named <= set(known)
    assert "ulmus[all]" in known["dev"]
