"""One process at a time, where two would spoil each other's work."""

import json
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from ulmus.errors import ConfigError

if sys.platform != "win32":
    import fcntl

LOCK_FILE = ".lock"
_SHOWN = 100  # letters of the command of the process that holds a lock


@contextmanager
def only_one(folder: Path, work: str, remedy: str = "wait for it, or stop it") -> Iterator[None]:
    """Hold the lock of a folder; the system frees it when this process ends, in whatever way.

    Where the file system knows no locks, or the folder cannot be written, nothing is held.

    Args:
        folder: what is worked on; made if absent.
        work: what is done to it, for the message: ``"trained"``.
        remedy: what a user can do who finds it locked.

    Raises:
        ConfigError: another process holds it; says which, and since when.
    """
    file, absent = folder / LOCK_FILE, not folder.exists()
    try:
        descriptor = _locked(file)
    except BlockingIOError:
        raise ConfigError(
            f"{folder} is being {work} by {_holder(file)}; expected one process at a time; {remedy}"
        ) from None
    if descriptor is None:
        yield
        return
    try:
        yield
    finally:
        with suppress(OSError):
            file.unlink()  # while it is held, so that nobody waits for a file that is gone
        os.close(descriptor)
        if absent:
            with suppress(OSError):  # not empty, as it should be
                folder.rmdir()


def try_lock(descriptor: int) -> bool | None:
    """Lock an open file or folder: whether it is ours now, or None where the file system knows no locks."""
    if sys.platform == "win32":
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _locked(file: Path) -> int | None:
    """A descriptor of the locked file that says who holds it; None where it cannot be locked."""
    while True:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:  # a folder that cannot be written, as whoever writes in it will hear
            return None
        ours = try_lock(descriptor)
        if ours and not _is_at(descriptor, file):  # its holder removed it meanwhile
            os.close(descriptor)
            continue
        if not ours:
            os.close(descriptor)
            if ours is False:
                raise BlockingIOError
            return None
        holder = {
            "process": os.getpid(),
            "machine": platform.node(),
            "since": f"{datetime.now():%Y-%m-%d %H:%M:%S}",
            "command": " ".join(sys.argv),
        }
        with suppress(OSError):  # a full disk: locked all the same
            os.truncate(descriptor, 0)
            os.write(descriptor, json.dumps(holder).encode())
        return descriptor


def _is_at(descriptor: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except FileNotFoundError:
        return False


def _holder(file: Path) -> str:
    try:
        known = json.loads(file.read_bytes())
        command = str(known["command"])
        shown = command if len(command) <= _SHOWN else command[:_SHOWN] + "..."
        return f"process {known['process']} on {known['machine']} since {known['since']} ({shown})"
    except (OSError, ValueError, KeyError, TypeError):  # between its lock and its name
        return "another process"
