# mypy: disable-error-code="no-untyped-call"
"""Machine code of the kernels on disk, for the next process: used wherever it lies, never needed, never believed blindly."""

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba.core.caching import CompileResultCacheImpl, FunctionCache, IndexDataCacheFile


def remember_on_disk(dispatcher: Any) -> None:
    """Let a function that Numba compiles be read from disk, and written to it where there is a place that can be written."""
    with contextlib.suppress(RuntimeError, OSError):  # no such place: compiled in every process
        dispatcher._cache = _Cache(dispatcher.py_func)


def _used_as_it_is(locator: Any) -> Any:
    """The same place for a cache, where it cannot be written but has this function already: one for all users of a cluster."""

    class ReadOnly(locator):  # type: ignore[misc]
        @classmethod
        def from_function(cls, py_func: Callable[..., Any], py_file: str) -> Any:
            return (
                None if locator.from_function(py_func, py_file) else super().from_function(py_func, py_file)
            )

        def ensure_cache_path(self) -> None:
            stem = f"{Path(self._py_file).stem}."
            folder = Path(self.get_cache_path())
            if not any(name.name.startswith(stem) and name.suffix == ".nbi" for name in folder.iterdir()):
                raise FileNotFoundError(folder)

    return ReadOnly


class _Places(CompileResultCacheImpl):
    # The first two of Numba's places are $NUMBA_CACHE_DIR and __pycache__ beside the source.
    _locator_classes = [  # noqa: RUF012
        *(_used_as_it_is(locator) for locator in CompileResultCacheImpl._locator_classes[:2]),
        *CompileResultCacheImpl._locator_classes,
    ]


class _Cache(FunctionCache):
    """Numba's, which raises what goes wrong with files and looks at the source of one function only."""

    _impl_class = _Places

    def __init__(self, py_func: Callable[..., Any]) -> None:
        super().__init__(py_func)
        stamp = self._impl.locator.get_source_stamp(), _all_sources()
        self._cache_file = IndexDataCacheFile(self._cache_path, self._impl.filename_base, stamp)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Machine code for these types, if there is any that can be read."""
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # damaged files raise anything: pickle runs whatever they hold
            with contextlib.suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Write machine code; a full disk or a folder that cannot be written is no reason to stop."""
        with contextlib.suppress(OSError):
            super().save_overload(sig, data)


def _all_sources() -> str:
    """A kernel is as new as the parts that it is made of, in whatever file they are."""
    found = hashlib.sha256()
    with contextlib.suppress(OSError):
        folder = Path(__file__).parent
        for file in sorted(folder.glob("numba_*.py")):
            found.update(file.read_bytes())
    return found.hexdigest()
