"""``ulmus export``: c, javascript, neuron, onnx."""

from pathlib import Path

from cyclopts import App

from ulmus.cli.console import console, say
from ulmus.errors import ConfigError
from ulmus.export import export
from ulmus.export.constants import identifier
from ulmus.neuron import load

app = App(name="export", help="Write a fitted neuron for another program: C, JavaScript, NEURON, ONNX.")


@app.command(name="c")
def c_file(model: Path, *, out: Path) -> None:
    """Write a fitted neuron as one self-contained file of C99.

    Args:
        model: Run folder, saved surrogate, or name of a shipped neuron.
        out: File to write: NAME.c, or NAME.h for one that is included.
    """
    _write(model, out, (".c", ".h"))


@app.command
def javascript(model: Path, *, out: Path) -> None:
    """Write a fitted neuron as one JavaScript module without dependencies.

    Args:
        model: Run folder, saved surrogate, or name of a shipped neuron.
        out: File to write: NAME.mjs or NAME.js.
    """
    _write(model, out, (".js", ".mjs"))


@app.command
def neuron(*models: Path, out: Path) -> None:
    """Write fitted neurons as artificial cells of the NEURON simulator, to be compiled with nrnivmodl.

    Args:
        models: Run folders, saved surrogates, or names of shipped neurons.
        out: Folder of the mechanisms.
    """
    if not models:
        raise ConfigError("no neuron was named; expected one or more, such as l5pc-branch-20. Name one.")
    names = [identifier(model.resolve().name if model.is_dir() else model.stem) for model in models]
    if len(set(names)) < len(names):
        raise ConfigError(
            f"two neurons would get the same name among {names}; expected names that differ. Rename one of the files."
        )
    for model, name in zip(models, names, strict=True):
        console.print(str(export(load(model), out / f"{name}.mod")), soft_wrap=True)
    say(
        f"next: nrnivmodl {out}; then in Python, started in the same folder: from neuron import h; h.{names[0]}()"
    )


@app.command
def onnx(model: Path, *, out: Path) -> None:
    """Write a fitted neuron, a network or a classifier as ONNX, with its state as input and output.

    Args:
        model: Run folder, saved model, or name of a shipped neuron.
        out: File to write: NAME.onnx.
    """
    _write(model, out, (".onnx",))


def _write(model: Path, out: Path, ends: tuple[str, ...]) -> None:
    if out.suffix.lower() not in ends:
        raise ConfigError(
            f"--out {out} ends with {out.suffix!r}; expected {' or '.join(ends)}. Correct the name."
        )
    console.print(str(export(load(model), out)), soft_wrap=True)
