"""Make files in the layout of the Spiking Heidelberg Digits from recordings of spoken digits."""

import hashlib
import json
import re
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ulmus.errors import ConfigError, DataError
from ulmus.files.hdf5 import new_hdf5
from ulmus.files.lock import only_one
from ulmus.files.writing import remove_leftovers, write_file
from ulmus.sequences.digits.clips import choose_speakers
from ulmus.sequences.digits.cochlea import hear, read_wav
from ulmus.sequences.digits.cochlea.hearing import MODEL_VERSION
from ulmus.sequences.digits.cochlea.wav import MOST_BYTES, too_large
from ulmus.sequences.making import Report, begin, check_counts, check_seed, give_up, in_order

DIGITS = {
    "en": ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    "de": ("null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"),
}
"""The classes of every language, in the order of their labels."""

_NAMES = (
    re.compile(r"(?P<digit>\d)_(?P<speaker>.+)_\d+\.wav", re.IGNORECASE),
    re.compile(r"lang-(?P<language>[a-zA-Z]+)_speaker-(?P<speaker>[^_]+)(_.*)?_digit-(?P<digit>\d)\.wav", re.IGNORECASE),
)  # fmt: skip
_EXPECTED = "names like 7_jackson_32.wav or lang-de_speaker-03_trial-1_digit-7.wav"
_LANGUAGES = {"english": "en", "german": "de"}  # as the published recordings are named
_CHUNK = 32  # clips that are kept at a time when the work is interrupted
_OF_CLIPS = 1  # sets the choice of clips apart from other uses of the same seed
_RECORD, _PENDING = "making.json", "pending"


class Recording(NamedTuple):
    """One labelled clip in a folder or an archive."""

    name: str
    digit: int
    speaker: str
    language: str
    fingerprint: str


def find_recordings(source: str | Path) -> list[Recording]:
    """The WAV files in a folder or a ZIP archive, by name; digit and speaker are told by the name."""
    source = Path(source).expanduser()
    if source.is_dir():
        paths = [path for path in source.rglob("*") if path.is_file()]
        found = [(path.relative_to(source).as_posix(), path.stat().st_size, "") for path in paths]
    elif source.is_file():
        with _opened(source) as archive:
            found = [(entry.filename, entry.file_size, f"{entry.CRC:08x}") for entry in archive.infolist()]
    else:
        raise DataError(
            f"{source} does not exist; expected a folder or a ZIP archive of WAV files; check the path"
        )
    # Archives and disks of a Mac hold a shadow of every file.
    found = [entry for entry in found if not Path(entry[0]).name.startswith(".")]
    sounds = [entry for entry in found if entry[0].lower().endswith(".wav")]
    for name, _, _ in found:
        if name.lower().endswith(".flac") and not any(other[:-4] == name[:-5] for other, _, _ in sounds):
            raise DataError(
                f"{source}: {name} is a FLAC file; expected WAV files; convert all of them, as with flac -d *.flac"
            )
    if not sounds:
        raise DataError(f"{source} holds no WAV files; expected {_EXPECTED}; check the path")
    for name, size, _ in sounds:
        if size > MOST_BYTES:
            raise too_large(f"{source}: {name}", size)
    return sorted(_recording(source, name, checksum or str(size)) for name, size, checksum in sounds)


@contextmanager
def _opened(source: Path) -> Iterator[zipfile.ZipFile]:
    """The archive; whatever is wrong with it while it is open is said with its name."""
    try:
        with zipfile.ZipFile(source) as archive:
            yield archive
    except DataError:
        raise
    except Exception as error:  # damaged archives fail in many ways, encrypted and unknown ones too
        raise DataError(
            f"{source} is not a readable ZIP archive ({str(error)[:150]}); expected a folder or an archive of whole WAV files; "
            "copy it again, or unpack it and give the folder"
        ) from error


def _recording(source: Path, name: str, fingerprint: str) -> Recording:
    for pattern in _NAMES:
        if match := pattern.fullmatch(Path(name).name):
            spoken = (match.groupdict().get("language") or "en").lower()
            language = _LANGUAGES.get(spoken, spoken)
            if language not in DIGITS:
                raise DataError(
                    f"{source}: {name} is in language {spoken!r}; expected one of {[*DIGITS, *_LANGUAGES]}; leave it out"
                )
            return Recording(name, int(match["digit"]), match["speaker"], language, fingerprint)
    raise DataError(
        f"{source}: {name} does not tell which digit is spoken and by whom; expected {_EXPECTED}; rename or remove it"
    )


