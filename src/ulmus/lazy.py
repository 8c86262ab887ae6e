"""Names of a package that are loaded when they are first used."""

import ast
import inspect
import sys
from collections.abc import Callable
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


def lazy(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package (its ``__name__``) whose public names (``__all__``) are imported one by one.

    Where each is from stands once, in the imports under the package's ``if TYPE_CHECKING:``, which type checkers read too.
    The command line shows its help, and processes that simulate do their work, without waiting for PyTorch.
    """
    module = sys.modules[package]
    module.__class__ = _Package
    imports = (
        node for node in ast.walk(ast.parse(inspect.getsource(module))) if isinstance(node, ast.ImportFrom)
    )
    homes = {name.name: f"{node.module}" for node in imports for name in node.names}

    def get(name: str) -> Any:
        if name not in module.__dict__["__all__"]:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        shown = name in _SHOWN
        value = import_module(f"{package}.{name}") if shown else getattr(import_module(homes[name]), name)
        setattr(module, name, value)
        return value

    return get, lambda: sorted(module.__dict__["__all__"])
