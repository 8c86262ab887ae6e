"""``ulmus data``: convert, inspect, info, verify, fetch, make."""

import json as json_format
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from ulmus.cli.console import console, print_table, progress, say
from ulmus.errors import MissingToolError
from ulmus.recordings.conversion import convert as convert_trials
from ulmus.sequences.digits.clips import describe
from ulmus.trials.store import Store

_LISTED = 6
"""Lists of more entries are shown by their number."""

app = App(name="data", help="Convert, describe, check, fetch and make data.")
app.command(
    "ulmus.cli.make:app",
    name="make",
    help="Make spoken digits, ListOps or Pathfinder in the published layout.",
)


@app.command
def convert(*sources: str, out: Path, mapping: Path | None = None) -> None:
    """Convert published NeuronIO files, or recordings with a mapping, into a store. The same command continues it.

    Args:
        sources: NeuronIO files (*sim__*) or folders of them; with --mapping, files of HDF5, NPZ, NWB or CSV, or folders of
            CSV files. Each with an optional pattern and slice: 'sweeps/*.h5[:20]'.
        out: Folder of the store.
        mapping: YAML file that says what the files hold; a picture of what was understood is written into the store.
    """
    with progress("convert") as show:
        store = convert_trials(
            list(sources),
            out,
            mapping=mapping,
            on_trial=lambda done, total: show(done, total or done, ""),
            on_check=lambda done, total: show(done, total or done, "checked"),
        )
    if mapping is not None:
        more = f" and {len(sources) - 1} more" if len(sources) > 1 else ""
        _show_what_was_read(store, f"{sources[0]}{more}", mapping)
    console.print(f"{out}: {len(store)} trials", soft_wrap=True)


def _show_what_was_read(store: Store, sources: str, mapping: Path) -> None:
    try:
        from ulmus.report.conversion_page import summarise, write_conversion_page
    except MissingToolError as error:
        say(f"converted, but not drawn: {error}")
        return
    summary = summarise(store)
    print_table(f"Read with {mapping}", summary.rows)
    title = f"{sources}, read with {mapping}"
    page = write_conversion_page(store, summary, title, store.path / "understood.html")
    console.print(f"Look at {page}", soft_wrap=True)


@app.command
def inspect(file: Path) -> None:
    """List what a file holds, as a mapping names it: keys, shapes, types, units.

    Args:
        file: A file of HDF5, NPZ, NWB or CSV, or a folder of CSV files.
    """
    from ulmus.files.containers import open_container

    found = open_container(file)
    rows = [
        (key, " ".join([" x ".join(map(str, entry.shape)), entry.dtype, entry.unit or ""]).strip())
        for key, entry in found.entries.items()
    ]
    print_table(str(file), rows)
    if found.without:
        say(f"no protocol: {found.without}")


@app.command
def info(folder: Path, *, json: bool = False) -> None:
    """Describe a store, a folder of spoken digits, or what a folder holds of Long Range Arena.

    Nested settings are shortened; --json prints everything.

    Args:
        folder: Folder of the store; or with *_train.h5 and *_test.h5; or of tasks, as their archives unpack.
        json: Print JSON.
    """
    parts = _described(folder)
    if json:
        console.print_json(json_format.dumps(next(iter(parts.values())) if len(parts) == 1 else parts))
        return
    for name, values in parts.items():
        print_table(name, list(_summary(values)))
    if any(value and isinstance(value, dict) for values in parts.values() for value in values.values()):
        say("settings are shortened: all of them with --json")


@app.command
def fetch(
    name: Literal["shd", "ssc", "lra"],
    *,
    out: Path,
    source: Annotated[Path | None, Parameter(name="--from")] = None,
    only: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
) -> None:
    """Download a published data set and unpack it, checked; the same command continues an interrupted download.

    Args:
        name: shd, Spiking Heidelberg Digits, or ssc, Spiking Speech Commands (CC BY 4.0), or lra, Long Range Arena (8 GB).
        out: Folder of the files.
        source: Take the files from this folder instead of the network.
        only: Folders of lra to unpack, as listops-1000 pathfinder32; all by default.
    """
    from ulmus.sequences.digits.fetch import fetch_shd
    from ulmus.sequences.lra.fetch import fetch_lra

    with progress(f"fetch {name}") as show:

        def report(what: str, done: int, total: int) -> None:
            show(done, total or done, what)

        if name == "lra":
            found = fetch_lra(out, source, only=only, on_bytes=report)
        else:
            found = fetch_shd(out, source, dataset=name, on_bytes=report)
    for path in found:
        console.print(f"{path}", soft_wrap=True)


@app.command
def verify(store: Path) -> None:
    """Check hashes and every trial of a store; exit status 3 when something is wrong.

    Args:
        store: Folder of the store.
    """
    problems = Store(store).verify()
    for problem in problems:
        console.print(problem, markup=False, soft_wrap=True)
    if problems:
        sys.exit(3)
    console.print(f"{store}: every hash and every trial is right", soft_wrap=True)


def _described(folder: Path) -> dict[str, dict[str, object]]:
    """What a folder holds, part by part."""
    if not (folder / "store.json").exists():
        if any(folder.glob("*_train.h5")):
            return describe(folder)
        from ulmus.sequences.lra.settings import describe_tasks

        if tasks := describe_tasks(folder):
            return tasks
    return {str(folder): Store(folder).info()}


def _summary(values: dict[str, object]) -> Iterator[tuple[str, str]]:
    """A row for every value, and for every setting of nested ones."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from ((f"{key}: {name}", _short(inner)) for name, inner in value.items())
        else:
            yield key, _short(value)


def _short(value: object) -> str:
    """A value in one line: names and numbers as they are, longer lists and nested settings by their count."""
    if isinstance(value, dict):
        names = [str(value[key]) for key in ("name", "cell") if isinstance(value.get(key), str)]
        rest = len(value) - len(names)
        return ", ".join([*names, f"{rest} setting{'s' if rest != 1 else ''}"])
    if isinstance(value, list):
        single = not any(isinstance(entry, list | dict) for entry in value)
        return ", ".join(map(_short, value)) if single and len(value) <= _LISTED else f"{len(value)} entries"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