def make_spoken_digits(
    source: str | Path,
    out: str | Path,
    *,
    test_speakers: Sequence[str] | None = None,
    test_share: float = 0.2,
    same_speakers: bool = False,
    seed: int = 0,
    workers: int | None = None,
    origin: str = "recordings",
    on_clip: Report | None = None,
) -> dict[str, Path]:
    """Turn recordings into ``spoken_digits_train.h5`` and ``spoken_digits_test.h5``, of other speakers unless told otherwise.

    Every clip goes through `ulmus.sequences.digits.cochlea.hear` with a seed of its own (from `seed` and its name), so any number
    of workers makes the same files. Interrupted, it goes on from where it was when it is called again. Returns the files by
    split, ``train`` and ``test``.

    Args:
        source: folder or ZIP archive of WAV files, named as in the Free Spoken Digit Dataset (``7_jackson_32.wav``)
            or the Heidelberg Digits (``lang-de_speaker-03_trial-1_digit-7.wav``).
        out: folder of the two files, made if absent.
        test_speakers: speakers for the test file only; chosen by the seed when not given.
        test_share: of the clips that goes to the test file, if `test_speakers` is not given.
        same_speakers: hold out this share of what every speaker says of every digit, instead of speakers.
        seed: of the choice and of the spikes.
        workers: processes; all cores when not given.
        origin: written into the files, to tell recordings from synthesis.
        on_clip: called with (clips done, clips in total).

    Raises:
        DataError: names of recordings that do not say what is spoken, damaged recordings, or a folder in other use.
        ConfigError: arguments that cannot be used, or other ones than the folder was begun with.
        UlmusError: a worker was killed; what was finished before stays.
    """
    check_arguments(test_share, seed, workers)
    source, out = Path(source).expanduser(), Path(out).expanduser()
    recordings = find_recordings(source)
    in_test, held_out = _held_out(recordings, test_speakers, test_share, same_speakers, seed)
    of = hashlib.sha256(json.dumps(recordings).encode()).hexdigest()
    settings = {"origin": origin, "recordings": len(recordings), "recordings_sha256": of, **held_out}
    settings |= {"seed": seed, "cochlea_version": MODEL_VERSION}
    files = {split: out / f"spoken_digits_{split}.h5" for split in ("train", "test")}
    with only_one(out, "filled with spoken digits"):
        begin(out, settings, _RECORD, "*.h5")
        if not all(file.exists() for file in files.values()):
            try:
                _hear_all(source, out, recordings, seed, workers, on_clip or (lambda done, total: None))
            except DataError:
                give_up(out, _RECORD, _PENDING)
                raise
            for split, file in files.items():
                chosen = [test == (split == "test") for test in in_test]
                write = partial(_write, out=out, recordings=recordings, chosen=chosen, settings=settings)
                write_file(file, write)
        remove_leftovers(out)
        shutil.rmtree(out / _PENDING, ignore_errors=True)
    return files


def check_arguments(test_share: float, seed: int, workers: int | None) -> None:
    """Refuse what needs no recording to be refused.

    Raises:
        ConfigError: names the first such value.
    """
    check_counts(workers=workers)
    check_seed(seed)
    if not 0 < test_share < 1:
        raise ConfigError(f"test share {test_share}: expected more than 0 and less than 1; correct it")


def check_speakers(chosen: Iterable[str], names: Iterable[str]) -> None:
    """Refuse speakers to hold out who are none of those there are, or all of them.

    Raises:
        ConfigError: names those there are.
    """
    if not set() < set(chosen) < set(names):
        raise ConfigError(
            f"test speakers {list(chosen)}: expected some but not all of {sorted(set(names))}; correct them"
        )


def _held_out(
    recordings: list[Recording],
    test_speakers: Sequence[str] | None,
    share: float,
    same_speakers: bool,
    seed: int,
) -> tuple[list[bool], dict[str, Any]]:
    """Which recordings the test file holds, and what tells this choice from another one."""
    if same_speakers:
        if test_speakers is not None:
            raise ConfigError(
                f"test speakers {list(test_speakers)} and clips of the same speakers: expected one of the two; leave one out"
            )
        return _test_clips(recordings, share, seed), {"test_speakers": [], "test_share_of_clips": share}
    names = [recording.speaker for recording in recordings]
    chosen = choose_speakers(names, share, seed) if test_speakers is None else sorted(set(test_speakers))
    check_speakers(chosen, names)
    return [name in chosen for name in names], {"test_speakers": chosen}


