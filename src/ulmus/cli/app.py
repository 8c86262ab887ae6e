"""The commands, and what happens to errors."""

import sys

from cyclopts import App

from ulmus.cli.console import error_console
from ulmus.errors import (
    BackendError,
    CheckpointError,
    ConfigError,
    DataError,
    DivergedError,
    MissingToolError,
    UlmusError,
)

app = App(
    name="ulmus",
    help="Fit Expressive Leaky Memory neurons to detailed neurons, and use them.",
    version_flags=["--version"],
)
app.command("ulmus.cli.demo:demo", name="demo")
app.command("ulmus.cli.simulate:simulate", name="simulate")
app.command("ulmus.cli.data:app", name="data")
app.command("ulmus.cli.train:train", name="train")
app.command("ulmus.cli.evaluate:evaluate", name="evaluate")
app.command("ulmus.cli.report:report", name="report")
app.command("ulmus.cli.importing:import_", name="import")

EXIT_CODES: list[tuple[type[UlmusError], int]] = [
    (ConfigError, 2),
    (BackendError, 2),
    (DataError, 3),
    (CheckpointError, 3),
    (MissingToolError, 4),
    (DivergedError, 5),
]
"""Beside these: 1 for any other error, 130 when interrupted."""


def main() -> None:
    """Run the command line."""
    try:
        app()
    except UlmusError as error:
        error_console.print(f"[bold red]error:[/] {_escaped(str(error))}", soft_wrap=True)
        sys.exit(next((code for kind, code in EXIT_CODES if isinstance(error, kind)), 1))
    except KeyboardInterrupt:
        error_console.print("interrupted")
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)  # the reader of our output has had enough, as `ulmus ... | head` does


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
