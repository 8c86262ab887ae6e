"""Finding one's way in the Long Range Arena archive as people unpack it."""

import json
from pathlib import Path
from typing import Any

from ulmus.errors import DataError

RECORD = "generated.json"
"""Lies beside data that a generator of ours wrote, with its settings; the published archive has no such file."""
_NESTED = ("", "lra_release", "lra_release/lra_release")


def find_folder(root: str | Path, folder: str) -> Path:
    """The folder of a task under `root`: there itself, or in the archive's ``lra_release/lra_release``.

    Raises:
        DataError: it is in none of the places.
    """
    root = Path(root).expanduser()
    if root.is_file():
        raise DataError(
            f"{root} is a file; expected the folder that it unpacks to; run: tar -xf {root.name}, then give the folder"
        )
    if not root.exists():
        raise DataError(
            f"{root.absolute()} does not exist; expected the folder that the archive was unpacked to or that `ulmus data make` "
            f"made, with {folder!r} in it; correct the path"
        )
    found = _look_for(root, folder)
    if found is None:
        raise DataError(
            f"{root} holds no folder {folder!r}; expected it there or in {_NESTED[-1]}; give the folder that the archive "
            "was unpacked to, or make the data with `ulmus data make`"
        )
    return found


def has_folder(root: Path, folder: str) -> bool:
    """Whether :func:`find_folder` would find it."""
    return _look_for(root, folder) is not None


def _look_for(root: Path, folder: str) -> Path | None:
    places = [root / nested / folder for nested in _NESTED]
    if root.name == folder:
        places.insert(0, root)
    return next((place for place in places if place.is_dir()), None)


def generated_by_us(folder: Path) -> dict[str, Any] | None:
    """The settings that data were generated with; None for data of the published archive.

    Raises:
        DataError: the record is damaged.
    """
    record = folder / RECORD
    try:
        values = json.loads(record.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DataError(
            f"{record} cannot be read ({error}); expected the settings of generated data; restore it from a copy, or "
            "make the data again in another folder"
        ) from error
    if not isinstance(values, dict):
        raise DataError(f"{record} holds {values!r}; expected a JSON object; restore it from a copy")
    return values
