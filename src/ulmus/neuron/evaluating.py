"""Predicting with a module that may be in training."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

from torch import nn

_lock = RLock()  # since the `train` of a module may predict
_inside: dict[int, int] = {}
"""How many threads predict with a module."""
_modes: dict[int, list[tuple[nn.Module, bool]]] = {}
"""Every part of such a module, and whether it was in training before the first of them came."""


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Nothing is dropped inside; afterwards, also after an error, every part of the module is in the mode that it was in.

    Of several threads that are in here with the same module, the last to leave puts it back. A part of a module that is
    trained is another module: predict with the whole and the part one after the other.
    """
    key = id(module)
    with _lock:
        if key not in _inside:
            _modes[key] = [(part, part.training) for part in module.modules()]
        _inside[key] = _inside.get(key, 0) + 1
    try:
        with _lock:
            # Not again where one is inside: some do more than set a mode.
            if any(part.training for part in module.modules()):
                module.eval()
        yield
    finally:
        with _lock:
            _inside[key] -= 1
            if not _inside[key]:
                del _inside[key]
                # Parents first, and by their own method, in which some do more.
                for part, training in _modes.pop(key):
                    if part.training != training:
                        part.train(training)
