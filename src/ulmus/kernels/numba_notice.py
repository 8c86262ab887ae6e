"""Say that kernels are being compiled: a process would else be silent for up to a minute, once on every machine."""

import logging
from typing import Any

from numba.core import event


class Notice(event.Listener):
    """Logs a warning at the first kernel that is compiled in this process; one that is read from disk is none."""

    def __init__(self) -> None:
        self._said = False

    def on_start(self, event: Any) -> None:
        """Called before every function that Numba compiles, whose ever it is."""
        module = event.data["dispatcher"].py_func.__module__
        if not self._said and module.startswith("ulmus.kernels."):
            self._said = True
            # A warning, since that is what reaches a user who has not set up logging.
            logging.getLogger("ulmus.kernels").warning(
                "compiling kernels for this machine: up to a minute, once for each kind; then they are read from disk"
            )

    def on_end(self, event: Any) -> None:
        """Nothing to say."""


event.register("numba:compile", Notice())  # type: ignore[no-untyped-call]
