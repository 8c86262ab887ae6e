"""A user's own cell from a Python file, for the command line."""

import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from ulmus.errors import ConfigError, UlmusError, closest, extra
from ulmus.teachers.teacher import Teacher


def is_script(place: str) -> bool:
    """Whether this names a Python file, and maybe what to take from it: ``mycell.py`` or ``mycell.py:small``."""
    return place.partition(".py")[1] == ".py" and place.partition(".py")[2][:1] in ("", ":")


def load_cell(place: str) -> Teacher:
    """The cell that a Python file defines as ``cell``, or under another name: ``mycell.py:small``.

    A function under that name is called without arguments. What the file itself runs, runs: keep a simulation of its own
    below ``if __name__ == "__main__":``.

    Raises:
        ConfigError: No such file, one that raises an error, or one without the cell.
    """
    file, _, name = place.partition(".py")
    path, name = Path(f"{file}.py"), name.removeprefix(":") or "cell"
    if not path.is_file():
        raise ConfigError(
            f"{path} does not exist; expected a Python file that defines a cell. Correct the path."
        )
    module = _run(path)
    value: Any = getattr(module, name, None)
    if callable(value) and not hasattr(value, "run_trial"):
        with _errors_named(path):
            value = value()
    if not hasattr(value, "run_trial"):
        cells = [
            other
            for other, found in vars(module).items()
            if hasattr(found, "run_trial") and not isinstance(found, type)
        ]
        hint = (
            f"It has {', '.join(cells)}: write {path}:{cells[0]}."
            if cells
            else "Define it there, as the how-to shows."
        )
        what = f"is a {type(value).__name__}" if hasattr(module, name) else "is missing"
        raise ConfigError(
            f"{path}: {name!r} {what}; expected a cell such as NeuronCell(...) or ArborCell(...).{closest(name, cells)} {hint}"
        )
    found: Teacher = value
    return found


def _run(path: Path) -> ModuleType:
    name = f"ulmus_script_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path} cannot be run; expected a Python file. Correct the path.")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.resolve().parent))  # as Python does; workers take it over
    with _errors_named(path):
        spec.loader.exec_module(module)
    with extra("simulate", "simulating a detailed neuron"):
        import cloudpickle
    cloudpickle.register_pickle_by_value(module)  # workers cannot import it
    return module


@contextmanager
def _errors_named(path: Path) -> Iterator[None]:
    """Whatever the user's code raises is said with its file and line."""
    try:
        yield
    except UlmusError:
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(path)]
        where = f", line {lines[-1]}" if lines else ""
        raise ConfigError(
            f"{path}{where}: {type(error).__name__}: {str(error)[:200]}; expected a file that runs. Correct it; `python {path}` "
            f"shows more."
        ) from error
