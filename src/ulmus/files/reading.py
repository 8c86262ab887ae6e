"""Files that may be damaged or changed: what is wrong with one is said with its name; and text and JSON."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from ulmus.errors import ConfigError, DataError, UlmusError

_LONGEST_NAME = 255  # bytes, on most systems


@contextmanager
def explained(
    what: str,
    expected: str = "an undamaged file",
    remedy: str = "restore it from a copy",
    kind: type[UlmusError] = DataError,
) -> Iterator[None]:
    """Say what cannot be read, whatever the library that reads it raises: damage reaches all of its code.

    Raises:
        UlmusError: of the kind: anything was raised; names `what`.
    """
    try:
        yield
    except UlmusError as error:
        if kind is DataError or isinstance(error, kind):
            raise
        raise kind(str(error)) from error
    except FileNotFoundError:
        raise kind(f"{what} does not exist; expected {expected}; check the path") from None
    except Exception as error:
        reason = " ".join(str(error).split())
        if " " not in reason:  # a key alone, or nothing
            reason = f"{type(error).__name__} {reason}".strip()
        raise kind(f"{what} cannot be read ({reason[:160]}); expected {expected}; {remedy}") from error


def bytes_at(file: BinaryIO | int, place: int, size: int) -> bytes:
    """So many bytes from a place on, fewer only where the file ends; no position is moved that others read from.

    Args:
        file: open, or the number of an open one, which nobody closes meanwhile.
        place: of the first byte.
        size: at most.
    """
    number = file if isinstance(file, int) else file.fileno()
    found = os.pread(number, size, place)
    while found and len(found) < size and (more := os.pread(number, size - len(found), place + len(found))):
        found += more  # file systems of networks give less than was asked for at times
    return found


def check_place(place: str | Path, error: type[UlmusError] = DataError) -> None:
    """Refuse a name that no file can have, of which a system says so in its own way.

    Raises:
        UlmusError: of the kind `error`.
    """
    if "\0" in str(place) or any(
        len(part.encode(errors="replace")) > _LONGEST_NAME for part in Path(place).parts
    ):
        raise error(f"{str(place)[:60]!r}... can be no file's name; expected a path; correct it")


def read_text(path: Path, error: type[UlmusError] = DataError, remedy: str = "restore it from a copy") -> str:
    """The text of a file (UTF-8, with or without a byte order mark).

    Raises:
        UlmusError: of the kind `error`: it is missing, cannot be read, or is not text.
    """
    if path.exists() and not path.is_file():  # a folder, or a device that never ends
        raise error(f"{path} is no file; expected a text file; {remedy}")
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise error(f"{path} does not exist; expected a text file; {remedy}") from None
    except OSError as reason:
        raise error(f"{path} cannot be read ({reason.strerror}); expected a text file; {remedy}") from reason
    except UnicodeDecodeError as reason:
        raise error(f"{path} is not UTF-8 text ({reason}); expected a text file; {remedy}") from reason


def read_yaml(path: Path, keys: str) -> dict[str, Any]:
    """The dictionary that a YAML file (UTF-8) holds; `keys` names some that are expected, for the message.

    Raises:
        ConfigError: no such file, too large, not YAML, or no dictionary.
    """
    from ulmus.settings import LONGEST_TEXT, parse_yaml  # brings pydantic, which reading data does without

    if path.is_file() and path.stat().st_size > LONGEST_TEXT:
        raise ConfigError(
            f"{path} has {path.stat().st_size} bytes; expected at most {LONGEST_TEXT}; is it YAML?"
        )
    return parse_yaml(read_text(path, ConfigError, "check the path"), str(path), keys)


def read_json(
    path: Path, error: type[UlmusError] = DataError, remedy: str = "restore it from a copy"
) -> dict[str, Any]:
    """The JSON object that a file holds.

    Raises:
        UlmusError: of the kind `error`: it is missing, cannot be read, or holds something else.
    """
    text = read_text(path, error, remedy)
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as reason:
        raise error(f"{path} is not JSON ({reason}); expected a JSON object; {remedy}") from reason
    if not isinstance(values, dict):
        raise error(f"{path} holds a JSON {type(values).__name__}; expected an object with keys; {remedy}")
    return values


def json_lines(text: str) -> Iterator[dict[str, Any]]:
    """The objects of JSON lines, up to the first line that is not whole: a crash cuts off the last one."""
    for line in text.splitlines():
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            return
        if not isinstance(values, dict):
            return
        yield values


def files_in(folder: Path, pattern: str) -> list[Path]:
    """Files of a folder by pattern, in order, without the ``._*`` that macOS leaves beside every file on other disks."""
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("._"))


def sha256_of_file(path: Path) -> str:
    """SHA-256 of the bytes of a file.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as reason:
        raise DataError(
            f"{path} cannot be read ({reason.strerror}); expected a file; copy it again"
        ) from reason


def sha256_of_json(values: Any) -> str:
    """SHA-256 of values written as JSON, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
