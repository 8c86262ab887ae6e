"""What is not installed is named, with the extra that brings it."""

import subprocess
import sys
import tomllib

import pytest

import ulmus
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


def test_the_version_is_said_once_and_the_changelog_has_it(request):
    root = request.config.rootpath
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert "version" not in project
    assert f"\n## [{ulmus.__version__}] - 20" in (root / "CHANGELOG.md").read_text()


def test_a_command_without_its_extra_says_which_one():
    without = (
        "import sys; sys.modules['plotly'] = None; from ulmus.cli import main; main(['report', '--help'])"
    )
    done = subprocess.run([sys.executable, "-c", without], capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert done.stderr.replace("\n", " ").startswith("error: a report page needs the package plotly")
    assert "Traceback" not in done.stderr
