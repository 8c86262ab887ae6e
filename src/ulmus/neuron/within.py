"""Making a neuron that a file describes: no larger than the file is, and with one kind of error for all that can go wrong."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import prod
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from ulmus.errors import CheckpointError, UlmusError

_SPARE = 1_000_000  # numbers that a neuron may need beside those that are stored


@contextmanager
def built_within(stored: int, config: Any, origin: str) -> Iterator[None]:
    """Build a model whose weights are to be found among `stored` numbers.

    Args:
        stored: numbers in the file.
        config: what describes the model, with lists and dictionaries inside.
        origin: the file, for the message.

    Raises:
        CheckpointError: the description is wrong, or describes a larger model than the file holds.
    """
    try:
        _check_sizes(config, stored + _SPARE)
        with _Bounded(stored + _SPARE):
            yield
    except CheckpointError:
        raise
    except Exception as error:  # of a constructor that was given anything, or of PyTorch
        reason = (
            " ".join(str(error).split())
            if isinstance(error, UlmusError) or str(error)
            else type(error).__name__
        )
        raise CheckpointError(
            f"{origin} does not describe a neuron that it holds ({reason[:220]}); expected a file as it was saved; save or copy "
            "it again"
        ) from error


def _check_sizes(config: Any, most: int) -> None:
    for key, value in config.items() if isinstance(config, Mapping) else enumerate(config):
        if isinstance(value, Mapping | list | tuple):
            _check_sizes(value, most)
        elif isinstance(value, int) and abs(value) > most and key != "seed":
            raise ValueError(f"{key} is {value if value < 10**20 else 'enormous'}, more than the file holds")


class _Bounded(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuses to make a tensor of more than so many numbers."""

    def __init__(self, most: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._most = most

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        shape = args[0] if args and isinstance(args[0], list | tuple) else ()
        if shape and all(isinstance(side, int) for side in shape) and prod(shape) > self._most:
            raise ValueError(f"a tensor of shape {list(shape)}, larger than the file")
        return func(*args, **(kwargs or {}))
