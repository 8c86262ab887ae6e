"""Turn recordings and published pickles into a store, one trial at a time."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ulmus.errors import ConfigError, DataError
from ulmus.files.csv_columns import csv_files
from ulmus.trials.header import Header
from ulmus.trials.neuronio import PATTERN, NeuronIOFile, pickles_in, trials_by_name
from ulmus.trials.paths import named_paths
from ulmus.trials.store import Store, StoreWriter

if TYPE_CHECKING:  # a mapping brings pydantic, which published files do without
    from ulmus.recordings.mapping import Mapping
    from ulmus.recordings.recording import MappedFile

    Source = NeuronIOFile | MappedFile

Progress = Callable[[int, int | None], None]


def convert(
    sources: str | Path | Sequence[str | Path],
    destination: str | Path,
    *,
    nexus: bool = False,
    mapping: "Mapping | str | Path | None" = None,
    shard_trials: int = 64,
    on_trial: Progress | None = None,
    on_check: Progress | None = None,
) -> Store:
    """Write the trials of NeuronIO files, or of recordings that a mapping describes, into a store, in the order of the sources.

    Interrupted, it goes on from where it was when it is called again. Files that a mapping describes are all read and
    checked before anything is written.

    Args:
        sources: files, patterns (each with an optional slice), or folders that hold files ``*sim__*``.
        destination: folder of the store.
        nexus: also keep the voltage at the nexus (NeuronIO files only).
        mapping: where files of other formats hold what, or the YAML file that says it; a folder is then one of CSV files.
        shard_trials: trials per HDF5 file of the store.
        on_trial: called with (trials done, trials in total or None while unknown).
        on_check: the same, while the files that a mapping describes are checked.

    Raises:
        DataError: a source is missing, damaged, or unlike the others; what was written before stays.
        ConfigError: the destination is a store of other sources, or the mapping is wrong.
    """
    files, counts, open_file, described = _plan(sources, nexus, mapping, on_check)
    total = sum(count for count in counts if count is not None) if None not in counts else None
    if total == 0:
        raise DataError(f"{sources}: no trials; expected at least one; widen the slices")
    settings = {
        **described,
        "files": [
            {"file": file.name, "bytes": _bytes(file), "slice": [part.start, part.stop]}
            for file, part in files
        ],
    }
    report = on_trial or (lambda done, total: None)
    (file, part), source = files[0], open_file(files[0][0])
    writer = StoreWriter(destination, _header(source, settings), total, shard_trials)
    first = _add(writer, source, part, 0, lambda done: report(done, total))
    del source  # a published file takes gigabytes in memory
    for (file, part), count in zip(files[1:], counts[1:], strict=True):
        if count is not None and writer.done().issuperset(range(first, first + count)):
            first += count
            report(first, total)
            continue
        first = _add(
            writer, _same(file, open_file(file), writer, settings), part, first, lambda n: report(n, total)
        )
    return writer.finish()


def _plan(
    sources: str | Path | Sequence[str | Path],
    nexus: bool,
    mapping: "Mapping | str | Path | None",
    on_check: Progress | None,
) -> "tuple[list[tuple[Path, slice]], list[int | None], Callable[[Path], Source], dict[str, Any]]":
    """Files with their slices and number of trials, how to open them, and settings that describe them."""
    if mapping is None:
        files = [
            (file, part)
            for path, part in named_paths(sources)
            for file in (_pickles(path) if path.is_dir() else [path])
        ]
        return files, [_count(file, part) for file, part in files], partial(_open, nexus=nexus), {}
    from ulmus.recordings.mapping import load_mapping
    from ulmus.recordings.recording import MappedFile, check_files

    if nexus:
        raise ConfigError(
            "nexus is for NeuronIO files; expected `sites` in the mapping; name the voltage there"
        )
    files = named_paths(sources)
    known = load_mapping(mapping) if isinstance(mapping, (str, Path)) else mapping
    found = check_files(files, known, on_check or (lambda done, total: None))
    described: dict[str, Any] = {"mapping": known.model_dump(mode="json", exclude_unset=True)}
    described |= {"left_out": found.left_out} if found.left_out else {}
    opened = partial(MappedFile, mapping=known, steps=found.steps, gaps=found.gaps)
    return files, list(found.trials), opened, described


def _add(
    writer: StoreWriter,
    source: "Source",
    part: slice,
    first: int,
    report: Callable[[int], None],
) -> int:
    """Write the trials of one file that are not there yet, from index `first` on; the index after the last."""
    done = writer.done()
    for local in range(len(source))[part]:
        if first not in done:
            writer.add(first, source.trial(local))
        first += 1
        report(first)
    return first


def _header(source: "Source", settings: dict[str, Any]) -> Header:
    return Header.from_json({**source.header.to_json(), "settings": settings})


def _same(file: Path, source: "Source", writer: StoreWriter, settings: dict[str, Any]) -> "Source":
    if differences := writer.header.differences(_header(source, settings)):
        raise DataError(
            f"{file} differs from the files before it in {'; '.join(differences)}; expected one layout; convert it "
            "into a store of its own"
        )
    return source


def _pickles(folder: Path) -> list[Path]:
    files = pickles_in(folder)
    if not files:
        raise DataError(f"{folder} holds no files {PATTERN}; expected pickled simulations; check the folder")
    return files


def _bytes(file: Path) -> int:
    return sum(part.stat().st_size for part in (csv_files(file) if file.is_dir() else [file]))


def _count(file: Path, part: slice) -> int | None:
    """Trials to be taken from a published file, if its name tells."""
    trials = trials_by_name(file)
    return None if trials is None else len(range(trials)[part])


def _open(file: Path, *, nexus: bool) -> NeuronIOFile:
    if not file.match(PATTERN):
        raise DataError(
            f"{file} is not a published NeuronIO file ({PATTERN}); expected one, or a mapping that says what the file holds; "
            "write one (`ulmus data inspect` lists the keys) and give it with --mapping"
        )
    return NeuronIOFile(file, nexus)
