"""Get the archive of Long Range Arena: over the network, or from a folder that has it."""

import gzip
import tarfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

from ulmus.errors import ConfigError, DataError
from ulmus.files.download import download
from ulmus.files.lock import only_one
from ulmus.files.unpacking import Unpacking
from ulmus.files.writing import PARTIAL, remove_leftovers, work_folder
from ulmus.sequences.making import generated_by_us

ADDRESS = "https://storage.googleapis.com/long-range-arena/lra_release.gz"
"""Where the archive is published (Tay et al. 2021): 8 GB, 19 GB unpacked."""
ARCHIVE_NAMES = ("lra_release.gz", "lra_release.tar.gz")
PARTS = ("listops-1000", "tsv_data", "pathfinder32", "pathfinder64", "pathfinder128", "pathfinder256")
"""Its folders."""
_PIECE = 1 << 20

Report = Callable[[str, int, int], None]


def fetch_lra(
    folder: str | Path,
    from_folder: str | Path | None = None,
    *,
    only: Sequence[str] | None = None,
    address: str = ADDRESS,
    on_bytes: Report | None = None,
) -> list[Path]:
    """Put folders of the Long Range Arena archive into a folder; those that are there are left alone.

    An interrupted download goes on where it was. No checksum of the archive is published; it is read to its end, where
    gzip has one, before any folder appears. The archive stays beside the folders, for those that are unpacked later.

    Args:
        folder: where the folders go, made if absent.
        from_folder: take ``lra_release.gz`` from here, and nothing from the network.
        only: folders to unpack; all by default.
        address: of the archive.
        on_bytes: called with (what is done, bytes done, bytes in total, 0 while unknown).

    Returns:
        The folders.

    Raises:
        ConfigError: a folder that the archive does not have, or another process is fetching.
        DataError: the archive cannot be had or is damaged, or generated data are in its way.
    """
    folder, wanted = Path(folder).expanduser(), list(only or PARTS)
    for part in wanted:
        if part not in PARTS:
            raise ConfigError(f"only={part!r}: expected folders of {', '.join(PARTS)}; choose from these")
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is a file; expected a folder for the data; give another path")
    missing = [part for part in wanted if not _there(folder / part)]
    if missing:
        with only_one(folder, "fetched into"):
            folder.mkdir(parents=True, exist_ok=True)
            report = on_bytes or (lambda what, done, total: None)
            archive = _archive(folder, from_folder, address, partial(report, "download"))
            _unpack(archive, folder, missing, partial(report, "unpack"))
    return [folder / part for part in wanted]


def _there(part: Path) -> bool:
    made = [place for place in (part, *part.glob("curv_*")) if generated_by_us(place)]
    if made:
        raise DataError(
            f"{made[0]} was made by `ulmus data make`; expected no generated data where the published ones go; give "
            "another folder"
        )
    return part.is_dir()


def _archive(
    folder: Path, from_folder: str | Path | None, address: str, report: Callable[[int, int], None]
) -> Path:
    """The archive: at hand, or downloaded."""
    source = Path(from_folder) if from_folder is not None else folder
    found = [source / name for name in ARCHIVE_NAMES if (source / name).is_file()]
    if found:
        return found[0]
    if from_folder is not None:
        raise DataError(
            f"{source} holds no {' or '.join(ARCHIVE_NAMES)}; expected the archive; download it from {ADDRESS} into this "
            "folder"
        )
    beside, target = folder / f".{ARCHIVE_NAMES[0]}{PARTIAL}", folder / ARCHIVE_NAMES[0]
    download(beside, [address], _check_gzip, report)
    beside.replace(target)
    return target


def _check_gzip(file: Path, name: str) -> None:
    with file.open("rb") as stream:
        if stream.read(2) != b"\x1f\x8b":
            raise DataError(f"{name} is not a gzip archive; expected lra_release.gz; look at the address")


def _unpack(archive: Path, folder: Path, parts: Sequence[str], report: Callable[[int, int], None]) -> None:
    """Write parts of the archive beside their places, and put them there when it was read to its end."""
    remove_leftovers(folder)
    try:
        with work_folder(folder / "unpacking") as beside:
            with archive.open("rb") as packed, gzip.GzipFile(fileobj=packed) as stream:
                size, unpacking = archive.stat().st_size, Unpacking(archive)
                with tarfile.open(fileobj=stream, mode="r|") as members:
                    for member in members:
                        place = _place(member.name, parts) if member.isfile() else None
                        if place is not None and (content := members.extractfile(member)):
                            (beside / place).parent.mkdir(parents=True, exist_ok=True)
                            unpacking.write(content, beside / place)
                            report(packed.tell(), size)
                while stream.read(_PIECE):  # up to the checksum at the end
                    pass
            absent = [part for part in parts if not (beside / part).is_dir()]
            if absent:
                raise DataError(
                    f"{archive} holds no {', '.join(absent)}; expected {', '.join(PARTS)}; download it again"
                )
            for part in parts:
                (beside / part).replace(folder / part)
    except DataError:
        raise
    except Exception as error:  # a damaged archive fails in many ways
        raise DataError(
            f"{archive} cannot be unpacked into {folder} ({str(error)[:150]}); expected a whole archive and room on the disk; "
            "delete it and fetch it again, or make room"
        ) from error


def _place(name: str, parts: Sequence[str]) -> PurePosixPath | None:
    """Where a member of the archive goes, from its part on; None if it does not belong to one."""
    steps = PurePosixPath(name).parts
    if not steps or ".." in steps or steps[-1].startswith("._"):  # remnants of another file system
        return None
    first = next((position for position, step in enumerate(steps) if step in parts), None)
    return None if first is None else PurePosixPath(*steps[first:])
