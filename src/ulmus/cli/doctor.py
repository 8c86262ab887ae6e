"""``ulmus doctor``."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

from rich.table import Table

from ulmus.cli.console import console, say

PACKAGES = ["ulmus", "torch", "numba", "numpy", "arbor", "lightning-fabric", "h5py"]


def doctor(*, verify: bool = False) -> None:
    """List the backends available on this machine; with --verify, check their results.

    Args:
        verify: Compare outputs and gradients of every backend with the reference in double precision; the exit status
            is 1 if one of them is wrong.
    """
    import torch

    from ulmus.kernels import backends
    from ulmus.neuron import shipped_neurons

    console.print(
        f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    )
    console.print(", ".join(f"{name} {_version(name)}" for name in PACKAGES), soft_wrap=True)
    console.print(f"{torch.get_num_threads()} threads for torch")
    columns = ("backend", "available", "why", "devices", "number types")
    table = Table(*columns, title="backends, in order of preference", title_justify="left")
    for backend in backends():
        row = (backend.name, "yes" if backend.available else "no", backend.reason)
        table.add_row(*row, ", ".join(backend.devices), ", ".join(backend.dtypes))
    console.print(table)
    console.print(f"shipped neurons, loaded by name: {', '.join(shipped_neurons())}", soft_wrap=True)
    if verify and not _verified():
        sys.exit(1)


def _verified() -> bool:
    from ulmus.bench import verify

    say("comparing every backend with the reference in double precision")
    checks = verify()
    table = Table("backend", "case", "number type", "output error", "gradient error", "allowed", "")
    for check in checks:
        errors = (f"{check.output_error:.1e}", f"{check.gradient_error:.1e}", f"{check.allowed:.0e}")
        verdict = "correct" if check.passed else f"WRONG {check.message}"
        table.add_row(check.backend, check.case, check.dtype, *errors, verdict)
    console.print(table)
    return all(check.passed for check in checks)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
