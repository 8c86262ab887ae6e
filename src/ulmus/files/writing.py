"""Files that appear complete or not at all: made in a folder of their own beside their place, then renamed."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from ulmus.files.lock import try_lock

PARTIAL = ".partial"
"""End of the name of what is still being written, or was left by a process that was killed."""
_TEMPORARY = re.compile(rf"\..*\.[0-9a-f]{{12}}{re.escape(PARTIAL)}")
_ATTEMPTS = 5


def write_file(path: Path, write: Callable[[Path], object], *, replace: bool = True) -> None:
    """Make a file appear at `path`, complete and on the disk, or not at all.

    Args:
        path: the file; folders above it are made.
        write: writes it to the path that it is given, which has the same name.
        replace: put it in the place of a file that is there; otherwise that one stays.

    Raises:
        OSError: it cannot be written; nothing is left of it.
    """
    with _named(path), work_folder(path) as folder:
        made = folder / path.name
        write(made)
        # Of the file alone: should the power fail before its folder is on the disk, the file is absent, not damaged.
        with made.open("rb") as file:
            os.fsync(file.fileno())
        if replace:
            made.replace(path)
            return
        try:
            os.link(made, path)  # unlike a rename, leaves alone what another writer finished first
        except FileExistsError:
            return
        except (
            PermissionError
        ):  # a file system without hard links: both writers made the same, the last stands
            made.replace(path)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, which then appears at `path`, in the place of one that is there; after an error, it does not.

    Raises:
        OSError: it cannot be written; nothing is left of it.
    """
    with work_folder(path) as folder:
        made = folder / path.name
        made.mkdir()
        yield made
        shutil.rmtree(path, ignore_errors=True)
        made.replace(path)


def write_text(path: Path, text: str, *, replace: bool = True) -> None:
    """Write a text file (UTF-8), complete or not at all; what a killed process left of it is removed.

    Raises:
        OSError: it cannot be written.
    """
    remove_leftovers(path.parent, path.name)
    write_file(path, lambda made: made.write_text(text, encoding="utf-8"), replace=replace)


def write_json(path: Path, values: Any, *, indent: int | None = 2, replace: bool = True) -> None:
    """Write values as JSON, complete or not at all.

    Raises:
        OSError: it cannot be written.
        TypeError: a value that JSON cannot hold.
    """
    write_text(path, json.dumps(values, indent=indent), replace=replace)


def append_json(path: Path, values: Mapping[str, Any]) -> None:
    """Add one line to a file of JSON lines.

    Raises:
        OSError: it cannot be written.
    """
    with _named(path), path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(values) + "\n")


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Give errors the name of the file and the system's words for them; libraries leave out the one or the other."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error


def remove_leftovers(folder: Path, name: str = "*") -> None:
    """Remove what killed processes left of the files called `name` in a folder; what is being written stays."""
    for found in folder.glob(f".{name}.*{PARTIAL}"):
        if not _TEMPORARY.fullmatch(found.name):  # a download that goes on
            continue
        with suppress(OSError):
            descriptor = os.open(found, os.O_RDONLY)
            try:
                if try_lock(descriptor):
                    shutil.rmtree(found) if found.is_dir() else found.unlink()
            finally:
                os.close(descriptor)


@contextmanager
def work_folder(path: Path) -> Iterator[Path]:
    """A folder beside a place to make something in, removed at the end; what should stay is moved out of it before.

    It is locked while it is used, so that `remove_leftovers` knows it from one that was left behind.
    """
    folder, descriptor = _locked_folder(path)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _locked_folder(path: Path) -> tuple[Path, int]:
    for attempt in range(_ATTEMPTS):
        folder = path.with_name(f".{path.name}.{uuid4().hex[:12]}{PARTIAL}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
            descriptor = os.open(folder, os.O_RDONLY)
        except (
            FileNotFoundError
        ):  # another process found the parent empty, or this folder left over, and removed it
            if attempt == _ATTEMPTS - 1:
                raise
            continue
        if try_lock(descriptor) is not False and folder.exists():  # else about to be removed as left over
            break
        os.close(descriptor)
    return folder, descriptor
