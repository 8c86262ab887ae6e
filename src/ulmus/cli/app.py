"""The commands, and what happens to errors."""

import _thread
import ctypes
import os
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

# Threads of OpenMP otherwise go on spinning after every operation of PyTorch, on the cores that the kernels want next. Read
# once, when PyTorch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# glibc otherwise gives memory back to the system after every training step, and takes it again page by page in the next one.
with suppress(AttributeError, TypeError):  # other systems have no such function
    if not {"MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"} & {*os.environ}:
        ctypes.CDLL(None).mallopt(-3, 32 << 20)  # M_MMAP_THRESHOLD, at most this
        ctypes.CDLL(None).mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD

from cyclopts import App, Parameter, Token, convert

from ulmus.cli.console import error_console, say
from ulmus.errors import (
    BackendError,
    CheckpointError,
    ConfigError,
    DataError,
    DivergedError,
    MissingToolError,
    UlmusError,
    remedy,
)

# Named as text and described here, so that the list of commands appears without importing what they need.
COMMANDS = (
    ("demo", "demo:demo", "Simulate a detailed neuron, fit an ELM neuron to it, open the report."),
    ("simulate", "simulate:simulate", "Simulate a detailed neuron with random synaptic input into a store."),
    ("data", "data:app", "Convert, describe and check trials."),
    ("train", "train:train", "Train a recipe in a run folder, or resume an interrupted run."),
    ("label", "label:label", "Let fitted neurons respond to new input, as training data for smaller ones."),
    ("sweep", "sweep:sweep", "Search a recipe's hyper-parameters by validation score."),
    ("evaluate", "evaluate:evaluate", "Score a fitted neuron on trials, or a classifier on its test data."),
    ("probe", "probe:probe", "Classify a recipe's data with a linear probe."),
    (
        "reproduce",
        "reproduce:reproduce",
        "Run or resume an experiment of the paper; tables beside the published ones.",
    ),
    ("report", "report:report", "Write a page that opens offline: scores, traces, weights, time constants."),
    ("export", "export:app", "Write a fitted neuron for another program: C, JavaScript, NEURON, ONNX."),
    (
        "explore",
        "explore:explore",
        "Write a page to play with a fitted neuron: its input, voltage, spikes, memory.",
    ),
    ("doctor", "doctor:doctor", "List the backends available here; --verify checks their results."),
    ("bench", "bench:app", "Time the kernels beside other implementations."),
    (
        "import",
        "importing:import_",
        "Convert a checkpoint folder of the paper's authors into a saved surrogate.",
    ),
)

GO_ON = ("simulate", "label", "sweep")
"""Commands that resume where they were interrupted; train and reproduce say so themselves."""


def _converted(kind: Any, tokens: Sequence[Token]) -> Any:
    """What a flag is given, as its type; Cyclopts alone would round 1.5 trials to 2."""
    if kind is not int:
        return convert(kind, tokens)
    try:
        return int(tokens[0].value)
    except ValueError:
        message = f"{tokens[0].value!r} is not a whole number; expected one such as 4. Correct it."
        raise ValueError(message) from None


def build(arguments: list[str]) -> App:
    """The commands; the one that the arguments begin with describes itself, by its docstring."""
    app = App(
        name="ulmus",
        help="Fit Expressive Leaky Memory neurons to detailed neurons, and use them.",
        version_flags=["--version"],
        suppress_keyboard_interrupt=False,  # else it ends the process before we can say that it was interrupted
        # Without negative="", --no-resume and --empty-data would be flags too.
        default_parameter=Parameter(negative="", converter=_converted),
    )
    for command, place, description in COMMANDS:
        chosen = arguments[:1] == [command]
        app.command(f"ulmus.cli.{place}", name=command, help=None if chosen else description)
    return app


EXIT_CODES: list[tuple[type[UlmusError], int]] = [
    (ConfigError, 2),
    (BackendError, 2),
    (DataError, 3),
    (CheckpointError, 3),
    (MissingToolError, 4),
    (DivergedError, 5),
]
"""Beside these: 1 for any other error, 130 when interrupted."""


_SECONDS_TO_RETURN = 0.05


@contextmanager
def exit_on_error(interrupted: str = "interrupted") -> Iterator[None]:
    """End the process with a message and the exit status of the error, instead of a traceback."""
    try:
        yield
    except UlmusError as error:
        _complain(str(error))
        sys.exit(next((code for kind, code in EXIT_CODES if isinstance(error, kind)), 1))
    except KeyboardInterrupt:
        error_console.print(interrupted)
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output has had enough, as `ulmus ... | head` does; nothing may be flushed to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        _complain(f"{error.filename or 'a file'}: {error.strerror or error}; {remedy(error)}.")
        sys.exit(1)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line with these arguments, by default those of the process; exits."""
    arguments = sys.argv[1:] if arguments is None else arguments
    goes_on = arguments[:1] and arguments[0] in GO_ON
    with (
        _warnings_as_notes(),
        interrupts_are_kept(),
        exit_on_error("interrupted; run the same command again to continue" if goes_on else "interrupted"),
    ):
        _run(arguments)


@contextmanager
def interrupts_are_kept() -> Iterator[None]:
    """Raise Ctrl-C again where it reached Python in a callback, such as a destructor: from there it would be printed and lost."""
    before = sys.unraisablehook

    def hook(lost: "sys.UnraisableHookArgs") -> None:
        if not issubclass(lost.exc_type, KeyboardInterrupt):
            before(lost)
            return
        again = threading.Timer(_SECONDS_TO_RETURN, _thread.interrupt_main)  # not from within the callback
        again.daemon = True
        again.start()

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


@contextmanager
def _warnings_as_notes() -> Iterator[None]:
    """Show warnings as sentences, without the line of the code that gave them."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: say(f"note: {message}")
        yield


def _run(arguments: list[str]) -> None:
    try:
        build(arguments)(arguments)
    except ImportError as error:
        # cyclopts says of a command that cannot be imported that it cannot; which extra is missing is what helps.
        if isinstance(error.__cause__, UlmusError):
            raise error.__cause__ from None
        raise


def _complain(text: str) -> None:
    error_console.print("error:", style="bold red", end=" ")
    error_console.print(text, soft_wrap=True, highlight=False)
