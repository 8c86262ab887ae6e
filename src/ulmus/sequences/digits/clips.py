"""Clips of spoken digits: some of one or more files, held out by speaker or at random."""

import hashlib
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import combinations, product
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float64, Int64

from ulmus.errors import ConfigError, DataError
from ulmus.files.reading import files_in
from ulmus.sequences.digits.shd import SPLITS, SpikeFile
from ulmus.sequences.labelled_batches import Splits


class Clips:
    """Some clips of one or more files, in order."""

    def __init__(self, parts: Sequence[tuple[SpikeFile, Int64[np.ndarray, "clips"]]]) -> None:
        self._parts = [(file, np.asarray(index, dtype=np.int64)) for file, index in parts if len(index)]
        if not self._parts:
            raise DataError("no clips were chosen; expected at least one; choose other speakers or shares")
        first = self._parts[0][0]
        for file, _ in self._parts[1:]:
            if file.classes != first.classes:
                raise DataError(
                    f"{file.path} has the classes {file.classes}, {first.path} has {first.classes}; expected the same; "
                    "use them separately"
                )
        self.classes = first.classes
        self.labels: Int64[np.ndarray, "clips"] = np.concatenate([f.labels[i] for f, i in self._parts])
        self._file_of = np.repeat(np.arange(len(self._parts)), [len(index) for _, index in self._parts])
        self._place = np.concatenate([index for _, index in self._parts])

    @staticmethod
    def all_of(*files: SpikeFile) -> "Clips":
        """All clips of these files."""
        return Clips([(file, np.arange(len(file))) for file in files])

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"Clips({len(self)} of {', '.join(repr(file) for file, _ in self._parts)})"

    def spikes(self, index: int) -> tuple[Float64[np.ndarray, "spikes"], Int64[np.ndarray, "spikes"]]:
        """Times in s and channels of the spikes of clip `index`."""
        file = self._parts[int(self._file_of[index])][0]
        return file.spikes(int(self._place[index]))

    @property
    def speakers(self) -> Int64[np.ndarray, "clips"]:
        """Number of every clip's speaker."""
        found = []
        for file, index in self._parts:
            if file.speakers is None:
                raise DataError(
                    f"{file.path} has no extra/speaker; expected the speaker of every clip; split it at random instead"
                )
            found.append(file.speakers[index])
        return np.concatenate(found)

    def where(self, chosen: Bool[np.ndarray, "clips"]) -> "Clips":
        """The clips for which `chosen` is true."""
        chosen_of = [chosen[self._file_of == number] for number in range(len(self._parts))]
        return Clips([(file, index[of]) for (file, index), of in zip(self._parts, chosen_of, strict=True)])

    def with_files(self, files: Iterable[SpikeFile]) -> "Clips":
        """These clips, and after them all of these files."""
        return Clips([*self._parts, *((file, np.arange(len(file))) for file in files)])

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over the files and what is taken from them; paths do not count."""
        digest = hashlib.sha256()
        for file, index in self._parts:
            digest.update(file.content_hash.encode() + index.tobytes())
        return digest.hexdigest()


def choose_speakers(speakers: Iterable[Any], share: float, seed: int = 0) -> list[Any]:
    """Speakers who together have about this share of the clips: at least one, never all; the seed decides.

    Args:
        speakers: the speaker of every clip.
        share: of the clips.
        seed: of the order in which speakers are taken.
    """
    if not 0 < share < 1:
        raise ConfigError(f"share={share}: expected a number between 0 and 1; correct the share")
    names, counts = np.unique(np.asarray(list(speakers)), return_counts=True)
    if len(names) < 2:
        raise DataError(
            f"all {counts.sum()} clips are of speaker {names[0]}; expected at least two speakers to hold one out; "
            "add recordings of other speakers, or split at random"
        )
    order = np.random.default_rng(seed).permutation(len(names))
    held_out = counts[order].cumsum()[:-1] / counts.sum()
    taken = order[: int(np.abs(held_out - share).argmin()) + 1]
    return sorted(names[taken].tolist())


def hold_out(clips: Clips, speakers: Sequence[int]) -> tuple[Clips, Clips]:
    """The clips of all other speakers, and those of these speakers."""
    known = clips.speakers
    for speaker in speakers:
        if speaker not in known:
            raise ConfigError(
                f"speaker {speaker} has no clip; expected one of {sorted(set(known.tolist()))}; correct the speakers"
            )
    held = np.isin(known, list(speakers))
    return clips.where(~held), clips.where(held)


def open_digits(
    folder: str | Path,
    *,
    validation: Literal["speaker", "random", "published"] = "speaker",
    share: float = 0.2,
    seed: int = 0,
) -> Splits[Clips]:
    """Open a folder with files ``*_train.h5``, ``*_test.h5`` and perhaps ``*_valid.h5``.

    Args:
        folder: where they are.
        validation: ``"speaker"`` holds speakers out of the training file; ``"random"`` draws clips, each with
            probability `share` (with share 0.2 and seed 0 the draw of the ELM authors, speakers on both sides);
            ``"published"`` takes ``*_valid.h5``, as the Speech Commands have it.
        share: of the clips held out for validation.
        seed: decides which.

    Raises:
        DataError: a file is missing or damaged.
        ConfigError: a share or a kind of validation that cannot be used.
    """
    train = Clips.all_of(open_split(folder, "train"))
    test = Clips.all_of(open_split(folder, "test"))
    if validation == "published":
        return Splits(train, Clips.all_of(open_split(folder, "valid")), test)
    if validation == "random":
        if not 0 < share < 1:
            raise ConfigError(f"share={share}: expected a number between 0 and 1; correct the share")
        held = np.random.default_rng(seed).binomial(1, share, size=len(train)).astype(bool)
        return Splits(train.where(~held), train.where(held), test)
    if validation != "speaker":
        raise ConfigError(
            f"validation={validation!r}: expected 'speaker', 'random' or 'published'; choose one of them"
        )
    kept, held_out = hold_out(train, choose_speakers(train.speakers, share, seed))
    return Splits(kept, held_out, test)


def further_files(folders: Iterable[str | Path], beside: str | Path) -> list[SpikeFile]:
    """Files ``*_train.h5`` that are learnt from beside the digits of another folder, which may hold some out.

    A recording is known by its name, since another cochlea makes other spikes of it, or by its spikes, since published files
    name none. What has neither in common, such as a published recording that was converted again, is not noticed.

    Raises:
        DataError: a file is missing or damaged, is given twice, or has recordings of that folder.
    """
    further = [open_split(folder, "train") for folder in folders]
    for file, other in combinations(further, 2):
        if what := _in_common(file, other):
            raise DataError(
                f"{file.path} and {other.path} of data.more have {what}; expected each once; leave one out"
            )
    place = Path(beside).expanduser()
    found = [file for split in SPLITS if further for file in files_in(place, f"*_{split}.h5")]
    for file, other in product(further, map(SpikeFile, found)):
        if file.classes != other.classes:
            raise DataError(
                f"{file.path} has the classes {', '.join(file.classes)}, {other.path} {', '.join(other.classes)}; expected "
                "the same; leave the folder out of data.more, or make the digits with the same languages"
            )
        if what := _in_common(file, other):
            raise DataError(
                f"{file.path} and {other.path} have {what}; expected none, since some of them may be held out; leave the folder "
                "out of data.more"
            )
    return further


def _in_common(file: SpikeFile, other: SpikeFile) -> str:
    """Recordings that two files share, for a message; empty where they share none."""
    if names := file.names & other.names:
        return (
            f"{len(names)} names of recordings in common, such as {min(names)} (where only the names are the same, rename the "
            "recordings and make the digits again)"
        )
    clips = file.clip_hashes & other.clip_hashes
    return f"{len(clips)} clips with the same spikes in common" if clips else ""


def open_split(folder: str | Path, split: str) -> SpikeFile:
    """The one file of this split in a folder."""
    folder = Path(folder).expanduser()
    files = files_in(folder, f"*_{split}.h5")
    if len(files) != 1:
        found = f"holds {', '.join(file.name for file in files)}" if files else f"holds no file *_{split}.h5"
        raise DataError(
            f"{folder} {found}; expected one for this split; get the digits with `ulmus data fetch shd`, or make some "
            "with `ulmus data make spoken-digits`"
        )
    return SpikeFile(files[0])


def describe(folder: str | Path, sample: int = 200) -> dict[str, dict[str, Any]]:
    """What is in a folder of spoken digits, file by file; spikes are counted in the first `sample` clips."""
    place = Path(folder).expanduser()
    present = [split for split in SPLITS if files_in(place, f"*_{split}.h5")]
    if not present:
        open_split(folder, "train")
    return {split: _describe(open_split(folder, split), sample) for split in present}


def _describe(file: SpikeFile, sample: int) -> dict[str, Any]:
    counted = [file.spikes(index) for index in range(min(sample, len(file)))]
    last_s = [float(times.max()) if times.size else 0.0 for times, _ in counted]
    return {
        **file.attributes,
        "file": str(file.path),
        "clips": len(file),
        "classes": len(file.classes),
        "speakers": None if file.speakers is None else len(np.unique(file.speakers)),
        "clips_per_class": np.bincount(file.labels, minlength=len(file.classes)).tolist(),
        "mean_spikes": float(np.mean([times.size for times, _ in counted])),
        "mean_last_spike_s": float(np.mean(last_s)),
        "bytes": file.path.stat().st_size,
        "content_hash": file.content_hash,
    }
