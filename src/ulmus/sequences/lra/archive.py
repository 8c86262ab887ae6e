"""Where the tasks lie in the Long Range Arena archive, however it was unpacked."""

from pathlib import Path

from ulmus.errors import DataError

_NESTED = ("", "lra_release", "lra_release/lra_release")


def look_for(root: Path, folder: str) -> Path | None:
    """The folder of a task: `root` itself, in `root`, or in the archive's ``lra_release/lra_release``; None without one."""
    places = [root] if root.name == folder else []
    places += [root / nested / folder for nested in _NESTED]
    return next((place for place in places if place.is_dir()), None)


def find_folder(root: str | Path, folder: str) -> Path:
    """The folder that :func:`look_for` finds.

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
    found = look_for(root, folder)
    if found is None:
        raise DataError(
            f"{root} holds no folder {folder!r}; expected it there or in {_NESTED[-1]}; give the folder that the archive "
            "was unpacked to, or make the data with `ulmus data make`"
        )
    return found


def is_processed(folder: Path) -> bool:
    """Whether a folder is a task of Mega's processed archive."""
    return (folder / "input").is_dir() and (folder / "label").is_dir()


def holds_nothing(folder: Path, wanted: str, stand_in: str = "") -> DataError:
    """What to say of a folder with no data of a task."""
    what = "holds nothing to read for this task" if folder.is_dir() else "is not a folder"
    return DataError(
        f"{folder} {what}; expected {wanted}{stand_in and ', ' + stand_in}; give the folder that holds it"
    )
