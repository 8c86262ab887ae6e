"""Our own mechanisms for Arbor, compiled once into the user's cache."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from ulmus.errors import MissingToolError, extra

with extra("simulate", "simulating a detailed neuron"):
    import arbor

NAME = "ulmus"
TOOLS = {"C++ compiler": ("c++", "g++", "clang++"), "CMake": ("cmake",), "make": ("make",)}
INSTALL = (
    "Debian or Ubuntu: sudo apt install g++ cmake make; Fedora: sudo dnf install gcc-c++ cmake make; "
    "macOS: xcode-select --install && brew install cmake. Then run the same command again."
)


def cache_folder() -> Path:
    """Where compiled mechanisms are kept: ``$ULMUS_CACHE``, or ``ulmus`` in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    if chosen := os.environ.get("ULMUS_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ulmus"


def load_mechanisms(compiled: bool = True) -> "arbor.catalogue":
    """The catalogue with Arbor's default mechanisms, its ``bbp::`` channels and, `compiled`, our ``ulmus::`` ones."""
    catalogue = arbor.catalogue()
    catalogue.extend(arbor.default_catalogue(), "")
    catalogue.extend(arbor.bbp_catalogue(), "bbp::")
    if compiled:
        catalogue.extend(arbor.load_catalogue(str(compiled_mechanisms())), "ulmus::")
    return catalogue


def compiled_mechanisms() -> Path:
    """The compiled mechanisms, built now if this version of Arbor and of the sources has none yet.

    Raises:
        MissingToolError: A compiler is needed and missing, or fails.
    """
    sources = {
        item.name: item.read_bytes()
        for item in files("ulmus.teachers").joinpath("mechanisms").iterdir()
        if item.name.endswith(".mod")
    }
    digest = hashlib.sha256(repr((sorted(sources.items()), arbor.config()["arch"])).encode()).hexdigest()[:16]
    target = cache_folder() / f"arbor-{arbor.__version__}" / f"{NAME}-{digest}.so"
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_suffix(".lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one process builds while others wait for its result
        if not target.exists():
            _build(sources, target)
    return target


def _build(sources: dict[str, bytes], target: Path) -> None:
    missing = [tool for tool, programs in TOOLS.items() if not any(map(shutil.which, programs))]
    if missing:
        raise MissingToolError(
            f"the synapses must be compiled once, and this machine has no {' and no '.join(missing)}; "
            f"expected a C++ compiler, CMake and make. {INSTALL}"
        )
    script = Path(arbor.__file__).parent / "bin" / "arbor-build-catalogue"
    compiler = next(program for program in TOOLS["C++ compiler"] if shutil.which(program))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="building-") as folder:
        mechanisms = Path(folder) / "mechanisms"
        mechanisms.mkdir()
        for name, content in sources.items():
            (mechanisms / name).write_bytes(content)
        built = subprocess.run(
            [sys.executable, str(script), NAME, str(mechanisms), "--cxx", compiler],
            cwd=folder,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        result = Path(folder) / f"{NAME}-catalogue.so"
        if built.returncode or not result.exists():
            raise MissingToolError(
                f"compiling the synapses with {compiler} failed: ...{(built.stdout + built.stderr).strip()[-160:]}\n"
                f"Expected a working C++20 compiler, CMake and make. {INSTALL}"
            )
        result.replace(target)
