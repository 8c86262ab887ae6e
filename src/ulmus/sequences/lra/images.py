"""Small images of ten classes: CIFAR-10 in gray, and files of the MNIST kind."""

import gzip
import hashlib
import math
import zlib
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from ulmus.errors import DataError
from ulmus.files.restricted_pickle import array, read_pickle
from ulmus.sequences.labelled_batches import Splits
from ulmus.sequences.lra.archive import holds_nothing, is_processed, look_for
from ulmus.sequences.lra.encoding import GRAY_LEVELS
from ulmus.sequences.lra.gray_lines import gray_line_splits
from ulmus.sequences.lra.sequences import Sequences, with_validation

CIFAR_FOLDER = "cifar-10-batches-py"
CIFAR_CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
_CIFAR_NAME = "Image (CIFAR-10, gray)"
FASHION_CLASSES = (
    *("t-shirt", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
)
_CIFAR_FILES = {"train": [f"data_batch_{k}" for k in range(1, 6)], "test": ["test_batch"]}
_SIDE = 32
_LUMA = np.array([19595, 38470, 7471], dtype=np.uint32)  # .299, .587, .114 (ITU-R BT.601) of 2**16
_MOST_UNPACKED = 128 * 2**20  # of a file in gzip; those of Fashion-MNIST have 47
_IDX_BYTES = 0x08  # the code of unsigned bytes in the file's magic number
IDX_FILES = (
    *("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    *("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
)


class GrayImages(Sequences):
    """Images in memory, row by row as sequences of gray levels 0 to 255."""

    tokens, width = GRAY_LEVELS, _SIDE

    def __init__(
        self,
        images: UInt8[np.ndarray, "items pixels"],
        labels: Int64[np.ndarray, "items"],
        *,
        classes: tuple[str, ...],
        name: str,
        path: Path,
    ) -> None:
        self._images, self.labels, self.classes, self.name, self.path = images, labels, classes, name, path

    def read(self, index: int, tower: int = 0) -> UInt8[np.ndarray, "pixels"]:
        """One image."""
        return np.asarray(self._images[index])

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of images and labels."""
        return hashlib.sha256(self._images.tobytes() + self.labels.tobytes()).hexdigest()


def image_splits(folder: Path) -> Splits[Sequences]:
    """CIFAR-10 in gray, also of Mega's processed archive, or idx files of the MNIST kind as a stand-in."""
    if is_processed(folder):
        return gray_line_splits(folder, _CIFAR_NAME, CIFAR_CLASSES, _SIDE)
    place = find(folder)
    if place is None:
        raise holds_nothing(
            folder,
            f"{CIFAR_FOLDER} (CIFAR-10 for Python)",
            "or, as a stand-in, the idx files of Fashion-MNIST (Debian: dataset-fashion-mnist, in "
            "/usr/share/datasets/fashion-mnist)",
        )
    return idx_splits(place) if _has_idx_files(place) else cifar_splits(place)


def find(folder: Path) -> Path | None:
    """The folder of CIFAR-10, or this one if it holds idx files."""
    return look_for(folder, CIFAR_FOLDER) or (folder if _has_idx_files(folder) else None)


def cifar_splits(folder: Path) -> Splits[Sequences]:
    """CIFAR-10 (the Python version) in gray; a tenth of the training images is held out (seed 42)."""
    return with_validation(_cifar(folder, "train"), _cifar(folder, "test"))


def _cifar(folder: Path, part: str) -> GrayImages:
    images, labels = map(
        np.concatenate, zip(*(_cifar_batch(folder / name) for name in _CIFAR_FILES[part]), strict=True)
    )
    return GrayImages(images, labels, classes=CIFAR_CLASSES, name=_CIFAR_NAME, path=folder)


def _cifar_batch(file: Path) -> tuple[UInt8[np.ndarray, "items pixels"], Int64[np.ndarray, "items"]]:
    if not file.is_file():
        raise DataError(
            f"{file} does not exist; expected CIFAR-10 for Python; unpack cifar-10-python.tar.gz completely"
        )
    content = read_pickle(file)
    try:
        pixels, labels = array(content["data"], "u"), array(content["labels"], "iu").astype(np.int64)
        if pixels.dtype != np.uint8 or pixels.shape != (labels.size, 3 * _SIDE**2) or labels.ndim != 1:
            raise ValueError(f"{pixels.dtype} {pixels.shape} with {labels.shape} labels")
        if labels.size and not 0 <= labels.min() <= labels.max() < len(CIFAR_CLASSES):
            raise ValueError(f"labels {labels.min()} to {labels.max()}")
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{file} does not hold CIFAR-10 ({error}); expected data of 3072 bytes an image, and labels 0 to 9; unpack "
            "cifar-10-python.tar.gz again"
        ) from error
    colours = pixels.reshape(len(labels), 3, _SIDE**2).astype(np.uint32)
    gray = (np.einsum("icp,c->ip", colours, _LUMA) + (1 << 15)) >> 16
    return gray.astype(np.uint8), labels


def _has_idx_files(folder: Path) -> bool:
    """Whether this is a folder of the MNIST kind."""
    return any(any(folder.glob(name + "*")) for name in IDX_FILES)


def idx_splits(folder: Path) -> Splits[Sequences]:
    """Files of the MNIST kind, padded with black to 32 x 32; a tenth of the training images is held out (seed 42).

    Files cannot tell which set they are of: Fashion-MNIST if the path says "fashion", else "MNIST-like images".
    """
    fashion = "fashion" in str(folder.resolve()).lower()
    name = "Fashion-MNIST, padded to 32 x 32" if fashion else "MNIST-like images, padded to 32 x 32"
    classes = FASHION_CLASSES if fashion else tuple("0123456789")
    parts = []
    for image_file, label_file in (IDX_FILES[:2], IDX_FILES[2:]):
        images, labels = _idx(folder, image_file, 3), _idx(folder, label_file, 1).astype(np.int64)
        rest = [_SIDE - side for side in images.shape[1:]]
        if len(images) != len(labels) or min(rest) < 0 or labels.max(initial=0) >= len(classes):
            raise DataError(
                f"{folder}: {image_file} holds {images.shape}, {label_file} {labels.shape} up to {labels.max(initial=0)}; "
                f"expected as many images as labels, at most {_SIDE} x {_SIDE} pixels, and labels 0 to 9; copy the files again"
            )
        padded = np.pad(images, ((0, 0), *((free // 2, free - free // 2) for free in rest)))
        flat = padded.reshape(len(images), -1)
        parts.append(GrayImages(flat, labels, classes=classes, name=name, path=folder))
    train, test = parts
    return with_validation(train, test)


def _idx(folder: Path, name: str, axes: int) -> UInt8[np.ndarray, "*shape"]:
    """The array of an idx file, plain or in gzip."""
    file = next((file for file in (folder / name, folder / f"{name}.gz") if file.is_file()), None)
    if file is None:
        raise DataError(
            f"{folder} holds no {name}, not even as .gz; expected {', '.join(IDX_FILES)}; copy the files again"
        )
    packed = file.suffix == ".gz"
    try:
        with gzip.open(file) if packed else file.open("rb") as stream:
            head = stream.read(4 + 4 * axes)
            if head[:4] != bytes([0, 0, _IDX_BYTES, axes]):
                raise ValueError(f"begins with {head[:4]!r}")
            shape = np.frombuffer(head, ">u4", count=axes, offset=4).tolist()
            size, most = math.prod(shape), _MOST_UNPACKED if packed else file.stat().st_size
            if size > most:
                raise ValueError(f"says that it holds {size:,} bytes, more than {most:,}")
            content = stream.read(size + 1)
            if len(content) != size:
                raise ValueError(f"holds another number of bytes than {size:,}")
            return np.frombuffer(content, np.uint8).reshape(shape)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        unpack = "; unpack it with gunzip if it is right, or copy it again" if packed else "; copy it again"
        raise DataError(
            f"{file} cannot be read ({error}); expected bytes with {axes} axes in the idx format{unpack}"
        ) from error
