"""Pathfinder as it is distributed: PNG files, and text files named ``.npy`` that hold their labels."""

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from ulmus.errors import DataError, extra
from ulmus.sequences.labelled_batches import Splits
from ulmus.sequences.lra.archive import find_folder, is_processed, look_for
from ulmus.sequences.lra.encoding import GRAY_LEVELS
from ulmus.sequences.lra.gray_lines import gray_line_splits
from ulmus.sequences.lra.pathfinder.hints import HINTS, hints
from ulmus.sequences.lra.pathfinder.images import draw_scene, render
from ulmus.sequences.lra.pathfinder.pixel_cache import PixelCache
from ulmus.sequences.lra.pathfinder.settings import SIZES, SUBSETS, PathfinderSettings, check_published
from ulmus.sequences.lra.sequences import Sequences, random_split
from ulmus.sequences.making import RECORD, generated_by_us

EMPTY_IN_ARCHIVE = {("pathfinder32", "curv_baseline", "imgs/0/sample_172.png")}
"""Files of the published archive that hold nothing; everybody leaves them out."""
_MODES = ("1", "L", "LA", "P", "RGB", "RGBA")  # what Pillow turns into gray levels of a byte as it should

_LONGEST_NAME = 255  # of a file or folder


class Pathfinder(Sequences):
    """Images of one size and difficulty, row by row as sequences of gray levels 0 to 255; class 1: connected.

    The labels are read when it is made, images when they are asked for.

    Args:
        root: the unpacked archive, or a folder that `ulmus data make` wrote.
        size: 32, 64, 128 (Pathfinder-X) or 256.
        contour_paddles: 14 (hard, the benchmark), 9 or 6.
    """

    tokens, classes = GRAY_LEVELS, ("apart", "connected")

    def __init__(self, root: str | Path, size: int, contour_paddles: int = 14) -> None:
        check_published(size, contour_paddles)
        self.size = self.width = size
        self.path = find_folder(root, f"pathfinder{size}") / SUBSETS[contour_paddles]
        if not self.path.is_dir():
            raise DataError(
                f"{self.path} does not exist; expected images with contours of {contour_paddles} paddles; unpack the archive "
                f"completely, or make them: `ulmus data make pathfinder {root} --size {size} --contour {contour_paddles}`, with "
                "a --seed of their own if they are a lesson"
            )
        self.generated = generated_by_us(self.path)
        difficulty = {6: ", easy", 9: ", intermediate", 14: ""}[contour_paddles]
        self.name = f"{'Pathfinder-X' if size == 128 else f'Pathfinder-{size}'}{difficulty}"
        rows = [row for file in _metadata_files(self.path) for row in _rows(file)]
        if self.generated:
            self.name += ", generated as published" if self.generated.get("as_published") else ", generated"
            self.hint_classes = HINTS
        else:
            place = (self.path.parent.name, self.path.name)
            rows = [row for row in rows if (*place, row[0]) not in EMPTY_IN_ARCHIVE]
        self._paths = [path for path, _ in rows]
        self.labels = np.array([label for _, label in rows], dtype=np.int64)
        wanted = (self.generated or {}).get("images", len(self))
        if wanted != len(self):
            raise DataError(
                f"{self.path} holds {len(self)} of {wanted} images: they are still being made, or that was "
                "interrupted; expected all of them; run `ulmus data make pathfinder` again to continue"
            )

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of the metadata and of the settings of generated images; published images never change."""
        known = json.dumps([self.name, self.generated, self._paths, self.labels.tolist()], sort_keys=True)
        return hashlib.sha256(known.encode()).hexdigest()

    def read(self, index: int, tower: int = 0) -> UInt8[np.ndarray, "pixels"]:
        """One image, row by row."""
        return self._kept.get(index, lambda: self.image(index).reshape(-1))

    def hints(self, index: int) -> UInt8[np.ndarray, "pixels"]:
        """How many discs every pixel is linked to by what lies before it, see :mod:`.hints`."""
        return self._kept_hints.get(index, lambda: self._hints(index).reshape(-1))

    def _hints(self, index: int) -> UInt8[np.ndarray, "size size"]:
        if not self.generated:
            return super().hints(index)
        try:
            settings = PathfinderSettings.from_json(self.generated)
            if settings.size != self.size:
                raise ValueError(f"size {settings.size}")
            scene = draw_scene(settings, int(self.generated["seed"]), index, bool(self.generated["balanced"]))
        except Exception as error:  # settings of any kind reach all that draws
            reason = " ".join(str(error).split())[:100]
            raise DataError(
                f"{self.path / RECORD} does not say how the images were made ({type(error).__name__}: {reason}); expected it as "
                "`ulmus data make pathfinder` wrote it; restore it from a copy"
            ) from error
        same = np.array_equal(render(settings, scene).reshape(-1), self.read(index))
        if not same or scene.label != self.labels[index]:
            raise DataError(
                f"{self.path / self._paths[index]} is not the image that {self.path / RECORD} describes; expected images as "
                "`ulmus data make pathfinder` wrote them; make them again in another folder"
            )
        return hints(settings, scene)

    @cached_property
    def _kept(self) -> PixelCache:
        return PixelCache(self.path, f"pixels-{self.content_hash[:16]}", len(self), self.size**2)

    @cached_property
    def _kept_hints(self) -> PixelCache:
        return PixelCache(self.path, f"links-{self.content_hash[:16]}", len(self), self.size**2)

    def image(self, index: int) -> UInt8[np.ndarray, "size size"]:
        """One image."""
        with extra("sequences", "reading images"):
            from PIL import Image
        path = self.path / self._paths[index]
        try:
            with Image.open(path) as file:
                if file.size != (self.size, self.size):  # before any pixel is unpacked
                    raise ValueError(f"an image of {file.width} x {file.height}")
                if file.mode not in _MODES:
                    raise ValueError(f"an image of mode {file.mode}")
                return np.asarray(file.convert("L"))
        except Exception as error:  # Pillow fails in many ways on damaged files
            raise DataError(
                f"{path} {self._what_is_wrong(path, error)}; expected a PNG of {self.size} x {self.size} gray pixels of a byte; "
                f"{self._cure(path)}"
            ) from error

    def _what_is_wrong(self, path: Path, error: Exception) -> str:
        if isinstance(error, FileNotFoundError):
            return "does not exist, although the metadata lists it"
        if path.is_file() and path.stat().st_size == 0:
            unpacked = "" if self.generated else "the archive was not unpacked completely, or "
            return f"is empty ({unpacked}the disk was full)"
        return f"cannot be read ({str(error)[:150]})"

    def _cure(self, path: Path) -> str:
        if not self.generated:
            return "restore it from a copy"
        return (
            f"delete metadata/{path.parent.name}.npy of this set and run `ulmus data make pathfinder` again: it makes the images "
            "that this file lists anew"
        )


def pathfinder_splits(root: str | Path, size: int = 32, contour_paddles: int = 14) -> Splits[Sequences]:
    """80 % of the images to train, 10 % to validate, 10 % to test, as in the S4 repository (seed 42).

    A folder of Mega's processed archive is read as it is split there.
    """
    if is_processed(Path(root)):
        return gray_line_splits(root, f"Pathfinder-{size}", Pathfinder.classes, size)
    return random_split(Pathfinder(root, size, contour_paddles))


def pathfinder_x_splits(root: str | Path, contour_paddles: int = 14) -> Splits[Sequences]:
    """The same of images of 128 x 128."""
    return pathfinder_splits(root, 128, contour_paddles)


def find(folder: Path) -> list[dict[str, Any]]:
    """Size and difficulty of every set of images in a folder."""
    return [
        {"size": size, "contour_paddles": length}
        for size in SIZES
        if (images := look_for(folder, f"pathfinder{size}"))
        for length, subset in SUBSETS.items()
        if (images / subset).is_dir()
    ]


def _metadata_files(folder: Path) -> list[Path]:
    """Metadata in the order of their numbers, which the split depends on."""
    files = list((folder / "metadata").glob("[0-9]*.npy"))
    for file in files:
        if not file.stem.isdigit():
            raise DataError(f"{file}: expected files named by numbers, as 0.npy; move it elsewhere")
    if not files:
        raise DataError(
            f"{folder / 'metadata'} holds no .npy files; expected the labels of the images, one file for each folder in "
            "imgs; unpack the archive completely"
        )
    return sorted(files, key=lambda file: int(file.stem))


def _rows(file: Path) -> list[tuple[str, int]]:
    """Path and label of every image in a metadata file."""
    try:
        with file.open("rb") as stream:
            beginning = stream.read(6)
        if beginning == b"\x93NUMPY":  # what the original generator writes itself
            # Mapped, it cannot be larger than its file.
            array = np.load(file, mmap_mode="r", allow_pickle=False)
            table = [[str(field).encode("ascii").decode() for field in row] for row in array]
        else:
            table = [line.split() for line in file.read_text(encoding="ascii").splitlines() if line.strip()]
    except Exception as error:  # NumPy fails in many ways on damaged headers
        raise DataError(
            f"{file} cannot be read ({str(error)[:150]}); expected text (despite the suffix), one line per image; restore it "
            "from a copy"
        ) from error
    rows = []
    for number, fields in enumerate(table, 1):
        parts = [part for path in fields[:2] for part in Path(path).parts]
        wrong = any(part == ".." or Path(part).is_absolute() or len(part) > _LONGEST_NAME for part in parts)
        if len(fields) < 4 or fields[3] not in ("0", "1") or wrong:
            raise DataError(
                f"{file}, line {number}: {' '.join(fields)[:80]!r}; expected folder, file, number, label 0 or 1 and "
                "settings, separated by spaces; restore it from a copy"
            )
        rows.append((f"{fields[0]}/{fields[1]}", int(fields[3])))
    return rows
