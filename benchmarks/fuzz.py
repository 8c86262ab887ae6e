"""Damage a good file of every kind in thousands of ways, and see that each reader refuses it or reads it: nothing else.

python benchmarks/fuzz.py --minutes 60 [--only store_shard ...] [--seed 0] [--out results.json]

Right is: the file is read, or an error of Ulmus with at most 500 characters. Wrong is any other error, a crash, more than
1 GiB of memory beyond what the process had, or more than 20 s. Prints tried and failed, and the worst memory and time, for
every reader; a failure is repeated with --only READER --seed SEED --count 1.
"""

import argparse
import json
import multiprocessing
import resource
import shutil
import signal
import tempfile
import time
import traceback
import warnings
import zipfile
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import fuzz_runs  # noqa: F401 - notes its readers
import fuzz_sequences  # noqa: F401 - the same
import numpy as np
import torch
from fuzz_readers import READERS

from ulmus.errors import LONGEST, UlmusError

SECONDS, MEBIBYTES = 20, 1024
_BATCH = 500  # damaged files of one reader in one process at a time
_NUMBERS = (
    b"1e300",
    b"-1",
    b"0",
    b"nan",
    b".inf",
    b"99999999999999999999",
    b"1e-300",
    b"null",
    b"[]",
    b"true",
    b'"x"',
)
_WORDS = (
    b"../../etc/passwd",
    b"\xff\xfe",
    b"\x00",
    b"&a [*a]",
    b"!!timestamp x",
    b"[" * 3000,
    b"{" * 3000,
    b"\xe2\x80\xa8",
)
Random = np.random.Generator


class Tally(NamedTuple):
    """What came out for one reader.

    Attributes:
        tried: damaged files.
        read: of those, how many were read as if nothing had happened.
        failures: seed and what went wrong.
        mebibytes: most memory that reading one took beyond what the process had.
        seconds: most time.
    """

    tried: int
    read: int
    failures: list[tuple[int, str]]
    mebibytes: float
    seconds: float


def damage(content: bytes, random: Random) -> bytes:
    """The content of a file, changed in one of the ways that its kind suggests."""
    ways: list[Callable[[bytes, Random], bytes]] = [_bytes, _cut, _block, _grown]
    if _is_text(content):
        ways += [_number, _number, _number, _line, _word]
    elif content[:2] == b"PK":
        ways += [_member, _member]
    else:
        ways += [_integer, _integer, _float]
    changed = ways[random.integers(len(ways))](content, random)
    return changed if random.random() < 0.8 else damage(changed, random)


def _is_text(content: bytes) -> bool:
    try:
        content.decode("ascii")
    except UnicodeDecodeError:
        return False
    return b"\0" not in content


def _at(content: bytes, random: Random) -> int:
    return int(random.integers(max(1, len(content))))


def _bytes(content: bytes, random: Random) -> bytes:
    changed = bytearray(content)
    for _ in range(random.integers(1, 9)):
        if changed:
            changed[_at(content, random)] = random.choice([0, 1, 127, 128, 255, int(random.integers(256))])
    return bytes(changed)


def _cut(content: bytes, random: Random) -> bytes:
    return content[: _at(content, random)]


def _grown(content: bytes, random: Random) -> bytes:
    return content + bytes(random.integers(256, size=random.integers(1, 200), dtype=np.uint8))


def _block(content: bytes, random: Random) -> bytes:
    """A block taken out, doubled, or put somewhere else."""
    first, other = _at(content, random), _at(content, random)
    block = content[first : first + int(random.integers(1, 64))]
    kept = content if random.random() < 0.5 else content[:first] + content[first + len(block) :]
    return kept[:other] + block * int(random.integers(0, 4)) + kept[other:]


def _integer(content: bytes, random: Random) -> bytes:
    """A number of a binary format, such as a size or a place, made extreme."""
    width = int(random.choice([1, 2, 4, 8]))
    most = 2 ** (8 * width)
    values = [0, 1, most // 2 - 1, most // 2, most - 1, 2 ** (4 * width), 2 ** (6 * width)]
    value = values[random.integers(len(values))]
    place = _at(content, random)
    return content[:place] + value.to_bytes(width, "little") + content[place + width :]


def _float(content: bytes, random: Random) -> bytes:
    place = _at(content, random) // 8 * 8
    value = random.choice([np.nan, np.inf, -1.0, 1e300, 1e-300, 1e30, 2.0**53])
    return content[:place] + np.float64(value).tobytes() + content[place + 8 :]


def _number(content: bytes, random: Random) -> bytes:
    """A number of a text replaced by one that is none, or none of this world."""
    import re

    found = list(re.finditer(rb"-?\d+(\.\d+)?(e-?\d+)?", content))
    if not found:
        return _word(content, random)
    match = found[random.integers(len(found))]
    return content[: match.start()] + _NUMBERS[random.integers(len(_NUMBERS))] + content[match.end() :]


def _word(content: bytes, random: Random) -> bytes:
    place = _at(content, random)
    return content[:place] + _WORDS[random.integers(len(_WORDS))] + content[place:]


def _line(content: bytes, random: Random) -> bytes:
    lines = content.split(b"\n")
    first, other = random.integers(len(lines), size=2)
    lines.insert(int(other), lines[first] if random.random() < 0.5 else lines.pop(first))
    return b"\n".join(lines)


def _member(content: bytes, random: Random) -> bytes:
    """A member of an archive damaged inside, with the sums right."""
    import io

    made = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w") as new:
            names = old.namelist()
            chosen = names[random.integers(len(names))]
            for name in names:
                data = old.read(name)
                way = [_bytes, _cut, _integer, _float, _number, _block][random.integers(6)]
                new.writestr(name, way(data, random) if name == chosen else data)
    except Exception:  # it is damaged already
        return _bytes(content, random)
    return made.getvalue()


def try_one(name: str, seed: int, content: bytes, path: Path, read: Callable[[], object]) -> tuple[str, bool]:
    """Damage the file, read it; what went wrong ("" for nothing), and whether it was read."""
    random = np.random.default_rng([seed, *name.encode()])
    path.unlink()  # HDF5 remembers an open file by its place on the disk
    path.write_bytes(damage(content, random))
    try:
        read()
    except UlmusError as error:
        text = str(error)
        return ("" if 0 < len(text) <= LONGEST else f"a message of {len(text)} characters"), False
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "ulmus" in frame.filename]
        near = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else ""
        return (
            f"{type(error).__name__} at {near} ({Path(where.filename).name}:{where.lineno}): {str(error)[:160]}",
            False,
        )
    return "", True


