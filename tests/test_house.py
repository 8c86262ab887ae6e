"""The rooms of the house: their order, and what is public in them."""

from pathlib import Path

from importlinter.cli import lint_imports

REPOSITORY = Path(__file__).resolve().parent.parent


def test_imports_point_up_the_list_of_rooms_and_never_in_circles():
    assert lint_imports(config_filename=str(REPOSITORY / "pyproject.toml"), no_cache=True, no_logo=True) == 0
