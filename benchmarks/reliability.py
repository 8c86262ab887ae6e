"""Kill, interrupt, starve and double what writes files, again and again, and see that it ends as if nothing had happened.

python benchmarks/reliability.py --minutes 60 [--only train ...] [--disturbance kill ...] [--seed 0] [--out results.json]

Every kind of work (simulating, converting, training, making digits and ListOps) is first done once without disturbance. Then,
in turns: *kill* ends the command with SIGKILL at a random moment, up to six times, before it may finish; *signal* does the same
with SIGINT and SIGTERM; *full disk* gives it a small file system that is nearly full, and room later; *two writers* starts it
twice at once. Right is: stores, weights, metrics and files are those of the undisturbed run, nothing half-written is left, and
whatever ends early ends with a message and no traceback. Moments are CPU time, so that a busy machine changes nothing.
"""

import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import torch
from common import start, write

from ulmus.cli import main
from ulmus.cli.console import console, print_table, say
from ulmus.training.run import Run
from ulmus.trials import Store, open_trials

MOST_KILLS = 6
_GOES_ON = (130, 143, -signal.SIGTERM, -signal.SIGINT)
"""How a command ends that was asked to stop."""
_SMALL_DISK = "48m"

RECIPE = """
name: small
model: {{memory: 3}}
data: {{train: "{store}[:8]", validation: "{store}[8:]", window_ms: 100, burn_in_ms: 20}}
training: {{steps: 40, validate_every: 10, checkpoint_every: 4, log_every: 3, batch: 2}}
"""
MAPPING = """
inputs: {times: times, ids: ids, unit: s, count: 8, inhibitory: "6:8"}
voltage: {values: v, unit: mV, sampling_hz: 1000}
output_spikes: {times: spikes, unit: s}
trials: {duration_ms: 200}
"""


class Work(NamedTuple):
    """A command that fills a folder; ``again`` is how it goes on, and ``result`` is what must not depend on disturbances."""

    arguments: Callable[[Path], list[str]]
    result: Callable[[Path], str]
    again: Callable[[Path], list[str]] | None = None

    def command(self, out: Path) -> list[str]:
        """The command for what is there already."""
        begun = self.again is not None and Run(out).exists()
        return self.again(out) if begun and self.again else self.arguments(out)


class Tally(NamedTuple):
    """What was tried of one kind of work and disturbance."""

    work: str
    disturbance: str
    tried: int = 0
    disturbed: int = 0
    """Kills, signals, full disks, second writers that came in time."""
    failed: int = 0


def _bytes(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


def _store(out: Path) -> str:
    store = Store(out)
    voltages = hashlib.sha256(
        b"".join(store.trial(index).voltage_mv.tobytes() for index in range(len(store)))
    )
    return f"{len(store)} {open_trials(str(out)).content_hash} {voltages.hexdigest()}"


def _run(out: Path) -> str:
    run = Run(out)
    state = run.load_state()
    if state is None or not run.finished():
        return "not finished"
    weights = hashlib.sha256(b"".join(value.numpy().tobytes() for value in state["model"].values()))
    return f"{weights.hexdigest()} {_bytes([run.metrics_file, run.best_file])}"


def _digits(out: Path) -> str:
    digest = hashlib.sha256()
    for split in ("train", "test"):
        with h5py.File(out / f"spoken_digits_{split}.h5") as file:
            for key in ("spikes/times", "spikes/units", "labels"):
                for values in file[key][:]:
                    digest.update(np.asarray(values).tobytes())
    return digest.hexdigest()


def make_inputs(folder: Path) -> dict[str, Work]:
    """What the commands read, and the commands."""
    numbers = np.random.default_rng(0)
    seconds = 2.4
    np.savez(
        folder / "recording.npz",
        times=np.sort(numbers.uniform(0, seconds, 400)),
        ids=numbers.integers(8, size=400),
        v=numbers.normal(-65, 3, int(seconds * 1000)),
        spikes=np.arange(0.05, seconds, 0.2),
    )
    (folder / "mapping.yaml").write_text(MAPPING)
    (folder / "clips").mkdir()
    for digit in range(10):
        for speaker in ("anna", "ben"):
            with wave.open(str(folder / "clips" / f"{digit}_{speaker}_0.wav"), "wb") as file:
                file.setnchannels(1), file.setsampwidth(2), file.setframerate(8000)
                file.writeframes(numbers.integers(-9000, 9000, 800).astype("<i2").tobytes())
    store = folder / "trials"
    _alone(["simulate", "lif", "--trials", "12", "--seconds", "0.8", "--workers", "1", "--out", str(store)])
    (folder / "recipe.yaml").write_text(RECIPE.format(store=store))
    lif = ["simulate", "lif", "--trials", "30", "--seconds", "0.4", "--workers", "1"]
    convert = ["data", "convert", str(folder / "recording.npz"), "--mapping", str(folder / "mapping.yaml")]
    digits = [
        "data",
        "make",
        "spoken-digits",
        "--from",
        str(folder / "clips"),
        "--same-speakers",
        "--workers",
        "1",
    ]
    listops = [
        "--train",
        "60",
        "--valid",
        "20",
        "--test",
        "20",
        "--shortest",
        "20",
        "--longest",
        "60",
        "--workers",
        "1",
    ]
    return {
        "simulate": Work(lambda out: [*lif, "--out", str(out)], _store),
        "convert": Work(lambda out: [*convert, "--out", str(out)], _store),
        "train": Work(
            lambda out: ["train", str(folder / "recipe.yaml"), "--run", str(out)],
            _run,
            lambda out: ["train", "--resume", "--run", str(out)],
        ),
        "digits": Work(lambda out: [*digits, "--out", str(out)], _digits),
        "listops": Work(
            lambda out: ["data", "make", "listops", str(out), *listops],
            lambda out: _bytes(sorted(out.rglob("*.tsv"))),
        ),
    }


def _alone(arguments: list[str]) -> None:
    """A command in this process, which then has loaded and compiled what its children need."""
    with suppress(SystemExit):
        main(arguments)


def _child(arguments: list[str], log: Path) -> int:
    """Start a command in a process of its own, which has everything loaded already; its number."""
    sys.stdout.flush(), sys.stderr.flush()
    process = os.fork()
    if process:
        return process
    code: object = 70
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1), os.dup2(output, 2)
        main(arguments)
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException:  # what a user would see as a traceback
        import traceback

        traceback.print_exc()
    finally:
        with suppress(BaseException):
            sys.stdout.flush(), sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def _cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _wait(process: int, moment: float | None = None, number: int = signal.SIGKILL) -> tuple[int, bool]:
    """Exit status of a process, and whether the signal came in time, after these CPU seconds."""
    sent = False
    while True:
        ended, status = os.waitpid(process, 0 if moment is None or sent else os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), sent
        if moment is not None and _cpu_seconds(process) >= moment:
            os.kill(process, number)
            sent = True
        time.sleep(0.001)