def _child(name: str, seeds: range, folder: str, report: Connection) -> None:
    """Try some seeds of one reader; says each before it begins, so that a crash is known by its seed."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    place = Path(tempfile.mkdtemp(dir=folder))
    path, read = READERS[name](place)
    content = path.read_bytes()
    read()  # what is loaded once is not counted
    kept = {file: file.read_bytes() for file in place.rglob("*") if file.is_file()}
    used = _address_space()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2 * MEBIBYTES * 2**20, resource.RLIM_INFINITY))
    for seed in seeds:
        report.send(("begin", seed))
        before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        signal.alarm(3 * SECONDS)
        problem, was_read = try_one(name, seed, content, path, read)
        signal.alarm(0)
        seconds = time.process_time() - began
        mebibytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        if not problem and seconds > SECONDS:
            problem = f"{seconds:.0f} s"
        if not problem and mebibytes > MEBIBYTES:
            problem = f"{mebibytes:.0f} MiB"
        report.send(("end", seed, problem, was_read, mebibytes, seconds))
        for file, data in kept.items():  # a reader may also write, as a run does
            if file != path and (not file.is_file() or file.read_bytes() != data):
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(data)
    report.send(("done",))


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def fuzz_reader(name: str, seeds: range, folder: Path, until: float) -> Tally:
    """Try seeds of one reader until a time."""
    tried = read = 0
    failures: list[tuple[int, str]] = []
    worst_mebibytes = worst_seconds = 0.0
    context = multiprocessing.get_context("fork")  # what is loaded stays loaded
    at = seeds.start
    while at < seeds.stop and time.monotonic() < until:
        ours, theirs = context.Pipe()
        stop = min(seeds.stop, at + _BATCH)
        # No daemon: damage may ask for processes that prepare batches, which a daemon may not start.
        process = context.Process(target=_child, args=(name, range(at, stop), str(folder), theirs))
        process.start()
        theirs.close()
        while True:
            try:
                message = ours.recv()
            except EOFError:
                process.join()
                failures.append((at, f"the process ended with {process.exitcode}"))
                tried, at = tried + 1, at + 1
                break
            if message[0] == "done":
                break
            at = message[1]
            if message[0] == "end":
                _, seed, problem, was_read, mebibytes, seconds = message
                tried, read, at = tried + 1, read + was_read, seed + 1
                failures += [(seed, problem)] if problem else []
                worst_mebibytes, worst_seconds = max(worst_mebibytes, mebibytes), max(worst_seconds, seconds)
                if time.monotonic() > until:
                    process.terminate()
                    break
        process.join()
        for left in folder.iterdir():
            shutil.rmtree(left, ignore_errors=True)
    return Tally(tried, read, failures, worst_mebibytes, worst_seconds)


def main() -> None:
    """Fuzz every reader for its share of the time, and print what came out."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--minutes", type=float, default=1.0)
    arguments.add_argument("--only", nargs="*", choices=sorted(READERS), default=sorted(READERS))
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--count", type=int, default=10**9, help="of damaged files for each reader")
    arguments.add_argument("--out", type=Path)
    given = arguments.parse_args()
    results: dict[str, dict[str, Any]] = {}
    with (
        tempfile.TemporaryDirectory() as folder
    ):  # so that every child begins with all modules loaded and compiled
        for name in given.only:
            (Path(folder) / name).mkdir()
            READERS[name](Path(folder) / name)[1]()
    ends = time.monotonic() + 60 * given.minutes
    print(f"{'reader':28} {'tried':>7} {'read':>7} {'failed':>7} {'MiB':>6} {'s':>6}")
    for position, name in enumerate(given.only):
        share = (ends - time.monotonic()) / (len(given.only) - position)
        with tempfile.TemporaryDirectory() as folder:
            seeds = range(given.seed, given.seed + given.count)
            tally = fuzz_reader(name, seeds, Path(folder), time.monotonic() + share)
        print(
            f"{name:28} {tally.tried:7} {tally.read:7} {len(tally.failures):7} {tally.mebibytes:6.0f} {tally.seconds:6.2f}",
            flush=True,
        )
        for seed, problem in tally.failures[:20]:
            print(f"    seed {seed}: {problem}", flush=True)
        results[name] = tally._asdict()
    tried = sum(result["tried"] for result in results.values())
    failed = sum(len(result["failures"]) for result in results.values())
    print(f"{'all':28} {tried:7} {'':7} {failed:7}")
    if given.out:
        given.out.write_text(json.dumps(results, indent=1), encoding="utf-8")
    raise SystemExit(bool(failed))


if __name__ == "__main__":
    main()
