"""What the scripts of this folder share: the command line, peak memory, processes of their own."""

import ctypes
import json
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from cyclopts import App, Parameter

from ulmus.bench import write_rows
from ulmus.cli.app import exit_on_error
from ulmus.cli.console import say
from ulmus.errors import MissingToolError
from ulmus.files.writing import write_text

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def start(command: Callable[..., None], measure: Callable[..., None] | None = None) -> None:
    """Run a script's command line; a script that starts itself again also says what a `measure` call does."""
    app = App(help_format="plaintext", default_parameter=Parameter(negative=""), version_flags=[])
    app.default(command)
    if measure is not None:
        app.command(measure, name="measure", show=False)
    with exit_on_error():
        app()


def in_own_process(script: str, *arguments: object) -> Any:
    """What `python SCRIPT measure ARGUMENTS` prints as JSON: its memory is its own, nothing is left from before."""
    command = [sys.executable, script, "measure", *map(str, arguments)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def peak_mebibytes(reset: bool = False) -> float:
    """Most memory this process held, since the last reset where the system can forget (Linux)."""
    status = Path("/proc/self/status")
    if not status.exists():
        unit = 2**20 if sys.platform == "darwin" else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    if reset:
        with suppress(AttributeError):  # only glibc keeps freed memory that it can be told to give back
            ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    # getrusage on Linux also counts the process that started this one
    return int(status.read_text().split("VmHWM:")[1].split()[0]) / 2**10


def write(rows: Sequence[Any], out: Path | None) -> None:
    """Write the measurements where a file was asked for."""
    if out is not None:
        write_rows(rows, out)
        say(f"wrote {out}")


def write_figure(plot: Any, path: Path, width: int = 1040, scale: float = 1.5) -> None:
    """Write a figure of plotly as a page that opens offline, or, as .png, as a picture of at most 256 colours on white.

    Raises:
        MissingToolError: a picture is asked for, and no Chromium is installed.
    """
    figure = plot.to_html(include_plotlyjs=True, config={"displayModeBar": False})
    if path.suffix == ".png":
        from PIL import Image

        browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
        if browser is None:
            raise MissingToolError(
                f"drawing {path.name} needs a Chromium; none of {', '.join(BROWSERS)} is installed. Ask for a page, .html."
            )
        with tempfile.TemporaryDirectory() as folder:
            page, drawn = Path(folder) / "page.html", Path(folder) / "page.png"
            page.write_text(
                figure.replace("<body>", "<body style='margin: 0; background: white'>"), encoding="utf-8"
            )
            flags = [f"--window-size={width},{plot.layout.height}", f"--force-device-scale-factor={scale}"]
            flags += [
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                "--virtual-time-budget=8000",
            ]
            flags += [f"--user-data-dir={folder}/profile", f"--screenshot={drawn}"]
            subprocess.run([browser, *flags, page.as_uri()], capture_output=True, check=True, timeout=120)
            Image.open(drawn).convert("RGB").quantize(256).save(path, optimize=True)
    else:
        write_text(path, figure)
    say(f"wrote {path}")
