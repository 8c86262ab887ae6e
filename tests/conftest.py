"""Shared fixtures: where the reference data lie, and that it is said when they do not."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """The folder with golden outputs and recordings, or a skip that says where they were looked for."""
    folder = Path(os.environ.get("ULMUS_REFERENCE", REPOSITORY.parent / "shared"))
    if not (folder / "golden").is_dir():
        pytest.skip(f"no reference data in {folder}; set ULMUS_REFERENCE to the folder that holds golden/ and data/")
    return folder