class Trouble(Exception):
    """Something went wrong that must not."""


class Bench:
    """The undisturbed results, and the ways to disturb."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.random = folder, random.Random(seed)
        self.inputs = folder / "inputs"
        self.inputs.mkdir()
        self.works = make_inputs(self.inputs)
        self.small: Path | None = self._mount()
        self.right: dict[str, tuple[str, float, int]] = {}

    def learn(self, name: str) -> None:
        """Do the work undisturbed: its result, CPU seconds and bytes."""
        out, log = self.folder / f"{name}-right", self.folder / "right.log"
        _alone(self.works[name].arguments(self.folder / f"{name}-warm"))
        before = time.process_time(), os.times().children_user + os.times().children_system
        code, _ = _wait(_child(self.works[name].arguments(out), log))
        cpu = os.times().children_user + os.times().children_system - before[1]
        if code:
            raise SystemExit(f"{name} fails undisturbed: {log.read_text()[-2000:]}")
        size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
        self.right[name] = (self.works[name].result(out), cpu, size)

    def _mount(self) -> Path | None:
        small = self.folder / "small"
        small.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={_SMALL_DISK}", "tmpfs", str(small)]
        return small if not subprocess.run(command, capture_output=True, check=False).returncode else None

    def close(self) -> None:
        """Give the small file system back."""
        if self.small is not None:
            # Lazily: a store that was looked at may still be mapped into memory.
            subprocess.run(["umount", "--lazy", str(self.small)], check=False)

    def disturb(self, name: str, disturbance: str) -> int:
        """One chain; how often it was disturbed.

        Raises:
            Trouble: it did not end as it should.
        """
        place = self.small if disturbance == "full disk" and self.small is not None else self.folder
        out, log = place / "out", self.folder / "chain.log"
        log.write_text("")
        try:
            disturbed = {
                "kill": self._kill,
                "signal": self._signal,
                "full disk": self._full_disk,
                "two writers": self._two_writers,
            }[disturbance](name, out, log)
            self._check(name, out, log)
        finally:
            shutil.rmtree(out, ignore_errors=True)
        return disturbed

    def _check(self, name: str, out: Path, log: Path) -> None:
        text = log.read_text()
        if "Traceback" in text:
            raise Trouble(f"a traceback: {text[-6000:]}")
        if self.works[name].result(out) != self.right[name][0]:
            raise Trouble(f"another result: {text[-6000:]}")
        left = [str(file) for file in out.rglob("*") if re.search(r"\.part(ial)?$|^\.lock$", file.name)]
        if left:
            raise Trouble(f"left behind: {left}")

    def _finish(self, name: str, out: Path, log: Path) -> None:
        code, _ = _wait(_child(self.works[name].command(out), log))
        if code:
            raise Trouble(f"does not go on (status {code}): {log.read_text()[-6000:]}")

    def _kill(self, name: str, out: Path, log: Path) -> int:
        kills = 0
        for _ in range(self.random.randint(1, MOST_KILLS)):
            moment = self.random.uniform(0, self.right[name][1])
            code, killed = _wait(_child(self.works[name].command(out), log), moment)
            kills += killed
            if not killed:
                if code:
                    raise Trouble(f"does not go on (status {code}): {log.read_text()[-6000:]}")
                return kills
        self._finish_unless_done(name, out, log)
        return kills

    def _signal(self, name: str, out: Path, log: Path) -> int:
        signals = 0
        for _ in range(self.random.randint(1, 3)):
            number = self.random.choice([signal.SIGINT, signal.SIGTERM])
            moment = self.random.uniform(0, self.right[name][1])
            code, sent = _wait(_child(self.works[name].command(out), log), moment, number)
            signals += sent
            if code == 0:
                return signals
            if not sent or code not in _GOES_ON:
                raise Trouble(f"status {code} after {signal.Signals(number).name}: {log.read_text()[-6000:]}")
        self._finish_unless_done(name, out, log)
        return signals

    def _finish_unless_done(self, name: str, out: Path, log: Path) -> None:
        if self.works[name].again is not None and Run(out).exists():
            with suppress(Exception):
                if Run(out).finished():
                    return
        self._finish(name, out, log)

    def _full_disk(self, name: str, out: Path, log: Path) -> int:
        if self.small is None:
            return 0
        filler = self.small / "filler"
        room = int(self.random.uniform(0, 1.2 * self.right[name][2]))
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(4096, shutil.disk_usage(self.small).free - room))
        code, _ = _wait(_child(self.works[name].command(out), log))
        text = log.read_text()
        filler.unlink()
        if code < 0 or (code and "No space left on device" not in text):
            raise Trouble(f"status {code} on a full disk: {text[-6000:]}")
        if code:
            self._finish(name, out, log)
        return int(code != 0)

    def _two_writers(self, name: str, out: Path, log: Path) -> int:
        command = self.works[name].arguments(out)
        first, second = _child(command, log), 0
        moment = self.random.uniform(0, self.right[name][1])
        while not os.waitid(os.P_PID, first, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if _cpu_seconds(first) >= moment:
                break
            time.sleep(0.001)
        second = _child(command, log)
        codes = [_wait(process)[0] for process in (second, first)]
        if 0 not in codes:
            raise Trouble(f"neither ended well ({codes}): {log.read_text()[-6000:]}")
        if any(code not in (0, 2) for code in codes):
            raise Trouble(f"one of two ended with {codes}: {log.read_text()[-6000:]}")
        return int(2 in codes)


DISTURBANCES = ("kill", "signal", "full disk", "two writers")


def reliability(
    *,
    minutes: float = 60.0,
    only: list[str] | None = None,
    disturbance: list[str] | None = None,
    rounds: int | None = None,
    seed: int = 0,
    out: Path | None = None,
) -> None:
    """Disturb everything that writes files, and compare with undisturbed runs.

    Args:
        minutes: How long.
        only: Kinds of work: simulate, convert, train, digits, listops; all by default.
        disturbance: kill, signal, full disk, two writers; all by default.
        rounds: Stop after every kind of work was disturbed in every way this often.
        seed: Seed of the moments.
        out: JSON file to write.
    """
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(prefix="reliability-"))
    bench = Bench(folder, seed)
    names = only or list(bench.works)
    tallies = {(name, kind): Tally(name, kind) for name in names for kind in disturbance or DISTURBANCES}
    until = time.monotonic() + 60 * minutes
    try:
        for name in names:
            bench.learn(name)
        if bench.small is None:
            say("no small file system can be mounted here: full disks are left out")
        done = 0
        while time.monotonic() < until and (rounds is None or done < rounds):
            for key, tally in tallies.items():
                if time.monotonic() >= until or (key[1] == "full disk" and bench.small is None):
                    continue
                failed, disturbed = 0, 0
                try:
                    disturbed = bench.disturb(*key)
                except Trouble as trouble:
                    failed = 1
                    say(f"{key[0]}, {key[1]}: {trouble}")
                counts = (tally.tried + 1, tally.disturbed + disturbed, tally.failed + failed)
                tallies[key] = Tally(*key, *counts)
            done += 1
    finally:
        bench.close()
        shutil.rmtree(folder, ignore_errors=True)
    rows = [
        (f"{row.work}, {row.disturbance}", str(row.tried), str(row.disturbed), str(row.failed))
        for row in tallies.values()
    ]
    print_table("chains", rows, ("", "tried", "disturbances", "failed"))
    total = [sum(getattr(row, key) for row in tallies.values()) for key in ("tried", "disturbed", "failed")]
    console.print(f"{total[0]} tried, {total[1]} disturbances, {total[2]} failed")
    write(list(tallies.values()), out)
    if total[2]:
        raise SystemExit(1)


if __name__ == "__main__":
    start(reliability)