def _test_clips(recordings: list[Recording], share: float, seed: int) -> list[bool]:
    """Which clips to hold out: the same share of what every speaker says of every digit, as nearly as whole clips allow."""
    groups: dict[tuple[str, str, int], list[int]] = {}
    for position, recording in enumerate(recordings):
        groups.setdefault((recording.speaker, recording.language, recording.digit), []).append(position)
    random = np.random.default_rng([seed, _OF_CLIPS])
    chosen = [False] * len(recordings)
    passed = 0
    for positions in groups.values():
        # Rounded over all groups so far: small groups would otherwise give none, or half.
        count = round(share * (passed + len(positions))) - round(share * passed)
        passed += len(positions)
        for position in random.permutation(positions)[:count].tolist():
            chosen[position] = True
    if all(chosen) or not any(chosen):
        raise ConfigError(
            f"test share {share} of {len(recordings)} clips leaves a file empty; expected clips in both; give another share"
        )
    return chosen


def _hear_all(
    source: Path, out: Path, recordings: list[Recording], seed: int, workers: int | None, report: Report
) -> None:
    """Write the spikes of all clips that are not there yet, a chunk of clips per file."""
    chunks = {file: recordings[first : first + _CHUNK] for first, file in _chunk_files(out, recordings)}
    waiting = [(source, file, chunk, seed) for file, chunk in chunks.items() if not file.exists()]
    done = len(recordings) - sum(len(chunk) for _, _, chunk, _ in waiting)
    report(done, len(recordings))
    for count in in_order(_hear, waiting, workers):
        done += count
        report(done, len(recordings))


def _chunk_files(out: Path, recordings: list[Recording]) -> list[tuple[int, Path]]:
    return [(first, out / _PENDING / f"clips-{first:07d}.npz") for first in range(0, len(recordings), _CHUNK)]


def _hear(source: Path, file: Path, chunk: list[Recording], seed: int) -> int:
    """The spikes of some clips, in a worker; how many clips."""
    trains = []
    for recording, content in zip(chunk, _contents(source, chunk), strict=True):
        where = f"{source}: {recording.name}"
        own = hashlib.sha256(f"{seed}/{recording.name}".encode()).digest()
        trains.append(hear(read_wav(content, where), int.from_bytes(own[:8], "little"), where))
    times = np.concatenate([train.time_s for train in trains]).astype(np.float32)
    units = np.concatenate([train.channel for train in trains])
    ends = np.cumsum([train.time_s.size for train in trains])

    def write(beside: Path) -> None:
        with beside.open("wb") as stream:
            np.savez(stream, times=times, units=units, ends=ends)

    write_file(file, write, replace=False)
    return len(chunk)


def _contents(source: Path, chunk: list[Recording]) -> Iterator[bytes]:
    if source.is_file():
        with _opened(source) as archive:
            for recording in chunk:
                yield archive.read(recording.name)
        return
    for recording in chunk:
        try:
            yield (source / recording.name).read_bytes()
        except OSError as error:
            raise DataError(
                f"{source}: {recording.name} cannot be read ({error.strerror}); expected a recording; copy it again"
            ) from error


def _write(
    path: Path, out: Path, recordings: list[Recording], chosen: list[bool], settings: dict[str, Any]
) -> None:
    """Write the chosen clips in the published layout."""
    import h5py

    speakers = sorted({recording.speaker for recording in recordings})
    languages = [code for code in DIGITS if code == "en" or any(r.language == code for r in recordings)]
    offset = {code: 10 * position for position, code in enumerate(languages)}
    kept = [recording for recording, keep in zip(recordings, chosen, strict=True) if keep]
    with new_hdf5(path) as file:
        times = file.create_dataset("spikes/times", (len(kept),), h5py.vlen_dtype(np.float32))
        units = file.create_dataset("spikes/units", (len(kept),), h5py.vlen_dtype(np.uint16))
        row = 0
        for first, chunk_file in _chunk_files(out, recordings):
            with np.load(chunk_file) as chunk:
                all_times, all_units = chunk["times"], chunk["units"]
                bounds = [0, *chunk["ends"].tolist()]
            for position, (start, stop) in enumerate(zip(bounds, bounds[1:], strict=False)):
                if chosen[first + position]:
                    times[row], units[row] = all_times[start:stop], all_units[start:stop]
                    row += 1
        file["labels"] = np.array([offset[r.language] + r.digit for r in kept], dtype=np.uint16)
        file["extra/speaker"] = np.array([speakers.index(r.speaker) for r in kept], dtype=np.uint16)
        file["extra/keys"] = np.array([word.encode() for code in languages for word in DIGITS[code]])
        file["extra/meta_info/name"] = np.array([name.encode() for name in speakers])
        file["extra/clip"] = np.array([r.name.encode() for r in kept])
        for key, value in settings.items():
            file.attrs[key] = value
