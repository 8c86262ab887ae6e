"""Tests with other releases of Python and PyTorch: ``nox``, or ``nox -s "torch-3.13(torch='2.14.1')"``.

What was run of this, and where, is in CONTRIBUTING.md.
"""

import nox

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
TORCHES = ["2.9.1", "2.13.0", "2.14.1"]
"""The oldest that pyproject.toml allows, the one on this project's own machines, the newest that was tried."""
QUICK = [
    "tests/kernels/test_fused.py",
    "tests/kernels/test_dispatch.py",
    "tests/neuron",
    "tests/training/test_fit.py",
]
"""What depends on PyTorch most: kernels against the reference, the neuron against golden outputs, files, training."""

nox.options.sessions = ["torch"]


@nox.session(python=PYTHONS)
@nox.parametrize("torch", TORCHES)
def torch(session: nox.Session, torch: str) -> None:
    """The tests that depend on PyTorch most."""
    session.install(f"torch=={torch}", ".[dev]")
    session.run("pytest", "-q", *(session.posargs or QUICK))


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """All tests, with the newest PyTorch in range."""
    session.install(".[dev]")
    session.run("pytest", "-n", "2", *session.posargs)


@nox.session(python=PYTHONS[0])
def docs(session: nox.Session) -> None:
    """The site, with its notebooks run and warnings as errors."""
    session.install(".[docs]")
    session.run(
        "python", "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html"
    )
