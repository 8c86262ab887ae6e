"""What can go wrong for a user, as exceptions.

Every message has three parts: what was wrong with which value, what was expected, what to do next.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

LONGEST = 500
"""Characters of a message; what is in the middle of a longer one is left out, as it comes from a file."""


class UlmusError(Exception):
    """Base of every error that Ulmus raises on purpose.

    Example:
        >>> try:
        ...     ulmus.ELM(3, memory=0)
        ... except ulmus.UlmusError as error:
        ...     print(error)
        memory=0 is no size; expected a whole number, positive.
    """

    def __init__(self, message: str) -> None:
        if len(message) > LONGEST:
            message = f"{message[: LONGEST - 205]} ... {message[-200:]}"
        super().__init__(message)


class ConfigError(UlmusError, ValueError):
    """A constructor argument, recipe key or command-line value that cannot be used."""


class BudgetError(ConfigError):
    """A time budget into which not even a few steps fit."""


class ShapeError(UlmusError, ValueError):
    """A tensor whose shape or dtype does not fit the neuron it was given to."""


class DataError(UlmusError):
    """A data file that is missing, damaged, or not what it claims to be."""


class CheckpointError(UlmusError):
    """A saved neuron or run folder that cannot be loaded."""


class BackendError(UlmusError, RuntimeError):
    """A compute backend that was asked for and cannot run here."""


class MissingToolError(UlmusError, RuntimeError):
    """A program or package outside Ulmus that a command needs."""


class MissingPackageError(MissingToolError, ImportError):
    """A package that only an extra of the installation brings; also an ``ImportError``, for tools that walk modules."""


class DivergedError(UlmusError, ArithmeticError):
    """Training that met a loss or gradient which is not finite."""


@contextmanager
def extra(name: str, what: str) -> Iterator[None]:
    """Around imports that only an optional part of the installation has; says how to install it where it is missing.

    ::

        with extra("simulate", "simulating a detailed neuron"):
            import arbor

    Args:
        name: The extra of the package that brings the import: see ``pyproject.toml``.
        what: What needs it, as the beginning of a sentence.

    Raises:
        MissingPackageError: a package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing == "ulmus":
            raise  # a mistake of ours, which no installation mends
        raise MissingPackageError(
            f"{what} needs the package {missing}, which is not installed; pip install 'ulmus[{name}]'"
        ) from error


def remedy(error: OSError) -> str:
    """What a user can do about a file that cannot be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "make room there and run the same command again; nothing is left half-written"
    if error.errno == errno.EROFS:
        return "it can be read only; choose another folder"
    return "choose a path that exists and that you may write to"


def closest(word: str, known: list[str]) -> str:
    """A hint like `` Did you mean 'memory'?`` for a mistyped word, or nothing when no known word is near."""
    import difflib

    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else ""
