"""Give every number that a command or a recipe takes values that nobody means, and see that each is refused, or works.

python benchmarks/flags.py [--only COMMAND ...]

Right is: the command does its work, or ends with status 2 or 3 and one message. Wrong is a traceback, any other status, more than
1 GiB of memory, or more than 20 s of CPU time before the work begins that was asked for. Each try is a process forked from
this one.
"""

import contextlib
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from common import start

from ulmus.cli import main
from ulmus.cli.app import build
from ulmus.cli.console import say
from ulmus.errors import LONGEST

CPU_SECONDS, MEBIBYTES, PATIENCE_SECONDS = 20, 1024, 120
VALUES = (
    "-1",
    "0",
    "1.5",
    "0x10",
    "nan",
    "inf",
    "1e-30",
    "1e30",
    "1e999",
    "2147483648",
    "99999999999",
    str(2**63),
    "",
    "abc",
)
LONG_WORK = ("training ", "simulate: ", "images: ", "expressions: ")
"""What a command prints that has begun work which may take long."""
FRAME = 300
"""Characters that the frame around a message of the command line itself may take."""
LISTOPS = "--train 20 --valid 5 --test 5 --workers 1"
COMMANDS = {
    "simulate lif": "--trials 2 --seconds 0.2 --out OUT --workers 1",
    "simulate l5pc": "--trials 1 --seconds 0.1 --out OUT --workers 1",
    "label l5pc-small": "--trials 2 --seconds 0.2 --out OUT",
    "data make pathfinder": "--images 20 --out OUT --workers 1",
    "data make listops": f"{LISTOPS} --out OUT",
    "data make spoken-digits": "--out OUT --trials 1 --workers 1",
    "evaluate l5pc-small": "--data TRIALS",
    "explore l5pc-small": "--out OUT.html",
    "reproduce lra": "--data.folder LISTOPS --out OUT --dry-run",
    "demo": "--quick --folder OUT",
    "train lra-listops-elm": "--data.folder LISTOPS --training.steps 2 --training.batch 2 --run OUT",
    "train l5pc-small": "--data.train TRIALS --data.validation TRIALS --training.steps 2 --training.batch 2 --run OUT",
}


class Try(NamedTuple):
    """What became of one command."""

    command: str
    status: int
    text: str
    mebibytes: float

    @property
    def fault(self) -> str:
        """What is wrong with it, if anything."""
        if "Traceback" in self.text:
            return "traceback"
        if self.mebibytes > MEBIBYTES:
            return f"{self.mebibytes:.0f} MiB"
        if self.status in (-signal.SIGKILL, -signal.SIGXCPU):
            return "" if any(begun in self.text for begun in LONG_WORK) else "too long"
        if self.status not in (0, 2, 3):
            return f"status {self.status}"
        return "a long message" if self.status and len(self.text) > LONGEST + FRAME else ""


def flags(only: list[str] | None = None) -> None:
    """Try every number of every command, and print what went wrong.

    Args:
        only: Commands to try, as "simulate lif"; all by default.
    """
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        places = {"OUT": "out", "TRIALS": "trials", "LISTOPS": "listops"}
        tried(
            ["simulate", "l5pc", "--trials", "2", "--seconds", "1", "--workers", "1", "--out", "trials"], 600
        )
        tried(
            [
                "data",
                "make",
                "listops",
                "--train",
                "20",
                "--valid",
                "5",
                "--test",
                "5",
                "--workers",
                "1",
                "--out",
                "listops",
            ],
            600,
        )
        failed = 0
        for command in only or COMMANDS:
            given = [places.get(word, word) for word in COMMANDS[command].split()]
            results = [
                tried([*command.split(), *without(given, flag), flag, value])
                for flag in numbers(command.split(), given)
                for value in VALUES
            ]
            wrong = [result for result in results if result.fault]
            failed += len(wrong)
            say(f"{command}: {len(results)} tried, {len(wrong)} failed")
            for result in wrong:
                say(f"  {result.fault}: ulmus {result.command}\n    {result.text[-300:]!r}")
        if failed:
            sys.exit(1)


def numbers(words: list[str], given: list[str]) -> list[str]:
    """The flags of a command that take numbers; of `train` also the keys of its recipe."""
    if words[0] == "train":
        recipe = tried([*words, *given, "--dry-run"]).text
        return [f"--{key}" for key in keys(yaml.safe_load(recipe))]
    app = build(words)
    for word in words:
        with contextlib.suppress(KeyError):  # the rest are arguments
            app = app[word]
    kinds = ("int", "float", "int | None", "float | None")
    named = ((argument.names[:1], getattr(argument.hint, "__name__", str(argument.hint))) for argument in
             app.assemble_argument_collection())  # fmt: skip
    return [names[0] for names, kind in named if names and kind in kinds]


def keys(recipe: dict[str, Any], before: str = "") -> Iterator[str]:
    """Names of all values in a recipe that may be numbers."""
    for name, value in recipe.items():
        if isinstance(value, dict):
            yield from keys(value, f"{before}{name}.")
        elif not isinstance(value, (str, list, bool)):
            yield before + name


def without(given: list[str], flag: str) -> list[str]:
    """The arguments without a flag and its value."""
    at = given.index(flag) if flag in given else len(given)
    return given[:at] + given[at + 2 :]


def tried(arguments: list[str], cpu_seconds: int = CPU_SECONDS) -> Try:
    """Run a command in a process of its own, which ends with all that it started; what it made is removed."""
    with tempfile.TemporaryFile("w+") as text:
        begun, process = time.monotonic(), os.fork()
        if process == 0:
            _run(arguments, text.fileno(), cpu_seconds)
        while (ended := os.wait4(process, os.WNOHANG))[0] == 0:
            if time.monotonic() - begun > PATIENCE_SECONDS:
                os.killpg(process, signal.SIGKILL)
            time.sleep(0.01)
        text.seek(0)
        status = os.waitstatus_to_exitcode(ended[1])
        result = Try(" ".join(arguments), status, text.read(), ended[2].ru_maxrss / 1024)
    for made in Path().glob("out*"):
        shutil.rmtree(made) if made.is_dir() else made.unlink()
    return result


def _run(arguments: list[str], output: int, cpu_seconds: int) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    os.setsid()
    os.dup2(output, 1)
    os.dup2(output, 2)
    try:
        main(arguments)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 99
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    start(flags)
