"""Names of a package that are loaded when they are first used."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any


class _Package(ModuleType):
    """A package in which a function may bear the name of a module, as `ulmus.report` does."""

    def __setattr__(self, name: str, value: Any) -> None:
        # The import system binds every submodule to its package, over the function that users mean by this name.
        if not (isinstance(value, ModuleType) and name in self.__dict__["__all__"] and name not in _SHOWN):
            super().__setattr__(name, value)


_SHOWN = {"baselines"}
"""Modules that are public names themselves."""


def lazy(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package whose public names (``__all__``) are imported one by one.

    The command line shows its help, and processes that simulate do their work, without waiting for PyTorch.

    Args:
        package: Its ``__name__``.
        homes: Module by module, relative to the package, the public names that it defines, separated by spaces.
    """
    module = sys.modules[package]
    module.__class__ = _Package
    found = {name: home for home, names in homes.items() for name in names.split()}

    def get(name: str) -> Any:
        if name not in found:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = import_module(f"{package}.{found[name]}")
        value = home if name in _SHOWN else getattr(home, name)
        setattr(module, name, value)
        return value

    return get, lambda: sorted(module.__dict__["__all__"])
